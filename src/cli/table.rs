//! `theater table`: the rows of an actor's table, through a running runtime or in a data directory.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::connect::{answered, ask};
use super::past::ActorHistory;
use super::rows::{PrintedRow, fetch_page, fetch_row, value_of};
use super::show::{print_json, say};
use super::{Done, Failure, Remote};
use crate::chain::cbor::bytes_to_json;
use crate::journal::{self, KeyRange, behind_prefix};
use crate::server::Client;
use crate::server::protocol::{Request, Response, RowView};

#[derive(Args)]
pub(super) struct TableArgs {
    /// The actor's name, its id, or the beginning of either
    actor: String,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Print the value of a key; exit code 1 if there is no such row
    Get {
        /// The key
        key: String,
        #[command(flatten)]
        from: From,
    },
    /// Print rows in the order of their keys
    Scan {
        /// Only keys that begin with this
        #[arg(long, value_name = "PREFIX", default_value = "")]
        prefix: String,
        /// At most so many rows
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u64,
        /// Only keys behind this one: the cursor that the page before has printed
        #[arg(long, value_name = "KEY")]
        cursor: Option<String>,
        #[command(flatten)]
        from: From,
    },
    /// Print how many rows there are
    Count {
        #[command(flatten)]
        from: From,
    },
}

/// Where rows are read, and how keys are written.
#[derive(Args)]
struct From {
    /// The table as it was after this event of the actor
    #[arg(long, value_name = "EVENT")]
    at: Option<u64>,
    /// Keys are given and printed in hexadecimal
    #[arg(long)]
    hex: bool,
    /// Read the data directory itself; no runtime needs to be running
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

impl From {
    fn key(&self, text: &str) -> Result<Vec<u8>, Failure> {
        if !self.hex {
            return Ok(text.as_bytes().to_vec());
        }
        hex::decode(text).map_err(|error| Failure::no(format!("{text} is not hexadecimal: {error}")))
    }

    /// A key as it is printed. One that is no text is printed in hexadecimal, and `--hex` reads that.
    fn shown(&self, key: &[u8]) -> String {
        match std::str::from_utf8(key) {
            Ok(text) if !self.hex && !text.chars().any(char::is_control) => text.to_owned(),
            _ => hex::encode(key),
        }
    }
}

pub(super) fn table(args: &TableArgs) -> Done {
    let (What::Get { from, .. } | What::Scan { from, .. } | What::Count { from }) = &args.what;
    let mut history = ActorHistory::open(&args.actor, from.data_dir.as_deref(), &from.remote)?;
    if let Some(at) = from.at {
        history.check_table_at(at)?;
    }
    match &args.what {
        What::Get { key, .. } => {
            let wanted = from.key(key)?;
            let row = history.row(&wanted, from.at)?;
            let row = row.ok_or_else(|| Failure::no(format!("the table has no row with the key {key}")))?;
            if from.remote.json {
                print_json(&as_json(&row, from));
            } else {
                super::show::bytes(Some(&row.value));
            }
        }
        What::Scan { prefix, limit, cursor, .. } => {
            let (prefix, behind) = (from.key(prefix)?, cursor.as_deref().map(|key| from.key(key)).transpose()?);
            scan(&mut history, from, &prefix, behind, *limit)?;
        }
        What::Count { .. } => {
            let count = history.count_rows(from.at)?;
            if from.remote.json { print_json(&json!({ "count": count })) } else { say!("{count}") }
        }
    }
    Ok(())
}

fn scan(history: &mut ActorHistory, from: &From, prefix: &[u8], mut behind: Option<Vec<u8>>, limit: u64) -> Done {
    let (mut printed, mut rows) = (0, Vec::new());
    let mut more = false;
    while !more {
        // One more than is wanted: it says whether a row follows.
        let wanted = (limit - printed).saturating_add(1).min(1_000);
        let page = history.rows_behind(prefix, behind.as_deref(), wanted, from.at)?;
        if page.is_empty() {
            break;
        }
        for row in page {
            if printed == limit {
                more = true;
                break;
            }
            printed += 1;
            behind = Some(row.key.clone());
            if from.remote.json {
                rows.push(as_json(&row, from));
            } else {
                let value = bytes_to_json(&row.value);
                say!("{}\t{value}", from.shown(&row.key));
            }
        }
    }
    let cursor = behind.filter(|_| more).map(|key| from.shown(&key));
    if from.remote.json {
        print_json(&json!({ "rows": rows, "cursor": cursor }));
    } else if let Some(cursor) = cursor {
        super::stderr::tell(&format!("more rows follow: --cursor {cursor}"));
    }
    Ok(())
}

fn as_json(row: &PrintedRow, from: &From) -> Json {
    json!({ "key": from.shown(&row.key), "value": bytes_to_json(&row.value), "written": row.written })
}

impl ActorHistory {
    /// Whether the table after event `at` can still be had.
    fn check_table_at(&mut self, at: u64) -> Done {
        let dropped = match self {
            Self::Journal { reader, row } => {
                let last = reader.head(row.actor).map_err(Failure::no)?.map_or(0, |head| head.sequence);
                if at > last {
                    return Err(Failure::no(format!("event {at} is not on the chain: its last is event {last}")));
                }
                reader.table_is_gone_at(row.actor, at).map_err(Failure::no)?
            }
            // The runtime looks itself.
            Self::Running { .. } => None,
            Self::File(_) => return Err(no_rows()),
        };
        match dropped {
            None => Ok(()),
            Some(event) => Err(Failure::no(journal::gone_table(at, event))),
        }
    }

