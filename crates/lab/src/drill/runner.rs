//! Runs a drill: load throughout, faults one after the other, and recovery between them.

use std::cell::RefCell;
use std::path::Path;
use std::time::{Duration, Instant};

use domain::{Partition, Replicas};
use futures_util::future::try_join_all;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::ServiceUrl;
use crate::ledger::{Ledger, Line, Phase};
use crate::load::{self, Board, Plan, now};

use super::engine::{Container, Engine, State};
use super::faults::{Kind, NO_LAG, Touches, ordinal};
use super::schedule::{Act, Step};
use super::screen::Screen;
use super::watch::{ON_ITS_WAY_MICROS, Sample, Watch};

/// Orders are sent over so many connections for each region: more wait for a region that does not answer.
const CONNECTIONS_PER_REGION: usize = 32;
/// Longer than any drill.
const LONGEST: Duration = Duration::from_secs(86_400);
/// Load goes on for this long after the last recovery, so that it can be seen.
const CALM: Duration = Duration::from_secs(3);
/// A container that restarts by itself does so within this: the engine waits twice as long after each attempt.
const RESTART: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
const REFRESH: Duration = Duration::from_secs(1);

/// A drill that runs.
#[derive(Debug)]
pub(crate) struct Runner<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) replicas: Replicas,
    pub(crate) ledger: &'a RefCell<Ledger>,
    pub(crate) watch: &'a Watch,
    /// The figures before the first order.
    pub(crate) before: &'a Sample,
    pub(crate) screen: &'a Screen,
    pub(crate) board: Board,
    /// Orders a second, all regions together.
    pub(crate) rate: f64,
    /// Ctrl-C.
    pub(crate) stop: &'a CancellationToken,
}

/// The counts when a step was healed.
struct Healed {
    at: Instant,
    acknowledged: Vec<u64>,
    sample: u64,
    handled: Vec<u64>,
}

