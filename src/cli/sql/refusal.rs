//! What a statement may do, and what it is told when it may not: it reads the journal's tables and computes. Everything that
//! is not listed here is refused.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, Authorization};

/// The functions that compute something from what they are given, and touch nothing else. Others, also those of a later
/// SQLite, are refused: some of its functions load code, hand out addresses in memory, or write to a log.
#[rustfmt::skip]
const FUNCTIONS: [&str; 136] = [
    "->", "->>", "abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "avg", "ceil", "ceiling", "char",
    "coalesce", "concat", "concat_ws", "cos", "cosh", "count", "cume_dist", "current_date", "current_time",
    "current_timestamp", "date", "datetime", "degrees", "dense_rank", "exp", "first_value", "floor", "format", "glob",
    "group_concat", "hex", "if", "ifnull", "iif", "instr", "json", "json_array", "json_array_insert", "json_array_length",
    "json_error_position", "json_extract", "json_group_array", "json_group_object", "json_insert", "json_object",
    "json_patch", "json_pretty", "json_quote", "json_remove", "json_replace", "json_set", "json_type", "json_valid", "jsonb",
    "jsonb_array", "jsonb_array_insert", "jsonb_extract", "jsonb_group_array", "jsonb_group_object", "jsonb_insert",
    "jsonb_object", "jsonb_patch", "jsonb_remove", "jsonb_replace", "jsonb_set", "julianday", "lag", "last_value", "lead",
    "length", "like", "likelihood", "likely", "ln", "log", "log10", "log2", "lower", "ltrim", "max", "median", "min", "mod",
    "nth_value", "ntile", "nullif", "octet_length", "percent_rank", "percentile", "percentile_cont", "percentile_disc", "pi",
    "pow", "power", "printf", "quote", "radians", "random", "randomblob", "rank", "replace", "round", "row_number", "rtrim",
    "sign", "sin", "sinh", "soundex", "sqlite_version", "sqrt", "strftime", "string_agg", "substr", "substring", "subtype",
    "sum", "tan", "tanh", "time", "timediff", "total", "trim", "trunc", "typeof", "unhex", "unicode", "unistr",
    "unistr_quote", "unixepoch", "unlikely", "upper", "zeroblob",
];

/// What can be read beside the journal's tables: the parts of a JSON text, and what tables there are and of which columns.
const BESIDE: [&str; 7] =
    ["json_each", "json_tree", "jsonb_each", "jsonb_tree", "sqlite_master", "pragma_table_info", "pragma_table_xinfo"];

const A_CHANGE_OF_THE_SCHEMA: &str = "a change of the schema";

