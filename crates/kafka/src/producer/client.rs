//! A librdkafka producer and the thread that serves its reports.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, Message};

use super::batch::Report;
use super::{Delivery, Record, SendError};
use crate::closing::BoundedClose;
use crate::connection::Connection;

/// How long the thread serves reports before it looks whether there is anything to wait for. rdkafka's `poll` spends the
/// last millisecond of its time without a pause: this is half a percent of a core, and only while records are on their
/// way.
const BUSY_POLL: Duration = Duration::from_millis(200);
/// How often the thread of an idle client serves what else librdkafka has to tell: a broker that is gone, or back.
const IDLE_POLL: Duration = Duration::from_secs(1);

/// A librdkafka producer and the thread that serves its reports. The thread alone owns the producer and takes it down,
/// because that may block.
#[derive(Debug)]
pub(super) struct Client {
    producer: Weak<BoundedClose<BaseProducer<Reports>>>,
    stop: Arc<AtomicBool>,
    thread: Thread,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl Client {
    /// Connects in the background.
    ///
    /// # Errors
    /// When librdkafka does not accept the configuration.
    pub(super) fn create(config: &ClientConfig, connection: &Connection) -> Result<Self, KafkaError> {
        let producer: BaseProducer<Reports> = config.create_with_context(Reports(connection.clone()))?;
        let producer = Arc::new(BoundedClose::new(producer));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::downgrade(&producer), Arc::clone(&stop));
        let running = std::thread::Builder::new()
            .name("producer".to_owned())
            .spawn(move || serve(&producer, &stopped))
            .map_err(|error| KafkaError::ClientCreation(format!("could not start its thread: {error}")))?;
        Ok(Self {
            producer: shared,
            stop,
            thread: running.thread().clone(),
            running: Mutex::new(Some(running)),
        })
    }

    /// # Errors
    /// After [`Self::close`].
    fn producer(&self) -> Result<Arc<BoundedClose<BaseProducer<Reports>>>, KafkaError> {
        self.producer.upgrade().ok_or(KafkaError::Canceled)
    }

    /// Hands a record over. The outcome goes to `report`, unless there is an error: then the record is not on its way.
    ///
    /// # Errors
    /// When the queue is full, the partition unknown, the client broken.
    pub(super) fn send(&self, topic: &str, record: &Record<'_>, report: Report) -> Result<(), KafkaError> {
        let mut message = BaseRecord::<str, [u8], Box<Report>>::with_opaque_to(topic, Box::new(report))
            .partition(record.partition)
            .payload(record.value)
            .timestamp(record.timestamp);
        message.key = record.key;
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            let insert = |headers: OwnedHeaders, (key, value): &(&str, &str)| {
                headers.insert(Header {
                    key,
                    value: Some(*value),
                })
            };
            message = message.headers(record.headers.iter().fold(headers, insert));
        }
        self.producer()?.send(message).map_err(|(error, _)| error)
    }

    /// Wakes the thread, after records were handed over.
    pub(super) fn serve_reports(&self) {
        self.thread.unpark();
    }

    /// Waits until everything that was handed over has its report, and takes the client down. Blocks for at most
    /// `timeout` and a second.
    ///
    /// # Errors
    /// When records were still on their way.
    pub(super) fn close(&self, timeout: Duration) -> Result<(), KafkaError> {
        let flushed = self.producer()?.flush(timeout);
        self.stop();
        if let Some(running) = self.running.lock().take() {
            // A panic of the thread has been logged.
            let _ = running.join();
        }
        flushed
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.thread.unpark();
    }

    /// Why this client will never write again, if so.
    pub(super) fn fatal_error(&self) -> Option<KafkaError> {
        let (code, _) = self.producer().ok()?.client().fatal_error()?;
        Some(KafkaError::Global(code))
    }

    /// Asks the broker for the partitions of a topic.
    pub(super) fn metadata(&self, topic: &str, timeout: Duration) -> Result<Metadata, KafkaError> {
        self.producer()?.client().fetch_metadata(Some(topic), timeout)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the thread does until the client is dropped.
fn serve(producer: &BaseProducer<Reports>, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        if producer.in_flight_count() > 0 {
            producer.poll(BUSY_POLL);
        } else {
            // Woken at once by an `unpark`, also by one that came before this.
            std::thread::park_timeout(IDLE_POLL);
            producer.poll(Duration::ZERO);
        }
    }
}

/// Passes each report on to the batch of its record.
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
    type DeliveryOpaque = Box<Report>;

    fn delivery(&self, result: &DeliveryResult<'_>, report: Box<Report>) {
        report.settle(match result {
            Ok(message) if message.offset() >= 0 => {
                self.0.up();
                Ok(Delivery {
                    offset: message.offset(),
                })
            }
            // The broker had the record already, from an earlier attempt, and no longer knows where.
            Ok(_) => Err(SendError::Unknown(KafkaError::MessageProduction(
                RDKafkaErrorCode::DuplicateSequenceNumber,
            ))),
            Err((error, _)) => Err(SendError::from_report(error.clone())),
        });
    }
}
