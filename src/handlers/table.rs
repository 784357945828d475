//! The handler `table`: rows of an actor's own, sorted by key, on disk and outside of its state.
//!
//! A table is the fold over the writes of the actor's transitions, so nothing is stored here: the recorder has the host calls
//! recorded, and asks `guest/table.rs` for rows. Reads are recorded by a digest, and computed again in a replay.

use serde::Deserialize;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::Grant;
use crate::base::limits::Limits;
use crate::chain::cbor::Cbor;
use crate::chain::data::{CallResult, Encoded};
use crate::chain::table::{COUNT, DELETE, GET, PUT, SCAN, TableWrite, digest_of_read};
use crate::guest::wit::{TablePage, WitRow};
use crate::guest::{Capability, HostState};
use crate::manifest::{HandlerEntry, ManifestError};

pub(super) const NAME: &str = "table";
pub(super) const IMPORTS: &[&str] = &["ntwk:theater/table"];

struct TableHandler;

#[derive(Deserialize)]
struct Config {}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> {
    if let Some(entry) = entry {
        let Config {} = entry.config(&[])?;
    }
    Ok(Box::new(TableHandler))
}

impl Grant for TableHandler {}

impl Capability for TableHandler {
    fn name(&self) -> &'static str {
        NAME
    }

    fn imports(&self) -> &'static [&'static str] {
        IMPORTS
    }

    fn link(&self, linker: &mut Linker<Box<HostState>>) -> wasmtime::Result<()> {
        let mut table = linker.instance(IMPORTS[0])?;
        table.func_wrap("get", get)?;
        table.func_wrap("put", put)?;
        table.func_wrap("delete", delete)?;
        table.func_wrap("scan", scan)?;
        table.func_wrap("count", |store, (): ()| count(store))
    }
}

type Store<'a> = StoreContextMut<'a, Box<HostState>>;
type Bytes = Vec<u8>;

/// Why a key is refused. Of one that is too long only the beginning is recorded, so that a guest cannot fill the disk with it.
fn bounded(limits: &Limits, what: &str, key: &mut Bytes) -> Option<String> {
    let (size, limit) = (key.len(), limits.table_key_bytes);
    if size as u64 <= limit {
        return None;
    }
    key.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Some(format!("{what} of {size} bytes: the limit table_key_bytes is {limit}"))
}

fn get(mut store: Store<'_>, (mut key,): (Bytes,)) -> wasmtime::Result<(Result<Option<Bytes>, String>,)> {
    let HostState { recorder, limits, .. } = &mut **store.data_mut();
    if let Some(why) = bounded(limits, "a key", &mut key) {
        return Ok((recorder.table_refusal(GET, &(key,), why)?,));
    }
    let params = (key,);
    let found = recorder.table_read(GET, &params, |table| {
        let cell = table.cell(&params.0)?;
        let digest = digest_of_read(cell.iter().map(|cell| &cell.hash));
        Ok((cell.map(|cell| cell.value.to_vec()), CallResult::Digest(digest)))
    })?;
    Ok((Ok(found),))
}

fn put(mut store: Store<'_>, (mut key, mut value): (Bytes, Bytes)) -> wasmtime::Result<(Result<(), String>,)> {
    let state = &mut **store.data_mut();
    let (live, limits) = (state.live().cloned(), std::sync::Arc::clone(&state.limits));
    let mut why = bounded(&limits, "a key", &mut key);
    let (size, limit) = (value.len(), limits.table_value_bytes);
    if size as u64 > limit {
        why = why.or_else(|| Some(format!("a value of {size} bytes: the limit table_value_bytes is {limit}")));
    }
    if let Some(why) = why {
        value.clear();
        return Ok((state.recorder.table_refusal(PUT, &(key, value), why)?,));
    }
    let params = (key, value);
    let write = TableWrite { key: params.0.clone(), value: Some(params.1.clone()) };
    let no_room = || live.and_then(|live| live.theater.journal.has_room_within().err()).map(|low| low.to_string());
    let done = state.recorder.table_write(PUT, &params, write, limits.table_writes, no_room, |_| Ok(()))?;
    Ok((done,))
}

fn delete(mut store: Store<'_>, (mut key,): (Bytes,)) -> wasmtime::Result<(Result<bool, String>,)> {
    let HostState { recorder, limits, .. } = &mut **store.data_mut();
    if let Some(why) = bounded(limits, "a key", &mut key) {
        return Ok((recorder.table_refusal(DELETE, &(key,), why)?,));
    }
    let params = (key,);
    let write = TableWrite { key: params.0.clone(), value: None };
    // To delete makes room in the end, so a full disk is no reason to refuse it.
    let was_there = recorder.table_write(
        DELETE,
        &params,
        write,
        limits.table_writes,
        || None,
        |table| Ok(table.cell(&params.0)?.is_some()),
    )?;
    Ok((was_there,))
}

fn scan(
    mut store: Store<'_>,
    (mut prefix, limit, mut cursor): (Bytes, u32, Option<Bytes>),
) -> wasmtime::Result<(Result<TablePage, String>,)> {
    let HostState { recorder, limits, .. } = &mut **store.data_mut();
    let mut why = bounded(limits, "a prefix", &mut prefix);
    why = why.or(cursor.as_mut().and_then(|cursor| bounded(limits, "a cursor", cursor)));
    if limit == 0 {
        why = why.or_else(|| Some("a scan of 0 rows: ask for at least 1".to_owned()));
    }
    let params = (prefix, limit, cursor);
    if let Some(why) = why {
        return Ok((recorder.table_refusal(SCAN, &params, why)?,));
    }
    let most = usize::try_from(u64::from(limit).min(limits.table_scan_rows)).unwrap_or(usize::MAX);
    let max_bytes = limits.table_scan_bytes;
    let page = recorder.table_read(SCAN, &params, |table| {
        let page = table.scan(&params.0, params.2.as_deref(), most, max_bytes)?;
        let digest = digest_of_read(page.cells.iter().map(|(_, cell)| &cell.hash).chain(&page.next));
        let cursor = page.next.and(page.cells.last()).map(|(key, _)| key.to_vec());
        let rows = page.cells.into_iter().map(|(key, cell)| WitRow { key: key.to_vec(), value: cell.value.to_vec() });
        Ok((TablePage { rows: rows.collect(), cursor }, CallResult::Digest(digest)))
    })?;
    Ok((Ok(page),))
}

fn count(mut store: Store<'_>) -> wasmtime::Result<(u64,)> {
    let recorder = &mut store.data_mut().recorder;
    let count = recorder.table_read(COUNT, &(), |table| {
        let count = table.count()?;
        Ok((count, CallResult::Whole(Encoded(count.to_cbor()))))
    })?;
    Ok((count,))
}
