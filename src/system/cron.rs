//! Cron expressions: five fields (minute, hour, day of the month, month, weekday) in a time zone, and when they match next.
//!
//! What local times mean while clocks are changed depends on the hour field, as in other crons:
//!
//! - The hour is `*`: every moment counts whose local time matches. An hour that a zone goes through twice has matches
//!   both times; an hour that it leaves out has none.
//! - The hour is anything else: every local time counts once. Of a time that comes twice, the first one counts. A time
//!   that is left out stands for the moment at which the clocks were put forward; several of them are one round.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// An expression or a name of a zone is not longer than this.
pub(crate) const CRON_BYTES: usize = 256;
/// The longest time between two matches of an expression that ever matches: the 29th of February 2096 and that of 2104.
const SEARCHED_DAYS: u32 = 9 * 366;
const MINUTE_MS: u64 = 60_000;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// An expression in a time zone.
#[derive(Clone, Debug)]
pub(crate) struct Cron {
    minutes: Values,
    hours: Values,
    days: Values,
    months: Values,
    weekdays: Values,
    zone: TimeZone,
}

/// The values of one field, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Values {
    bits: u64,
    /// The field begins with `*`, so it does not restrict the days.
    is_any: bool,
    /// The field is `*` alone.
    is_star: bool,
}

/// What a field may hold.
struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    /// The names of the values from `least` on.
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, names: &[] },
    Field { name: "hour", least: 0, most: 23, names: &[] },
    Field { name: "day of the month", least: 1, most: 31, names: &[] },
    Field { name: "month", least: 1, most: 12, names: &MONTHS },
    // 7 is Sunday, too.
    Field { name: "weekday", least: 0, most: 7, names: &WEEKDAYS },
];

/// Refuses an expression or a name of a zone that is too long.
pub(crate) fn check_lengths(expression: &str, zone: &str) -> Result<(), String> {
    for (what, text) in [("expression", expression), ("time zone", zone)] {
        if text.len() > CRON_BYTES {
            return Err(format!("the {what} has {} bytes; it can have {CRON_BYTES}", text.len()));
        }
    }
    Ok(())
}

impl Cron {
    /// Reads an expression, and finds its zone. The error says what is wrong, and what to write instead.
    pub(crate) fn parse(expression: &str, zone: &str) -> Result<Self, String> {
        check_lengths(expression, zone)?;
        let fields: Vec<&str> = expression.split_ascii_whitespace().collect();
        let Ok(fields) = <[&str; 5]>::try_from(fields.as_slice()) else {
            let found = fields.len();
            return Err(format!(
                "\"{expression}\" has {found} fields, and a cron expression has five: minute, hour, day of the month, \
                 month, weekday"
            ));
        };
        let mut values = [Values { bits: 0, is_any: false, is_star: false }; 5];
        for ((field, text), read) in FIELDS.iter().zip(fields).zip(&mut values) {
            *read = field.read(text).map_err(|why| format!("the {} \"{text}\": {why}", field.name))?;
        }
        let [minutes, hours, days, months, mut weekdays] = values;
        weekdays.bits |= weekdays.bits >> 7 & 1;
        let cron = Self { minutes, hours, days, months, weekdays, zone: zone_called(zone)? };
        if cron.next_after(0).is_none() {
            return Err(format!("\"{expression}\" never matches: no month that it names has such a day"));
        }
        Ok(cron)
    }

