//! What every service serves over HTTP, and what its routes share.

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::{FutureExt, StreamExt};
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::web::Data;
use poem::{Body, Endpoint, EndpointExt, IntoEndpoint, IntoResponse, Request, Response, Route, handler};
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::server::{self, BODY_DEADLINE};
use crate::{Context, Problem, Readiness};

/// The largest body that clients may send, in bytes: an order is 200.
pub const BODY_LIMIT: usize = 16 * 1024;

const REQUEST_ID: &str = "x-request-id";
/// The longest request id that is accepted from a client, in bytes.
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
/// When the socket has no address.
pub async fn serve(context: Context, about: &'static str, routes: Route) -> anyhow::Result<()> {
    let home = poem::endpoint::make_sync(move |_| format!("{about}\n"));
    serve_with_home(context, home, routes).await
}

/// The same with something else at `/`.
///
/// # Errors
/// As [`serve`].
pub async fn serve_with_home(
    context: Context,
    home: impl IntoEndpoint<Endpoint: 'static>,
    routes: Route,
) -> anyhow::Result<()> {
    let Context {
        name,
        listener,
        shutdown,
        readiness,
        mut metrics,
    } = context;
    let server = server::Metrics::register(&mut metrics);
    let address = listener.local_addr().context("could not read the listening address")?;
    let operations = Route::new()
        .at("/", get(home))
        .at("/live", get(poem::endpoint::make_sync(|_| "live\n")))
        .at("/ready", get(ready).data(readiness.clone()))
        .at("/metrics", get(show_metrics).data(Arc::new(metrics)));
    let app = RequestScope {
        routes: routes.nest_no_strip("/", operations),
    };
    tracing::info!(service = name, %address, "listening");
    // Without a latch of its own, a service is ready when it listens.
    readiness.latch("starting").release();
    server::serve(
        async move || listener.accept().await,
        app,
        server::connection_limit(),
        server,
        shutdown,
    )
    .await;
    Ok(())
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

/// Reads a body of at most `limit` bytes, within its limit of time. The server throws away what is not read.
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
        .and_then(|length| length.parse::<usize>().ok())
        .unwrap_or(0);
    if length > limit {
        return Err(too_large());
    }
    let read = async {
        let mut stream = pin!(body.into_bytes_stream());
        let mut bytes = Vec::with_capacity(length);
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk?);
            if bytes.len() > limit {
                return Ok(None);
            }
        }
        io::Result::Ok(Some(bytes))
    };
    match timeout(BODY_DEADLINE, read).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => Err(too_large()),
        Ok(Err(error)) => Err(Problem::bad_request(format!(
            "the body broke off: {error}: nothing was written"
        ))),
        Err(_) => {
            let seconds = BODY_DEADLINE.as_secs();
            let detail = format!("expected the body within {seconds} s: nothing was written");
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

/// An endpoint for one method. Any other is answered with 405 and `Allow`, which poem's own 405 lacks.
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

/// Gives every request an id, and turns every error into a problem.
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
