//! `GET /orders/{order_id}` of repository-N.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{Journey, OrderId, ParseOrderIdError, Partition};
use kafka::Config;
use parking_lot::Mutex;
use poem::http::StatusCode;
use poem::web::{Data, Json, Path};
use poem::{EndpointExt, Route, handler};
use service::{Problem, http};
use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::lookup::Lookup;

/// Orders that are looked up at the same time, each by two clients of the broker. On two cores more are no faster.
const MAX_CONCURRENT: usize = 8;
/// Questions that may wait for one of these. More are refused.
const MAX_WAITING: usize = 256;
/// Timeout of a question. The gateway gives up after 2 s.
const TIMEOUT: Duration = Duration::from_millis(1800);
/// Clients that were not used for this long are closed: an idle client costs a third of a millisecond each second.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// Finds orders for questions over HTTP.
pub(crate) struct Lookups {
    kafka: Config,
    name: String,
    partition: Partition,
    shutdown: CancellationToken,
    concurrent: Arc<Semaphore>,
    waiting: Semaphore,
    /// Clients that are not in use, and since when.
    idle: Mutex<Vec<(Lookup, Instant)>>,
    used: Notify,
}

pub(crate) fn routes(lookups: Arc<Lookups>) -> Route {
    Route::new().at("/orders/:order_id", http::get(find.data(lookups)))
}

/// The journey of one order.
#[handler]
async fn find(Path(order_id): Path<String>, Data(lookups): Data<&Arc<Lookups>>) -> Result<Json<Journey>, Problem> {
    let id: OrderId = order_id
        .parse()
        .map_err(|error: ParseOrderIdError| Problem::bad_request(error.to_string()))?;
    let partition = lookups.partition;
    if Partition::from(id.ordinal()) != partition {
        let detail = format!("this is {}, order {id} is of region {}", lookups.name, id.ordinal());
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
    }
    let expired = |_| {
        let detail = format!("order {id} was not found within {} s: ask again", TIMEOUT.as_secs_f32());
        Problem::new(StatusCode::GATEWAY_TIMEOUT, detail)
    };
    let not_found = || Problem::new(StatusCode::NOT_FOUND, format!("order {id} is not in the log"));
    let found = timeout(TIMEOUT, Arc::clone(lookups).find(id)).await;
    found.map_err(expired)??.map(Json).ok_or_else(not_found)
}

impl Lookups {
    pub(crate) fn new(kafka: &Config, name: &str, partition: Partition, shutdown: &CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            kafka: kafka.clone(),
            name: name.to_owned(),
            partition,
            shutdown: shutdown.clone(),
            concurrent: Arc::new(Semaphore::new(MAX_CONCURRENT)),
            waiting: Semaphore::new(MAX_WAITING),
            idle: Mutex::default(),
            used: Notify::new(),
        })
    }

    async fn find(self: Arc<Self>, id: OrderId) -> Result<Option<Journey>, Problem> {
        let deadline = Instant::now() + TIMEOUT;
        let too_many = |_| Problem::unavailable("too many orders are looked for: ask again");
        let _waiting = self.waiting.try_acquire().map_err(too_many)?;
        let stopping = |_| Problem::unavailable("stopping");
        let permit = Arc::clone(&self.concurrent).acquire_owned().await.map_err(stopping)?;
        let lookups = Arc::clone(&self);
        // The thread keeps the permit: it can be busy for longer than the question is waited for.
        let search = move || {
            let _permit = permit;
            lookups.find_blocking(id, deadline)
        };
        let found = spawn_blocking(search).await;
        let error = |reason: String| Problem::unavailable(format!("order {id} could not be looked for: {reason}"));
        found
            .map_err(|panicked| error(panicked.to_string()))?
            .map_err(|reason| error(format!("{reason:#}")))
    }

    /// Blocks. Clients that had an error are not used again.
    fn find_blocking(&self, id: OrderId, deadline: Instant) -> anyhow::Result<Option<Journey>> {
        let idle = self.idle.lock().pop();
        let lookup = match idle {
            Some((lookup, _)) => lookup,
            None => Lookup::connect(&self.kafka, &self.name, self.partition, &self.shutdown)?,
        };
        let found = lookup.find(id, deadline)?;
        self.idle.lock().push((lookup, Instant::now()));
        self.used.notify_one();
        Ok(found)
    }

    /// Closes idle clients until shutdown. Sleeps while there are none.
    pub(crate) async fn close_idle(&self) {
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
        self.shutdown.run_until_cancelled(close).await;
    }
}
