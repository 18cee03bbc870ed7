//! The results of a drill: recovery for each fault, the longest silence, and the bounds that were broken.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::faults::{Fault, Kind, NO_LAG, ordinal};
use super::picture::letter;
use super::timeline::Timeline;
use super::watch::{Sample, caught_up, ships_again};
use crate::terminal::{table, thousands};

/// The results for a fault. Durations are from the time that its cause was taken away.
#[derive(Debug)]
struct Row {
    cells: Vec<String>,
    broken: Vec<String>,
}

/// The result of a drill.
#[derive(Debug)]
pub(crate) struct Report {
    /// To be printed.
    pub(crate) text: String,
    /// The bounds that were broken, a sentence each.
    pub(crate) broken: Vec<String>,
}

/// Judges a drill. `before` is what statistics said before its first order, `samples` what they said since.
pub(crate) fn report(timeline: &Timeline, before: &Sample, samples: &[Sample]) -> Report {
    let judge = Judge {
        timeline,
        before,
        samples,
    };
    let rows: Vec<Row> = (0..timeline.faults.len()).map(|index| judge.row(index)).collect();
    let broken: Vec<String> = rows.iter().flat_map(|row| row.broken.iter().cloned()).collect();
    let header = ["", "at s", "fault", "of", "s", "back after", "no lag after"];
    let mut text = String::new();
    if !rows.is_empty() {
        text = table(&header, rows.into_iter().map(|row| row.cells), &[1, 4, 5, 6]);
        text.push('\n');
    }
    for (partition, answers) in &timeline.regions {
        let [good, bad] = [&answers.acknowledged, &answers.failed].map(|times| thousands(times.len() as u64));
        let _ = writeln!(
            text,
            " Region {partition}: {good} orders acknowledged, {bad} refused or unknown."
        );
    }
    Report { text, broken }
}

/// A fault, as `mall drill show --json` prints it.
#[derive(Debug, Serialize)]
struct ShownFault<'a> {
    name: &'a str,
    subjects: &'a [String],
    /// Unix microseconds.
    begun: u64,
    healed: Option<u64>,
    /// The longest time without an acknowledgement of each region meanwhile, in milliseconds.
    silence_millis: BTreeMap<u16, u64>,
}

/// The faults of a timeline as JSON.
///
/// # Errors
/// When it is too large for the memory.
pub(crate) fn json(timeline: &Timeline) -> anyhow::Result<String> {
    let faults = timeline.faults.iter().enumerate().map(|(index, span)| {
        let silences = timeline.regions.keys().filter_map(|partition| {
            let micros = timeline.silence_during(index, *partition)?;
            Some((*partition, micros / 1000))
        });
        ShownFault {
            name: &span.name,
            subjects: &span.subjects,
            begun: span.begun,
            healed: span.healed,
            silence_millis: silences.collect(),
        }
    });
    Ok(serde_json::to_string_pretty(&faults.collect::<Vec<_>>())? + "\n")
}

struct Judge<'a> {
    timeline: &'a Timeline,
    before: &'a Sample,
    samples: &'a [Sample],
}

impl Judge<'_> {
    fn row(&self, index: usize) -> Row {
        let span = &self.timeline.faults[index];
        let (begun, subjects) = (seconds(span.begun - self.timeline.begun), span.subjects.join(", "));
        let length = span
            .healed
            .map_or_else(|| "?".to_owned(), |healed| seconds(healed - span.begun));
        let mut row = Row {
            cells: vec![
                letter(index).to_string(),
                begun.clone(),
                span.name.clone(),
                subjects.clone(),
                length,
            ],
            broken: Vec::new(),
        };
        let what = format!("{} of {subjects} at {begun} s", span.name);
        let Some(healed) = self.timeline.faults.healed(index) else {
            row.broken.push(format!("{what} was not healed"));
            return row;
        };
        let back = self.back(index, healed);
        let lag = caught_up(self.timeline, self.samples, self.before, back.unwrap_or(healed));
        let limit = self
            .timeline
            .faults
            .group(index)
            .filter_map(|span| Fault::named(&span.name))
            .filter(|fault| fault.is_noticed())
            .map(Fault::back)
            .max();
        let mut bound = |time: Option<u64>, from: u64, limit: Duration, verb: &str| {
            let found = time.map(|time| time - from);
            if found.is_none_or(|found| Duration::from_micros(found) > limit) {
                let found = found.map_or_else(|| "never".to_owned(), |found| format!("after {} s", seconds(found)));
                let limit = limit.as_secs();
                row.broken
                    .push(format!("{what}: {verb} {found}, expected within {limit} s"));
            }
            // The load of a drill that was stopped ends before recovery can be seen.
            let is_known = self.timeline.ended >= from + limit.as_micros() as u64;
            let not_found = if is_known { "never" } else { "?" };
            found.map_or_else(|| not_found.to_owned(), |found| format!("{} s", seconds(found)))
        };
        let back_after = bound(back, healed, limit.unwrap_or(NO_LAG), "back");
        let no_lag_after = bound(lag, back.unwrap_or(healed), NO_LAG, "no lag");
        let is_noticed = Fault::named(&span.name).is_none_or(Fault::is_noticed);
        let back_after = if is_noticed { back_after } else { "–".to_owned() };
        row.cells.extend([back_after, no_lag_after]);
        row
    }

    /// When what the fault was done to worked again, as seen from outside.
    fn back(&self, index: usize, healed: u64) -> Option<u64> {
        let span = &self.timeline.faults[index];
        match Fault::named(&span.name).map(|fault| fault.kind) {
            Some(Kind::Repository) => {
                let partition = span.subjects.first().and_then(|subject| ordinal(subject))?;
                ships_again(self.samples, partition, healed)
            }
            Some(Kind::Statistics) => self.samples.iter().map(|sample| sample.at).find(|at| *at > healed),
            _ => self.timeline.recovered(index),
        }
    }
}

fn seconds(micros: u64) -> String {
    format!("{:.1}", Duration::from_micros(micros).as_secs_f64())
}
