//! Takes the orders of one region and holds them until they are sent.

use domain::{BatchedSubmission, Partition, Region};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::answer::{Accepted, Failure};
use crate::waiting::{Batch, MAX_WAIT, Waiting};

/// Hands in the orders of a region.
pub(crate) struct OrderSender {
    partition: Partition,
    /// Without a bound of its own: `in_flight` is its bound.
    orders: mpsc::UnboundedSender<Order>,
    in_flight: Gauge,
    max_in_flight: i64,
}

/// An order on its way.
pub(crate) struct Order {
    pub(crate) submission: BatchedSubmission,
    arrived: Instant,
    pub(crate) reply: oneshot::Sender<Result<Accepted, Failure>>,
    _in_flight: InFlight,
}

/// The place of one order in the metric that counts and bounds them.
struct InFlight(Gauge);

impl InFlight {
    fn enter(gauge: &Gauge, max: i64) -> Option<Self> {
        let entered = Self(gauge.clone());
        (gauge.inc() < max).then_some(entered)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl OrderSender {
    /// Submits an order and waits for its receipt, for less than 6 s.
    pub(crate) async fn submit(&self, submission: BatchedSubmission) -> Result<Accepted, Failure> {
        let Some(in_flight) = InFlight::enter(&self.in_flight, self.max_in_flight) else {
            let region = Region::from(self.partition);
            return Err(Failure::not_written(format_args!(
                "too many orders are in flight for {region}"
            )));
        };
        let (reply, outcome) = oneshot::channel();
        let order = Order {
            submission,
            arrived: Instant::now(),
            reply,
            _in_flight: in_flight,
        };
        self.orders
            .send(order)
            .map_err(|_| Failure::not_written("the gateway is stopping"))?;
        outcome
            .await
            .unwrap_or_else(|_| Err(Failure::unknown("the gateway stopped")))
    }
}

/// The orders of one region that have not been sent.
pub(crate) struct Inbox {
    service: String,
    pub(crate) partition: Partition,
    arrivals: mpsc::UnboundedReceiver<Order>,
    waiting: Waiting<Order>,
}

impl Inbox {
    /// An inbox, and where orders are handed in to it. `service` is the name of the gateway in the log.
    pub(crate) fn new(
        service: &str,
        partition: Partition,
        in_flight: Gauge,
        max_in_flight: u32,
    ) -> (OrderSender, Self) {
        let (orders, arrivals) = mpsc::unbounded_channel();
        let sender = OrderSender {
            partition,
            orders,
            in_flight,
            max_in_flight: max_in_flight.into(),
        };
        let inbox = Self {
            service: service.to_owned(),
            partition,
            arrivals,
            waiting: Waiting::new(),
        };
        (sender, inbox)
    }

    /// Waits until there is an order. Returns `false` when there will be none any more.
    pub(crate) async fn wait_for_orders(&mut self) -> bool {
        if self.waiting.is_empty() {
            match self.arrivals.recv().await {
                Some(order) => self.waiting.push(order.arrived, order),
                None => return false,
            }
        }
        true
    }

    /// Takes the orders that go out next.
    pub(crate) fn next_batch(&mut self) -> Option<Batch<Order>> {
        self.refuse_late();
        self.waiting.next_batch()
    }

    /// Awaits something; orders that have waited for too long meanwhile are answered.
    ///
    /// Arrivals are looked at when one of them can be late, not one by one: that would wake this task for each order.
    pub(crate) async fn refuse_late_while<T>(&mut self, something: impl Future<Output = T>) -> T {
        let mut something = std::pin::pin!(something);
        loop {
            let next_late = self.waiting.next_late(Instant::now());
            match timeout_at(next_late, &mut something).await {
                Ok(outcome) => return outcome,
                Err(_) => self.refuse_late(),
            }
        }
    }

    fn take_arrivals(&mut self) {
        while let Ok(order) = self.arrivals.try_recv() {
            self.waiting.push(order.arrived, order);
        }
    }

    /// Answers all orders: none of them can be sent.
    pub(crate) fn refuse_all(&mut self, reason: &str) {
        self.take_arrivals();
        let all = self.waiting.take_all();
        self.refuse(all, reason);
    }

    fn refuse_late(&mut self) {
        self.take_arrivals();
        let late = self.waiting.take_late(Instant::now());
        self.refuse(late, &format!("not reached within {} ms", MAX_WAIT.as_millis()));
    }

    /// Answers orders that were never sent.
    fn refuse(&self, orders: Vec<Order>, reason: &str) {
        if orders.is_empty() {
            return;
        }
        let reason = format!("order-{}: {reason}", self.partition);
        self.warn(orders.len(), &reason, "orders not sent");
        for order in orders {
            // An error means that the client has gone.
            let _ = order.reply.send(Err(Failure::not_written(&reason)));
        }
    }

    pub(crate) fn warn(&self, orders: usize, error: &str, message: &'static str) {
        let (service, partition, region) = (self.service.as_str(), self.partition.id(), Region::from(self.partition));
        tracing::warn!(service, partition, %region, orders, error, "{message}");
    }
}
