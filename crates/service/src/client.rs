//! A connection to another service, and what is certain when it fails.

mod upstream;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::select_all;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use poem::http::uri::Authority;
use poem::http::{Request, StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

pub use self::upstream::Upstream;

/// Services are on the same network: no connection within this time means that it is down.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Searches for one host at the same time. A new one begins with each attempt to connect: these reach over 4 s, as long as
/// the resolver of Docker was seen to hang over a name that is not there, and nobody outside to ask.
const MAX_LOOKUPS: usize = 8;
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
    /// Searches for the host that have not ended, the newest last. The system's resolver can hang for many seconds, on a
    /// thread that cannot be stopped: the next attempt to connect searches again, and waits for all of them.
    lookups: Vec<Lookup>,
}

type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

impl Address {
    /// Nothing is asked yet.
    pub fn new(host: Authority) -> Self {
        Self {
            host,
            lookups: Vec::new(),
        }
    }

    /// As many searches for the host as there may be are under way, and none will end: a resolver that hangs, for tests.
    pub fn of_hanging_resolver(host: Authority) -> Self {
        let hang = |_| -> Lookup { Box::pin(std::future::pending()) };
        Self {
            host,
            lookups: (0..MAX_LOOKUPS).map(hang).collect(),
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
            let found = self.look_up(target).await?;
            let stream = TcpStream::connect(&*found).await?;
            stream.set_nodelay(true)?;
            Ok(Connection::new(stream).await?)
        };
        let late = |_| Err(anyhow::anyhow!("no connection within {CONNECT_TIMEOUT:?}"));
        timeout(CONNECT_TIMEOUT, attempt).await.unwrap_or_else(late)
    }

    /// Searches for the host. What the newest search finds counts, and an address of an older one.
    async fn look_up(&mut self, target: String) -> io::Result<Vec<SocketAddr>> {
        // What was found while nobody waited for it may be out of date: another service may have that address by now.
        self.lookups.retain_mut(|lookup| lookup.now_or_never().is_none());
        if self.lookups.len() < MAX_LOOKUPS {
            let lookup = async { Ok(lookup_host(target).await?.collect()) };
            self.lookups.push(Box::pin(lookup));
        }
        loop {
            let (found, ended, _) = select_all(self.lookups.iter_mut()).await;
            drop(self.lookups.remove(ended));
            if found.is_ok() || ended == self.lookups.len() {
                return found;
            }
        }
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
    use tokio::task::yield_now;

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
    async fn a_resolver_that_hangs_costs_500_ms_each_time_and_is_asked_so_often_at_most() {
        let mut address = Address::of_hanging_resolver(Authority::from_static("order-1.order"));
        for _ in 0..3 {
            let begun = Instant::now();
            let error = address.connect().await.expect_err("no connection");
            assert_eq!(error.to_string(), "no connection within 500ms");
            assert_eq!(begun.elapsed(), CONNECT_TIMEOUT);
            assert_eq!(address.lookups.len(), MAX_LOOKUPS);
        }
    }

    #[tokio::test]
    async fn a_search_that_hangs_does_not_hold_up_the_next_one() {
        let mut address = Address::new(Authority::from_static("127.0.0.1"));
        address.lookups.push(Box::pin(std::future::pending()));
        let found = address.look_up("127.0.0.1:80".to_owned()).await.expect("an address");
        assert_eq!(found, ["127.0.0.1:80".parse().expect("an address")]);
        assert_eq!(address.lookups.len(), 1, "the one that hangs is still counted");
    }

    #[tokio::test]
    async fn what_an_older_search_found_while_nobody_waited_is_out_of_date() {
        let mut address = Address::new(Authority::from_static("127.0.0.1"));
        let outdated = "127.0.0.1:81".parse().expect("an address");
        address.lookups.push(Box::pin(async move { Ok(vec![outdated]) }));
        let found = address.look_up("127.0.0.1:80".to_owned()).await.expect("an address");
        assert_eq!(found, ["127.0.0.1:80".parse().expect("an address")]);
    }

    #[tokio::test]
    async fn an_older_search_counts_when_it_finds_something() {
        let expected = vec!["127.0.0.1:81".parse().expect("an address")];
        let found = expected.clone();
        let mut address = Address::of_hanging_resolver(Authority::from_static("order-1.order"));
        address.lookups[0] = Box::pin(async {
            yield_now().await;
            Err(io::Error::other("not known"))
        });
        address.lookups[1] = Box::pin(async {
            yield_now().await;
            Ok(found)
        });
        assert_eq!(address.look_up(String::new()).await.expect("an address"), expected);
        assert_eq!(address.lookups.len(), MAX_LOOKUPS - 2);
    }
}
