//! `GET /orders/{order_id}`: asks repository-N, first for what it remembers, and then to look into the logs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{Known, OrderId, ParseOrderIdError, Partition};
use poem::http::StatusCode;
use poem::web::{Data, Path};
use poem::{EndpointExt, Response, Route, handler};
use service::client::Upstream;
use service::{Problem, http};
use tokio::sync::Semaphore;

use crate::remembered::RememberedOrders;

/// Questions that may be under way. More are refused.
const MAX_IN_FLIGHT: usize = 256;
/// How long a question may take. repository-N gives up somewhat earlier.
const DEADLINE: Duration = Duration::from_secs(2);

/// Where orders are asked for.
pub(crate) struct Tracking {
    repositories: BTreeMap<Partition, Repository>,
    in_flight: Semaphore,
}

/// Where the orders of one region are asked for.
pub(crate) struct Repository {
    pub(crate) remembered: RememberedOrders,
    /// For all other orders: repository-N looks for each in the logs, over a connection of its own.
    pub(crate) upstream: Upstream,
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
    pub(crate) fn new(repositories: BTreeMap<Partition, Repository>) -> Self {
        Self {
            repositories,
            in_flight: Semaphore::new(MAX_IN_FLIGHT),
        }
    }

    async fn ask(&self, id: OrderId) -> Result<Response, Problem> {
        let asked = Instant::now();
        let not_found = |detail| Err(Problem::new(StatusCode::NOT_FOUND, detail));
        let partition = Partition::from(id.ordinal());
        let Some(repository) = self.repositories.get(&partition) else {
            let regions = self.repositories.len();
            return not_found(format!(
                "order {id} is of region {partition}, and there are {regions} regions"
            ));
        };
        match repository.remembered.find(id).await {
            Known::Shipped(json) => Ok(Response::builder().content_type("application/json").body(json)),
            Known::NotThere => not_found(format!("order {id} is not in the log")),
            Known::Nothing => {
                let rest = DEADLINE.saturating_sub(asked.elapsed());
                repository.upstream.forward(&format!("/orders/{id}"), rest).await
            }
        }
    }
}
