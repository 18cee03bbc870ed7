//! Each kind of damage breaks its invariant.

use super::scene::{SECOND, attempt, fold, sound};
use super::{judge, with};
use crate::audit::attempts::Answered;
use crate::audit::evidence::{Evidence, Kind, Partition};
use crate::audit::finding::Verdict;
use crate::figures::Figures;
use crate::{OrderId, audit::Report};

/// Region 1.
fn region(evidence: &mut Evidence) -> &mut Partition {
    &mut evidence.partitions[1]
}

/// Judges sound evidence after a change, with figures that fit the logs.
fn judged(change: impl FnOnce(&mut Evidence)) -> Report {
    let mut evidence = sound();
    change(&mut evidence);
    let figures = fold(&evidence);
    evidence.figures.before = Some(figures.clone());
    evidence.figures.after = Some(figures);
    judge(evidence)
}

/// Expects that exactly these invariants are broken, and returns the report.
#[track_caller]
fn broken(invariants: &[&str], change: impl FnOnce(&mut Evidence)) -> String {
    let report = judged(change);
    let text = report.render();
    assert_eq!(with(&report, Verdict::Broken), invariants, "{text}");
    assert_eq!(report.verdict, Verdict::Broken, "{text}");
    text
}

/// Expects that nothing is broken, and these invariants are not proved.
#[track_caller]
fn not_proved(invariants: &[&str], change: impl FnOnce(&mut Evidence)) {
    let report = judged(change);
    let text = report.render();
    assert_eq!(with(&report, Verdict::Broken), [""; 0], "{text}");
    assert_eq!(with(&report, Verdict::NotProved), invariants, "{text}");
    assert_eq!(report.verdict, Verdict::NotProved, "{text}");
}

/// Removes the record at an offset of region 1, and its outcome.
fn cut(evidence: &mut Evidence, from: usize) {
    let partition = region(evidence);
    partition.orders.records.truncate(from);
    partition.shipments.outcomes.truncate(from);
    partition.orders.offsets.end = from as i64;
}

#[test]
fn a_sound_mall_holds() {
    let report = judge(sound());
    assert_eq!(with(&report, Verdict::Held).len(), 12, "{}", report.render());
    assert_eq!(report.verdict, Verdict::Held);
    assert!(report.render().contains("✅ Held: all of it is true."));
}

#[test]
fn i1_finds_a_receipt_that_is_wrong_and_an_order_that_is_lost() {
    let text = broken(&["I1"], |evidence| cut(evidence, 120));
    assert!(
        text.contains("order[1] offset 120, order") && text.contains("not in the log"),
        "{text}"
    );
    broken(&["I1"], |evidence| {
        attempt(evidence, 9, Answered::Acknowledged).expect("one").offset -= 1
    });
    broken(&["I1", "I3"], |evidence| region(evidence).orders.records[3].money += 1);
}

#[test]
fn i2_finds_an_order_that_was_refused() {
    broken(&["I2"], |evidence| {
        attempt(evidence, 9, Answered::Acknowledged).expect("one").answer = Answered::Refused;
    });
}

#[test]
fn i3_finds_what_was_not_ordered() {
    let text = broken(&["I1", "I3"], |evidence| {
        let records = &mut region(evidence).orders.records;
        records[5].user = 7_900_000_000;
    });
    assert!(text.contains("not ordered: user 7900000000"), "{text}");
    broken(&["I3"], |evidence| {
        let ledger = evidence.ledger.as_mut().expect("a ledger");
        let lost = ledger
            .attempts
            .iter_mut()
            .find(|attempt| attempt.answer == Answered::Unknown && attempt.order_id.is_some());
        lost.expect("one").order_id = Some(OrderId::new(SECOND, 1, 1));
    });
}

#[test]
fn i4_finds_what_is_shipped_twice_or_not_at_all() {
    let text = broken(&["I4"], |evidence| {
        region(evidence).shipments.outcomes.remove(2);
    });
    assert!(
        text.contains("order[1] offset 2, order") && text.contains("found none"),
        "{text}"
    );
    for kind in [Kind::Duplicate, Kind::Rejected, Kind::Unreadable] {
        broken(&["I4"], |evidence| region(evidence).shipments.outcomes[2].kind = kind);
    }
    let text = broken(&["I4"], |evidence| {
        let outcomes = &mut region(evidence).shipments.outcomes;
        let duplicate = outcomes.iter_mut().find(|outcome| outcome.kind == Kind::Duplicate);
        duplicate.expect("one").kind = Kind::Shipped;
    });
    assert!(
        text.contains("shipped a second time") && text.contains("shipped 2 times"),
        "{text}"
    );
    broken(&["I4"], |evidence| {
        region(evidence).shipments.originals[0].1 = OrderId::new(SECOND, 0, 1)
    });
    broken(&["I4"], |evidence| {
        region(evidence).shipments.outcomes[4].mark = region(evidence).shipments.outcomes[2].mark
    });
}

