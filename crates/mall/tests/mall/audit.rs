//! `mall audit`: it finds nothing wrong with a mall at work, and damage in logs on a real Kafka. What it finds of each
//! kind of damage is tested in the crate `lab`, without a Kafka.

mod scene;

use std::path::Path;
use std::process::Command;

use lab::ServiceUrl;
use lab::audit::{Report, Verdict};
use rstest::rstest;
use serde_json::Value;

use self::scene::{NUMBER, Scene};
use crate::support::{
    Broker, Load, NOWHERE, Stage, create_topics, delete_records, eventually, real_kafka, run_audit, write,
};

/// The invariants with a verdict.
fn found(report: &Report, verdict: Verdict) -> Vec<String> {
    let found = report.invariants.iter().filter(|finding| finding.verdict == verdict);
    found.map(|finding| finding.invariant.to_string()).collect()
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

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn a_sound_log_is_read_with_its_headers_and_marks() {
    let opened = Scene::sound().open().await;
    let report = opened.audit().await;
    let text = report.render();
    assert_eq!(report.verdict, Verdict::Held, "{text}");
    let ledger = opened.ledger();
    let (code, stdout, _) = command(&opened.kafka, &opened.statistics, &[Path::new("--ledger"), &ledger]);
    assert_eq!(code, Some(0), "{stdout}");
    for text in [
        "Read 7 records of topic order and 7 of topic shipment",
        "The ledgers have 7 orders: 6 acknowledged, 1 refused, 0 unknown.",
        "✅ Held: all of it is true.",
    ] {
        assert!(stdout.contains(text), "{text} is not in {stdout}");
    }
    // Without the ledger some cannot be known.
    let (code, stdout, _) = command(&opened.kafka, &opened.statistics, &[]);
    assert_eq!(code, Some(3), "{stdout}");
    assert!(
        stdout.contains("Not checked, or not wholly: I1, I2, I3, I11, I12."),
        "{stdout}"
    );
}

#[tokio::test]
#[ignore = "needs MALL_TEST_KAFKA: a real broker"]
async fn a_record_without_an_outcome_and_the_end_of_a_transaction_are_found() {
    let mut scene = Scene::sound();
    scene.shipments.remove(2);
    let opened = scene.open().await;
    let (code, stdout, _) = command(&opened.kafka, &opened.statistics, &[Path::new("--json")]);
    assert_eq!(code, Some(1), "{stdout}");
    let report: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(report["verdict"], "broken");
    assert_eq!(report["invariants"][3]["invariant"], "I4");
    assert_eq!(report["invariants"][3]["verdict"], "broken");
    let offender = &report["invariants"][3]["offenders"][0];
    assert_eq!((&offender["partition"], &offender["offset"]), (&1.into(), &2.into()));

    let mut scene = Scene::sound();
    scene.write_in_transaction();
    let report = scene.open().await.audit().await;
    let text = report.render();
    assert_eq!(found(&report, Verdict::Broken), ["I7"], "{text}");
    assert!(text.contains("order[1] offset 8: expected a record"), "{text}");
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
async fn what_retention_has_removed_is_not_proved() {
    let opened = Scene::sound().open().await;
    delete_records(&opened.kafka, "order", NUMBER, Some(3)).await;
    let report = opened.audit().await;
    let text = report.render();
    assert_eq!(report.verdict, Verdict::NotProved, "{text}");
    assert_eq!(
        found(&report, Verdict::NotProved),
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
    let report = run_audit(&kafka, None, Vec::new()).await;
    let text = report.render();
    assert_eq!(found(&report, Verdict::Broken), ["I6"], "{text}");
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
    let url = format!("http://{}", stage.address(mall::Instance::Statistics));
    for _ in 0..3 {
        let report = run_audit(&stage.kafka, url.parse().ok(), Vec::new()).await;
        let text = report.render();
        assert_ne!(report.verdict, Verdict::Broken, "{text}");
        for checked in ["I5", "I6", "I7", "I9", "I10"] {
            assert!(
                found(&report, Verdict::Held).iter().any(|held| held == checked),
                "{checked}: {text}"
            );
        }
        let read: u64 = report.partitions.iter().map(|partition| partition.orders).sum();
        assert!(read > 100, "{text}");
    }
    assert!(load.stop().await.counts().acknowledged > 100);
    // Statistics may not have begun to count when the first of these audits asked.
    let report = run_audit(&stage.kafka, url.parse().ok(), Vec::new()).await;
    assert!(
        found(&report, Verdict::Held).iter().any(|held| held == "I8"),
        "{}",
        report.render()
    );
    stage.close().await;
}
