//! What every service serves over HTTP, and what its routes share.

mod metrics;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::FutureExt;
use poem::http::{HeaderValue, Method, StatusCode, Version, header};
use poem::web::Data;
use poem::{Body, Endpoint, EndpointExt, IntoEndpoint, IntoResponse, Request, Response, Route, handler};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use self::metrics::show_metrics;
use crate::server::{self, Limits, Unread};
use crate::{Context, Problem, Readiness};

/// The largest body of a request, in bytes, where a service sets no other: an order is 200.
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
        body_limit,
    } = context;
    let server_metrics = server::Metrics::register(&mut metrics);
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
        Limits::new(body_limit),
        server_metrics,
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

/// The body of a request, if it has at most `limit` bytes. The server has read it before the handler runs.
///
/// # Errors
/// 413, 408, or 400 when the client broke off.
pub async fn read_body(request: &Request, body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    if let Some(unread) = request.data::<Unread>() {
        return Err(unread.problem.clone());
    }
    let bytes = body.into_bytes().await;
    let bytes = bytes.map_err(|error| Problem::bad_request(error.to_string()))?;
    if bytes.len() > limit {
        return Err(server::too_large(limit));
    }
    Ok(bytes.into())
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
        let answer = async {
            check_host(&request)?;
            self.routes.call(request).await
        };
        let mut response = match AssertUnwindSafe(answer).catch_unwind().await {
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

/// Refuses what RFC 9112 (3.2) has refused: HTTP/1.1 without a `Host`, and any request with two, of which a proxy may have
/// checked the other. A client of HTTP/1.0, like a simple probe, need not send one.
fn check_host(request: &Request) -> Result<(), Problem> {
    let found = request.headers().get_all(header::HOST).iter().count();
    let needed = usize::from(request.version() >= Version::HTTP_11);
    if (needed..=1).contains(&found) {
        return Ok(());
    }
    Err(Problem::bad_request(format!(
        "expected one Host header, found {found}: nothing was written"
    )))
}
