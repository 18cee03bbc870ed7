//! A ledger and a log that agree, and the same with one thing wrong.

mod scene;

use std::io::Write as _;

use self::scene::{BEGUN, REFUSED, SECOND, Scene, UNKNOWN, id, receipt};
use super::*;
use crate::ledger::Phase;

#[test]
fn what_was_promised_and_is_so_is_no_offence() {
    let mut scene = Scene::three();
    // Refused and not there; unknown and there, or not; tried again until it was known; without an answer.
    scene.attempt(3);
    scene.answer(3, REFUSED);
    scene.attempt(4);
    scene.answer(4, UNKNOWN);
    scene.write(4, 3);
    scene.attempt(5);
    scene.answer(5, UNKNOWN);
    scene.attempt(6);
    scene.answer(6, UNKNOWN);
    scene.attempt(6);
    scene.answer(6, REFUSED);
    scene.attempt(6);
    scene.answer(6, receipt(6, 4, true));
    scene.write(6, 4);
    scene.attempt(7);
    let (offences, not_checked, orderings) = scene.check();
    assert_eq!((offences, not_checked), (vec![], vec![]));
    let expected = Orderings {
        orders: 8,
        acknowledged: 4,
        refused: 1,
        unknown: 3,
        unanswered: 1,
        found: 5,
        others: 0,
    };
    assert_eq!(orderings, expected);
}

#[test]
fn an_acknowledged_order_is_where_its_receipt_says() {
    let mut lost = Scene::three();
    lost.log.remove(1);
    lost.only(&["I1 order[1] offset 1, order", "acknowledged, and not in the log"]);
    let mut moved = Scene::three();
    moved.log[2].0 = 3;
    moved.only(&["I1 order[1] offset 2, order", "found at offset 3"]);
    let mut renamed = Scene::three();
    renamed.log[2].1.id = id(9);
    renamed.only(&["I1 order[1] offset 2, order", "acknowledged as order"]);
}

#[test]
fn what_was_only_refused_is_not_in_the_log() {
    let mut scene = Scene::three();
    scene.attempt(3);
    scene.answer(3, REFUSED);
    scene.write(3, 3);
    scene.only(&["I2 order[1] offset 3, order", "refused as not written"]);
}

#[test]
fn what_is_in_the_log_was_ordered_so() {
    let mut invented = Scene::three();
    invented.write(3, 3);
    invented.only(&["I3 order[1] offset 3, order", "nobody has ordered it"]);
    let mut changed = Scene::three();
    changed.log[1].1.money = 6;
    changed.only(&[
        "I3 order[1] offset 1, order",
        "expected money 5 as was ordered, found 6",
    ]);
    let mut twice = Scene::three();
    twice.write(1, 3);
    twice.only(&["I3 order[1] offset 3, order", "its record number 2, though at most 1"]);
    let mut two_ids = Scene::three();
    two_ids.write(1, 3);
    two_ids.log[3].1.id = id(9);
    two_ids.only(&["I3 order[1] offset 3, order", "ordered once"]);
    // A second record is what an unknown attempt may leave behind.
    let mut repeated = Scene::new();
    repeated.attempt(0);
    repeated.answer(0, UNKNOWN);
    repeated.attempt(0);
    repeated.acknowledge(0, 1);
    repeated.write(0, 0);
    repeated.write(0, 1);
    assert_eq!(repeated.offences(), [""; 0]);
}

#[test]
fn records_of_others_are_counted() {
    let mut scene = Scene::three();
    let stranger = Ordered {
        user: 7,
        ..scene.log[0].1
    };
    scene.log.push((3, stranger));
    let (offences, _, orderings) = scene.check();
    assert_eq!((offences, orderings.others), (vec![], 1));
}

#[test]
fn what_is_ordered_later_comes_later() {
    let mut scene = Scene::new();
    for (order, offset) in [(0, 1), (1, 0)] {
        scene.attempt(order);
        scene.acknowledge(order, offset);
        scene.write(order, offset);
    }
    scene.only(&["I5 order[1] offset 0, order", "expected after offset 1"]);
    // At the same time either may be first.
    let mut scene = Scene::new();
    scene.attempt(0);
    scene.attempt(1);
    scene.acknowledge(0, 1);
    scene.acknowledge(1, 0);
    scene.write(1, 0);
    scene.write(0, 1);
    assert_eq!(scene.offences(), [""; 0]);
}

