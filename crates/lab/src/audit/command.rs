//! `mall audit`.

use std::io::{IsTerminal as _, Write as _, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::{Options, Progress, run};
use crate::ServiceUrl;
use crate::terminal::thousands;

/// Arguments of `mall audit`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A ledger of `mall load`: then it is also checked that what clients were told is true.
    #[arg(long = "ledger", value_name = "FILE", num_args = 1..)]
    ledgers: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// URL of statistics [default: the setting lab.statistics_url, http://127.0.0.1:8081].
    #[arg(long, value_name = "URL")]
    statistics: Option<ServiceUrl>,
}

/// Prints what an audit finds. The exit code is 0 when the mall held, 1 when a promise is broken, 3 when it is not proved.
/// Progress goes to stderr.
///
/// # Errors
/// As [`run`].
pub async fn command(arguments: Arguments, mut options: Options, stop: &CancellationToken) -> anyhow::Result<ExitCode> {
    options.ledgers = arguments.ledgers;
    options.statistics = arguments.statistics.or(options.statistics);
    let is_watched = stderr().is_terminal();
    // A failed write means that the reader has gone.
    let show = move |Progress { read, records }: Progress| {
        if is_watched && records > 0 {
            // More may have come meanwhile.
            let percent = (100 * read / records).min(100);
            let (read, records) = (thousands(read), thousands(records));
            let _ = write!(stderr(), "\r\x1b[K{read} of {records} records read, {percent} %");
        }
    };
    let report = run(&options, stop, show).await;
    if is_watched {
        let _ = write!(stderr(), "\r\x1b[K");
    }
    let report = report?;
    let text = if arguments.json {
        serde_json::to_string_pretty(&report).context("a report is JSON")? + "\n"
    } else {
        report.render()
    };
    let _ = stdout().write_all(text.as_bytes());
    Ok(report.verdict.exit_code())
}
