//! `POST /submit-order`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use domain::{BatchedSubmission, Partition, RecordHeaders, Region, Replicas, Timestamp};
use poem::http::{HeaderName, HeaderValue};
use poem::web::Data;
use poem::{Body, EndpointExt, IntoResponse, Request, Response, Route, handler};
use service::{Problem, http};

use crate::answer::Accepted;
use crate::inbox::OrderSender;
use crate::metrics::Metrics;
use crate::order_request::{Form, OrderRequest};

/// Says that a reply is that of an earlier request with the same `Idempotency-Key`. The draft of the IETF has no name for
/// it; this is the one that payment services use.
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The state that the handlers share.
pub(crate) struct State {
    pub(crate) name: String,
    pub(crate) replicas: Replicas,
    /// One for each partition of `replicas`.
    pub(crate) senders: BTreeMap<Partition, OrderSender>,
    pub(crate) metrics: Metrics,
}

pub(crate) fn routes(state: State) -> Route {
    Route::new().at("/submit-order", http::post(submit_order.data(Arc::new(state))))
}

#[handler]
async fn submit_order(request: &Request, body: Body, Data(state): Data<&Arc<State>>) -> Response {
    let begun = Instant::now();
    let (partition, response) = match state.read(request, body).await {
        Ok((partition, submission)) => (Some(partition), state.submit(partition, submission, request).await),
        Err(problem) => (None, Err(problem)),
    };
    let response = response.unwrap_or_else(IntoResponse::into_response);
    state.metrics.count(partition, response.status(), begun.elapsed());
    response
}

impl State {
    async fn read(&self, request: &Request, body: Body) -> Result<(Partition, BatchedSubmission), Problem> {
        let form = Form::from_content_type(request.content_type())?;
        let header = |name| request.headers().get_all(name).iter().map(HeaderValue::as_bytes);
        let mut headers = RecordHeaders::read(header)
            .map_err(|error| Problem::bad_request(format!("{error}: nothing was written")))?;
        let body = http::read_body(request, body, http::BODY_LIMIT).await?;
        let order_request = OrderRequest::parse(form, &body, self.replicas)?;
        let partition = order_request.partition;
        headers.idempotency_request = headers.idempotency_key.is_some().then(|| order_request.text());
        let submission = order_request.into_submission(Timestamp::now().unix_seconds());
        Ok((partition, BatchedSubmission { headers, submission }))
    }

    async fn submit(
        &self,
        partition: Partition,
        submission: BatchedSubmission,
        request: &Request,
    ) -> Result<Response, Problem> {
        let Accepted {
            order_id,
            offset,
            receipt,
            replayed,
        } = self.senders[&partition].submit(submission).await?;
        let (service, request_id, region) = (self.name.as_str(), http::request_id(request), Region::from(partition));
        let partition = partition.id();
        let response = Response::builder().content_type("application/json");
        if replayed {
            tracing::info!(service, %order_id, partition, offset, %region, request_id, "order was accepted before");
            return Ok(response.header(IDEMPOTENCY_REPLAYED, "true").body(receipt));
        }
        tracing::info!(service, %order_id, partition, offset, %region, request_id, "order accepted");
        Ok(response.body(receipt))
    }
}
