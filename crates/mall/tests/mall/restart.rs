//! Services that are stopped and started again while orders flow.

use mall::Instance;
use rstest::rstest;

use crate::support::{Broker, Load, NewRecord, Stage, append, eventually, partition, read};

/// How many clients order while something restarts. Each has one order in flight.
const CLIENTS: u16 = 4;

async fn counted(stage: &Stage, more_than: u64) {
    eventually("orders flow", async || {
        stage.statistics().await["total"]["orders"].as_u64() > Some(more_than)
    })
    .await;
}

async fn restart_under_load(broker: Broker, instances: &[Instance]) {
    let mut stage = Stage::open(broker).await;
    let load = Load::to_gateway(stage.gateway(), CLIENTS, 3);
    counted(&stage, 30).await;
    for instance in instances {
        stage.restart(*instance).await;
    }
    let before = stage.statistics().await["total"]["orders"].as_u64().expect("a number");
    counted(&stage, before + 30).await;
    let told = load.stop().await;
    told.verify(&stage.kafka).await;
    stage.settled(stage.orders().await).await;
    // Only what was in flight when something stopped may be unknown.
    let unknown = told.counts().unknown;
    assert!(unknown <= instances.len() * usize::from(CLIENTS), "{unknown} unknown");
    stage.close().await;
}

#[rstest]
#[case::order(&[Instance::Order(partition(1))])]
#[case::repository(&[Instance::Repository(partition(1))])]
#[case::statistics(&[Instance::Statistics])]
#[case::gateway(&[Instance::Gateway])]
#[tokio::test]
async fn a_restart_in_the_middle_loses_nothing_and_ships_nothing_twice(#[case] instances: &[Instance]) {
    restart_under_load(Broker::Mock, instances).await;
}

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn a_restart_of_one_after_the_other_loses_nothing_and_ships_nothing_twice(#[case] broker: Broker) {
    let repository = Instance::Repository(partition(0));
    let order = Instance::Order(partition(2));
    restart_under_load(broker, &[repository, order, Instance::Statistics, Instance::Gateway]).await;
}

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn ids_grow_over_a_restart_even_behind_records_that_are_no_orders(#[case] broker: Broker) {
    let mut stage = Stage::open(broker).await;
    let before: u64 = stage
        .client
        .order(stage.gateway(), 1)
        .await
        .order_id()
        .parse()
        .expect("a number");
    append(
        &stage.kafka,
        1,
        &[NewRecord {
            key: Some("not an id"),
            value: b"poison",
        }; 20],
    )
    .await;
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

#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn an_id_from_the_future_is_not_overtaken_but_refused(#[case] broker: Broker) {
    let mut stage = Stage::open(broker).await;
    // An id of order-1 that was made in the year 2079, as by a clock that was wrong.
    let future = format!("{}", ((1_u64 << 41) - 1) << 22 | 1 << 12);
    let value = format!(r#"{{"money":1,"order_id":"{future}","time":1,"user_id":"1"}}"#);
    append(
        &stage.kafka,
        1,
        &[NewRecord {
            key: Some(&future),
            value: value.as_bytes(),
        }],
    )
    .await;
    let instance = Instance::Order(partition(1));
    stage.restart(instance).await;
    let reply = stage.client.order(stage.gateway(), 1).await;
    assert_eq!(reply.status, hyper::StatusCode::SERVICE_UNAVAILABLE);
    assert!(reply.text.contains("behind the last order id"), "{}", reply.text);
    assert_eq!(read(&stage.kafka, "order", 1).await.len(), 1);
    stage.close().await;
}
