//! The binary: what it prints, how it stops, its exit codes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use domain::Replicas;
use hyper::StatusCode;
use mall::embedded::Cluster;
use tokio::task::JoinSet;

use crate::support::{Child, Client, Load, NOWHERE, eventually, order_ids};

#[tokio::test]
async fn alone_it_is_the_whole_mall_within_two_seconds_and_stops_within_two() {
    let settings = [
        ("MALL_EMBEDDED__GATEWAY_LISTEN", "127.0.0.1:0"),
        ("MALL_EMBEDDED__STATISTICS_LISTEN", "127.0.0.1:0"),
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
    let (gateway, printed) = (mall.address_of("gateway").await, mall.printed());
    assert!(
        printed.contains(&format!("curl -d partition=1 http://{gateway}/submit-order")),
        "{printed}"
    );
    let client = Client::new();
    for partition in 0..5 {
        assert_eq!(client.order(gateway, partition).await.status, StatusCode::OK);
    }
    for message in ["order accepted", "order written", "order shipped", "order counted"] {
        eventually(message, async || mall.printed().matches(message).count() == 5).await;
    }
    mall.signal("INT");
    assert!(mall.ended(Duration::from_secs(2)).await.success());
    assert!(mall.printed().contains("stopped"));
    assert!(!mall.printed().contains("panicked"));
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_says_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let settings = [
        ("MALL_EMBEDDED__GATEWAY_LISTEN", address.as_str()),
        ("MALL_EMBEDDED__STATISTICS_LISTEN", "127.0.0.1:0"),
    ];
    let mut mall = Child::start(&[], &settings);
    assert_eq!(mall.ended(Duration::from_secs(10)).await.code(), Some(1));
    let expected = format!(
        "could not listen on {address}: stop the program that has the port, or set MALL_EMBEDDED__GATEWAY_LISTEN"
    );
    eventually("it says so", async || mall.printed().contains(&expected)).await;
}

#[tokio::test]
async fn a_fatal_error_is_said_whatever_the_log_filter_is() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let settings = [("MALL_HTTP__LISTEN", address.as_str()), ("MALL_LOG__FILTER", "off")];
    let mut mall = Child::start(&["gateway"], &settings);
    assert_eq!(mall.ended(Duration::from_secs(10)).await.code(), Some(1));
    let expected = format!("mall: could not listen on {address}");
    eventually("stderr has it", async || mall.printed().contains(&expected)).await;
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_is_told_with_all_that_is_wrong() {
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
        mall.printed().contains("\"acks\" cannot be set")
    })
    .await;
    let mut mall = Child::start(&["gateway"], &[("MALL_LOG__FILTER", "warning")]);
    assert_eq!(mall.ended(Duration::from_secs(10)).await.code(), Some(64));
    eventually("it names the word that is no level", async || {
        let printed = mall.printed();
        printed.contains("MALL_LOG__FILTER: expected a level") && printed.contains("found \"warning\"")
    })
    .await;
    let mut mall = Child::start(&["warehouse"], &[]);
    assert_eq!(mall.ended(Duration::from_secs(10)).await.code(), Some(64));
}

#[tokio::test]
async fn a_health_check_says_why_a_service_is_not_ready() {
    let mut check = Child::start(&["healthcheck"], &[("MALL_HTTP__LISTEN", NOWHERE)]);
    assert_eq!(check.ended(Duration::from_secs(5)).await.code(), Some(1));
    eventually("it says why", async || {
        check.printed().contains(&format!("nothing listens on {NOWHERE}"))
    })
    .await;
    let kafka = kafka::Config {
        bootstrap_servers: NOWHERE.to_owned(),
        ..kafka::Config::default()
    };
    let order = Child::service("order", &kafka, &[("MALL_ORDINAL", "0")]);
    let address = order.address_of("order-0").await.to_string();
    let listen = [("MALL_HTTP__LISTEN", address.as_str())];
    eventually("the service lives and says what it lacks", async || {
        let mut check = Child::start(&["healthcheck"], &listen);
        let status = check.ended(Duration::from_secs(5)).await;
        status.code() == Some(1) && check.printed().contains("kafka is out of reach")
    })
    .await;
}

/// A gateway and its only order service, in processes of their own, and where the gateway listens.
async fn gateway_and_order(kafka: &kafka::Config) -> (Child, Child, SocketAddr) {
    let order = Child::service("order", kafka, &[("MALL_ORDINAL", "0")]);
    let url = format!("http://{}", order.ready("order-0").await);
    let settings = [
        ("MALL_GATEWAY__ORDER_URL", url.as_str()),
        ("MALL_GATEWAY__MAX_IN_FLIGHT", "8"),
        ("MALL_REPLICAS", "1"),
    ];
    let gateway = Child::service("gateway", kafka, &settings);
    let address = gateway.ready("gateway").await;
    (gateway, order, address)
}

#[tokio::test]
async fn a_stop_answers_what_is_in_flight() {
    let cluster = Cluster::start(Replicas::THREE).expect("a broker");
    let (mut gateway, _order, address) = gateway_and_order(&cluster.config()).await;
    // The first order of a new producer takes longer.
    let first = Client::new().order(address, 0).await;
    assert_eq!(first.status, StatusCode::OK, "{}", first.text);
    let slow = Duration::from_millis(150);
    cluster.mock().broker_round_trip_time(1, slow).expect("a slow broker");
    let mut orders = JoinSet::new();
    for _ in 0..9 {
        orders.spawn(async move { Client::new().order(address, 0).await });
    }
    // One more than may be in flight: when it is refused, the other eight are.
    let refused = orders.join_next().await.expect("nine orders").expect("no panic");
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text);
    gateway.signal("TERM");
    for reply in orders.join_all().await {
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
        assert!(reply.took >= slow, "{:?}", reply.took);
    }
    assert_eq!(gateway.ended(Duration::from_secs(10)).await.code(), Some(0));
}

#[tokio::test]
async fn a_stop_under_load_loses_nothing() {
    let cluster = Cluster::start(Replicas::THREE).expect("a broker");
    let kafka = cluster.config();
    let (mut gateway, mut order, address) = gateway_and_order(&kafka).await;
    let load = Load::to_gateway(address, 8, 1);
    eventually("orders flow", async || order_ids(&kafka, 0).await.len() > 200).await;
    for process in [&mut order, &mut gateway] {
        process.signal("TERM");
        assert_eq!(process.ended(Duration::from_secs(10)).await.code(), Some(0));
        assert!(!process.printed().contains("panicked"));
    }
    let told = load.stop().await;
    assert!(told.counts().acknowledged > 200, "{:?}", told.counts());
    let repository = Child::service("repository", &kafka, &[("MALL_ORDINAL", "0")]);
    repository.ready("repository-0").await;
    told.verify(&kafka).await;
}
