//! What a client knows of its connection, told in state changes instead of librdkafka's stream of lines.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// The same kind of line is logged once in this time.
const QUIET: Duration = Duration::from_secs(60);
/// Errors that librdkafka tells this soon after an answer are from before it: they wait in a queue.
const ECHO: Duration = Duration::from_secs(1);

/// Whether a client reaches its brokers. Clones share their state.
#[derive(Clone, Debug)]
pub(crate) struct Connection(Arc<State>);

#[derive(Debug)]
struct State {
    client: String,
    /// The same as `outage.since.is_some()`, to be asked for each record.
    down: AtomicBool,
    outage: Mutex<Outage>,
    logged: Mutex<HashMap<String, Instant>>,
}

#[derive(Debug, Default)]
struct Outage {
    since: Option<Instant>,
    /// When the last one ended.
    ended: Option<Instant>,
    /// The last error of a single broker: it says more than "all brokers are down".
    reason: Option<String>,
}

impl Connection {
    pub(crate) fn new(client: &str) -> Self {
        Self(Arc::new(State {
            client: client.to_owned(),
            down: AtomicBool::new(false),
            outage: Mutex::default(),
            logged: Mutex::default(),
        }))
    }

    /// A broker has answered.
    pub(crate) fn up(&self) {
        if self.0.down.swap(false, Ordering::Relaxed) {
            let mut outage = lock(&self.0.outage);
            let seconds = outage.since.take().map(|since| since.elapsed().as_secs());
            outage.ended = Some(Instant::now());
            outage.reason = None;
            tracing::info!(client = self.0.client, seconds, "kafka is back");
        }
    }

    /// No broker answers.
    pub(crate) fn down(&self, reason: &str) {
        let mut outage = lock(&self.0.outage);
        let echo = outage.ended.is_some_and(|ended| ended.elapsed() < ECHO);
        if outage.since.is_none() && !echo {
            outage.since = Some(Instant::now());
            let error = outage.reason.get_or_insert_with(|| reason.to_owned());
            tracing::warn!(client = self.0.client, error, "kafka is out of reach");
            self.0.down.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_down(&self) -> bool {
        self.0.down.load(Ordering::Relaxed)
    }

    /// Why there was no answer but this error: what the last attempt to connect failed with, if one has.
    pub(crate) fn reason(&self, error: &impl Display) -> String {
        lock(&self.0.outage).reason.clone().unwrap_or_else(|| error.to_string())
    }

    /// The same as a sentence for an operator.
    pub(crate) fn outage(&self, error: &impl Display) -> String {
        format!("kafka is out of reach: {}", self.reason(error))
    }

    /// Whether a line of this kind has not been logged for a while.
    fn is_news(&self, kind: &str) -> bool {
        let mut logged = lock(&self.0.logged);
        let news = logged.get(kind).is_none_or(|last| last.elapsed() > QUIET);
        if news {
            logged.insert(kind.to_owned(), Instant::now());
        }
        news
    }
}

/// Waits until a broker is connected, for at most twice the `timeout`.
///
/// What librdkafka is asked before that it puts off by up to a second, and looks at its own timers; a request for
/// metadata goes out at once when there is a connection. Twice, because the answer to the first replaces the connection
/// to a bootstrap server with one to the broker itself. Of all topics: asking for one by name could create it.
///
/// # Errors
/// When no broker answers in time.
pub(crate) fn wait_for_broker<C: ClientContext>(client: &Client<C>, timeout: Duration) -> Result<(), KafkaError> {
    for _ in 0..2 {
        client.fetch_metadata(None, timeout)?;
    }
    Ok(())
}

/// A panic while the lock was held left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientContext for Connection {
    /// librdkafka's own lines. Those about connections repeat several times a second in an outage: [`Self::error`]
    /// and [`Connection::up`] tell the same in two. `CONFWARN` says that a producer ignores what is for consumers: the
    /// user's properties are given to both.
    fn log(&self, level: RDKafkaLogLevel, kind: &str, line: &str) {
        let client = self.0.client.as_str();
        let error_or_warning = (level as i32) <= RDKafkaLogLevel::Warning as i32;
        if matches!(kind, "FAIL" | "ERROR" | "CONFWARN") || !error_or_warning || !self.is_news(kind) {
            tracing::debug!(client, kind, line, "librdkafka");
        } else {
            tracing::warn!(client, kind, line, "librdkafka");
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.down(reason),
            // Comes this way too, and is no error.
            Some(RDKafkaErrorCode::PartitionEOF) => {}
            Some(code) => {
                // "kafka:9092/1: Connect to … failed: Connection refused (after 0ms in state CONNECT, 62 identical …)":
                // without its end it says the same each time.
                let reason = reason.split(" (after ").next().unwrap_or(reason);
                lock(&self.0.outage).reason = Some(reason.to_owned());
                let credentials = matches!(code, RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL);
                if credentials && self.is_news("credentials") {
                    tracing::error!(
                        client = self.0.client,
                        error = reason,
                        "kafka refuses the connection: check MALL_KAFKA__PROPERTIES__…"
                    );
                }
            }
            None => {}
        }
    }
}

impl ConsumerContext for Connection {}
