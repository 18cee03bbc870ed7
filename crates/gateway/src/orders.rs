//! Talks to the order services.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use domain::{Partition, RecordHeaders, Submission};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use poem::http::{Method, Request, StatusCode, Uri, header};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower_service::Service;

use crate::Config;

/// Finding the address of an order service and connecting to it. They are near: who does not answer is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// From sending an order to its answer: order-N has its own within 5.5 s, and a client waits for 6 s at most.
const DEADLINE: Duration = Duration::from_millis(5800);
/// Connections to one order service that may be in the making. The search for the address of one that is gone can hang
/// in the system's resolver for many seconds, on a thread that cannot be stopped: this bounds how many.
const CONNECTING: usize = 16;
/// A connection is kept this long without traffic: less than the order service keeps it, so that none is used which
/// is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Clients of the order services, by partition, with their connections.
pub(crate) struct Orders(BTreeMap<Partition, (Client<BoundedConnector, Full<Bytes>>, Uri)>);

/// What order-N said.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// order-N said nothing.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// It never got the order.
    NotSent(String),
    /// It may have the order.
    Lost(String),
}

impl Orders {
    /// Clients of all order services.
    ///
    /// # Errors
    /// When one of them has no address.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let client = |partition: Partition| {
            let url = config.orders.get(&partition);
            let url = url.with_context(|| format!("expected an address of order-{partition}, found none"))?;
            let mut builder = Client::builder(TokioExecutor::new());
            builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_TIMEOUT);
            let url = format!("{url}submit-order")
                .parse()
                .context("could not make an address")?;
            Ok((partition, (builder.build(BoundedConnector::new()), url)))
        };
        config
            .replicas
            .partitions()
            .map(client)
            .collect::<anyhow::Result<_>>()
            .map(Self)
    }

    /// Posts an order to the service of its partition.
    pub(crate) async fn submit(
        &self,
        partition: Partition,
        submission: &Submission,
        headers: RecordHeaders,
    ) -> Result<Answer, NoAnswer> {
        let body = serde_json::to_vec(submission).map_err(|error| NoAnswer::NotSent(error.to_string()))?;
        let (client, url) = &self.0[&partition];
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.clone();
        let json = header::HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        for (name, value) in headers.into_pairs() {
            let value = value
                .try_into()
                .map_err(|_| NoAnswer::NotSent(format!("{name} is no header")))?;
            request.headers_mut().insert(name, value);
        }
        let exchange = async {
            let response = client.request(request).await.map_err(|error| {
                let sent = !error.is_connect();
                let reason = format!("{:#}", anyhow::Error::from(error));
                if sent {
                    NoAnswer::Lost(reason)
                } else {
                    NoAnswer::NotSent(reason)
                }
            })?;
            let status = response.status();
            let body = response
                .into_body()
                .collect()
                .await
                .map_err(|error| NoAnswer::Lost(error.to_string()))?;
            Ok(Answer {
                status,
                body: body.to_bytes(),
            })
        };
        let late = || Err(NoAnswer::Lost(format!("no answer within {} s", DEADLINE.as_secs_f32())));
        timeout(DEADLINE, exchange).await.unwrap_or_else(|_| late())
    }
}

/// Connects within a bound that includes the search for the address, which hyper's own does not.
#[derive(Clone, Debug)]
struct BoundedConnector {
    connector: HttpConnector,
    permits: Arc<Semaphore>,
}

impl BoundedConnector {
    fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Self {
            connector,
            permits: Arc::new(Semaphore::new(CONNECTING)),
        }
    }
}

impl Service<Uri> for BoundedConnector {
    type Response = <HttpConnector as Service<Uri>>::Response;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        self.connector.poll_ready(context).map_err(io::Error::other)
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let (connecting, permits) = (self.connector.call(url), Arc::clone(&self.permits));
        let connected = async move {
            let permit = permits.acquire_owned().await.map_err(io::Error::other)?;
            // On a task of its own, so that the permit is kept for as long as the resolver's thread is.
            let task = tokio::spawn(async move {
                let connected = connecting.await;
                drop(permit);
                connected
            });
            task.await.map_err(io::Error::other)?.map_err(io::Error::other)
        };
        Box::pin(async move {
            let late = |_| {
                io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no connection within {CONNECT_TIMEOUT:?}"),
                )
            };
            timeout(CONNECT_TIMEOUT, connected).await.map_err(late)?
        })
    }
}
