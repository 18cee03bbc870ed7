//! Batches of records, each in a transaction.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig};
use rdkafka::util::Timeout;
use tokio_util::sync::CancellationToken;

use crate::connection::{Connection, wait_for_broker};
use crate::{Config, RENEWAL, Record};

/// One attempt to take over the transactional id; then `stop` is looked at, and it is tried again.
const INIT_ATTEMPT: Duration = Duration::from_secs(3);
/// More events than librdkafka has in such an attempt.
const EVENTS: usize = 64;
/// Between two looks for deliveries. rdkafka's `poll` takes all of its time, also when they have come, and the last
/// millisecond of it without a pause: with 1 ms each transaction took 3 ms of the processor.
const DELIVERY_LOOK: Duration = Duration::from_micros(500);
/// Records of a batch are delivered or have failed after `message.timeout.ms`; this is a bound beyond that.
const DELIVERY_PATIENCE: Duration = Duration::from_secs(10);

/// Writes batches of records to one topic, each batch wholly or not at all, as the only one with its transactional id.
pub struct TransactionalProducer {
    producer: BaseProducer<Deliveries>,
    topic: String,
}

/// A batch was not written, or it is unknown whether it was.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// A newer writer has the transactional id. Going on would be a duel: leave it to that one.
    #[error("another process has taken over the transactional id: {0}")]
    Fenced(String),
    /// The transaction was aborted: no reader sees any of it, and it may be written again.
    #[error("the transaction was aborted: {0}")]
    Aborted(String),
    /// It is not known what became of the transaction. A new [`TransactionalProducer`] settles it: read the position again after
    /// that. This one must not be used again, because a late answer could end a later transaction.
    #[error("it is unknown whether the transaction was committed: {0}")]
    Unknown(String),
    /// The process is asked to stop.
    #[error("stopped before the writer was ready")]
    Stopped,
}

impl TransactionalProducer {
    /// Takes over the transactional id: fences a predecessor that still lives and ends its open transaction.
    /// Blocks until that is done or `stop` is cancelled (looked at every three seconds).
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
            failed: Arc::default(),
        };
        let producer: BaseProducer<Deliveries> = config
            .transactional_producer(client_id, transactional_id)
            .create_with_context(deliveries)
            .map_err(|error| TransactionError::Unknown(error.to_string()))?;
        let writer = Self {
            producer,
            topic: config.name(topic),
        };
        let begun = Instant::now();
        loop {
            let attempt = wait_for_broker(writer.producer.client(), INIT_ATTEMPT)
                .and_then(|()| writer.producer.init_transactions(INIT_ATTEMPT));
            // Serves the log and error events of the attempt, one by one: they hold the reason.
            (0..EVENTS).for_each(|_| writer.producer.poll(Duration::ZERO));
            match attempt {
                Ok(()) => return Ok(writer),
                Err(_) if stop.is_cancelled() => return Err(TransactionError::Stopped),
                Err(error) if may_pass(&error) => {
                    let reason = writer.deliveries().connection.outage(&error);
                    if begun.elapsed() > RENEWAL {
                        return Err(TransactionError::Unknown(reason));
                    }
                    waiting(&reason);
                }
                Err(error) => return Err(writer.sort(&error)),
            }
        }
    }

    /// Writes a batch in one transaction. Blocks until it is committed, aborted, or unknown.
    ///
    /// # Errors
    /// See [`TransactionError`]; in no case is a part of the batch visible.
    pub fn write<'a>(&self, records: impl IntoIterator<Item = Record<'a>>) -> Result<(), TransactionError> {
        self.deliveries().take_failure();
        self.producer.begin_transaction().map_err(|error| self.sort(&error))?;
        for record in records {
            let mut message = BaseRecord::<str, [u8]>::to(&self.topic)
                .partition(record.partition)
                .payload(record.value)
                .timestamp(record.timestamp);
            message.key = record.key;
            if let Err((error, _)) = self.producer.send(message) {
                return Err(self.abort(&error));
            }
        }
        self.wait_for_deliveries();
        if let Some(error) = self.deliveries().take_failure() {
            return Err(self.abort(&error));
        }
        self.commit()
    }

    fn commit(&self) -> Result<(), TransactionError> {
        // librdkafka bounds it by the transaction's own timeout; a shorter bound would make the outcome unknown.
        let deadline = Instant::now() + DELIVERY_PATIENCE;
        loop {
            match self.producer.commit_transaction(Timeout::Never) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {}
                Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
                    return Err(self.abort(&KafkaError::Transaction(error)));
                }
                Err(error) => return Err(self.sort(&error)),
            }
        }
    }

    /// Ends the transaction without its records becoming visible.
    fn abort(&self, cause: &KafkaError) -> TransactionError {
        if self.producer.client().fatal_error().is_some() {
            return self.sort(cause);
        }
        self.producer.purge(PurgeConfig::default().queue().inflight());
        self.wait_for_deliveries();
        match self.producer.abort_transaction(DELIVERY_PATIENCE) {
            Ok(()) => TransactionError::Aborted(cause.to_string()),
            Err(error) => self.sort(&error),
        }
    }

    /// Waits here, because `commit_transaction` of rdkafka waits in slices of 100 ms.
    fn wait_for_deliveries(&self) {
        let deadline = Instant::now() + DELIVERY_PATIENCE;
        while self.producer.in_flight_count() > 0 && Instant::now() < deadline {
            std::thread::sleep(DELIVERY_LOOK);
            self.producer.poll(Duration::ZERO);
        }
    }

    /// Sorts an error after which this writer is not used again.
    fn sort(&self, error: &KafkaError) -> TransactionError {
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
            _ => TransactionError::Unknown(reason),
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

/// The first failed delivery of a batch.
struct Deliveries {
    connection: Connection,
    failed: Arc<Mutex<Option<KafkaError>>>,
}

impl Deliveries {
    fn take_failure(&self) -> Option<KafkaError> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
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
        match result {
            Ok(_) => self.connection.up(),
            Err((error, _)) => {
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert_with(|| error.clone());
            }
        }
    }
}
