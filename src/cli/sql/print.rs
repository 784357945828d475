//! The rows of a statement on standard output: as a table for people, as JSON lines, or as CSV.

use std::io::{BufWriter, Stdout, Write, stdout};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rusqlite::types::ValueRef;

use super::super::show::{printed, visible};

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum SqlFormat {
    /// Columns that are aligned; long texts are cut, and control characters are replaced
    Table,
    /// One object a line
    Json,
    /// RFC 4180; NULL is empty
    Csv,
}

/// Rows that decide how wide the columns of a table are; what is wider later shifts its row.
const MEASURED_ROWS: usize = 200;
/// Characters of a cell in a table; the rest is cut.
const CELL_CHARS: usize = 100;

/// Prints rows one after the other. Whoever has read enough may go: then the program ends quietly.
pub(super) struct RowPrinter {
    out: BufWriter<Stdout>,
    format: SqlFormat,
    columns: Vec<String>,
    /// Rows of a table, until its columns are measured.
    unmeasured: Vec<Vec<TableCell>>,
    widths: Option<Vec<usize>>,
}

/// A cell as a table shows it.
struct TableCell {
    text: String,
    is_number: bool,
}

impl RowPrinter {
    pub(super) fn new(format: SqlFormat, columns: Vec<String>) -> Self {
        let columns = if format == SqlFormat::Json { with_names_of_their_own(columns) } else { columns };
        let mut printer = Self { out: BufWriter::new(stdout()), format, columns, unmeasured: Vec::new(), widths: None };
        if format == SqlFormat::Csv {
            let names: Vec<ValueRef<'_>> = printer.columns.iter().map(|name| ValueRef::Text(name.as_bytes())).collect();
            let line = csv(&names);
            printer.put(&line);
        }
        printer
    }

