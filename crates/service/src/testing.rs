//! For tests: an HTTP client that sends what a well-behaved one would not, and the lines of a log.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::telemetry::{self, Text};

/// A connection of a client.
pub(crate) struct Client(BufReader<TcpStream>);

/// A response as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The status line and the headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        // With paused time, nothing may wait for the kernel's timers.
        stream.set_nodelay(true).expect("an option of the socket");
        Self(BufReader::new(stream))
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.expect("sent");
    }

    /// Closes the sending side: no more requests follow.
    pub(crate) async fn half_close(&mut self) {
        self.0.shutdown().await.expect("half closed");
    }

    /// Reads one response, whose length must be known.
    pub(crate) async fn answer(&mut self) -> Answer {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.0.read_line(&mut head).await.expect("a line");
            assert!(read > 0, "the connection was closed after {head:?}");
        }
        let head = head.to_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().expect("a length"));
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.expect("the body");
        Answer {
            status: status.expect("a status"),
            head,
            body: String::from_utf8(body).expect("text"),
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        self.answer().await
    }

    /// Waits until the server closes the connection, and returns what came before that.
    pub(crate) async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        // A connection that is reset is closed as well.
        let _ = self.0.read_to_end(&mut bytes).await;
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// What `body` logs on this thread, for people or as JSON.
pub(crate) fn logged(text: Option<Text>, body: impl FnOnce()) -> String {
    let lines: Arc<Mutex<Vec<u8>>> = Arc::default();
    let written = Arc::clone(&lines);
    let layer = telemetry::layer(text, move || Lines(Arc::clone(&lines)));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), body);
    let written = std::mem::take(&mut *written.lock());
    String::from_utf8(written).expect("text")
}

struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
