//! Reads the topics with a plain consumer. Every function blocks, for a bounded time.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use super::decode::{self, Headers};
use super::evidence::{Orders, Partition, Record, Shipments};

const CLIENT: &str = "audit";
/// A question to the broker.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// Reading has failed when nothing comes for this long.
const STALL_TIMEOUT: Duration = Duration::from_secs(15);
/// An end of a partition before the end that was asked for counts when it has lasted for this long: a new leader may
/// not know the end yet.
const EARLY_END: Duration = Duration::from_secs(3);
/// An order may be without an outcome for this long after the audit begins.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(10);
const OUTCOME_INTERVAL: Duration = Duration::from_millis(50);

/// The broker, and the configuration of clients for it.
#[derive(Clone, Default)]
pub struct Kafka {
    /// Comma separated `host:port`.
    pub bootstrap_servers: String,
    /// Comes before the names of topics and groups.
    pub prefix: String,
    /// Further librdkafka properties. Their values may be secret.
    pub properties: Vec<(String, String)>,
}

impl fmt::Debug for Kafka {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Kafka")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// The offsets that a partition of both topics held when the audit began.
#[derive(Clone, Debug)]
struct Bounds {
    order: Range<i64>,
    shipment: Range<i64>,
}

/// The topics of a mall.
pub(super) struct Topics<'a> {
    orders: Topic<'a>,
    shipments: Topic<'a>,
    bounds: Vec<Bounds>,
    /// When the bounds were taken.
    opened: Instant,
    pub(super) spare: Vec<(u16, Range<i64>)>,
}

impl<'a> Topics<'a> {
    /// Connects, and asks for the offsets of each region.
    ///
    /// # Errors
    /// When there is no broker, or not the topics.
    pub(super) fn open(
        kafka: &Kafka,
        regions: u16,
        stop: &'a CancellationToken,
        read: &'a AtomicU64,
    ) -> anyhow::Result<Self> {
        let topic = |name| Topic::open(kafka, name, stop, read);
        let (orders, shipments) = (topic("order")?, topic("shipment")?);
        let mut bounds = Vec::new();
        for partition in 0..regions {
            // In this order, so that an outcome that is read is of an order that is read.
            let shipment = shipments.offsets(partition)?;
            let order = orders.offsets(partition)?;
            bounds.push(Bounds { order, shipment });
        }
        let opened = Instant::now();
        let mut spare = Vec::new();
        for partition in regions..orders.partitions()? {
            spare.push((partition, orders.offsets(partition)?));
        }
        spare.retain(|(_, offsets)| !offsets.is_empty());
        Ok(Self {
            orders,
            shipments,
            bounds,
            opened,
            spare,
        })
    }

    /// Records of topic `order`, and of topic `shipment`.
    pub(super) fn records(&self) -> (u64, u64) {
        let count = |offsets: &Range<i64>| offsets.end.abs_diff(offsets.start);
        let orders = self.bounds.iter().map(|bounds| count(&bounds.order)).sum();
        let shipments = self.bounds.iter().map(|bounds| count(&bounds.shipment)).sum();
        (orders, shipments)
    }

    /// Reads everything.
    ///
    /// # Errors
    /// When a partition cannot be read.
    pub(super) fn read(&self) -> anyhow::Result<Vec<Partition>> {
        thread::scope(|scope| {
            let orders = scope.spawn(|| self.read_orders());
            let shipments = self.read_shipments()?;
            let orders = orders.join().map_err(|_| anyhow!("a reader has panicked"))??;
            let partitions = (0..).zip(orders).zip(shipments);
            Ok(partitions
                .map(|((number, orders), shipments)| Partition::new(number, orders, shipments))
                .collect())
        })
    }

    fn read_orders(&self) -> anyhow::Result<Vec<Orders>> {
        let regions = (0..).zip(&self.bounds);
        regions
            .map(|(partition, bounds)| self.orders.read_orders(partition, &bounds.order))
            .collect()
    }

    /// Reads on while there are orders without an outcome, and some time is left.
    fn read_shipments(&self) -> anyhow::Result<Vec<Shipments>> {
        let mut regions = Vec::new();
        for (partition, bounds) in (0..).zip(&self.bounds) {
            let mut found = ReadShipments::new(bounds.shipment.clone(), bounds.order.end);
            let mut end = bounds.shipment.end;
            loop {
                let from = found.next;
                self.shipments.read(partition, from..end, |message| {
                    found.push(message.offset(), message.payload().unwrap_or_default());
                })?;
                if found.is_complete() || self.opened.elapsed() > OUTCOME_TIMEOUT {
                    break;
                }
                thread::sleep(OUTCOME_INTERVAL);
                end = self.shipments.offsets(partition)?.end.max(end);
            }
            regions.push(found.shipments);
        }
        Ok(regions)
    }
}