    pub(super) fn row(&mut self, cells: &[ValueRef<'_>]) {
        match self.format {
            SqlFormat::Json => {
                let entries =
                    self.columns.iter().zip(cells).map(|(name, cell)| format!("{}:{}", quoted(name), json(cell)));
                let line = format!("{{{}}}\n", entries.collect::<Vec<_>>().join(","));
                self.put(&line);
            }
            SqlFormat::Csv => self.put(&csv(cells)),
            SqlFormat::Table => {
                let row = cells.iter().map(table_cell).collect();
                self.unmeasured.push(row);
                if self.widths.is_some() || self.unmeasured.len() == MEASURED_ROWS {
                    self.print_table();
                }
            }
        }
    }

    /// Prints what is still held back.
    pub(super) fn finish(mut self) {
        if self.format == SqlFormat::Table {
            self.print_table();
        }
        printed(self.out.flush());
    }

    fn put(&mut self, text: &str) {
        printed(self.out.write_all(text.as_bytes()));
    }

    /// Prints the rows that are held back; before the first of them, measures the columns and prints their names.
    fn print_table(&mut self) {
        let rows = std::mem::take(&mut self.unmeasured);
        let names: Vec<String> = self.columns.iter().map(|name| cut(name)).collect();
        if self.widths.is_none() {
            let width = |(at, name): (usize, &String)| {
                let cells = rows.iter().map(|row| row[at].text.chars().count());
                cells.chain([name.chars().count()]).max().unwrap_or(0)
            };
            let widths: Vec<usize> = names.iter().enumerate().map(width).collect();
            // A column of numbers has its name above their last digits.
            let is_of_numbers = |at: usize| {
                let numbers = rows.iter().filter(|row| row[at].is_number).count();
                numbers > 0 && rows.iter().all(|row| row[at].is_number || row[at].text == NULL)
            };
            let heads = names.into_iter().enumerate();
            let heads: Vec<TableCell> =
                heads.map(|(at, text)| TableCell { text, is_number: is_of_numbers(at) }).collect();
            self.put(&line(&heads, &widths));
            self.widths = Some(widths);
        }
        let widths = self.widths.clone().unwrap_or_default();
        for row in rows {
            self.put(&line(&row, &widths));
        }
    }
}

const NULL: &str = "NULL";

fn line(cells: &[TableCell], widths: &[usize]) -> String {
    let cells = cells.iter().zip(widths).map(|(TableCell { text, is_number }, width)| match is_number {
        true => format!("{text:>width$}"),
        false => format!("{text:<width$}"),
    });
    format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
}

/// A text on one line, without characters that control a terminal, and not too long.
fn cut(text: &str) -> String {
    let shown = visible(text);
    match shown.char_indices().nth(CELL_CHARS) {
        Some((at, _)) => format!("{}…", &shown[..at]),
        None => shown,
    }
}

fn table_cell(cell: &ValueRef<'_>) -> TableCell {
    let is_number = matches!(cell, ValueRef::Integer(_) | ValueRef::Real(_));
    let text = match cell {
        ValueRef::Null => NULL.to_owned(),
        cell => cut(&plain(cell)),
    };
    TableCell { text, is_number }
}

/// A value as text; bytes in hex.
fn plain(cell: &ValueRef<'_>) -> String {
    match cell {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => hex::encode(bytes),
    }
}

fn csv(cells: &[ValueRef<'_>]) -> String {
    let field = |cell: &ValueRef<'_>| {
        let text = plain(cell);
        // An empty text is not NULL.
        let is_to_quote = text.contains(['"', ',', '\r', '\n']) || (text.is_empty() && !matches!(cell, ValueRef::Null));
        if is_to_quote { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
    };
    format!("{}\r\n", cells.iter().map(field).collect::<Vec<_>>().join(","))
}

fn json(cell: &ValueRef<'_>) -> String {
    match cell {
        ValueRef::Null => "null".into(),
        ValueRef::Integer(number) => number.to_string(),
        // JSON has no infinite numbers.
        ValueRef::Real(number) => serde_json::Value::from(*number).to_string(),
        ValueRef::Text(text) => quoted(&String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => serde_json::json!({ "base64": BASE64.encode(bytes) }).to_string(),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The columns of one object: the second `name` is called `name_2`.
fn with_names_of_their_own(columns: Vec<String>) -> Vec<String> {
    let mut own: Vec<String> = Vec::new();
    for column in columns {
        let others = (2..).map(|count: u64| format!("{column}_{count}"));
        let free = std::iter::once(column.clone()).chain(others).find(|name| !own.contains(name));
        own.extend(free);
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_what_rfc_4180_says_and_nothing_else() {
        let cells = [
            ValueRef::Null,
            ValueRef::Text(b""),
            ValueRef::Integer(-3),
            ValueRef::Text(b"a,b"),
            ValueRef::Text(b"say \"no\""),
            ValueRef::Text(b"two\nlines"),
            ValueRef::Text(b"plain text"),
            ValueRef::Blob(b"\x00\xff"),
        ];
        assert_eq!(csv(&cells), ",\"\",-3,\"a,b\",\"say \"\"no\"\"\",\"two\nlines\",plain text,00ff\r\n");
    }

    #[test]
    fn json_has_every_value_and_a_name_for_every_column() {
        let cells =
            [ValueRef::Real(1.5), ValueRef::Real(f64::INFINITY), ValueRef::Text(b"\x1b[2J"), ValueRef::Blob(b"x")];
        let shown: Vec<String> = cells.iter().map(json).collect();
        assert_eq!(shown, ["1.5", "null", "\"\\u001b[2J\"", "{\"base64\":\"eA==\"}"]);
        let columns = ["name", "name", "name_2", "id", "name"].map(str::to_owned).to_vec();
        assert_eq!(with_names_of_their_own(columns), ["name", "name_2", "name_2_2", "id", "name_3"]);
    }

    #[test]
    fn a_cell_of_a_table_is_one_short_line_that_controls_nothing() {
        let long = "é".repeat(CELL_CHARS + 1);
        assert_eq!(cut(&long).chars().count(), CELL_CHARS + 1);
        assert!(cut(&long).ends_with('…'));
        assert_eq!(cut("a\x1b[2J\n\u{9b}b"), "a\u{fffd}[2J\u{fffd}\u{fffd}b");
    }
}
