//! `GET /orders/{order_id}`: asks repository-N, which finds the order in the logs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::{OrderId, ParseOrderIdError, Partition};
use http_body_util::Full;
use poem::http::uri::Authority;
use poem::http::{Request, StatusCode, header};
use poem::web::{Data, Path};
use poem::{EndpointExt, Response, Route, handler};
use service::client::{Address, Answer, NoAnswer};
use service::{Problem, http};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Questions that may be under way. Each has a connection of its own. More are refused.
const MAX_IN_FLIGHT: usize = 256;
/// How long a question may take. repository-N gives up somewhat earlier.
const DEADLINE: Duration = Duration::from_secs(2);

/// Where orders are asked for.
pub(crate) struct Tracking {
    repositories: BTreeMap<Partition, Authority>,
    in_flight: Semaphore,
}

/// Adds the route.
pub(crate) fn add_to(routes: Route, tracking: Tracking) -> Route {
    routes.at("/orders/:order_id", http::get(track.data(Arc::new(tracking))))
}

#[handler]
async fn track(Path(order_id): Path<String>, Data(tracking): Data<&Arc<Tracking>>) -> Result<Response, Problem> {
    let id: OrderId = order_id
        .parse()
        .map_err(|error: ParseOrderIdError| Problem::bad_request(error.to_string()))?;
    let too_many = |_| Problem::unavailable("too many orders are asked for: ask again");
    let _in_flight = tracking.in_flight.try_acquire().map_err(too_many)?;
    let late = |_| {
        let detail = format!(
            "repository-{} has not answered within {} s: ask again",
            id.ordinal(),
            DEADLINE.as_secs()
        );
        Problem::new(StatusCode::GATEWAY_TIMEOUT, detail)
    };
    timeout(DEADLINE, tracking.ask(id)).await.map_err(late)?
}

impl Tracking {
    pub(crate) fn new(repositories: BTreeMap<Partition, Authority>) -> Self {
        Self {
            repositories,
            in_flight: Semaphore::new(MAX_IN_FLIGHT),
        }
    }

    async fn ask(&self, id: OrderId) -> Result<Response, Problem> {
        let partition = Partition::from(id.ordinal());
        let Some(host) = self.repositories.get(&partition) else {
            let regions = self.repositories.len();
            let detail = format!("order {id} is of region {partition}, and there are {regions} regions");
            return Err(Problem::new(StatusCode::NOT_FOUND, detail));
        };
        let away = |reason: String| Problem::unavailable(format!("repository-{partition}: out of reach ({reason})"));
        let request = Request::get(format!("/orders/{id}"))
            .header(header::HOST, host.as_str())
            .body(Full::default())
            .expect("a path and an authority");
        let mut connection = Address::new(host.clone())
            .connect()
            .await
            .map_err(|error| away(format!("{error:#}")))?;
        let answer = connection.send(request).await;
        let Answer { status, body } =
            answer.map_err(|(NoAnswer::NotSent(reason) | NoAnswer::Lost(reason))| away(reason))?;
        let content_type = if status == StatusCode::OK {
            "application/json"
        } else {
            "application/problem+json"
        };
        Ok(Response::builder().status(status).content_type(content_type).body(body))
    }
}
