//! One partition of the topics on Kafka.

use std::ops::Range;

use domain::{Partition, Shipment, Timestamp, Topic};
use kafka::{Config, Consumer, Fetch, Record, TransactionalProducer, Watermarks};
use tokio_util::sync::CancellationToken;

use crate::interruption::Interruption;
use crate::outcome::{OrderRecord, OutcomeRecord};
use crate::recovery::Logs;

/// The group that commits offsets, for displays of the lag.
pub(crate) const GROUP: &str = "repository";

/// One partition of the topics on Kafka. All functions block.
pub(crate) struct KafkaLogs<'a> {
    partition: Partition,
    orders: &'a Consumer,
    shipments: Consumer,
    producer: &'a TransactionalProducer,
    stop: &'a CancellationToken,
}

impl<'a> KafkaLogs<'a> {
    pub(crate) fn connect(
        kafka: &Config,
        name: &str,
        partition: Partition,
        orders: &'a Consumer,
        producer: &'a TransactionalProducer,
        stop: &'a CancellationToken,
    ) -> Result<Self, Interruption> {
        let client_id = format!("{name}-recovery");
        let shipments = Consumer::new(kafka, &client_id, GROUP, Topic::Shipment.name(), Fetch::Bulk)
            .map_err(|error| Interruption::Failed(error.into()))?;
        shipments.wait_for_broker()?;
        orders.wait_for_broker()?;
        Ok(Self {
            partition,
            orders,
            shipments,
            producer,
            stop,
        })
    }
}

impl Logs for KafkaLogs<'_> {
    type Error = Interruption;

    fn bounds(&self, topic: Topic) -> Result<Watermarks, Interruption> {
        let consumer = match topic {
            Topic::Order => self.orders,
            Topic::Shipment => &self.shipments,
        };
        Ok(consumer.watermarks(self.partition.id())?)
    }

    fn shipment_at(&self, time: Timestamp) -> Result<i64, Interruption> {
        let time = time.unix_millis().cast_signed();
        Ok(self.shipments.offset_at(self.partition.id(), time)?)
    }

    fn read_orders(&self, offsets: Range<i64>, visit: &mut dyn FnMut(OrderRecord)) -> Result<(), Interruption> {
        Ok(self
            .orders
            .read_all(self.partition.id(), offsets, self.stop, |record| {
                visit(order_record(record));
            })?)
    }

    fn read_outcomes(&self, offsets: Range<i64>, visit: &mut dyn FnMut(OutcomeRecord)) -> Result<(), Interruption> {
        Ok(self
            .shipments
            .read_all(self.partition.id(), offsets, self.stop, |record| {
                if let Some(outcome) = OutcomeRecord::from_record(record.value()) {
                    visit(outcome);
                }
            })?)
    }

    fn own_commit(&self) -> Result<Option<i64>, Interruption> {
        let committed = self.orders.committed(self.partition.id())?;
        let own = committed.filter(|committed| committed.metadata == commit_metadata(self.partition));
        Ok(own.map(|committed| committed.offset))
    }

    fn write(&self, shipments: &[(Shipment, i64)]) -> Result<(), Interruption> {
        write(self.producer, self.partition, shipments)
    }
}

/// The text that marks an offset which repository-N itself has committed.
pub(crate) fn commit_metadata(partition: Partition) -> String {
    format!("repository-{partition}")
}

pub(crate) fn order_record(record: &kafka::ConsumedRecord<'_>) -> OrderRecord {
    let timestamp = record.timestamp().unwrap_or_default();
    OrderRecord::new(record.offset(), timestamp, record.headers(), record.value())
}

/// Writes outcomes, each with its time in Unix milliseconds, in one transaction.
pub(crate) fn write(
    producer: &TransactionalProducer,
    partition: Partition,
    shipments: &[(Shipment, i64)],
) -> Result<(), Interruption> {
    let values = shipments.iter().map(|(shipment, timestamp)| {
        let key = shipment.order_id.map(|id| id.to_string());
        (key, shipment.to_record(), *timestamp)
    });
    let values: Vec<(Option<String>, Vec<u8>, i64)> = values.collect();
    producer.write(values.iter().map(|(key, value, timestamp)| Record {
        partition: partition.id(),
        key: key.as_deref(),
        value,
        timestamp: *timestamp,
        headers: &[],
    }))?;
    Ok(())
}
