//! A sound mall of three regions: 40 s of orders, an outage of its broker from 15 s to 27 s, duplicates and poison.

use crate::OrderId;
use crate::audit::attempts::{Answered, Attempt, Beat, Ledger, asked};
use crate::audit::decode::hash_of_key;
use crate::audit::evidence::{Evidence, Kind, Orders, Outcome, Partition, Record, Shipments};
use crate::audit::shown::Shown;
use crate::figures::{Counts, Figures, Offsets};
use crate::ledger::{Answer, Phase, Run};

pub(super) const SECOND: u64 = 1_000_000;
pub(super) const BEGUN: u64 = 1_790_000_000 * SECOND;
const REGIONS: u16 = 3;
/// Between two orders of a region.
const INTERVAL: u64 = SECOND / 4;
const ORDERS: u64 = 160;
/// The broker is down, in intervals from the beginning.
const OUTAGE: std::ops::Range<u64> = 60..108;

/// The fate of an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Written,
    /// It is written, and its answer gets lost.
    Lost,
    /// It is not written, and the answer does not say so.
    Unknown,
    Refused,
}

/// Makes evidence.
struct Scene {
    evidence: Evidence,
    ledger: Ledger,
}

/// The evidence of a mall that keeps its promises.
pub(super) fn sound() -> Evidence {
    let mut scene = Scene {
        evidence: Evidence {
            partitions: (0..REGIONS)
                .map(|number| Partition::new(number, Orders::default(), Shipments::default()))
                .collect(),
            ..Evidence::default()
        },
        ledger: Ledger {
            runs: vec![Run(7)],
            begun: BEGUN,
            ..Ledger::default()
        },
    };
    let mut retries = Vec::new();
    for tick in 0..ORDERS {
        for region in 0..REGIONS {
            let at = BEGUN + tick * INTERVAL + u64::from(region) * 1000;
            let order = tick * u64::from(REGIONS) + u64::from(region);
            let fate = fate(tick, is_keyed(order));
            scene.attempt(at, order, region, fate);
            if is_keyed(order) && matches!(fate, Fate::Lost | Fate::Unknown) {
                retries.push((order, region));
            }
            if tick == 20 {
                scene.poison(region);
            }
        }
        if tick == OUTAGE.end {
            for (index, (order, region)) in retries.drain(..).enumerate() {
                let at = BEGUN + tick * INTERVAL + 10_000 + 2000 * index as u64;
                scene.attempt(at, order, region, Fate::Written);
            }
        }
    }
    scene.finish()
}

fn fate(tick: u64, is_keyed: bool) -> Fate {
    match tick {
        // Its answer does not come before the broker is gone.
        59 if is_keyed => Fate::Lost,
        60..84 => Fate::Unknown,
        84..108 => Fate::Refused,
        _ => Fate::Written,
    }
}

fn is_keyed(order: u64) -> bool {
    order.is_multiple_of(2)
}

fn user(order: u64) -> u64 {
    Run(7).user_id(order)
}

impl Scene {
    fn attempt(&mut self, at: u64, order: u64, region: u16, fate: Fate) {
        let key = if is_keyed(order) {
            hash_of_key(format!("load-{order}").as_bytes())
        } else {
            0
        };
        let money = (order % 1000) as u32;
        let mut attempt = Attempt::new(at, 0, order as u32, region, asked(money, key));
        let order_id = OrderId::new(at / 1000, region, order as u16);
        let identity = if is_keyed(order) {
            [1, order]
        } else {
            [2, order_id.get()]
        };
        let mut offset = -1;
        if matches!(fate, Fate::Written | Fate::Lost) {
            let record = Record {
                id: Some(order_id),
                user: user(order),
                identity,
                money,
                key,
            };
            offset = self.write(region, record);
        }
        let (took, answer) = match fate {
            Fate::Written => (
                5000,
                Answer::Acknowledged {
                    order_id,
                    partition: region,
                    offset,
                    replayed: false,
                },
            ),
            Fate::Lost | Fate::Unknown => (
                5_900_000,
                Answer::Unknown {
                    status: Some(504),
                    order_id: (fate == Fate::Lost).then_some(order_id),
                },
            ),
            Fate::Refused => (3000, Answer::Refused { status: Some(503) }),
        };
        attempt.answer(at + took, &answer);
        self.ledger.ended = self.ledger.ended.max(at + took);
        self.ledger.attempts.push(attempt);
    }

