//! One GET request to a service, for the commands that ask and end.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

/// Replies of the mall are far smaller.
const MAX_REPLY_BYTES: u64 = 1024 * 1024;

/// A reply to a request.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The text.
    pub body: String,
}

/// Gets `path` from `address`, a host name or an IP address with a port. All of it takes at most `timeout`.
///
/// # Errors
/// When there is no answer in time, or none of HTTP.
pub fn get(address: String, path: String, timeout: Duration) -> anyhow::Result<Reply> {
    // The timeouts of a socket are those of a single read, and a name is looked up without any. The thread ends with
    // the process.
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || sender.send(request(&address, &path)));
    receiver
        .recv_timeout(timeout)
        .map_err(|_| anyhow!("no answer within {} s", timeout.as_secs_f32()))?
}

fn request(address: &str, path: &str) -> anyhow::Result<Reply> {
    let mut stream = TcpStream::connect(address).map_err(|error| {
        let refused = error.kind() == ErrorKind::ConnectionRefused;
        let what = if refused {
            "nothing listens on"
        } else {
            "cannot connect to"
        };
        anyhow::Error::from(error).context(format!("{what} {address}"))
    })?;
    // To HTTP/1.0 a server answers with the body as it is, not in chunks, and ends it by closing the connection.
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )
    .context("no answer")?;
    let mut reply = Vec::new();
    stream
        .take(MAX_REPLY_BYTES)
        .read_to_end(&mut reply)
        .context("no answer")?;
    parse(&String::from_utf8_lossy(&reply)).context("no HTTP answer")
}

fn parse(reply: &str) -> Option<Reply> {
    let (head, body) = reply.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split([' ', '\r']).nth(1)?;
    Some(Reply {
        status: status.parse().ok()?,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_has_a_status_and_a_body() {
        for start in ["HTTP/1.0 404 Not Found", "HTTP/1.1 404 Not Found", "HTTP/1.1 404"] {
            let reply = parse(&format!("{start}\r\ncontent-length: 2\r\n\r\n{{}}")).expect("a reply");
            assert_eq!((reply.status, reply.body.as_str()), (404, "{}"));
        }
        for text in [
            "",
            "\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\n",
            "HTTP/1.1 OK\r\n\r\n",
            "SSH-2.0-x\r\n\r\n",
        ] {
            assert!(parse(text).is_none(), "{text:?}");
        }
    }
}
