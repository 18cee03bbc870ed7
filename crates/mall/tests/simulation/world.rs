//! One schedule: what happens is drawn from a seed, and at the end every promise is checked.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

use domain::{Mark, Order, OrderId, Outcome, Shipment, Timestamp};
use order::Now;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::broker::{OrderEntry, Partition, ShipmentEntry};
use crate::orders::{Answer, OrderService, Request, UnderWay};
use crate::repository::Repository;

const NOON: u64 = 1_800_000_000_000;
const STEPS: u32 = 60;
/// A client repeats a request until it is this old.
const RETRY_FOR: Duration = Duration::from_secs(8 * 60);
/// Records reach the log at most so late.
const MAX_DELAY: Duration = Duration::from_secs(4 * 60);

/// A mistake that the simulation has to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    None,
    /// The last outcome is not compared with its record.
    NoProof,
    /// The group's committed offset moves the position.
    TrustGroup,
    /// The mark is made of the key, whatever the request.
    KeyAlone,
    /// Too little of `shipment` is read back.
    ShortWindow,
    /// The logs are read before the predecessor is fenced.
    ShipBeforeFencing,
    /// A read ends at the first end-of-partition event.
    EndAtEvent,
}

impl Mistake {
    pub(crate) const ALL: [Self; 6] = [
        Self::NoProof,
        Self::TrustGroup,
        Self::KeyAlone,
        Self::ShortWindow,
        Self::ShipBeforeFencing,
        Self::EndAtEvent,
    ];
}

/// A schedule.
pub(crate) struct World {
    rng: StdRng,
    mistake: Mistake,
    number: domain::Partition,
    partition: Rc<RefCell<Partition>>,
    orders: Vec<OrderService>,
    repositories: Vec<Repository>,
    under_way: UnderWay,
    wall: Timestamp,
    monotonic: Instant,
    /// Requests without an acknowledgement, with the time at which they were made first.
    open: Vec<(Request, Timestamp)>,
    acknowledged: Vec<(OrderId, i64)>,
    requests: u32,
    /// The outcomes that retention has removed.
    removed: Vec<Shipment>,
}

