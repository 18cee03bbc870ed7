//! Logs: one line for each event, on stdout.

mod json;
mod queue;
mod text;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;

use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

use self::json::Json;
use self::queue::QueueWriter;
use self::text::Terminal;

pub(crate) use self::queue::{dropped_lines, flush};
pub(crate) use self::text::Text;

/// Format and filter of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The format of a line.
    pub format: Format,
    /// A level for all lines, and levels for single targets: `info`, `info,kafka=debug`.
    pub filter: String,
}

/// The format of a log line.
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
    /// When a part of it names no level.
    pub fn validate(&self) -> Result<(), String> {
        self.targets().map(drop)
    }

    fn targets(&self) -> Result<Targets, String> {
        // poem's own lines repeat those of the services.
        let mut targets = Targets::new().with_target("poem", LevelFilter::WARN);
        for directive in self.filter.split(',').map(str::trim) {
            let (target, level) = directive.rsplit_once('=').unwrap_or(("", directive));
            // The parser takes nothing at all for `error`.
            let level: Option<LevelFilter> = level.parse().ok().filter(|_| !level.is_empty());
            let level = level.ok_or_else(|| {
                let levels = "off, error, warn, info, debug, trace";
                format!("expected a level ({levels}), or TARGET=LEVEL, as in info,kafka=debug; found {directive:?}")
            })?;
            targets = match target {
                "" => targets.with_default(level),
                target => targets.with_target(target, level),
            };
        }
        Ok(targets)
    }

    /// The formatter for people, or `None` for JSON.
    fn text(&self) -> Option<Text> {
        let is_terminal = io::stdout().is_terminal();
        let is_text = match self.format {
            Format::Auto => is_terminal,
            Format::Json => false,
            Format::Text => true,
        };
        let terminal = is_terminal.then(Terminal::stdout);
        is_text.then_some(Text { terminal })
    }
}

/// Starts the log of this process, panics included. A second call changes nothing.
pub fn init(config: &Config) {
    let targets = config
        .targets()
        .unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let layer = layer(config.text(), || QueueWriter);
    let installed = tracing_subscriber::registry().with(layer).with(targets).try_init();
    // An error means that there is a subscriber already.
    if installed.is_ok() {
        start_queue();
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// Formats lines for people or as JSON, and hands them to a writer.
pub(crate) fn layer<W>(text: Option<Text>, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match text {
        Some(text) => layer.event_format(text).boxed(),
        None => layer.event_format(Json).boxed(),
    }
}

/// Prints text between the lines of the log. It never waits: a stdout that is not read would stop the whole process.
pub fn print(text: &str) {
    // The queue takes or drops it.
    let _ = QueueWriter.write(text.as_bytes());
}

/// Says a fatal error on stderr, where no filter hides it. A terminal that already shows it in the log does not show it
/// twice.
#[expect(clippy::print_stderr, reason = "the log may be filtered, or its reader gone")]
pub(crate) fn print_fatal(error: &str) {
    let is_shown = tracing::enabled!(tracing::Level::ERROR) && io::stdout().is_terminal() && io::stderr().is_terminal();
    if !is_shown {
        eprintln!("mall: {error}");
    }
}

#[expect(clippy::print_stderr, reason = "there is no log")]
fn start_queue() {
    if let Err(error) = queue::start() {
        eprintln!("mall: there will be no log: could not start its thread: {error}");
    }
}

/// Logs a panic like any other error, with a backtrace if `RUST_BACKTRACE=1`.
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
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::logged;

    fn logged_json(body: impl FnOnce()) -> Value {
        let line = logged(None, body);
        assert_eq!(line.find('\n'), Some(line.len() - 1), "one line: {line}");
        serde_json::from_str(&line).expect("one JSON object")
    }

    #[test]
    fn a_line_is_one_json_object_with_the_fields_of_the_event() {
        let (region, text) = ("陕北", "a\n\"b\"\u{1b}");
        let mut line = logged_json(|| {
            tracing::info!(service = "order-0", order_id = "21", partition = 0, offset = -1_i64, %region, text, "order written");
        });
        let time = line["timestamp"].take();
        assert!(time.as_str().is_some_and(|time| time.ends_with('Z')), "{time}");
        let expected = json!({
            "timestamp": null, "level": "INFO", "message": "order written", "service": "order-0", "order_id": "21",
            "partition": 0, "offset": -1, "region": "陕北", "text": text,
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn a_panic_is_a_line_of_the_log() {
        let line = logged_json(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(log_panic));
            let outcome = std::panic::catch_unwind(|| panic!("on purpose"));
            std::panic::set_hook(before);
            assert!(outcome.is_err());
        });
        let expected = (&"ERROR".into(), &"panicked".into(), &"on purpose".into());
        assert_eq!((&line["level"], &line["message"], &line["error"]), expected);
        let contains = |field: &str, text| line[field].as_str().is_some_and(|value| value.contains(text));
        assert!(
            contains("location", "telemetry.rs:") && contains("thread", "a_panic"),
            "{line}"
        );
    }

    #[test]
    fn refuses_a_filter_with_a_word_that_is_no_level() {
        let validate = |filter: &str| {
            let filter = filter.to_owned();
            Config {
                filter,
                ..Config::default()
            }
            .validate()
        };
        for filter in ["info", "off", "WARN", "info,kafka=debug", "kafka=off, info"] {
            assert_eq!(validate(filter), Ok(()), "{filter}");
        }
        for (filter, found) in [
            ("warning", "warning"),
            ("info,kafka", "kafka"),
            ("kafka=", "kafka="),
            ("info,kafka=warning", "kafka=warning"),
            ("", ""),
        ] {
            let error = validate(filter).expect_err(filter);
            assert!(error.ends_with(&format!("found {found:?}")), "{error}");
        }
    }

    #[test]
    fn a_target_has_its_own_level_and_poem_is_quiet() {
        let filter = "info,kafka=debug".to_owned();
        let targets = Config {
            filter,
            ..Config::default()
        }
        .targets()
        .expect("a filter");
        let enabled = [
            ("order", LevelFilter::DEBUG),
            ("order", LevelFilter::INFO),
            ("kafka::producer", LevelFilter::DEBUG),
            ("poem", LevelFilter::INFO),
        ]
        .map(|(target, level)| targets.would_enable(target, &level.into_level().expect("a level")));
        assert_eq!(enabled, [false, true, true, false]);
    }
}
