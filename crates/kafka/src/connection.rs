//! The state of a client's connection: logged when it changes, in place of librdkafka's stream of lines.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};

use crate::{Forbidden, RENEWAL};

/// The longest wait for a broker before a client is replaced: in a long outage each replacement is most likely in vain.
const MAX_RENEWAL: Duration = Duration::from_secs(60);
/// Errors this soon after an answer are older than the answer: they have waited in librdkafka's queue.
const STALE_ERRORS: Duration = Duration::from_secs(1);
/// The same line is logged once in this time.
const REPEAT_INTERVAL: Duration = Duration::from_secs(60);

/// The connection of a client to its brokers. Clones share their state.
#[derive(Clone, Debug)]
pub(crate) struct Connection(Arc<State>);

#[derive(Debug)]
struct State {
    client: String,
    /// The group of a consumer.
    group: String,
    health: Mutex<Health>,
}

#[derive(Debug, Default)]
struct Health {
    /// The current outage; `None` while a broker answers.
    outage: Option<Outage>,
    /// The end of the last outage.
    ended: Option<Instant>,
    /// The last error of a single broker: it says more than "all brokers are down".
    reason: Option<String>,
    /// The same, if that broker refuses the credentials or is not trusted.
    refusal: Option<String>,
    /// The authorizer has refused the group.
    group_refused: bool,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    renewal_interval: Duration,
    renewal_at: Instant,
}

impl Outage {
    fn begin(now: Instant) -> Self {
        Self {
            since: now,
            renewal_interval: RENEWAL,
            renewal_at: now + RENEWAL,
        }
    }

    fn renewed(&mut self, now: Instant) {
        self.renewal_interval = (self.renewal_interval * 2).min(MAX_RENEWAL);
        self.renewal_at = now + self.renewal_interval;
    }
}

impl Connection {
    pub(crate) fn new(client: &str) -> Self {
        Self::of_consumer(client, "")
    }

    pub(crate) fn of_consumer(client: &str, group: &str) -> Self {
        let (client, group, health) = (client.to_owned(), group.to_owned(), Mutex::default());
        Self(Arc::new(State { client, group, health }))
    }

    /// Records that a broker has answered.
    pub(crate) fn up(&self) {
        let mut health = self.0.health.lock();
        if let Some(outage) = health.outage.take() {
            health.ended = Some(Instant::now());
            (health.reason, health.refusal) = (None, None);
            let seconds = outage.since.elapsed().as_secs();
            tracing::info!(client = self.0.client, seconds, "kafka is back");
        }
    }

    /// Records that no broker answers.
    pub(crate) fn down(&self, reason: &str) {
        let mut health = self.0.health.lock();
        let stale = health.ended.is_some_and(|ended| ended.elapsed() < STALE_ERRORS);
        if health.outage.is_none() && !stale {
            health.outage = Some(Outage::begin(Instant::now()));
            let error = health.reason.get_or_insert_with(|| reason.to_owned());
            tracing::warn!(client = self.0.client, error, "kafka is out of reach");
        }
    }

    /// Returns `true` if no broker has answered since the outage began.
    pub(crate) fn is_down(&self) -> bool {
        self.0.health.lock().outage.is_some()
    }

    /// Returns `true` if the client is to be replaced: see [`RENEWAL`].
    pub(crate) fn needs_renewal(&self) -> bool {
        let health = self.0.health.lock();
        let outage = health.outage.as_ref();
        outage.is_some_and(|outage| Instant::now() > outage.renewal_at)
    }

    /// Records that the client was replaced.
    pub(crate) fn renewed(&self) {
        tracing::debug!(client = self.0.client, "the client was replaced");
        if let Some(outage) = &mut self.0.health.lock().outage {
            outage.renewed(Instant::now());
        }
    }

    /// Returns the last error of a broker, or else this one.
    pub(crate) fn reason(&self, error: &impl Display) -> String {
        self.0.health.lock().reason.clone().unwrap_or_else(|| error.to_string())
    }

