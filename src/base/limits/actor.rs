//! An actor's own bounds, and what a runtime says of those of all its actors.
//!
//! A manifest's `[limits]` sets them within the runtime's ceilings; where it is silent, the runtime's defaults hold. Both
//! are in [`ActorLimits`], which `theater.toml` and embedders may set. What an actor was started with is recorded in its
//! chain, and holds for that incarnation whatever is configured later.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{KIB, MIB};

/// One limit as declared.
pub(crate) struct Declared {
    pub(crate) name: &'static str,
    /// What `theater.toml` calls its default and its ceiling.
    pub(crate) default_key: &'static str,
    pub(crate) ceiling_key: &'static str,
    pub(crate) default: u64,
    pub(crate) ceiling: u64,
    /// What it can be at all: below, nothing would work any more; above, the code could not cope.
    pub(crate) range: RangeInclusive<u64>,
}

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident = $default:expr, at most $ceiling:expr, ever $range:expr;)*) => {
        /// The bounds of one actor. All values are whole numbers in the unit their name ends in.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Limits { $($(#[$doc])* pub $name: u64,)* }

        impl Default for Limits {
            fn default() -> Self { Self { $($name: $default,)* } }
        }

        impl Limits {
            /// The names a manifest may set.
            pub(crate) const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// Every limit, in the order of declaration.
            pub(crate) const ALL: &[Declared] = &[$(Declared {
                name: stringify!($name),
                default_key: concat!("actor_limits.", stringify!($name)),
                ceiling_key: concat!("actor_ceilings.", stringify!($name)),
                default: $default,
                ceiling: $ceiling,
                range: $range,
            }),*];

            /// What the limit called `name` can be at all.
            pub(crate) fn possible(name: &str) -> Option<RangeInclusive<u64>> {
                Self::ALL.iter().find(|declared| declared.name == name).map(|declared| declared.range.clone())
            }

            /// The most that a manifest may say, where the runtime is not told otherwise.
            pub fn ceilings() -> Self { Self { $($name: $ceiling,)* } }

            /// Every limit with its value, in the order of declaration.
            pub(crate) fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }

            /// The limit called `name`, if there is one.
            pub(crate) fn named(&mut self, name: &str) -> Option<&mut u64> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)*
                    _ => None,
                }
            }
        }
    };
}

const GIB: u64 = 1024 * MIB;
/// Thirty days: a clock that is asked for a time so far ahead still knows it.
const LONG_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// One event holds it, and a row of the journal holds at most 10^9 bytes.
const RECORDED_BYTES: u64 = 512 * MIB;
/// What a 32-bit memory can be.
pub(crate) const MEMORY_BYTES: u64 = 4 * GIB;
/// What the log takes of one line.
pub(crate) const GUEST_LINE_BYTES: u64 = 64 * KIB;

