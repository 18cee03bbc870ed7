//! A connection to another service, and what is certain when it fails.

mod forward;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use poem::http::uri::Authority;
use poem::http::{Request, StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

pub use self::forward::forward;

/// Services are on the same network: no connection within this time means that it is down.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// A connection is used again until it has been idle this long. A service closes it after 75 s, and a request that meets
/// the closing would have an unknown outcome.
const MAX_IDLE: Duration = Duration::from_secs(60);
/// The largest answer that is read, in bytes: 256 receipts are 50,000.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// What the service said.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
}

/// The service said nothing, for this reason.
#[derive(Debug)]
pub enum NoAnswer {
    /// It got nothing of the request.
    NotSent(String),
    /// It may have got the request.
    Lost(String),
}

impl NoAnswer {
    /// The reason, for whom it makes no difference what the service got.
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
    ended: bool,
    last_used: Instant,
}

impl Connection {
    /// Begins to speak HTTP/1.1 on a connection.
    ///
    /// # Errors
    /// When the other end has gone already.
    pub async fn new(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> hyper::Result<Self> {
        let (requests, driver) = handshake(TokioIo::new(stream)).await?;
        // An error is told to the request that is under way.
        let driver = Box::pin(async { drop(driver.await) });
        Ok(Self {
            requests,
            driver,
            ended: false,
            last_used: Instant::now(),
        })
    }

    /// Whether it can take a request: the service may have closed it since it was used.
    pub async fn is_usable(&mut self) -> bool {
        if !self.ended {
            self.ended =
                std::future::poll_fn(|context| Poll::Ready(self.driver.as_mut().poll(context).is_ready())).await;
        }
        !self.ended && self.requests.is_ready() && self.last_used.elapsed() < MAX_IDLE
    }

    /// Sends a request and waits for the answer, without a bound of its own.
    ///
    /// # Errors
    /// When there is none, with what is known of the request.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, NoAnswer> {
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
            Ok(Answer {
                status: head.status,
                body,
            })
        };
        let mut exchange = std::pin::pin!(exchange);
        let answer = tokio::select! {
            biased;
            answer = &mut exchange => answer,
            () = &mut self.driver, if !self.ended => {
                self.ended = true;
                exchange.await
            }
        };
        self.last_used = Instant::now();
        answer
    }
}

/// Where a service is.
pub struct Address {
    /// As the URL has it.
    host: Authority,
    /// A search for the host that has not ended. The system's resolver can hang for many seconds, on a thread that
    /// cannot be stopped: the next attempt to connect waits for the same one.
    lookup: Option<Lookup>,
}

type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

impl Address {
    /// Nothing is asked yet.
    pub fn new(host: Authority) -> Self {
        Self { host, lookup: None }
    }

    /// A search for the host is under way already: that is how a test makes one that hangs.
    pub fn looked_up_by(
        host: Authority,
        lookup: impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    ) -> Self {
        let lookup: Lookup = Box::pin(lookup);
        Self {
            host,
            lookup: Some(lookup),
        }
    }

    /// The host, and the port where it is not 80.
    pub fn host(&self) -> &Authority {
        &self.host
    }

    /// A request for a path that begins with `/`.
    ///
    /// # Panics
    /// When that is no path.
    pub fn get(&self, path: &str) -> Request<Full<Bytes>> {
        Request::get(path)
            .header(header::HOST, self.host.as_str())
            .body(Full::default())
            .expect("a path and an authority")
    }

    /// Connects.
    ///
    /// # Errors
    /// When there is no connection within half a second, the search for the host included.
    pub async fn connect(&mut self) -> anyhow::Result<Connection> {
        let target = format!("{}:{}", self.host.host(), self.host.port_u16().unwrap_or(80));
        let attempt = async {
            let lookup = || -> Lookup { Box::pin(async { Ok(lookup_host(target).await?.collect()) }) };
            let found = self.lookup.get_or_insert_with(lookup).await;
            self.lookup = None;
            let stream = TcpStream::connect(&*found?).await?;
            stream.set_nodelay(true)?;
            Ok(Connection::new(stream).await?)
        };
        let late = |_| Err(anyhow::anyhow!("no connection within {CONNECT_TIMEOUT:?}"));
        timeout(CONNECT_TIMEOUT, attempt).await.unwrap_or_else(late)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Address")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// Sends a request over a connection whose other end does this.
    async fn send(other_end: impl AsyncFnOnce(tokio::io::DuplexStream)) -> Result<Answer, NoAnswer> {
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

    #[tokio::test(start_paused = true)]
    async fn a_resolver_that_hangs_is_asked_once_and_costs_500_ms_each_time() {
        let mut address = Address::new(Authority::from_static("order-1.order"));
        let (resolve, resolved) = tokio::sync::oneshot::channel();
        address.lookup = Some(Box::pin(async { resolved.await.map_err(io::Error::other) }));
        for _ in 0..3 {
            let begun = Instant::now();
            let error = address.connect().await.expect_err("no connection");
            assert_eq!(error.to_string(), "no connection within 500ms");
            assert_eq!(begun.elapsed(), CONNECT_TIMEOUT);
            assert!(address.lookup.is_some());
        }
        // It answers at last: that there is no address.
        resolve.send(Vec::new()).expect("still waited for");
        assert!(address.connect().await.is_err());
        assert!(address.lookup.is_none(), "the next attempt asks again");
    }
}