impl World {
    pub(crate) fn new(seed: u64, mistake: Mistake) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            mistake,
            number: serde_json::from_str("1").expect("a partition"),
            partition: Rc::default(),
            orders: Vec::new(),
            repositories: Vec::new(),
            under_way: UnderWay::default(),
            wall: Timestamp::from_unix_millis(NOON),
            monotonic: Instant::now(),
            open: Vec::new(),
            acknowledged: Vec::new(),
            requests: 0,
            removed: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        Now {
            wall: self.wall,
            monotonic: self.monotonic,
        }
    }

    fn pass(&mut self, duration: Duration) {
        self.wall = self.wall + duration;
        self.monotonic += duration;
    }

    /// Runs the schedule to its end.
    pub(crate) fn run(mut self) -> Result<(), String> {
        let recreates_at = (self.rng.random_range(0..20) == 0).then(|| self.rng.random_range(10..STEPS));
        for step in 0..STEPS {
            if Some(step) == recreates_at && self.partition.borrow().outcomes().next().is_some() {
                self.recreate();
                return self.check_recreated();
            }
            let pause = Duration::from_millis(self.rng.random_range(0..2_000));
            self.pass(pause);
            self.step();
        }
        self.heal()?;
        self.check()
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..35 => self.submit(),
            35..65 => self.work(),
            65..70 => self.start_repository(),
            70..74 => self.start_order_service(),
            // A crash.
            74..77 => drop(pick(&mut self.rng, &mut self.repositories)),
            77..79 => drop(pick(&mut self.rng, &mut self.orders)),
            79..83 => self.deliver(),
            83..88 => {
                let mut partition = self.partition.borrow_mut();
                let end = partition.orders.len() as i64;
                let until = self.rng.random_range(0..=end);
                partition.replicate(until);
            }
            88..91 => self.peek(),
            91..94 => {
                let pause = Duration::from_secs(self.rng.random_range(0..240));
                self.pass(pause);
            }
            94..96 => {
                // The clock steps: back by a little, or forwards by as much as it likes.
                let step = Duration::from_millis(self.rng.random_range(0..900));
                let leap = Duration::from_secs(self.rng.random_range(0..1200));
                self.wall = if self.rng.random() {
                    self.wall - step
                } else {
                    self.wall + leap
                };
            }
            96..98 => self.expire(),
            98 => self.expire_orders(),
            _ => self.repositories.iter_mut().for_each(Repository::interrupt),
        }
    }

    fn start_order_service(&mut self) {
        // The one before may live on.
        if self.orders.len() > 1 {
            self.orders.remove(0);
        }
        self.orders
            .push(OrderService::new(&self.partition, self.number, self.now()));
    }

    fn start_repository(&mut self) {
        if self.repositories.len() > 1 {
            self.repositories.remove(0);
        }
        self.repositories
            .push(Repository::new(&self.partition, self.rng.random(), self.mistake));
    }

    /// A client sends a new request or repeats one.
    fn submit(&mut self) {
        if self.orders.is_empty() {
            self.start_order_service();
        }
        let wall = self.wall;
        self.open.retain(|(_, made)| *made + RETRY_FOR > wall && *made <= wall);
        let repeats = !self.open.is_empty() && self.rng.random_range(0..3) > 0;
        let index = if repeats {
            self.rng.random_range(0..self.open.len())
        } else {
            self.requests += 1;
            let key = self.rng.random_range(0..4) > 0;
            // Some clients use one key for two requests.
            let number = self.requests / self.rng.random_range(1..3);
            self.open.push((
                Request {
                    key: key.then(|| format!("key-{number}")),
                    money: self.requests % 1000,
                },
                wall,
            ));
            self.open.len() - 1
        };
        let request = self.open[index].0.clone();
        let service = self.rng.random_range(0..self.orders.len());
        let now = self.now();
        let answer = self.orders[service].submit(&request, self.number, now, &mut self.rng, &mut self.under_way);
        match answer {
            Answer::Acknowledged(id, offset) => {
                self.acknowledged.push((id, offset));
                // Half of the clients do not hear of it, and repeat.
                if self.rng.random() {
                    self.open.remove(index);
                }
            }
            Answer::Refused => drop(self.open.remove(index)),
            // Without a key a repetition is another order.
            Answer::Unknown if request.key.is_none() => drop(self.open.remove(index)),
            Answer::Unknown => {}
        }
    }

    /// One of the repositories does a step. An error ends it.
    fn work(&mut self) {
        if self.repositories.is_empty() {
            self.start_repository();
        }
        let index = self.rng.random_range(0..self.repositories.len());
        let most = self.rng.random_range(1..6);
        if self.repositories[index].step(self.wall, most).is_err() {
            self.repositories.remove(index);
        }
    }

    /// A record that was under way reaches the log, if it is not too late.
    fn deliver(&mut self) {
        let oldest = (self.wall - MAX_DELAY).unix_millis().cast_signed();
        self.under_way.0.retain(|entry| entry.timestamp > oldest);
        if let Some(entry) = pick(&mut self.rng, &mut self.under_way.0) {
            let mut partition = self.partition.borrow_mut();
            let offset = partition.append(entry);
            if self.rng.random() {
                partition.replicate(offset + 1);
            }
        }
    }

    /// Another client of group `repository` commits an offset.
    fn peek(&mut self) {
        let mut partition = self.partition.borrow_mut();
        let offset = self.rng.random_range(0..=partition.high_watermark);
        partition.committed = Some((offset, false));
    }

    /// Retention removes outcomes that are half an hour older than the orders which wait: a repository that is further
    /// behind than retention reaches cannot know what it has shipped.
    fn expire(&mut self) {
        let mut partition = self.partition.borrow_mut();
        let shipped = partition.order_position() as usize;
        let waiting = partition.orders.iter().skip(shipped).chain(&self.under_way.0);
        let times = waiting.map(|entry| entry.timestamp);
        let now = self.wall.unix_millis().cast_signed();
        let oldest = times.min().unwrap_or(now).min(now) - 30 * 60 * 1000;
        let low = partition.shipment_low as usize;
        let is_young = |entry: &ShipmentEntry| matches!(entry, ShipmentEntry::Record(_, time) if *time >= oldest);
        // The last outcome stays.
        let is_outcome = |entry: &ShipmentEntry| matches!(entry, ShipmentEntry::Record(..));
        let last = partition.shipments.iter().rposition(is_outcome).unwrap_or(low).max(low);
        let expired = partition.shipments[low..last]
            .iter()
            .take_while(|entry| !is_young(entry))
            .cloned();
        let expired: Vec<ShipmentEntry> = expired.collect();
        partition.shipment_low += expired.len() as i64;
        for entry in expired {
            if let ShipmentEntry::Record(shipment, _) = entry {
                self.removed.push(*shipment);
            }
        }
    }

    /// Retention removes orders that have an outcome.
    fn expire_orders(&mut self) {
        let mut partition = self.partition.borrow_mut();
        let shipped = partition.order_position();
        if shipped > partition.order_low {
            partition.order_low = self.rng.random_range(partition.order_low..=shipped);
        }
    }

    /// Topic `order` is recreated and filled with other orders.
    fn recreate(&mut self) {
        let count = self.rng.random_range(0..2 * self.partition.borrow().orders.len() + 2);
        let id = OrderId::smallest_at(self.wall).get() | (1 << 12);
        let entry = |number| OrderEntry {
            headers: domain::RecordHeaders::default(),
            value: format!(r#"{{"money":1,"order_id":"{}","time":1,"user_id":"9"}}"#, id + number).into_bytes(),
            timestamp: self.wall.unix_millis().cast_signed(),
        };
        let entries = (0..count as u64).map(entry).collect();
        self.partition.borrow_mut().recreate_order(entries);
        self.repositories.iter_mut().for_each(Repository::interrupt);
    }

    /// No repository may take the new topic for the old one: neither one that starts, nor one that runs.
    fn check_recreated(mut self) -> Result<(), String> {
        let before = self.partition.borrow().outcomes().count();
        for _ in 0..20 {
            self.work();
        }
        self.repositories.clear();
        for _ in 0..5 {
            self.work();
        }
        let partition = self.partition.borrow();
        let marks: Vec<Mark> = partition
            .orders
            .iter()
            .map(|entry| Mark::of_content(&entry.value))
            .collect();
        // An open transaction of the old topic may still be committed.
        let is_new = |shipment: &&Shipment| shipment.mark.is_some_and(|mark| marks.contains(&mark));
        let new = partition.outcomes().skip(before).filter(is_new).count();
        if new > 0 {
            return Err(format!("{new} orders of a recreated topic were shipped"));
        }
        Ok(())
    }

    /// Everything that can still come comes, and everything is shipped.
    fn heal(&mut self) -> Result<(), String> {
        let end = self.partition.borrow().orders.len() as i64;
        self.partition.borrow_mut().replicate(end);
        self.repositories.clear();
        let mut lost = None;
        for _ in 0..200 {
            if self.repositories.is_empty() {
                self.start_repository();
            }
            if let Err(error) = self.repositories[0].step(self.wall, 50) {
                self.repositories.clear();
                lost = Some(error);
            } else if self.repositories[0].is_done() {
                return Ok(());
            }
        }
        Err(format!("the repository does not come to an end: {lost:?}"))
    }

    fn check(&self) -> Result<(), String> {
        let partition = self.partition.borrow();
        for (id, offset) in &self.acknowledged {
            let value = &partition.orders[*offset as usize].value;
            let found = Order::from_record(value).map(|order| order.order_id);
            if found != Ok(*id) {
                return Err(format!("acknowledged order {id} is not at offset {offset}: {found:?}"));
            }
        }
        let outcomes: Vec<&Shipment> = self.removed.iter().chain(partition.outcomes_from_low()).collect();
        for (offset, shipment) in (0..).zip(&outcomes) {
            if shipment.order_offset != offset {
                return Err(format!(
                    "expected the outcome of offset {offset}, found that of {}",
                    shipment.order_offset
                ));
            }
        }
        if outcomes.len() != partition.orders.len() {
            return Err(format!(
                "{} outcomes of {} records",
                outcomes.len(),
                partition.orders.len()
            ));
        }
        self.check_marks(&partition, &outcomes)
    }

    /// Each order is shipped once: of the records that are the same order, the first one.
    fn check_marks(&self, partition: &Partition, outcomes: &[&Shipment]) -> Result<(), String> {
        let acknowledged: HashSet<OrderId> = self.acknowledged.iter().map(|(id, _)| *id).collect();
        let mut shipped: HashMap<String, Vec<OrderId>> = HashMap::new();
        let mut newest = Timestamp::from_unix_millis(0);
        for (entry, shipment) in partition.orders.iter().zip(outcomes) {
            let order = Order::from_record(&entry.value).expect("an order");
            let id = order.order_id;
            let (key, request) = (&entry.headers.idempotency_key, &entry.headers.idempotency_request);
            let class = key
                .as_ref()
                .map_or_else(|| format!("{:?}", entry.value), |key| format!("{key:?} {request:?}"));
            let others = shipped.entry(class).or_default();
            let same = others.iter().copied().find(|other| {
                // The rule of the contract, in numbers of its own.
                let apart = other.time().unix_millis().abs_diff(id.time().unix_millis());
                apart <= 600_000
            });
            let is_late = id.time() + Duration::from_secs(300) < newest;
            newest = newest.max(id.time());
            match (shipment.outcome, same) {
                (Outcome::Shipped, None) => others.push(id),
                (Outcome::Duplicate, Some(same)) if shipment.duplicate_of == Some(same) => {}
                (Outcome::Rejected, _) if is_late && !acknowledged.contains(&id) => {}
                (outcome, same) => {
                    return Err(format!(
                        "order {id} has outcome {}, the same order was shipped: {same:?}",
                        outcome.name()
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Takes one of several out.
fn pick<T>(rng: &mut StdRng, from: &mut Vec<T>) -> Option<T> {
    (!from.is_empty()).then(|| from.swap_remove(rng.random_range(0..from.len())))
}
