//! A connection to another service, and what is certain when it fails.

mod address;
mod upstream;

use std::fmt;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use poem::http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

pub use self::address::{Address, parse_server};
pub use self::upstream::Upstream;

/// A connection is used again until it has been idle this long. A service closes it after 75 s, and a request that meets
/// the closing would have an unknown outcome.
const MAX_IDLE: Duration = Duration::from_secs(60);
/// The largest answer that is read, in bytes: 256 receipts are 50,000.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// The reason why there is no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// The service got nothing of the request.
    NotSent(String),
    /// The service may have got the request.
    Lost(String),
}

impl NoAnswer {
    /// The reason alone, for a request that may be repeated.
    pub fn into_reason(self) -> String {
        let (Self::NotSent(reason) | Self::Lost(reason)) = self;
        reason
    }
}

/// A connection to a service. It has no task of its own: it moves while a request is under way.
pub struct Connection {
    requests: SendRequest<Full<Bytes>>,
    /// Reads and writes; ends with the connection.
    driver: Pin<Box<dyn Future<Output = ()> + Send>>,
    has_ended: bool,
    last_used: Instant,
}

impl Connection {
    /// Begins to speak HTTP/1.1 on a connection.
    ///
    /// # Errors
    /// When the other end has gone already.
    pub async fn new(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> hyper::Result<Self> {
        let (requests, driver) = handshake(TokioIo::new(stream)).await?;
        // The request that is under way gets the error.
        let driver = Box::pin(async { drop(driver.await) });
        Ok(Self {
            requests,
            driver,
            has_ended: false,
            last_used: Instant::now(),
        })
    }

    /// Returns `true` if it can take a request: the service may have closed it since it was used.
    pub async fn is_usable(&mut self) -> bool {
        if !self.has_ended {
            self.has_ended =
                std::future::poll_fn(|context| Poll::Ready(self.driver.as_mut().poll(context).is_ready())).await;
        }
        !self.has_ended && self.requests.is_ready() && self.last_used.elapsed() < MAX_IDLE
    }

    /// Sends a request and waits for the answer, without a timeout of its own.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, NoAnswer> {
        let exchange = async {
            let response = self.requests.try_send_request(request).await.map_err(|mut error| {
                let never_sent = error.take_message().is_some();
                let reason = format!("{:#}", anyhow::Error::from(error.into_error()));
                if never_sent {
                    NoAnswer::NotSent(reason)
                } else {
                    NoAnswer::Lost(reason)
                }
            })?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| NoAnswer::Lost(error.to_string()))?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        let mut exchange = std::pin::pin!(exchange);
        let answer = tokio::select! {
            biased;
            answer = &mut exchange => answer,
            () = &mut self.driver, if !self.has_ended => {
                self.has_ended = true;
                exchange.await
            }
        };
        self.last_used = Instant::now();
        answer
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("has_ended", &self.has_ended)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// Sends a request over a connection whose other end does this.
    async fn send(other_end: impl AsyncFnOnce(tokio::io::DuplexStream)) -> Result<Response<Bytes>, NoAnswer> {
        let (ours, theirs) = tokio::io::duplex(1 << 10);
        let mut connection = Connection::new(ours).await.expect("a connection");
        other_end(theirs).await;
        connection.send(Request::new(Full::default())).await
    }

    #[tokio::test]
    async fn only_a_request_of_which_nothing_went_out_was_not_sent() {
        let closed = send(async |theirs| drop(theirs)).await;
        assert!(matches!(closed, Err(NoAnswer::NotSent(_))), "{closed:?}");
        let read_and_closed = send(async |mut theirs| {
            tokio::spawn(async move { theirs.read_u8().await });
        });
        let lost = read_and_closed.await;
        assert!(matches!(lost, Err(NoAnswer::Lost(_))), "{lost:?}");
    }
}
