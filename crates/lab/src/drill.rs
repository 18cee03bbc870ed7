//! Fault drills: containers of a Compose project are killed, frozen, stopped, cut off and doubled under load. Then
//! everything is given back, and what the mall promises is checked.

mod command;
mod disk;
mod engine;
pub(crate) mod faults;
mod lossy;
mod network;
mod picture;
mod repair;
mod report;
mod runner;
mod schedule;
mod screen;
mod timeline;
mod twin;
mod watch;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use domain::Replicas;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::ServiceUrl;
use crate::audit::{self, Verdict};
use crate::client::{Client, Order};
use crate::ledger::Answer;
use crate::load::Board;

use self::engine::Engine;
use self::runner::{Runner, open_ledger};
use self::schedule::Step;
use self::screen::Screen;
use self::timeline::Timeline;
use self::watch::{Sample, Watch};

pub use self::command::{Arguments, run};

/// Acknowledged orders are shipped and counted within this after the last order.
const DRAIN: Duration = Duration::from_secs(60);
const DRAIN_INTERVAL: Duration = Duration::from_millis(250);

/// The settings of a drill.
#[derive(Debug)]
struct Options {
    /// The Compose project.
    project: String,
    kafka: audit::Kafka,
    gateway: ServiceUrl,
    statistics: ServiceUrl,
    replicas: Replicas,
    /// Orders a second, all regions together.
    rate: f64,
    ledger: PathBuf,
    /// `true` if the ledger is kept although everything held.
    keep_ledger: bool,
}

/// The steps of a drill.
struct Drill<S> {
    /// The text that is printed before it begins.
    introduction: String,
    steps: S,
    /// No step begins after this.
    time: Duration,
}

/// Runs a drill, and leaves the mall as it was. `None` if it was asked to stop.
async fn drill<S>(options: &Options, drill: Drill<S>, stop: &CancellationToken) -> anyhow::Result<Option<Verdict>>
where
    S: Iterator<Item = Step>,
{
    let engine = Engine::connect(&options.project).await?;
    let mut wrong = repair::examine(&engine, options.replicas).await?;
    wrong.retain(|wrong| !wrong.may_pass);
    anyhow::ensure!(
        wrong.is_empty(),
        "expected a mall that is whole, found: {}; nothing was touched. `mall drill heal` puts it right (`just drill heal`)",
        repair::list(&wrong)
    );
    let screen = Screen::new();
    let whole = repair::wait_until_whole(&engine, options.replicas, &screen);
    stop.run_until_cancelled(whole).await.context("asked to stop")??;
    let open = wait_until_open(options);
    stop.run_until_cancelled(open).await.context("asked to stop")??;
    let watch = Watch::new(options.statistics.clone());
    let before = drained(&watch, None, stop).await?;
    let ledger = open_ledger(&options.ledger)?;
    let screen = Screen::new();
    screen.print(&drill.introduction);
    let runner = Runner {
        engine: &engine,
        replicas: options.replicas,
        ledger: &ledger,
        watch: &watch,
        before: &before,
        screen: &screen,
        board: Board::new(&options.replicas.partitions().collect::<Vec<_>>()),
        rate: options.rate,
        stop,
    };
    let ran = runner.run(&options.gateway, drill.steps, drill.time).await;
    screen.live("");
    // Also after an error: whatever was taken away is given back.
    let healed = repair::heal(&engine, options.replicas).await;
    healed?.iter().for_each(|done| screen.event(done));
    ran?;
    screen.event("load is over; waiting until every container is healthy and every order shipped");
    repair::wait_until_whole(&engine, options.replicas, &screen).await?;
    let acknowledged = runner
        .board
        .regions()
        .iter()
        .map(|figures| figures.acknowledged)
        .collect();
    let after = drained(&watch, Some((&before, acknowledged)), stop).await;
    let timeline = Timeline::read(&options.ledger)?;
    let report = report::report(&timeline, &before, &watch.samples());
    screen.print(&format!("\n{}\n{}\n", picture::draw(&timeline), report.text));
    if stop.is_cancelled() {
        screen.print("⚠️  Stopped before its end: there is no verdict. The mall is as it was.\n");
        return Ok(None);
    }
    let mut broken = report.broken;
    broken.extend(after.err().map(|error| format!("{error:#}")));
    let audit = audit(options, &screen, stop).await?;
    if audit.verdict == Verdict::Broken {
        broken.push("the audit failed: see its table above".to_owned());
    }
    let verdict = if broken.is_empty() {
        audit.verdict
    } else {
        Verdict::Broken
    };
    screen.print(&conclusion(verdict, &broken, &timeline));
    Ok(Some(verdict))
}

