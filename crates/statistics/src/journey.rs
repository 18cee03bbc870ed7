//! `GET /orders/{order_id}`: asks the gateway, so that the page needs no rights at another host.

use std::sync::Arc;
use std::time::Duration;

use domain::{OrderId, ParseOrderIdError};
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
const MAX_IN_FLIGHT: usize = 32;
/// How long a question may take. The gateway gives up somewhat earlier.
const DEADLINE: Duration = Duration::from_secs(3);

/// Where orders are asked for.
struct Journeys {
    gateway: Authority,
    in_flight: Semaphore,
}

/// Adds the route.
pub(crate) fn add_to(routes: Route, gateway: Authority) -> Route {
    let journeys = Journeys {
        gateway,
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
    let late = |_| {
        let detail = format!(
            "the gateway has not answered within {} s: ask again",
            DEADLINE.as_secs()
        );
        Problem::new(StatusCode::GATEWAY_TIMEOUT, detail)
    };
    timeout(DEADLINE, journeys.ask(id)).await.map_err(late)?
}

impl Journeys {
    async fn ask(&self, id: OrderId) -> Result<Response, Problem> {
        let away = |reason: String| Problem::unavailable(format!("gateway: out of reach ({reason})"));
        let request = Request::get(format!("/orders/{id}"))
            .header(header::HOST, self.gateway.as_str())
            .body(Full::default())
            .expect("a path and an authority");
        let mut connection = Address::new(self.gateway.clone())
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
