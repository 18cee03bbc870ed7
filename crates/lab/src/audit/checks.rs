//! The invariants, a file for each: functions from the evidence to a finding.

mod acknowledged;
mod answered_in_time;
mod available;
mod figures;
mod in_order;
mod no_early_answer;
mod no_gaps;
mod ordered;
mod position;
mod refused;
mod region;
mod shipped_once;

use super::evidence::Evidence;
use super::finding::Finding;

/// All checks, in the order of the invariants.
const CHECKS: [fn(&Evidence) -> Finding; 12] = [
    acknowledged::check,
    refused::check,
    ordered::check,
    shipped_once::check,
    in_order::check,
    region::check,
    no_gaps::check,
    figures::check,
    position::check,
    answered_in_time::check,
    no_early_answer::check,
    available::check,
];

/// Checks everything.
pub(super) fn all(evidence: &Evidence) -> Vec<Finding> {
    CHECKS.iter().map(|check| check(evidence)).collect()
}
