//! Logs: one line per event on stdout.

mod lines;

use std::io::IsTerminal;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

pub(crate) use self::lines::flush;

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

/// Logs from here on. A second call changes nothing.
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
        .with_target(false)
        .with_writer(lines::writer());
    // An error means that there is a subscriber already.
    let _ = if json {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init()
    } else {
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        builder.with_ansi(colours).try_init()
    };
}
