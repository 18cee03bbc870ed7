//! `GET /orders/{order_id}`: asks the repository of the order's region, which finds it in the logs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::{OrderId, ParseOrderIdError, Partition, Region};
use poem::http::StatusCode;
use poem::web::{Data, Path};
use poem::{EndpointExt, Response, Route, handler};
use service::client::Upstream;
use service::{Problem, http};
use tokio::sync::Semaphore;

/// Questions of one region that may be under way. More are refused: a region that hangs does not hold up the others.
const MAX_IN_FLIGHT: usize = 128;
/// Timeout of a question. repository-N gives up somewhat earlier.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The repository of one region.
pub(crate) struct Repository {
    upstream: Upstream,
    in_flight: Semaphore,
}

impl Repository {
    pub(crate) fn new(upstream: Upstream) -> Self {
        Self {
            upstream,
            in_flight: Semaphore::new(MAX_IN_FLIGHT),
        }
    }
}

/// The repository of each region.
pub(crate) type Repositories = BTreeMap<Partition, Repository>;

/// Adds the route.
pub(crate) fn add_to(routes: Route, repositories: Repositories) -> Route {
    routes.at("/orders/:order_id", http::get(track.data(Arc::new(repositories))))
}

#[handler]
async fn track(
    Path(order_id): Path<String>,
    Data(repositories): Data<&Arc<Repositories>>,
) -> Result<Response, Problem> {
    let id: OrderId = order_id
        .parse()
        .map_err(|error: ParseOrderIdError| Problem::bad_request(error.to_string()))?;
    let partition = Partition::from(id.ordinal());
    let Some(repository) = repositories.get(&partition) else {
        let regions = repositories.len();
        let detail = format!("order {id} is of region {partition}, and there are {regions} regions");
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    };
    let too_many = |_| {
        Problem::unavailable(format!(
            "too many orders of {} are asked for: ask again",
            Region::from(partition)
        ))
    };
    let _in_flight = repository.in_flight.try_acquire().map_err(too_many)?;
    repository.upstream.forward(&format!("/orders/{id}"), TIMEOUT).await
}
