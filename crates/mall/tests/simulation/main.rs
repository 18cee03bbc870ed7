//! A simulation of the core: the real decision and recovery code of order-N and repository-N over logs in memory.
//!
//! Each schedule is drawn from a seed: crashes at any point, zombies that still write, aborted and delayed commits, lost
//! replies, a high watermark that lags, retries under another id, two order-N with one ordinal, a clock that steps,
//! retention, recreated topics. `MALL_SIMULATION_SEED` repeats one schedule, `MALL_SIMULATION_SCHEDULES` sets how many run.

mod broker;
mod orders;
mod repository;
mod world;

use crate::world::{Mistake, World};

/// Schedules in `cargo test`.
const SCHEDULES: u64 = 10_000;
/// A mistake has to be found within so many schedules.
const SCHEDULES_PER_MISTAKE: u64 = 1_000;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn run(seed: u64, mistake: Mistake) -> Result<(), String> {
    World::new(seed, mistake).run()
}

#[test]
fn every_schedule_ships_every_acknowledged_order_once_and_in_order() {
    if let Some(seed) = setting("MALL_SIMULATION_SEED") {
        return run(seed, Mistake::None).unwrap_or_else(|offence| panic!("{offence}"));
    }
    for seed in 0..setting("MALL_SIMULATION_SCHEDULES").unwrap_or(SCHEDULES) {
        if let Err(offence) = run(seed, Mistake::None) {
            panic!("{offence}\nrepeat it with MALL_SIMULATION_SEED={seed}");
        }
    }
}

#[test]
fn each_mistake_is_found() {
    for mistake in Mistake::ALL {
        let found = (0..SCHEDULES_PER_MISTAKE).find(|seed| run(*seed, mistake).is_err());
        assert!(
            found.is_some(),
            "{mistake:?} was not found in {SCHEDULES_PER_MISTAKE} schedules"
        );
    }
}
