//! `GET /orders/{order_id}` and `GET /orders?ids=` of repository-N.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{Journey, Known, OrderId, ParseOrderIdError, Partition};
use kafka::Config;
use parking_lot::Mutex;
use poem::http::StatusCode;
use poem::web::{Data, Json, Path, Query};
use poem::{EndpointExt, Route, handler};
use serde::Deserialize;
use service::{Problem, http};
use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::backfill::Backfill;
use crate::known::KnownOrders;
use crate::lookup::Lookup;

/// Orders that are looked for at the same time, each by two clients of the broker. On two cores more are no faster.
const AT_ONCE: usize = 8;
/// Questions that may wait for one of these. More are refused.
const MAX_WAITING: usize = 256;
/// How long a question may take. The gateway gives up after 2 s.
const DEADLINE: Duration = Duration::from_millis(1800);
/// Clients that nobody has used for this long are closed: an idle client costs a third of a millisecond each second.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// Finds orders for those who ask over HTTP.
pub(crate) struct Lookups {
    kafka: Config,
    name: String,
    partition: Partition,
    known: KnownOrders,
    at_once: Arc<Semaphore>,
    waiting: Semaphore,
    /// Those that nobody uses at the moment, and since when.
    idle: Mutex<Vec<(Lookup, Instant)>>,
    used: Notify,
    backfill: Arc<Backfill>,
}

pub(crate) fn routes(lookups: Arc<Lookups>) -> Route {
    Route::new()
        .at("/orders", http::get(find_known.data(Arc::clone(&lookups))))
        .at("/orders/:order_id", http::get(find.data(lookups)))
}

/// The order ids of a question, with commas between them.
#[derive(Deserialize)]
struct Ids {
    ids: String,
}

/// What is known of each order without looking into the logs.
#[handler]
fn find_known(Query(Ids { ids }): Query<Ids>, Data(lookups): Data<&Arc<Lookups>>) -> Result<Json<Vec<Known>>, Problem> {
    let ids: Vec<OrderId> = ids.split(',').map(parse).collect::<Result<_, _>>()?;
    if ids.len() > Known::MAX_TOGETHER {
        let detail = format!("expected at most {} ids, found {}", Known::MAX_TOGETHER, ids.len());
        return Err(Problem::bad_request(detail));
    }
    let known = |id| lookups.known.find(id, lookups.partition);
    Ok(Json(ids.into_iter().map(known).collect()))
}

fn parse(id: &str) -> Result<OrderId, Problem> {
    id.parse()
        .map_err(|error: ParseOrderIdError| Problem::bad_request(error.to_string()))
}

/// The journey of one order.
#[handler]
async fn find(Path(order_id): Path<String>, Data(lookups): Data<&Arc<Lookups>>) -> Result<Json<Journey>, Problem> {
    let id = parse(&order_id)?;
    let found = timeout(DEADLINE, Arc::clone(lookups).find(id)).await;
    let late = |_| {
        let detail = format!("the order was not found within {} s: ask again", DEADLINE.as_secs_f32());
        Problem::new(StatusCode::GATEWAY_TIMEOUT, detail)
    };
    let not_found = || Problem::new(StatusCode::NOT_FOUND, format!("order {id} is not in the log"));
    found.map_err(late)??.map(Json).ok_or_else(not_found)
}

impl Lookups {
    pub(crate) fn new(
        kafka: &Config,
        name: &str,
        partition: Partition,
        known: KnownOrders,
        backfill: Arc<Backfill>,
    ) -> Arc<Self> {
        Arc::new(Self {
            kafka: kafka.clone(),
            name: name.to_owned(),
            partition,
            known,
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Semaphore::new(MAX_WAITING),
            idle: Mutex::default(),
            used: Notify::new(),
            backfill,
        })
    }

    async fn find(self: Arc<Self>, id: OrderId) -> Result<Option<Journey>, Problem> {
        match self.known.find(id, self.partition) {
            Known::Shipped(journey) => return Ok(Some(*journey)),
            Known::NotThere => return Ok(None),
            Known::Nothing => {}
        }
        let deadline = Instant::now() + DEADLINE;
        let too_many = |_| Problem::unavailable("too many orders are looked for: ask again");
        let _waiting = self.waiting.try_acquire().map_err(too_many)?;
        let stopping = |_| Problem::unavailable("stopping");
        let permit = Arc::clone(&self.at_once).acquire_owned().await.map_err(stopping)?;
        let lookups = Arc::clone(&self);
        // The thread keeps the permit: it may be busy for longer than the question is waited for.
        let search = move || {
            let _permit = permit;
            lookups.find_now(id, deadline)
        };
        let found = spawn_blocking(search).await;
        let error = |reason: String| Problem::unavailable(format!("order {id} could not be looked for: {reason}"));
        found
            .map_err(|panicked| error(panicked.to_string()))?
            .map_err(|reason| error(format!("{reason:#}")))
    }

    /// Blocks. Clients that had an error are not used again.
    fn find_now(&self, id: OrderId, deadline: Instant) -> anyhow::Result<Option<Journey>> {
        let idle = self.idle.lock().pop();
        let lookup = match idle {
            Some((lookup, _)) => lookup,
            None => Lookup::connect(&self.kafka, &self.name, self.partition, self.known.clone())?,
        };
        let found = lookup.find(id, deadline)?;
        self.idle.lock().push((lookup, Instant::now()));
        self.used.notify_one();
        if found.as_ref().is_some_and(|journey| journey.shipment.is_some()) {
            self.backfill.missed();
        }
        Ok(found)
    }

    /// Closes clients that nobody uses, until it is told to stop. Sleeps while there are none.
    pub(crate) async fn close_idle(&self, shutdown: &CancellationToken) {
        let close = async {
            loop {
                self.used.notified().await;
                while !self.idle.lock().is_empty() {
                    sleep(MAX_IDLE).await;
                    let old = self
                        .idle
                        .lock()
                        .extract_if(.., |(_, since)| since.elapsed() > MAX_IDLE)
                        .collect::<Vec<_>>();
                    // Closing blocks. An error is a panic, which has been logged.
                    let _ = spawn_blocking(move || drop(old)).await;
                }
            }
        };
        shutdown.run_until_cancelled(close).await;
    }
}