    fn row(&mut self, key: &[u8], at: Option<u64>) -> Result<Option<PrintedRow>, Failure> {
        match self {
            Self::Journal { reader, row } => {
                let at = reader.table_at(row.actor, at).map_err(Failure::no)?;
                let found = reader.row(&at, key).map_err(Failure::no)?;
                Ok(found.map(|row| PrintedRow { key: key.to_vec(), value: row.value.to_vec(), written: row.written }))
            }
            Self::Running { client, id } => fetch_row(client, id, key, at),
            Self::File(_) => Err(no_rows()),
        }
    }

    fn rows_behind(
        &mut self,
        prefix: &[u8],
        behind: Option<&[u8]>,
        limit: u64,
        at: Option<u64>,
    ) -> Result<Vec<PrintedRow>, Failure> {
        match self {
            Self::Journal { reader, row } => {
                let at = reader.table_at(row.actor, at).map_err(Failure::no)?;
                let end = behind_prefix(prefix);
                let range = KeyRange::of(prefix, end.as_deref(), behind);
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                let rows = reader.rows(&at, range, limit, journal::PAGE_BYTES_OF_ROWS).map_err(Failure::no)?;
                let shown = |(key, row): (std::sync::Arc<[u8]>, journal::Row)| PrintedRow {
                    key: key.to_vec(),
                    value: row.value.to_vec(),
                    written: row.written,
                };
                Ok(rows.into_iter().map(shown).collect())
            }
            Self::Running { client, id } => {
                let page = fetch_page(client, id, prefix, behind, limit, at)?;
                page.into_iter().map(|view| shown_of(client, id, view, at)).collect()
            }
            Self::File(_) => Err(no_rows()),
        }
    }

    fn count_rows(&mut self, at: Option<u64>) -> Result<u64, Failure> {
        match self {
            Self::Journal { reader, row } => {
                let at = reader.table_at(row.actor, at).map_err(Failure::no)?;
                Ok(reader.row_count(&at, &[]).map_err(Failure::no)?)
            }
            Self::Running { client, id } => {
                let request = Request::CountRows { id: id.clone(), at };
                Ok(answered!(ask(client, &request), Response::RowCount { count, .. } => count))
            }
            Self::File(_) => Err(no_rows()),
        }
    }
}

fn no_rows() -> Failure {
    Failure::no(
        "the rows of a chain file are not shown: ask a running runtime, or read a data directory with --data-dir",
    )
}

fn shown_of(client: &mut Client, id: &str, view: RowView, at: Option<u64>) -> Result<PrintedRow, Failure> {
    let (key, value) = value_of(client, id, &view, at)?;
    Ok(PrintedRow { key, value, written: view.written })
}