    /// The first match behind this time, in milliseconds since the Unix epoch; `None` if the calendar ends before it.
    pub(crate) fn next_after(&self, unix_ms: u64) -> Option<u64> {
        let after = timestamp(unix_ms)?;
        let mut day = self.zone.to_datetime(after).date();
        for _ in 0..SEARCHED_DAYS {
            if self.matches_day(day)
                && let Some(found) = self.first_on(day, after)
            {
                return u64::try_from(found.as_millisecond()).ok();
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    /// As usual, a day has to match both the day of the month and the weekday; if neither of these begins with `*`, one of
    /// the two is enough.
    fn matches_day(&self, day: Date) -> bool {
        let is_day = self.days.has(day.day());
        let is_weekday = self.weekdays.has(day.weekday().to_sunday_zero_offset());
        let fits = if self.days.is_any || self.weekdays.is_any { is_day && is_weekday } else { is_day || is_weekday };
        self.months.has(day.month()) && fits
    }

    /// The first match on a day that lies behind `after`.
    fn first_on(&self, day: Date, after: Timestamp) -> Option<Timestamp> {
        if self.hours.is_star { self.first_moment_on(day, after) } else { self.first_local_time_on(day, after) }
    }

    fn first_moment_on(&self, day: Date, after: Timestamp) -> Option<Timestamp> {
        let begins = self.moment(day.at(0, 0, 0, 0))?;
        let from = u64::try_from(begins.max(after).as_millisecond()).ok()?;
        let mut minute = if begins > after { from } else { from - from % MINUTE_MS + MINUTE_MS };
        loop {
            let moment = timestamp(minute)?;
            let local = self.zone.to_datetime(moment);
            if local.date() != day {
                return None;
            }
            if self.minutes.has(local.minute()) {
                return Some(moment);
            }
            minute += MINUTE_MS;
        }
    }

    fn first_local_time_on(&self, day: Date, after: Timestamp) -> Option<Timestamp> {
        let hours = (0..24).filter(|hour| self.hours.has(*hour));
        let times = hours.flat_map(|hour| (0..60).filter(|minute| self.minutes.has(*minute)).map(move |it| (hour, it)));
        times.filter_map(|(hour, minute)| self.moment(day.at(hour, minute, 0, 0))).find(|moment| *moment > after)
    }

    /// The moment that a local time stands for.
    fn moment(&self, local: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
                offset.to_timestamp(local).ok()
            }
            AmbiguousOffset::Gap { before, .. } => {
                // By the offset of before the gap, the local time lies behind the moment of the change.
                let behind = before.to_timestamp(local).ok()?;
                let just_behind = Timestamp::from_millisecond(behind.as_millisecond() + 1).ok()?;
                self.zone.preceding(just_behind).next().map(|change| change.timestamp())
            }
        }
    }
}

fn timestamp(unix_ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()
}

impl Values {
    fn has(self, value: i8) -> bool {
        self.bits >> value & 1 == 1
    }
}

impl Field {
    fn read(&self, text: &str) -> Result<Values, String> {
        let mut bits = 0;
        for part in text.split(',') {
            if part.is_empty() {
                return Err("a part of the list is empty: write a value on each side of a comma".into());
            }
            bits |= self.part(part)?;
        }
        Ok(Values { bits, is_any: text.starts_with('*'), is_star: text == "*" })
    }

    /// One part of a list: `*`, `a`, `a-b`, `*/step` or `a-b/step`.
    fn part(&self, part: &str) -> Result<u64, String> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (self.value(first)?, self.value(last)?),
            None if range == "*" => (self.least, self.last()),
            None if step.is_some() => {
                return Err(format!(
                    "a step needs a range: write {range}-{}/{}",
                    self.last(),
                    step.unwrap_or_default()
                ));
            }
            None => {
                let value = self.value(range)?;
                (value, value)
            }
        };
        if first > last {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            return Err(format!(
                "the range {range} goes backwards; write two: {from}-{},{}-{to}",
                self.last(),
                self.least
            ));
        }
        let step = match step {
            None => 1,
            Some(step) => match step.parse::<u8>() {
                Ok(step) if step > 0 => step,
                _ => return Err(format!("\"{step}\" is no step: write a number from 1 to 255")),
            },
        };
        Ok((first..=last).step_by(step.into()).fold(0, |bits, value| bits | 1 << value))
    }

    /// The last value of `*`: Sunday is counted once.
    fn last(&self) -> u8 {
        if self.most == 7 { 6 } else { self.most }
    }

    fn value(&self, text: &str) -> Result<u8, String> {
        let named = self.names.iter().zip(self.least..).find(|(name, _)| name.eq_ignore_ascii_case(text));
        if let Some((_, value)) = named {
            return Ok(value);
        }
        let is_number = !text.is_empty() && text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<u8>().ok().filter(|_| is_number);
        number.filter(|number| (self.least..=self.most).contains(number)).ok_or_else(|| {
            let names = match (self.names.first(), self.names.last()) {
                (Some(first), Some(last)) => format!(", or {first} to {last}"),
                _ => String::new(),
            };
            format!("\"{text}\" is no {}: that is {} to {}{names}", self.name, self.least, self.most)
        })
    }
}

