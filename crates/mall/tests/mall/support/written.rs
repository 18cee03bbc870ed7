//! What a test was told of its orders, and whether the log agrees.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use domain::Outcome;
use hyper::StatusCode;

use super::client::NoReply;
use super::{Reply, eventually, order_ids, shipments};

/// What a test was told of its orders.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// The ids of those that are in the log, by partition.
    pub(crate) acknowledged: BTreeMap<u16, Vec<String>>,
    /// The ids of those that may be in the log.
    pub(crate) unknown: Vec<String>,
    /// Orders that may be in the log without anybody knowing their ids.
    pub(crate) unanswered: usize,
}

impl Written {
    /// Adds what became of one order. Returns whether it was taken.
    pub(crate) fn add(&mut self, partition: u16, reply: Result<Reply, NoReply>) -> bool {
        match reply {
            Err(NoReply::NotSent(_)) => false,
            Err(NoReply::Broken(_)) => {
                self.unanswered += 1;
                false
            }
            Ok(reply) => match reply.status {
                StatusCode::OK => {
                    self.acknowledged.entry(partition).or_default().push(reply.order_id());
                    true
                }
                StatusCode::SERVICE_UNAVAILABLE => false,
                StatusCode::GATEWAY_TIMEOUT => {
                    match reply.json()["order_id"].as_str() {
                        Some(id) => self.unknown.push(id.to_owned()),
                        None => self.unanswered += 1,
                    }
                    false
                }
                status => panic!("{status}: {}", reply.text),
            },
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (partition, ids) in other.acknowledged {
            self.acknowledged.entry(partition).or_default().extend(ids);
        }
        self.unknown.extend(other.unknown);
        self.unanswered += other.unanswered;
    }

    /// How many orders were acknowledged.
    pub(crate) fn count(&self) -> usize {
        self.acknowledged.values().map(Vec::len).sum()
    }

    /// Waits until each order in the log has an outcome, and checks that what was said is true: each acknowledged
    /// order is in its partition once, nothing else is there but what may be, and each was shipped once, in the
    /// order of the log.
    pub(crate) async fn verify(&self, kafka: &kafka::Config) {
        let mut strangers = 0;
        for partition in 0..3 {
            let orders = order_ids(kafka, partition).await;
            let in_log: HashSet<&String> = orders.iter().collect();
            assert_eq!(in_log.len(), orders.len(), "an order is in partition {partition} twice");
            let acknowledged = self.acknowledged.get(&partition).map_or(&[][..], Vec::as_slice);
            let lost: Vec<_> = acknowledged.iter().filter(|id| !in_log.contains(id)).collect();
            assert!(
                lost.is_empty(),
                "acknowledged, but not in partition {partition}: {lost:?}"
            );
            let told: BTreeSet<&String> = acknowledged.iter().chain(&self.unknown).collect();
            strangers += orders.iter().filter(|id| !told.contains(id)).count();

            eventually(
                &format!("every order of partition {partition} has an outcome"),
                async || shipments(kafka, partition).await.len() >= orders.len(),
            )
            .await;
            let shipments = shipments(kafka, partition).await;
            let offsets: Vec<i64> = shipments.iter().map(|shipment| shipment.order_offset).collect();
            let expected: Vec<i64> = (0..).take(orders.len()).collect();
            assert_eq!(
                offsets, expected,
                "one outcome for each order of partition {partition}, in order"
            );
            let shipped: Vec<String> = shipments
                .iter()
                .filter(|shipment| shipment.outcome == Outcome::Shipped)
                .filter_map(|shipment| shipment.order_id.map(|id| id.to_string()))
                .collect();
            assert_eq!(shipped, orders, "each order of partition {partition} is shipped once");
        }
        assert!(
            strangers <= self.unanswered,
            "{strangers} orders in the log that were not answered for, {} answers that did not come",
            self.unanswered
        );
    }
}
