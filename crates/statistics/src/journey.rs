//! `GET /orders/{order_id}`: asks the gateway, so that the page needs no rights at another host.

use std::sync::Arc;
use std::time::Duration;

use domain::{OrderId, ParseOrderIdError};
use poem::http::uri::Authority;
use poem::web::{Data, Path};
use poem::{EndpointExt, Response, Route, handler};
use service::client::{Address, Upstream};
use service::{Problem, http};
use tokio::sync::Semaphore;

/// Questions that may be under way. More are refused.
const MAX_IN_FLIGHT: usize = 32;
/// Timeout of a question. The gateway gives up somewhat earlier.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The gateway, which is asked for orders.
struct Journeys {
    gateway: Upstream,
    in_flight: Semaphore,
}

/// Adds the route.
pub(crate) fn add_to(routes: Route, gateway: Authority) -> Route {
    let journeys = Journeys {
        gateway: Upstream::new("gateway", Address::new(gateway)),
        in_flight: Semaphore::new(MAX_IN_FLIGHT),
    };
    routes.at("/orders/:order_id", http::get(journey.data(Arc::new(journeys))))
}

#[handler]
async fn journey(Path(order_id): Path<String>, Data(journeys): Data<&Arc<Journeys>>) -> Result<Response, Problem> {
    let id: OrderId = order_id
        .parse()
        .map_err(|error: ParseOrderIdError| Problem::bad_request(error.to_string()))?;
    let too_many = |_| Problem::unavailable("too many orders are asked for: ask again");
    let _in_flight = journeys.in_flight.try_acquire().map_err(too_many)?;
    journeys.gateway.forward(&format!("/orders/{id}"), TIMEOUT).await
}
