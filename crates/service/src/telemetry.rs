//! Logs: one line per event on stdout.

mod buffer;
mod json;
mod line;
mod text;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use self::buffer::LogWriter;
use self::line::Terminal;
use self::text::Text;

pub(crate) use self::buffer::{dropped_lines, flush};
pub(crate) use self::json::Json;

/// How logs look and what is in them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How a line looks.
    pub format: Format,
    /// What is logged, in the syntax of `tracing_subscriber::EnvFilter`: `info`, `info,kafka=debug`.
    pub filter: String,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object.
    Json,
    /// For people.
    Text,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            format: Format::Auto,
            filter: "info".to_owned(),
        }
    }
}

impl Config {
    /// Checks the filter.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn validate(&self) -> Result<(), String> {
        self.env_filter().map(drop)
    }

    fn env_filter(&self) -> Result<EnvFilter, String> {
        // poem's own lines say what is said already.
        EnvFilter::builder()
            .parse(format!("poem=warn,{}", self.filter))
            .map_err(|error| format!("expected a log filter like info or info,kafka=debug: {error}"))
    }
}

/// Logs from here on, panics too. A second call changes nothing.
pub fn init(config: &Config) {
    let filter = config.env_filter().unwrap_or_default();
    let terminal = std::io::stdout().is_terminal();
    let json = match config.format {
        Format::Auto => !terminal,
        Format::Json => true,
        Format::Text => false,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| LogWriter);
    let installed = if json {
        builder.event_format(Json).try_init()
    } else {
        let terminal = terminal.then(Terminal::stdout);
        builder.event_format(Text { terminal }).try_init()
    };
    // An error means that there is a subscriber already.
    if installed.is_ok() {
        start_writing();
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// Prints text for people between the lines of the log. Like these it waits for nobody: printing to a stdout that is not
/// read would stop the whole process.
pub fn print(text: &str) {
    LogWriter::print(text);
}

#[expect(clippy::print_stderr, reason = "there is no log")]
fn start_writing() {
    if let Err(error) = buffer::start() {
        eprintln!("mall: there will be no log: could not start its thread: {error}");
    }
}

/// Logs a panic like any other error. With `RUST_BACKTRACE=1` also where it came from.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let backtrace = Backtrace::capture();
    tracing::error!(
        thread = thread.name(),
        location = panic.location().map(tracing::field::display),
        error = panic.payload_as_str().unwrap_or("a panic without a message"),
        backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(&backtrace)),
        "panicked"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::logged;

    #[test]
    fn a_panic_is_a_line_of_the_log() {
        let line = logged(Json, || {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(log_panic));
            let outcome = std::panic::catch_unwind(|| panic!("on purpose"));
            std::panic::set_hook(before);
            assert!(outcome.is_err());
        });
        let line: serde_json::Value = serde_json::from_str(&line).expect("one JSON object");
        assert_eq!(
            (&line["level"], &line["message"], &line["error"]),
            (&"ERROR".into(), &"panicked".into(), &"on purpose".into())
        );
        assert!(
            line["location"]
                .as_str()
                .is_some_and(|location| location.contains("telemetry.rs:")),
            "{line}"
        );
        assert!(
            line["thread"].as_str().is_some_and(|thread| thread.contains("a_panic")),
            "{line}"
        );
    }
}
