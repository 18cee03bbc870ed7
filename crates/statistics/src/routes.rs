//! `/api/statistics` and `/api/events`.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use poem::web::Data;
use poem::web::sse::{Event, SSE};
use poem::{EndpointExt, IntoResponse, Response, Route, handler};
use service::http;
use tokio_util::sync::CancellationToken;

use crate::Figures;

/// The least time between two events: a page cannot show more, and each costs the whole of the figures.
const EVENT_INTERVAL: Duration = Duration::from_millis(250);
/// A comment is sent after this long without an event: keeps proxies from closing the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What a browser waits before it connects again.
const RETRY: Duration = Duration::from_secs(1);

pub(crate) fn routes(figures: Arc<Figures>, shutdown: CancellationToken) -> Route {
    Route::new()
        .at("/api/statistics", http::get(show.data(Arc::clone(&figures))))
        .at("/api/events", http::get(events.data(figures).data(shutdown)))
}

fn answer(figures: &Figures) -> String {
    serde_json::to_string(&*figures.lock()).expect("numbers and strings are JSON")
}

#[handler]
fn show(Data(figures): Data<&Arc<Figures>>) -> Response {
    Response::builder()
        .content_type("application/json")
        .body(answer(figures))
}

/// The figures now, and again after each change, until the service stops.
#[handler]
fn events(Data(figures): Data<&Arc<Figures>>, Data(shutdown): Data<&CancellationToken>) -> Response {
    let mut changed = figures.changed.subscribe();
    changed.mark_changed();
    let (figures, ended) = (Arc::clone(figures), shutdown.clone());
    let stream = stream::unfold((changed, true), move |(mut changed, first)| {
        let (figures, ended) = (Arc::clone(&figures), ended.clone());
        async move {
            let next = async {
                if !first {
                    tokio::time::sleep(EVENT_INTERVAL).await;
                }
                changed.changed().await
            };
            ended.run_until_cancelled(next).await?.ok()?;
            changed.borrow_and_update();
            Some((Event::message(answer(&figures)), (changed, false)))
        }
    });
    let retry = Event::Retry {
        retry: RETRY.as_secs() * 1000,
    };
    SSE::new(stream::iter([retry]).chain(stream))
        .keep_alive(KEEP_ALIVE)
        .into_response()
}
