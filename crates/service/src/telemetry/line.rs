//! A line of text in the colours and the width of a terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The width of a terminal that does not say.
const WIDTH: usize = 80;
/// What is wrapped goes on this far from the left, in columns.
const INDENT: usize = 4;

/// A terminal as somebody looks at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terminal {
    /// Whether it shows colours.
    pub(super) colours: bool,
    /// Its width in columns, which can change.
    pub(super) width: fn() -> usize,
}

impl Terminal {
    /// The terminal that stdout is, without colours if `NO_COLOR` is set.
    pub(super) fn stdout() -> Self {
        Self {
            colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            width: || {
                let size = rustix::termios::tcgetwinsize(std::io::stdout());
                size.map(|size| usize::from(size.ws_col))
                    .ok()
                    .filter(|width| *width > 0)
                    .unwrap_or(WIDTH)
            },
        }
    }
}

/// What becomes of text that does not fit into the width of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overflow {
    /// It is cut.
    Cut,
    /// It goes on on the next line.
    Wrap,
}

/// Pieces of text, each with its ANSI style.
#[derive(Default)]
pub(super) struct Line(Vec<(&'static str, String)>);

impl Line {
    /// Adds text. What would move the cursor or end the line is shown as an escape sequence.
    pub(super) fn add(&mut self, style: &'static str, mut text: String) {
        if text.contains(char::is_control) {
            let shown = |char: char| {
                if char.is_control() {
                    char.escape_default().to_string()
                } else {
                    char.to_string()
                }
            };
            text = text.chars().map(shown).collect();
        }
        self.0.push((style, text));
    }

    /// The line as it is printed; without a terminal, whole and without colours.
    pub(super) fn render(&self, terminal: Option<Terminal>, overflow: Overflow) -> String {
        let width = terminal.map_or(usize::MAX, |terminal| (terminal.width)());
        let colours = terminal.is_some_and(|terminal| terminal.colours);
        let mut printer = Printer::new(width);
        if overflow == Overflow::Cut {
            let total: usize = self.0.iter().map(|(_, text)| text.width()).sum();
            printer.cut_at = (total > width).then(|| width.saturating_sub("…".width()));
        }
        for (style, text) in self.0.iter().filter(|(_, text)| !text.is_empty()) {
            let styled = colours && !style.is_empty() && !printer.is_full;
            if styled {
                printer.printed.extend(["\x1b[", style, "m"]);
            }
            text.split_inclusive(' ').for_each(|word| printer.print(word));
            if styled {
                printer.printed.push_str("\x1b[0m");
            }
        }
        printer.printed
    }
}

/// Text that is put into lines of a width.
struct Printer {
    printed: String,
    /// Where the cursor is.
    column: usize,
    width: usize,
    /// Where the text ends with an ellipsis, if it does not go on on the next line.
    cut_at: Option<usize>,
    is_full: bool,
}

impl Printer {
    fn new(width: usize) -> Self {
        Self {
            printed: String::new(),
            column: 0,
            width,
            cut_at: None,
            is_full: false,
        }
    }

    fn print(&mut self, word: &str) {
        if self.cut_at.is_none() && self.column > INDENT && self.column + word.trim_end().width() > self.width {
            self.next_line();
        }
        for char in word.chars() {
            let columns = char.width().unwrap_or(0);
            if self.is_full {
                return;
            }
            if self.cut_at.is_some_and(|end| self.column + columns > end) {
                self.printed.push('…');
                self.is_full = true;
                return;
            }
            if self.column + columns > self.width {
                if char == ' ' {
                    continue;
                }
                self.next_line();
            }
            self.printed.push(char);
            self.column += columns;
        }
    }

    fn next_line(&mut self) {
        self.printed.truncate(self.printed.trim_end().len());
        self.printed.extend(["\n", &" ".repeat(INDENT)]);
        self.column = INDENT;
    }
}
