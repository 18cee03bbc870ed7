//! `GET /orders/{order_id}`: asks repository-N, which knows where the order is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::{OrderId, ParseOrderIdError, Partition};
use poem::http::StatusCode;
use poem::http::uri::Authority;
use poem::web::{Data, Path};
use poem::{EndpointExt, Response, Route, handler};
use service::client::Upstream;
use service::{Problem, http};
use tokio::sync::Semaphore;

/// Questions that may be under way, each over a connection of its own. More are refused.
const MAX_IN_FLIGHT: usize = 256;
/// How long a question may take. repository-N gives up somewhat earlier.
const DEADLINE: Duration = Duration::from_secs(2);

/// Where orders are asked for.
pub(crate) struct Tracking {
    repositories: BTreeMap<Partition, Upstream>,
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
    tracking.ask(id).await
}

impl Tracking {
    pub(crate) fn new(repositories: BTreeMap<Partition, Authority>) -> Self {
        let upstream = |(partition, host)| (partition, Upstream::new(&format!("repository-{partition}"), host));
        Self {
            repositories: repositories.into_iter().map(upstream).collect(),
            in_flight: Semaphore::new(MAX_IN_FLIGHT),
        }
    }

    async fn ask(&self, id: OrderId) -> Result<Response, Problem> {
        let partition = Partition::from(id.ordinal());
        let Some(repository) = self.repositories.get(&partition) else {
            let regions = self.repositories.len();
            let detail = format!("order {id} is of region {partition}, and there are {regions} regions");
            return Err(Problem::new(StatusCode::NOT_FOUND, detail));
        };
        repository.forward(&format!("/orders/{id}"), DEADLINE).await
    }
}