limits! {
    /// Linear memory of one instance, all its memories together.
    memory_bytes = 64 * MIB, at most GIB, ever 64 * KIB..=MEMORY_BYTES;
    /// CPU time of one call; time spent waiting does not count.
    cpu_ms_per_call = 5_000, at most 600_000, ever 1..=LONG_MS;
    /// How long an actor waits for the answer to a request.
    request_deadline_ms = 30_000, at most 3_600_000, ever 1..=LONG_MS;
    /// How long a stop lets the running transition go on.
    stop_grace_ms = 1_000, at most 600_000, ever 0..=LONG_MS;
    /// Deliveries waiting in the mailbox.
    mailbox_deliveries = 1_024, at most 1_048_576, ever 0..=1 << 30;
    /// Bytes of parameters waiting in the mailbox.
    mailbox_bytes = 16 * MIB, at most GIB, ever 0..=1024 * GIB;
    /// One message, sent or answered.
    message_bytes = MIB, at most 64 * MIB, ever 0..=RECORDED_BYTES;
    /// The state an export returns.
    state_bytes = 16 * MIB, at most 256 * MIB, ever 0..=RECORDED_BYTES;
    /// The body of an HTTP request or response.
    http_body_bytes = 8 * MIB, at most 256 * MIB, ever 0..=RECORDED_BYTES;
    /// The bodies of all requests under way at one HTTP listener.
    http_bodies_bytes = 64 * MIB, at most 4 * GIB, ever 0..=1024 * GIB;
    /// The answers under way at one HTTP listener that their clients have not taken yet.
    http_answers_bytes = 64 * MIB, at most 4 * GIB, ever 0..=1024 * GIB;
    /// The head of an HTTP request or response: its first line and its headers.
    http_head_bytes = 64 * KIB, at most MIB, ever 64..=16 * MIB;
    /// From the first byte of an HTTP request to the end of its head.
    http_head_ms = 10_000, at most 3_600_000, ever 1..=LONG_MS;
    /// From the end of its head to the end of its body.
    http_body_ms = 60_000, at most 3_600_000, ever 1..=LONG_MS;
    /// For an HTTP client to take a whole answer.
    http_answer_ms = 60_000, at most 3_600_000, ever 1..=LONG_MS;
    /// From an HTTP answer to the next request.
    http_idle_ms = 60_000, at most 86_400_000, ever 1..=LONG_MS;
    /// Connections one listener holds at a time.
    http_connections = 256, at most 16_384, ever 1..=1 << 20;
    /// HTTP exchanges of an actor that have not ended, those that it gave up included.
    http_exchanges = 16, at most 1_024, ever 0..=1 << 16;
    /// For a WebSocket client to shake hands.
    websocket_handshake_ms = 10_000, at most 3_600_000, ever 1..=LONG_MS;
    /// One message of a WebSocket client.
    websocket_message_bytes = MIB, at most 64 * MIB, ever 0..=RECORDED_BYTES;
    /// The messages of all clients of one WebSocket listener that have come in part.
    websocket_messages_bytes = 64 * MIB, at most 4 * GIB, ever 0..=1024 * GIB;
    /// For a message of a WebSocket client, from its first byte on.
    websocket_message_ms = 60_000, at most 3_600_000, ever 1..=LONG_MS;
    /// All that is said to a WebSocket client in answer to one message.
    websocket_answer_bytes = 8 * MIB, at most 256 * MIB, ever 0..=RECORDED_BYTES;
    /// The answers under way at one WebSocket listener that their clients have not taken yet.
    websocket_answers_bytes = 64 * MIB, at most 4 * GIB, ever 0..=1024 * GIB;
    /// For a WebSocket client to take all that it is sent in answer to one message.
    websocket_answer_ms = 60_000, at most 3_600_000, ever 1..=LONG_MS;
    /// How long a WebSocket client may take nothing of what it is sent before it is dropped.
    websocket_stall_ms = 10_000, at most 3_600_000, ever 1..=LONG_MS;
    /// WebSocket connections one listener holds at a time.
    websocket_connections = 256, at most 16_384, ever 1..=1 << 20;
    /// Silence of a WebSocket client before it is asked whether it is there, and then before it is dropped.
    websocket_idle_ms = 60_000, at most 86_400_000, ever 1..=LONG_MS;
    /// The content of one file, read or written.
    file_bytes = 8 * MIB, at most 256 * MIB, ever 0..=RECORDED_BYTES;
    /// Names one listing of a directory gives.
    list_entries = 10_000, at most 1_000_000, ever 0..=10_000_000;
    /// Files and directories in a granted directory while the actor adds to it.
    filesystem_entries = 100_000, at most 10_000_000, ever 0..=1 << 40;
    /// Bytes of all files in a granted directory while the actor adds to it.
    filesystem_bytes = GIB, at most 1024 * GIB, ever 0..=1 << 60;
    /// Random bytes drawn at once.
    random_bytes = 64 * KIB, at most MIB, ever 0..=RECORDED_BYTES;
    /// Children alive or listed.
    children = 16_384, at most 1_048_576, ever 0..=1 << 32;
    /// One line a guest logs; the rest is cut.
    log_line_bytes = 4 * KIB, at most GUEST_LINE_BYTES, ever 0..=GUEST_LINE_BYTES;
    /// Lines a guest may log within a second; further ones are counted and dropped.
    log_lines_per_second = 200, at most 100_000, ever 0..=1 << 32;
}