impl Runner<'_> {
    /// Sends orders, and takes the steps that begin within `time`. Ends early when asked to stop.
    ///
    /// # Errors
    /// When the engine or the ledger fails. The mall is then to be healed, as after a stop.
    pub(crate) async fn run(
        &self,
        gateway: &ServiceUrl,
        steps: impl Iterator<Item = Step>,
        time: Duration,
    ) -> anyhow::Result<()> {
        let partitions: Vec<Partition> = self.replicas.partitions().collect();
        let plan = Plan {
            gateway: gateway.clone(),
            connections: CONNECTIONS_PER_REGION * partitions.len(),
            partitions,
            rate: self.rate,
            duration: LONGEST,
            keys: false,
        };
        let end = CancellationToken::new();
        // The load ends with the steps, also after an error.
        let steps = async {
            let _ends = end.clone().drop_guard();
            self.take(steps, time).await
        };
        let load = load::drive(&plan, Some(self.ledger), &self.board, &end);
        let work = async { tokio::try_join!(steps, async { load.await.map(drop) }) };
        tokio::select! {
            worked = work => worked.map(drop),
            () = self.watch.follow() => unreachable!("it does not end"),
            () = self.draw() => unreachable!("it does not end"),
        }
    }

    async fn take(&self, steps: impl Iterator<Item = Step>, time: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        for step in steps {
            if self.wait(step.quiet).await.is_none() || begun.elapsed() >= time {
                break;
            }
            try_join_all(step.acts.iter().map(|act| self.act(act))).await?;
            self.recover(&step.acts).await;
        }
        if self.wait(CALM).await.is_none() {
            self.screen
                .event("stopping: everything is given back; a second Ctrl-C ends this at once");
        }
        Ok(())
    }

    /// `None` when it was asked to stop.
    async fn wait(&self, time: Duration) -> Option<()> {
        self.stop.run_until_cancelled(sleep(time)).await
    }

    async fn act(&self, Act { fault, subject, length }: &Act) -> anyhow::Result<()> {
        // Looked up before: what the ledger says has begun should begin at once.
        let container = self.settled(subject).await?;
        self.screen.event(&format!(
            "{} of {subject}, for {:.1} s",
            fault.name,
            length.as_secs_f64()
        ));
        self.note(fault.name, subject, Phase::Begun)?;
        fault.begin(self.engine, &container).await?;
        if fault.is_seen(self.engine, &container).await? {
            self.note(fault.name, subject, Phase::Seen)?;
        }
        self.wait(*length).await;
        fault.heal(self.engine, &container).await?;
        self.note(fault.name, subject, Phase::Healed)?;
        self.screen.event(&format!("{} of {subject} is over", fault.name));
        Ok(())
    }

    /// The container, when the engine is not about to start it: one that still restarts after another fault cannot be
    /// paused.
    async fn settled(&self, subject: &str) -> anyhow::Result<Container> {
        let begun = Instant::now();
        loop {
            let container = self.engine.container(subject).await?;
            if container.state != State::Restarting || self.stop.is_cancelled() {
                return Ok(container);
            }
            anyhow::ensure!(
                begun.elapsed() < RESTART,
                "{subject} still restarts {} s after the last fault: `docker compose logs {subject}` says why",
                RESTART.as_secs()
            );
            self.wait(REFRESH).await;
        }
    }

    fn note(&self, name: &str, subject: &str, phase: Phase) -> anyhow::Result<()> {
        self.ledger.borrow_mut().write(&Line::Fault {
            at: now(),
            name: name.to_owned(),
            subjects: vec![subject.to_owned()],
            phase,
        })
    }

    /// Waits until the mall has recovered, but no longer than it may take: whether it took too long is judged later,
    /// from the ledger.
    async fn recover(&self, acts: &[Act]) {
        let healed = self.healed();
        let limit = acts.iter().map(|act| act.fault.back()).max().unwrap_or_default();
        let is_back = || acts.iter().all(|act| self.is_back(act, &healed));
        let came_back = self.until(is_back, limit + REFRESH).await;
        if self.stop.is_cancelled() {
            return;
        }
        if !came_back {
            return self.screen.event("not back in time");
        }
        if acts.iter().any(|act| act.fault.is_noticed()) {
            self.screen
                .event(&format!("back after {:.1} s", healed.at.elapsed().as_secs_f64()));
        }
        let back = Instant::now();
        let history = RefCell::default();
        let is_caught_up = || self.is_caught_up(&mut history.borrow_mut());
        if self.until(is_caught_up, NO_LAG + REFRESH).await {
            self.screen
                .event(&format!("no lag after {:.1} s more", back.elapsed().as_secs_f64()));
        } else if !self.stop.is_cancelled() {
            self.screen.event("orders still wait");
        }
    }

    /// Whether everything is shipped and counted that was acknowledged a second before statistics were asked last. The
    /// history is what was acknowledged when this was asked before.
    fn is_caught_up(&self, history: &mut Vec<(u64, Vec<u64>)>) -> bool {
        history.push((now(), self.acknowledged()));
        let Some(latest) = self.watch.latest() else {
            return false;
        };
        let mut earlier = history.iter().rev();
        let known = earlier.find(|(at, _)| at + ON_ITS_WAY_MICROS <= latest.at);
        known.is_some_and(|(_, acknowledged)| {
            let mut counts = (0..).zip(acknowledged);
            counts.all(|(partition, count)| latest.handled(partition) >= self.before.handled(partition) + count)
        })
    }

    fn healed(&self) -> Healed {
        let latest = self.watch.latest();
        Healed {
            at: Instant::now(),
            acknowledged: self.acknowledged(),
            sample: now(),
            handled: latest.map_or_else(Vec::new, |latest| {
                latest.regions.iter().map(|counts| counts.handled()).collect()
            }),
        }
    }

    fn acknowledged(&self) -> Vec<u64> {
        self.board
            .regions()
            .iter()
            .map(|figures| figures.acknowledged)
            .collect()
    }

    /// Returns `true` if the subject of a fault works again, as seen from outside.
    fn is_back(&self, Act { fault, subject, .. }: &Act, healed: &Healed) -> bool {
        let own = ordinal(subject);
        let is_touched = |index: usize| match fault.touches() {
            Touches::All => true,
            Touches::Own => own.map(usize::from) == Some(index),
            Touches::None => false,
        };
        let acknowledged = self.acknowledged();
        let mut counts = acknowledged.iter().zip(&healed.acknowledged).enumerate();
        let takes_orders = counts.all(|(index, (found, before))| !is_touched(index) || found > before);
        let latest = self.watch.latest().filter(|latest| latest.at > healed.sample);
        let has_shipped = |partition: u16| {
            let before = healed.handled.get(usize::from(partition)).copied().unwrap_or(0);
            latest.as_ref().is_some_and(|latest| latest.handled(partition) > before)
        };
        takes_orders
            && match fault.kind {
                Kind::Repository => own.is_none_or(has_shipped),
                Kind::Statistics => latest.is_some(),
                _ => true,
            }
    }

    /// Returns `true` if it came true in time, and before a stop.
    async fn until(&self, is_true: impl Fn() -> bool, limit: Duration) -> bool {
        let begun = Instant::now();
        while !is_true() {
            if begun.elapsed() > limit || self.wait(POLL).await.is_none() {
                return false;
            }
        }
        true
    }

    /// Draws the line that changes.
    async fn draw(&self) {
        let mut before = self.board.regions();
        loop {
            sleep(REFRESH).await;
            let regions = self.board.regions();
            let latest = self.watch.latest();
            let is_known = latest.as_ref().is_some_and(|latest| now() - latest.at < 2_000_000);
            let figures = regions
                .iter()
                .zip(&before)
                .enumerate()
                .map(|(index, (figures, before))| {
                    let acknowledged = figures.acknowledged - before.acknowledged;
                    let failed = (figures.refused + figures.unknown) - (before.refused + before.unknown);
                    let counts = latest
                        .as_ref()
                        .filter(|_| is_known)
                        .and_then(|latest| latest.regions.get(index));
                    let lag = counts.map_or_else(|| "?".to_owned(), |counts| counts.waiting.to_string());
                    format!("{index}: {acknowledged}/s {failed} errors lag {lag}")
                });
            let figures: Vec<String> = figures.collect();
            self.screen.live(&format!(" region {}", figures.join(" │ ")));
            before = regions;
        }
    }
}

/// The default file of a ledger.
pub(crate) fn default_ledger() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("mall-drill-{}.ledger", now() / 1_000_000))
}

/// Opens the ledger of a drill, which is to be a new one.
///
/// # Errors
/// When there is one already, or it cannot be written.
pub(crate) fn open_ledger(path: &Path) -> anyhow::Result<RefCell<Ledger>> {
    anyhow::ensure!(
        !path.exists(),
        "{} is there already: expected the name of a new file, or none",
        path.display()
    );
    Ledger::open(path).map(RefCell::new)
}