/// Waits until each region takes an order: its containers are called healthy for some seconds after the broker has gone.
async fn wait_until_open(options: &Options) -> anyhow::Result<()> {
    let begun = Instant::now();
    for partition in options.replicas.partitions() {
        let mut client = Client::new(&options.gateway);
        let form = format!("partition={partition}");
        let order = Order { form: &form, key: None };
        loop {
            let answer = client.post(order).await;
            if matches!(answer, Answer::Acknowledged { .. }) {
                break;
            }
            anyhow::ensure!(
                begun.elapsed() < DRAIN,
                "expected that region {partition} takes an order; after {} s: {answer:?}",
                DRAIN.as_secs()
            );
            sleep(DRAIN_INTERVAL).await;
        }
    }
    Ok(())
}

/// Audits the mall against the ledger of the drill.
async fn audit(options: &Options, screen: &Screen, stop: &CancellationToken) -> anyhow::Result<audit::Report> {
    let of = audit::Options {
        kafka: options.kafka.clone(),
        regions: options.replicas.get(),
        statistics: Some(options.statistics.clone()),
        ledgers: vec![options.ledger.clone()],
    };
    let report = audit::run(&of, stop, |_| ()).await.context("the audit")?;
    screen.print(&format!("{}\n", report.render()));
    Ok(report)
}

fn conclusion(verdict: Verdict, broken: &[String], timeline: &Timeline) -> String {
    let faults = match timeline.faults.len() {
        1 => "one fault".to_owned(),
        count => format!("{count} faults"),
    };
    match verdict {
        Verdict::Held | Verdict::NoOccasion => {
            format!("✅ The mall held through {faults}: nothing acknowledged was lost, every bound was kept.\n")
        }
        Verdict::NotProved => {
            format!("➖ It is not proved that the mall held through {faults}: see the table above.\n")
        }
        Verdict::Broken => {
            let broken: Vec<String> = broken.iter().map(|sentence| format!("   {sentence}\n")).collect();
            format!("❌ The mall did not hold through {faults}:\n{}", broken.concat())
        }
    }
}

/// Waits until nothing waits to be shipped; after a drill, also until at least everything is counted that was
/// acknowledged since `before`, by partition.
async fn drained(
    watch: &Watch,
    since: Option<(&Sample, Vec<u64>)>,
    stop: &CancellationToken,
) -> anyhow::Result<Sample> {
    let begun = Instant::now();
    loop {
        let asked = watch.ask().await;
        let missing = |sample: &Sample| {
            let Some((before, acknowledged)) = &since else { return 0 };
            let regions = (0..).zip(acknowledged);
            let missing = regions.map(|(partition, count)| {
                let handled = sample.handled(partition).saturating_sub(before.handled(partition));
                count.saturating_sub(handled)
            });
            missing.sum()
        };
        let state = match &asked {
            Ok(sample) if sample.waiting() == 0 && missing(sample) == 0 => return asked,
            Ok(sample) => format!(
                "{} orders wait for their repository, {} that were acknowledged are not shipped and counted",
                sample.waiting(),
                missing(sample)
            ),
            Err(error) => format!("{error:#}"),
        };
        let seconds = DRAIN.as_secs();
        anyhow::ensure!(
            begun.elapsed() < DRAIN,
            "expected a mall in which nothing waits; after {seconds} s: {state}"
        );
        let waited = stop.run_until_cancelled(sleep(DRAIN_INTERVAL)).await;
        waited.with_context(|| format!("stopped while waiting for a mall in which nothing waits: {state}"))?;
    }
}
