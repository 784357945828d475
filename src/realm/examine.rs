//! What an operator should know of the database servers before a realm depends on them.

use super::cluster::{Cluster, ClusterError};
use super::schema::version;
use super::statements::{EXAMINE, SCHEMA_VERSION, STANDBYS};
use crate::base::clock;

/// One thing that was looked at.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Examined {
    pub(crate) what: &'static str,
    pub(crate) found: String,
    pub(crate) is_well: bool,
    /// What to do about it.
    pub(crate) remedy: Option<String>,
}

impl Examined {
    fn new(what: &'static str, found: String, is_well: bool, remedy: &str) -> Self {
        Self { what, found, is_well, remedy: (!is_well).then(|| remedy.to_owned()) }
    }
}

/// Looks at the server that takes writes.
pub(crate) fn examine(cluster: &Cluster) -> Result<Vec<Examined>, ClusterError> {
    let named = |fault| cluster.named(fault);
    let mut connection = cluster.connect().map_err(named)?;
    let server = connection.server().to_string();
    let settings = connection.ask(EXAMINE, &[]).map_err(named)?;
    let standbys = connection.ask(STANDBYS, &[]).map_err(named)?;
    let begun = clock::now();
    // The server knows this one by now.
    connection.ask(EXAMINE, &[]).map_err(named)?;
    let micros = clock::since(begun).as_micros();
    let version = version(&mut connection).map_err(named)?;
    let text = |column| settings.rows.first().map_or(Ok(String::new()), |row| row.text(column)).map_err(named);
    let streaming = standbys.rows.first().map_or(Ok(0), |row| row.count(0)).map_err(named)?;
    let names = text(3)?;
    let mut examined = vec![
        Examined::new("server that takes writes", server, true, ""),
        Examined::new("version", text(0)?, true, ""),
        Examined::new("round trip", format!("{micros} µs"), true, ""),
    ];
    for (column, what) in [(1, "fsync"), (2, "full_page_writes")] {
        let found = text(column)?;
        let is_on = found == "on";
        let remedy = "set it to on: a power loss of the server would lose what was acknowledged";
        examined.push(Examined::new(what, found, is_on, remedy));
    }
    examined.push(Examined::new(
        "synchronous_standby_names",
        if names.is_empty() { "(empty)".into() } else { names.clone() },
        !names.is_empty(),
        "name two standbys, as ANY 1 (a, b), or run with --single-server: then the loss of the server's disk loses everything",
    ));
    examined.push(Examined::new(
        "standbys that stream",
        streaming.to_string(),
        names.is_empty() || streaming > 0,
        "start a standby: commits wait for one, and every realm with them",
    ));
    let (found, remedy) = match version {
        None => ("none".to_owned(), "make them with `theater cluster init`"),
        Some(found) => (format!("version {found}"), "use the program that made them, or a newer one"),
    };
    examined.push(Examined::new("tables of Theater", found, version == Some(SCHEMA_VERSION), remedy));
    Ok(examined)
}
