//! Orders at a steady rate, whatever becomes of them (an open loop): a mall that is slow or dead does not make the client
//! wait, as it would not make other people wait. Latency counts from the time that an order was due, and none is left out.

mod board;
mod command;
mod pace;
mod report;

use std::cell::{Cell, RefCell};
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use domain::Partition;
use futures_util::future::{join3, try_join_all};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::pace::Pace;
use crate::ServiceUrl;
use crate::client::{Client, Order};
use crate::ledger::{Answer, Ledger, Line, Run};

pub use self::board::{Board, Figures};
pub use self::command::{Arguments, run};
pub use self::report::Summary;

/// Timeout of the orders that were due, and not sent, when the time is over.
const CATCH_UP: Duration = Duration::from_secs(10);
/// Interval of repetitions of an order with a key and an unknown outcome.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// Interval of the lines by which the ledger shows that the load is alive: a halt of a second is seen.
const BEAT_INTERVAL: Duration = Duration::from_millis(250);
/// After the time is over, orders with a key are tried again for this long.
const RETRY_TIME: Duration = Duration::from_secs(60);

/// The orders to send.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where.
    pub gateway: ServiceUrl,
    /// The partitions that take turns.
    pub partitions: Vec<Partition>,
    /// Orders a second, all partitions together.
    pub rate: f64,
    /// Connections, at least one for each partition: no region waits for those of another.
    pub connections: usize,
    /// For how long.
    pub duration: Duration,
    /// `true` if each order has an `Idempotency-Key`, and is repeated until its outcome is known.
    pub keys: bool,
}

/// The time, as ledgers have it: Unix microseconds. It grows steadily within a process, also when the clock is set.
pub fn now() -> u64 {
    static START: LazyLock<(Duration, Instant)> = LazyLock::new(|| {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        (since_epoch.unwrap_or_default(), Instant::now())
    });
    let (start, instant) = *START;
    u64::try_from((start + instant.elapsed()).as_micros()).unwrap_or(u64::MAX)
}

/// Sends orders until the time is over or `stop` is cancelled; then waits for the answers that are under way.
///
/// # Errors
/// When the ledger cannot be written: nothing is sent that does not stand in it.
pub async fn drive(
    plan: &Plan,
    ledger: Option<&RefCell<Ledger>>,
    board: &Board,
    stop: &CancellationToken,
) -> anyhow::Result<Summary> {
    let regions = plan.partitions.len();
    let load = Load {
        plan,
        ledger,
        board,
        stop,
        pace: Pace::begin(plan.rate, plan.duration, regions).context("could not start a thread")?,
        run: Run::draw(),
        orders: Cell::new(0),
        begun: vec![Cell::new(0); regions],
    };
    load.note(|at| Line::Run {
        at,
        run: load.run,
        gateway: plan.gateway.to_string(),
    })?;
    let workers = (0..plan.connections.max(regions)).map(|index| load.work(index % regions));
    let (worked, end, beaten) = join3(try_join_all(workers), load.end(), load.beat()).await;
    worked?;
    beaten?;
    Ok(Summary::new(plan, board.regions(), &end))
}

/// The end of the sending.
struct End {
    /// The duration.
    elapsed: Duration,
    /// Orders that were due.
    due: u64,
    /// Orders of them that were sent before the time was over.
    in_time: u64,
}

/// A load that is under way.
struct Load<'a> {
    plan: &'a Plan,
    ledger: Option<&'a RefCell<Ledger>>,
    board: &'a Board,
    stop: &'a CancellationToken,
    pace: Pace,
    run: Run,
    /// The number of orders that were begun.
    orders: Cell<u64>,
    /// The same by region.
    begun: Vec<Cell<u64>>,
}

impl Load<'_> {
    fn note(&self, line: impl FnOnce(u64) -> Line) -> anyhow::Result<()> {
        match self.ledger {
            Some(ledger) => ledger.borrow_mut().write(&line(now())),
            None => Ok(()),
        }
    }

    /// Ends the sending in time.
    async fn end(&self) -> End {
        self.stop.run_until_cancelled(sleep(self.plan.duration)).await;
        let (due, in_time) = (self.pace.due(), self.orders.get());
        // A mall that was closed for a while gets what was due meanwhile.
        let caught_up = async {
            while self.orders.get() < due {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = timeout(CATCH_UP, self.stop.run_until_cancelled(caught_up)).await;
        self.pace.stop();
        End {
            elapsed: self.pace.elapsed(),
            due,
            in_time,
        }
    }

    /// Writes that the load is alive, until the sending ends.
    async fn beat(&self) -> anyhow::Result<()> {
        while !self.pace.is_stopped() {
            let (due, sent) = (self.pace.due(), self.orders.get());
            self.note(|at| Line::Beat { at, due, sent })?;
            sleep(BEAT_INTERVAL).await;
        }
        Ok(())
    }

    /// Sends orders of a region over one connection, one after the other.
    async fn work(&self, region: usize) -> anyhow::Result<()> {
        let mut client = Client::new(&self.plan.gateway);
        while self.pace.wait(region).await.is_some() {
            let number = self.begun[region].replace(self.begun[region].get() + 1);
            let due = self.pace.due_at(region, number);
            let order = self.orders.replace(self.orders.get() + 1);
            self.board.sent(region);
            let mut answer = self.attempt(&mut client, region, order).await?;
            self.board.settled(region, &answer, due.elapsed());
            // 503 to a repetition says that this one was not written, and nothing of the first.
            while self.plan.keys && matches!(answer, Answer::Unknown { .. }) && self.may_retry().await {
                let again = self.attempt(&mut client, region, order).await?;
                if matches!(again, Answer::Acknowledged { .. }) {
                    self.board.retried(region);
                    self.board.settled(region, &again, due.elapsed());
                    answer = again;
                }
            }
        }
        Ok(())
    }

    /// Waits before a repetition. Returns `true` if there is to be one.
    async fn may_retry(&self) -> bool {
        let in_time = self.pace.elapsed() < self.plan.duration + RETRY_TIME;
        in_time && self.stop.run_until_cancelled(sleep(RETRY_INTERVAL)).await.is_some()
    }

    async fn attempt(&self, client: &mut Client, region: usize, number: u64) -> anyhow::Result<Answer> {
        let partition = self.plan.partitions[region];
        // Not drawn: a repetition has to be the same request.
        let money = (number % 1000) as u32;
        let user_id = self.run.user_id(number);
        let key = self.plan.keys.then(|| format!("load-{user_id}"));
        self.note(|at| Line::Attempt {
            at,
            order: number,
            partition: u16::try_from(partition.index()).expect("an index of a partition"),
            money,
            key: key.clone(),
        })?;
        let form = format!("partition={partition}&money={money}&user_id={user_id}");
        let order = Order {
            form: &form,
            key: key.as_deref(),
        };
        let answer = client.post(order).await;
        self.note(|at| Line::Answer {
            at,
            order: number,
            answer: answer.clone(),
        })?;
        Ok(answer)
    }
}
