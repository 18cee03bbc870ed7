use super::*;
use crate::ledger::{Answer, Line, Phase};

const SECOND: u64 = 1_000_000;
const BEGIN: u64 = 1_790_000_000 * SECOND;

/// 30 s of three regions, each with four orders a second. Region 1 is refused from 5 s to 10 s, because of a fault
/// that is over after 9 s; region 2 is silent from 20 s to 22 s, without a fault.
pub(crate) fn example() -> Timeline {
    let mut reader = Reader::default();
    let fault = |reader: &mut Reader, second, phase| {
        reader.add(Line::Fault {
            at: BEGIN + second * SECOND,
            name: "kill-order".to_owned(),
            subjects: vec!["order-1".to_owned()],
            phase,
        });
    };
    for tick in 0..120 {
        let at = BEGIN + tick * SECOND / 4;
        match tick {
            20 => fault(&mut reader, 5, Phase::Begun),
            36 => fault(&mut reader, 9, Phase::Healed),
            _ => {}
        }
        for partition in 0..3 {
            let order = tick * 3 + u64::from(partition);
            reader.add(Line::Attempt {
                at,
                order,
                partition,
                money: 5,
                key: None,
            });
            let is_refused = partition == 1 && (20..40).contains(&tick);
            let answer = if is_refused {
                Answer::Refused { status: Some(503) }
            } else {
                Answer::Acknowledged {
                    order_id: "1468136426238382080".parse().expect("an id"),
                    partition,
                    offset: 1,
                    replayed: false,
                }
            };
            if partition != 2 || !(80..88).contains(&tick) {
                let at = at + 1000;
                reader.add(Line::Answer { at, order, answer });
            }
        }
    }
    reader.timeline
}

#[test]
fn recovery_is_the_first_acknowledgement_after_the_cause_is_gone() {
    let timeline = example();
    assert_eq!(timeline.faults.len(), 1);
    assert_eq!(timeline.faults.healed(0), Some(BEGIN + 9 * SECOND));
    assert_eq!(timeline.recovered(0), Some(BEGIN + 10 * SECOND + 1000));
}

#[test]
fn a_fault_has_its_silence_in_each_region() {
    let timeline = example();
    let silences = [0, 1, 2, 3].map(|partition| timeline.silence_during(0, partition));
    let quarter = SECOND / 4;
    assert_eq!(
        silences,
        [Some(quarter), Some(5 * SECOND + quarter), Some(quarter), None]
    );
}

#[test]
fn faults_at_the_same_time_are_over_together() {
    let mut timeline = example();
    let mut other = timeline.faults[0].clone();
    other.begun += 2 * SECOND;
    other.healed = Some(BEGIN + 12 * SECOND);
    timeline.faults.push(other);
    assert_eq!(timeline.faults.healed(0), Some(BEGIN + 12 * SECOND));
    timeline.faults[1].healed = None;
    assert_eq!((timeline.faults.healed(0), timeline.recovered(0)), (None, None));
    timeline.faults[1].begun = BEGIN + 20 * SECOND;
    assert_eq!(timeline.faults.healed(0), Some(BEGIN + 9 * SECOND));
}
