//! `[[listeners]]` of `theater.toml`: the HTTP listeners of the runtime, with their routes.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::route_limits::{flag, settings};
use crate::manifest::{ManifestError, ManifestSource};
use crate::server::{RequestRoute, RouteSettings, RoutedListener, TlsFiles};

/// The section's name.
pub(super) const SECTION: &str = "listeners";

const KEYS: &[&str] = &["listen", "tls", "access_log", "compress", "routes"];
const ROUTE_KEYS: &[&str] = &["host", "path", "to", "idempotency", "rate", "concurrency", "retry"];
const TLS_KEYS: &[&str] = &["cert", "key"];

/// Reads all listeners; paths are relative to the directory of the file.
pub(super) fn read(
    source: &ManifestSource,
    section: &Spanned<DeValue<'_>>,
) -> Result<Vec<RoutedListener>, ManifestError> {
    let tables = tables(source, section, "\"listeners\" is a list of tables: [[listeners]]")?;
    tables.into_iter().map(|(at, table)| listener(source, at, table)).collect()
}

fn listener(source: &ManifestSource, at: usize, table: &DeTable<'_>) -> Result<RoutedListener, ManifestError> {
    const OF: &str = " of [[listeners]]";
    source.check_keys(table, KEYS, OF)?;
    let listen = text(source, table, "listen", OF)?;
    let listen =
        listen.ok_or_else(|| source.error(Some(at), "a listener needs an address: listen = \"127.0.0.1:8080\""))?;
    let bad_address = |_| source.error(Some(at), format!("\"listen\" is an IP address and a port, not {listen:?}"));
    let listen = listen.parse().map_err(bad_address)?;
    let (logs, compresses) = (flag(source, table, "access_log")?, flag(source, table, "compress")?);
    let tls = table.get("tls").map(|value| tls(source, value)).transpose()?;
    let Some(routes) = table.get("routes") else {
        return Err(source.error(Some(at), "a listener needs routes: [[listeners.routes]] with \"path\" and \"to\""));
    };
    let routes = tables(source, routes, "\"routes\" is a list of tables: [[listeners.routes]]")?;
    if routes.is_empty() {
        return Err(source.error(Some(at), "\"routes\" is empty: a listener without routes answers nobody"));
    }
    let mut read: Vec<(RequestRoute, RouteSettings)> = Vec::new();
    for (at, table) in routes {
        let (route, settings) = route(source, at, table)?;
        if read.iter().any(|(before, _)| before.covers(&route)) {
            return Err(source.error(Some(at), "no request comes to this route: one before it takes them all"));
        }
        read.push((route, settings));
    }
    let routes = read;
    Ok(RoutedListener { listen, tls, logs, compresses, routes })
}

fn route(
    source: &ManifestSource,
    at: usize,
    table: &DeTable<'_>,
) -> Result<(RequestRoute, RouteSettings), ManifestError> {
    const OF: &str = " of [[listeners.routes]]";
    source.check_keys(table, ROUTE_KEYS, OF)?;
    let needed = |key: &str| {
        text(source, table, key, OF)?.ok_or_else(|| source.error(Some(at), format!("a route needs \"{key}\"")))
    };
    let host = text(source, table, "host", OF)?;
    let route = RequestRoute::read(host.as_deref(), &needed("path")?, &needed("to")?);
    let route = route.map_err(|why| source.error(Some(at), why))?;
    Ok((route, settings(source, table)?))
}

fn tls(source: &ManifestSource, value: &Spanned<DeValue<'_>>) -> Result<TlsFiles, ManifestError> {
    const OF: &str = " of \"tls\"";
    let at = Some(value.span().start);
    let both = || source.error(at, "\"tls\" needs both files: tls = { cert = \"cert.pem\", key = \"key.pem\" }");
    let DeValue::Table(table) = value.get_ref() else { return Err(both()) };
    source.check_keys(table, TLS_KEYS, OF)?;
    let file = |key: &str| Ok(beside(source, &text(source, table, key, OF)?.ok_or_else(both)?));
    Ok(TlsFiles { certificate: file("cert")?, key: file("key")? })
}

fn beside(source: &ManifestSource, file: &str) -> PathBuf {
    source.path.parent().unwrap_or(Path::new("")).join(file)
}

fn text(source: &ManifestSource, table: &DeTable<'_>, key: &str, of: &str) -> Result<Option<String>, ManifestError> {
    match table.get(key).map(|value| (value.span().start, value.get_ref())) {
        None => Ok(None),
        Some((_, DeValue::String(text))) => Ok(Some(text.to_string())),
        Some((at, _)) => Err(source.error(Some(at), format!("\"{key}\"{of} is text, in quotes"))),
    }
}

/// The tables of a list, each with its place.
fn tables<'a, 'b>(
    source: &ManifestSource,
    value: &'a Spanned<DeValue<'b>>,
    wrong: &str,
) -> Result<Vec<(usize, &'a DeTable<'b>)>, ManifestError> {
    let refused = |at: usize| source.error(Some(at), wrong);
    let DeValue::Array(list) = value.get_ref() else { return Err(refused(value.span().start)) };
    let table = |value: &'a Spanned<DeValue<'b>>| match value.get_ref() {
        DeValue::Table(table) => Ok((value.span().start, table)),
        _ => Err(refused(value.span().start)),
    };
    list.iter().map(table).collect()
}
