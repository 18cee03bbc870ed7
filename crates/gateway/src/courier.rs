//! Takes the orders of one region to its order service, in batches.
//!
//! One request is under way at a time; what arrives meanwhile is the next batch. A lone order waits for nothing, and a
//! region that hangs takes nothing from the others.

#[cfg(test)]
mod tests;

use http_body_util::Full;
use hyper::body::Bytes;
use poem::http::{Request, header};
use prometheus_client::metrics::histogram::Histogram;
use service::client::{Address, Connection, NoAnswer};
use tokio::time::timeout_at;

use crate::answer::{self, Failure};
use crate::inbox::{Inbox, Order};
use crate::waiting::{Batch, MAX_ANSWER};

/// Takes the orders of one region to its order service.
pub(crate) struct Courier {
    inbox: Inbox,
    address: Address,
    /// The connection that was used last, if order-N answered there.
    idle: Option<Connection>,
    /// The number of orders in one request.
    batch_orders: Histogram,
}

impl Courier {
    pub(crate) fn new(inbox: Inbox, address: Address, batch_orders: Histogram) -> Self {
        Self {
            inbox,
            address,
            idle: None,
            batch_orders,
        }
    }

    /// Works until no order can be handed in any more.
    pub(crate) async fn run(mut self) {
        while self.inbox.wait_for_orders().await {
            let mut connection = match self.connect().await {
                Ok(connection) => connection,
                Err(error) => {
                    self.inbox.refuse_all(&format!("out of reach ({error:#})"));
                    continue;
                }
            };
            let is_kept = match self.inbox.next_batch() {
                Some(batch) => self.deliver(batch, &mut connection).await,
                None => true,
            };
            self.idle = is_kept.then_some(connection);
        }
    }

    /// The connection that was used last, or a new one when that was closed.
    async fn connect(&mut self) -> anyhow::Result<Connection> {
        if let Some(mut connection) = self.idle.take()
            && connection.is_usable().await
        {
            return Ok(connection);
        }
        self.inbox.refuse_late_while(self.address.connect()).await
    }

    /// Sends a batch and tells each order what became of it. Returns whether order-N has answered.
    async fn deliver(&mut self, batch: Batch<Order>, connection: &mut Connection) -> bool {
        let Batch { orders, deadline } = batch;
        self.batch_orders.observe(orders.len() as f64);
        let exchange = timeout_at(deadline, connection.send(self.request(&orders)));
        let answer = self.inbox.refuse_late_while(exchange).await.unwrap_or_else(|_| {
            let deadline = MAX_ANSWER.as_secs_f32();
            Err(NoAnswer::Lost(format!("{deadline} s have passed since the order came")))
        });
        let answered = answer.is_ok();
        let outcomes = answer::of_batch(self.inbox.partition, orders.len(), answer);
        let failures: Vec<&Failure> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
        if let Some(first) = failures.first() {
            self.inbox
                .warn(failures.len(), first.reason(), "orders without a receipt");
        }
        let is_misdirected = failures
            .iter()
            .any(|failure| matches!(failure, Failure::Misdirected(_)));
        for (order, outcome) in orders.into_iter().zip(outcomes) {
            // An error means that the client has gone.
            let _ = order.reply.send(outcome);
        }
        answered && !is_misdirected
    }

    fn request(&self, orders: &[Order]) -> Request<Full<Bytes>> {
        let submissions: Vec<_> = orders.iter().map(|order| &order.submission).collect();
        let body = serde_json::to_vec(&submissions).expect("strings and integers are JSON");
        Request::post("/submit-orders")
            .header(header::HOST, self.address.host().as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .expect("a path, an authority and a media type")
    }
}
