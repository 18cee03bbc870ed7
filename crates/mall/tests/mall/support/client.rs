//! An HTTP client.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

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

impl Client {
    pub(crate) fn new() -> Self {
        Self(HyperClient::builder(TokioExecutor::new()).build_http())
    }

    /// A request; an error when there is no reply.
    pub(crate) async fn try_request(&self, request: Request<Full<Bytes>>) -> Result<Reply, String> {
        let begun = Instant::now();
        let response = self.0.request(request).await.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
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

    pub(crate) async fn post(&self, address: SocketAddr, content_type: &str, body: impl Into<Bytes>) -> Reply {
        self.try_post(address, content_type, body).await.expect("a reply")
    }

    pub(crate) async fn try_post(
        &self,
        address: SocketAddr,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Result<Reply, String> {
        let request = Request::post(format!("http://{address}/submit-order"))
            .header("content-type", content_type)
            .body(Full::new(body.into()))
            .expect("a valid request");
        self.try_request(request).await
    }

    /// Orders something, as `curl -d partition=N` does.
    pub(crate) async fn order(&self, gateway: SocketAddr, partition: u16) -> Reply {
        self.post(
            gateway,
            "application/x-www-form-urlencoded",
            format!("partition={partition}"),
        )
        .await
    }

    pub(crate) async fn try_order(&self, gateway: SocketAddr, partition: u16) -> Result<Reply, String> {
        self.try_post(
            gateway,
            "application/x-www-form-urlencoded",
            format!("partition={partition}"),
        )
        .await
    }
}
