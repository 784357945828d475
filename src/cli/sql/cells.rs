//! The values of cells: numbers, times, and data of events as JSON text.

use rusqlite::types::Value as Cell;

use super::super::times::date_and_time;
use crate::chain::ChainEvent;
use crate::chain::cbor::bytes_to_json;

/// Text, or NULL where there is none.
pub(super) fn text(text: Option<impl ToString>) -> Cell {
    text.map_or(Cell::Null, |text| Cell::Text(text.to_string()))
}

/// A number, or NULL where there is none. SQLite's integers are signed; what a journal counts does not reach 2^63.
pub(super) fn number(number: Option<u64>) -> Cell {
    number.map_or(Cell::Null, |number| Cell::Integer(i64::try_from(number).unwrap_or(i64::MAX)))
}

/// 1 or 0.
pub(super) fn flag(is_so: bool) -> Cell {
    Cell::Integer(i64::from(is_so))
}

/// A time as SQLite's own date functions write it, in UTC and to the millisecond, so that they can be compared with it.
pub(super) fn time(unix_ms: Option<u64>) -> Cell {
    text(unix_ms.map(date_and_time))
}

/// The milliseconds from one event to a later one; negative if the clock was set back in between.
pub(super) fn between(from: Option<u64>, to: Option<u64>) -> Cell {
    match (from, to) {
        (Some(from), Some(to)) => Cell::Integer(to.wrapping_sub(from).cast_signed()),
        _ => Cell::Null,
    }
}

/// A guest's bytes as JSON text.
pub(super) fn json_of_bytes(bytes: Option<&[u8]>) -> Cell {
    text(bytes.map(bytes_to_json))
}

/// The data of an event that has not dropped it. Damaged data is shown as the bytes that it is.
pub(super) fn json_of_data(event: &ChainEvent) -> String {
    event.data_as_json().unwrap_or_else(|| bytes_to_json(&event.data)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_negative_if_the_clock_was_set_back() {
        assert_eq!(between(Some(5), Some(3)), Cell::Integer(-2));
    }
}
