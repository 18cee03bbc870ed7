//! `mall load`.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use domain::Replicas;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use super::{Board, Figures, Plan, drive};
use crate::ServiceUrl;
use crate::ledger::Ledger;
use crate::terminal::{is_watched, table, thousands};

/// Interval of drawing the live figures.
const REFRESH: Duration = Duration::from_secs(1);

/// Arguments of `mall load`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// URL of the gateway [default: the setting lab.gateway_url, http://127.0.0.1:8080].
    #[arg(long, value_name = "URL")]
    pub gateway: Option<ServiceUrl>,
    /// Orders a second, all regions together. They are due at this rate, whatever becomes of those before them.
    #[arg(long, default_value_t = 500.0, value_parser = parse_rate)]
    pub rate: f64,
    /// Connections to the gateway, shared out to the regions.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub connections: u16,
    /// For how long.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// One region only.
    #[arg(long)]
    pub partition: Option<String>,
    /// Send each order with an Idempotency-Key, and again until its outcome is known.
    #[arg(long)]
    pub keys: bool,
    /// Write a line before each attempt and one after to this file, for `mall audit --ledger`; `-`: to standard output,
    /// and the result to standard error.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=1_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("expected orders a second, from 0.01 to 1000000".to_owned()),
    }
}

/// Sends orders, shows how they fare, and prints what they have come to.
///
/// # Errors
/// When the partition does not exist, the ledger cannot be written, or nothing was acknowledged.
pub async fn run(
    arguments: Arguments,
    gateway: &ServiceUrl,
    replicas: Replicas,
    stop: &CancellationToken,
) -> anyhow::Result<ExitCode> {
    let partitions = match &arguments.partition {
        Some(partition) => vec![replicas.parse_partition(partition).context("--partition")?],
        None => replicas.partitions().collect(),
    };
    let plan = Plan {
        gateway: arguments.gateway.unwrap_or_else(|| gateway.clone()),
        partitions,
        rate: arguments.rate,
        connections: usize::from(arguments.connections),
        duration: Duration::from_secs(arguments.seconds),
        keys: arguments.keys,
    };
    let ledger = arguments
        .ledger
        .as_deref()
        .map(Ledger::open)
        .transpose()?
        .map(RefCell::new);
    let is_printed = ledger.as_ref().is_some_and(|ledger| ledger.borrow().is_printed());
    let board = Board::new(&plan.partitions);
    let summary = {
        let load = drive(&plan, ledger.as_ref(), &board, stop);
        let mut load = std::pin::pin!(load);
        let watch = async {
            if is_watched() && !arguments.json && !is_printed {
                watch(&board).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            summary = &mut load => summary?,
            () = watch => unreachable!("it does not end"),
        }
    };
    let text = if arguments.json {
        serde_json::to_string_pretty(&summary).context("a summary is JSON")? + "\n"
    } else {
        summary.render()
    };
    // A failed write means that the reader has gone.
    let _ = if is_printed {
        std::io::stderr().write_all(text.as_bytes())
    } else {
        std::io::stdout().write_all(text.as_bytes())
    };
    if summary.total.sent > 0 && summary.total.acknowledged == 0 {
        anyhow::bail!(
            "none of {} orders was taken: is a mall open at {}? (`just up`, or `cargo run`; --gateway names another)",
            summary.total.sent,
            plan.gateway
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Draws the figures of the last second, in the same place, until it is dropped.
async fn watch(board: &Board) {
    let mut before = board.regions();
    let mut ticks = interval(REFRESH);
    ticks.tick().await;
    let mut drawn = 0;
    loop {
        ticks.tick().await;
        let now = board.regions();
        let text = live(&now, &before);
        let mut screen = String::new();
        if drawn > 0 {
            let _ = write!(screen, "\x1b[{drawn}A\x1b[J");
        }
        drawn = text.lines().count();
        screen.push_str(&text);
        let mut stdout = std::io::stdout();
        let _ = stdout.write_all(screen.as_bytes()).and_then(|()| stdout.flush());
        before = now;
    }
}

fn live(now: &[Figures], before: &[Figures]) -> String {
    let header = [
        "region",
        "sent/s",
        "200",
        "refused",
        "unknown",
        "p50 ms",
        "p99",
        "200 in all",
    ];
    let rows = now.iter().zip(before).map(|(now, before)| {
        let last = now.since(before);
        let millis = |quantile| {
            last.quantile_millis(quantile)
                .map_or_else(|| "–".to_owned(), |millis| format!("{millis:.1}"))
        };
        let counts = [last.sent, last.acknowledged, last.refused, last.unknown].map(thousands);
        let rest = [millis(0.5), millis(0.99), thousands(now.acknowledged)];
        [now.region().to_string()]
            .into_iter()
            .chain(counts)
            .chain(rest)
            .collect()
    });
    table(&header, rows, &[1, 2, 3, 4, 5, 6, 7])
}
