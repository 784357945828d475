//! The values of cells: numbers, times, and data of events as JSON text.

use rusqlite::types::Value as Cell;

use crate::chain::ChainEvent;
use crate::chain::cbor::{Value, bytes_to_json};

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
    text(unix_ms.map(time_text))
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
    Value::parse(&event.data).map_or_else(|_| bytes_to_json(&event.data), |value| value.to_json()).to_string()
}

/// The calendar date by the days since the Unix epoch: years are counted from March in eras of 400 years, which all have
/// the same number of days (the algorithm `civil_from_days` of Howard Hinnant).
fn time_text(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000 + 719_468, unix_ms % 86_400_000);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02} {hours:02}:{minutes:02}:{seconds:02}.{:03}", ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_sqlite_writes_them() {
        let connection = rusqlite::Connection::open_in_memory().expect("SQLite");
        let mut select =
            connection.prepare("SELECT strftime('%Y-%m-%d %H:%M:%f', ?1 / 1000.0, 'unixepoch')").expect("a statement");
        let days = (0..200_000_u64).step_by(97).map(|day| day * 86_400_000 + 45_296_789);
        let ends = [0, 951_782_399_999, 951_782_400_000, 1_709_251_199_999, 4_107_542_399_999, 253_402_300_799_000];
        for unix_ms in days.filter(|unix_ms| *unix_ms < 253_402_300_799_000).chain(ends) {
            let sqlite: String = select.query_row([unix_ms.cast_signed()], |row| row.get(0)).expect("a time");
            assert_eq!(time_text(unix_ms), sqlite, "{unix_ms}");
        }
    }

    #[test]
    fn a_time_of_a_damaged_event_is_a_time_too() {
        assert!(time_text(u64::MAX).ends_with(":51.615"));
        assert_eq!(between(Some(5), Some(3)), Cell::Integer(-2));
    }
}
