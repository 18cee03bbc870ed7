//! A ledger, and a log.

use domain::Money;

use super::*;
use crate::audit::findings::Verdict;
use crate::ledger::{Ledger, Phase, Run};

pub(super) const SECOND: u64 = 1_000_000;
/// When the run begins; ids of that time are as large as those of [`id`].
pub(super) const BEGUN: u64 = 1_790_000_000 * SECOND;

pub(super) fn id(number: u64) -> OrderId {
    let tick = BEGUN / 1000 - 1_288_834_974_657 + number;
    ((tick << 22) | (1 << 12)).to_string().parse().expect("an id")
}

/// A ledger of orders for partition 1.
pub(super) struct Scene {
    pub(super) run: Run,
    pub(super) lines: Vec<Line>,
    pub(super) log: Vec<(i64, Ordered)>,
    pub(super) left: Left,
    pub(super) at: u64,
}

impl Scene {
    pub(super) fn new() -> Self {
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
    pub(super) fn three() -> Self {
        let mut scene = Self::new();
        for number in 0..3 {
            scene.attempt(number);
            scene.acknowledge(number, number as i64);
            scene.write(number, number as i64);
        }
        scene
    }

    pub(super) fn pass(&mut self, microseconds: u64) -> u64 {
        self.at += microseconds;
        self.at
    }

    pub(super) fn attempt(&mut self, order: u64) {
        let at = self.pass(1000);
        self.lines.push(Line::Attempt {
            at,
            order,
            partition: 1,
            money: Money::try_from(5).expect("money"),
        });
    }

    pub(super) fn answer(&mut self, order: u64, answer: Answer) {
        let at = self.pass(1000);
        self.lines.push(Line::Answer { at, order, answer });
    }

    pub(super) fn acknowledge(&mut self, order: u64, offset: i64) {
        self.answer(order, receipt(order, offset, false));
    }

    pub(super) fn fault(&mut self, name: &str, subject: &str, phase: Phase) {
        let at = self.pass(1000);
        self.lines.push(Line::Fault {
            at,
            name: name.to_owned(),
            subjects: vec![subject.to_owned()],
            phase,
        });
    }

    pub(super) fn write(&mut self, order: u64, offset: i64) {
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

    pub(super) fn check(&self) -> (Vec<String>, Vec<String>, Orderings) {
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

    pub(super) fn offences(&self) -> Vec<String> {
        self.check().0
    }

    /// Expects one offence, whose text contains all of these.
    pub(super) fn only(&self, texts: &[&str]) {
        let found = self.offences();
        assert_eq!(found.len(), 1, "{found:#?}");
        for text in texts {
            assert!(found[0].contains(text), "{text:?} is not in {found:#?}");
        }
    }
}

pub(super) fn receipt(order: u64, offset: i64, replayed: bool) -> Answer {
    Answer::Acknowledged {
        order_id: id(order),
        partition: 1,
        offset,
        replayed,
    }
}

pub(super) const REFUSED: Answer = Answer::Refused { status: Some(503) };
pub(super) const UNKNOWN: Answer = Answer::Unknown {
    status: Some(504),
    order_id: None,
};
