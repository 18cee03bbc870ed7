//! A ledger and a log that agree, and the same with one thing wrong.

use std::io::Write as _;

use domain::Money;

use super::*;
use crate::audit::findings::Verdict;
use crate::ledger::{Ledger, Phase, Run};

const SECOND: u64 = 1_000_000;
/// When the run begins; ids of that time are as large as those of [`id`].
const BEGUN: u64 = 1_790_000_000 * SECOND;

fn id(number: u64) -> OrderId {
    let tick = BEGUN / 1000 - 1_288_834_974_657 + number;
    ((tick << 22) | (1 << 12)).to_string().parse().expect("an id")
}

/// A ledger of orders for partition 1.
struct Scene {
    run: Run,
    lines: Vec<Line>,
    log: Vec<(i64, Ordered)>,
    left: Left,
    at: u64,
}

impl Scene {
    fn new() -> Self {
        let run = Run::draw();
        let begin = Line::Run {
            at: BEGUN,
            run,
            gateway: "http://gateway".to_owned(),
        };
        Self {
            run,
            lines: vec![begin],
            log: Vec::new(),
            left: Left { low: 0, first_id: None },
            at: BEGUN,
        }
    }

    /// Three orders that were acknowledged, one after the other.
    fn three() -> Self {
        let mut scene = Self::new();
        for number in 0..3 {
            scene.attempt(number);
            scene.acknowledge(number, number as i64);
            scene.write(number, number as i64);
        }
        scene
    }

    fn pass(&mut self, microseconds: u64) -> u64 {
        self.at += microseconds;
        self.at
    }

    fn attempt(&mut self, order: u64) {
        let at = self.pass(1000);
        self.lines.push(Line::Attempt {
            at,
            order,
            partition: 1,
            money: Money::try_from(5).expect("money"),
        });
    }

    fn answer(&mut self, order: u64, answer: Answer) {
        let at = self.pass(1000);
        self.lines.push(Line::Answer { at, order, answer });
    }

    fn acknowledge(&mut self, order: u64, offset: i64) {
        self.answer(order, receipt(order, offset, false));
    }

    fn fault(&mut self, name: &str, subject: &str, phase: Phase) {
        let at = self.pass(1000);
        self.lines.push(Line::Fault {
            at,
            name: name.to_owned(),
            subjects: vec![subject.to_owned()],
            phase,
        });
    }

    fn write(&mut self, order: u64, offset: i64) {
        let user = self.run.user_id(order);
        self.log.push((
            offset,
            Ordered {
                id: id(order),
                money: 5,
                user,
            },
        ));
    }

    fn check(&self) -> (Vec<String>, Vec<String>, Orderings) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ledger");
        let mut ledger = Ledger::open(&path).expect("a ledger");
        self.lines.iter().for_each(|line| ledger.write(line).expect("written"));
        let (mut promises, mut findings) = (Promises::default(), Findings::default());
        promises.read(&path, &CancellationToken::new()).expect("a ledger");
        for (offset, order) in &self.log {
            promises.check_record(1, *offset, order, &mut findings);
        }
        let whole = Left { low: 0, first_id: None };
        let orderings = promises.conclude(&[whole, self.left], &mut findings);
        let (mut offences, mut not_checked) = (Vec::new(), Vec::new());
        for finding in findings.into_list() {
            let offenders = finding.offenders.iter();
            offences.extend(offenders.map(|offender| format!("{} {offender}", finding.invariant)));
            if finding.verdict == Verdict::NotChecked {
                not_checked.push(finding.invariant.to_string());
            }
        }
        (offences, not_checked, orderings)
    }

    fn offences(&self) -> Vec<String> {
        self.check().0
    }

    /// Expects one offence, whose text contains all of these.
    fn only(&self, texts: &[&str]) {
        let found = self.offences();
        assert_eq!(found.len(), 1, "{found:#?}");
        for text in texts {
            assert!(found[0].contains(text), "{text:?} is not in {found:#?}");
        }
    }
}

fn receipt(order: u64, offset: i64, replayed: bool) -> Answer {
    Answer::Acknowledged {
        order_id: id(order),
        partition: 1,
        offset,
        replayed,
    }
}

const REFUSED: Answer = Answer::Refused { status: Some(503) };
const UNKNOWN: Answer = Answer::Unknown {
    status: Some(504),
    order_id: None,
};

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