impl Limits {
    pub(crate) fn cpu_per_call(&self) -> Duration {
        Duration::from_millis(self.cpu_ms_per_call)
    }

    pub(crate) fn request_deadline(&self) -> Duration {
        Duration::from_millis(self.request_deadline_ms)
    }

    pub(crate) fn stop_grace(&self) -> Duration {
        Duration::from_millis(self.stop_grace_ms)
    }
}

/// Why a limit cannot be what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitRefused {
    /// There is none of that name.
    #[error("there is no such limit")]
    Unknown,
    /// Nothing would work below the one, and the code could not cope above the other.
    #[error("it can be from {least} to {most}")]
    Impossible {
        /// The least it can be.
        least: u64,
        /// The most it can be.
        most: u64,
    },
    /// The runtime allows less.
    #[error("this runtime allows at most {ceiling}; [actor_ceilings] of its theater.toml raises that")]
    AboveCeiling {
        /// The most that this runtime allows.
        ceiling: u64,
    },
}

/// A default or a ceiling that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the limit {name} cannot be {value}: {why}")]
#[non_exhaustive]
pub struct LimitsError {
    /// Which.
    pub name: &'static str,
    /// What it was to be.
    pub value: u64,
    /// Why not.
    pub why: LimitRefused,
}

/// What a runtime says of its actors' limits: those of an actor whose manifest is silent, and the most that a manifest
/// may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActorLimits {
    defaults: Limits,
    ceilings: Limits,
}

impl Default for ActorLimits {
    fn default() -> Self {
        Self { defaults: Limits::default(), ceilings: Limits::ceilings() }
    }
}

impl ActorLimits {
    /// Refused where one cannot be, or a default lies above its ceiling.
    pub fn new(defaults: Limits, ceilings: Limits) -> Result<Self, LimitsError> {
        let values = Limits::ALL.iter().zip(defaults.entries()).zip(ceilings.entries());
        for ((declared, (name, default)), (_, ceiling)) in values {
            let refused = |value, why| Err(LimitsError { name, value, why });
            for value in [ceiling, default] {
                if let Err(why) = declared.check(value) {
                    return refused(value, why);
                }
            }
            if default > ceiling {
                return refused(default, LimitRefused::AboveCeiling { ceiling });
            }
        }
        Ok(Self { defaults, ceilings })
    }

    /// Those of an actor whose manifest is silent.
    pub(crate) fn defaults(&self) -> &Limits {
        &self.defaults
    }

    /// Whether a manifest may set the limit called `name` to `value`.
    pub(crate) fn check(&self, name: &str, value: u64) -> Result<(), LimitRefused> {
        let values = Limits::ALL.iter().zip(self.ceilings.entries());
        let Some((declared, (_, ceiling))) = values.into_iter().find(|(declared, _)| declared.name == name) else {
            return Err(LimitRefused::Unknown);
        };
        if value > ceiling { Err(LimitRefused::AboveCeiling { ceiling }) } else { declared.check(value) }
    }

    /// Whether an actor may have all of `limits`.
    pub(crate) fn admit(&self, limits: &Limits) -> Result<(), LimitsError> {
        let refused = |(name, value)| self.check(name, value).err().map(|why| LimitsError { name, value, why });
        limits.entries().into_iter().find_map(refused).map_or(Ok(()), Err)
    }
}

