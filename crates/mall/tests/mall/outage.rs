//! A broker that is down, slow, or lacks a partition.

use std::time::Duration;

use domain::Replicas;
use futures_util::future::join_all;
use hyper::StatusCode;
use mall::Instance;
use mall::embedded::{Cluster, Mall};

use tokio_util::sync::CancellationToken;

use crate::support::{Asked, Client, Stage, Told, config, eventually, partition};

/// The contract's bound for any answer.
const ANSWER: Duration = Duration::from_secs(6);

#[tokio::test]
async fn a_broker_that_is_down_costs_503_or_504_in_time_and_nobody_needs_a_restart_after() {
    let stage = Stage::on_mock(|_| {}).await;
    let mut told = Told::new();
    assert!(told.order(&stage.client, stage.gateway(), 0).await);
    stage.settled(1).await;
    stage.cluster().mock().broker_down(1).expect("down");

    let asked: Vec<_> = (0..9).map(|number| told.ask(number % 3)).collect();
    let order = async |asked: Asked| (asked, stage.client.post_form(stage.gateway(), &[], &asked.form()).await);
    for (asked, reply) in join_all(asked.into_iter().map(order)).await {
        assert!(reply.took < ANSWER, "{:?}", reply.took);
        match reply.status {
            StatusCode::SERVICE_UNAVAILABLE => assert_eq!(reply.header("retry-after"), Some("1")),
            StatusCode::GATEWAY_TIMEOUT => assert!(reply.order_id().parse::<domain::OrderId>().is_ok()),
            status => panic!("{status}: {}", reply.text),
        }
        told.reply(asked, &Ok(reply));
    }
    let order = stage.address(Instance::Order(partition(0)));
    eventually("order-0 is not ready", async || {
        stage.client.get(order, "/ready").await.status == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    let reply = stage.client.order(stage.gateway(), 0).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{}", reply.text);
    assert!(reply.took < Duration::from_secs(1), "{:?}", reply.took);

    stage.cluster().mock().broker_up(1).expect("up");
    for number in 0..3 {
        eventually("orders are taken again", async || {
            told.order(&stage.client, stage.gateway(), number).await
        })
        .await;
    }
    // What was answered with 504 may be in the log, what was answered with 503 is not.
    told.verify(&stage.kafka).await;
    stage.settled(stage.orders().await).await;
    stage.close().await;
}

#[tokio::test]
async fn a_region_without_a_partition_is_not_ready_and_the_others_are() {
    let cluster = Cluster::start(Replicas::try_from(2).expect("two")).expect("a broker");
    let mut mall = Mall::open(config(cluster.config())).await.expect("a mall");
    let client = Client::new();
    let address = |instance| mall.address(instance).expect("running");
    eventually("order-1 takes orders", async || {
        client.order(address(Instance::Gateway), 1).await.status == StatusCode::OK
    })
    .await;
    let order = address(Instance::Order(partition(2)));
    eventually("order-2 says what is missing", async || {
        let reply = client.get(order, "/ready").await;
        reply.status == StatusCode::SERVICE_UNAVAILABLE && reply.text.contains("run mall topics --grow")
    })
    .await;
    let reply = client.order(address(Instance::Gateway), 2).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{}", reply.text);
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    mall.run(&shutdown).await.expect("stopped");
}
