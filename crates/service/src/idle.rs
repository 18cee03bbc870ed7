//! Connections that are closed when nothing moves on them.
//!
//! poem's own `idle_timeout` wakes a second task at every read and write; measured, that is a tenth of what an order
//! costs. Here the clock is looked at when a connection waits, and the timer is set once in its period.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use poem::http::uri::Scheme;
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep, sleep};

/// A connection on which nothing moves is closed after one to two of these.
const PERIOD: Duration = Duration::from_secs(75);

/// Accepts connections that do not outlive their use.
pub(crate) struct IdleAcceptor(pub(crate) TcpListener);

impl Acceptor for IdleAcceptor {
    type Io = IdleStream;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.0
            .local_addr()
            .map(|address| LocalAddr(address.into()))
            .into_iter()
            .collect()
    }

    async fn accept(&mut self) -> io::Result<(IdleStream, LocalAddr, RemoteAddr, Scheme)> {
        let (stream, remote) = self.0.accept().await?;
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let stream = IdleStream {
            stream,
            timer: Box::pin(sleep(PERIOD)),
            moved: false,
        };
        Ok((stream, LocalAddr(local.into()), RemoteAddr(remote.into()), Scheme::HTTP))
    }
}

/// A connection that is an error when nothing moves on it.
pub(crate) struct IdleStream {
    stream: TcpStream,
    timer: Pin<Box<Sleep>>,
    /// Something was read or written in this period.
    moved: bool,
}

impl AsyncRead for IdleStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(outcome) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            self.moved = true;
            return Poll::Ready(outcome);
        }
        loop {
            ready!(self.timer.as_mut().poll(context));
            if !self.moved {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.moved = false;
            self.timer.as_mut().reset(Instant::now() + PERIOD);
        }
    }
}

impl AsyncWrite for IdleStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.moved = true;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.moved = true;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
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

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_closed_when_nothing_moves_and_not_before() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut client = TcpStream::connect(address).await.expect("a connection");
        let (mut served, ..) = IdleAcceptor(listener).accept().await.expect("accepted");
        let begun = Instant::now();
        client.write_all(b"x").await.expect("sent");
        assert_eq!(served.read_u8().await.expect("a byte"), b'x');
        let error = served.read_u8().await.expect_err("nothing comes");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!((PERIOD..PERIOD * 3).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }
}
