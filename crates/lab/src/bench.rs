//! What the mall costs beside a producer that does nothing but wait for Kafka, on the same machine and in the same
//! minutes: absolute figures differ between machines, ratios less.

mod report;
mod senders;

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use domain::{Partition, Replicas};
use kafka::Producer;
use kafka::topics::{self, Cleanup, Options, Topic};
use tokio_util::sync::CancellationToken;

use self::report::{Measurement, Report, rate};
use self::senders::{Path, Senders, Sent, TOPIC};
use crate::audit;
use crate::drill::engine::{Engine, Usage};
use crate::ledger::Ledger;
use crate::{ServiceUrl, Settings};

/// Before each measurement, uncounted: connections are made, and Java compiles what runs often.
const WARM_UP: Duration = Duration::from_millis(500);
/// Each measurement is made so often, in turn with the others, so that what changes in the machine meets all of them.
const ROUNDS: usize = 2;

/// This process, among the services.
const CLIENT: &str = "client";

/// What `mall bench` is told.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How many connections are used at the same time, one number after the other.
    #[arg(long, value_delimiter = ',', default_values_t = [1_u16, 16, 64, 256], value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub connections: Vec<u16>,
    /// How long each way is measured with each number of connections, twice.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// The Compose project whose containers are measured.
    #[arg(long, env = "COMPOSE_PROJECT_NAME", hide_env_values = true, default_value = "mall")]
    pub project: String,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Where the mall is that is measured.
#[derive(Clone, Debug)]
pub struct Target {
    /// The gateway and statistics.
    pub settings: Settings,
    /// Each order service.
    pub orders: BTreeMap<Partition, ServiceUrl>,
    /// The broker.
    pub kafka: kafka::Config,
    /// How its topics are made.
    pub topics: topics::Config,
    /// How many regions there are.
    pub replicas: Replicas,
}

/// Measures, audits, and prints what was found. The exit code is 1 when the audit fails: then the figures are void.
///
/// # Errors
/// When there is no mall, or it takes no orders.
pub async fn run(arguments: Arguments, target: &Target, stop: &CancellationToken) -> anyhow::Result<ExitCode> {
    let ledger = std::env::temp_dir().join(format!("mall-bench-{}.ledger", std::process::id()));
    let outcome = measure_and_audit(&arguments, target, &ledger, stop).await;
    // One that stays is in the way of nobody.
    let _ = std::fs::remove_file(&ledger);
    outcome
}

async fn measure_and_audit(
    arguments: &Arguments,
    target: &Target,
    ledger: &std::path::Path,
    stop: &CancellationToken,
) -> anyhow::Result<ExitCode> {
    let bench = Bench::open(arguments, target, ledger).await?;
    let mut measurements = Vec::new();
    for connections in &arguments.connections {
        let duration = Duration::from_secs(arguments.seconds);
        measurements.extend(bench.measure(usize::from(*connections), duration, stop).await?);
    }
    let memory_mib = bench.memory().await;
    let options = audit::Options {
        kafka: target.kafka.clone(),
        replicas: target.replicas,
        statistics: Some(target.settings.statistics_url.clone()),
        ledgers: vec![ledger.to_owned()],
    };
    bench.say("auditing …");
    let audited = audit::run(&options, stop, |_| {}).await?;
    let report = Report {
        measurements,
        memory_mib,
        audit_holds: audited.holds(),
    };
    let text = if arguments.json {
        serde_json::to_string_pretty(&report).context("a report is JSON")? + "\n"
    } else if audited.holds() {
        format!(
            "{}\n {}\n",
            report.render(),
            "The audit holds: every order that was counted is in the log once."
        )
    } else {
        format!("{}\n The audit fails: the figures are void.\n", audited.render())
    };
    // A failed write means that nobody reads it.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::from(u8::from(!audited.holds())))
}

struct Bench {
    senders: Senders,
    engine: Option<Engine>,
    quiet: bool,
}

/// What was sent one way, and the processor time that it took each service, in microseconds.
type Measured = (Sent, BTreeMap<String, f64>);