#[test]
fn i4_lets_a_late_order_be_rejected_unless_it_was_acknowledged() {
    let late = |evidence: &mut Evidence| {
        let partition = region(evidence);
        let id = partition.orders.records[8]
            .id
            .map(|id| OrderId::new(id.unix_millis() - 400_000, 1, 0));
        (partition.orders.records[8].id, partition.orders.records[8].user) = (id, 5);
        (
            partition.shipments.outcomes[8].order_id,
            partition.shipments.outcomes[8].kind,
        ) = (id, Kind::Rejected);
        id
    };
    let forget = |evidence: &mut Evidence| {
        let ledger = evidence.ledger.as_mut().expect("a ledger");
        ledger
            .attempts
            .retain(|attempt| attempt.partition != 1 || attempt.offset != 8);
    };
    let report = judged(|evidence| {
        late(evidence);
        forget(evidence);
    });
    assert_eq!(report.verdict, Verdict::Held, "{}", report.render());
    broken(&["I4"], |evidence| {
        let user = region(evidence).orders.records[8].user;
        let id = late(evidence);
        region(evidence).orders.records[8].user = user;
        let ledger = evidence.ledger.as_mut().expect("a ledger");
        let receipt = ledger
            .attempts
            .iter_mut()
            .find(|attempt| attempt.partition == 1 && attempt.offset == 8);
        receipt.expect("one").order_id = id;
    });
}

#[test]
fn i5_finds_outcomes_and_orders_that_overtake() {
    broken(&["I5"], |evidence| region(evidence).shipments.outcomes.swap(2, 3));
    let text = broken(&["I5"], |evidence| {
        let partition = region(evidence);
        partition.orders.records.swap(2, 3);
        for outcome in &mut partition.shipments.outcomes[2..4] {
            outcome.order_id = partition.orders.records[outcome.order_offset as usize].id;
        }
        partition.shipments.outcomes[2].mark = 77;
        partition.shipments.outcomes[3].mark = 78;
        let ledger = evidence.ledger.as_mut().expect("a ledger");
        for attempt in ledger.attempts.iter_mut().filter(|attempt| attempt.partition == 1) {
            attempt.offset = match attempt.offset {
                2 => 3,
                3 => 2,
                offset => offset,
            };
        }
    });
    assert!(
        text.contains("which was acknowledged before this order was sent"),
        "{text}"
    );
}

#[test]
fn i6_finds_orders_of_another_region() {
    broken(&["I6"], |evidence| evidence.spare.push((3, 0..1)));
    broken(&["I1", "I6"], |evidence| {
        attempt(evidence, 9, Answered::Acknowledged).expect("one").receipt = 2
    });
    broken(&["I6"], |evidence| {
        let id = OrderId::new(SECOND * 1_790_000, 2, 4095);
        let partition = region(evidence);
        (partition.orders.records[3].id, partition.shipments.outcomes[3].order_id) = (Some(id), Some(id));
        let ledger = evidence.ledger.as_mut().expect("a ledger");
        let receipt = ledger
            .attempts
            .iter_mut()
            .find(|attempt| attempt.partition == 1 && attempt.offset == 3);
        receipt.expect("one").order_id = Some(id);
    });
}

#[test]
fn i7_finds_a_gap() {
    let text = broken(&["I1", "I4", "I7"], |evidence| {
        let orders = &mut region(evidence).orders;
        orders.records[3] = Default::default();
        orders.gaps.push(3..4);
    });
    assert!(
        text.contains("order[1] offset 3: expected a record, found none before offset 4"),
        "{text}"
    );
}

#[test]
fn i8_finds_figures_that_are_not_those_of_the_log() {
    let damages: [fn(&mut Figures); 4] = [
        |figures| figures.regions[1].orders += 1,
        |figures| figures.total.money -= 1,
        |figures| figures.offsets.order[2] -= 1,
        |figures| figures.offsets.shipment[2] += 5,
    ];
    for damage in damages {
        let mut evidence = sound();
        damage(evidence.figures.before.as_mut().expect("figures"));
        let report = judge(evidence);
        assert_eq!(with(&report, Verdict::Broken), ["I8"], "{}", report.render());
    }
    let mut evidence = sound();
    evidence.figures.after.as_mut().expect("figures").offsets.order[0] -= 1;
    assert_eq!(with(&judge(evidence), Verdict::Broken), ["I8"]);
}

#[test]
fn i9_finds_a_position_that_the_log_does_not_bear_out() {
    broken(&["I4", "I9"], |evidence| {
        let last = region(evidence).shipments.outcomes.last_mut().expect("outcomes");
        last.order_id = Some(OrderId::new(SECOND, 1, 1));
    });
}

#[test]
fn what_an_operator_has_skipped_is_not_proved() {
    let skip = |evidence: &mut Evidence| {
        let partition = region(evidence);
        partition.shipments.outcomes.drain(2..5);
        let skipped = &mut partition.shipments.outcomes[2];
        (skipped.kind, skipped.order_id) = (Kind::Skipped, None);
    };
    not_proved(&["I4", "I9"], skip);
    // The next outcome is that of the next record.
    broken(&["I4", "I9"], |evidence| {
        skip(evidence);
        region(evidence).shipments.outcomes.remove(3);
    });
}

