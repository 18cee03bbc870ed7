//! A log line for people: time of day (UTC), service, message, order, place, and the other fields.

use std::fmt::{self, Write};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;
use unicode_width::UnicodeWidthStr;

/// The width of a terminal that does not say its own.
const DEFAULT_WIDTH: usize = 80;
/// Wrapped text continues this far from the left, in columns.
const INDENT: usize = 4;

/// ANSI styles. Those of services leave red and yellow to errors and warnings.
const PLAIN: &str = "";
const DIM: &str = "2";
const WARNING: &str = "33";
const ERROR: &str = "1;31";
const SERVICES: [&str; 8] = ["36", "32", "34", "35", "96", "92", "94", "95"];

/// Formats an event for people.
#[derive(Debug)]
pub(crate) struct Text {
    /// The terminal that stdout is. Without one, lines are whole and have no colours.
    pub(super) terminal: Option<Terminal>,
}

/// A terminal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terminal {
    /// `true` if it shows colours.
    pub(super) has_colours: bool,
    /// Returns its width in columns, which can change.
    pub(super) width: fn() -> usize,
}

impl Terminal {
    /// The terminal that stdout is, without colours if `NO_COLOR` is set.
    pub(super) fn stdout() -> Self {
        Self {
            has_colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            width: || {
                let size = rustix::termios::tcgetwinsize(std::io::stdout());
                let width = size.map_or(0, |size| usize::from(size.ws_col));
                if width == 0 { DEFAULT_WIDTH } else { width }
            },
        }
    }
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        let mut pieces = fields.into_pieces(level);
        if let Some(terminal) = self.terminal {
            // The reason of a warning or an error often comes last, so that these are not cut.
            fit(&mut pieces, (terminal.width)(), level <= Level::WARN);
        }
        let has_colours = self.terminal.is_some_and(|terminal| terminal.has_colours);
        for (style, text) in pieces {
            if has_colours && style != PLAIN && !text.is_empty() {
                write!(writer, "\x1b[{style}m{text}\x1b[0m")?;
            } else {
                writer.write_str(&text)?;
            }
        }
        writer.write_char('\n')
    }
}

/// Text with its style.
type Piece = (&'static str, String);

/// Fits a line into the width of the terminal: where it is full, the line continues indented, or ends with an ellipsis.
fn fit(pieces: &mut Vec<Piece>, width: usize, wraps: bool) {
    let (mut column, limit) = (0, width - usize::from(!wraps));
    for index in 0..pieces.len() {
        let mut fitted = String::new();
        for word in pieces[index].1.split_inclusive(' ') {
            if column > INDENT && column + word.trim_end().width() > limit {
                if !wraps {
                    fitted.push('…');
                    pieces[index].1 = fitted;
                    pieces.truncate(index + 1);
                    return;
                }
                fitted.truncate(fitted.trim_end().len());
                fitted.extend(["\n", &" ".repeat(INDENT)]);
                column = INDENT;
            }
            fitted.push_str(word);
            column += word.width();
        }
        pieces[index].1 = fitted;
    }
}

/// The fields of an event, as they are shown.
#[derive(Default)]
struct Fields {
    message: String,
    service: String,
    order_id: String,
    region: String,
    partition: String,
    offset: String,
    /// All others, each as ` name=value`.
    others: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            // A message may have several words; quotes in it are harmless.
            "message" => self.message = value.replace(char::is_control, " "),
            "service" => self.service = quoted(value),
            "order_id" => self.order_id = quoted(value),
            "region" => self.region = quoted(value),
            "partition" => self.partition = quoted(value),
            "offset" => self.offset = quoted(value),
            // Writing to a String cannot fail.
            name => drop(write!(self.others, " {name}={}", quoted(value))),
        }
    }
}

/// A value in quotes, unless it is one plain word: a client must not forge fields, end the line or command the terminal.
fn quoted(value: &str) -> String {
    let quoted = format!("{value:?}");
    let is_plain = !value.is_empty() && !value.contains([' ', '=']) && quoted.len() == value.len() + 2;
    if is_plain { value.to_owned() } else { quoted }
}

