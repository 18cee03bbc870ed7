//! One change anywhere in sound evidence is found out. `MALL_TEST_DAMAGES` says how many are tried.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::judge;
use super::scene::sound;
use crate::audit::attempts::{Answered, Attempt, Ledger};
use crate::audit::evidence::{Evidence, Kind, Outcome, Partition, Record};
use crate::audit::finding::Verdict;
use crate::figures::Figures;
use crate::{OrderId, ledger};

const DAMAGES: u64 = 1000;

#[test]
fn one_change_anywhere_is_found_out() {
    let damages = std::env::var("MALL_TEST_DAMAGES")
        .ok()
        .and_then(|count| count.parse().ok());
    let sound = sound();
    for seed in 0..damages.unwrap_or(DAMAGES) {
        let mut evidence = sound.clone();
        let what = damage(&mut evidence, &mut StdRng::seed_from_u64(seed));
        let report = judge(evidence);
        assert_ne!(
            report.verdict,
            Verdict::Held,
            "seed {seed}, {what}:\n{}",
            report.render()
        );
    }
}

fn damage(evidence: &mut Evidence, random: &mut StdRng) -> String {
    match random.random_range(0..8) {
        0..2 => damage_attempt(evidence.ledger.as_mut().expect("a ledger"), random),
        2..4 => damage_record(&mut evidence.partitions, random),
        4..6 => damage_outcome(&mut evidence.partitions[random.random_range(0..3)], random),
        6 => damage_ledger(evidence.ledger.as_mut().expect("a ledger"), random),
        _ => {
            let figures = &mut evidence.figures;
            let figures = if random.random() {
                &mut figures.before
            } else {
                &mut figures.after
            };
            damage_figures(figures.as_mut().expect("figures"), random)
        }
    }
}

fn other_id(random: &mut StdRng, id: Option<OrderId>) -> Option<OrderId> {
    id.map(|id| OrderId::new(id.unix_millis() + random.random_range(1..1000), id.ordinal(), 4095))
}

/// Changes an attempt that has left a trace: of the others the logs say nothing.
fn damage_attempt(ledger: &mut Ledger, random: &mut StdRng) -> String {
    let has_trace = |attempt: &Attempt| attempt.is_acknowledged() || attempt.order_id.is_some();
    let traced: Vec<usize> = (0..ledger.attempts.len())
        .filter(|index| has_trace(&ledger.attempts[*index]))
        .collect();
    let index = traced[random.random_range(0..traced.len())];
    let of = |attempt: &Attempt| attempt.order;
    // Of several attempts at an order another one can have left the trace.
    let is_single = ledger
        .attempts
        .iter()
        .filter(|attempt| of(attempt) == of(&ledger.attempts[index]))
        .count()
        == 1;
    let attempt = &mut ledger.attempts[index];
    let kind = random.random_range(0..9);
    match kind {
        0 => attempt.order_id = other_id(random, attempt.order_id),
        1 => attempt.asked ^= 1 << random.random_range(0..32),
        2 if is_single => attempt.answer = Answered::Refused,
        3 => {
            let (answer, order_id) = (attempt.answer, attempt.order_id);
            let late = attempt.at + random.random_range(9..60) * 1_000_000;
            attempt.answer(late, &ledger::Answer::Unknown { status: None, order_id });
            attempt.answer = answer;
        }
        4 if is_single => {
            ledger.attempts.remove(index);
        }
        5 => attempt.order += 100_000,
        6 => attempt.partition = (attempt.partition + 1) % 3,
        _ if attempt.answer == Answered::Unknown => attempt.answer = Answered::Refused,
        7 => attempt.offset += random.random_range(1..500) * if random.random() { 1 } else { -1 },
        _ => attempt.receipt = (attempt.receipt + 1) % 3,
    }
    format!("attempt {index}, change {kind}")
}

fn damage_record(partitions: &mut [Partition], random: &mut StdRng) -> String {
    let number = random.random_range(0..partitions.len());
    let orders = &mut partitions[number].orders;
    let index = random.random_range(0..orders.records.len());
    let other = orders.records[(index + 1) % orders.records.len()];
    let record = &mut orders.records[index];
    let kind = random.random_range(0..8);
    match kind {
        _ if record.id.is_none() => record.id = Some(OrderId::new(1_790_000_000_000, number as u16, 1)),
        0 => record.id = other_id(random, record.id),
        1 => record.user += random.random_range(1..1_000_000_000),
        2 => record.money += random.random_range(1..100),
        3 => record.key ^= 1 << random.random_range(0..32),
        4 if other.id.is_some() => record.identity = other.identity,
        5 => {
            *record = Record::default();
            orders.gaps.push(index as i64..index as i64 + 1);
        }
        6 => {
            let copy = *record;
            orders.records.push(copy);
            orders.offsets.end += 1;
        }
        _ => record.id = None,
    }
    format!("order[{number}] {index}, change {kind}")
}

fn damage_outcome(partition: &mut Partition, random: &mut StdRng) -> String {
    let shipments = &mut partition.shipments;
    let index = random.random_range(0..shipments.outcomes.len());
    let count = shipments.outcomes.len();
    let other = shipments.outcomes[(index + 1) % count];
    let kind = random.random_range(0..9);
    let outcome = &mut shipments.outcomes[index];
    match kind {
        0 => outcome.order_offset += random.random_range(1..1000) * if random.random() { 1 } else { -1 },
        1 => outcome.order_id = other.order_id,
        2 if outcome.kind != Kind::Rejected && other.kind != Kind::Rejected => outcome.mark = other.mark,
        3 => {
            shipments.outcomes.remove(index);
        }
        4 => {
            let copy = *outcome;
            shipments.outcomes.insert(index, copy);
        }
        6 if outcome.kind == Kind::Shipped => outcome.after = random.random_range(1000..Outcome::NO_TIME),
        5 if index + 1 < count => shipments.outcomes.swap(index, index + 1),
        7 if !shipments.originals.is_empty() => {
            let original = &mut shipments.originals[0].1;
            *original = other_id(random, Some(*original)).expect("an id");
        }
        _ => {
            let kinds = [
                Kind::Shipped,
                Kind::Duplicate,
                Kind::Rejected,
                Kind::Skipped,
                Kind::Unreadable,
            ];
            let position = kinds.iter().position(|kind| *kind == outcome.kind).expect("a kind");
            outcome.kind = kinds[(position + random.random_range(1..kinds.len())) % kinds.len()];
        }
    }
    format!("shipment[{}] {index}, change {kind}", partition.number)
}

fn damage_ledger(ledger: &mut Ledger, random: &mut StdRng) -> String {
    let kind = random.random_range(0..5);
    match kind {
        0 => {
            let from = random.random_range(1..ledger.beats.len() - 6);
            ledger.beats.drain(from..from + 5);
        }
        1 => ledger.beats.clear(),
        2 => ledger.faults[0].seen = None,
        3 => ledger.faults[0].healed = None,
        _ => ledger.faults.clear(),
    }
    format!("ledger, change {kind}")
}

fn damage_figures(figures: &mut Figures, random: &mut StdRng) -> String {
    let region = random.random_range(0..=figures.regions.len());
    let counts = figures.regions.get_mut(region).unwrap_or(&mut figures.total);
    let kind = random.random_range(0..6);
    match kind {
        0 => counts.orders += 1,
        1 => counts.money -= 1,
        2 => counts.shipped -= 1,
        3 => counts.duplicates += 1,
        4 => counts.rejected += 1,
        _ => figures.offsets.order[random.random_range(0..3)] -= 1,
    }
    format!("figures of {region}, change {kind}")
}