/// Outcomes that are being read.
struct ReadShipments {
    shipments: Shipments,
    /// The offset of the next record.
    next: i64,
    /// The offset of topic `order` at which the last outcome was.
    covered: i64,
    order_end: i64,
}

impl ReadShipments {
    fn new(offsets: Range<i64>, order_end: i64) -> Self {
        Self {
            next: offsets.start,
            covered: -1,
            order_end,
            shipments: Shipments {
                outcomes: Vec::with_capacity(usize::try_from(offsets.end - offsets.start).unwrap_or(0)),
                offsets,
                originals: Vec::new(),
            },
        }
    }

    fn is_complete(&self) -> bool {
        self.covered + 1 >= self.order_end
    }

    fn push(&mut self, offset: i64, value: &[u8]) {
        let offsets = &self.shipments.offsets;
        let (outcome, original) = decode::outcome(value, u32::try_from(offset - offsets.start).unwrap_or(u32::MAX));
        self.next = self.next.max(offset + 1);
        // The outcome of an order that was written since the bounds were taken.
        if offset >= offsets.end && outcome.order_offset >= self.order_end {
            return;
        }
        self.covered = self.covered.max(outcome.order_offset);
        if let Some(original) = original {
            self.shipments
                .originals
                .push((self.shipments.outcomes.len() as u32, original));
        }
        self.shipments.outcomes.push(outcome);
    }
}

/// A topic, and the consumer that reads it.
struct Topic<'a> {
    consumer: BaseConsumer,
    name: String,
    servers: String,
    stop: &'a CancellationToken,
    read: &'a AtomicU64,
}

impl<'a> Topic<'a> {
    fn open(kafka: &Kafka, name: &str, stop: &'a CancellationToken, read: &'a AtomicU64) -> anyhow::Result<Self> {
        let mut config = ClientConfig::new();
        for (name, value) in [
            ("bootstrap.servers", kafka.bootstrap_servers.as_str()),
            ("client.id", CLIENT),
            // Partitions are assigned, and nothing is committed: librdkafka asks for the name of a group all the same.
            ("group.id", &format!("{}{CLIENT}", kafka.prefix)),
            ("allow.auto.create.topics", "false"),
            ("auto.offset.reset", "error"),
            ("check.crcs", "true"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("isolation.level", "read_committed"),
            // Reads ahead, in some 10 MiB: a million records a second.
            ("queued.min.messages", "100000"),
            ("queued.max.messages.kbytes", "8192"),
            ("fetch.message.max.bytes", "2097152"),
            ("fetch.wait.max.ms", "10"),
            ("socket.timeout.ms", "5000"),
            ("reconnect.backoff.max.ms", "500"),
        ] {
            config.set(name, value);
        }
        for (name, value) in &kafka.properties {
            config.set(name, value);
        }
        Ok(Self {
            consumer: config.create().context("could not make a consumer")?,
            name: format!("{}{name}", kafka.prefix),
            servers: kafka.bootstrap_servers.clone(),
            stop,
            read,
        })
    }

    /// Returns the number of partitions.
    fn partitions(&self) -> anyhow::Result<u16> {
        let metadata = self.consumer.fetch_metadata(Some(&self.name), ASK_TIMEOUT)?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.name);
        Ok(u16::try_from(topic.map_or(0, |topic| topic.partitions().len()))?)
    }

    /// The offsets that a partition holds.
    fn offsets(&self, partition: u16) -> anyhow::Result<Range<i64>> {
        ensure!(!self.stop.is_cancelled(), "asked to stop");
        let answer = self
            .consumer
            .fetch_watermarks(&self.name, i32::from(partition), ASK_TIMEOUT);
        let (low, high) = answer.map_err(|error| self.explain(partition, &error))?;
        Ok(low..high)
    }

