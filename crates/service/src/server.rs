//! HTTP/1.1 connections around a poem endpoint, bounded in number, size and time.
//!
//! poem's own server limits neither heads nor connections, also speaks HTTP/2, and spins while accepting fails.

mod body;
mod metrics;
mod stream;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use poem::http::uri::Scheme;
use poem::http::{HeaderValue, header};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Body, Endpoint, Request, RequestParts};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::body::{BoxBody, RequestBody, ResponseBody};
use self::metrics::{Counted, InFlight};
use self::stream::Stream;

pub(crate) use self::body::BODY_DEADLINE;
pub(crate) use self::metrics::Metrics;

/// Bytes of a request line with its headers; a larger head is a 431.
const HEAD_LIMIT: usize = 16 * 1024;
/// Headers of a request; more are a 431.
const HEADERS_LIMIT: usize = 64;
/// Bytes that are buffered of a connection in each direction.
const BUFFER_LIMIT: usize = 64 * 1024;
/// Connections of one service, if as many files may be open: four times what mall is measured with.
const CONNECTION_LIMIT: usize = 1024;
/// Accepting pauses this long after an error: most of them (no file descriptor, no memory) would come again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Requests in flight have this long to finish after the service is asked to stop: as long as the longest may take.
pub(crate) const DRAIN: Duration = Duration::from_secs(7);

/// What every connection needs.
struct Server<E> {
    endpoint: E,
    http: http1::Builder,
    metrics: Metrics,
    shutdown: CancellationToken,
}

/// How many connections a service keeps. At most half of the files that this process may open: the rest is for Kafka,
/// for connections of our own, and for other services in the same process.
pub(crate) fn connection_limit() -> usize {
    let open_files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    open_files
        .and_then(|files| usize::try_from(files / 2).ok())
        .map_or(CONNECTION_LIMIT, |half| half.min(CONNECTION_LIMIT))
}

/// Serves connections until `shutdown`, then waits until the requests in flight are answered, at most [`DRAIN`].
///
/// At `limit` connections no more are accepted: they wait in the backlog of the socket until one is closed.
pub(crate) async fn serve<E: Endpoint + 'static>(
    mut accept: impl AsyncFnMut() -> io::Result<(TcpStream, SocketAddr)>,
    endpoint: E,
    limit: usize,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    let mut http = http1::Builder::new();
    // hyper's own time limit for heads would also end connections that are idle: `Stream` tells them apart.
    http.max_header_size(HEAD_LIMIT)
        .max_headers(HEADERS_LIMIT)
        .max_buf_size(BUFFER_LIMIT)
        .header_read_timeout(None);
    let server = Arc::new(Server {
        endpoint,
        http,
        metrics,
        shutdown: shutdown.clone(),
    });
    let mut connections = JoinSet::new();
    let (mut failing, mut full) = (false, false);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            // A panic in a connection has been logged by the panic hook.
            Some(_) = connections.join_next() => full &= connections.len() > limit / 2,
            accepted = accept(), if connections.len() < limit => match accepted {
                Ok((stream, remote)) => {
                    failing = false;
                    connections.spawn(Arc::clone(&server).serve_connection(stream, remote));
                    if connections.len() == limit && !std::mem::replace(&mut full, true) {
                        tracing::warn!(limit, "as many connections as allowed: no more are accepted until some are closed");
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(%error, "could not accept a connection: trying again until it works");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    // Closes the socket: who connects from now on is refused at once instead of waiting in the backlog.
    drop(accept);
    let drained = timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "cut off connections that had not ended in time"
        );
        connections.shutdown().await;
    }
}

impl<E: Endpoint + 'static> Server<E> {
    /// Serves a connection until it ends, for whatever reason: a client that goes away is no error of ours.
    async fn serve_connection(self: Arc<Self>, stream: TcpStream, remote: SocketAddr) {
        let _open = Counted::new(&self.metrics.connections);
        // An answer goes out at once, not when the client has confirmed the one before. Fails only on a dead socket.
        let _ = stream.set_nodelay(true);
        let local = stream.local_addr().unwrap_or(remote);
        let busy = Arc::new(AtomicBool::new(false));
        let stream = Stream::new(stream, Arc::clone(&busy), self.shutdown.clone());
        let service = service_fn(|request| {
            let in_flight = InFlight::new(&self.metrics.in_flight, &busy);
            let answer = self.answer(request, LocalAddr(local.into()), RemoteAddr(remote.into()));
            async move { Ok::<_, Infallible>(answer.await.map(|body| ResponseBody::new(body, in_flight))) }
        });
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%remote, %error, "connection broke off");
        }
    }

    /// Answers a request. What the endpoint leaves of its body is read and thrown away, within the limits of
    /// [`RequestBody::discard`]: what follows it on the connection is the next request. Otherwise the answer says that
    /// the connection is closed.
    async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        local: LocalAddr,
        remote: RemoteAddr,
    ) -> hyper::Response<BoxBody> {
        let (parts, body) = request.into_parts();
        let awaits_continue = parts.headers.contains_key(header::EXPECT);
        let parts = RequestParts::from((parts, local, remote, Scheme::HTTP));
        if body.is_end_stream() {
            let request = Request::from_parts(parts, Body::empty());
            return self.endpoint.get_response(request).await.into();
        }
        let body = RequestBody::new(body);
        let request = Request::from_parts(parts, body.clone().into());
        let mut response = self.endpoint.get_response(request).await;
        // A client that still waits for 100 Continue has not sent its body, and reading would ask for it.
        let at_end = if awaits_continue && !body.is_begun() {
            false
        } else {
            body.discard().await
        };
        if !at_end {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response.into()
    }
}
