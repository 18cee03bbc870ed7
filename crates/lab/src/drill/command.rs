//! `mall drill`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use domain::Replicas;
use tokio_util::sync::CancellationToken;

use crate::audit::{Kafka, Verdict};
use crate::terminal::table;
use crate::{ServiceUrl, Settings};

use super::engine::Engine;
use super::faults::{FAULTS, Fault};
use super::lossy::relay;
use super::runner::default_ledger;
use super::schedule::{Length, Step, full_disk, random, rolling_restart, single};
use super::screen::Screen;
use super::timeline::Timeline;
use super::{Drill, Options, drill, picture, repair, report};

const ROLLING_RESTART: &str = "rolling-restart";
const FULL_DISK: &str = "full-disk";
const ALL: &str = "all";

/// Arguments of `mall drill`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
    /// The Compose project.
    #[arg(
        long,
        env = "COMPOSE_PROJECT_NAME",
        hide_env_values = true,
        default_value = "mall",
        global = true
    )]
    project: String,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print every drill: its name, what is done, what must hold.
    List,
    /// Run drills by their names, one after the other; `all` runs each.
    Run {
        /// Their names, see `mall drill list`.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Each fault as short as it makes sense, instead of as long.
        #[arg(long)]
        short: bool,
        #[command(flatten)]
        load: Load,
    },
    /// Faults at random, one at a time, sometimes two.
    Random {
        /// No fault begins after so many seconds.
        #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        seconds: u64,
        /// The same seed gives the same faults [default: a new one].
        #[arg(long)]
        seed: Option<u64>,
        #[command(flatten)]
        load: Load,
    },
    /// Give back whatever a drill took away that was itself killed: start, let go on, reconnect, remove.
    Heal,
    /// The relay that `lossy-order` starts beside the second order-N.
    #[command(hide = true)]
    Relay {
        /// The address of Kafka.
        broker: SocketAddr,
    },
    /// Draw the picture of a ledger.
    Show {
        /// A ledger of a drill, or of a load; `-`: standard input.
        ledger: PathBuf,
        /// Print the faults as JSON instead, with the longest silence of each region.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Load {
    /// Orders a second, all regions together.
    #[arg(long, default_value_t = 500.0, value_parser = parse_rate)]
    rate: f64,
    /// URL of the gateway [default: the setting lab.gateway_url, http://127.0.0.1:8080].
    #[arg(long, value_name = "URL")]
    gateway: Option<ServiceUrl>,
    /// URL of statistics [default: the setting lab.statistics_url, http://127.0.0.1:8081].
    #[arg(long, value_name = "URL")]
    statistics: Option<ServiceUrl>,
    /// File of the ledger, which is kept [default: a file that is removed unless something was broken].
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (1.0..=100_000.0).contains(&rate) => Ok(rate),
        _ => Err("expected orders a second, from 1 to 100000".to_owned()),
    }
}

