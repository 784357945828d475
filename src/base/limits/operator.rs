//! The limits of a runtime as a whole and of its management server, as one table each: name, environment variable,
//! default, possible range, and what happens beyond the limit. `theater.toml` sets them under `[limits]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{FRAME_BYTES, KIB, MIB};

/// One row of a table of limits that an operator sets.
pub(crate) struct DeclaredSetting {
    /// The key in `theater.toml`.
    pub(crate) key: &'static str,
    pub(crate) environment: &'static [&'static str],
    pub(crate) default: u64,
    pub(crate) range: RangeInclusive<u64>,
    /// The row's text: what the limit bounds, and what happens beyond it. `docs/limits.md` has the same text.
    #[cfg(test)]
    doc: &'static str,
}

/// The type of a limit, made of the whole number that an operator writes.
trait FromNumber {
    fn from_number(number: u64) -> Self;
}

impl FromNumber for usize {
    fn from_number(number: u64) -> Self {
        Self::try_from(number).unwrap_or(Self::MAX)
    }
}

impl FromNumber for u64 {
    fn from_number(number: u64) -> Self {
        number
    }
}

impl FromNumber for Duration {
    /// A limit that is a time is written in milliseconds.
    fn from_number(number: u64) -> Self {
        Self::from_millis(number)
    }
}

