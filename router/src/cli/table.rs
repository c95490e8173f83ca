//! Tables for people. What is in them may come from an attacker: nothing of it reaches the terminal but what can be seen.

use jiff::Timestamp;
use serde_json::Value;

/// Characters of one cell; the rest is cut, with a mark. A dedup key fits.
const CELL_CHARS_MAX: usize = 64;

/// The time of this name in a JSON object, to the second; empty where there is none.
pub(super) fn second(object: &Value, name: &str) -> String {
    let time: Option<Timestamp> = object[name].as_str().and_then(|time| time.parse().ok());
    time.map(|time| format!("{time:.0}")).unwrap_or_default()
}

/// Columns side by side under their names; the last one is as long as it is.
pub(super) fn table(names: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|text| cell(text)).collect()).collect();
    let widths: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(column, name)| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([name.chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let lines: Vec<_> = std::iter::once(&names).chain(&rows).map(|row| line(row, &widths)).collect();
    lines.join("\n")
}

fn cell(text: &str) -> String {
    printable(text, CELL_CHARS_MAX)
}

/// One line without what moves the cursor, changes colours or turns the direction of writing.
pub(super) fn printable(text: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    for (position, character) in text.chars().enumerate() {
        if position == chars_max {
            shown.push('…');
            break;
        }
        match character {
            '\'' | '"' | '\\' => shown.push(character),
            other => shown.extend(other.escape_debug()),
        }
    }
    shown
}

fn line(row: &[String], widths: &[usize]) -> String {
    let padded: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    padded.join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_their_names() {
        let rows = [vec!["a".to_owned(), "long".to_owned()], vec!["ccc".to_owned(), "d".to_owned()]];
        assert_eq!(table(&["ID", "X"], &rows), "ID   X\na    long\nccc  d");
    }

    #[test]
    fn what_an_attacker_wrote_does_not_reach_the_terminal() {
        let shown = cell("\u{1b}[31m\r\n\u{202e}é \"q\"");
        assert_eq!(shown, "\\u{1b}[31m\\r\\n\\u{202e}é \"q\"");
        assert_eq!(cell(&"x".repeat(1_000)).chars().count(), CELL_CHARS_MAX + 1);
    }
}
