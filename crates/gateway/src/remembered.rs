//! Asks repository-N which orders it remembers, many at a time.
//!
//! One request is under way at a time; what is asked meanwhile goes into the next. So a lone question waits for nothing,
//! and of a hundred each costs little.

#[cfg(test)]
mod tests;

use std::time::Duration;

use domain::{Known, OrderId};
use hyper::body::Bytes;
use poem::http::StatusCode;
use serde_json::value::RawValue;
use service::client::{Address, Connection};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long a question may take. repository-N answers from memory, in less than a millisecond.
const DEADLINE: Duration = Duration::from_millis(250);

/// Where orders of one region are asked for.
pub(crate) struct RememberedOrders {
    /// Without a bound of its own: how many ask at the same time is bounded before.
    questions: mpsc::UnboundedSender<Question>,
}

struct Question {
    id: OrderId,
    /// Takes the journey as JSON: nobody here looks into it.
    reply: oneshot::Sender<Known<Bytes>>,
}

impl RememberedOrders {
    /// What repository-N remembers of an order; nothing, too, when it does not say so in time.
    pub(crate) async fn find(&self, id: OrderId) -> Known<Bytes> {
        let (reply, known) = oneshot::channel();
        // An error means that the gateway is stopping.
        let _ = self.questions.send(Question { id, reply });
        match timeout(DEADLINE, known).await {
            Ok(Ok(known)) => known,
            _ => Known::Nothing,
        }
    }
}

/// Takes the questions of one region to its repository.
pub(crate) struct QuestionBatches {
    questions: mpsc::UnboundedReceiver<Question>,
    address: Address,
    /// The connection that was used last, if repository-N answered there.
    idle: Option<Connection>,
}

impl QuestionBatches {
    /// What takes the questions, and where they are handed in.
    pub(crate) fn new(address: Address) -> (RememberedOrders, Self) {
        let (sender, questions) = mpsc::unbounded_channel();
        let batches = Self {
            questions,
            address,
            idle: None,
        };
        (RememberedOrders { questions: sender }, batches)
    }

    /// Works until no question can be handed in any more.
    pub(crate) async fn run(mut self) {
        let mut questions = Vec::new();
        while self.questions.recv_many(&mut questions, Known::MAX_TOGETHER).await > 0 {
            let ids: Vec<String> = questions.iter().map(|question| question.id.to_string()).collect();
            let asked = timeout(DEADLINE, self.ask(&ids)).await;
            let known = asked.ok().flatten().unwrap_or_default();
            // Whoever gets no answer knows that there is none: its sender is gone.
            for (question, known) in questions.drain(..).zip(known) {
                // An error means that the client has gone.
                let _ = question.reply.send(known);
            }
        }
    }

    /// `None` for whatever goes wrong: each order is asked for alone then, which tells the client why.
    async fn ask(&mut self, ids: &[String]) -> Option<Vec<Known<Bytes>>> {
        let mut connection = self.connect().await?;
        let request = self.address.get(&format!("/orders?ids={}", ids.join(",")));
        let answer = connection.send(request).await.ok()?;
        self.idle = Some(connection);
        let found: Vec<Known<&RawValue>> = match answer.status {
            StatusCode::OK => serde_json::from_slice(&answer.body).ok()?,
            _ => return None,
        };
        let json = |journey: &RawValue| answer.body.slice_ref(journey.get().as_bytes());
        let known = found.into_iter().map(|known| match known {
            Known::Shipped(journey) => Known::Shipped(json(journey)),
            Known::NotThere => Known::NotThere,
            Known::Nothing => Known::Nothing,
        });
        (known.len() == ids.len()).then(|| known.collect())
    }

    /// The connection that was used last, or a new one when that was closed.
    async fn connect(&mut self) -> Option<Connection> {
        if let Some(mut connection) = self.idle.take()
            && connection.is_usable().await
        {
            return Some(connection);
        }
        self.address.connect().await.ok()
    }
}
