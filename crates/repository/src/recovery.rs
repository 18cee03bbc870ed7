//! Reads back what has been done so far.

use domain::{Outcome, Partition, Shipment};
use kafka::{ConsumeError, Consumer};
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::interruption::Interruption;
use crate::position::Found;
use crate::window::DuplicateWindow;

/// What has been done so far, as the log says.
pub(crate) struct Done {
    /// The offset of topic `order` to go on from.
    pub(crate) position: i64,
    /// The ids that were shipped.
    pub(crate) window: DuplicateWindow,
}

/// Reads back what the partition's repository has done. Blocks.
pub(crate) fn read_back(
    config: &Config,
    name: &str,
    orders: &Consumer,
    stop: &CancellationToken,
) -> Result<Done, Interruption> {
    let partition = Partition::from(config.ordinal).id();
    let shipments =
        Consumer::new(&config.kafka, &format!("{name}-tail"), "repository", "shipment").map_err(|source| {
            ConsumeError::Kafka {
                topic: "shipment".to_owned(),
                action: "make a reader",
                source,
            }
        })?;
    shipments.wait_for_broker()?;
    let shipment = shipments.watermarks(partition)?;
    let capacity = config.settings.duplicate_window.get();
    let mut window = DuplicateWindow::new(capacity as usize);
    let mut shipped = None;
    // In a transaction of one record every second offset is the end of a transaction.
    let reach = 2 * i64::from(capacity);
    let from = shipment.low.max(shipment.high.saturating_sub(reach));
    shipments.replay(partition, from..shipment.high, stop, |record| {
        let Ok(Shipment {
            order_id,
            order_offset,
            outcome,
            ..
        }) = Shipment::from_record(record.value())
        else {
            return;
        };
        shipped = shipped.max(Some(order_offset + 1));
        if let (Some(order_id), Outcome::Shipped) = (order_id, outcome) {
            window.insert(order_id);
        }
    })?;
    if from > 0 {
        window.forget_older();
    }
    orders.wait_for_broker()?;
    let found = Found {
        shipped,
        committed: orders.committed(partition)?,
        shipment,
        order: orders.watermarks(partition)?,
    };
    let position = found
        .position(config.settings.on_lost_position)
        .map_err(|lost| Interruption::Failed(lost.into()))?;
    Ok(Done { position, window })
}
