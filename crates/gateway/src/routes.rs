//! `POST /submit-order`.

use std::sync::Arc;
use std::time::Instant;

use domain::{Partition, Region, Replicas, Timestamp};
use poem::http::{HeaderMap, HeaderName, StatusCode, header};
use poem::web::Data;
use poem::{Body, EndpointExt, IntoResponse, Request, Response, Route, handler};
use serde::Deserialize;
use service::{Problem, http};
use tokio::sync::Semaphore;

use crate::Config;
use crate::metrics::Metrics;
use crate::order_request::{Form, OrderRequest, check_idempotency_key};
use crate::orders::{Answer, NoAnswer, Orders};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Headers that go on to order-N.
const PASSED_ON: [HeaderName; 3] = [
    IDEMPOTENCY_KEY,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("x-request-id"),
];

/// What the handlers share.
pub(crate) struct State {
    name: String,
    replicas: Replicas,
    orders: Orders,
    in_flight: Semaphore,
    metrics: Metrics,
}

impl State {
    pub(crate) fn new(name: &str, config: &Config, orders: Orders, metrics: Metrics) -> Self {
        let in_flight = Semaphore::new(config.settings.max_in_flight.get() as usize);
        Self {
            name: name.to_owned(),
            replicas: config.replicas,
            orders,
            in_flight,
            metrics,
        }
    }
}

pub(crate) fn routes(state: State) -> Route {
    Route::new().at("/submit-order", http::post(submit_order.data(Arc::new(state))))
}

#[handler]
async fn submit_order(request: &Request, body: Body, Data(state): Data<&Arc<State>>) -> Response {
    let begun = Instant::now();
    let response = state
        .submit(request, body)
        .await
        .unwrap_or_else(IntoResponse::into_response);
    state.metrics.count(response.status(), begun.elapsed());
    response
}

impl State {
    async fn submit(&self, request: &Request, body: Body) -> Result<Response, Problem> {
        let Ok(_permit) = self.in_flight.try_acquire() else {
            return Err(Problem::unavailable(
                "too many orders are in flight: nothing was written",
            ));
        };
        let form = Form::from_content_type(request.content_type())?;
        if let Some(key) = request.headers().get(IDEMPOTENCY_KEY) {
            check_idempotency_key(key.as_bytes())?;
        }
        let body = http::read_body(request, body).await?;
        let order_request = OrderRequest::parse(form, &body, self.replicas)?;
        let partition = order_request.partition;
        let submission = order_request.into_submission(Timestamp::now().unix_seconds());
        match self.orders.submit(partition, &submission, passed_on(request)).await {
            Ok(answer) => self.relay(partition, answer, http::request_id(request)),
            Err(NoAnswer::NotSent(reason)) => {
                self.warn(partition, &reason, "order service out of reach");
                Err(Problem::unavailable(format!(
                    "order-{partition} is out of reach: nothing was written"
                )))
            }
            Err(NoAnswer::Lost(reason)) => {
                self.warn(partition, &reason, "order with unknown outcome");
                let detail = format!("order-{partition} did not answer: it is unknown whether the order was written");
                Err(Problem::unknown_outcome(detail, None))
            }
        }
    }

    /// Passes an answer on. One that order-N should not give says nothing about what it did.
    fn relay(&self, partition: Partition, answer: Answer, request_id: &str) -> Result<Response, Problem> {
        #[derive(Deserialize)]
        struct Receipt<'a> {
            offset: i64,
            order_id: &'a str,
        }
        let Answer { status, body } = answer;
        let content_type = match status {
            StatusCode::OK => {
                if let Ok(Receipt { offset, order_id }) = serde_json::from_slice(&body) {
                    let (service, region) = (self.name.as_str(), Region::from(partition));
                    tracing::info!(service, order_id, partition = partition.id(), offset, %region, request_id, "order accepted");
                }
                "application/json"
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => "application/problem+json",
            _ => {
                self.warn(partition, status.as_str(), "unexpected answer of an order service");
                let detail =
                    format!("order-{partition} answered {status}: it is unknown whether the order was written");
                return Err(Problem::unknown_outcome(detail, None));
            }
        };
        let mut response = Response::builder().status(status).content_type(content_type).body(body);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, 1.into());
        }
        Ok(response)
    }

    fn warn(&self, partition: Partition, error: &str, message: &'static str) {
        let (service, region) = (self.name.as_str(), Region::from(partition));
        tracing::warn!(service, partition = partition.id(), %region, error, "{message}");
    }
}

fn passed_on(request: &Request) -> HeaderMap {
    let headers = request.headers();
    PASSED_ON
        .iter()
        .filter_map(|name| Some((name.clone(), headers.get(name)?.clone())))
        .collect()
}