/// What a statement was refused for, if it was.
#[derive(Clone)]
pub(super) struct StatementRefusal {
    /// The journal's tables.
    tables: Arc<[&'static str]>,
    /// The tables that SQLite itself brings.
    modules: Arc<[String]>,
    refused: Arc<Mutex<Option<String>>>,
}

impl StatementRefusal {
    /// Nothing was refused yet, of statements that may read these tables on this connection.
    pub(super) fn new(tables: &[&'static str], connection: &Connection) -> rusqlite::Result<Self> {
        let mut modules = connection.prepare("SELECT name FROM pragma_module_list")?;
        let modules = modules.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        Ok(Self { tables: tables.into(), modules: modules.into(), refused: Arc::default() })
    }

    /// Whether a statement may do this.
    pub(super) fn judge(&self, action: &AuthAction<'_>) -> Authorization {
        let refused = match action {
            AuthAction::Select | AuthAction::Recursive => return Authorization::Allow,
            AuthAction::Read { table_name, .. } if self.is_readable(table_name) => return Authorization::Allow,
            // What `WITH name AS (…)` or a subquery calls so is asked about when only its rows are counted.
            AuthAction::Read { table_name, column_name: "" } if !self.is_of_sqlite(table_name) => {
                return Authorization::Allow;
            }
            AuthAction::Read { table_name, .. } => format!("the table {table_name}"),
            AuthAction::Function { function_name } if is_known(function_name) => return Authorization::Allow,
            AuthAction::Function { function_name } => format!("the function {function_name}"),
            // What `pragma_table_info('events')` reads.
            AuthAction::Pragma { pragma_name: "table_info" | "table_xinfo", .. } => return Authorization::Allow,
            AuthAction::Pragma { pragma_name, .. } => format!("PRAGMA {pragma_name}"),
            AuthAction::Attach { .. } => "ATTACH".into(),
            AuthAction::Detach { .. } => "DETACH".into(),
            // The schema is a table of SQLite's own.
            AuthAction::Insert { table_name } | AuthAction::Delete { table_name }
                if table_name.starts_with("sqlite_") =>
            {
                A_CHANGE_OF_THE_SCHEMA.into()
            }
            AuthAction::Insert { .. } => "INSERT".into(),
            AuthAction::Update { .. } => "UPDATE".into(),
            AuthAction::Delete { .. } => "DELETE".into(),
            AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => "a transaction".into(),
            AuthAction::Analyze { .. } => "ANALYZE".into(),
            AuthAction::Reindex { .. } => "REINDEX".into(),
            _ => A_CHANGE_OF_THE_SCHEMA.into(),
        };
        // The first is what the statement says; the others follow from it.
        self.refused.lock().get_or_insert(refused);
        Authorization::Deny
    }

    fn is_readable(&self, table: &str) -> bool {
        self.tables.contains(&table) || BESIDE.contains(&table)
    }

    fn is_of_sqlite(&self, table: &str) -> bool {
        let is_reserved = ["sqlite_", "pragma_"]
            .iter()
            .any(|prefix| table.get(..prefix.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(prefix)));
        is_reserved || self.modules.iter().any(|module| module.eq_ignore_ascii_case(table))
    }

    /// Why a statement failed.
    pub(super) fn text(&self, error: &rusqlite::Error) -> String {
        if let Some(refused) = self.refused.lock().as_ref() {
            return only_reads(refused);
        }
        let said = match error {
            rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
            rusqlite::Error::InvalidParameterCount(..) => {
                "the statement has parameters such as ?1: write their values into it".into()
            }
            rusqlite::Error::MultipleStatement => "there is more than one statement".into(),
            error => error.to_string(),
        };
        // SQLite says this of our tables without asking whether the statement may change them.
        if said.contains(" may not be ") || said.contains("on virtual tables") {
            return only_reads(&said);
        }
        if said.starts_with("no such table") {
            return format!("{said}; the tables are {}", self.tables.join(", "));
        }
        said
    }
}

/// What a statement is told that asks for something else than reading.
pub(super) fn only_reads(refused: &str) -> String {
    format!(
        "refused: {refused}: `theater sql` only reads the journal, with functions that only compute. To drop data, use \
         `theater prune`, `redact` or `forget`; to work on rows elsewhere, print them with --format csv or --format json"
    )
}

fn is_known(function: &str) -> bool {
    FUNCTIONS.iter().any(|known| known.eq_ignore_ascii_case(function))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Functions of SQLite that do more than compute, or that say something of the connection and not of the journal.
    const REFUSED: [&str; 24] = [
        "bm25",
        "changes",
        "fts3_tokenizer",
        "fts5",
        "fts5_get_locale",
        "fts5_insttoken",
        "fts5_locale",
        "fts5_source_id",
        "highlight",
        "last_insert_rowid",
        "load_extension",
        "match",
        "matchinfo",
        "offsets",
        "optimize",
        "rtreecheck",
        "rtreedepth",
        "rtreenode",
        "snippet",
        "sqlite_compileoption_get",
        "sqlite_compileoption_used",
        "sqlite_log",
        "sqlite_source_id",
        "total_changes",
    ];

    #[test]
    fn every_function_of_sqlite_is_either_known_to_compute_only_or_refused() {
        let connection = Connection::open_in_memory().expect("a database");
        let mut all = connection.prepare("SELECT DISTINCT name FROM pragma_function_list").expect("a statement");
        let all: Vec<String> =
            all.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("names");
        let neither: Vec<_> = all.iter().filter(|name| !is_known(name) && !REFUSED.contains(&name.as_str())).collect();
        assert!(all.len() > 100 && neither.is_empty(), "say of each whether it only computes: {neither:?}");
        assert!(!REFUSED.iter().any(|name| is_known(name)));
    }

    #[test]
    fn the_list_of_functions_is_in_order_and_says_nothing_twice() {
        assert!(FUNCTIONS.is_sorted_by(|before, after| before < after));
    }
}
