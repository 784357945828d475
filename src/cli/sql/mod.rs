//! `theater sql`: SQL statements that read a journal, whether or not a runtime is at work on it.
//!
//! ```text
//!   statement ─▶ SQLite, with an empty database in memory ─▶ table.rs: actors, events, messages, http, states, failures,
//!                                                               │ timers, monitors, async_requests, table_rows,
//!                                                               │ dead_letters
//!                                                               │ what of WHERE narrows down what is read (wanted.rs)
//!                                                               ▼
//!                                       walk.rs: events, page by page ─▶ source.rs: the journal at one moment
//! ```

mod actors;
mod async_requests;
mod cells;
mod dead_letters;
mod events;
mod failures;
mod http;
mod messages;
mod monitors;
mod owed_rows;
mod print;
mod refusal;
mod source;
mod states;
mod table;
mod table_rows;
mod timers;
mod walk;
mod wanted;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use rusqlite::Connection;
use rusqlite::hooks::AuthContext;
use rusqlite::types::ValueRef;

use self::actors::ActorsTable;
use self::async_requests::AsyncRequestsTable;
use self::dead_letters::DeadLettersTable;
use self::events::EventsTable;
use self::failures::FailuresTable;
use self::http::HttpTable;
use self::messages::MessagesTable;
use self::monitors::MonitorsTable;
use self::print::{RowPrinter, SqlFormat};
use self::refusal::{StatementRefusal, only_reads};
use self::source::SqlSource;
use self::states::StatesTable;
use self::table::SqlTable;
use self::table_rows::RowsTable;
use self::timers::TimersTable;
use super::config::refused as wrong_settings;
use super::realm_copy::readable_dir;
use super::show::say;
use super::{Done, Failure, file_or_none, stderr};
use crate::config::Settings;

#[derive(Args)]
pub(super) struct SqlArgs {
    /// The statement; `-` reads it from standard input [default: show the tables and their columns]
    statement: Option<String>,
    /// How rows are printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "table")]
    format: SqlFormat,
    /// Print JSON: the same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Print at most so many rows; 0 for all
    #[arg(long, value_name = "ROWS", default_value_t = 1_000)]
    limit: u64,
    /// The data directory; a runtime may be using it [default: that of `theater run`]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The configuration file [default: theater.toml, if it exists]
    #[arg(long, value_name = "FILE", env = "THEATER_CONFIG", value_parser = file_or_none())]
    config: Option<PathBuf>,
}

pub(super) fn sql(args: &SqlArgs) -> Done {
    let format = if args.json { SqlFormat::Json } else { args.format };
    let statement = match args.statement.as_deref() {
        None => {
            show_tables(format);
            return Ok(());
        }
        Some("-") => std::io::read_to_string(std::io::stdin())
            .map_err(|error| Failure::no(format!("cannot read the statement: {error}")))?,
        Some(statement) => statement.to_owned(),
    };
    let dir = match &args.data_dir {
        Some(dir) => readable_dir(dir)?,
        None => Settings::of_environment(args.config.as_deref(), &[]).map_err(wrong_settings)?.data_dir(),
    };
    let source = Arc::new(SqlSource::open(&dir)?);
    let (connection, refusal) = connection(&source).map_err(Failure::no)?;
    let printed = print(&connection, &statement, format, args.limit);
    let is_cut = printed.map_err(|error| Failure::no(refusal.text(&error)))?;
    if is_cut {
        let limit = args.limit;
        stderr::tell(&format!("theater: cut after {limit} rows: --limit ROWS prints more, and --limit 0 all"));
    }
    if source.lacks_data() {
        stderr::tell("theater: the data of some events was dropped (prune, redact): NULL stands for what they said");
    }
    Ok(())
}