#[test]
fn an_order_is_where_it_was_sent() {
    let mut scene = Scene::new();
    scene.attempt(0);
    scene.answer(0, UNKNOWN);
    scene.write(0, 0);
    let Line::Attempt { partition, .. } = &mut scene.lines[1] else {
        panic!("an attempt");
    };
    *partition = 0;
    scene.only(&["I6 order[1] offset 0, order", "expected in partition 0"]);
}

#[test]
fn an_answer_takes_eight_seconds_at_most_unless_the_gateway_was_hit() {
    for (hit, expected) in [(None, 1), (Some("order-1"), 1), (Some("gateway"), 0)] {
        let mut scene = Scene::new();
        scene.attempt(0);
        if let Some(subject) = hit {
            scene.fault("pause-it", subject, Phase::Begun);
        }
        scene.pass(9 * SECOND);
        scene.answer(0, UNKNOWN);
        let offences = scene.offences();
        assert_eq!(offences.len(), expected, "{hit:?}: {offences:?}");
        assert!(
            offences
                .iter()
                .all(|offence| offence.contains("expected an answer within 8 s, found one after 9.0 s"))
        );
    }
}

#[test]
fn without_a_broker_nothing_is_acknowledged() {
    let outage = |name: &str, subject: &str, after: u64, answer: Answer| {
        let mut scene = Scene::new();
        scene.fault(name, subject, Phase::Begun);
        scene.pass(after);
        scene.attempt(0);
        scene.answer(0, answer);
        scene.fault(name, subject, Phase::Healed);
        scene.write(0, 0);
        scene
    };
    let fresh = receipt(0, 0, false);
    outage("kill-kafka", "kafka", 2 * SECOND, fresh.clone()).only(&["I11 order[1] offset 0, order", "(kill-kafka)"]);
    for (name, subject, after, answer) in [
        ("kill-kafka", "kafka", SECOND / 2, fresh.clone()),
        ("pause-kafka", "kafka", 2 * SECOND, fresh.clone()),
        ("kill-order", "order-1", 2 * SECOND, fresh),
        // Remembered, and not written now.
        ("stop-kafka", "kafka", 2 * SECOND, receipt(0, 0, true)),
    ] {
        let scene = outage(name, subject, after, answer);
        assert_eq!(scene.offences(), [""; 0], "{name} {subject}");
    }
}

#[test]
fn two_orders_cannot_have_one_offset() {
    let mut scene = Scene::three();
    scene.attempt(3);
    scene.acknowledge(3, 2);
    let offences = scene.offences();
    assert_eq!(offences.len(), 2, "{offences:?}");
    assert!(offences[0].starts_with("I1 order[1] offset 2"), "{offences:?}");
    assert!(offences[1].starts_with("I11 order[1] offset 2"), "{offences:?}");
}

#[test]
fn what_retention_may_have_removed_is_not_checked() {
    let mut scene = Scene::three();
    scene.attempt(3);
    scene.answer(3, REFUSED);
    scene.log.remove(0);
    scene.left = Left {
        low: 1,
        first_id: Some(id(10_000)),
    };
    let (offences, not_checked, _) = scene.check();
    assert_eq!(offences, [""; 0]);
    assert_eq!(not_checked, ["I1", "I2", "I3"]);
    // An order from before the run is left: nothing of the run was removed.
    let mut scene = Scene::three();
    scene.log.iter_mut().for_each(|(offset, _)| *offset += 7);
    scene.left = Left {
        low: 7,
        first_id: Some(OrderId::smallest_at(domain::Timestamp::from_unix_millis(
            BEGUN / 1000 - 1,
        ))),
    };
    for line in &mut scene.lines {
        if let Line::Answer {
            answer: Answer::Acknowledged { offset, .. },
            ..
        } = line
        {
            *offset += 7;
        }
    }
    let (offences, not_checked, _) = scene.check();
    assert_eq!((offences, not_checked), (vec![], vec![]));
}

#[test]
fn a_ledger_begins_with_a_run() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ledger");
    let mut file = std::fs::File::create(&path).expect("a file");
    writeln!(file, r#"{{"line":"attempt","at":1,"order":0,"partition":1,"money":5}}"#).expect("written");
    let error = Promises::default()
        .read(&path, &CancellationToken::new())
        .expect_err("no run");
    assert!(
        format!("{error:#}").contains("expected the line of a run first"),
        "{error:#}"
    );
}
