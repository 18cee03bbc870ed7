//! An HTTP client.

use std::error::Error as _;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An HTTP client that keeps its connections.
#[derive(Clone, Debug)]
pub(crate) struct Client(HyperClient<HttpConnector, Full<Bytes>>);

/// A reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) text: String,
    pub(crate) took: Duration,
}

impl Reply {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The id of an order that was taken.
    pub(crate) fn order_id(&self) -> String {
        self.json()["order_id"]
            .as_str()
            .unwrap_or_else(|| panic!("no order id in {}", self.text))
            .to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Why there is no reply.
pub(crate) enum NoReply {
    /// Nothing was sent: the connection was refused, or it was closed before the request was begun.
    NotSent(String),
    /// The connection broke while the request was on its way: it may have been handled.
    Broken(String),
}

impl fmt::Debug for NoReply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(reason) => write!(formatter, "the request was not sent: {reason}"),
            Self::Broken(reason) => write!(formatter, "the connection broke: {reason}"),
        }
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

impl Client {
    pub(crate) fn new() -> Self {
        Self(HyperClient::builder(TokioExecutor::new()).build_http())
    }

    /// Any request.
    pub(crate) async fn try_request(&self, request: Request<Full<Bytes>>) -> Result<Reply, NoReply> {
        let begun = Instant::now();
        let response = self.0.request(request).await.map_err(|error| {
            let cause = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
            if error.is_connect() || cause.is_some_and(hyper::Error::is_canceled) {
                NoReply::NotSent(format!("{error:?}"))
            } else {
                NoReply::Broken(format!("{error:?}"))
            }
        })?;
        let (head, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|error| NoReply::Broken(error.to_string()))?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            text,
            took: begun.elapsed(),
        })
    }

    pub(crate) async fn get(&self, address: SocketAddr, path: &str) -> Reply {
        let request = Request::get(format!("http://{address}{path}"))
            .body(Full::default())
            .expect("a valid request");
        self.try_request(request).await.expect("a reply")
    }

    /// Posts an order in any form, with more headers.
    pub(crate) async fn post(&self, gateway: SocketAddr, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        self.try_request(post(gateway, headers, body)).await.expect("a reply")
    }

    /// Posts an order as JSON, with more headers.
    pub(crate) async fn post_json(&self, address: SocketAddr, headers: &[(&str, &str)], body: &str) -> Reply {
        let headers = [&[("content-type", "application/json")], headers].concat();
        self.post(address, &headers, body.to_owned()).await
    }

    /// Posts an order as a form, with more headers.
    pub(crate) async fn post_form(&self, gateway: SocketAddr, headers: &[(&str, &str)], form: &str) -> Reply {
        let headers = [&[("content-type", FORM)], headers].concat();
        self.post(gateway, &headers, form.to_owned()).await
    }

    /// Orders something, as `curl -d partition=N` does.
    pub(crate) async fn order(&self, gateway: SocketAddr, partition: u16) -> Reply {
        let form = format!("partition={partition}");
        self.try_order(gateway, &form).await.expect("a reply")
    }

    /// Orders something, with a form.
    pub(crate) async fn try_order(&self, gateway: SocketAddr, form: &str) -> Result<Reply, NoReply> {
        self.try_request(post(gateway, &[("content-type", FORM)], form.to_owned()))
            .await
    }
}

fn post(gateway: SocketAddr, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::post(format!("http://{gateway}/submit-order"));
    headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value))
        .body(Full::new(body.into()))
        .expect("a valid request")
}

/// Sends bytes as they are, over a connection of their own.
pub(crate) async fn send_raw(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut connection = TcpStream::connect(address).await.expect("a connection");
    connection.write_all(bytes).await.expect("sent");
    connection
}

/// The status of the reply on such a connection.
pub(crate) async fn read_status(connection: &mut TcpStream) -> String {
    let mut start = [0; 12];
    connection.read_exact(&mut start).await.expect("a reply");
    String::from_utf8_lossy(&start).replace("HTTP/1.1 ", "")
}
