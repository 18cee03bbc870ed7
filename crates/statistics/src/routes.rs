//! `/api/statistics`, `/api/events`, and `/orders/{order_id}`, which the gateway answers.

use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use futures_util::{StreamExt, stream};
use poem::web::Data;
use poem::web::sse::{Event, SSE};
use poem::{EndpointExt, IntoResponse, Response, Route, handler};
use prometheus_client::metrics::gauge::Gauge;
use serde::Serialize;
use service::{Problem, http};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::figures::Figures;
use crate::recent::History;
use crate::viewers::Viewers;

/// Clients that may follow the figures: a screen for everybody in a building. Each keeps a connection, and gets some
/// 4 KiB a second while orders flow.
const MAX_EVENT_CLIENTS: usize = 100;
/// A comment is sent after this long without an event: keeps proxies from closing the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The time before a browser connects again.
const RETRY: Duration = Duration::from_secs(1);

/// The state that the handlers share.
pub(crate) struct State {
    pub(crate) figures: Arc<Figures>,
    pub(crate) viewers: Arc<Viewers>,
    /// The URL of the gateway for the commands on the page.
    pub(crate) public_gateway_url: String,
    event_clients: Arc<Semaphore>,
    event_clients_gauge: Gauge,
    shutdown: CancellationToken,
}

impl State {
    pub(crate) fn new(
        figures: Arc<Figures>,
        viewers: Arc<Viewers>,
        public_gateway_url: String,
        event_clients_gauge: Gauge,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            figures,
            viewers,
            public_gateway_url,
            event_clients: Arc::new(Semaphore::new(MAX_EVENT_CLIENTS)),
            event_clients_gauge,
            shutdown,
        }
    }
}

pub(crate) fn routes(state: State) -> Route {
    let state = Arc::new(state);
    Route::new()
        .at("/api/statistics", http::get(show.data(Arc::clone(&state))))
        .at("/api/events", http::get(events.data(state)))
}

#[handler]
async fn show(Data(state): Data<&Arc<State>>) -> Response {
    state.viewers.asked();
    state.figures.services.fresh().await;
    Response::builder()
        .content_type("application/json")
        .header("cache-control", "no-store")
        .body(state.figures.to_json())
}

/// The first event of a client: what does not change, and what was before.
#[derive(Serialize)]
struct Start<'a> {
    gateway: &'a str,
    history: History,
    time: Timestamp,
}

/// The figures now, and again after changes, until the service stops.
#[handler]
fn events(Data(state): Data<&Arc<State>>) -> Result<Response, Problem> {
    let client = EventClient::new(state)?;
    let (changes, shutdown) = (state.figures.follow(), state.shutdown.clone());
    let events = stream::unfold((changes, client), move |(mut changes, client)| {
        let shutdown = shutdown.clone();
        async move {
            shutdown.run_until_cancelled(changes.changed()).await?.ok()?;
            let json = changes.borrow_and_update().to_string();
            Some((Event::message(json), (changes, client)))
        }
    });
    let retry = Event::Retry {
        retry: RETRY.as_secs() * 1000,
    };
    let start = Start {
        gateway: &state.public_gateway_url,
        history: state.figures.history(),
        time: Timestamp::now(),
    };
    let start = serde_json::to_string(&start).expect("numbers and strings are JSON");
    let start = Event::message(start).event_type("start");
    let stream = stream::iter([retry, start]).chain(events);
    Ok(SSE::new(stream).keep_alive(KEEP_ALIVE).into_response())
}

/// A client that follows the figures, until it is dropped.
struct EventClient {
    gauge: Gauge,
    viewers: Arc<Viewers>,
    _permit: OwnedSemaphorePermit,
}

impl EventClient {
    fn new(state: &State) -> Result<Self, Problem> {
        let Ok(permit) = Arc::clone(&state.event_clients).try_acquire_owned() else {
            let detail = format!("{MAX_EVENT_CLIENTS} clients follow the events already: ask /api/statistics");
            return Err(Problem::unavailable(detail));
        };
        let gauge = state.event_clients_gauge.clone();
        gauge.inc();
        let viewers = Arc::clone(&state.viewers);
        viewers.connected();
        Ok(Self {
            gauge,
            viewers,
            _permit: permit,
        })
    }
}

impl Drop for EventClient {
    fn drop(&mut self) {
        self.gauge.dec();
        self.viewers.disconnected();
    }
}
