//! Statements and values that the files about tables share.

use rusqlite::{Connection, Error, OptionalExtension, Params, Result, Row, params};

use super::fact::{EventPlace, Landmark};

pub(super) fn landmark(
    connection: &Connection,
    actor: i64,
    landmark: Landmark,
    upto: u64,
) -> Result<Option<EventPlace>> {
    let mut select = connection.prepare_cached(
        "SELECT sequence, position FROM landmarks
         WHERE actor = ?1 AND landmark = ?2 AND sequence <= ?3 ORDER BY sequence DESC LIMIT 1",
    )?;
    select.query_row(params![actor, landmark.code(), capped(upto)], event_place).optional()
}

pub(super) fn event_place(row: &Row<'_>) -> Result<EventPlace> {
    Ok(EventPlace { sequence: unsigned(row, 0)?, position: unsigned(row, 1)? })
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| Error::IntegralValueOutOfRange(column, value))
}

/// For a question: what is not there is not there beyond SQLite's numbers either.
pub(super) fn capped(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// For a row: what does not fit is an error.
pub(super) fn signed(count: u64) -> Result<i64> {
    i64::try_from(count).map_err(|error| Error::ToSqlConversionFailure(error.into()))
}

pub(super) fn execute(connection: &Connection, statement: &str, params: impl Params) -> Result<()> {
    connection.prepare_cached(statement)?.execute(params).map(drop)
}
