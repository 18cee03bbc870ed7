//! The judge on evidence that is made here: it holds while it is sound, and is found out when it is damaged.

mod damage;
mod random;
mod scene;
mod size;

use super::evidence::Evidence;
use super::finding::Verdict;
use super::{Report, checks};

/// Judges evidence.
fn judge(mut evidence: Evidence) -> Report {
    evidence.link();
    let findings = checks::all(&evidence);
    Report::new(&evidence, findings, 1, 1.0)
}

/// The invariants with a verdict.
fn with(report: &Report, verdict: Verdict) -> Vec<String> {
    let found = report.invariants.iter().filter(|finding| finding.verdict == verdict);
    found.map(|finding| finding.invariant.to_string()).collect()
}
