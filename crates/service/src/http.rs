//! The HTTP server that every service is.

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::{FutureExt, StreamExt};
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::web::Data;
use poem::{Body, Endpoint, EndpointExt, IntoEndpoint, IntoResponse, Request, Response, Route, Server, handler};
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::idle::IdleAcceptor;
use crate::{Context, Problem, Readiness};

/// The largest body that clients may send, in bytes: an order is 200.
pub const BODY_LIMIT: usize = 16 * 1024;
/// A client that sends more than that gets its answer after this much was read and thrown away: one that is cut off
/// while it sends does not see the answer.
const DISCARD_LIMIT: usize = 32 * 1024 * 1024;
/// A client has this long to send its body.
const BODY_DEADLINE: Duration = Duration::from_secs(5);
/// Requests in flight have this long to finish after the service is asked to stop: as long as the longest may take.
const DRAIN: Duration = Duration::from_secs(7);

const REQUEST_ID: &str = "x-request-id";
/// The request id that is accepted from outside, in bytes.
const REQUEST_ID_LIMIT: usize = 128;

/// Where a service listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port.
    pub listen: SocketAddr,
}

impl Default for Config {
    fn default() -> Self {
        // Port 80: `http://order-1.order` names no port, and a headless Service maps none.
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 80)),
        }
    }
}

/// Opens a listening socket. `setting` is the configuration key that an error tells to change.
///
/// # Errors
/// When the address is taken or not ours.
pub async fn bind(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "could not listen on {address}: stop the program that has the port, or set {setting} to another address"
        )
    })
}

/// Serves the routes of a service, and beside them `/` (what it is), `/live`, `/ready` and `/metrics`, until it is
/// asked to stop; then what is in flight has seven seconds to finish.
///
/// # Errors
/// When the socket breaks.
pub async fn serve(context: Context, about: &'static str, routes: Route) -> anyhow::Result<()> {
    let Context {
        name,
        listener,
        shutdown,
        readiness,
        metrics,
    } = context;
    let address = listener.local_addr().context("could not read the listening address")?;
    let operations = Route::new()
        .at("/", get(poem::endpoint::make_sync(move |_| format!("{about}\n"))))
        .at("/live", get(poem::endpoint::make_sync(|_| "live\n")))
        .at("/ready", get(ready).data(readiness.clone()))
        .at("/metrics", get(show_metrics).data(Arc::new(metrics)));
    let app = RequestScope {
        routes: routes.nest_no_strip("/", operations),
    };
    tracing::info!(service = name, %address, "listening");
    // Without a latch of its own, a service is ready when it listens.
    readiness.latch("starting").release();
    Server::new_with_acceptor(IdleAcceptor(listener))
        .run_with_graceful_shutdown(app, shutdown.cancelled_owned(), Some(DRAIN))
        .await
        .context("the HTTP server failed")
}

#[handler]
fn ready(Data(readiness): Data<&Readiness>) -> Response {
    match readiness.check() {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => Problem::unavailable(reason).into_response(),
    }
}

#[handler]
fn show_metrics(Data(metrics): Data<&Arc<Registry>>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, metrics) {
        Ok(()) => Response::builder()
            .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
            .body(text),
        Err(error) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Reads a body of at most `limit` bytes, within its limit of time.
///
/// # Errors
/// 413, 408, or 400 when the client goes away.
pub async fn read_body(request: &Request, body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    let too_large = || {
        let detail = format!("expected a body of at most {limit} bytes: nothing was written");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    let length = request
        .header(header::CONTENT_LENGTH)
        .and_then(|length| length.parse::<usize>().ok());
    let waits_for_us = request.header(header::EXPECT).is_some();
    if waits_for_us && length.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let read = async {
        let mut stream = std::pin::pin!(body.into_bytes_stream());
        let (mut bytes, mut received) = (Vec::with_capacity(length.unwrap_or(0).min(limit)), 0);
        while let Some(chunk) = stream.next().await {
            let chunk = chunk?;
            received += chunk.len();
            if received <= limit {
                bytes.extend_from_slice(&chunk);
            } else if received > DISCARD_LIMIT {
                break;
            }
        }
        io::Result::Ok((received <= limit).then_some(bytes))
    };
    match tokio::time::timeout(BODY_DEADLINE, read).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => Err(too_large()),
        Ok(Err(error)) => Err(Problem::bad_request(format!(
            "the body broke off: {error}: nothing was written"
        ))),
        Err(_) => {
            let detail = format!(
                "expected the body within {} s: nothing was written",
                BODY_DEADLINE.as_secs()
            );
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
        }
    }
}

/// The id of a request: what the client sent, or what it was given.
pub fn request_id(request: &Request) -> &str {
    request.header(REQUEST_ID).unwrap_or_default()
}

/// An endpoint for GET and HEAD.
pub fn get<E: IntoEndpoint>(endpoint: E) -> MethodOnly<E::Endpoint> {
    MethodOnly {
        method: Method::GET,
        allow: "GET, HEAD",
        endpoint: endpoint.into_endpoint(),
    }
}

/// An endpoint for POST.
pub fn post<E: IntoEndpoint>(endpoint: E) -> MethodOnly<E::Endpoint> {
    MethodOnly {
        method: Method::POST,
        allow: "POST",
        endpoint: endpoint.into_endpoint(),
    }
}

/// An endpoint for one method; another one is told which (poem's own 405 has no `Allow`).
#[derive(Debug)]
pub struct MethodOnly<E> {
    method: Method,
    allow: &'static str,
    endpoint: E,
}

impl<E: Endpoint> Endpoint for MethodOnly<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        // hyper sends no body for HEAD.
        let head = *request.method() == Method::HEAD && self.method == Method::GET;
        if *request.method() == self.method || head {
            self.endpoint.call(request).await.map(IntoResponse::into_response)
        } else {
            Err(Problem::method_not_allowed(self.allow, request.method().as_str()).into())
        }
    }
}

/// Around every request: an id, and every error as a problem.
struct RequestScope<E> {
    routes: E,
}

impl<E: Endpoint<Output = Response>> Endpoint for RequestScope<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let usable = |id: &&HeaderValue| id.len() <= REQUEST_ID_LIMIT && id.to_str().is_ok_and(|id| !id.is_empty());
        let id = request
            .headers()
            .get(REQUEST_ID)
            .filter(usable)
            .cloned()
            .unwrap_or_else(|| {
                let id = format!("{:016x}", rand::random::<u64>());
                HeaderValue::from_str(&id).expect("hexadecimal digits")
            });
        request.headers_mut().insert(REQUEST_ID, id.clone());
        let mut response = match AssertUnwindSafe(self.routes.call(request)).catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_from_response() => error.into_response(),
            Ok(Err(error)) => Problem::new(error.status(), error.to_string()).into_response(),
            // The panic hook has logged it.
            Err(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "a bug: see the log").into_response(),
        };
        response.headers_mut().insert(REQUEST_ID, id);
        Ok(response)
    }
}
