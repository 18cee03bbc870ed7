//! The output of a running drill: a line for each event, and for a terminal one more that changes.

use std::cell::RefCell;
use std::io::Write as _;
use std::time::Instant;

use crate::terminal::{columns, is_watched};

/// Prints to stdout. A failed write means that the reader has gone.
#[derive(Debug)]
pub(crate) struct Screen {
    begun: Instant,
    is_watched: bool,
    /// The line that changes.
    live: RefCell<String>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            is_watched: is_watched(),
            live: RefCell::default(),
        }
    }

    /// Prints text as it is.
    pub(crate) fn print(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        if self.is_watched {
            let _ = write!(out, "\r\x1b[2K");
        }
        let _ = write!(out, "{text}");
        if self.is_watched {
            let _ = write!(out, "{}", self.live.borrow());
        }
        let _ = out.flush();
    }

    /// Prints what has happened, and when.
    pub(crate) fn event(&self, text: &str) {
        self.print(&format!("{:>7.1} s  {text}\n", self.begun.elapsed().as_secs_f64()));
    }

    /// Replaces the line that changes. Only a terminal has it.
    pub(crate) fn live(&self, text: &str) {
        let width = usize::from(columns()).saturating_sub(1);
        *self.live.borrow_mut() = text.chars().take(width).collect();
        if self.is_watched {
            self.print("");
        }
    }
}
