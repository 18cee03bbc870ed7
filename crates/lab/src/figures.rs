//! The figures that statistics shows.

use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::ServiceUrl;

const PATH: &str = "/api/statistics";
/// An answer has some kilobytes, and a few hundred bytes for each region.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// The answer to `GET /api/statistics`, as far as it is compared with the log.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Figures {
    pub(crate) regions: Vec<Counts>,
    pub(crate) total: Counts,
    pub(crate) offsets: Offsets,
    /// The offsets from which it counts: 0, unless retention had removed the start of a log.
    pub(crate) begins: Option<Offsets>,
}

/// An offset for each partition.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Offsets {
    pub(crate) order: Vec<i64>,
    pub(crate) shipment: Vec<i64>,
}

/// The figures of one region, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Counts {
    pub(crate) orders: u64,
    pub(crate) money: u64,
    pub(crate) shipped: u64,
    pub(crate) duplicates: u64,
    pub(crate) rejected: u64,
    /// Records of topic `order` without an outcome.
    #[serde(default)]
    pub(crate) waiting: u64,
}

impl Counts {
    /// Records of topic `order` that have an outcome.
    pub(crate) fn handled(self) -> u64 {
        self.shipped + self.duplicates + self.rejected
    }

    pub(crate) fn named(self) -> [(&'static str, u64); 5] {
        [
            ("orders", self.orders),
            ("money", self.money),
            ("shipped", self.shipped),
            ("duplicates", self.duplicates),
            ("rejected", self.rejected),
        ]
    }
}

impl Figures {
    /// Asks statistics once. Ends within `limit`.
    ///
    /// # Errors
    /// When it does not answer in time, or with something else.
    pub(crate) async fn ask(url: &ServiceUrl, limit: Duration) -> anyhow::Result<Self> {
        let late = |_| Err(anyhow!("no answer within {} s", limit.as_secs()));
        timeout(limit, get(url)).await.unwrap_or_else(late)
    }
}

async fn get(url: &ServiceUrl) -> anyhow::Result<Figures> {
    let stream = TcpStream::connect(url.authority()).await?;
    let (mut requests, driver) = handshake(TokioIo::new(stream)).await?;
    // It ends with the connection, that is with the sender.
    tokio::spawn(driver);
    let request = Request::get(PATH).header(header::HOST, url.authority());
    let response = requests.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let status = response.status();
    ensure!(status == StatusCode::OK, "expected 200 of {PATH}, found {status}");
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| anyhow!("{PATH}: {error}"))?.to_bytes();
    serde_json::from_slice(&body).with_context(|| format!("expected the JSON of {PATH}"))
}
