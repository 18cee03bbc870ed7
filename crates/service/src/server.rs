//! HTTP/1.1 connections around a poem endpoint, bounded in number, size and time.
//!
//! poem's own server limits neither heads nor connections, also speaks HTTP/2, and spins while accepting fails.

mod body;
mod connections;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::http::uri::Scheme;
use poem::http::{HeaderValue, header};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Body, Endpoint, Request, RequestParts};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::connections::{Activity, Connections, InFlight};

#[cfg(test)]
pub(crate) use self::body::BODY_TIMEOUT;
pub(crate) use self::body::{Unread, too_large};

/// Maximum bytes of a request line with its headers; a larger head is a 431.
const HEAD_LIMIT: usize = 16 * 1024;
/// Maximum headers of a request; more are a 431.
const HEADERS_LIMIT: usize = 64;
/// Maximum bytes that are buffered of a connection in each direction.
const BUFFER_LIMIT: usize = 64 * 1024;
/// Maximum open connections; fewer where `RLIMIT_NOFILE` is low.
const CONNECTION_LIMIT: usize = 1024;
/// A connection is closed when no complete head has come for this long since the last answer. The gateway keeps its idle
/// connections for 60 s, so that it is the side that closes them.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// A connection is closed when its client has not taken what was sent to it for this long.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after an error in accepting: most of them (no file descriptor, no memory) would come again at once.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// Requests in flight have this long to finish after the service is asked to stop: the longest may take as long.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(7);

/// The bounds of a server that differ between services, machines and tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Maximum open connections.
    pub(crate) connections: usize,
    /// Maximum bytes of a body.
    pub(crate) body: usize,
    /// See [`WRITE_TIMEOUT`].
    pub(crate) write_timeout: Duration,
}

impl Limits {
    /// The limits of a service. Connections take at most half of the files that this process may open: the rest is for
    /// Kafka, for connections to other services, and for other services in the same process.
    pub(crate) fn new(body: usize) -> Self {
        let open_files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let half = open_files.and_then(|files| usize::try_from(files / 2).ok());
        Self {
            connections: half.map_or(CONNECTION_LIMIT, |half| half.clamp(1, CONNECTION_LIMIT)),
            body,
            write_timeout: WRITE_TIMEOUT,
        }
    }
}

/// The metrics of a server.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    connections: Gauge,
    in_flight: Gauge,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let about = "Connections that are open";
        registry.register("http_connections", about, metrics.connections.clone());
        let about = "Requests whose response is not complete, open event streams among them";
        registry.register("http_requests_in_flight", about, metrics.in_flight.clone());
        metrics
    }
}

/// What every connection needs.
struct Server<E> {
    endpoint: E,
    http: http1::Builder,
    limits: Limits,
    in_flight: Gauge,
}

/// Serves connections until `shutdown`, then waits until the requests in flight are answered, at most
/// [`DRAIN_TIMEOUT`].
pub(crate) async fn serve<E: Endpoint + 'static>(
    mut accept: impl AsyncFnMut() -> io::Result<(TcpStream, SocketAddr)>,
    endpoint: E,
    limits: Limits,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    let mut connections = Connections::new(limits.connections, metrics.connections);
    let server = Arc::new(Server {
        endpoint,
        http: http(),
        limits,
        in_flight: metrics.in_flight,
    });
    let mut is_failing = false;
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(()) = connections.ended() => continue,
            accepted = accept() => accepted,
        };
        match accepted {
            Ok((stream, remote)) => {
                is_failing = false;
                if shutdown.run_until_cancelled(connections.make_room()).await.is_none() {
                    break;
                }
                let activity = Arc::new(Activity::new(&shutdown));
                let connection = Arc::clone(&server).serve_connection(stream, remote, Arc::clone(&activity));
                connections.spawn(activity, connection);
            }
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::error!(%error, "could not accept a connection: trying again until it works");
                }
                sleep(ACCEPT_RETRY_INTERVAL).await;
            }
        }
    }
    // Closes the socket: a new connection is refused at once instead of waiting in the backlog.
    drop(accept);
    connections.drain(DRAIN_TIMEOUT).await;
}

fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.max_header_size(HEAD_LIMIT)
        .max_headers(HEADERS_LIMIT)
        .max_buf_size(BUFFER_LIMIT)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        // A client that has left does not cancel its request: an order is counted and logged all the same, and a client
        // that only closed its own side gets its answer.
        .half_close(true);
    http
}

impl<E: Endpoint + 'static> Server<E> {
    /// Serves a connection until it ends, for any reason: a client that leaves is no error of the service.
    async fn serve_connection(self: Arc<Self>, stream: TcpStream, remote: SocketAddr, activity: Arc<Activity>) {
        set_options(&stream, self.limits.write_timeout);
        let local = stream.local_addr().unwrap_or(remote);
        let service = service_fn(|request| {
            let in_flight = InFlight::new(&self.in_flight, &activity);
            let answer = self.answer(request, LocalAddr(local.into()), RemoteAddr(remote.into()));
            async move {
                let response = answer.await.map(|body| {
                    body.map_err(move |error| {
                        // The body owns it: the request is in flight until the body is dropped.
                        let _ = &in_flight;
                        error
                    })
                });
                Ok::<_, Infallible>(response)
            }
        });
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = activity.close.cancelled() => {
                // hyper would wait for the rest of a first head.
                if activity.is_unused() {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%remote, %error, "connection broke off");
        }
    }

    /// Answers a request. The handler runs when the whole body is there, or gets the reason why it is not.
    async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        local: LocalAddr,
        remote: RemoteAddr,
    ) -> hyper::Response<BoxBody<Bytes, io::Error>> {
        let (parts, body) = request.into_parts();
        let awaits_continue = parts.headers.contains_key(header::EXPECT);
        let parts = RequestParts::from((parts, local, remote, Scheme::HTTP));
        if body.is_end_stream() {
            let request = Request::from_parts(parts, Body::empty());
            return self.endpoint.get_response(request).await.into();
        }
        let unread = match body::read(body, self.limits.body, awaits_continue).await {
            Ok(bytes) => {
                let request = Request::from_parts(parts, Body::from(bytes));
                return self.endpoint.get_response(request).await.into();
            }
            Err(unread) => unread,
        };
        let is_at_end = unread.is_at_end;
        let mut request = Request::from_parts(parts, Body::empty());
        request.set_data(unread);
        let mut response = self.endpoint.get_response(request).await;
        if !is_at_end {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response.into()
    }
}

/// Sets the options of an accepted socket. Setting them fails only on a connection that has ended.
fn set_options(stream: &TcpStream, write_timeout: Duration) {
    // An answer goes out at once, not when the client has confirmed the one before.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    {
        let millis = u32::try_from(write_timeout.as_millis()).unwrap_or(u32::MAX);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, millis);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = write_timeout;
}