    /// Returns the last error of a broker if it is about credentials or certificates: a wait would not help.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.0.health.lock().refusal.clone()
    }

    /// Returns [`Self::reason`] as a sentence for an operator.
    pub(crate) fn outage(&self, error: &impl Display) -> String {
        format!("kafka is out of reach: {}", self.reason(error))
    }

    /// Logs a missing right that does not stop the client.
    pub(crate) fn say_forbidden(&self, forbidden: &Forbidden) {
        let (client, reason) = (self.0.client.as_str(), forbidden.to_string());
        if may_log(client, &reason) {
            tracing::warn!(client, reason, "a right is missing");
        }
    }

    /// Logs that the coordinator of the group may not be asked for. Assigned partitions are read without it.
    pub(crate) fn say_group_forbidden(&self) {
        self.say_forbidden(&Forbidden::group("Describe", &self.0.group));
    }

    /// Returns `true` if the authorizer has refused the group since the last call.
    pub(crate) fn take_group_refused(&self) -> bool {
        std::mem::take(&mut self.0.health.lock().group_refused)
    }

    /// Returns the group of a consumer.
    pub(crate) fn group(&self) -> &str {
        &self.0.group
    }
}

/// Returns `true` if this line of a client has not been logged for a while. Shared by all clients of a name: some live
/// only until they fail, and their successors fail with the same error.
fn may_log(client: &str, line: &str) -> bool {
    static LOGGED: Mutex<BTreeMap<String, Instant>> = Mutex::new(BTreeMap::new());

    let mut logged = LOGGED.lock();
    logged.retain(|_, last| last.elapsed() < REPEAT_INTERVAL);
    let line = format!("{client}: {line}");
    if logged.contains_key(&line) {
        return false;
    }
    logged.insert(line, Instant::now());
    true
}

/// Waits until a broker is connected and knows the topic's leaders, for at most twice the `timeout`.
///
/// Before that librdkafka looks at requests only once a second, except for those for metadata. Two of these: the answer
/// to the first replaces the connection to a bootstrap server with one to the broker itself.
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
    /// Logs a line of librdkafka. Those about connections repeat several times a second in an outage, and are left to
    /// [`Connection::down`] and [`Connection::up`]; fatal errors to the code that replaces the client. `CONFWARN`: a
    /// producer ignores what is for consumers, because both get the user's properties.
    fn log(&self, level: RDKafkaLogLevel, kind: &str, line: &str) {
        let client = self.0.client.as_str();
        let minor = (level as i32) > RDKafkaLogLevel::Warning as i32;
        let reported_elsewhere = matches!(kind, "FAIL" | "ERROR" | "FATAL" | "TXNERR" | "CONFWARN");
        if !minor && !reported_elsewhere && may_log(client, kind) {
            tracing::warn!(client, kind, line, "librdkafka");
        } else {
            tracing::debug!(client, kind, line, "librdkafka");
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => return self.down(reason),
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) => return self.0.health.lock().group_refused = true,
            // Comes this way too, and is no error.
            Some(RDKafkaErrorCode::PartitionEOF) | None => return,
            Some(code) => code,
        };
        // Without the end, "(after 0ms in state CONNECT, 62 identical …)", it is the same each time.
        let reason = reason.split(" (after ").next().unwrap_or(reason);
        let credentials = matches!(code, RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL);
        // Both codes also come with a connection that ends during the handshake, as when a broker stops.
        let ended = reason.contains("Disconnected") || reason.contains("transport error");
        let client = self.0.client.as_str();
        if credentials && !ended && may_log(client, "credentials") {
            tracing::error!(
                client,
                error = reason,
                "kafka refuses the connection: check MALL_KAFKA__PROPERTIES__…"
            );
        }
        let mut health = self.0.health.lock();
        health.reason = Some(reason.to_owned());
        health.refusal = (credentials && !ended).then(|| reason.to_owned());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacements_of_a_client_back_off_to_once_a_minute() {
        let begin = Instant::now();
        let mut outage = Outage::begin(begin);
        let seconds = [(); 6].map(|()| {
            let waited = outage.renewal_at - outage.since;
            outage.renewed(outage.renewal_at);
            waited.as_secs()
        });
        assert_eq!(
            seconds,
            [10, 30, 70, 130, 190, 250],
            "10 s, 20 s, 40 s, then each minute"
        );
    }
}
