//! Lines on their way to stdout, many in one write.
//!
//! A write for each of the four lines of an order is a tenth of what the order costs. A thread writes what has
//! gathered, every few milliseconds while there is something; a process that is killed loses that much of its log.

use std::io::{self, Write};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// How long a line may wait.
const DELAY: Duration = Duration::from_millis(10);
/// More than this is written at once: bounds the memory when stdout is slow.
const LIMIT: usize = 64 * 1024;

/// The one stdout that a process has.
static LINES: Lines = Lines {
    gathered: parking_lot::const_mutex(Vec::new()),
    some: Condvar::new(),
};

struct Lines {
    gathered: Mutex<Vec<u8>>,
    /// The buffer was empty and is not any more.
    some: Condvar,
}

impl Lines {
    /// Writes what has gathered. The lock is held meanwhile: the order of the lines stays.
    fn write(gathered: &mut Vec<u8>) {
        // Nobody could be told of an error: stdout is where it would be said.
        let _ = io::stdout()
            .lock()
            .write_all(gathered)
            .and_then(|()| io::stdout().flush());
        gathered.clear();
    }

    fn run(&self) {
        loop {
            self.some
                .wait_while(&mut self.gathered.lock(), |gathered| gathered.is_empty());
            std::thread::sleep(DELAY);
            Self::write(&mut self.gathered.lock());
        }
    }
}

/// Gathers lines.
#[derive(Debug)]
pub(super) struct Gather;

impl Write for Gather {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut gathered = LINES.gathered.lock();
        if gathered.is_empty() {
            LINES.some.notify_one();
        }
        gathered.extend_from_slice(line);
        if gathered.len() > LIMIT {
            Lines::write(&mut gathered);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where the log is written to: stdout itself where there is no thread for it.
pub(super) fn writer() -> fn() -> Box<dyn Write> {
    let thread = std::thread::Builder::new().name("log".to_owned()).spawn(|| LINES.run());
    if thread.is_ok() {
        || Box::new(Gather)
    } else {
        || Box::new(io::stdout())
    }
}

/// Writes what has gathered: the last thing that a process does.
pub(crate) fn flush() {
    Lines::write(&mut LINES.gathered.lock());
}
