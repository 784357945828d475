//! Rows of a table, as a running runtime is asked for them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::Failure;
use super::connect::{answered, ask};
use crate::server::Client;
use crate::server::protocol::{Request, Response, RowView};

/// A row as it is printed.
pub(super) struct PrintedRow {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    pub(super) written: u64,
}

/// A page of rows, behind a key.
pub(super) fn fetch_page(
    client: &mut Client,
    id: &str,
    prefix: &[u8],
    behind: Option<&[u8]>,
    limit: u64,
    at: Option<u64>,
) -> Result<Vec<RowView>, Failure> {
    let (prefix, behind) = (BASE64.encode(prefix), behind.map(|key| BASE64.encode(key)));
    let request = Request::GetRows { id: id.to_owned(), prefix, behind, limit: Some(limit), at };
    Ok(answered!(ask(client, &request), Response::Rows { rows, .. } => rows))
}

/// The value of a row that a page shows: one that is too large for a page is fetched by itself.
pub(super) fn value_of(
    client: &mut Client,
    id: &str,
    view: &RowView,
    at: Option<u64>,
) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    let key = BASE64.decode(&view.key).map_err(Failure::no)?;
    let value = match &view.value {
        Some(value) => BASE64.decode(value).map_err(Failure::no)?,
        None => fetch_row(client, id, &key, at)?.map(|row| row.value).unwrap_or_default(),
    };
    Ok((key, value))
}

/// One row, whose value comes piece by piece.
pub(super) fn fetch_row(
    client: &mut Client,
    id: &str,
    key: &[u8],
    at: Option<u64>,
) -> Result<Option<PrintedRow>, Failure> {
    let mut value = Vec::new();
    loop {
        let offset = value.len() as u64;
        let request = Request::GetRow { id: id.to_owned(), key: BASE64.encode(key), offset, at };
        let (size, written, data) = answered!(
            ask(client, &request),
            Response::Row { size, written, data, .. } => (size, written, data)
        );
        let (Some(size), Some(written)) = (size, written) else { return Ok(None) };
        let stretch = BASE64.decode(data).map_err(Failure::no)?;
        let ended = stretch.is_empty();
        value.extend(stretch);
        if ended || value.len() as u64 >= size {
            return Ok(Some(PrintedRow { key: key.to_vec(), value, written }));
        }
    }
}
