//! A connection that ends when nothing moves on it, or when the head of a request does not come to its end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::CancellationToken;

/// A connection is closed when nothing was read from it or written to it for this long. The gateway keeps its idle
/// connections for 60 s, so that it is the side that closes them.
pub(super) const IDLE: Duration = Duration::from_secs(75);
/// The head of a request has this long to arrive, from its first byte.
pub(super) const HEAD_DEADLINE: Duration = Duration::from_secs(10);

/// A connection with its deadlines. Reading or writing fails with `TimedOut` after them.
pub(super) struct Stream {
    stream: TcpStream,
    /// A request is in flight: what is read is not a head.
    busy: Arc<AtomicBool>,
    shutdown: CancellationToken,
    /// When something was read or written last.
    moved: Instant,
    /// When the first byte of a head was read that has not come to its end.
    head: Option<Instant>,
    /// One timer for a connection, reset when it fires: at every read that would cost a tenth of an order.
    timer: Pin<Box<Sleep>>,
}

impl Stream {
    pub(super) fn new(stream: TcpStream, busy: Arc<AtomicBool>, shutdown: CancellationToken) -> Self {
        Self {
            stream,
            busy,
            shutdown,
            moved: Instant::now(),
            head: None,
            timer: Box::pin(sleep(IDLE)),
        }
    }

    /// Ready when the deadline has passed. Called while the connection waits for its client.
    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        if self.busy.load(Ordering::Relaxed) {
            self.head = None;
        }
        let mut deadline = self.moved + IDLE;
        if let Some(begun) = self.head {
            // Nobody is owed an answer to half a head: it does not hold up a stop.
            if self.shutdown.is_cancelled() {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            deadline = deadline.min(begun + HEAD_DEADLINE);
        }
        if deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
        loop {
            ready!(self.timer.as_mut().poll(context));
            if self.timer.deadline() >= deadline {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            self.timer.as_mut().reset(deadline);
        }
    }

    /// Notes that something was written; when nothing could be, looks at the deadline.
    fn written(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        // A response follows on a complete head.
        self.head = None;
        match outcome {
            Poll::Ready(outcome) => {
                self.moved = Instant::now();
                Poll::Ready(outcome)
            }
            Poll::Pending => self.poll_deadline(context).map(Err),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(outcome) => {
                self.moved = Instant::now();
                if !self.busy.load(Ordering::Relaxed) && self.head.is_none() {
                    self.head = Some(self.moved);
                }
                Poll::Ready(outcome)
            }
            Poll::Pending => self.poll_deadline(context).map(Err),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_after_a_response_even_when_nobody_waited_for_the_client_meanwhile() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut client = TcpStream::connect(address).await.expect("a connection");
        let (served, _) = listener.accept().await.expect("a connection");
        let busy = Arc::new(AtomicBool::new(false));
        let mut served = Stream::new(served, Arc::clone(&busy), CancellationToken::new());
        client.write_all(b"?").await.expect("sent");
        assert_eq!(served.read_u8().await.expect("a request"), b'?');
        busy.store(true, Ordering::Relaxed);
        busy.store(false, Ordering::Relaxed);
        served.write_all(b"!").await.expect("a response");
        let begun = Instant::now();
        assert_eq!(
            served.read_u8().await.expect_err("nothing comes").kind(),
            io::ErrorKind::TimedOut
        );
        assert_eq!(begun.elapsed().as_secs(), IDLE.as_secs());
    }
}
