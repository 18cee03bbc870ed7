//! Asks the service of this host whether it is ready: the health check of an image without a shell.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;

use crate::get::get;

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
    let mut socket = listen;
    if socket.ip().is_unspecified() {
        socket.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let answer = get(&socket.to_string(), "/ready", TIMEOUT)?;
    let reason = String::from_utf8_lossy(answer.body());
    ensure!(answer.status().is_success(), "not ready: {reason}");
    Ok(())
}