    /// Writes a record, and its outcome.
    fn write(&mut self, region: u16, record: Record) -> i64 {
        let partition = &mut self.evidence.partitions[usize::from(region)];
        let offset = partition.orders.records.len() as i64;
        let first = partition
            .orders
            .records
            .iter()
            .find(|first| first.identity == record.identity)
            .and_then(|first| first.id);
        partition.orders.records.push(record);
        let kind = match (record.id, first) {
            (None, _) => Kind::Rejected,
            (_, Some(_)) => Kind::Duplicate,
            _ => Kind::Shipped,
        };
        let shipments = &mut partition.shipments;
        let index = shipments.outcomes.len() as u32;
        shipments.originals.extend(first.map(|first| (index, first)));
        shipments.outcomes.push(Outcome {
            order_offset: offset,
            order_id: record.id,
            mark: record.identity[0] << 32 | record.identity[1],
            // The end of a transaction takes an offset.
            index: index + index / 5,
            after: if kind == Kind::Shipped { 1 } else { Outcome::NO_TIME },
            kind,
        });
        offset
    }

    fn poison(&mut self, region: u16) {
        let identity = [3, 0];
        self.write(
            region,
            Record {
                identity,
                ..Record::default()
            },
        );
    }

    fn finish(mut self) -> Evidence {
        for partition in &mut self.evidence.partitions {
            partition.orders.offsets = 0..partition.orders.records.len() as i64;
            partition.shipments.offsets = 0..partition
                .shipments
                .outcomes
                .last()
                .map_or(0, |last| i64::from(last.index) + 2);
        }
        let ledger = &mut self.ledger;
        let (down, up) = (BEGUN + OUTAGE.start * INTERVAL, BEGUN + OUTAGE.end * INTERVAL);
        for (at, phase) in [
            (down, Phase::Begun),
            (down + SECOND / 10, Phase::Seen),
            (up, Phase::Healed),
        ] {
            let (name, subjects) = ("kill-kafka-beyond-session".to_owned(), vec!["kafka".to_owned()]);
            ledger.faults.add(at, name, subjects, phase);
        }
        ledger.beats = (0..=ORDERS)
            .map(|tick| Beat {
                at: BEGUN + tick * INTERVAL,
                due: tick * u64::from(REGIONS),
                sent: tick * u64::from(REGIONS),
                run: 0,
            })
            .collect();
        self.evidence.ledger = Some(self.ledger.sorted());
        let figures = fold(&self.evidence);
        self.evidence.figures = Shown {
            before: Some(figures.clone()),
            after: Some(figures),
            missing: String::new(),
        };
        self.evidence
    }
}

/// The figures that statistics would show of the logs.
pub(super) fn fold(evidence: &Evidence) -> Figures {
    let regions: Vec<Counts> = evidence.partitions.iter().map(counts).collect();
    let sum = |of: fn(&Counts) -> u64| regions.iter().map(of).sum();
    let ends = |of: fn(&Partition) -> i64| evidence.partitions.iter().map(of).collect();
    Figures {
        total: Counts {
            orders: sum(|counts| counts.orders),
            money: sum(|counts| counts.money),
            shipped: sum(|counts| counts.shipped),
            duplicates: sum(|counts| counts.duplicates),
            rejected: sum(|counts| counts.rejected),
            waiting: 0,
        },
        offsets: Offsets {
            order: ends(|partition| partition.orders.offsets.end),
            shipment: ends(|partition| partition.shipments.offsets.end),
        },
        begins: None,
        regions,
    }
}

fn counts(partition: &Partition) -> Counts {
    let orders = || partition.orders.records.iter().filter(|record| record.id.is_some());
    let of = |kind| {
        partition
            .shipments
            .outcomes
            .iter()
            .filter(|outcome| outcome.kind == kind)
            .count() as u64
    };
    Counts {
        orders: orders().count() as u64,
        money: orders().map(|record| u64::from(record.money)).sum(),
        shipped: of(Kind::Shipped),
        duplicates: of(Kind::Duplicate),
        rejected: of(Kind::Rejected),
        waiting: 0,
    }
}

/// The first attempt with an answer, from an index on.
pub(super) fn attempt(evidence: &mut Evidence, from: usize, answer: Answered) -> Option<&mut Attempt> {
    let attempts = evidence.ledger.as_mut()?.attempts.iter_mut();
    attempts.skip(from).find(|attempt| attempt.answer == answer)
}
