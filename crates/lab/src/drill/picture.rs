//! A timeline as a picture for a terminal: one row a region, one column a second.

use std::fmt::Write as _;

use crate::terminal::{columns, is_watched};

use super::timeline::{Answers, Timeline};
use crate::ledger::Fault;

const SECOND: u64 = 1_000_000;
/// Before the columns stand the names of the rows.
const LABEL: usize = 10;
/// The most blocks of rows: with more, a column is several seconds.
const MAX_BLOCKS: u64 = 8;

/// The state of a region within a column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cell {
    /// Orders were acknowledged, and nothing else.
    Ok,
    /// Some were acknowledged, some were not.
    Mixed,
    /// None was acknowledged, and some were answered.
    Refused,
    /// Nothing was answered.
    Silent,
}

impl Cell {
    fn glyph(self) -> char {
        match self {
            Self::Ok => '█',
            Self::Mixed => '▓',
            Self::Refused => '░',
            Self::Silent => '·',
        }
    }

    /// As an SGR parameter.
    fn colour(self) -> &'static str {
        match self {
            Self::Ok => "32",
            Self::Mixed => "33",
            Self::Refused => "31",
            Self::Silent => "1;31",
        }
    }

    fn of(answers: &Answers, from: u64, to: u64) -> Self {
        let within = |times: &[u64]| times.partition_point(|at| *at < to) > times.partition_point(|at| *at < from);
        match (within(&answers.acknowledged), within(&answers.failed)) {
            (true, false) => Self::Ok,
            (true, true) => Self::Mixed,
            (false, true) => Self::Refused,
            (false, false) => Self::Silent,
        }
    }
}

/// The letter that stands for a fault, in the picture and in the table below it.
pub(crate) fn letter(index: usize) -> char {
    let letters = ('a'..='z').chain('A'..='Z');
    letters.cycle().nth(index).expect("letters without an end")
}

/// Draws a timeline for the terminal.
pub(crate) fn draw(timeline: &Timeline) -> String {
    let is_coloured = is_watched() && std::env::var_os("NO_COLOR").is_none();
    render(timeline, usize::from(columns()), is_coloured)
}

/// Draws a timeline, no wider than `columns`, with colours or without.
fn render(timeline: &Timeline, columns: usize, is_coloured: bool) -> String {
    let width = columns.saturating_sub(LABEL + 1).max(10) as u64;
    let micros = timeline.ended.saturating_sub(timeline.begun).max(1);
    let step = micros.div_ceil(SECOND).div_ceil(width * MAX_BLOCKS).max(1) * SECOND;
    let count = micros.div_ceil(step);
    let mut text = String::new();
    for first in (0..count).step_by(usize::try_from(width).expect("columns")) {
        let starts = (first..count.min(first + width)).map(|column| timeline.begun + column * step);
        let starts: Vec<u64> = starts.collect();
        row(&mut text, "seconds", &axis(&starts, timeline.begun, step));
        for lane in lanes(&timeline.faults, &starts, step) {
            row(&mut text, "faults", &lane);
        }
        for (partition, answers) in &timeline.regions {
            let cells = starts.iter().map(|&start| Cell::of(answers, start, start + step));
            row(&mut text, &format!("region {partition}"), &paint(cells, is_coloured));
        }
        text.push('\n');
    }
    let unit = if step == SECOND {
        "second".to_owned()
    } else {
        format!("{} s", step / SECOND)
    };
    let _ = writeln!(
        text,
        " A column is a {unit}: █ orders acknowledged  ▓ some, others not
 \
         ░ none, but answered (503, 504)  · silence"
    );
    text
}

fn row(text: &mut String, label: &str, cells: &str) {
    let _ = writeln!(text, " {label:<0$}{1}", LABEL - 1, cells.trim_end());
}

/// `0    5    10`, a number each ten columns.
fn axis(starts: &[u64], begun: u64, step: u64) -> String {
    let mut axis = String::new();
    for (index, start) in starts.iter().enumerate() {
        let column = (start - begun) / step;
        if column.is_multiple_of(10) && axis.len() <= index {
            axis.push_str(&" ".repeat(index - axis.len()));
            let _ = write!(axis, "{}", column * step / SECOND);
        }
    }
    axis
}

/// Rows in which the faults stand, each with its letter, so that none hides another.
fn lanes(faults: &[Fault], starts: &[u64], step: u64) -> Vec<String> {
    let mut lanes: Vec<Vec<char>> = Vec::new();
    for (index, fault) in faults.iter().enumerate() {
        let (begun, healed) = (fault.begun, fault.healed.unwrap_or(u64::MAX));
        let columns: Vec<usize> = starts
            .iter()
            .enumerate()
            .filter(|(_, start)| begun < **start + step && **start <= healed)
            .map(|(column, _)| column)
            .collect();
        if columns.is_empty() {
            continue;
        }
        let is_free = |lane: &Vec<char>| columns.iter().all(|column| lane[*column] == ' ');
        let lane = match lanes.iter().position(is_free) {
            Some(free) => &mut lanes[free],
            None => {
                lanes.push(vec![' '; starts.len()]);
                lanes.last_mut().expect("one was added")
            }
        };
        for (number, column) in columns.into_iter().enumerate() {
            lane[column] = if number == 0 { letter(index) } else { '─' };
        }
    }
    lanes.into_iter().map(String::from_iter).collect()
}

fn paint(cells: impl Iterator<Item = Cell>, is_coloured: bool) -> String {
    let (mut text, mut before) = (String::new(), None);
    for cell in cells {
        if is_coloured && before != Some(cell) {
            let _ = write!(text, "\x1b[0;{}m", cell.colour());
            before = Some(cell);
        }
        text.push(cell.glyph());
    }
    if is_coloured {
        text.push_str("\x1b[0m");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::timeline::tests::example;
    use super::*;

    #[test]
    fn a_picture_fits_into_80_columns() {
        let text = render(&example(), 80, false);
        let expected = concat!(
            " seconds  0         10        20\n",
            " faults        a────\n",
            " region 0 ██████████████████████████████\n",
            " region 1 █████░░░░░████████████████████\n",
            " region 2 ████████████████████··████████\n",
            "\n",
            " A column is a second: █ orders acknowledged  ▓ some, others not\n",
            " ░ none, but answered (503, 504)  · silence\n",
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn what_does_not_fit_goes_on_below() {
        let text = render(&example(), 31, false);
        let expected = concat!(
            " seconds  0         10\n",
            " faults        a────\n",
            " region 0 ████████████████████\n",
            " region 1 █████░░░░░██████████\n",
            " region 2 ████████████████████\n",
            "\n",
            " seconds  20\n",
            " region 0 ██████████\n",
            " region 1 ██████████\n",
            " region 2 ··████████\n",
            "\n",
            " A column is a second: █ orders acknowledged  ▓ some, others not\n",
            " ░ none, but answered (503, 504)  · silence\n",
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_long_one_has_columns_of_several_seconds() {
        let mut timeline = example();
        timeline.ended = timeline.begun + 3600 * SECOND;
        let text = render(&timeline, 80, false);
        assert!(text.contains("A column is a 7 s"), "{text}");
        assert!(text.lines().count() < 60);
    }
}
