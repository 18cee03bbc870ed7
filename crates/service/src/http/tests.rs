use poem::EndpointExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
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
        client.send(&format!("{request} HTTP/1.1\r\n\r\n")).await;
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
                "POST /echo HTTP/1.1\r\ncontent-length: {length}\r\n\r\n{body}"
            ))
            .await;
        assert_eq!(client.answer().await.status, status, "{length}");
        let chunked = "POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        client
            .send(&format!("{chunked}{length:x}\r\n{body}\r\n0\r\n\r\n"))
            .await;
        assert_eq!(client.answer().await.status, status, "{length} in chunks");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_awaits_100_continue_is_told_before_it_sends_too_much() {
    let mut client = client().await;
    let expect = "POST /echo HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length";
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
    client.send("POST /echo HTTP/1.1\r\ncontent-length: 2\r\n\r\nh").await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 408, "{}", answer.body);
    assert_eq!(begun.elapsed().as_secs(), BODY_DEADLINE.as_secs());
    assert_eq!(client.rest().await, "");
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
