//! A real broker that is killed or paused. In a run of its own: the other tests do not survive that.

use std::process::Command;
use std::time::{Duration, Instant};

use domain::{Outcome, Shipment};
use hyper::StatusCode;
use tokio::sync::{Mutex, MutexGuard};

use crate::support::{
    Broker, Child, Client, Load, PATIENCE, Stage, create_topics, eventually, needed, real_kafka, settled_shipments,
    shipments,
};

/// The region under test.
const NUMBER: u16 = 1;
/// How long a stop may take by default.
const GRACE_PERIOD: Duration = Duration::from_secs(10);

/// There is one broker: one test at a time disturbs it.
static BROKER: Mutex<()> = Mutex::const_new(());

/// A repository under load, and the container of its broker.
struct Region {
    _alone: MutexGuard<'static, ()>,
    kafka: kafka::Config,
    container: String,
    repository: Child,
    load: Load,
}

impl Region {
    async fn open() -> Self {
        let alone = BROKER.lock().await;
        let (kafka, container) = (real_kafka(), needed("MALL_TEST_KAFKA_CONTAINER"));
        create_topics(&kafka, 3).await;
        let repository = Child::service("repository", &kafka, &[("MALL_ORDINAL", "1")]);
        repository.ready("repository-1").await;
        let load = Load::to_log(&kafka, NUMBER, Duration::from_millis(3));
        Self {
            _alone: alone,
            kafka,
            container,
            repository,
            load,
        }
    }

    fn docker(&self, arguments: &[&str]) {
        docker(arguments, &self.container);
    }

    /// Waits until fifty more orders are shipped.
    async fn ships(&self) {
        let before = shipments(&self.kafka, NUMBER).await.len();
        eventually("orders are shipped", async || {
            shipments(&self.kafka, NUMBER).await.len() > before + 50
        })
        .await;
    }

    async fn verify(self) {
        self.load.stop().await.verify(&self.kafka).await;
    }
}

fn docker(arguments: &[&str], container: &str) {
    let status = Command::new("docker").args(arguments).arg(container).status();
    assert!(
        status.expect("docker runs").success(),
        "docker {arguments:?} {container}"
    );
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA and MALL_TEST_KAFKA_CONTAINER: a real broker that may be killed, and its container"]
async fn a_broker_that_is_killed_in_the_middle_of_transactions_loses_and_repeats_nothing() {
    let region = Region::open().await;
    for _ in 0..2 {
        region.ships().await;
        region.docker(&["kill", "--signal", "KILL"]);
        region.docker(&["start"]);
        // A broker that finds its own registration in ZooKeeper exits, and its restart policy starts it again.
        eventually("the broker is back", async || answers(&region.kafka).await).await;
        region.repository.ready("repository-1").await;
    }
    region.verify().await;
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA and MALL_TEST_KAFKA_CONTAINER: a real broker that may be paused, and its container"]
async fn a_broker_that_is_paused_for_20_s_in_the_middle_of_commits_loses_and_repeats_nothing() {
    let region = Region::open().await;
    region.ships().await;
    region.docker(&["pause"]);
    let paused = Instant::now();
    let address = region.repository.address_of("repository-1").await;
    eventually("the repository says that it is not ready", async || {
        !Client::new().get(address, "/ready").await.status.is_success()
    })
    .await;
    tokio::time::sleep_until((paused + Duration::from_secs(20)).into()).await;
    region.docker(&["unpause"]);
    region.repository.ready("repository-1").await;
    region.ships().await;
    region.verify().await;
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA and MALL_TEST_KAFKA_CONTAINER: a real broker that may be paused, and its container"]
async fn a_repository_stops_in_time_while_its_broker_is_paused() {
    let mut region = Region::open().await;
    region.ships().await;
    region.docker(&["pause"]);
    let asked = Instant::now();
    region.repository.signal("TERM");
    let ended = tokio::time::timeout(GRACE_PERIOD, region.repository.ended(PATIENCE)).await;
    region.docker(&["unpause"]);
    assert_eq!(
        ended.expect("within the grace period").code(),
        Some(0),
        "{:?}",
        asked.elapsed()
    );
    let again = Child::service("repository", &region.kafka, &[("MALL_ORDINAL", "1")]);
    again.ready("repository-1").await;
    region.verify().await;
}

/// Whether the broker answers for the partition under test.
async fn answers(kafka: &kafka::Config) -> bool {
    let kafka = kafka.clone();
    let ask = move || {
        let consumer =
            kafka::Consumer::new(&kafka, "test", "test", "shipment", kafka::Fetch::Live).expect("a consumer");
        consumer.watermarks(i32::from(NUMBER)).is_ok()
    };
    tokio::task::spawn_blocking(ask).await.expect("no panic")
}

/// What was sent waits in the broker's socket and is written when it goes on, beside what is sent again.
#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA and MALL_TEST_KAFKA_CONTAINER: a real broker that may be paused, and its container"]
async fn an_order_whose_broker_hangs_is_shipped_once_when_its_key_comes_again() {
    let _alone = BROKER.lock().await;
    let container = needed("MALL_TEST_KAFKA_CONTAINER");
    let stage = Stage::open(Broker::Real).await;
    let order = async || {
        let key = [("idempotency-key", "k")];
        stage.client.post_form(stage.gateway(), &key, "partition=1").await
    };
    docker(&["pause"], &container);
    let unknown = order().await;
    docker(&["unpause"], &container);
    assert_eq!(unknown.status, StatusCode::GATEWAY_TIMEOUT, "{}", unknown.text);
    let mut reply = None;
    eventually("the order is taken", async || {
        reply = Some(order().await).filter(|reply| reply.status == StatusCode::OK);
        reply.is_some()
    })
    .await;
    let id = reply.expect("taken").order_id();
    let outcomes = settled_shipments(&stage.kafka, NUMBER).await;
    let is_shipped = |shipment: &&Shipment| shipment.outcome == Outcome::Shipped;
    let shipped: Vec<_> = outcomes.iter().filter(is_shipped).collect();
    assert_eq!(shipped.len(), 1, "{outcomes:?}");
    let duplicates = outcomes.iter().filter(|shipment| !is_shipped(shipment));
    assert!(
        duplicates
            .into_iter()
            .all(|other| other.duplicate_of == shipped[0].order_id),
        "{outcomes:?}"
    );
    let answered = |shipment: &Shipment| shipment.order_id.is_some_and(|found| found.to_string() == id);
    assert!(outcomes.iter().any(answered), "{id}: {outcomes:?}");
    stage.close().await;
}
