//! `mall load`: what it says and what its ledger says is what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use lab::ledger::{self, Answer, Line, Run};
use serde_json::Value;

use crate::support::{Broker, Child, NOWHERE, Stage, eventually, read};

/// The longest that a load may take beyond its time: an answer has 10 s.
const LIMIT: Duration = Duration::from_secs(30);

/// Starts `mall load`, with a ledger.
fn load(gateway: &str, ledger: &Path, more: &[&str]) -> Child {
    let gateway = format!("http://{gateway}");
    let ledger = ledger.to_str().expect("UTF-8");
    let arguments = ["load", "--gateway", &gateway, "--ledger", ledger];
    Child::start(&[&arguments, more].concat(), &[])
}

/// The user ids of the orders of a ledger, and of those that were acknowledged where they are.
#[derive(Default)]
struct Said {
    attempted: BTreeSet<String>,
    acknowledged: BTreeMap<String, (u16, i64)>,
    refused: usize,
}

fn said(path: &Path) -> Said {
    let (mut said, mut run) = (Said::default(), None::<Run>);
    ledger::read(path, |line| {
        let user_id = |order: u64| run.expect("a run comes first").user_id(order).to_string();
        match line {
            Line::Run { run: found, .. } => run = Some(found),
            Line::Attempt { order, .. } => drop(said.attempted.insert(user_id(order))),
            Line::Answer { order, answer, .. } => match answer {
                Answer::Acknowledged { partition, offset, .. } => {
                    said.acknowledged.insert(user_id(order), (partition, offset));
                }
                Answer::Refused { .. } => said.refused += 1,
                Answer::Unknown { .. } => {}
            },
            Line::Beat { .. } => {}
            Line::Fault { .. } => panic!("nothing was done to this mall"),
        }
        Ok(())
    })
    .expect("a ledger");
    said
}

/// The user ids in the log, and where they are.
async fn logged(stage: &Stage) -> BTreeMap<String, (u16, i64)> {
    let mut found = BTreeMap::new();
    for partition in 0..3 {
        for entry in read(&stage.kafka, "order", partition).await {
            let order: Value = serde_json::from_slice(&entry.value).expect("JSON");
            let user_id = order["user_id"].as_str().expect("a user").to_owned();
            found.insert(user_id, (partition, entry.offset));
        }
    }
    found
}

#[tokio::test]
async fn what_a_load_counts_stands_in_its_ledger_and_in_the_log() {
    let stage = Stage::open(Broker::Mock).await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ledger");
    let more = ["--rate", "300", "--seconds", "1", "--json", "--keys"];
    let mut load = load(&stage.gateway().to_string(), &path, &more);
    assert!(load.ended(LIMIT).await.success());
    eventually("it has printed everything", async || load.printed().ends_with("}\n")).await;
    let summary: Value = serde_json::from_str(&load.printed()).expect("JSON");
    let (total, said) = (&summary["total"], said(&path));
    assert_eq!(total["sent"], 300, "none that was due is left out");
    assert_eq!((said.attempted.len(), said.acknowledged.len()), (300, 300));
    assert_eq!(
        (&total["acknowledged"], &total["unknown"]),
        (&Value::from(300), &Value::from(0))
    );
    assert_eq!(logged(&stage).await, said.acknowledged);
    let regions: Vec<_> = summary["regions"]
        .as_array()
        .expect("regions")
        .iter()
        .map(|region| &region["sent"])
        .collect();
    assert_eq!(regions, [100, 100, 100]);
    stage.close().await;
}

#[tokio::test]
async fn killing_a_load_loses_no_line_of_what_it_has_sent() {
    let stage = Stage::open(Broker::Mock).await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ledger");
    let mut load = load(&stage.gateway().to_string(), &path, &["--rate", "2000"]);
    eventually("there are orders", async || stage.orders().await > 100).await;
    load.signal("KILL");
    load.ended(LIMIT).await;
    // Those that are under way are written or not before the gateway is closed.
    let said = said(&path);
    let mut stage = stage;
    stage.restart(mall::Instance::Gateway).await;
    let logged = logged(&stage).await;
    for user_id in logged.keys() {
        assert!(
            said.attempted.contains(user_id),
            "{user_id} is in the log, and in no line"
        );
    }
    for (user_id, position) in &said.acknowledged {
        assert_eq!(logged.get(user_id), Some(position), "{user_id}");
    }
    stage.close().await;
}

#[tokio::test]
async fn an_interrupted_load_waits_for_its_answers_and_says_what_it_has_done() {
    let stage = Stage::open(Broker::Mock).await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ledger");
    let mut load = load(
        &stage.gateway().to_string(),
        &path,
        &["--rate", "100", "--partition", "1"],
    );
    eventually("there are orders", async || stage.orders().await > 10).await;
    load.signal("INT");
    assert!(load.ended(LIMIT).await.success(), "{}", load.printed());
    let said = said(&path);
    assert_eq!(said.attempted.len(), said.acknowledged.len(), "each has its answer");
    assert!(said.acknowledged.values().all(|(partition, _)| *partition == 1));
    eventually("it has printed a table", async || load.printed().contains(" total ")).await;
    stage.close().await;
}

#[tokio::test]
async fn a_load_on_nothing_fails_and_says_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ledger");
    let mut load = load(NOWHERE, &path, &["--rate", "20", "--seconds", "1"]);
    assert_eq!(load.ended(LIMIT).await.code(), Some(1));
    let said = said(&path);
    assert_eq!((said.attempted.len(), said.refused), (20, 20));
    let expected = "none of 20 orders was taken: is a mall open at http://127.0.0.1:1?";
    eventually("it has said why", async || load.printed().contains(expected)).await;
}
