//! Text for a terminal of 80 columns, in which some characters take two.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

const WIDTH: usize = 80;

/// Words in lines of at most 80 columns, each line with its newline. All lines begin `indent` columns from the left.
pub(crate) fn paragraph(text: &str, indent: usize) -> String {
    side_by_side(text.split(' '), 1, indent, indent)
}

/// Cells, each `gap` columns from the one before it. A cell that does not fit into the line goes on in the next one,
/// `further` columns from the left; the first line begins at `first`.
pub(crate) fn side_by_side<C: AsRef<str>>(
    cells: impl IntoIterator<Item = C>,
    gap: usize,
    first: usize,
    further: usize,
) -> String {
    let (mut lines, mut line, mut column) = (String::new(), " ".repeat(first), first);
    let mut is_empty = true;
    let mut next_line = |line: &mut String| {
        lines.push_str(line.trim_end());
        lines.push('\n');
        *line = " ".repeat(further);
        further
    };
    for cell in cells {
        let cell = cell.as_ref();
        if !is_empty {
            if column + gap + cell.trim_end().width() > WIDTH {
                column = next_line(&mut line);
            } else {
                line.push_str(&" ".repeat(gap));
                column += gap;
            }
        }
        for char in cell.chars().map(printable) {
            let width = char.width().unwrap_or(0);
            if column + width > WIDTH && char != ' ' {
                column = next_line(&mut line);
            }
            line.push(char);
            column += width;
        }
        is_empty = false;
    }
    next_line(&mut line);
    lines
}

/// Rows of cells, as wide as the widest cell of their column.
pub(crate) fn align(rows: &mut [Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let cells = || rows.iter().filter_map(|row| row.get(column));
        let widest = cells().map(|cell| cell.width()).max().unwrap_or(0);
        for cell in rows.iter_mut().filter_map(|row| row.get_mut(column)) {
            // The width of a format counts characters, not columns.
            cell.push_str(&" ".repeat(widest - cell.width()));
        }
    }
}

/// Text from outside must not move the cursor.
fn printable(char: char) -> char {
    if char.is_control() {
        char::REPLACEMENT_CHARACTER
    } else {
        char
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cell_that_does_not_fit_goes_on_below() {
        let cells = ["x".repeat(40), "y".repeat(37), "z".to_owned()];
        let expected = format!("{}   {}\n  z\n", cells[0], cells[1]);
        assert_eq!(side_by_side(&cells, 3, 0, 2), expected);
    }

    #[test]
    fn a_character_of_two_columns_takes_two_columns() {
        // 26 names of three characters fill 26 × 6 columns and 25 spaces: more than two lines.
        let text = ["模拟商"; 26].join(" ");
        let lines: Vec<usize> = paragraph(&text, 2).lines().map(|line| line.width()).collect();
        assert_eq!(lines, [78, 78, 29]);
        let mut rows = [
            vec!["陕北".to_owned(), "a".to_owned()],
            vec!["region-3".to_owned(), "b".to_owned()],
        ];
        align(&mut rows);
        assert_eq!(rows[0][0], "陕北    ");
    }

    #[test]
    fn a_word_that_is_wider_than_a_line_is_broken() {
        let text = paragraph(&"陕".repeat(60), 4);
        let lines: Vec<usize> = text.lines().map(|line| line.width()).collect();
        assert_eq!(lines, [80, 48]);
    }

    #[test]
    fn what_would_move_the_cursor_is_replaced() {
        assert_eq!(paragraph("a\x1b[2Jb\r\nc", 0), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\n");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_80_columns_and_nothing_is_lost(
            cells in prop::collection::vec("(?s).{0,120}", 0..6), gap in 1..4_usize, first in 0..6_usize,
            further in 0..6_usize,
        ) {
            let text = side_by_side(&cells, gap, first, further);
            for line in text.lines() {
                let width: usize = line.chars().filter_map(|char| char.width()).sum();
                prop_assert!(width <= WIDTH, "{}: {}", width, line);
            }
            let visible = |text: &str| text.chars().map(printable).filter(|char| !char.is_whitespace()).collect::<String>();
            let expected: String = cells.iter().map(|cell| visible(cell)).collect();
            let found: String = text.lines().map(visible).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
