//! `GET /metrics`: Prometheus text format 0.0.4, and OpenMetrics where it is asked for.

use std::fmt::Write as _;
use std::sync::Arc;

use poem::http::{HeaderMap, StatusCode, header};
use poem::web::Data;
use poem::{IntoResponse, Response, handler};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::Problem;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

#[handler]
pub(super) fn show_metrics(headers: &HeaderMap, Data(metrics): Data<&Arc<Registry>>) -> Response {
    let mut openmetrics = String::new();
    if let Err(error) = encode(&mut openmetrics, metrics) {
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response();
    }
    let (content_type, text) = if prefers_openmetrics(headers) {
        (OPENMETRICS, openmetrics)
    } else {
        (TEXT_FORMAT, text_format(&openmetrics))
    };
    Response::builder().content_type(content_type).body(text)
}

/// Returns `true` if the client names OpenMetrics, and does not prefer the text format. A wildcard stands for the text
/// format.
fn prefers_openmetrics(headers: &HeaderMap) -> bool {
    let (mut openmetrics, mut text) = (0.0, 0.0);
    let accepted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    for range in accepted.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(|part| part.trim().to_ascii_lowercase());
        let media_type = parts.next().unwrap_or_default();
        let quality = parts.find_map(|parameter| parameter.strip_prefix("q=").map(str::to_owned));
        let quality: f32 = quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0));
        match media_type.as_str() {
            "application/openmetrics-text" => openmetrics = quality.max(openmetrics),
            "text/plain" | "text/*" | "*/*" => text = quality.max(text),
            _ => {}
        }
    }
    openmetrics > 0.0 && openmetrics >= text
}

/// Translates OpenMetrics: the text format names a family as its samples are named, and has fewer types.
fn text_format(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help = "";
    for line in openmetrics.lines() {
        if let Some(name_and_help) = line.strip_prefix("# HELP ") {
            help = name_and_help;
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            let about = help.strip_prefix(name).unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = write!(text, "# HELP {name}{suffix}{about}\n# TYPE {name}{suffix} {kind}\n");
        } else if !line.starts_with('#') {
            text.extend([line, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::Unit;

    use super::*;

    #[test]
    fn sends_openmetrics_only_to_a_client_that_asks_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                          application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, expected) in [
            ("", false),
            ("*/*", false),
            ("text/plain;version=0.0.4", false),
            ("text/html, application/json", false),
            ("application/openmetrics-text", true),
            ("Application/OpenMetrics-Text; version=1.0.0; Q=0.5", true),
            ("application/openmetrics-text, */*", true),
            ("text/plain, application/openmetrics-text;q=0.9", false),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;q=much", false),
            (prometheus, true),
        ] {
            let headers: HeaderMap = [(header::ACCEPT, HeaderValue::from_static(accept))]
                .into_iter()
                .collect();
            assert_eq!(prefers_openmetrics(&headers), expected, "{accept}");
        }
        assert!(!prefers_openmetrics(&HeaderMap::new()));
    }

    #[test]
    fn the_text_format_names_families_like_their_samples() {
        let mut registry = Registry::default();
        registry.register("orders", "Orders", Counter::<u64>::default());
        registry.register("build", "The version", Info::new([("version", "1")]));
        registry.register_with_unit("start_time", "Start", Unit::Seconds, Gauge::<i64>::default());
        let mut openmetrics = String::new();
        encode(&mut openmetrics, &registry).expect("text");
        let expected = "# HELP orders_total Orders.\n# TYPE orders_total counter\norders_total 0\n\
                        # HELP build_info The version.\n# TYPE build_info gauge\nbuild_info{version=\"1\"} 1\n\
                        # HELP start_time_seconds Start.\n# TYPE start_time_seconds gauge\nstart_time_seconds 0\n";
        assert_eq!(text_format(&openmetrics), expected);
    }
}
