//! Lines of the log on their way to stdout.
//!
//! A service never waits for whoever reads its log: lines go into a bounded buffer that a thread of its own empties.
//! The thread also gathers: a write for each of the four lines of an order is a tenth of what the order costs. A
//! process that is killed loses what has gathered.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::LazyLock;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use prometheus_client::metrics::counter::Counter;

/// Bytes that may wait for stdout; lines beyond that are dropped. Some 4,000 lines.
const LIMIT: usize = 1024 * 1024;
/// How long a line waits for others.
const GATHER: Duration = Duration::from_millis(10);
/// Memory that the buffer keeps when it is empty, in bytes.
const KEPT: usize = 64 * 1024;
/// How long the end of a process waits for stdout.
const FLUSH: Duration = Duration::from_secs(1);

/// The log of this process: it has one stdout.
static LOG: LogBuffer = LogBuffer::new(LIMIT);
static DROPPED: LazyLock<Counter> = LazyLock::new(Counter::default);

/// How many lines of the log of this process were dropped.
pub(crate) fn dropped_lines() -> Counter {
    DROPPED.clone()
}

/// Writes out what is in the buffer, unless that takes more than a second: the last thing that a process does.
pub(crate) fn flush() {
    LOG.flush(FLUSH);
}

/// Starts the thread that writes the log to stdout.
///
/// # Errors
/// When there can be no thread or no descriptor for it.
pub(super) fn start() -> io::Result<()> {
    // A descriptor of its own: a write that hangs must not hold the lock of `io::stdout()`.
    let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let write = move || LOG.write_to(stdout);
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(write)
        .map(drop)
}

/// Where the subscriber writes a line.
#[derive(Debug)]
pub(super) struct LogWriter;

