//! The commands that read an actor's table.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::lookup::known;
use super::paging::{Paging, Piece, Whole};
use super::protocol::{Response, RowView};
use crate::system::TheaterHandle;
use crate::theater::TableRow;

/// A value of more bytes is not in a page.
const VALUE_IN_A_PAGE: usize = 64 * 1024;
const PAGE_ROWS: u64 = 1_000;

fn decoded(what: &str, text: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(text).map_err(|error| format!("\"{what}\" is not base64: {error}"))
}

/// A page of rows.
pub(super) fn page(
    theater: &TheaterHandle,
    id: String,
    (prefix, behind): (&str, Option<String>),
    limit: Option<u64>,
    at: Option<u64>,
) -> Result<Response, String> {
    let actor = known(theater, &id)?.id;
    let prefix = decoded("prefix", prefix)?;
    let behind = behind.map(|key| decoded("behind", &key)).transpose()?;
    let limit = limit.unwrap_or(PAGE_ROWS).min(PAGE_ROWS) as usize;
    let found = theater.table_rows(actor, &prefix, behind.as_deref(), limit, at).map_err(|error| error.to_string())?;
    let next = found.last().map(|last| BASE64.encode(&last.key));
    let rows = found.into_iter().map(|row| RowView {
        key: BASE64.encode(&row.key),
        size: row.value.len() as u64,
        value: (row.value.len() <= VALUE_IN_A_PAGE).then(|| BASE64.encode(&row.value)),
        written: row.written,
        hash: row.hash.to_string(),
    });
    Ok(Response::Rows { id, rows: rows.collect(), next })
}

/// A piece of one value.
pub(super) fn row(
    theater: &TheaterHandle,
    paging: &mut Paging,
    id: String,
    key: String,
    offset: u64,
    at: Option<u64>,
) -> Result<Response, String> {
    let actor = known(theater, &id)?.id;
    let wanted = decoded("key", &key)?;
    let read = || theater.table_row(actor, &wanted, at).map_err(|error| error.to_string());
    // A value that is replaced while it is read piece by piece is given as it was.
    let whole = || Ok(read()?.map(|row: TableRow| (Some(row.written), row.value)));
    let piece = paging.piece(Whole::Row(id.clone(), key, at), offset, whole)?;
    let Some(Piece { size, sequence, bytes }) = piece else {
        return Ok(Response::Row { id, size: None, written: None, hash: None, offset, data: String::new() });
    };
    let hash = if offset == 0 { read()?.map(|row| row.hash.to_string()) } else { None };
    Ok(Response::Row { id, size: Some(size), written: sequence, hash, offset, data: BASE64.encode(bytes) })
}
