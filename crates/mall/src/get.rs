//! One GET request to a service, for the commands that ask and end.

use std::io::{self, ErrorKind};
use std::time::Duration;

use anyhow::{anyhow, bail};
use hyper::body::Bytes;
use poem::http::Response;
use service::client::{Address, NoAnswer};
use tokio::time::timeout;

/// Gets a path from a host, which may have a port, within a time.
///
/// # Errors
/// The reason why there is no answer.
pub(crate) fn get(host: &str, path: &str, limit: Duration) -> anyhow::Result<Response<Bytes>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = runtime.block_on(async {
        let late = |_| Err(anyhow!("no answer within {} s", limit.as_secs()));
        timeout(limit, ask(host, path)).await.unwrap_or_else(late)
    });
    // A look-up that hangs cannot be cancelled.
    runtime.shutdown_background();
    asked
}

async fn ask(host: &str, path: &str) -> anyhow::Result<Response<Bytes>> {
    let address = Address::new(host.parse()?);
    let mut connection = match address.connect().await {
        Ok(connection) => connection,
        Err(error) if is_refused(&error) => bail!("nothing listens on {host}"),
        Err(error) => return Err(error.context(format!("cannot connect to {host}"))),
    };
    let answer = connection.send(address.get(path)).await;
    answer.map_err(NoAnswer::into_reason).map_err(anyhow::Error::msg)
}

fn is_refused(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}
