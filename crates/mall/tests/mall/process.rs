//! The binary: what it prints, how it stops, its exit codes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use domain::Replicas;
use embedded::Cluster;
use hyper::StatusCode;
use tokio::task::JoinSet;

use crate::support::{Child, Client, eventually, free_address, order_ids};

#[tokio::test]
async fn alone_it_is_the_whole_mall_within_two_seconds_and_stops_within_two() {
    let (gateway, statistics) = (free_address(), free_address());
    let settings = [
        ("MALL_EMBEDDED__GATEWAY_LISTEN", &*gateway.to_string()),
        ("MALL_EMBEDDED__STATISTICS_LISTEN", &*statistics.to_string()),
    ];
    // Its neighbours on this machine may take its time away, though not three times in a row.
    let mut taken = Vec::new();
    let mut mall = loop {
        let begun = Instant::now();
        let mut mall = Child::start(&["--replicas", "5"], &settings);
        eventually("it says that it is open", async || {
            mall.printed().contains("The mall is open")
        })
        .await;
        taken.push(begun.elapsed());
        if taken.last() < Some(&Duration::from_secs(2)) {
            break mall;
        }
        assert!(taken.len() < 3, "open after {taken:?}");
        mall.signal("INT");
        mall.ended(Duration::from_secs(10)).await;
    };
    let printed = mall.printed();
    assert!(
        printed.contains(&format!("curl -d partition=1 http://{gateway}/submit-order")),
        "{printed}"
    );
    let client = Client::new();
    for partition in 0..5 {
        assert_eq!(client.order(gateway, partition).await.status, StatusCode::OK);
    }
    mall.signal("INT");
    assert!(mall.ended(Duration::from_secs(2)).await.success());
    for message in ["order accepted", "order written", "order counted", "stopped"] {
        assert!(mall.printed().contains(message), "{message}");
    }
    assert!(!mall.printed().contains("panicked"));
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_says_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let mut mall = Child::start(&[], &[("MALL_EMBEDDED__GATEWAY_LISTEN", &address)]);
    assert_eq!(mall.ended(Duration::from_secs(10)).await.code(), Some(1));
    let expected = format!(
        "could not listen on {address}: stop the program that has the port, or set MALL_EMBEDDED__GATEWAY_LISTEN"
    );
    eventually("it says so", async || mall.printed().contains(&expected)).await;
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_is_told_at_once_and_whole() {
    let settings = [
        ("MALL_REPLICAS", "0"),
        ("MALL_REPOSITORY__HANDLING_TIME", "soon"),
        ("MALL_GATEWAY__ORDER_URI", "http://x"),
        ("MALL_HTTP__LISTEN", "80"),
    ];
    let mut mall = Child::start(&["gateway"], &settings);
    assert_eq!(mall.ended(Duration::from_secs(10)).await.code(), Some(64));
    eventually("it names all four", async || {
        settings.iter().all(|(key, _)| mall.printed().contains(key))
    })
    .await;
    let mut mall = Child::start(&["order"], &[("MALL_KAFKA__PROPERTIES__ACKS", "1")]);
    assert_eq!(mall.ended(Duration::from_secs(10)).await.code(), Some(64));
    eventually("it says why", async || {
        mall.printed().contains("\"acks\" carries a guarantee")
    })
    .await;
    let mut mall = Child::start(&["warehouse"], &[]);
    assert_eq!(mall.ended(Duration::from_secs(10)).await.code(), Some(64));
}

#[tokio::test]
async fn a_health_check_says_why_a_service_is_not_ready() {
    let address = free_address();
    let listen = [("MALL_HTTP__LISTEN", &*address.to_string())];
    let mut check = Child::start(&["healthcheck"], &listen);
    assert_eq!(check.ended(Duration::from_secs(5)).await.code(), Some(1));
    let nowhere = free_address().to_string();
    let settings = [
        listen[0],
        ("MALL_ORDINAL", "0"),
        ("MALL_KAFKA__BOOTSTRAP_SERVERS", &nowhere),
    ];
    let order = Child::start(&["order"], &settings);
    eventually("the service lives and says what it lacks", async || {
        let mut check = Child::start(&["healthcheck"], &listen);
        let status = check.ended(Duration::from_secs(5)).await;
        status.code() == Some(1) && check.printed().contains("kafka is out of reach")
    })
    .await;
    drop(order);
}

/// Orders until it is told to stop; the ids of what was acknowledged.
fn keep_ordering(gateway: std::net::SocketAddr, stop: &Arc<AtomicBool>) -> JoinSet<Vec<String>> {
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let (client, stop) = (Client::new(), Arc::clone(stop));
        clients.spawn(async move {
            let mut acknowledged = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                match client.try_order(gateway, 0).await {
                    Ok(reply) if reply.status == StatusCode::OK => acknowledged.push(reply.order_id()),
                    _ => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
            acknowledged
        });
    }
    clients
}

#[tokio::test]
async fn a_stop_under_load_answers_what_is_in_flight_and_loses_nothing() {
    let cluster = Cluster::start(Replicas::THREE).expect("a broker");
    let kafka = cluster.config();
    let (order_address, gateway_address) = (free_address(), free_address());
    let mut order = Child::service(&["order"], &kafka, order_address, &[("MALL_ORDINAL", "0")]);
    order.ready(order_address).await;
    let url = format!("http://{order_address}");
    let settings = [("MALL_GATEWAY__ORDER_URL", url.as_str()), ("MALL_REPLICAS", "1")];
    let mut gateway = Child::service(&["gateway"], &kafka, gateway_address, &settings);
    gateway.ready(gateway_address).await;

    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = keep_ordering(gateway_address, &stop);
    eventually("orders flow", async || order_ids(&kafka, 0).await.len() > 200).await;
    order.signal("TERM");
    assert_eq!(order.ended(Duration::from_secs(10)).await.code(), Some(0));
    gateway.signal("TERM");
    assert_eq!(gateway.ended(Duration::from_secs(10)).await.code(), Some(0));
    stop.store(true, Ordering::Relaxed);

    let written: std::collections::HashSet<String> = order_ids(&kafka, 0).await.into_iter().collect();
    let mut acknowledged = 0;
    while let Some(ids) = clients.join_next().await {
        for id in ids.expect("no panic") {
            assert!(written.contains(&id), "{id} was acknowledged and is not in the log");
            acknowledged += 1;
        }
    }
    assert!(acknowledged > 200, "{acknowledged}");
    assert!(!order.printed().contains("panicked") && !gateway.printed().contains("panicked"));
}
