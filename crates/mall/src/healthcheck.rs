//! Asks the service of this host whether it is ready: the health check of an image without a shell.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use service::client::{Address, NoAnswer};

const TIMEOUT: Duration = Duration::from_secs(2);

#[expect(clippy::print_stderr, reason = "shown by docker inspect")]
pub(crate) fn run(listen: SocketAddr) -> ExitCode {
    match check(listen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check(listen: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let checked = tokio::time::timeout(TIMEOUT, request_readiness(listen)).await;
        checked.with_context(|| format!("no answer within {} s", TIMEOUT.as_secs()))?
    })
}

async fn request_readiness(listen: SocketAddr) -> anyhow::Result<()> {
    let host = if listen.ip().is_unspecified() {
        Ipv4Addr::LOCALHOST.into()
    } else {
        listen.ip()
    };
    let socket = SocketAddr::new(host, listen.port());
    let address = Address::new(socket.to_string().parse()?);
    let mut connection = match address.connect().await {
        Ok(connection) => connection,
        Err(error) if is_refused(&error) => bail!("nothing listens on {socket}"),
        Err(error) => return Err(error.context(format!("cannot connect to {socket}"))),
    };
    let answer = connection.send(address.get("/ready")).await;
    let answer = answer.map_err(NoAnswer::into_reason).map_err(anyhow::Error::msg)?;
    ensure!(
        answer.status.is_success(),
        "not ready: {}",
        String::from_utf8_lossy(&answer.body)
    );
    Ok(())
}

fn is_refused(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}
