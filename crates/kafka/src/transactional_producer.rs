//! Batches of records, each in a transaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::Message;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext};
use tokio_util::sync::CancellationToken;

use crate::closing::BoundedClose;
use crate::config::{REQUEST_TIMEOUT, TRANSACTION_TIMEOUT, TRANSACTIONAL_MESSAGE_TIMEOUT};
use crate::connection::{Connection, wait_for_broker};
use crate::flushing::flush;
use crate::{Config, Forbidden, RENEWAL, Record};

/// One attempt to take over the transactional id; then the stop signal is looked at, and it is tried again.
const INIT_ATTEMPT: Duration = Duration::from_secs(3);
/// Upper bound on the events of such an attempt, so that the loop that serves them ends.
const EVENTS: usize = 64;
/// Bytes of keys and values that are sent in one request. A broker stores and reads whole requests: the search for one
/// record of a transaction of a thousand does not read them all.
const REQUEST_BYTES: usize = 32 * 1024;
/// One flush between two polls for delivery reports, which end the wait for them.
const FLUSH: Duration = Duration::from_millis(1);
/// Deliveries that take longer have failed: librdkafka should have timed them out, but after a restart of the broker it
/// sometimes forgets them with all that it knows (see [`RENEWAL`]).
const DELIVERY_TIMEOUT: Duration = TRANSACTIONAL_MESSAGE_TIMEOUT.saturating_add(Duration::from_millis(1500));
/// One attempt to commit. librdkafka goes on with the commit in the background, and the next attempt resumes it.
const COMMIT_ATTEMPT: Duration = Duration::from_millis(500);
/// A commit that takes longer counts as failed, even if the broker confirms it. librdkafka repeats the request after this
/// time; the first request can then reach the broker later, and commit a part of another batch. The next producer fences
/// both requests.
const COMMIT_TIMEOUT: Duration = REQUEST_TIMEOUT;

/// Writes batches of records to one topic, each batch wholly or not at all, as the only producer with its transactional id.
///
/// After any error another producer is needed: opening it settles the outcome of the last transaction.
#[derive(Debug)]
pub struct TransactionalProducer {
    producer: BoundedClose<BaseProducer<Deliveries>>,
    topic: String,
    transactional_id: String,
    stop: CancellationToken,
}

/// A batch was not committed, or it is unknown whether it was.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// A newer producer has the transactional id. Going on would be a duel: leave the id to the newer one.
    #[error("another process has taken over the transactional id: {0}")]
    Fenced(String),
    /// The broker has aborted the transaction, because it was open for too long: the process was frozen or starved.
    #[error(
        "the broker timed the transaction out: expected its end within {} s, found it open for {} s; \
         read the log again and go on with another producer",
        TRANSACTION_TIMEOUT.as_secs(),
        .0.as_secs()
    )]
    TimedOut(Duration),
    /// The outcome of the transaction is unknown; or it was never begun, because the client cannot be used.
    #[error("the transaction did not succeed: {0}")]
    Failed(String),
    /// The process is asked to stop.
    #[error("stopped before the transaction was committed")]
    Stopped,
}

impl TransactionalProducer {
    /// Takes over the transactional id: fences a predecessor that still lives and ends its open transaction.
    /// Blocks until that is done or `stop` is cancelled (looked at every three seconds). `waiting` is told why it takes
    /// longer than one attempt.
    ///
    /// # Errors
    /// When librdkafka does not accept the configuration, the broker refuses for good, or it is out of reach for
    /// [`RENEWAL`].
    pub fn open(
        config: &Config,
        client_id: &str,
        transactional_id: &str,
        topic: &str,
        stop: &CancellationToken,
        mut waiting: impl FnMut(&str),
    ) -> Result<Self, TransactionError> {
        let deliveries = Deliveries {
            connection: Connection::new(client_id),
            batch: Arc::default(),
        };
        let producer: BaseProducer<Deliveries> = config
            .transactional_producer(client_id, transactional_id)
            .create_with_context(deliveries)
            .map_err(|error| TransactionError::Failed(error.to_string()))?;
        let opened = Self {
            producer: BoundedClose::new(producer),
            topic: config.name(topic),
            transactional_id: config.name(transactional_id),
            stop: stop.clone(),
        };
        let begun = Instant::now();
        loop {
            let attempt = wait_for_broker(opened.producer.client(), &opened.topic, INIT_ATTEMPT)
                .and_then(|()| opened.producer.init_transactions(INIT_ATTEMPT));
            // Serves the log and error events of the attempt, one by one: they hold the reason.
            (0..EVENTS).for_each(|_| opened.producer.poll(Duration::ZERO));
            match attempt {
                Ok(()) => return Ok(opened),
                Err(_) if stop.is_cancelled() => return Err(TransactionError::Stopped),
                Err(error) if is_retriable(&error) => {
                    let reason = opened.deliveries().connection.outage(&error);
                    if begun.elapsed() > RENEWAL {
                        return Err(TransactionError::Failed(reason));
                    }
                    waiting(&reason);
                }
                Err(error) => return Err(opened.failure(&error)),
            }
        }
    }