impl Bench {
    async fn open(arguments: &Arguments, target: &Target, ledger: &std::path::Path) -> anyhow::Result<Self> {
        let topic = Topic {
            name: TOPIC,
            partitions: usize::from(target.replicas.get()),
            cleanup: Cleanup::Delete,
        };
        topics::ensure(&target.kafka, &target.topics, &[topic], Options::default()).await?;
        let producer = Producer::new(&target.kafka, "bench", TOPIC).context("could not make a producer")?;
        let senders = Senders::new(
            target.replicas.partitions().collect(),
            target.settings.gateway_url.clone(),
            target.orders.clone(),
            producer,
            Ledger::open(ledger)?,
        )?;
        let engine = Engine::connect(&arguments.project).await;
        let bench = Self {
            senders,
            quiet: arguments.json,
            engine: engine.ok(),
        };
        if bench.engine.is_none() {
            bench.say("No container engine answers: there will be no processor times and no memory of the services.");
        }
        Ok(bench)
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            // A failed write means that nobody reads it.
            let _ = writeln!(std::io::stdout(), " {text}");
        }
    }

    /// All three ways with so many connections, in turn.
    async fn measure(
        &self,
        connections: usize,
        duration: Duration,
        stop: &CancellationToken,
    ) -> anyhow::Result<Vec<Measurement>> {
        let mut found: HashMap<Path, Measured> = HashMap::new();
        for _ in 0..ROUNDS {
            for path in Path::ALL {
                self.say(&format!("{connections} at a time: {} …", path.name()));
                self.senders.send(path, connections, WARM_UP, stop).await?;
                let before = self.usage().await;
                let sent = self.senders.send(path, connections, duration, stop).await?;
                let cpu = spent(&before, &self.usage().await);
                anyhow::ensure!(!stop.is_cancelled(), "asked to stop");
                anyhow::ensure!(
                    sent.acknowledged > 0,
                    "{}: none of {} orders was taken: is the mall open? (`just up`)",
                    path.name(),
                    sent.failed
                );
                match found.entry(path) {
                    std::collections::hash_map::Entry::Vacant(entry) => drop(entry.insert((sent, cpu))),
                    std::collections::hash_map::Entry::Occupied(mut entry) => {
                        let (all, all_cpu) = entry.get_mut();
                        all.add(&sent);
                        cpu.into_iter()
                            .for_each(|(name, micros)| *all_cpu.entry(name).or_default() += micros);
                    }
                }
            }
        }
        let bare = found.get(&Path::Produce).map_or(0.0, |(sent, _)| rate(sent));
        let measurement = |path| {
            let (sent, cpu) = found.get(&path)?;
            Some(Measurement::new(path, connections, sent, bare, cpu))
        };
        Ok(Path::ALL.into_iter().filter_map(measurement).collect())
    }

    /// What each kind of service has used so far.
    async fn usage(&self) -> BTreeMap<String, Usage> {
        let mut usage = match &self.engine {
            // A figure that is missing shows as an empty cell.
            Some(engine) => engine.usage().await.unwrap_or_default(),
            None => BTreeMap::new(),
        };
        usage.extend(own_usage().map(|own| (CLIENT.to_owned(), own)));
        usage
    }

    async fn memory(&self) -> BTreeMap<String, f64> {
        let usage = self.usage().await.into_iter();
        usage
            .map(|(name, usage)| (name, usage.memory_bytes as f64 / f64::from(1 << 20)))
            .collect()
    }
}

/// What this process has used, where the kernel tells it as Linux does: proc_pid_stat(5), fields 14 and 15 in ticks of
/// 10 ms and field 24 in pages of 4 KiB.
fn own_usage() -> Option<Usage> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is a name in brackets, which may hold spaces.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Usage {
        cpu: Duration::from_millis((field(14)? + field(15)?) * 10),
        memory_bytes: field(24)? * 4096,
    })
}

/// The processor time between two looks, in microseconds.
fn spent(before: &BTreeMap<String, Usage>, after: &BTreeMap<String, Usage>) -> BTreeMap<String, f64> {
    let since = |(name, after): (&String, &Usage)| {
        let before = before.get(name)?;
        Some((name.clone(), after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6))
    };
    after.iter().filter_map(since).collect()
}