/// The time zone that a text names: `UTC`, a fixed offset such as `+02:00`, or a name of the IANA database.
fn zone_called(name: &str) -> Result<TimeZone, String> {
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    if name.starts_with(['+', '-']) {
        return fixed(name)
            .map(TimeZone::fixed)
            .ok_or_else(|| format!("\"{name}\" is no offset: write it as +02:00 or -09:30, with at most 23:59"));
    }
    TimeZone::get(name).map_err(|_| {
        format!(
            "there is no time zone \"{name}\" here: write UTC, an offset such as +02:00, or a name such as \
             Europe/Berlin"
        )
    })
}

fn fixed(text: &str) -> Option<Offset> {
    let (sign, digits) = text.split_at_checked(1)?;
    let (hours, minutes) = digits.split_once(':')?;
    let number = |text: &str, below: i32| {
        let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i32>().ok().filter(|number| is_number && *number < below)
    };
    let seconds = number(hours, 24)? * 3_600 + number(minutes, 60)? * 60;
    Offset::from_seconds(if sign == "-" { -seconds } else { seconds }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(moment: &str) -> u64 {
        let moment: Timestamp = moment.parse().expect("a moment");
        moment.as_millisecond().try_into().expect("after 1970")
    }

    fn shown(ms: u64) -> String {
        timestamp(ms).expect("a moment").to_string()
    }

    /// The first matches behind a moment.
    fn matches<const N: usize>(expression: &str, zone: &str, after: &str) -> [String; N] {
        let cron = Cron::parse(expression, zone).unwrap_or_else(|why| panic!("{why}"));
        let mut at = ms(after);
        std::array::from_fn(|_| {
            at = cron.next_after(at).expect("there is always another");
            shown(at)
        })
    }

    fn refusal(expression: &str, zone: &str) -> String {
        Cron::parse(expression, zone).map(drop).expect_err(expression)
    }

    #[test]
    fn the_next_match_lies_behind_the_time_that_was_asked_for() {
        assert_eq!(
            matches("*/20 9-10 * * *", "UTC", "2026-03-01T09:20:00Z"),
            ["2026-03-01T09:40:00Z", "2026-03-01T10:00:00Z", "2026-03-01T10:20:00Z"]
        );
        assert_eq!(matches("* * * * *", "UTC", "2026-03-01T09:20:30.5Z"), ["2026-03-01T09:21:00Z"]);
        assert_eq!(matches("0 0 1 1 *", "UTC", "2026-01-01T00:00:00Z"), ["2027-01-01T00:00:00Z"]);
    }

    #[test]
    fn names_lists_ranges_and_steps_are_understood() {
        assert_eq!(
            matches("5 4 * jan,Jul MON-fri/2", "UTC", "2026-01-01T00:00:00Z"),
            ["2026-01-02T04:05:00Z", "2026-01-05T04:05:00Z", "2026-01-07T04:05:00Z"]
        );
        let sundays = ["2026-03-01T00:00:00Z", "2026-03-08T00:00:00Z"];
        for sunday in ["0", "7", "sun"] {
            assert_eq!(matches(&format!("0 0 * * {sunday}"), "UTC", "2026-02-28T00:00:00Z"), sundays);
        }
    }

    #[test]
    fn of_a_day_and_a_weekday_one_is_enough_and_of_a_star_and_another_both_are_needed() {
        assert_eq!(
            matches("0 0 13 * fri", "UTC", "2026-03-01T00:00:00Z"),
            ["2026-03-06T00:00:00Z", "2026-03-13T00:00:00Z", "2026-03-20T00:00:00Z"]
        );
        assert_eq!(matches("0 0 */2 * fri", "UTC", "2026-03-07T00:00:00Z"), ["2026-03-13T00:00:00Z"]);
    }

    #[test]
    fn a_leap_day_is_found_however_far_it_lies() {
        assert_eq!(matches("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z"), ["2104-02-29T00:00:00Z"]);
        assert!(refusal("0 0 30 2 *", "UTC").ends_with("never matches: no month that it names has such a day"));
    }

    #[test]
    fn an_offset_shifts_the_local_time() {
        assert_eq!(matches("0 1 * * *", "+02:00", "2026-03-01T00:00:00Z"), ["2026-03-01T23:00:00Z"]);
        assert_eq!(matches("0 1 * * *", "-09:30", "2026-03-01T00:00:00Z"), ["2026-03-01T10:30:00Z"]);
    }

    #[test]
    fn a_fixed_time_that_the_zone_leaves_out_stands_for_the_moment_of_the_change() {
        // In Berlin, 02:00 to 03:00 does not exist on 2026-03-29.
        assert_eq!(
            matches("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z"),
            ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
        );
        assert_eq!(
            matches("*/20 2-3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z"),
            ["2026-03-29T01:00:00Z", "2026-03-29T01:20:00Z", "2026-03-29T01:40:00Z", "2026-03-30T00:00:00Z"]
        );
    }

    #[test]
    fn a_fixed_time_that_comes_twice_counts_once() {
        // In Berlin, 02:00 to 03:00 comes twice on 2026-10-25.
        assert_eq!(
            matches("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z"),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
    }

    #[test]
    fn with_a_star_for_the_hour_each_moment_counts_whatever_the_zone_does() {
        assert_eq!(
            matches("30 * * * *", "Europe/Berlin", "2026-03-28T23:45:00Z"),
            ["2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z"]
        );
        assert_eq!(
            matches("30 * * * *", "Europe/Berlin", "2026-10-24T23:45:00Z"),
            ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"]
        );
    }

    #[test]
    fn an_expression_that_says_nothing_is_refused_with_the_remedy() {
        assert!(refusal("* * * *", "UTC").contains("has 4 fields, and a cron expression has five"));
        assert_eq!(refusal("60 * * * *", "UTC"), "the minute \"60\": \"60\" is no minute: that is 0 to 59");
        assert_eq!(
            refusal("* * * foo *", "UTC"),
            "the month \"foo\": \"foo\" is no month: that is 1 to 12, or jan to dec"
        );
        assert!(refusal("* 5/2 * * *", "UTC").ends_with("a step needs a range: write 5-23/2"));
        assert!(refusal("* */0 * * *", "UTC").ends_with("\"0\" is no step: write a number from 1 to 255"));
        assert!(refusal("* 22-2 * * *", "UTC").ends_with("goes backwards; write two: 22-23,0-2"));
        for bad in ["", ",", "-", "1-", "+1", " ", "1,,2", "001", "1-2-3", "*-3", "\u{661}"] {
            refusal(&format!("{bad} * * * *"), "UTC");
        }
        assert!(refusal(&" *".repeat(200), "UTC").contains("it can have 256"));
    }

    #[test]
    fn a_zone_that_does_not_exist_is_refused_with_the_remedy() {
        assert!(refusal("* * * * *", "Europe/Atlantis").starts_with("there is no time zone \"Europe/Atlantis\" here"));
        for bad in ["+2", "+24:00", "-01:60", "+1:00", "+01:0", "+-1:00", "+", "+01:00:00", ""] {
            refusal("* * * * *", bad);
        }
    }
}
