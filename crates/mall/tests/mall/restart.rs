//! Services that are stopped and started again while orders flow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use embedded::Instance;
use hyper::StatusCode;
use rstest::rstest;
use tokio::task::JoinSet;

use crate::support::{Stage, append, eventually, partition, read};

/// Orders that are taken until it is told to stop. Every answer is one of the status table.
async fn keep_ordering(stage: &Stage, stop: &Arc<AtomicBool>) -> JoinSet<([Vec<String>; 3], usize)> {
    let mut clients = JoinSet::new();
    for first in 0..4 {
        let (client, gateway, stop) = (stage.client.clone(), stage.gateway(), Arc::clone(stop));
        clients.spawn(async move {
            let (mut acknowledged, mut unknown) = ([const { Vec::new() }; 3], 0);
            let mut number: u16 = first;
            while !stop.load(Ordering::Relaxed) {
                number = (number + 1) % 3;
                // While the gateway restarts there is no reply at all.
                let Ok(reply) = client.try_order(gateway, number).await else {
                    unknown += 1;
                    tokio::task::yield_now().await;
                    continue;
                };
                match reply.status {
                    StatusCode::OK => acknowledged[usize::from(number)].push(reply.order_id()),
                    StatusCode::SERVICE_UNAVAILABLE => {}
                    StatusCode::GATEWAY_TIMEOUT => unknown += 1,
                    status => panic!("{status}: {}", reply.text),
                }
            }
            (acknowledged, unknown)
        });
    }
    clients
}

async fn counted(stage: &Stage, more_than: u64) {
    eventually("orders flow", async || {
        stage.statistics().await["total"]["orders"].as_u64() > Some(more_than)
    })
    .await;
}

#[rstest]
#[case::order(&[Instance::Order(partition(1))])]
#[case::repository(&[Instance::Repository(partition(1))])]
#[case::statistics(&[Instance::Statistics])]
#[case::gateway(&[Instance::Gateway])]
#[case::all(&[Instance::Repository(partition(0)), Instance::Order(partition(2)), Instance::Statistics, Instance::Gateway])]
#[tokio::test]
async fn a_restart_in_the_middle_loses_nothing_and_ships_nothing_twice(#[case] instances: &[Instance]) {
    let mut stage = Stage::open().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = keep_ordering(&stage, &stop).await;
    counted(&stage, 30).await;
    for instance in instances {
        stage.restart(*instance).await;
    }
    let before = stage.statistics().await["total"]["orders"].as_u64().expect("a number");
    counted(&stage, before + 30).await;
    stop.store(true, Ordering::Relaxed);
    let (mut acknowledged, mut unknown) = ([const { Vec::new() }; 3], 0);
    while let Some(ended) = clients.join_next().await {
        let (ids, more) = ended.expect("no panic");
        unknown += more;
        acknowledged
            .iter_mut()
            .zip(ids)
            .for_each(|(all, some)| all.extend(some));
    }
    stage.settled(stage.orders().await).await;
    stage.verify(&acknowledged, unknown).await;
    stage.close().await;
}

#[tokio::test]
async fn ids_grow_over_a_restart_even_behind_records_that_are_no_orders() {
    let mut stage = Stage::open().await;
    let before: u64 = stage
        .client
        .order(stage.gateway(), 1)
        .await
        .order_id()
        .parse()
        .expect("a number");
    append(&stage.kafka, 1, &[(Some("not an id"), &b"poison"[..]); 20]).await;
    let instance = Instance::Order(partition(1));
    stage.restart(instance).await;
    let after: u64 = stage
        .client
        .order(stage.gateway(), 1)
        .await
        .order_id()
        .parse()
        .expect("a number");
    assert!(after > before);
    assert_eq!(read(&stage.kafka, "order", 1).await.len(), 22);
    stage.close().await;
}

#[tokio::test]
async fn an_id_from_the_future_is_not_overtaken_but_refused() {
    let mut stage = Stage::open().await;
    // An id of order-1 that was made in the year 2079, as by a clock that was wrong.
    let future = format!("{}", ((1_u64 << 41) - 1) << 22 | 1 << 12);
    append(&stage.kafka, 1, &[(Some(&future), b"poison")]).await;
    let instance = Instance::Order(partition(1));
    stage.restart(instance).await;
    let reply = stage.client.order(stage.gateway(), 1).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(reply.text.contains("behind the last order id"), "{}", reply.text);
    assert_eq!(read(&stage.kafka, "order", 1).await.len(), 1);
    stage.close().await;
}