impl LogWriter {
    /// Adds text that is no line of the log.
    pub(super) fn print(text: &str) {
        LOG.push(text.as_bytes());
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LOG.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines that wait to be written.
struct LogBuffer {
    state: Mutex<State>,
    /// There is something to write, or a reason to write it at once.
    filled: Condvar,
    /// Something was written.
    written: Condvar,
    /// In bytes.
    limit: usize,
}

struct State {
    lines: Vec<u8>,
    /// Lines that were dropped and are not yet accounted for in the log.
    dropped: u64,
    /// What was in `lines` is being written.
    writing: bool,
    /// Somebody waits for the end of it.
    urgent: bool,
}

impl LogBuffer {
    const fn new(limit: usize) -> Self {
        let state = State {
            lines: Vec::new(),
            dropped: 0,
            writing: false,
            urgent: false,
        };
        Self {
            state: parking_lot::const_mutex(state),
            filled: Condvar::new(),
            written: Condvar::new(),
            limit,
        }
    }

    /// Adds a line, or drops it when the buffer is full.
    fn push(&self, line: &[u8]) {
        let mut state = self.state.lock();
        let before = state.lines.len();
        let after = before + line.len();
        if after > self.limit {
            state.dropped += 1;
            DROPPED.inc();
            return;
        }
        state.lines.extend_from_slice(line);
        let half = self.limit / 2;
        if before == 0 || (before < half && half <= after) {
            self.filled.notify_one();
        }
    }

    /// Writes lines for as long as the process lives. The lock is not held meanwhile.
    fn write_to(&self, mut output: impl Write) {
        let mut lines = Vec::new();
        loop {
            let mut state = self.state.lock();
            self.filled.wait_while(&mut state, |state| state.lines.is_empty());
            let few = |state: &mut State| !state.urgent && state.lines.len() < self.limit / 2;
            self.filled.wait_while_for(&mut state, few, GATHER);
            std::mem::swap(&mut state.lines, &mut lines);
            let dropped = std::mem::take(&mut state.dropped);
            state.writing = true;
            drop(state);
            if dropped > 0 {
                tracing::warn!(lines = dropped, "dropped lines of the log: stdout was not read");
            }
            // A failed write to stdout cannot be reported there, but counted.
            if output.write_all(&lines).is_err() {
                let lost = lines.iter().filter(|byte| **byte == b'\n').count();
                DROPPED.inc_by(u64::try_from(lost).unwrap_or(u64::MAX));
            }
            lines.clear();
            lines.shrink_to(KEPT);
            self.state.lock().writing = false;
            self.written.notify_all();
        }
    }

    /// Waits until everything is written, but not longer than `limit`.
    fn flush(&self, limit: Duration) {
        let mut state = self.state.lock();
        state.urgent = true;
        self.filled.notify_one();
        let unwritten = |state: &mut State| state.writing || !state.lines.is_empty();
        self.written.wait_while_for(&mut state, unwritten, limit);
        state.urgent = false;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Instant;

    use super::*;

    /// An output each of whose writes waits until it is allowed, like a pipe that is full.
    struct Pipe {
        allowed: Receiver<()>,
        written: Sender<String>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            self.written
                .send(String::from_utf8_lossy(bytes).into_owned())
                .map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.allowed.recv().map_err(gone)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A buffer of so many bytes, what allows its writes, and what they write.
    fn buffer(limit: usize) -> (&'static LogBuffer, Sender<()>, Receiver<String>) {
        let buffer: &'static LogBuffer = Box::leak(Box::new(LogBuffer::new(limit)));
        let ((allow, allowed), (written, writes)) = (channel(), channel());
        std::thread::spawn(move || buffer.write_to(Pipe { allowed, written }));
        (buffer, allow, writes)
    }

    #[test]
    fn a_write_that_hangs_holds_up_nobody_and_lines_beyond_the_limit_are_dropped_and_counted() {
        let (buffer, allow, writes) = buffer(10);
        buffer.push(b"first\n");
        assert_eq!(writes.recv().expect("a write that hangs"), "first\n");
        let before = dropped_lines().get();
        for line in ["abcd\n", "efgh\n", "dropped\n", "dropped\n"] {
            buffer.push(line.as_bytes());
        }
        assert_eq!((buffer.state.lock().dropped, dropped_lines().get() - before), (2, 2));
        allow.send(()).expect("the pipe");
        assert_eq!(writes.recv().expect("the rest"), "abcd\nefgh\n");
        assert_eq!(buffer.state.lock().dropped, 0, "they were told");
        buffer.push(b"again\n");
        allow.send(()).expect("the pipe");
        assert_eq!(writes.recv().expect("a line"), "again\n");
    }

    #[test]
    fn lines_are_gathered_into_one_write() {
        let (buffer, _allow, writes) = buffer(LIMIT);
        let lines = ["one\n", "two\n", "three\n"];
        lines.iter().for_each(|line| buffer.push(line.as_bytes()));
        assert_eq!(writes.recv().expect("a write"), lines.concat());
    }

    #[test]
    fn a_flush_waits_for_the_last_line_and_not_for_ever() {
        let (buffer, allow, writes) = buffer(LIMIT);
        buffer.push(b"last\n");
        allow.send(()).expect("the pipe");
        buffer.flush(Duration::from_secs(60));
        assert_eq!(writes.try_recv().expect("written"), "last\n");
        buffer.push(b"never\n");
        assert_eq!(writes.recv().expect("a write that hangs"), "never\n");
        let (flushed, waits) = channel();
        std::thread::spawn(move || {
            let begun = Instant::now();
            buffer.flush(Duration::from_millis(100));
            flushed.send(begun.elapsed())
        });
        let waited = waits.recv_timeout(Duration::from_secs(30)).expect("an end");
        assert!(waited >= Duration::from_millis(100), "{waited:?}");
    }

    #[test]
    fn a_line_that_could_not_be_written_is_counted() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let buffer: &'static LogBuffer = Box::leak(Box::new(LogBuffer::new(LIMIT)));
        std::thread::spawn(|| buffer.write_to(Broken));
        let before = dropped_lines().get();
        buffer.push(b"one\n");
        buffer.flush(Duration::from_secs(60));
        assert!(dropped_lines().get() > before);
    }
}
