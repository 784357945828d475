//! The `Date` header: the wall clock as HTTP writes it, formatted once a second.

use std::fmt::Write;

use crate::base::clock;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const SECONDS_PER_DAY: u64 = 86_400;

/// The text of one second, kept until the next.
#[derive(Debug, Default)]
pub(crate) struct DateText {
    second: u64,
    text: String,
}

impl DateText {
    /// The present moment, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub(crate) fn now(&mut self) -> &str {
        let second = clock::unix_ms() / 1_000;
        if self.second != second || self.text.is_empty() {
            self.second = second;
            self.text = imf_fixdate(second);
        }
        &self.text
    }
}

/// RFC 9110 §5.6.7.
fn imf_fixdate(unix_seconds: u64) -> String {
    let days = unix_seconds / SECONDS_PER_DAY;
    let second = unix_seconds % SECONDS_PER_DAY;
    let (year, month, day) = civil(days);
    let (weekday, month) = (DAYS[(days % 7) as usize], MONTHS[month as usize - 1]);
    let mut text = String::with_capacity(29);
    let (hours, minutes, seconds) = (second / 3600, second / 60 % 60, second % 60);
    write!(text, "{weekday}, {day:02} {month} {year:04} {hours:02}:{minutes:02}:{seconds:02} GMT")
        .expect("a String takes everything");
    text
}

/// Year, month and day of the day that is `days` after 1 January 1970: Howard Hinnant's `civil_from_days`, in which
/// years begin in March, so that the leap day is a year's last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (400 * era + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_http_wants_it() {
        assert_eq!(imf_fixdate(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(imf_fixdate(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(imf_fixdate(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(imf_fixdate(4_107_542_399), "Sun, 28 Feb 2100 23:59:59 GMT");
        assert_eq!(imf_fixdate(4_107_542_400), "Mon, 01 Mar 2100 00:00:00 GMT");
    }

    #[test]
    fn the_text_of_a_second_is_29_bytes() {
        assert_eq!(DateText::default().now().len(), 29);
    }
}