/// Runs the statement and prints its rows; whether there are more than may be printed.
fn print(connection: &Connection, statement: &str, format: SqlFormat, limit: u64) -> rusqlite::Result<bool> {
    let mut select = connection.prepare(statement)?;
    if select.column_count() == 0 {
        // SQLite asks nobody whether it may do these.
        let named = ["VACUUM", "REINDEX"].into_iter().find(|word| begins_with(statement, word));
        let why = named.map_or_else(|| "there is no statement that reads anything".to_owned(), only_reads);
        return Err(rusqlite::Error::ModuleError(why));
    }
    let columns: Vec<String> = select.column_names().into_iter().map(str::to_owned).collect();
    let count = columns.len();
    let mut rows = select.query([])?;
    let mut printer = RowPrinter::new(format, columns);
    let mut printed = 0;
    let ended = loop {
        match rows.next() {
            Ok(Some(_)) if limit > 0 && printed == limit => break Ok(true),
            Ok(Some(row)) => match (0..count).map(|at| row.get_ref(at)).collect::<rusqlite::Result<Vec<_>>>() {
                Ok(cells) => printer.row(&cells),
                Err(error) => break Err(error),
            },
            Ok(None) => break Ok(false),
            Err(error) => break Err(error),
        }
        printed += 1;
    };
    // What was read before an error is shown.
    printer.finish();
    ended
}

fn begins_with(statement: &str, word: &str) -> bool {
    statement.trim_start().get(..word.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(word))
}

/// What people are told of a table.
struct Described {
    name: &'static str,
    meaning: &'static str,
    /// Name, type and meaning of each column.
    columns: Vec<[&'static str; 3]>,
}

impl Described {
    fn of<R: SqlTable>() -> Self {
        let columns = R::COLUMNS.iter().map(|column| [column.name, column.sql_type, column.meaning]).collect();
        Self { name: R::NAME.to_str().unwrap_or_default(), meaning: R::MEANING, columns }
    }
}

fn described() -> [Described; 11] {
    [
        Described::of::<ActorsTable>(),
        Described::of::<EventsTable>(),
        Described::of::<MessagesTable>(),
        Described::of::<HttpTable>(),
        Described::of::<StatesTable>(),
        Described::of::<FailuresTable>(),
        Described::of::<TimersTable>(),
        Described::of::<MonitorsTable>(),
        Described::of::<AsyncRequestsTable>(),
        Described::of::<RowsTable>(),
        Described::of::<DeadLettersTable>(),
    ]
}

/// Prints all tables and their columns.
fn show_tables(format: SqlFormat) {
    if format == SqlFormat::Table {
        for Described { name, meaning, columns } in described() {
            say!("{name}: {meaning}");
            for [column, sql_type, meaning] in columns {
                say!("  {column:<13} {sql_type:<7} {meaning}");
            }
        }
        return;
    }
    let mut printer = RowPrinter::new(format, ["table", "column", "type", "meaning"].map(str::to_owned).to_vec());
    for Described { name, columns, .. } in described() {
        for [column, sql_type, meaning] in columns {
            printer.row(&[name, column, sql_type, meaning].map(ValueRef::from));
        }
    }
    printer.finish();
}

/// A connection that has the tables, and can do nothing but read them.
fn connection(source: &Arc<SqlSource>) -> rusqlite::Result<(Connection, StatementRefusal)> {
    let connection = Connection::open_in_memory()?;
    table::add::<ActorsTable>(&connection, source)?;
    table::add::<EventsTable>(&connection, source)?;
    table::add::<MessagesTable>(&connection, source)?;
    table::add::<HttpTable>(&connection, source)?;
    table::add::<StatesTable>(&connection, source)?;
    table::add::<FailuresTable>(&connection, source)?;
    table::add::<TimersTable>(&connection, source)?;
    table::add::<MonitorsTable>(&connection, source)?;
    table::add::<AsyncRequestsTable>(&connection, source)?;
    table::add::<RowsTable>(&connection, source)?;
    table::add::<DeadLettersTable>(&connection, source)?;
    let refusal = StatementRefusal::new(&described().map(|table| table.name), &connection)?;
    let judge = refusal.clone();
    connection.authorizer(Some(move |context: AuthContext<'_>| judge.judge(&context.action)))?;
    Ok((connection, refusal))
}
