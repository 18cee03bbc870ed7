//! A line of the log for people: time of day (UTC), service, what happened, order, where, and the rest.

use std::fmt::{self, Write};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::line::{Line, Overflow, Terminal};

/// ANSI styles: those that tell services apart leave red and yellow to errors and warnings.
const PLAIN: &str = "";
const DIM: &str = "2";
const WARNING: &str = "33";
const ERROR: &str = "1;31";
const SERVICES: [&str; 8] = ["36", "32", "34", "35", "96", "92", "94", "95"];

/// Formats an event for people.
#[derive(Debug)]
pub(super) struct Text {
    /// What is known about the terminal; nothing is coloured or cut where there is none.
    pub(super) terminal: Option<Terminal>,
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let time_of_day = &time["2026-11-21T".len()..time.len() - "Z".len()];
        let level = *event.metadata().level();
        let line = fields.into_line(time_of_day, level);
        // The reason for a warning or an error often comes last.
        let overflow = if level <= Level::WARN {
            Overflow::Wrap
        } else {
            Overflow::Cut
        };
        writer.write_str(&line.render(self.terminal, overflow))?;
        writer.write_char('\n')
    }
}

/// The fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    service: String,
    order_id: String,
    region: String,
    partition: String,
    offset: String,
    /// All others, as `name=value`.
    others: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = format!("{value:?}");
        match field.name() {
            "message" => self.message = value,
            "service" => self.service = value,
            "order_id" => self.order_id = value,
            "region" => self.region = value,
            "partition" => self.partition = value,
            "offset" => self.offset = value,
            name => {
                let space = if self.others.is_empty() { "" } else { " " };
                // Writing to a String cannot fail.
                let _ = write!(self.others, "{space}{name}={value}");
            }
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

impl Fields {
    fn into_line(self, time: &str, level: Level) -> Line {
        let mut line = Line::default();
        line.add(PLAIN, format!("{time} "));
        let service = if self.service.is_empty() {
            PLAIN
        } else {
            colour(&self.service)
        };
        line.add(service, format!("{:<12}  ", self.service));
        let style = match level {
            Level::ERROR => ERROR,
            Level::WARN => WARNING,
            _ => PLAIN,
        };
        if style != PLAIN {
            line.add(style, format!("{level} "));
        }
        if self.order_id.is_empty() {
            line.add(style, self.message);
        } else {
            // That it is an order, one sees: "order shipped" is "shipped".
            let message = self.message.strip_prefix("order ").unwrap_or(&self.message);
            line.add(style, format!("{message:<8}"));
            line.add(PLAIN, format!("  {}", self.order_id));
        }
        let slash = if self.offset.is_empty() { "" } else { "/" };
        let position = format!("{}{slash}{}", self.partition, self.offset);
        let place = format!("{} {position}", self.region);
        if !place.trim().is_empty() {
            line.add(PLAIN, format!("  {}", place.trim()));
        }
        if !self.others.is_empty() {
            line.add(DIM, format!("  {}", self.others));
        }
        line
    }
}

/// The colour of a service: always the same, and a different one for each of a mall of three regions.
fn colour(service: &str) -> &'static str {
    let hash = service
        .bytes()
        .fold(0_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(5));
    SERVICES[(hash >> 2) as usize % SERVICES.len()]
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;
    use crate::testing::logged;

    fn shipped(terminal: Option<Terminal>) -> String {
        let region = "陕北";
        let line = logged(Text { terminal }, || {
            tracing::info!(
                service = "repository-0",
                order_id = "2124114435835429591",
                partition = 0,
                offset = 7,
                %region,
                request_id = "0123456789abcdef",
                "order shipped"
            );
        });
        line.get("12:15:20.307".len()..).expect("a time of day").to_owned()
    }

    fn terminal(colours: bool) -> Option<Terminal> {
        Some(Terminal { colours, width: || 80 })
    }

    #[test]
    fn a_line_says_service_what_happened_order_and_where() {
        let expected = " repository-0  shipped   2124114435835429591  陕北 0/7  request_id=0123456789abcdef\n";
        assert_eq!(shipped(None), expected);
    }

    #[test]
    fn what_does_not_fit_is_cut_at_the_width_of_the_terminal() {
        let line = shipped(terminal(false));
        assert_eq!(
            line,
            " repository-0  shipped   2124114435835429591  陕北 0/7  request_id=…\n"
        );
        assert_eq!("12:15:20.307".len() + line.trim_end().width(), 80);
        // A wide character is not cut in half.
        let line = logged(
            Text {
                terminal: terminal(false),
            },
            || tracing::info!(xy = "陕".repeat(40), ""),
        );
        assert_eq!(line.trim_end().width(), 80 - 1, "{line}");
    }

    #[test]
    fn on_a_terminal_services_have_colours_and_other_fields_are_dimmed() {
        let expected =
            " \x1b[36mrepository-0  \x1b[0mshipped   2124114435835429591  陕北 0/7\x1b[2m  request_id=…\x1b[0m\n";
        assert_eq!(shipped(terminal(true)), expected);
        let names = [
            "gateway",
            "order-0",
            "order-1",
            "order-2",
            "repository-0",
            "repository-1",
            "repository-2",
            "statistics",
        ];
        let mut colours = names.map(colour);
        colours.sort_unstable();
        assert!(colours.windows(2).all(|pair| pair[0] != pair[1]), "{colours:?}");
    }

    #[test]
    fn a_warning_and_an_error_stand_out_and_are_told_to_their_end() {
        let error = format!("could not connect: {}", "far away ".repeat(10).trim_end());
        let line = logged(
            Text {
                terminal: terminal(false),
            },
            || tracing::warn!(service = "order-1", error, "not ready"),
        );
        let lines: Vec<&str> = line.lines().collect();
        assert!(
            lines[0].ends_with(" order-1       WARN not ready  error=could not connect: far away far"),
            "{line}"
        );
        assert!(lines.len() == 2 && lines[1].starts_with("    away far"), "{line}");
        assert!(lines.iter().all(|line| line.width() <= 80), "{line}");
        assert_eq!(line.matches("far").count() + line.matches("away").count(), 20);
        let long = "x".repeat(200);
        let failed = || tracing::error!(long, "failed");
        let line = logged(
            Text {
                terminal: terminal(false),
            },
            failed,
        );
        assert_eq!(line.matches('x').count(), 200, "{line}");
        assert!(line.lines().all(|line| line.width() <= 80), "{line}");
        let line = logged(
            Text {
                terminal: terminal(true),
            },
            || tracing::error!("failed"),
        );
        assert!(
            line.contains("\x1b[1;31mERROR \x1b[0m\x1b[1;31mfailed\x1b[0m"),
            "{line}"
        );
    }

    #[test]
    fn a_value_cannot_end_the_line_or_command_the_terminal() {
        let line = logged(Text { terminal: None }, || {
            tracing::info!(value = "a\nb\x1b[2J", "said")
        });
        assert!(line.ends_with(" said  value=a\\nb\\u{1b}[2J\n"), "{line}");
    }
}
