//! Ledgers: one line of JSON for each attempt before it is made, and one for its answer.
//!
//! An order is an outcome in the sense of Jepsen: *acknowledged* (must be in the log), *refused* (must not be) or
//! *unknown* (may be). An attempt without an answer is unknown: its client was killed.

mod faults;
mod line;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

pub(crate) use self::faults::{Fault, Faults};
pub use self::line::{Answer, Line, Phase};

/// The most orders of one run, and the number of user ids that belong to it.
pub const MAX_ORDERS: u64 = 1_000_000_000;
/// Runs are drawn from this many: with a run's orders, a user id has 19 digits at most.
const MAX_RUN: u64 = 9_000_000_000;

/// The number of a run of the load generator. The user ids of its orders contain it, so that they differ from those of
/// all other orders in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Run(pub(crate) u64);

impl Run {
    /// A run of its own.
    pub fn draw() -> Self {
        Self(rand::random_range(1..MAX_RUN))
    }

    /// The user id of an order of this run.
    pub fn user_id(self, order: u64) -> u64 {
        self.0 * MAX_ORDERS + order
    }

    /// The run and the order of a user id. The run need not be one that was made.
    pub fn of(user_id: u64) -> (Self, u64) {
        (Self(user_id / MAX_ORDERS), user_id % MAX_ORDERS)
    }
}

/// The name of a file that stands for standard input or output. A container's `/dev/stdout` cannot always be opened by
/// those who may write to it.
const STANDARD: &str = "-";

/// Writes a ledger. Each line is one write to the file before this returns, so that killing the writer loses none; only
/// a machine that stops does.
pub struct Ledger {
    file: Box<dyn Write>,
    path: PathBuf,
    buffer: Vec<u8>,
}

impl Ledger {
    /// Begins a ledger, or goes on with one. `-` is standard output.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file: Box<dyn Write> = if path == Path::new(STANDARD) {
            Box::new(io::stdout())
        } else {
            let file = open_whole(path);
            Box::new(file.with_context(|| format!("cannot write the ledger {}", path.display()))?)
        };
        Ok(Self {
            file,
            path: path.to_owned(),
            buffer: Vec::new(),
        })
    }

    /// Returns `true` if it goes to standard output.
    pub fn is_printed(&self) -> bool {
        self.path == Path::new(STANDARD)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line.
    ///
    /// # Errors
    /// When it cannot be written: then nothing more may be sent.
    pub fn write(&mut self, line: &Line) -> anyhow::Result<()> {
        self.buffer.clear();
        serde_json::to_writer(&mut self.buffer, line).context("a line of a ledger")?;
        self.buffer.push(b'\n');
        let written = self.file.write_all(&self.buffer).and_then(|()| self.file.flush());
        written.with_context(|| format!("cannot write the ledger {}", self.path.display()))
    }
}

/// Opens a file for more lines. A last line that was cut short, by a kill or a full disk, is removed: glued to the next
/// line it would spoil that one too.
fn open_whole(path: &Path) -> io::Result<File> {
    let options = OpenOptions::new().create(true).append(true).clone();
    if path.exists() && !path.is_file() {
        return options.open(path); // a pipe or a device
    }
    let mut file = options.clone().read(true).open(path)?;
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut byte = [0];
    while end > 0 {
        file.seek(SeekFrom::Start(end - 1))?;
        file.read_exact(&mut byte)?;
        if byte == *b"\n" {
            break;
        }
        end -= 1;
    }
    file.set_len(end)?;
    Ok(file)
}

impl fmt::Debug for Ledger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Ledger")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Reads a ledger, a line at a time. `-` is standard input.
///
/// # Errors
/// When the file cannot be read, a line is none of a ledger (its number is told), or `visit` fails. Only the last line
/// may be incomplete: the disk was full.
pub fn read(path: &Path, mut visit: impl FnMut(Line) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let shown = path.display();
    let file: Box<dyn Read> = if path == Path::new(STANDARD) {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).with_context(|| format!("cannot read the ledger {shown}"))?)
    };
    let (mut reader, mut text) = (BufReader::new(file), Vec::new());
    for number in 1_u64.. {
        text.clear();
        let read = reader.read_until(b'\n', &mut text);
        if read.with_context(|| format!("cannot read the ledger {shown}"))? == 0 || text.last() != Some(&b'\n') {
            break;
        }
        let line =
            Line::from_json(&text).with_context(|| format!("{shown}, line {number}: expected a line of a ledger"))?;
        visit(line)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<Line> {
        let (at, order) = (1_790_000_000_000_000, 7);
        let order_id = "1468136426238382080".parse().expect("an id");
        let answer = |answer| Line::Answer { at, order, answer };
        vec![
            Line::Run {
                at,
                run: Run(3),
                gateway: "http://gateway".to_owned(),
            },
            Line::Attempt {
                at,
                order,
                partition: 1,
                money: 5,
                key: Some("load-7".to_owned()),
            },
            Line::Beat { at, due: 4, sent: 3 },
            answer(Answer::Acknowledged {
                order_id,
                partition: 1,
                offset: 9,
                replayed: true,
            }),
            answer(Answer::Refused { status: Some(503) }),
            answer(Answer::Unknown {
                status: None,
                order_id: Some(order_id),
            }),
            Line::Fault {
                at,
                name: "kill-kafka".to_owned(),
                subjects: vec!["kafka".to_owned()],
                phase: Phase::Begun,
            },
        ]
    }

    fn read_all(path: &Path) -> anyhow::Result<Vec<Line>> {
        let mut found = Vec::new();
        read(path, |line| {
            found.push(line);
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn what_is_written_is_read_and_a_line_cut_short_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ledger");
        let mut ledger = Ledger::open(&path).expect("a ledger");
        lines().iter().for_each(|line| ledger.write(line).expect("written"));
        drop(ledger);
        assert_eq!(read_all(&path).expect("a ledger"), lines());
        let text = std::fs::read(&path).expect("a file");
        std::fs::write(&path, &text[..text.len() - 3]).expect("written");
        assert_eq!(read_all(&path).expect("a ledger"), lines()[..6]);
        // The next writer removes what was cut short.
        let mut ledger = Ledger::open(&path).expect("a ledger");
        ledger.write(&lines()[6]).expect("written");
        assert_eq!(read_all(&path).expect("a ledger"), lines());
        // Elsewhere it is damage.
        std::fs::write(&path, b"{}\n").expect("written");
        let error = format!("{:#}", read_all(&path).expect_err("no ledger"));
        assert!(error.contains("line 1: expected a line of a ledger"), "{error}");
    }

    #[test]
    fn a_user_id_names_its_order() {
        let run = Run(MAX_RUN - 1);
        assert_eq!(Run::of(run.user_id(MAX_ORDERS - 1)), (run, MAX_ORDERS - 1));
    }
}
