//! What a client knows of its connection, told in state changes instead of librdkafka's stream of lines.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};

use crate::{Forbidden, RENEWAL};

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
    /// The group of a consumer, for those that commit offsets.
    group: String,
    /// The authorizer has refused the group.
    group_refused: AtomicBool,
    /// The same as `outage.since.is_some()`, to be asked for each record.
    down: AtomicBool,
    outage: Mutex<Outage>,
    logged: Mutex<BTreeMap<String, Instant>>,
}

#[derive(Debug, Default)]
struct Outage {
    /// Since when no broker answers; `None` while one does.
    since: Option<Instant>,
    /// When the client was last replaced, in this outage or before.
    renewed: Option<Instant>,
    /// When the last outage ended.
    ended: Option<Instant>,
    /// The last error of a single broker: it says more than "all brokers are down".
    reason: Option<String>,
    /// Why the last broker that was asked does not let this client in, or is not trusted.
    refusal: Option<String>,
}

impl Connection {
    pub(crate) fn new(client: &str) -> Self {
        Self::of_consumer(client, "")
    }

    pub(crate) fn of_consumer(client: &str, group: &str) -> Self {
        Self(Arc::new(State {
            client: client.to_owned(),
            group: group.to_owned(),
            group_refused: AtomicBool::new(false),
            down: AtomicBool::new(false),
            outage: Mutex::default(),
            logged: Mutex::default(),
        }))
    }

    /// A broker has answered.
    pub(crate) fn up(&self) {
        if self.is_down() && self.0.down.swap(false, Ordering::Relaxed) {
            let mut outage = self.0.outage.lock();
            let seconds = outage.since.take().map(|since| since.elapsed().as_secs());
            outage.ended = Some(Instant::now());
            outage.reason = None;
            outage.refusal = None;
            tracing::info!(client = self.0.client, seconds, "kafka is back");
        }
    }

    /// No broker answers.
    pub(crate) fn down(&self, reason: &str) {
        let mut outage = self.0.outage.lock();
        let echo = outage.ended.is_some_and(|ended| ended.elapsed() < ECHO);
        if outage.since.is_none() && !echo {
            outage.since = Some(Instant::now());
            let error = outage.reason.get_or_insert_with(|| reason.to_owned());
            tracing::warn!(client = self.0.client, error, "kafka is out of reach");
            self.0.down.store(true, Ordering::Relaxed);
        }
    }

    /// Whether no broker has answered since the outage began.
    pub(crate) fn is_down(&self) -> bool {
        self.0.down.load(Ordering::Relaxed)
    }

    /// Whether the client has been without a broker for [`RENEWAL`] and is to be replaced.
    pub(crate) fn needs_renewal(&self) -> bool {
        let waiting = |outage: &Outage| outage.renewed.max(outage.since).map(|since| since.elapsed());
        self.is_down() && waiting(&self.0.outage.lock()) > Some(RENEWAL)
    }

    /// The client was replaced: the new one has [`RENEWAL`] too.
    pub(crate) fn renewed(&self) {
        tracing::debug!(client = self.0.client, "the client was replaced");
        self.0.outage.lock().renewed = Some(Instant::now());
    }

    /// Why there was no answer but this error: what the last attempt to connect failed with, if one has.
    pub(crate) fn reason(&self, error: &impl Display) -> String {
        self.0.outage.lock().reason.clone().unwrap_or_else(|| error.to_string())
    }

    /// Why the last attempt to connect was refused for good: waiting would not help.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.0.outage.lock().refusal.clone()
    }

    /// The same as [`Self::reason`] as a sentence for an operator.
    pub(crate) fn outage(&self, error: &impl Display) -> String {
        format!("kafka is out of reach: {}", self.reason(error))
    }

    /// Says, now and then, which right is missing for something that does not hold up the client.
    pub(crate) fn say_forbidden(&self, forbidden: &Forbidden) {
        let (client, reason) = (self.0.client.as_str(), forbidden.to_string());
        if is_news(&mut SAID.lock(), &format!("{client}: {reason}")) {
            tracing::warn!(client, reason, "a right is missing");
        }
    }

    /// The same for a group whose coordinator is asked for. Partitions that are assigned are read without it.
    pub(crate) fn say_group_forbidden(&self) {
        self.say_forbidden(&Forbidden::group("Describe", &self.0.group));
    }

    /// Whether the authorizer has refused the group since this was asked last.
    pub(crate) fn take_group_refused(&self) -> bool {
        self.0.group_refused.swap(false, Ordering::Relaxed)
    }

    /// The group of a consumer.
    pub(crate) fn group(&self) -> &str {
        &self.0.group
    }

    /// Whether a line of this kind has not been logged for a while.
    fn is_news(&self, kind: &str) -> bool {
        is_news(&mut self.0.logged.lock(), kind)
    }
}

/// What was said of rights, by all clients: some live only until they meet a missing one, and others follow.
static SAID: Mutex<BTreeMap<String, Instant>> = Mutex::new(BTreeMap::new());

fn is_news(logged: &mut BTreeMap<String, Instant>, kind: &str) -> bool {
    let news = logged.get(kind).is_none_or(|last| last.elapsed() > QUIET);
    if news {
        logged.insert(kind.to_owned(), Instant::now());
    }
    news
}

/// Waits until a broker is connected and knows the topic's leaders, for at most twice the `timeout`.
///
/// Until it is connected, librdkafka answers requests only on a timer of up to one second; a request for metadata goes
/// out as soon as there is a connection. Two requests, because the answer to the first replaces the connection to a
/// bootstrap server with one to the broker itself.
///
/// # Errors
/// When no broker answers in time.
pub(crate) fn wait_for_broker<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> Result<(), KafkaError> {
    for _ in 0..2 {
        client.fetch_metadata(Some(topic), timeout)?;
    }
    Ok(())
}

impl ClientContext for Connection {
    /// librdkafka's own lines. Those about connections repeat several times a second in an outage: [`Self::error`]
    /// and [`Connection::up`] tell the same in two. Fatal ones end a client, and whoever replaces it says why. `CONFWARN` says that a producer ignores what is for consumers: the
    /// user's properties are given to both.
    fn log(&self, level: RDKafkaLogLevel, kind: &str, line: &str) {
        let client = self.0.client.as_str();
        let error_or_warning = (level as i32) <= RDKafkaLogLevel::Warning as i32;
        if matches!(kind, "FAIL" | "ERROR" | "FATAL" | "TXNERR" | "CONFWARN")
            || !error_or_warning
            || !self.is_news(kind)
        {
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
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) => self.0.group_refused.store(true, Ordering::Relaxed),
            Some(code) => {
                // "kafka:9092/1: Connect to … failed: Connection refused (after 0ms in state CONNECT, 62 identical …)":
                // without its end it says the same each time.
                let reason = reason.split(" (after ").next().unwrap_or(reason);
                let credentials = matches!(code, RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL);
                // Both codes also come with a connection that ends meanwhile, as when a broker stops.
                let ended = reason.contains("Disconnected") || reason.contains("transport error");
                let mut outage = self.0.outage.lock();
                outage.reason = Some(reason.to_owned());
                outage.refusal = (credentials && !ended).then(|| reason.to_owned());
                drop(outage);
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

impl ConsumerContext for Connection {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        match result {
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {
                self.say_forbidden(&Forbidden::group("Read", &self.0.group));
            }
            Err(error) => tracing::debug!(client = self.0.client, %error, "an offset was not committed"),
            Ok(()) => {}
        }
    }
}

impl ProducerContext for Connection {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}
