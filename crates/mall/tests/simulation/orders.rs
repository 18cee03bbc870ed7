//! order-N and its clients on the simulated broker: the real ids, keys and recovery.

use std::cell::RefCell;
use std::rc::Rc;

use domain::{BatchedSubmission, OrderId, RecordHeaders, RequestText, Submission, SubmissionReply};
use kafka::{Delivery, SendError};
use order::{Batches, Job, Metrics, Now, Outgoing, Tail};
use prometheus_client::registry::Registry;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::oneshot;

use crate::broker::{OrderEntry, Partition};

/// The answer to a client.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The order is acknowledged, at this offset.
    Acknowledged(OrderId, i64),
    Refused,
    Unknown,
}

/// A request of a client. Its requests with one key are repetitions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    pub(crate) key: Option<String>,
    pub(crate) money: u32,
}

/// A process.
pub(crate) struct OrderService {
    partition: Rc<RefCell<Partition>>,
    batches: Batches,
}

/// Records that a process has sent and that have not reached the broker.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(pub(crate) Vec<OrderEntry>);

impl OrderService {
    /// Starts: reads its partition up to the high watermark.
    pub(crate) fn new(partition: &Rc<RefCell<Partition>>, number: domain::Partition, now: Now) -> Self {
        let mut tail = Tail::new(number.into(), now);
        {
            let partition = partition.borrow();
            for offset in partition.order_low..partition.high_watermark {
                let entry = &partition.orders[offset as usize];
                tail.add(offset, entry.headers.pairs(), &entry.value);
            }
        }
        let metrics = Metrics::register(&mut Registry::default(), number);
        Self {
            partition: Rc::clone(partition),
            batches: Batches::new("order", number, tail, metrics),
        }
    }

    /// Takes a request, and writes its order with a fate that is drawn.
    pub(crate) fn submit(
        &mut self,
        request: &Request,
        number: domain::Partition,
        now: Now,
        rng: &mut StdRng,
        under_way: &mut UnderWay,
    ) -> Answer {
        let money = i64::from(request.money).try_into().expect("money");
        let key = request.key.as_ref();
        let headers = RecordHeaders {
            idempotency_key: key.map(|key| key.clone().try_into().expect("a key")),
            idempotency_request: key.map(|_| RequestText::new(Some(money), None)),
            traceparent: None,
        };
        let submission = Submission {
            money,
            partition: number,
            time: now.wall.unix_seconds(),
            user_id: domain::UserId::from_number(rng.random()),
        };
        let (reply, mut answer) = oneshot::channel();
        let job = Job {
            submission: BatchedSubmission { headers, submission },
            queued: now.monotonic,
            reply,
        };
        let batch = self.batches.gather([job], now);
        let outcomes = batch
            .iter()
            .map(|outgoing| self.write(outgoing, rng, under_way))
            .collect();
        self.batches.settle(batch, outcomes, now);
        match answer.try_recv().expect("an answer") {
            SubmissionReply::Receipt(receipt) | SubmissionReply::Replayed(receipt) => {
                Answer::Acknowledged(receipt.order_id, receipt.offset)
            }
            SubmissionReply::Error(error) if error.status == 504 => Answer::Unknown,
            SubmissionReply::Error(_) => Answer::Refused,
        }
    }

    fn write(&self, outgoing: &Outgoing, rng: &mut StdRng, under_way: &mut UnderWay) -> Result<Delivery, SendError> {
        let entry = OrderEntry {
            headers: outgoing.headers.clone(),
            value: outgoing.value.clone(),
            timestamp: outgoing.order.order_id.time().unix_millis().cast_signed(),
        };
        let timed_out = || KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut);
        let mut partition = self.partition.borrow_mut();
        match rng.random_range(0..10) {
            0 => Err(SendError::NotWritten(timed_out())),
            // The broker takes it up later, or never.
            1 => {
                under_way.0.push(entry);
                Err(SendError::Unknown(timed_out()))
            }
            // The leader has it, and a slow copy holds back its acknowledgement.
            2 => {
                partition.append(entry);
                Err(SendError::Unknown(timed_out()))
            }
            _ => {
                let offset = partition.append(entry);
                partition.replicate(offset + 1);
                Ok(Delivery { offset })
            }
        }
    }
}
