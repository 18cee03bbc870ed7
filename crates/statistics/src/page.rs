//! The page: three files and an icon in the binary. It makes requests to this service only.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use poem::http::{HeaderMap, StatusCode, header};
use poem::{Endpoint, Request, Response, Route, endpoint};
use service::http;

/// The page may load files of this service only.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: File = File("text/html; charset=utf-8", include_str!("page/dashboard.html"));
const STYLE: File = File("text/css; charset=utf-8", include_str!("page/dashboard.css"));
const SCRIPT: File = File("text/javascript; charset=utf-8", include_str!("page/dashboard.js"));
const ICON: File = File("image/svg+xml", include_str!("page/icon.svg"));

/// A file: its type and its content.
#[derive(Clone, Copy)]
struct File(&'static str, &'static str);

/// Adds what the page loads.
pub(crate) fn add_to(routes: Route) -> Route {
    let file = |file: File| {
        http::get(endpoint::make_sync(move |request: Request| {
            file.answer(request.headers())
        }))
    };
    routes
        .at("/dashboard.css", file(STYLE))
        .at("/dashboard.js", file(SCRIPT))
        .at("/icon.svg", file(ICON))
}

/// `/`: the page for a client that accepts HTML, and one line of text for any other.
pub(crate) fn home(about: &'static str) -> impl Endpoint<Output = Response> {
    endpoint::make_sync(move |request: Request| {
        let html = request
            .header(header::ACCEPT)
            .is_some_and(|accept| accept.contains("text/html"));
        let file = if html {
            HTML
        } else {
            File("text/plain; charset=utf-8", about)
        };
        file.answer(request.headers())
    })
}

impl File {
    /// A browser keeps a file and asks each time whether it is still the same: a new binary may have another one.
    fn answer(self, request: &HeaderMap) -> Response {
        let Self(content_type, content) = self;
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let tag = format!("\"{:016x}\"", hasher.finish());
        let response = Response::builder()
            .header(header::ETAG, &tag)
            .header(header::CACHE_CONTROL, "no-cache")
            .header(header::VARY, "accept")
            .header(header::CONTENT_SECURITY_POLICY, POLICY)
            .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
            .header(header::REFERRER_POLICY, "no-referrer");
        if request.get(header::IF_NONE_MATCH).is_some_and(|known| *known == tag) {
            return response.status(StatusCode::NOT_MODIFIED).finish();
        }
        response.content_type(content_type).body(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_names_no_other_host() {
        let files = [HTML, STYLE, SCRIPT, ICON];
        let bytes: usize = files.iter().map(|File(_, content)| content.len()).sum();
        assert!(bytes <= 60 * 1024, "{bytes} bytes");
        for File(content_type, content) in files {
            let content = content
                .replace("http://www.w3.org/2000/svg", "")
                .replace("http://127.0.0.1:8080", "");
            assert!(!content.contains("://"), "{content_type}");
        }
    }
}
