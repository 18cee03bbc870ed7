//! `mall audit`: it finds nothing wrong with a mall at work, and each kind of damage in logs that are written here.

mod scene;

use std::path::{Path, PathBuf};
use std::process::Command;

use domain::{Outcome, Replicas};
use futures_util::future::join_all;
use lab::ServiceUrl;
use lab::audit::{Options, Report, Verdict};
use lab::ledger::{Answer, Phase};
use rstest::rstest;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::scene::{NUMBER, SECOND, Scene, id};
use crate::support::{Broker, Load, NOWHERE, Stage, create_topics, delete_records, eventually, real_kafka, write};

async fn audit(kafka: &kafka::Config, statistics: Option<ServiceUrl>, ledgers: Vec<PathBuf>) -> Report {
    let options = Options {
        kafka: kafka.clone(),
        replicas: Replicas::THREE,
        statistics,
        ledgers,
    };
    let report = lab::audit::run(&options, &CancellationToken::new(), |_| {}).await;
    report.expect("a mall that can be read")
}

/// The invariants about which this was found.
fn found(report: &Report, verdict: Verdict) -> Vec<String> {
    let invariants = report.invariants().iter();
    let found = invariants.filter(|finding| finding.verdict == verdict);
    found.map(|finding| finding.invariant.to_string()).collect()
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn each_kind_of_damage_makes_its_invariant_fail_and_no_other() {
    type Damage = fn(&mut Scene);
    let damages: [(&str, &str, Damage); 16] = [
        ("I1", "order[1] offset 6, order", |scene| {
            scene.attempt(8);
            scene.acknowledge(8, 6);
        }),
        ("I1", "order[1] offset 7, order", |scene| {
            scene.attempt(8);
            scene.accept(8, id(NUMBER, 8));
            scene.acknowledge(8, 7);
        }),
        ("I2", "order[1] offset 6, order", |scene| {
            scene.accept(6, id(NUMBER, 6));
        }),
        ("I3", "order[1] offset 6, order", |scene| {
            scene.accept(9, id(NUMBER, 9));
        }),
        ("I3", "order[1] offset 6, order", |scene| {
            scene.accept(5, id(NUMBER, 5));
            scene.shipments[6].outcome = Outcome::Duplicate;
        }),
        ("I4", "order[1] offset 2, order", |scene| {
            scene.shipments.remove(2);
        }),
        ("I4", "shipment[1] offset 3, order", |scene| {
            scene.shipments.insert(3, scene.shipments[2].clone());
        }),
        ("I4", "order[1] offset 7, order", |scene| {
            // The record of an unknown attempt and that of the next one: both are shipped.
            scene.attempt(7);
            scene.accept(7, id(NUMBER, 7));
            scene.accept(7, id(NUMBER, 7));
        }),
        ("I5", "shipment[1] offset 3, order", |scene| {
            scene.shipments.swap(2, 3);
        }),
        ("I6", "order[1] offset 6, order", |scene| {
            scene.accept(7, id(2, 7));
        }),
        ("I7", "order[1] offset 3: expected a record", |scene| {
            scene.transaction = Some(2);
            for shipment in &mut scene.shipments[3..] {
                shipment.order_offset += 1;
            }
            scene.move_receipts(3);
        }),
        (
            "I8",
            "order[1]: expected as in the log before offset 6: orders 6, found 7",
            |scene| {
                scene.adjust = |figures| {
                    figures["regions"][1]["orders"] = 7.into();
                    figures["total"]["orders"] = 7.into();
                };
            },
        ),
        ("I9", "order[1] offset 7: group repository has committed", |scene| {
            scene.committed = 7;
        }),
        ("I10", "expected an answer within 8 s, found one after 9.0 s", |scene| {
            scene.attempt(8);
            scene.pass(9 * SECOND);
            scene.answer(8, Answer::Refused { status: Some(503) });
        }),
        ("I10", "order[1] offset 5, order", |scene| {
            scene.shipments.pop();
            scene.committed = 5;
        }),
        ("I11", "order[1] offset 6, order", |scene| {
            scene.fault(Phase::Begun);
            scene.pass(2 * SECOND);
            scene.order(8);
            scene.fault(Phase::Healed);
        }),
    ];
    let audits = damages.into_iter().map(async |(invariant, place, damage)| {
        let mut scene = Scene::healthy();
        damage(&mut scene);
        let report = scene.open().await.audit().await;
        let text = report.render();
        assert_eq!(found(&report, Verdict::Fails), [invariant], "{place}:\n{text}");
        assert_eq!(found(&report, Verdict::NotChecked), [""; 0], "{place}:\n{text}");
        let (_, offenders) = text.split_once(&format!("❌ {invariant} ")).expect("offenders");
        assert!(offenders.contains(place), "{place} is not in {text}");
        assert!(!report.holds());
    });
    join_all(audits).await;
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn a_log_that_is_as_it_must_be_holds_and_the_command_says_so() {
    let opened = Scene::healthy().open().await;
    let report = opened.audit().await;
    assert_eq!(found(&report, Verdict::Holds).len(), 11, "{}", report.render());
    let ledger = opened.ledger();
    let (code, stdout, _) = command(&opened.kafka, &opened.statistics, &[Path::new("--ledger"), &ledger]);
    assert_eq!(code, Some(0), "{stdout}");
    for text in [
        "Read 6 records of topic order and 6 of topic shipment",
        "The ledgers have 8 orders: 6 acknowledged, 1 refused, 1 unknown.",
        "✅  I11  nothing is acknowledged without the broker",
        "✅ All of it is true.",
    ] {
        assert!(stdout.contains(text), "{text} is not in {stdout}");
    }
    // Without the ledger, four cannot be known.
    let (code, stdout, _) = command(&opened.kafka, &opened.statistics, &[]);
    assert_eq!(code, Some(0), "{stdout}");
    assert!(
        stdout.contains("Not checked, or not wholly: I1, I2, I3, I11."),
        "{stdout}"
    );

    let mut scene = Scene::healthy();
    scene.shipments.remove(2);
    let opened = scene.open().await;
    let (code, stdout, _) = command(&opened.kafka, &opened.statistics, &[Path::new("--json")]);
    assert_eq!(code, Some(1), "{stdout}");
    let report: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(report["holds"], false);
    assert_eq!(report["invariants"][3]["invariant"], "I4");
    assert_eq!(report["invariants"][3]["verdict"], "fails");
    let offender = &report["invariants"][3]["offenders"][0];
    assert_eq!((&offender["partition"], &offender["offset"]), (&1.into(), &2.into()));
}

/// Runs `mall audit`: its exit code, and what it has printed.
fn command(kafka: &kafka::Config, statistics: &ServiceUrl, arguments: &[&Path]) -> (Option<i32>, String, String) {
    let output = Command::new(assert_cmd::cargo::cargo_bin!("mall"))
        .env_clear()
        .env("MALL_KAFKA__BOOTSTRAP_SERVERS", &kafka.bootstrap_servers)
        .env("MALL_KAFKA__PREFIX", &kafka.prefix)
        .env("MALL_LAB__STATISTICS_URL", statistics.to_string())
        .arg("audit")
        .args(arguments)
        .output()
        .expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn without_a_broker_it_says_what_to_do() {
    let kafka = kafka::Config {
        bootstrap_servers: NOWHERE.to_owned(),
        ..kafka::Config::default()
    };
    let statistics = format!("http://{NOWHERE}").parse().expect("a URL");
    let (code, stdout, stderr) = command(&kafka, &statistics, &[]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(
        stderr.contains("is there a Kafka at 127.0.0.1:1? MALL_KAFKA__BOOTSTRAP_SERVERS says where"),
        "{stderr}"
    );
    let (code, stdout, stderr) = command(&kafka, &statistics, &[Path::new("--ledger"), Path::new("/missing")]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.contains("cannot read the ledger /missing"), "{stderr}");
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn what_retention_has_removed_is_not_said_to_be_true() {
    let opened = Scene::healthy().open().await;
    delete_records(&opened.kafka, "order", NUMBER, Some(3)).await;
    let report = opened.audit().await;
    let text = report.render();
    assert!(report.holds(), "{text}");
    assert_eq!(
        found(&report, Verdict::NotChecked),
        ["I1", "I2", "I3", "I4", "I8"],
        "{text}"
    );
    let expected = "order[1] begins at offset 3: retention has removed what was before.";
    assert!(text.contains(expected), "{text}");
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn orders_in_a_partition_without_a_region_are_found() {
    let kafka = real_kafka();
    create_topics(&kafka, 4).await;
    write(&kafka, "order", 3, None, &[b"{}".to_vec()]).await;
    let report = audit(&kafka, None, Vec::new()).await;
    let text = report.render();
    assert_eq!(found(&report, Verdict::Fails), ["I6"], "{text}");
    assert!(
        text.contains("order[3] offset 0: expected no records, since the mall has 3 regions"),
        "{text}"
    );
}

/// Orders keep coming while the topics are read.
#[rstest]
#[case::mock(Broker::Mock)]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
#[case::real(Broker::Real)]
#[tokio::test]
async fn a_mall_at_work_holds(#[case] broker: Broker) {
    let stage = Stage::open(broker).await;
    let load = Load::to_gateway(stage.gateway(), 8, 3);
    eventually("orders flow", async || stage.orders().await > 100).await;
    let url = format!("http://{}", stage.address(embedded::Instance::Statistics));
    for _ in 0..3 {
        let report = audit(&stage.kafka, url.parse().ok(), Vec::new()).await;
        let text = report.render();
        assert!(report.holds(), "{text}");
        assert_eq!(found(&report, Verdict::NotChecked), ["I1", "I2", "I3", "I11"], "{text}");
        let read: u64 = report.partitions().iter().map(|partition| partition.orders).sum();
        assert!(read > 100, "{text}");
    }
    assert!(load.stop().await.counts().acknowledged > 100);
    stage.close().await;
}
