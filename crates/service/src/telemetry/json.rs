//! A line of the log as one JSON object.

use std::fmt::{self, Write};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Formats an event as one JSON object: time, level, message and fields, without spans.
///
/// tracing-subscriber's own formatter took three times as long: it collects the fields and goes through serde.
#[derive(Debug)]
pub(crate) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let time = humantime::format_rfc3339_millis(SystemTime::now());
        write!(
            writer,
            r#"{{"timestamp":"{time}","level":"{}""#,
            event.metadata().level()
        )?;
        let mut fields = Fields {
            writer: &mut writer,
            outcome: Ok(()),
        };
        event.record(&mut fields);
        fields.outcome?;
        writer.write_str("}\n")
    }
}

/// Writes each field that it is shown.
struct Fields<'a, W> {
    writer: &'a mut W,
    outcome: fmt::Result,
}

impl<W: Write> Fields<'_, W> {
    fn number(&mut self, field: &Field, value: impl fmt::Display) {
        self.outcome = self
            .outcome
            .and_then(|()| write!(self.writer, r#","{}":{value}"#, field.name()));
    }

    fn text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.outcome = self.outcome.and_then(|()| {
            write!(self.writer, r#","{}":""#, field.name())?;
            Escaped(self.writer).write_fmt(value)?;
            self.writer.write_char('"')
        });
    }
}

impl<W: Write> Visit for Fields<'_, W> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.number(field, value);
        } else {
            self.text(field, format_args!("{value}"));
        }
    }
}

/// Escapes what JSON does not allow within a string.
struct Escaped<'a, W>(&'a mut W);

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(|char: char| char < ' ' || char == '"' || char == '\\') {
            self.0.write_str(&rest[..at])?;
            match rest.as_bytes()[at] {
                b'\n' => self.0.write_str("\\n")?,
                byte @ (b'"' | b'\\') => write!(self.0, "\\{}", char::from(byte))?,
                byte => write!(self.0, "\\u{byte:04x}")?,
            }
            rest = &rest[at + 1..];
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::logged;

    #[test]
    fn a_line_is_one_json_object_with_time_level_message_and_fields() {
        let region = "陕北";
        let line = logged(Json, || {
            tracing::info!(order_id = "21", partition = 0, offset = -1_i64, %region, late = true, share = 0.5, "order shipped");
        });
        let (time, rest) = line.split_at(r#"{"timestamp":"2026-11-21T12:15:20.307Z""#.len());
        assert!(time.ends_with("Z\""), "{time}");
        let expected = r#","level":"INFO","message":"order shipped","order_id":"21","partition":0,"offset":-1,"region":"陕北","late":true,"share":0.5}"#;
        assert_eq!(rest, format!("{expected}\n"));
    }

    #[test]
    fn any_text_and_any_number_is_valid_json() {
        let text = (0_u8..128)
            .map(char::from)
            .chain("陕北 \u{2028}".chars())
            .collect::<String>();
        let line = logged(
            Json,
            || tracing::error!(text, debug = ?text, number = f64::NAN, "{text}"),
        );
        assert_eq!(line.find('\n'), Some(line.len() - 1), "{line}");
        let parsed: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(
            (
                parsed["text"].as_str(),
                parsed["message"].as_str(),
                parsed["number"].as_str()
            ),
            (Some(text.as_str()), Some(text.as_str()), Some("NaN"))
        );
        assert_eq!(parsed["debug"], format!("{text:?}"));
    }
}