/// Makes of one table: the struct with a documented field for each limit, its defaults, the settings of `theater.toml`,
/// and the rows of `docs/limits.md`.
macro_rules! operator_limits {
    (
        $(#[$about:meta])* $type:ident;
        $($(#[doc = $doc:literal])* $name:ident: $kind:ty, $key:literal or $variable:literal = $default:expr, from $range:expr;)*
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $type { $($(#[doc = $doc])* pub $name: $kind,)* }

        impl Default for $type {
            fn default() -> Self { Self { $($name: FromNumber::from_number($default),)* } }
        }

        impl $type {
            /// Every limit, in the order of the table.
            pub(crate) const ALL: &[DeclaredSetting] = &[$(DeclaredSetting {
                key: concat!("limits.", $key),
                environment: &[$variable],
                default: $default,
                range: $range,
                #[cfg(test)]
                doc: concat!($($doc),*),
            }),*];

            /// The limits with the values that `setting` gives for their keys.
            pub(crate) fn of_settings(setting: impl Fn(&str) -> u64) -> Self {
                Self { $($name: FromNumber::from_number(setting(concat!("limits.", $key))),)* }
            }
        }
    };
}

const GIB: u64 = 1024 * MIB;
/// The longest time after which an actor falls asleep: thirty days.
pub(crate) const SLEEP_AFTER_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// The largest frame, which one connection must always be able to answer.
const FRAME: u64 = FRAME_BYTES as u64;

operator_limits! {
    /// The limits of the management server.
    ManagementLimits;
    /// Connections at a time. Beyond it an idle connection is closed; if none is idle, the new one is refused.
    connections: usize, "management_connections" or "THEATER_MANAGEMENT_CONNECTIONS" = 1_024, from 1..=16_384;
    /// Subscriptions of one connection. Beyond it: `Error`.
    subscriptions: usize, "management_subscriptions" or "THEATER_MANAGEMENT_SUBSCRIPTIONS" = 4_096, from 1..=65_536;
    /// Subscriptions of one connection to trees or to all actors; each of them reads the whole journal. Beyond it:
    /// `Error`.
    wide_subscriptions: usize, "management_wide_subscriptions" or "THEATER_MANAGEMENT_WIDE_SUBSCRIPTIONS" = 16, from 0..=1_024;
    /// How long a client's socket may stay full. Beyond it the client gets a last `Error` within 5 s, then the connection
    /// is closed.
    patience: Duration, "management_patience_ms" or "THEATER_MANAGEMENT_PATIENCE_MS" = 10_000, from 100..=600_000;
    /// How long a client that must authenticate may take to do so. Beyond it the connection is closed.
    authentication: Duration, "management_authentication_ms" or "THEATER_MANAGEMENT_AUTHENTICATION_MS" = 10_000, from 100..=600_000;
    /// One frame from a client; the default is the highest value. Beyond it: `Error`, and the connection is closed.
    frame_bytes: usize, "management_frame_bytes" or "THEATER_MANAGEMENT_FRAME_BYTES" = FRAME, from KIB..=FRAME;
    /// The time for a frame from its first byte on. Beyond it: `Error`, and the connection is closed.
    frame_time: Duration, "management_frame_ms" or "THEATER_MANAGEMENT_FRAME_MS" = 60_000, from 100..=600_000;
    /// Answers in progress on one connection. Beyond it its next command waits until the answers are read.
    answer_bytes: usize, "management_answer_bytes" or "THEATER_MANAGEMENT_ANSWER_BYTES" = 16 * MIB, from FRAME..=GIB;
    /// Answers in progress on all connections. Beyond it commands whose answer may be long wait in their order for 30 s,
    /// then `Error`; each connection may always have one answer of up to 64 KiB.
    answers_bytes: usize, "management_answers_bytes" or "THEATER_MANAGEMENT_ANSWERS_BYTES" = 128 * MIB, from FRAME..=64 * GIB;
}

operator_limits! {
    /// The limits of a runtime as a whole.
    RuntimeLimits;
    /// Records that wait to be written to disk. Beyond it the thread that records waits.
    journal_queue_bytes: usize, "journal_queue_bytes" or "THEATER_JOURNAL_QUEUE_BYTES" = 64 * MIB, from 64 * KIB..=64 * GIB;
    /// The HTTP requests of all actors in progress; each needs a thread. Beyond it: `Err`.
    http_exchanges: usize, "http_exchanges" or "THEATER_HTTP_EXCHANGES" = 1_024, from 0..=65_536;
    /// What is to stay free on the disk of the data directory. With less, new work is refused until there is room again:
    /// 503, `Error`, `Err` of `spawn`; timers that are due wait. With less than half, `Err` of `send`, `request`,
    /// `request-async`, `defer` and of what sets a timer, too. 0 turns this off.
    min_free_bytes: u64, "min_free_bytes" or "THEATER_MIN_FREE_BYTES" = 256 * MIB, from 0..=64 * GIB;
    /// The time without anything to do after which an actor falls asleep, unless its manifest says otherwise: it gives its
    /// thread and its memory back until something is there for it. 0 turns this off.
    sleep_after_ms: u64, "sleep_after_ms" or "THEATER_SLEEP_AFTER_MS" = 0, from 0..=SLEEP_AFTER_MS;
    /// Actors that are awake at a time. Beyond it actors that are roused, and new ones, wait until others fall asleep; if
    /// none can sleep, new ones are refused. 0 leaves it to what the machine holds.
    awake_actors: u64, "awake_actors" or "THEATER_AWAKE_ACTORS" = 0, from 0..=1_048_576;
}

#[cfg(test)]
mod tests {
    use super::super::actor::tests::spell;
    use super::*;

    #[test]
    fn the_document_has_the_rows_of_both_tables() {
        let document = include_str!("../../../docs/limits.md");
        for DeclaredSetting { key, default, doc, .. } in ManagementLimits::ALL.iter().chain(RuntimeLimits::ALL) {
            let name = key.strip_prefix("limits.").expect("the section of the file");
            let row = format!("| `{name}` | {} | {} |", spell(name, *default), doc.trim_start());
            assert!(document.contains(&row), "docs/limits.md lacks {row}");
        }
    }

    #[test]
    fn defaults_are_what_their_settings_give() {
        let default = |key: &str| {
            let mut all = ManagementLimits::ALL.iter().chain(RuntimeLimits::ALL);
            all.find(|declared| declared.key == key).expect("a key of the table").default
        };
        assert_eq!(ManagementLimits::of_settings(default), ManagementLimits::default());
        assert_eq!(RuntimeLimits::of_settings(default), RuntimeLimits::default());
        assert_eq!(ManagementLimits::default().frame_time, Duration::from_secs(60));
    }
}
