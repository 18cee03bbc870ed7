//! Batches of records, each in a transaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::Message;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use tokio_util::sync::CancellationToken;

use crate::closing::BoundedClose;
use crate::connection::{Connection, wait_for_broker};
use crate::{Config, Forbidden, RENEWAL, Record};

/// One attempt to take over the transactional id; then the stop signal is looked at, and it is tried again.
const INIT_ATTEMPT: Duration = Duration::from_secs(3);
/// Upper bound on the events of such an attempt, so that the loop that serves them ends.
const EVENTS: usize = 64;
/// Between two looks for deliveries. rdkafka's `poll` takes all of its time, also when they have come, and the last
/// millisecond of it without a pause: with 1 ms each transaction took 3 ms of the processor.
const DELIVERY_POLL: Duration = Duration::from_micros(500);
/// One attempt to commit. librdkafka goes on with the commit in the background, and the next attempt resumes it.
const COMMIT_ATTEMPT: Duration = Duration::from_millis(500);
/// Deliveries or a commit that take longer have failed. Longer than `message.timeout.ms`.
const WRITE_TIMEOUT: Duration = RENEWAL;

/// Writes batches of records to one topic, each batch wholly or not at all, as the only one with its transactional id.
///
/// After any error another one is needed: opening it settles what became of the last transaction.
pub struct TransactionalProducer {
    producer: BoundedClose<BaseProducer<Deliveries>>,
    topic: String,
    transactional_id: String,
    stop: CancellationToken,
}

/// A batch was not committed, or it is unknown whether it was.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// A newer producer has the transactional id. Going on would be a duel: leave it to that one.
    #[error("another process has taken over the transactional id: {0}")]
    Fenced(String),
    /// It is not known what became of the transaction; or it was never begun, because the client cannot be used.
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
                Err(error) if may_pass(&error) => {
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

    /// Writes a batch in one transaction, and returns the offset after its last record. Blocks until it is committed or
    /// has failed, for at most twenty seconds; when the process is asked to stop, for half a second more.
    ///
    /// # Errors
    /// See [`TransactionError`]; in no case is a part of the batch visible.
    pub fn write<'a>(&self, records: impl IntoIterator<Item = Record<'a>>) -> Result<i64, TransactionError> {
        *self.deliveries().batch.lock() = Batch::default();
        self.producer
            .begin_transaction()
            .map_err(|error| self.failure(&error))?;
        for record in records {
            let mut message = BaseRecord::<str, [u8]>::to(&self.topic)
                .partition(record.partition)
                .payload(record.value)
                .timestamp(record.timestamp);
            message.key = record.key;
            self.producer.send(message).map_err(|(error, _)| self.failure(&error))?;
        }
        self.wait_for_deliveries()?;
        self.commit()?;
        Ok(self.deliveries().batch.lock().end)
    }

    /// Waits here, because `commit_transaction` of rdkafka waits in slices of 100 ms.
    fn wait_for_deliveries(&self) -> Result<(), TransactionError> {
        let begun = Instant::now();
        let mut stopping = None;
        while self.producer.in_flight_count() > 0 {
            std::thread::sleep(DELIVERY_POLL);
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
            if begun.elapsed() > WRITE_TIMEOUT {
                return Err(self.late());
            }
        }
        Ok(())
    }

    /// Why the transaction has to be aborted: its records are only said to have been purged. Beginning another one before
    /// that does nothing but tell.
    fn reason_of_abort(&self) -> Option<KafkaError> {
        match self.producer.begin_transaction() {
            Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => Some(KafkaError::Transaction(error)),
            _ => None,
        }
    }

    /// Commits in attempts of half a second, so that an outage does not hold up a stop. An attempt that timed out is
    /// resumed by the next one.
    fn commit(&self) -> Result<(), TransactionError> {
        let begun = Instant::now();
        loop {
            // Looked at before the attempt: one that is asked to stop still has this attempt.
            let stopping = self.stop.is_cancelled();
            match self.producer.commit_transaction(COMMIT_ATTEMPT) {
                Ok(()) => {
                    self.deliveries().connection.up();
                    return Ok(());
                }
                Err(KafkaError::Transaction(error)) if error.is_retriable() => {
                    if stopping {
                        return Err(TransactionError::Stopped);
                    }
                    if begun.elapsed() > WRITE_TIMEOUT {
                        return Err(self.late());
                    }
                }
                Err(error) => return Err(self.failure(&error)),
            }
        }
    }

    /// What did not come to an end within [`WRITE_TIMEOUT`].
    fn late(&self) -> TransactionError {
        let late = format!("no answer within {} s", WRITE_TIMEOUT.as_secs());
        TransactionError::Failed(self.deliveries().connection.outage(&late))
    }

    /// Whether another producer has taken over, or what else has gone wrong.
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
            ) => TransactionError::Fenced(reason),
            Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed) => {
                TransactionError::Failed(Forbidden::transactional_id(&self.transactional_id).to_string())
            }
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                TransactionError::Failed(Forbidden::topic("Write", &self.topic).to_string())
            }
            _ => TransactionError::Failed(reason),
        }
    }

    fn deliveries(&self) -> &Deliveries {
        self.producer.context()
    }
}

/// Whether taking over may succeed when it is tried again.
fn may_pass(error: &KafkaError) -> bool {
    match error {
        KafkaError::MetadataFetch(_) => true,
        KafkaError::Transaction(error) => error.is_retriable(),
        _ => false,
    }
}

impl std::fmt::Debug for TransactionalProducer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TransactionalProducer")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

/// What the broker says of the records of a batch.
struct Deliveries {
    connection: Connection,
    batch: Arc<Mutex<Batch>>,
}

#[derive(Default)]
struct Batch {
    /// The offset after the last record.
    end: i64,
    /// The first delivery that failed.
    failed: Option<KafkaError>,
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
