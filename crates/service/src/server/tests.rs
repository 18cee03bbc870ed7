use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt as _, stream};
use poem::endpoint::make;
use poem::{Response, Route};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::connections::EVICTABLE_AFTER;
use super::*;
use crate::testing::Client;

fn limits(connections: usize) -> Limits {
    Limits {
        connections,
        ..Limits::new(16 * 1024)
    }
}

/// A server on a port of its own.
struct Started {
    address: SocketAddr,
    connections: prometheus_client::metrics::gauge::Gauge,
    in_flight: prometheus_client::metrics::gauge::Gauge,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

/// `/` answers, `/wait` when it is notified, `/stream` sends without an end.
async fn start(limits: Limits, go: Arc<Notify>) -> Started {
    start_with(limits, go, Arc::default()).await
}

/// The same; `finished` is notified when `/wait` has its answer.
async fn start_with(limits: Limits, go: Arc<Notify>, finished: Arc<Notify>) -> Started {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let wait = make(move |_| {
        let (go, finished) = (Arc::clone(&go), Arc::clone(&finished));
        async move {
            go.notified().await;
            finished.notify_one();
            Ok::<_, poem::Error>("waited")
        }
    });
    let endless = make(|_| async {
        let bytes = stream::repeat("x".repeat(64 * 1024)).map(io::Result::Ok);
        Ok::<_, poem::Error>(Response::builder().body(Body::from_bytes_stream(bytes)))
    });
    let routes = Route::new()
        .at("/", poem::endpoint::make_sync(|_| "here"))
        .at("/wait", wait)
        .at("/stream", endless);
    let (metrics, shutdown) = (Metrics::default(), CancellationToken::new());
    Started {
        address,
        connections: metrics.connections.clone(),
        in_flight: metrics.in_flight.clone(),
        shutdown: shutdown.clone(),
        task: tokio::spawn(serve(
            async move || listener.accept().await,
            routes,
            limits,
            metrics,
            shutdown,
        )),
    }
}

async fn started() -> Started {
    start(limits(16), Arc::default()).await
}

#[tokio::test(start_paused = true)]
async fn a_head_over_16_kib_or_with_more_than_64_headers_is_a_431_without_a_body() {
    let server = started().await;
    let headers = |count| "x: y\r\n".repeat(count);
    for (head, status) in [
        (headers(64), 200),
        (headers(65), 431),
        (format!("x: {}\r\n", "y".repeat(16 * 1000)), 200),
        (format!("x: {}\r\n", "y".repeat(16 * 1024)), 431),
        (format!("x: {}\r\n", "y".repeat(300 * 1024)), 431),
    ] {
        let mut client = Client::connect(server.address).await;
        // The server may close before it has read all.
        let request = format!("GET / HTTP/1.1\r\n{head}\r\n");
        client.send(&request).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status, "{} bytes", request.len());
        if status == 431 {
            assert_eq!((answer.body.as_str(), client.rest().await.as_str()), ("", ""));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_parser_refuses_http_2_and_garbage() {
    let server = started().await;
    let mut client = Client::connect(server.address).await;
    client.send("NOT HTTP\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (400, ""));
    assert!(answer.head.contains("connection: close"), "{}", answer.head);

    let mut client = Client::connect(server.address).await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(client.rest().await, "", "HTTP/2 is not answered");
}

#[tokio::test(start_paused = true)]
async fn closes_a_connection_whose_head_does_not_end() {
    let server = started().await;
    let mut client = Client::connect(server.address).await;
    assert_eq!(client.get("/").await.status, 200);
    let begun = Instant::now();
    client.send("GET / HTTP/1.1\r\n").await;
    for _ in 0..4 {
        tokio::time::sleep(HEAD_TIMEOUT / 5).await;
        client.send("x: y\r\n").await;
    }
    assert_eq!(client.rest().await, "");
    let waited = begun.elapsed();
    assert!(
        (HEAD_TIMEOUT..HEAD_TIMEOUT + Duration::from_millis(50)).contains(&waited),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn closes_an_idle_connection_after_the_head_timeout_and_not_before() {
    let server = started().await;
    let mut client = Client::connect(server.address).await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.status, 200);
        tokio::time::sleep(HEAD_TIMEOUT - Duration::from_secs(1)).await;
    }
    assert_eq!(client.get("/").await.status, 200);
    let begun = Instant::now();
    assert_eq!(client.rest().await, "");
    let waited = begun.elapsed();
    assert!(
        (HEAD_TIMEOUT..HEAD_TIMEOUT + Duration::from_millis(50)).contains(&waited),
        "{waited:?}"
    );
}

/// A real clock: the kernel has the timer.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn closes_a_connection_whose_client_does_not_read_its_stream() {
    let limits = Limits {
        write_timeout: Duration::from_millis(100),
        ..limits(1)
    };
    let server = start(limits, Arc::default()).await;
    let mut client = Client::connect(server.address).await;
    // While there is more to parse, hyper does not read: only writing can find out.
    client.send("GET /stream HTTP/1.1\r\n\r\nGET").await;
    // There is room for the next one when the first has ended.
    let mut next = Client::connect(server.address).await;
    let answer = timeout(Duration::from_secs(30), next.get("/")).await.expect("room");
    assert_eq!(
        (answer.status, server.connections.get(), server.in_flight.get()),
        (200, 1, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn the_connection_that_has_been_idle_longest_makes_room() {
    let server = start(limits(2), Arc::default()).await;
    let (mut first, mut second) = (
        Client::connect(server.address).await,
        Client::connect(server.address).await,
    );
    assert_eq!((first.get("/").await.status, second.get("/").await.status), (200, 200));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(first.get("/").await.status, 200, "the second is idle longer");
    let begun = Instant::now();
    let mut third = Client::connect(server.address).await;
    assert_eq!(third.get("/").await.status, 200);
    assert!(begun.elapsed() >= EVICTABLE_AFTER, "{:?}", begun.elapsed());
    assert_eq!(second.rest().await, "");
    assert_eq!((first.get("/").await.status, server.connections.get()), (200, 2));
}

#[tokio::test(start_paused = true)]
async fn a_full_server_of_clients_at_work_closes_a_connection_after_its_answer() {
    let go = Arc::new(Notify::new());
    let server = start(limits(1), Arc::clone(&go)).await;
    let mut first = Client::connect(server.address).await;
    first.send("GET /wait HTTP/1.1\r\n\r\n").await;
    while server.in_flight.get() == 0 {
        tokio::task::yield_now().await;
    }
    let mut probe = Client::connect(server.address).await;
    probe.send("GET / HTTP/1.1\r\n\r\n").await;
    tokio::time::sleep(EVICTABLE_AFTER).await;
    assert_eq!(server.connections.get(), 1, "the request in flight is not cut off");
    go.notify_one();
    let answer = first.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "waited"));
    assert!(answer.head.contains("connection: close"), "{}", answer.head);
    assert_eq!(probe.answer().await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_half_closes_is_answered() {
    let go = Arc::new(Notify::new());
    let server = start(limits(16), Arc::clone(&go)).await;
    let mut client = Client::connect(server.address).await;
    client.send("GET /wait HTTP/1.1\r\n\r\n").await;
    client.half_close().await;
    while server.in_flight.get() == 0 {
        tokio::task::yield_now().await;
    }
    // By this answer the server has seen the end of the other connection.
    assert_eq!(Client::connect(server.address).await.get("/").await.status, 200);
    go.notify_one();
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "waited"));
    assert_eq!(client.rest().await, "");
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_client_leaves_is_finished() {
    let (go, finished) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let server = start_with(limits(16), Arc::clone(&go), Arc::clone(&finished)).await;
    for unread in ["", "GET / HTTP/1.1\r\n"] {
        let mut client = Client::connect(server.address).await;
        client.send(&format!("GET /wait HTTP/1.1\r\n\r\n{unread}")).await;
        while server.in_flight.get() == 0 {
            tokio::task::yield_now().await;
        }
        // With bytes that the server has not read, the kernel resets the connection.
        drop(client);
        assert_eq!(Client::connect(server.address).await.get("/").await.status, 200);
        assert_eq!(server.in_flight.get(), 1, "{unread:?}");
        go.notify_one();
        timeout(Duration::from_secs(5), finished.notified())
            .await
            .expect("the handler ends");
    }
}

#[tokio::test(start_paused = true)]
async fn accepting_pauses_while_it_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let accept = async move || {
        if counted.fetch_add(1, Ordering::Relaxed) < 10 {
            return Err(io::Error::other("too many open files"));
        }
        listener.accept().await
    };
    let routes = Route::new().at("/", poem::endpoint::make_sync(|_| "here"));
    tokio::spawn(serve(
        accept,
        routes,
        limits(16),
        Metrics::default(),
        CancellationToken::new(),
    ));
    tokio::time::sleep(ACCEPT_RETRY_INTERVAL * 5 + ACCEPT_RETRY_INTERVAL / 2).await;
    assert_eq!(calls.load(Ordering::Relaxed), 6);
    assert_eq!(Client::connect(address).await.get("/").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn half_a_head_and_an_idle_connection_do_not_hold_up_a_stop() {
    let server = started().await;
    let (mut idle, mut again) = (
        Client::connect(server.address).await,
        Client::connect(server.address).await,
    );
    assert_eq!((idle.get("/").await.status, again.get("/").await.status), (200, 200));
    let mut first = Client::connect(server.address).await;
    for client in [&mut first, &mut again] {
        client.send("GET / HTTP/1.1\r\nx: y").await;
    }
    // By its answer, what was sent before it has been read.
    assert_eq!(idle.get("/").await.status, 200);
    let begun = Instant::now();
    server.shutdown.cancel();
    server.task.await.expect("no panic");
    assert!(begun.elapsed() < Duration::from_millis(10), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_request_in_flight_at_a_stop_is_answered() {
    let go = Arc::new(Notify::new());
    let server = start(limits(16), Arc::clone(&go)).await;
    let mut client = Client::connect(server.address).await;
    client.send("GET /wait HTTP/1.1\r\n\r\n").await;
    while server.in_flight.get() == 0 {
        tokio::task::yield_now().await;
    }
    server.shutdown.cancel();
    tokio::time::sleep(DRAIN_TIMEOUT - Duration::from_secs(1)).await;
    assert!(TcpStream::connect(server.address).await.is_err(), "a new connection");
    go.notify_one();
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "waited"));
    assert!(answer.head.contains("connection: close"), "{}", answer.head);
    server.task.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_end_is_cut_off_at_a_stop() {
    let server = started().await;
    let mut client = Client::connect(server.address).await;
    client.send("GET /wait HTTP/1.1\r\n\r\n").await;
    while server.in_flight.get() == 0 {
        tokio::task::yield_now().await;
    }
    let begun = Instant::now();
    server.shutdown.cancel();
    server.task.await.expect("no panic");
    assert!(
        (DRAIN_TIMEOUT..DRAIN_TIMEOUT + Duration::from_millis(50)).contains(&begun.elapsed()),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!((client.rest().await.as_str(), server.in_flight.get()), ("", 0));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_the_handler_ignores_does_not_end_the_connection() {
    let server = started().await;
    let mut client = Client::connect(server.address).await;
    for (head, body) in [
        ("content-length: 20000", "x".repeat(20_000)),
        ("transfer-encoding: chunked", "4\r\nwiki\r\n0\r\n\r\n".to_owned()),
    ] {
        client.send(&format!("POST / HTTP/1.1\r\n{head}\r\n\r\n")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        client.send(&body).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "here"));
        assert!(!answer.head.contains("connection: close"), "{}", answer.head);
    }
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_missing_body_ends_the_connection_and_the_answer_says_so() {
    let server = started().await;
    for head in ["content-length: 5", "content-length: 5\r\nexpect: 100-continue"] {
        let mut client = Client::connect(server.address).await;
        client.send(&format!("POST / HTTP/1.1\r\n{head}\r\n\r\n")).await;
        let mut answer = client.answer().await;
        if head.contains("expect") {
            assert_eq!(answer.status, 100, "{}", answer.head);
            answer = client.answer().await;
        }
        assert_eq!(answer.status, 200, "{}", answer.head);
        assert!(answer.head.contains("connection: close"), "{}", answer.head);
        assert_eq!(client.rest().await, "");
    }
}
