//! Asks the service of this host whether it is ready: the health check of an image without a shell.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use lab::http_get;

const TIMEOUT: Duration = Duration::from_secs(2);

#[expect(clippy::print_stderr, reason = "shown by docker inspect")]
pub(crate) fn run(listen: SocketAddr) -> ExitCode {
    match ask(listen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn ask(listen: SocketAddr) -> anyhow::Result<()> {
    let host = if listen.ip().is_unspecified() {
        Ipv4Addr::LOCALHOST.into()
    } else {
        listen.ip()
    };
    let address = SocketAddr::new(host, listen.port());
    let reply = http_get::get(address.to_string(), "/ready".to_owned(), TIMEOUT)?;
    ensure!(reply.status == 200, "not ready: {}", reply.body);
    Ok(())
}
