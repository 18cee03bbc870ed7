//! Log lines on their way to stdout: a bounded queue that a thread empties.
//!
//! A service never waits for the reader of its log. While stdout is not read the queue fills; lines beyond its capacity
//! are dropped and counted, and a later line says how many. A process that is killed loses the lines of the last 10 ms.

use std::fs::File;
use std::io::{self, Write};
use std::iter;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, LazyLock, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;

/// Maximum lines in the queue, some 250 bytes each: a tenth of a second of the highest rate.
const CAPACITY: usize = 8192;
/// Lines gather for this long and are written together. One write for each line costs a tenth of an order.
const GATHER_INTERVAL: Duration = Duration::from_millis(10);
/// Memory that the thread keeps between two writes, in bytes.
const KEPT_BUFFER: usize = 64 * 1024;
/// The end of a process waits at most this long for stdout.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// Interval at which a flush looks whether all has been written.
const FLUSH_POLL_INTERVAL: Duration = Duration::from_millis(1);

/// The queue of this process, once the log has been started.
static QUEUE: OnceLock<Queue> = OnceLock::new();
static DROPPED_LINES: LazyLock<Counter> = LazyLock::new(Counter::default);

/// The number of log lines that this process has dropped, for `/metrics`.
pub(crate) fn dropped_lines() -> Counter {
    DROPPED_LINES.clone()
}

/// Writes out the queue, for at most a second. The last call of a process.
pub(crate) fn flush() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(FLUSH_TIMEOUT);
    }
}

/// Starts the thread that writes to stdout.
///
/// # Errors
/// When the thread or its descriptor cannot be created.
pub(super) fn start() -> io::Result<()> {
    // A descriptor of its own: a write that hangs must not hold the lock of `io::stdout()`.
    let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let queue = Queue::start(CAPACITY, stdout)?;
    // The log is started once for each process.
    let _ = QUEUE.set(queue);
    Ok(())
}

/// Puts text into the queue of this process.
#[derive(Debug)]
pub(super) struct QueueWriter;

impl Write for QueueWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(queue) = QUEUE.get() {
            queue.push(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The sending side of a queue.
struct Queue {
    lines: SyncSender<Vec<u8>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Lines that have not been written yet.
    unwritten: AtomicUsize,
    /// Dropped lines that no log line has reported yet.
    unreported: AtomicUsize,
}

impl Queue {
    fn start(capacity: usize, output: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, receiver) = sync_channel(capacity);
        let counts = Arc::<Counts>::default();
        let shared = Arc::clone(&counts);
        let write = move || write_lines(&receiver, &shared, output);
        thread::Builder::new().name("log".to_owned()).spawn(write)?;
        Ok(Self { lines, counts })
    }

    /// Adds a line, or drops it when the queue is full.
    fn push(&self, line: &[u8]) {
        self.counts.unwritten.fetch_add(1, Ordering::Relaxed);
        if self.lines.try_send(line.to_vec()).is_err() {
            self.counts.unwritten.fetch_sub(1, Ordering::Relaxed);
            self.counts.unreported.fetch_add(1, Ordering::Relaxed);
            DROPPED_LINES.inc();
        }
    }

    /// Waits until all lines have been written, at most for `timeout`.
    fn flush(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        while self.counts.unwritten.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
            thread::sleep(FLUSH_POLL_INTERVAL);
        }
    }
}

/// Writes lines until the queue is closed.
fn write_lines(lines: &Receiver<Vec<u8>>, counts: &Counts, mut output: impl Write) {
    let mut buffer = Vec::new();
    while let Ok(first) = lines.recv() {
        thread::sleep(GATHER_INTERVAL);
        let mut gathered: u32 = 0;
        for line in iter::once(first).chain(lines.try_iter().take(CAPACITY)) {
            buffer.extend_from_slice(&line);
            gathered += 1;
        }
        let dropped = counts.unreported.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!(lines = dropped, "dropped lines of the log: stdout was not read");
        }
        // A broken stdout cannot be reported on stdout.
        if output.write_all(&buffer).is_err() {
            DROPPED_LINES.inc_by(gathered.into());
        }
        counts.unwritten.fetch_sub(gathered as usize, Ordering::Release);
        buffer.clear();
        buffer.shrink_to(KEPT_BUFFER);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// An output each of whose writes waits until it is allowed, like a pipe that is full.
    struct Pipe {
        allowed: Receiver<()>,
        written: Sender<String>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.written.send(text).map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.allowed.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A queue of `capacity` lines, the end that allows its writes, and the end that shows them.
    fn queue(capacity: usize) -> (Queue, Sender<()>, Receiver<String>) {
        let ((allow, allowed), (written, writes)) = (channel(), channel());
        let queue = Queue::start(capacity, Pipe { allowed, written }).expect("a thread");
        (queue, allow, writes)
    }

    #[test]
    fn drops_and_counts_lines_beyond_the_capacity_while_a_write_hangs() {
        let (queue, allow, writes) = queue(2);
        queue.push(b"first\n");
        assert_eq!(writes.recv().expect("a write that hangs"), "first\n");
        let before = dropped_lines().get();
        for line in ["abcd\n", "efgh\n", "dropped\n", "dropped\n"] {
            queue.push(line.as_bytes());
        }
        assert_eq!(queue.counts.unreported.load(Ordering::Relaxed), 2);
        assert!(dropped_lines().get() >= before + 2);
        allow.send(()).expect("the pipe");
        assert_eq!(writes.recv().expect("the rest"), "abcd\nefgh\n");
        assert_eq!(
            queue.counts.unreported.load(Ordering::Relaxed),
            0,
            "a line has reported them"
        );
    }

    #[test]
    fn writes_gathered_lines_together() {
        let (queue, _allow, writes) = queue(CAPACITY);
        let lines = ["one\n", "two\n", "three\n"];
        lines.iter().for_each(|line| queue.push(line.as_bytes()));
        assert_eq!(writes.recv().expect("a write"), lines.concat());
    }

    #[test]
    fn a_flush_waits_for_the_last_line_and_has_a_bound() {
        let (queue, allow, writes) = queue(CAPACITY);
        queue.push(b"last\n");
        allow.send(()).expect("the pipe");
        queue.flush(Duration::from_secs(60));
        assert_eq!(writes.try_recv().expect("written"), "last\n");
        queue.push(b"never\n");
        assert_eq!(writes.recv().expect("a write that hangs"), "never\n");
        let begun = Instant::now();
        queue.flush(Duration::from_millis(100));
        assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
    }

    #[test]
    fn counts_lines_that_could_not_be_written() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let queue = Queue::start(CAPACITY, Broken).expect("a thread");
        let before = dropped_lines().get();
        queue.push(b"one\n");
        queue.flush(Duration::from_secs(60));
        assert!(dropped_lines().get() > before);
    }
}