/// Does what `mall drill` was told. The exit code is 1 when the mall did not hold or the drill was stopped, and 3 when it is
/// not proved that the mall held.
///
/// # Errors
/// When there is no engine, no such project or drill, or the mall is not whole; then nothing was touched. And when it
/// cannot be made whole.
pub async fn run(
    Arguments { action, project }: Arguments,
    settings: &Settings,
    kafka: &Kafka,
    replicas: Replicas,
    stop: &CancellationToken,
) -> anyhow::Result<ExitCode> {
    let options = |load: Load| Options {
        project: project.clone(),
        kafka: kafka.clone(),
        gateway: load.gateway.unwrap_or_else(|| settings.gateway_url.clone()),
        statistics: load.statistics.unwrap_or_else(|| settings.statistics_url.clone()),
        replicas,
        rate: load.rate,
        keep_ledger: load.ledger.is_some(),
        ledger: load.ledger.unwrap_or_else(default_ledger),
    };
    match action {
        Action::List => print(&list()),
        Action::Show { ledger, json: false } => print(&picture::draw(&Timeline::read(&ledger)?)),
        Action::Show { ledger, json: true } => print(&(report::json(&Timeline::read(&ledger)?)?)),
        Action::Relay { broker } => relay(broker, stop).await?,
        Action::Heal => heal(&project, replicas).await?,
        Action::Run { names, short, load } => {
            let length = if short { Length::Shortest } else { Length::Longest };
            let drill = Drill {
                introduction: format!("Drill: {}.\n", names.join(", ")),
                steps: named(&names, length, replicas)?.into_iter(),
                time: Duration::MAX,
            };
            return run_drill(&options(load), drill, stop).await;
        }
        Action::Random { seconds, seed, load } => {
            let seed = seed.unwrap_or_else(|| rand::random_range(1..1_000_000));
            let drill = Drill {
                introduction: format!(
                    "Drill: faults at random for {seconds} s, seed {seed}. The same faults again:\n\n  \
                     mall drill random --seconds {seconds} --seed {seed}\n\n"
                ),
                steps: random(seed, replicas),
                time: Duration::from_secs(seconds),
            };
            return run_drill(&options(load), drill, stop).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(text: &str) {
    Screen::new().print(text);
}

fn list() -> String {
    let full_disk = Fault::named(FULL_DISK);
    let rows = FAULTS
        .iter()
        .chain(full_disk)
        .map(|fault| vec![fault.name.to_owned(), fault.what(), fault.must_hold()]);
    let rolling = [
        ROLLING_RESTART,
        "every container is stopped and started, one by one",
        "as for each of them",
    ];
    let rows = rows.chain([rolling.map(str::to_owned).to_vec()]);
    let table = table(&["drill", "what is done", "what must hold"], rows, &[]);
    format!(
        "{table}\n In every drill: no acknowledged order is lost and none is shipped twice; a region\n \
         that no fault touches is never without an acknowledgement for more than a\n \
         second; 10 s after a recovery nothing waits.\n\n \
         There are no clock steps: containers share the clock of the kernel.\n"
    )
}

/// The steps of drills.
fn named(names: &[String], length: Length, replicas: Replicas) -> anyhow::Result<Vec<Step>> {
    let mut steps = Vec::new();
    for name in names {
        match name.as_str() {
            ALL => {
                steps.extend(FAULTS.iter().flat_map(|fault| single(fault, length, replicas)));
                steps.extend(full_disk(replicas));
                steps.extend(rolling_restart(replicas));
            }
            FULL_DISK => steps.extend(full_disk(replicas)),
            ROLLING_RESTART => steps.extend(rolling_restart(replicas)),
            name => match Fault::named(name) {
                Some(fault) => steps.extend(single(fault, length, replicas)),
                None => anyhow::bail!("there is no drill {name:?}; there are: {}", all_names().join(", ")),
            },
        }
    }
    Ok(steps)
}

fn all_names() -> Vec<&'static str> {
    FAULTS
        .iter()
        .map(|fault| fault.name)
        .chain([FULL_DISK, ROLLING_RESTART, ALL])
        .collect()
}

async fn heal(project: &str, replicas: Replicas) -> anyhow::Result<()> {
    let engine = Engine::connect(project).await?;
    let screen = Screen::new();
    // There is to be such a project.
    repair::examine(&engine, replicas).await?;
    repair::heal(&engine, replicas)
        .await?
        .iter()
        .for_each(|done| screen.event(done));
    repair::wait_until_whole(&engine, replicas, &screen).await?;
    screen.event("the mall is whole");
    Ok(())
}

async fn run_drill<S>(options: &Options, mut drill: Drill<S>, stop: &CancellationToken) -> anyhow::Result<ExitCode>
where
    S: Iterator<Item = Step>,
{
    drill.introduction.push_str(&explain(options));
    let outcome = self::drill(options, drill, stop).await;
    let held = matches!(outcome, Ok(Some(Verdict::Held)));
    dispose(&options.ledger, options.keep_ledger || !held);
    Ok(outcome?.map_or(ExitCode::FAILURE, Verdict::exit_code))
}

/// The introduction for a first reader.
fn explain(options: &Options) -> String {
    format!(
        "{:.0} orders a second go to {} throughout. Each fault is a line\n\
         below, and so is how long the mall took to be back. At the end everything is\n\
         given back, every order shipped, and checked: was an acknowledged order lost,\n\
         was one shipped twice, was a region silent that no fault touched? Only the\n\
         containers of the Compose project {} are touched. Ctrl-C gives everything\n\
         back, and stops.\n\n",
        options.rate, options.gateway, options.project
    )
}

/// Says where the ledger is, or removes it.
fn dispose(ledger: &Path, keep: bool) {
    if !ledger.exists() {
        return;
    }
    if keep {
        let shown = ledger.display();
        print(&format!(
            "   The ledger: {shown}. Its picture again: mall drill show {shown}\n"
        ));
    } else {
        // A file that cannot be removed does no harm.
        let _ = std::fs::remove_file(ledger);
    }
}