    fn explain(&self, partition: u16, error: &KafkaError) -> anyhow::Error {
        let is_known = matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::UnknownPartition
                    | RDKafkaErrorCode::UnknownTopic
                    | RDKafkaErrorCode::UnknownTopicOrPartition
            )
        );
        let (name, servers) = (&self.name, &self.servers);
        if is_known {
            return anyhow!(
                "cannot read {name}[{partition}]: {error}: is the mall open, and has it so many regions? --replicas says \
                 how many"
            );
        }
        anyhow!(
            "cannot read the topics: {error}: is there a Kafka at {servers}? MALL_KAFKA__BOOTSTRAP_SERVERS says where it is"
        )
    }

    fn read_orders(&self, partition: u16, offsets: &Range<i64>) -> anyhow::Result<Orders> {
        let mut orders = Orders {
            offsets: offsets.clone(),
            records: Vec::with_capacity(usize::try_from(offsets.end - offsets.start)?),
            ..Orders::default()
        };
        let mut next = offsets.start;
        self.read(partition, offsets.clone(), |message| {
            orders.skip(next..message.offset());
            next = message.offset() + 1;
            let headers = headers(message);
            orders.incomplete_keys += u64::from(headers.is_incomplete());
            orders
                .records
                .push(decode::order(message.payload().unwrap_or_default(), headers));
        })?;
        orders.skip(next..offsets.end);
        Ok(orders)
    }

    /// Reads a part of a partition.
    fn read(
        &self,
        partition: u16,
        offsets: Range<i64>,
        mut visit: impl FnMut(&BorrowedMessage<'_>),
    ) -> anyhow::Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        self.assign(partition, offsets.start)?;
        let mut next = offsets.start;
        // The clock is read only while nothing comes: millions of records do.
        let (mut idle_since, mut end_since, mut reason) = (None, None, String::new());
        while next < offsets.end {
            ensure!(!self.stop.is_cancelled(), "asked to stop");
            match self.consumer.poll(POLL_TIMEOUT) {
                Some(Ok(message)) => {
                    (idle_since, end_since) = (None, None);
                    next = message.offset() + 1;
                    if message.offset() < offsets.end {
                        visit(&message);
                        self.read.fetch_add(1, Ordering::Relaxed);
                    }
                    continue;
                }
                // The end of a transaction takes an offset, and is no record.
                Some(Err(KafkaError::PartitionEOF(_))) if self.position(partition) >= Some(offsets.end) => break,
                Some(Err(KafkaError::PartitionEOF(_))) => _ = end_since.get_or_insert_with(Instant::now),
                Some(Err(error)) => reason = self.classify(error)?,
                None => {}
            }
            if end_since.is_some_and(|since: Instant| since.elapsed() > EARLY_END) {
                break;
            }
            if idle_since.get_or_insert_with(Instant::now).elapsed() > STALL_TIMEOUT {
                let seconds = STALL_TIMEOUT.as_secs();
                bail!(
                    "{}[{partition}]: no record for {seconds} s, at offset {next}: {reason}",
                    self.name
                );
            }
        }
        Ok(())
    }

    fn assign(&self, partition: u16, offset: i64) -> anyhow::Result<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name, i32::from(partition), Offset::Offset(offset))?;
        // If a partition left the next assignment before it has stopped, librdkafka would abort the process. It answers the
        // question after it has stopped all of them: https://github.com/confluentinc/librdkafka/issues/5573
        let assigned = self.consumer.assign(&list).and_then(|()| self.consumer.assignment());
        assigned.map(|_| ()).context("could not assign a partition")
    }

    /// The offset after all that was polled of a partition since it was assigned.
    fn position(&self, partition: u16) -> Option<i64> {
        let positions = self.consumer.position().ok()?;
        match positions.find_partition(&self.name, i32::from(partition))?.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }
    }

    /// An error that may pass, as text.
    ///
    /// # Errors
    /// Another error.
    fn classify(&self, error: KafkaError) -> anyhow::Result<String> {
        use RDKafkaErrorCode as Code;
        match error.rdkafka_error_code() {
            Some(
                Code::AutoOffsetReset
                | Code::OffsetOutOfRange
                | Code::BadMessage
                | Code::TopicAuthorizationFailed
                | Code::Fatal,
            )
            | None => Err(anyhow!("{}: {error}", self.name)),
            Some(_) => Ok(error.to_string()),
        }
    }
}

impl Orders {
    /// Offsets without a record.
    fn skip(&mut self, offsets: Range<i64>) {
        if !offsets.is_empty() {
            let count = usize::try_from(offsets.end - offsets.start).unwrap_or(0);
            self.records.extend(std::iter::repeat_n(Record::default(), count));
            self.gaps.push(offsets);
        }
    }
}

fn headers<'a>(message: &'a BorrowedMessage<'_>) -> Headers<'a> {
    let mut found = Headers::default();
    for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
        match header.key {
            "idempotency-key" => found.key = header.value,
            "idempotency-request" => found.request = header.value,
            _ => {}
        }
    }
    found
}
