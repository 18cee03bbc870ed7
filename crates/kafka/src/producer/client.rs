//! A librdkafka producer that sends one batch at a time, each in one request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, Message};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, oneshot};

use super::{BATCH_TIMEOUT, Delivery, SendError};
use crate::Record;
use crate::closing::BoundedClose;
use crate::connection::Connection;
use crate::flushing::flush;

/// How long the reporting thread polls before it checks for records in flight. rdkafka's `poll` spins for its last
/// millisecond: half a percent of a core, and only while records are in flight.
const BUSY_POLL: Duration = Duration::from_millis(200);
/// Interval at which the reporting thread of an idle client serves other events: a broker that is gone, or back.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

/// Whether a record was delivered.
pub(super) type Outcome = Result<Delivery, SendError>;
type Report = Box<oneshot::Sender<Outcome>>;
/// The right to hand over a batch: it comes back when the batch before has been flushed.
type Turn = OwnedMutexGuard<()>;

/// A librdkafka producer with two threads: one flushes, the other serves the delivery reports that the flush waits for.
/// The threads alone own the producer, because closing it may block.
#[derive(Debug)]
pub(super) struct Client {
    producer: Weak<BoundedClose<BaseProducer<Reports>>>,
    turn: Arc<AsyncMutex<()>>,
    /// `None` once it is closed.
    threads: Mutex<Option<Threads>>,
    given_up: AtomicBool,
}

#[derive(Debug)]
struct Threads {
    /// The threads end when this is dropped.
    flushes: mpsc::Sender<Turn>,
    flushing: JoinHandle<()>,
}

impl Client {
    /// Connects in the background.
    ///
    /// # Errors
    /// If librdkafka does not accept the configuration.
    pub(super) fn create(config: &ClientConfig, connection: &Connection) -> Result<Self, KafkaError> {
        let producer: BaseProducer<Reports> = config.create_with_context(Reports(connection.clone()))?;
        let producer = Arc::new(BoundedClose::new(producer));
        let weak = Arc::downgrade(&producer);
        let (flushes, requests) = mpsc::channel();
        let flushing = std::thread::Builder::new()
            .name("producer".to_owned())
            .spawn(move || flush_batches(&producer, requests))
            .map_err(|error| KafkaError::ClientCreation(format!("could not start its thread: {error}")))?;
        Ok(Self {
            producer: weak,
            turn: Arc::default(),
            threads: Mutex::new(Some(Threads { flushes, flushing })),
            given_up: AtomicBool::new(false),
        })
    }

    /// # Errors
    /// After [`Self::close`].
    fn producer(&self) -> Result<Arc<BoundedClose<BaseProducer<Reports>>>, KafkaError> {
        self.producer.upgrade().ok_or(KafkaError::Canceled)
    }

    /// Hands over a batch, and returns for each record where its outcome will arrive.
    ///
    /// # Errors
    /// After [`Self::close`].
    pub(super) async fn send(
        &self,
        topic: &str,
        records: &[Record<'_>],
    ) -> Result<Vec<oneshot::Receiver<Outcome>>, KafkaError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let producer = self.producer()?;
        let send = |record: &Record<'_>| {
            let (report, outcome) = oneshot::channel();
            if let Err((error, message)) = producer.send(record.message(topic, Box::new(report))) {
                // The receiver is still here.
                let _ = message.delivery_opaque.send(Err(SendError::NotWritten(error)));
            }
            outcome
        };
        let outcomes = records.iter().map(send).collect();
        if let Some(threads) = &*self.threads.lock() {
            // The thread only ends before the client if it panicked, which has been logged.
            let _ = threads.flushes.send(turn);
        }
        Ok(outcomes)
    }

    /// Makes this client one that is replaced before the next batch.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Waits for the last batch and for the end of the connection. Blocks for at most [`BATCH_TIMEOUT`] and a second.
    pub(super) fn close(&self) {
        if let Some(Threads { flushes, flushing }) = self.threads.lock().take() {
            drop(flushes);
            // A panic of the thread has been logged.
            let _ = flushing.join();
        }
    }

    /// The error after which this client never writes again, if it has met one.
    pub(super) fn fatal_error(&self) -> Option<KafkaError> {
        let (code, _) = self.producer().ok()?.client().fatal_error()?;
        Some(KafkaError::Global(code))
    }

    /// Asks the broker for the partitions of a topic.
    pub(super) fn metadata(&self, topic: &str, timeout: Duration) -> Result<Metadata, KafkaError> {
        self.producer()?.client().fetch_metadata(Some(topic), timeout)
    }
}

/// Flushes each batch, and serves its delivery reports on a second thread, until the client is dropped.
fn flush_batches(producer: &BaseProducer<Reports>, requests: mpsc::Receiver<Turn>) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reporting = scope.spawn(|| serve_reports(producer, &stop));
        for turn in requests {
            reporting.thread().unpark();
            flush(producer, BATCH_TIMEOUT);
            drop(turn);
        }
        stop.store(true, Ordering::Release);
        reporting.thread().unpark();
    });
}

fn serve_reports(producer: &BaseProducer<Reports>, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        if producer.in_flight_count() > 0 {
            producer.poll(BUSY_POLL);
        } else {
            // Returns at once if there was an `unpark` since the last time.
            std::thread::park_timeout(IDLE_INTERVAL);
            producer.poll(Duration::ZERO);
        }
    }
}

/// Passes each delivery report on to the sender of its record.
struct Reports(Connection);

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, kind: &str, line: &str) {
        self.0.log(level, kind, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Report;

    fn delivery(&self, result: &DeliveryResult<'_>, report: Report) {
        let outcome = match result {
            Ok(message) if message.offset() >= 0 => {
                self.0.up();
                Ok(Delivery {
                    offset: message.offset(),
                })
            }
            // The broker had the record already, from an earlier attempt, and no longer knows its offset.
            Ok(_) => Err(SendError::Unknown(KafkaError::MessageProduction(
                RDKafkaErrorCode::DuplicateSequenceNumber,
            ))),
            Err((error, _)) => Err(SendError::from_report(error.clone())),
        };
        // The sender no longer waits for a record that was given up.
        let _ = report.send(outcome);
    }
}
