//! Asks the service of this host whether it is ready: the health check of an image without a shell.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};

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
    let mut stream =
        TcpStream::connect_timeout(&address, TIMEOUT).with_context(|| format!("nothing listens on {address}"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /ready HTTP/1.0\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).context("no answer")?;
    let (head, body) = reply.split_once("\r\n\r\n").context("no HTTP answer")?;
    if head.split(' ').nth(1) == Some("200") {
        return Ok(());
    }
    bail!("not ready: {body}")
}
