//! The schedule of a drill: faults one after the other, at times two at once, with quiet between them.

use std::time::Duration;

use domain::Replicas;

use super::faults::{FAULTS, FULL_DISK, Fault, Kind, Verb, services};

/// One fault, done to one container.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    pub(crate) fault: &'static Fault,
    /// The service of the container.
    pub(crate) subject: String,
    /// The duration.
    pub(crate) length: Duration,
}

/// Faults that begin together. The next step begins when the mall has recovered from this one.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The quiet time before it.
    pub(crate) quiet: Duration,
    pub(crate) acts: Vec<Act>,
}

/// The duration of a fault that is named, and the quiet time before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Shortest,
    Longest,
}

/// One fault, done once; to the second replica, where there are several.
pub(crate) fn single(fault: &'static Fault, length: Length, replicas: Replicas) -> Vec<Step> {
    let (quiet, seconds) = match length {
        Length::Shortest => (1, fault.shortest),
        Length::Longest => (3, fault.longest),
    };
    let mut subjects = fault.kind.services(replicas);
    let subject = subjects.swap_remove(1.min(subjects.len() - 1));
    vec![Step {
        quiet: Duration::from_secs(quiet),
        acts: vec![Act {
            fault,
            subject,
            length: Duration::from_secs(seconds),
        }],
    }]
}

/// Kafka on a disk that is full.
pub(crate) fn full_disk(replicas: Replicas) -> Vec<Step> {
    let parts = FULL_DISK.iter();
    parts
        .flat_map(|fault| single(fault, Length::Longest, replicas))
        .collect()
}

/// Every container is stopped and started, one after the other, as an update would do.
pub(crate) fn rolling_restart(replicas: Replicas) -> Vec<Step> {
    let restart = |subject: String| {
        let of_subject = |fault: &&Fault| fault.verb == Verb::Stop && fault.kind.services(replicas).contains(&subject);
        let fault = FAULTS.iter().find(of_subject).expect("each service can be stopped");
        Step {
            quiet: Duration::from_secs(1),
            acts: vec![Act {
                fault,
                subject,
                length: Duration::ZERO,
            }],
        }
    };
    services(replicas).into_iter().rev().map(restart).collect()
}

/// Faults at random, without an end. The same seed gives the same ones.
pub(crate) fn random(seed: u64, replicas: Replicas) -> impl Iterator<Item = Step> {
    let mut random = Random(seed);
    std::iter::repeat_with(move || step(&mut random, replicas))
}

fn step(random: &mut Random, replicas: Replicas) -> Step {
    let quiet = Duration::from_millis(500 + random.below(5000));
    let mut acts = vec![act(random, replicas)];
    // One step in four does two things at once, to different containers.
    if random.below(4) == 0 {
        let second = act(random, replicas);
        if second.subject != acts[0].subject {
            acts.push(second);
        }
    }
    Step { quiet, acts }
}

fn act(random: &mut Random, replicas: Replicas) -> Act {
    // Kinds are drawn first: those with an ordinal are what this is about, and Kafka takes long.
    let kind = match random.below(12) {
        0..4 => Kind::Order,
        4..8 => Kind::Repository,
        8 => Kind::Gateway,
        9 => Kind::Statistics,
        10 => Kind::Kafka,
        _ => Kind::ZooKeeper,
    };
    let faults: Vec<_> = FAULTS.iter().filter(|fault| fault.kind == kind).collect();
    let fault = faults[random.index(faults.len())];
    let mut subjects = kind.services(replicas);
    let subject = subjects.swap_remove(random.index(subjects.len()));
    let millis = fault.shortest * 1000 + random.below((fault.longest - fault.shortest) * 1000 + 1);
    Act {
        fault,
        subject,
        length: Duration::from_millis(millis),
    }
}

/// SplitMix64: the schedule of a seed must not change with a library.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below the limit. That small numbers are likelier by 2^-50 does not matter here.
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a length")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(seed: u64, steps: usize) -> Vec<String> {
        let show = |step: Step| {
            let acts = step.acts.iter().map(|act| {
                let millis = act.length.as_millis();
                format!("{} {} {millis}", act.fault.name, act.subject)
            });
            let acts: Vec<_> = acts.collect();
            format!("{}: {}", step.quiet.as_millis(), acts.join(" and "))
        };
        random(seed, Replicas::THREE).take(steps).map(show).collect()
    }

    #[test]
    fn a_seed_always_gives_the_same_schedule() {
        let expected = [
            "4987: kill-order order-0 4934",
            "2298: kill-repository repository-2 4664 and twin-repository repository-0 6638",
            "1827: pause-zookeeper zookeeper 6552",
            "2313: kill-repository repository-0 2137",
        ];
        assert_eq!(shown(7, 4), expected);
        assert_ne!(shown(8, 4), shown(7, 4));
    }

    #[test]
    fn the_generator_is_splitmix64() {
        // The first two numbers of the reference implementation for the seed 1234567.
        let mut random = Random(1_234_567);
        assert_eq!(
            [random.next(), random.next()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]
        );
    }

    #[test]
    fn every_fault_is_drawn_and_two_never_meet_in_one_container() {
        let mut drawn = std::collections::BTreeSet::new();
        for step in random(1, Replicas::THREE).take(2000) {
            let subjects: Vec<_> = step.acts.iter().map(|act| &act.subject).collect();
            assert!(subjects.len() == 1 || subjects[0] != subjects[1], "{subjects:?}");
            for act in &step.acts {
                drawn.insert(act.fault.name);
                let seconds = act.length.as_secs_f64();
                assert!((act.fault.shortest as f64..=act.fault.longest as f64).contains(&seconds));
            }
        }
        assert_eq!(drawn.len(), FAULTS.len());
    }

    #[test]
    fn a_rolling_restart_reaches_every_service_once() {
        let subjects: Vec<_> = rolling_restart(Replicas::THREE)
            .into_iter()
            .map(|step| step.acts[0].subject.clone())
            .collect();
        assert_eq!(subjects.len(), services(Replicas::THREE).len());
        assert_eq!(subjects.last().map(String::as_str), Some("zookeeper"));
    }
}