impl Declared {
    fn check(&self, value: u64) -> Result<(), LimitRefused> {
        let (least, most) = (*self.range.start(), *self.range.end());
        if self.range.contains(&value) { Ok(()) } else { Err(LimitRefused::Impossible { least, most }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_raised_only_up_to_its_ceiling() {
        let limits = ActorLimits::default();
        assert_eq!(limits.check("memory_bytes", 128 * MIB), Ok(()));
        let refused = limits.check("memory_bytes", 2 * GIB);
        assert_eq!(refused, Err(LimitRefused::AboveCeiling { ceiling: GIB }));
        assert_eq!(limits.check("memory_byte", 1), Err(LimitRefused::Unknown));
        assert!(limits.admit(&Limits::ceilings()).is_ok());
    }

    #[test]
    fn a_runtime_lowers_and_raises_ceilings_and_sets_defaults() {
        let defaults = Limits { message_bytes: 10, ..Limits::default() };
        let ceilings = Limits { message_bytes: 20, memory_bytes: 4 * GIB, ..Limits::ceilings() };
        let limits = ActorLimits::new(defaults, ceilings).expect("possible");
        assert_eq!(limits.defaults().message_bytes, 10);
        assert_eq!(limits.check("message_bytes", 20), Ok(()));
        assert_eq!(limits.check("message_bytes", 21), Err(LimitRefused::AboveCeiling { ceiling: 20 }));
        assert_eq!(limits.check("memory_bytes", 3 * GIB), Ok(()));
        let why = limits.admit(&Limits::default()).expect_err("the built-in default lies above");
        assert!(
            why.to_string().starts_with("the limit message_bytes cannot be 1048576: this runtime allows at most 20")
        );
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let nothing = Limits { http_connections: 0, ..Limits::default() };
        let why = ActorLimits::new(nothing, Limits::ceilings()).expect_err("no connection");
        assert_eq!((why.name, why.why), ("http_connections", LimitRefused::Impossible { least: 1, most: 1 << 20 }));
        let endless = Limits { stop_grace_ms: u64::MAX, ..Limits::ceilings() };
        let why = ActorLimits::new(Limits::default(), endless).expect_err("no clock knows it");
        assert_eq!((why.name, why.value), ("stop_grace_ms", u64::MAX));
        let low = Limits { children: 1, ..Limits::ceilings() };
        let why = ActorLimits::new(Limits::default(), low).expect_err("the default lies above");
        assert_eq!((why.name, why.why), ("children", LimitRefused::AboveCeiling { ceiling: 1 }));
    }

    #[test]
    fn what_is_built_in_is_possible_by_itself() {
        assert_eq!(ActorLimits::new(Limits::default(), Limits::ceilings()), Ok(ActorLimits::default()));
    }

    /// As a person writes it: `64 MiB`, `1,024`.
    fn spell(name: &str, value: u64) -> String {
        let units = [(1 << 40, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
        let is_in = |unit: u64| name.ends_with("_bytes") && value > 0 && value.is_multiple_of(unit);
        let unit = units.into_iter().find(|(unit, _)| is_in(*unit));
        let (value, unit) = unit.map_or((value, String::new()), |(unit, name)| (value / unit, format!(" {name}")));
        let digits = value.to_string();
        let grouped: Vec<&str> =
            digits.as_bytes().rchunks(3).rev().map(|it| std::str::from_utf8(it).expect("digits")).collect();
        grouped.join(",") + &unit
    }

    #[test]
    fn the_document_has_every_limit_with_its_default_its_ceiling_and_what_it_can_be() {
        let document = include_str!("../../../docs/limits.md");
        for Declared { name, default, ceiling, range, .. } in Limits::ALL {
            let spelled = [*default, *ceiling, *range.start(), *range.end()].map(|value| spell(name, value));
            let [default, ceiling, least, most] = spelled;
            let row = format!("| `{name}` | {default} | {ceiling} | {least} to {most} |");
            assert!(document.contains(&row), "docs/limits.md lacks {row}");
        }
    }
}