    /// Writes a batch in one transaction, and returns the offset after its last record. Blocks until the batch is committed
    /// or has failed; a broker that no longer answers is noticed within six seconds, a stop within one.
    ///
    /// # Errors
    /// See [`TransactionError`]. The batch is in the log as a whole or not at all: the next producer settles which.
    pub fn write<'a>(&self, records: impl IntoIterator<Item = Record<'a>>) -> Result<i64, TransactionError> {
        *self.deliveries().batch.lock() = Batch::begin();
        self.producer
            .begin_transaction()
            .map_err(|error| self.failure(&error))?;
        let mut bytes = 0;
        for record in records {
            self.producer
                .send(record.message(&self.topic, ()))
                .map_err(|(error, _)| self.failure(&error))?;
            bytes += record.value.len() + record.key.map_or(0, str::len);
            if bytes >= REQUEST_BYTES {
                self.deliver()?;
                bytes = 0;
            }
        }
        self.deliver()?;
        self.commit()?;
        Ok(self.deliveries().batch.lock().end)
    }

    /// Sends what was handed over, and waits for its delivery: `commit_transaction` would wait in slices of 100 ms.
    fn deliver(&self) -> Result<(), TransactionError> {
        let begun = Instant::now();
        let mut stopping = None;
        while self.producer.in_flight_count() > 0 {
            flush(&self.producer, FLUSH);
            self.producer.poll(Duration::ZERO);
            let failed = self.deliveries().batch.lock().failed.take();
            if let Some(error) = failed {
                return Err(self.failure(&self.reason_of_abort().unwrap_or(error)));
            }
            if self.stop.is_cancelled() {
                let since = *stopping.get_or_insert_with(Instant::now);
                if since.elapsed() > COMMIT_ATTEMPT {
                    return Err(TransactionError::Stopped);
                }
            }
            if begun.elapsed() > DELIVERY_TIMEOUT {
                return Err(self.late(DELIVERY_TIMEOUT));
            }
        }
        Ok(())
    }

    /// The reason why the transaction has to be aborted, which a delivery report does not give. An attempt to begin
    /// another transaction has no other effect than to tell the reason.
    fn reason_of_abort(&self) -> Option<KafkaError> {
        match self.producer.begin_transaction() {
            Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => Some(KafkaError::Transaction(error)),
            _ => None,
        }
    }

    /// Commits in attempts of half a second, so that an outage does not hold up a stop.
    fn commit(&self) -> Result<(), TransactionError> {
        let begun = Instant::now();
        loop {
            // Read before the attempt: a commit that is asked to stop still has this attempt.
            let stopping = self.stop.is_cancelled();
            let attempt = self.producer.commit_transaction(COMMIT_ATTEMPT);
            let in_time = begun.elapsed() < COMMIT_TIMEOUT;
            match attempt {
                Ok(()) if in_time => {
                    self.deliveries().connection.up();
                    return Ok(());
                }
                Err(error) if !is_retriable(&error) => return Err(self.failure(&error)),
                Err(_) if stopping => return Err(TransactionError::Stopped),
                Err(_) if in_time => {}
                Ok(()) | Err(_) => return Err(self.late(COMMIT_TIMEOUT)),
            }
        }
    }

    /// The failure of an operation that took longer than `limit`.
    fn late(&self, limit: Duration) -> TransactionError {
        let late = format!("no answer within {} s", limit.as_secs());
        TransactionError::Failed(self.deliveries().connection.outage(&late))
    }

    /// Tells apart why the broker no longer takes this producer, or what else has gone wrong.
    fn failure(&self, error: &KafkaError) -> TransactionError {
        let fatal = self.producer.client().fatal_error();
        let code = fatal
            .as_ref()
            .map(|(code, _)| *code)
            .or_else(|| error.rdkafka_error_code());
        let reason = fatal.map_or_else(|| error.to_string(), |(_, reason)| reason);
        match code {
            Some(
                RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch,
            ) => self.fenced(reason),
            Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed) => {
                TransactionError::Failed(Forbidden::transactional_id(&self.transactional_id).to_string())
            }
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                TransactionError::Failed(Forbidden::topic("Write", &self.topic).to_string())
            }
            _ => TransactionError::Failed(reason),
        }
    }

    /// A broker that times a transaction out fences its producer as another process does. The broker begins to count
    /// later than this process: a transaction that was open for less than the timeout was ended by another process.
    fn fenced(&self, reason: String) -> TransactionError {
        let begun = self.deliveries().batch.lock().begun;
        match begun.map(|begun| begun.elapsed()) {
            Some(open) if open >= TRANSACTION_TIMEOUT => TransactionError::TimedOut(open),
            _ => TransactionError::Fenced(reason),
        }
    }

    fn deliveries(&self) -> &Deliveries {
        self.producer.context()
    }
}

/// Returns `true` if another attempt may succeed.
fn is_retriable(error: &KafkaError) -> bool {
    match error {
        KafkaError::MetadataFetch(_) => true,
        KafkaError::Transaction(error) => error.is_retriable(),
        _ => false,
    }
}

/// Serves the delivery reports of a batch.
struct Deliveries {
    connection: Connection,
    batch: Arc<Mutex<Batch>>,
}

#[derive(Default)]
struct Batch {
    /// When its transaction was begun; `None` before the first one.
    begun: Option<Instant>,
    /// The offset after the last record.
    end: i64,
    /// The first delivery that failed.
    failed: Option<KafkaError>,
}

impl Batch {
    fn begin() -> Self {
        Self {
            begun: Some(Instant::now()),
            ..Self::default()
        }
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, kind: &str, line: &str) {
        self.connection.log(level, kind, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.connection.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut batch = self.batch.lock();
        match result {
            Ok(message) => {
                self.connection.up();
                batch.end = batch.end.max(message.offset() + 1);
            }
            Err((error, _)) => {
                batch.failed.get_or_insert_with(|| error.clone());
            }
        }
    }
}
