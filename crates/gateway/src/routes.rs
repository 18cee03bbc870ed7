//! `POST /submit-order`.

use std::sync::Arc;
use std::time::Instant;

use domain::{Partition, RecordHeaders, Region, Replicas, Timestamp};
use poem::http::{HeaderValue, StatusCode};
use poem::web::Data;
use poem::{Body, EndpointExt, IntoResponse, Request, Response, Route, handler};
use service::{Problem, http};
use tokio::sync::Semaphore;

use crate::Config;
use crate::answer::{self, Accepted, Failure};
use crate::metrics::Metrics;
use crate::order_request::{Form, OrderRequest};
use crate::orders::{Answer, NoAnswer, Orders};

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
        let header = |name| request.headers().get(name).map(HeaderValue::as_bytes);
        let headers = RecordHeaders::read(header)
            .map_err(|error| Problem::bad_request(format!("{error}: nothing was written")))?;
        let body = http::read_body(request, body, http::BODY_LIMIT).await?;
        let order_request = OrderRequest::parse(form, &body, self.replicas)?;
        let partition = order_request.partition;
        let submission = order_request.into_submission(Timestamp::now().unix_seconds());
        match self.orders.submit(partition, &submission, headers).await {
            Ok(Answer {
                status: StatusCode::OK,
                body,
            }) => {
                let accepted = answer::receipt(partition, body).map_err(|failure| self.warn(partition, failure))?;
                self.log(partition, &accepted, http::request_id(request));
                let response = Response::builder().content_type("application/json");
                Ok(response.body(accepted.receipt))
            }
            Ok(Answer { status, body }) => Err(self.warn(partition, answer::failure(partition, status, &body))),
            Err(NoAnswer::NotSent(reason)) => {
                let reason = format!("order-{partition} is out of reach ({reason}): nothing was written");
                Err(self.warn(partition, Failure::NotWritten(reason)))
            }
            Err(NoAnswer::Lost(reason)) => {
                let reason =
                    format!("order-{partition} did not answer ({reason}): it is unknown whether the order was written");
                let order_id = None;
                Err(self.warn(partition, Failure::Unknown { order_id, reason }))
            }
        }
    }

    fn log(&self, partition: Partition, accepted: &Accepted, request_id: &str) {
        let (service, region) = (self.name.as_str(), Region::from(partition));
        let Accepted { order_id, offset, .. } = accepted;
        tracing::info!(service, %order_id, partition = partition.id(), offset, %region, request_id, "order accepted");
    }

    fn warn(&self, partition: Partition, failure: Failure) -> Problem {
        let (service, region) = (self.name.as_str(), Region::from(partition));
        let (message, error) = match &failure {
            Failure::NotWritten(reason) => ("order not written", reason),
            Failure::Unknown { reason, .. } => ("order with unknown outcome", reason),
        };
        tracing::warn!(service, partition = partition.id(), %region, error, "{message}");
        failure.into()
    }
}