impl Fields {
    fn into_pieces(self, level: Level) -> Vec<Piece> {
        let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let time_of_day = now["2026-11-21T".len()..].trim_end_matches('Z');
        let (style, level) = match level {
            Level::ERROR => (ERROR, "ERROR "),
            Level::WARN => (WARNING, "WARN "),
            _ => (PLAIN, ""),
        };
        let message = if self.order_id.is_empty() {
            format!("{level}{}", self.message)
        } else {
            // The id says that it is an order: "order shipped" becomes "shipped".
            let message = self.message.strip_prefix("order ").unwrap_or(&self.message);
            format!("{level}{message:<8}  {}", self.order_id)
        };
        let slash = if self.offset.is_empty() { "" } else { "/" };
        let place = format!("{} {}{slash}{}", self.region, self.partition, self.offset);
        let place = match place.trim() {
            "" => String::new(),
            place => format!("  {place}"),
        };
        let gap = if self.others.is_empty() { "" } else { " " };
        vec![
            (PLAIN, format!("{time_of_day} ")),
            (service_colour(&self.service), format!("{:<12}  ", self.service)),
            (style, message),
            (PLAIN, place),
            (DIM, format!("{gap}{}", self.others)),
        ]
    }
}

/// The colour of a service: always the same, and a different one for each service of three regions.
fn service_colour(service: &str) -> &'static str {
    let hash = service
        .bytes()
        .fold(0_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(5));
    SERVICES[(hash >> 2) as usize % SERVICES.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::logged;

    const TIME: usize = "12:15:20.307".len();

    fn terminal(has_colours: bool) -> Option<Terminal> {
        let width = || 80;
        Some(Terminal { has_colours, width })
    }

    /// The line without its time.
    fn line(terminal: Option<Terminal>, body: impl FnOnce()) -> String {
        let line = logged(Some(Text { terminal }), body);
        line.get(TIME..).expect("a time of day").to_owned()
    }

    fn shipped(terminal: Option<Terminal>) -> String {
        let region = "陕北";
        line(terminal, || {
            tracing::info!(
                service = "repository-0",
                order_id = "2124114435835429591",
                partition = 0,
                offset = 7,
                %region,
                request_id = "0123456789abcdef",
                "order shipped"
            );
        })
    }

    #[test]
    fn shows_service_message_order_and_place() {
        let expected = " repository-0  shipped   2124114435835429591  陕北 0/7  request_id=0123456789abcdef\n";
        assert_eq!(shipped(None), expected);
    }

    #[test]
    fn cuts_a_line_at_the_width_of_the_terminal() {
        let expected = " repository-0  shipped   2124114435835429591  陕北 0/7  …\n";
        assert_eq!(shipped(terminal(false)), expected);
        let exactly = line(terminal(false), || tracing::info!("{}", "x".repeat(80 - TIME - 16)));
        assert!(exactly.ends_with("xx\n"), "{exactly}");
    }

    #[test]
    fn colours_services_and_dims_other_fields_on_a_terminal() {
        let expected = " \x1b[36mrepository-0  \x1b[0mshipped   2124114435835429591  陕北 0/7\x1b[2m  …\x1b[0m\n";
        assert_eq!(shipped(terminal(true)), expected);
        let replicas = (0..3).flat_map(|number| [format!("order-{number}"), format!("repository-{number}")]);
        let services = replicas.chain(["gateway".to_owned(), "statistics".to_owned()]);
        let mut colours: Vec<_> = services.map(|service| service_colour(&service)).collect();
        colours.sort_unstable();
        colours.dedup();
        assert_eq!(colours.len(), 8);
    }

    #[test]
    fn wraps_a_warning_between_words_and_shows_all_of_it() {
        let error = format!("could not connect: {}", "far away ".repeat(8).trim_end());
        let shown = logged(
            Some(Text {
                terminal: terminal(false),
            }),
            || {
                tracing::warn!(service = "order-1", error, "not ready");
            },
        );
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 2, "{shown}");
        assert!(
            lines[0].contains(" order-1       WARN not ready  error=\"could not connect: far away"),
            "{shown}"
        );
        assert!(lines[1].starts_with("    far away"), "{shown}");
        assert!(lines.iter().all(|line| line.width() <= 80), "{shown}");
        assert_eq!(shown.matches("far").count() + shown.matches("away").count(), 16);
        let failed = line(terminal(true), || tracing::error!("failed"));
        assert!(failed.ends_with("\x1b[1;31mERROR failed\x1b[0m\n"), "{failed}");
    }

    #[test]
    fn a_value_cannot_forge_a_field_end_the_line_or_command_the_terminal() {
        let shown = line(None, || {
            tracing::info!(
                request_id = "a order_id=9",
                other = "a\nb\x1b[2J",
                empty = "",
                plain = "a:1/b",
                "said\r"
            );
        });
        let expected = r#" said   request_id="a order_id=9" other="a\nb\u{1b}[2J" empty="" plain=a:1/b"#;
        assert_eq!(shown.trim_start(), format!("{}\n", expected.trim_start()));
    }
}
