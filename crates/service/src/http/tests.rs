use poem::EndpointExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::server::BODY_TIMEOUT;
use crate::testing::Client;

#[handler]
async fn echo(request: &Request, body: Body) -> Result<Vec<u8>, Problem> {
    read_body(request, body, BODY_LIMIT).await
}

/// A service whose `/panic` panics, and whose `/echo` answers with the body.
async fn client() -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let routes = Route::new()
        .at(
            "/panic",
            get(poem::endpoint::make_sync(|_| -> String { panic!("on purpose") })),
        )
        .at("/echo", post(echo.map_to_response()));
    let context = Context::new("test", listener, CancellationToken::new());
    tokio::spawn(serve(context, "test: tests", routes));
    Client::connect(address).await
}

#[tokio::test(start_paused = true)]
async fn every_error_is_a_problem_and_the_connection_lives() {
    let mut client = client().await;
    for (request, status) in [
        ("GET /panic", 500),
        ("GET /nowhere", 404),
        ("GET /echo", 405),
        ("POST /live", 405),
    ] {
        client.send(&format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status, "{request}");
        assert!(
            answer.head.contains("content-type: application/problem+json"),
            "{}",
            answer.head
        );
        assert!(answer.body.contains(&format!("\"status\":{status}")), "{}", answer.body);
    }
    assert_eq!(client.get("/live").await.body, "live\n");
}

#[tokio::test(start_paused = true)]
async fn a_body_over_its_limit_is_a_413_and_the_connection_lives() {
    let mut client = client().await;
    for (length, status) in [(BODY_LIMIT, 200), (BODY_LIMIT + 1, 413), (BODY_LIMIT * 2, 413)] {
        let body = "x".repeat(length);
        client
            .send(&format!(
                "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}"
            ))
            .await;
        assert_eq!(client.answer().await.status, status, "{length}");
        let chunked = "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        client
            .send(&format!("{chunked}{length:x}\r\n{body}\r\n0\r\n\r\n"))
            .await;
        assert_eq!(client.answer().await.status, status, "{length} in chunks");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_awaits_100_continue_is_told_before_it_sends_too_much() {
    let mut client = client().await;
    let expect = "POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length";
    client.send(&format!("{expect}: 2\r\n\r\n")).await;
    assert_eq!(client.answer().await.status, 100);
    client.send("hi").await;
    assert_eq!(client.answer().await.body, "hi");
    client.send(&format!("{expect}: {}\r\n\r\n", BODY_LIMIT + 1)).await;
    assert_eq!(client.answer().await.status, 413);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_a_408_after_its_deadline() {
    let mut client = client().await;
    let begun = Instant::now();
    client
        .send("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nh")
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 408, "{}", answer.body);
    assert_eq!(begun.elapsed().as_secs(), BODY_TIMEOUT.as_secs());
    assert_eq!(client.rest().await, "");
}

#[tokio::test(start_paused = true)]
async fn a_request_without_exactly_one_host_is_a_400() {
    let mut client = client().await;
    for (version, headers, status) in [
        ("1.1", "", 400),
        ("1.1", "host: x\r\nhost: x\r\n", 400),
        ("1.1", "host:\r\n", 200),
        ("1.0", "connection: keep-alive\r\n", 200),
        ("1.0", "connection: keep-alive\r\nhost: x\r\n", 200),
        ("1.0", "connection: keep-alive\r\nhost: x\r\nhost: y\r\n", 400),
    ] {
        client.send(&format!("GET /live HTTP/{version}\r\n{headers}\r\n")).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status, "HTTP/{version} {headers:?}");
        assert!(
            status == 200 || answer.body.contains("expected one Host header"),
            "{}",
            answer.body
        );
    }
}

#[tokio::test(start_paused = true)]
async fn metrics_are_in_the_format_that_is_asked_for() {
    let mut client = client().await;
    for (accept, content_type, is_openmetrics) in [
        (
            "text/plain;version=0.0.4",
            "text/plain; version=0.0.4; charset=utf-8",
            false,
        ),
        (
            "application/openmetrics-text",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            true,
        ),
    ] {
        client
            .send(&format!("GET /metrics HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\n\r\n"))
            .await;
        let answer = client.answer().await;
        assert!(
            answer.head.contains(&format!("content-type: {content_type}\r\n")),
            "{}",
            answer.head
        );
        assert_eq!(answer.body.ends_with("# EOF\n"), is_openmetrics, "{}", answer.body);
    }
}

#[tokio::test(start_paused = true)]
async fn metrics_show_connections_and_requests_in_flight() {
    let mut client = client().await;
    let answer = client.get("/metrics").await;
    for expected in [
        "mall_http_connections 1\n",
        "mall_http_requests_in_flight 1\n",
        "mall_build_info{",
    ] {
        assert!(answer.body.contains(expected), "{expected} is not in {}", answer.body);
    }
}
