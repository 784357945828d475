//! Times as people read and write them on the command line: UTC, to the millisecond.

use crate::base::clock;

const DAY_MS: u64 = 86_400_000;

/// The time of day.
pub(super) fn time(unix_ms: u64) -> String {
    let (seconds, ms) = (unix_ms / 1000 % 86_400, unix_ms % 1000);
    format!("{:02}:{:02}:{:02}.{ms:03}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The time of day, with the date before it if that is not today's.
pub(super) fn moment(unix_ms: u64) -> String {
    if unix_ms / DAY_MS == clock::unix_ms() / DAY_MS {
        return time(unix_ms);
    }
    format!("{}Z", date_and_time(unix_ms))
}

/// A time that lies so far back: `90s`, `10m`, `2h`, `1d`. In milliseconds.
pub(super) fn how_long(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is no such time: give a number and s, m, h or d, such as 10m");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    count.checked_mul(seconds * 1_000).ok_or_else(wrong)
}

/// The date and the time of day, UTC, to the millisecond, as SQLite writes them. The calendar date by the days since the Unix epoch: years are counted from March in eras of 400 years, which all have
/// the same number of days (the algorithm `civil_from_days` of Howard Hinnant).
pub(super) fn date_and_time(unix_ms: u64) -> String {
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
            assert_eq!(date_and_time(unix_ms), sqlite, "{unix_ms}");
        }
    }

    #[test]
    fn a_time_of_a_damaged_event_is_a_time_too() {
        assert!(date_and_time(u64::MAX).ends_with(":51.615"));
        assert_eq!(time(u64::MAX).len(), "00:00:00.000Z".len());
    }

    #[test]
    fn the_date_is_shown_where_it_is_not_today() {
        assert_eq!(moment(0), "1970-01-01 00:00:00.000Z");
        let now = clock::unix_ms();
        assert!(moment(now) == time(now) || now % DAY_MS > DAY_MS - 1_000, "unless the day has just ended");
    }

    #[test]
    fn how_long_ago_is_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("2h", 7_200), ("1d", 86_400), ("0s", 0)] {
            assert_eq!(how_long(text), Ok(seconds * 1_000), "{text}");
        }
        for wrong in
            ["", "m", "10", "10 m", "-1h", "1.5h", "1w", "10ä", "99999999999999999999d", "18446744073709551615d"]
        {
            assert!(how_long(wrong).is_err(), "{wrong}");
        }
    }
}