#[test]
fn i10_finds_what_comes_late() {
    broken(&["I10"], |evidence| region(evidence).shipments.outcomes.truncate(124));
    broken(&["I10"], |evidence| region(evidence).shipments.outcomes[5].after = 700);
    // The outage delays what comes just before it.
    let report = judged(|evidence| region(evidence).shipments.outcomes[55].after = 300);
    assert_eq!(report.verdict, Verdict::Held);
    not_proved(&["I10"], |evidence| {
        attempt(evidence, 180, Answered::Unknown).expect("one").answer = Answered::Not;
    });
}

#[test]
fn i11_finds_an_acknowledgement_without_a_broker() {
    let outage = |evidence: &mut Evidence, move_by: u64| {
        let ledger = evidence.ledger.as_mut().expect("a ledger");
        ledger.faults[0].begun -= move_by;
        ledger.faults[0].seen = ledger.faults[0].seen.map(|seen| seen - move_by);
    };
    broken(&["I11"], |evidence| outage(evidence, 3 * SECOND));
    // Without an outage that is long enough there is no occasion.
    let report =
        judged(|evidence| evidence.ledger.as_mut().expect("a ledger").faults[0].name = "pause-kafka".to_owned());
    assert_eq!(with(&report, Verdict::NoOccasion), ["I11"], "{}", report.render());
    assert_eq!(report.verdict, Verdict::Held);
}

#[test]
fn i12_finds_refusals_and_silence_that_no_fault_explains() {
    let text = broken(&["I12"], |evidence| {
        let ledger = evidence.ledger.as_mut().expect("a ledger");
        (ledger.faults[0].name, ledger.faults[0].subjects) = ("kill-order".to_owned(), vec!["order-1".to_owned()]);
    });
    assert!(text.contains("order[0]: no acknowledgement for 12.0"), "{text}");
    assert!(text.contains("order[0]: unknown at 15.0 s"), "{text}");
    // A region may refuse two orders for each fault.
    let refuse = |evidence: &mut Evidence, count| {
        for offset in 0..count {
            let partition = region(evidence);
            let lost = partition.orders.records.remove(0);
            partition.shipments.outcomes.remove(0);
            let ledger = evidence.ledger.as_mut().expect("a ledger");
            let receipt = ledger
                .attempts
                .iter_mut()
                .find(|attempt| attempt.order_id == lost.id)
                .expect("its receipt");
            (receipt.answer, receipt.order_id) = (Answered::Refused, None);
            assert_eq!(receipt.offset, offset);
        }
        renumber(evidence, count);
    };
    assert_eq!(judged(|evidence| refuse(evidence, 2)).verdict, Verdict::Held);
    let text = broken(&["I12"], |evidence| refuse(evidence, 3));
    assert!(
        text.contains("3 orders were refused where no fault touched the region"),
        "{text}"
    );
}

/// Moves everything of region 1 to smaller offsets.
fn renumber(evidence: &mut Evidence, by: i64) {
    let partition = region(evidence);
    partition.orders.offsets.end -= by;
    partition
        .shipments
        .outcomes
        .iter_mut()
        .for_each(|outcome| outcome.order_offset -= by);
    partition
        .shipments
        .originals
        .iter_mut()
        .for_each(|(index, _)| *index -= by as u32);
    let attempts = &mut evidence.ledger.as_mut().expect("a ledger").attempts;
    let own = attempts.iter_mut().filter(|attempt| attempt.partition == 1);
    own.for_each(|attempt| attempt.offset -= by);
}

#[test]
fn a_load_that_stands_still_or_a_fault_without_effect_proves_nothing() {
    not_proved(&["I10", "I12"], |evidence| {
        evidence.ledger.as_mut().expect("a ledger").beats.drain(10..20);
    });
    not_proved(&["I12"], |evidence| {
        let beats = &mut evidence.ledger.as_mut().expect("a ledger").beats;
        beats.iter_mut().for_each(|beat| beat.sent /= 2);
    });
    not_proved(&[], |evidence| {
        evidence.ledger.as_mut().expect("a ledger").faults[0].seen = None
    });
}

#[test]
fn what_was_not_checked_is_not_held() {
    not_proved(&["I1", "I2", "I3", "I11", "I12"], |evidence| evidence.ledger = None);
    not_proved(&["I4"], |evidence| {
        // An order of before there were marks.
        region(evidence)
            .shipments
            .outcomes
            .iter_mut()
            .for_each(|outcome| outcome.mark = 0);
    });
    not_proved(&["I1", "I2", "I3", "I4", "I8"], |evidence| {
        let orders = &mut region(evidence).orders;
        orders.records.drain(..2);
        orders.offsets.start = 2;
    });
    let report = judge(Evidence::default());
    assert_eq!(report.verdict, Verdict::NotProved);
    assert_eq!(with(&report, Verdict::Held), [""; 0]);
}
