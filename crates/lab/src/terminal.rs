//! The output of the tools.

use std::io::{IsTerminal as _, stdout};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// The width to print for where no terminal is.
const COLUMNS: u16 = 100;

/// Returns `true` if stdout is a terminal.
pub(crate) fn is_watched() -> bool {
    stdout().is_terminal()
}

/// Returns the width in columns.
pub(crate) fn columns() -> u16 {
    let size = rustix::termios::tcgetwinsize(stdout());
    let columns = size.map_or(COLUMNS, |size| size.ws_col);
    if columns == 0 { COLUMNS } else { columns }
}

/// A table without lines, no wider than the terminal. The columns named in `numbers` are aligned to the right.
pub(crate) fn table<R>(header: &[&str], rows: R, numbers: &[usize]) -> String
where
    R: IntoIterator<Item = Vec<String>>,
{
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(columns())
        .set_header(header.iter().copied())
        .add_rows(rows);
    for index in numbers {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let text = table.trim_fmt();
    format!("{text}\n")
}

/// 1234567 as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(thousands),
            ["0", "999", "1,000", "1,234,567"]
        );
    }

    #[test]
    fn numbers_stand_on_the_right() {
        let rows = [["陕北", "5"], ["关中", "12,345"]].map(|row| row.map(str::to_owned).to_vec());
        let table = table(&["region", "orders"], rows, &[1]);
        assert_eq!(table, " region  orders\n 陕北         5\n 关中    12,345\n");
    }
}
