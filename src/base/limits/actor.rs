//! The limits of one actor, as one table: name, default, ceiling, possible range, and what happens beyond the limit.
//!
//! A manifest's `[limits]` sets them up to the runtime's ceilings. For a limit that the manifest does not set, the
//! runtime's default holds. Both are in [`ActorLimits`], which `theater.toml` and embedders may set. The `started` event
//! records the limits that an actor begins with; they hold for that incarnation, whatever is configured later.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{KIB, MIB};

/// One row of the table of limits.
pub(crate) struct Declared {
    pub(crate) name: &'static str,
    /// The key of its default in `theater.toml`.
    pub(crate) default_key: &'static str,
    /// The key of its ceiling in `theater.toml`.
    pub(crate) ceiling_key: &'static str,
    pub(crate) default: u64,
    pub(crate) ceiling: u64,
    /// The values that the limit can have at all: below them nothing would work, and above them the code could not cope.
    pub(crate) range: RangeInclusive<u64>,
    /// The row's text: what the limit bounds, and what happens beyond it. `docs/limits.md` has the same text.
    #[cfg(test)]
    doc: &'static str,
}

/// Makes of one table: the struct with a documented field for each limit, its defaults and ceilings, the names, and the
/// rows of `docs/limits.md`.
macro_rules! limits {
    ($($(#[doc = $doc:literal])* $name:ident = $default:expr, at most $ceiling:expr, ever $range:expr;)*) => {
        /// The limits of one actor. Each value is a whole number in the unit that the limit's name ends in.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Limits { $($(#[doc = $doc])* pub $name: u64,)* }

        impl Default for Limits {
            fn default() -> Self { Self { $($name: $default,)* } }
        }

        impl Limits {
            /// The names that a manifest may set.
            pub(crate) const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// Every limit, in the order of the table.
            pub(crate) const ALL: &[Declared] = &[$(Declared {
                name: stringify!($name),
                default_key: concat!("actor_limits.", stringify!($name)),
                ceiling_key: concat!("actor_ceilings.", stringify!($name)),
                default: $default,
                ceiling: $ceiling,
                range: $range,
                #[cfg(test)]
                doc: concat!($($doc),*),
            }),*];

            /// The values that the limit called `name` can have at all.
            pub(crate) fn possible(name: &str) -> Option<RangeInclusive<u64>> {
                Self::ALL.iter().find(|declared| declared.name == name).map(|declared| declared.range.clone())
            }

            /// The highest values that a manifest may set, unless the runtime is configured otherwise.
            pub fn ceilings() -> Self { Self { $($name: $ceiling,)* } }

            /// Every limit with its value, in the order of the table.
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
/// Thirty days: a clock can still be asked for a time that lies this far ahead.
const LONG_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// The most that one event can hold: a row of the journal holds at most 10^9 bytes.
const RECORDED_BYTES: u64 = 512 * MIB;
/// The largest memory that 32-bit addresses reach.
pub(crate) const MEMORY_BYTES: u64 = 4 * GIB;
/// The longest line of a guest that the log accepts.
pub(crate) const GUEST_LINE_BYTES: u64 = 64 * KIB;

limits! {
    /// All memories of one instance together. The actor fails: `limit`.
    memory_bytes = 64 * MIB, at most GIB, ever 64 * KIB..=MEMORY_BYTES;
    /// CPU time of one call, checked every 10 ms; waiting does not count. The actor fails: `deadline`.
    cpu_ms_per_call = 5_000, at most 600_000, ever 1..=LONG_MS;
    /// How long this actor waits for the answer to its own request (then `Err`), and how long an HTTP client waits for
    /// this actor's answer (then 504).
    request_deadline_ms = 30_000, at most 3_600_000, ever 1..=LONG_MS;
    /// How long a running call may continue after a stop, a restart or the end of the runtime begins. It is then
    /// aborted.
    stop_grace_ms = 1_000, at most 600_000, ever 0..=LONG_MS;
    /// Deliveries that wait in the mailbox; notices of children and of WebSocket connections do not count.
    /// `Err("mailbox full")`; 503.
    mailbox_deliveries = 1_024, at most 1_048_576, ever 0..=1 << 30;
    /// Bytes of the parameters of these deliveries. `Err("mailbox full")`; 503.
    mailbox_bytes = 16 * MIB, at most GIB, ever 0..=1024 * GIB;
    /// A larger message that this actor sends, or that comes to it from outside: `Err`. A larger reply that it gives: the
    /// actor fails: `limit`.
    message_bytes = MIB, at most 64 * MIB, ever 0..=RECORDED_BYTES;
    /// The state that an exported function returns. The actor fails: `limit`. Also bounds `init_state`.
    state_bytes = 16 * MIB, at most 256 * MIB, ever 0..=RECORDED_BYTES;
    /// The body of a request: 413. Together with `http_head_bytes` it bounds the whole response: the actor fails:
    /// `limit`. With `http-client` it bounds the body of a request and of a response separately: `Err`.
    http_body_bytes = 8 * MIB, at most 256 * MIB, ever 0..=RECORDED_BYTES;
    /// The parts received so far of all request bodies in progress at one listener; at least one body always fits. If
    /// another request needs the room, a body that does not arrive is given up (503). Otherwise the other request waits
    /// for 2 s: 503.
    http_bodies_bytes = 64 * MIB, at most 4 * GIB, ever 0..=1024 * GIB;
    /// Answers above 16 KiB at one listener that their clients have not read yet; at least one answer always fits. The
    /// client that has read nothing for the longest time is disconnected. If there is none, 503 after the request was
    /// carried out.
    http_answers_bytes = 64 * MIB, at most 4 * GIB, ever 0..=1024 * GIB;
    /// Request line and headers: 414 or 431. With `http-client` it bounds the head of a request and of a response
    /// separately: `Err`.
    http_head_bytes = 64 * KIB, at most MIB, ever 64..=16 * MIB;
    /// The time from the first byte of a request to the end of its head: 408.
    http_head_ms = 10_000, at most 3_600_000, ever 1..=LONG_MS;
    /// The time from the end of the head to the end of the body: 408.
    http_body_ms = 60_000, at most 3_600_000, ever 1..=LONG_MS;
    /// The time in which a client must read a whole answer. The connection is closed.
    http_answer_ms = 60_000, at most 3_600_000, ever 1..=LONG_MS;
    /// The time from an answer to the next request. The connection is closed.
    http_idle_ms = 60_000, at most 86_400_000, ever 1..=LONG_MS;
    /// Connections that one listener serves at a time; see http-server.
    http_connections = 256, at most 16_384, ever 1..=1 << 20;
    /// Answers of this actor that are streams and have not ended. The next client gets 503, and the actor hears of the end
    /// of its stream.
    http_streams = 1_024, at most 65_536, ever 0..=1 << 20;
    /// HTTP requests of this actor that have not ended, including those that were given up: `Err`; see http-client.
    http_exchanges = 16, at most 1_024, ever 0..=1 << 16;
    /// The time in which a client must complete the handshake: 408.
    websocket_handshake_ms = 10_000, at most 3_600_000, ever 1..=LONG_MS;
    /// One message of a WebSocket client: the connection is closed, 1009.
    websocket_message_bytes = MIB, at most 64 * MIB, ever 0..=RECORDED_BYTES;
    /// The parts received so far, beyond 16 KiB each, of all incomplete messages at one listener; at least one message
    /// always fits. The client that has sent nothing for the longest time is disconnected. If there is none, the
    /// connection that needs the room is closed, 1013.
    websocket_messages_bytes = 64 * MIB, at most 4 * GIB, ever 0..=1024 * GIB;
    /// The time in which a client must send a message, from its first byte on; pings in the middle of the message do
    /// not extend it. The connection is closed.
    websocket_message_ms = 60_000, at most 3_600_000, ever 1..=LONG_MS;
    /// Everything that the actor says in answer to one message. The actor fails: `limit`.
    websocket_answer_bytes = 8 * MIB, at most 256 * MIB, ever 0..=RECORDED_BYTES;
    /// Answers above 16 KiB at one listener that their clients have not read yet; at least one answer always fits. The
    /// client that has read nothing for the longest time is disconnected. If there is none, the connection that needs
    /// the room is closed, 1013.
    websocket_answers_bytes = 64 * MIB, at most 4 * GIB, ever 0..=1024 * GIB;
    /// The time in which a client must read everything that is sent to it in answer to one message. It is disconnected.
    websocket_answer_ms = 60_000, at most 3_600_000, ever 1..=LONG_MS;
    /// How long a client may read nothing of what is sent to it. It is then disconnected.
    websocket_stall_ms = 10_000, at most 3_600_000, ever 1..=LONG_MS;
    /// Connections that one listener holds; the next client gets 503.
    websocket_connections = 256, at most 16_384, ever 1..=1 << 20;
    /// After this time of silence, the client is sent a ping. After the same time again without a sign of life, it is
    /// disconnected.
    websocket_idle_ms = 60_000, at most 86_400_000, ever 1..=LONG_MS;
    /// What was pushed to one connection or stream and its client has not taken yet; one push always fits if nothing
    /// waits. A longer push: `Err`. Beyond it, the client is disconnected, or does not get the push, as `slow` says. A client
    /// that takes nothing of what waits for `websocket_stall_ms`, or of a stream for `http_answer_ms`, is disconnected.
    push_bytes = MIB, at most 64 * MIB, ever 0..=RECORDED_BYTES;
    /// The content of one file that the actor reads or writes: `Err`.
    file_bytes = 8 * MIB, at most 256 * MIB, ever 0..=RECORDED_BYTES;
    /// Names in one listing of a directory: `Err`.
    list_entries = 10_000, at most 1_000_000, ever 0..=10_000_000;
    /// Files and directories in the granted directory when the actor adds one, or in a directory that it deletes:
    /// `Err`.
    filesystem_entries = 100_000, at most 10_000_000, ever 0..=1 << 40;
    /// Bytes of all files in the granted directory when the actor adds some: `Err`.
    filesystem_bytes = GIB, at most 1024 * GIB, ever 0..=1 << 60;
    /// Bytes drawn at once. The actor fails: `limit`.
    random_bytes = 64 * KIB, at most MIB, ever 0..=RECORDED_BYTES;
    /// Timers of this actor that are pending: `Err`.
    timers = 100_000, at most 10_000_000, ever 0..=1 << 32;
    /// Keys and messages of these timers: `Err`.
    timer_bytes = 16 * MIB, at most 4 * GIB, ever 0..=1024 * GIB;
    /// The key of a timer: `Err`.
    timer_key_bytes = 256, at most 64 * KIB, ever 0..=RECORDED_BYTES;
    /// Actors that this actor monitors: `monitor`s that are open. `Err`.
    monitors = 1_024, at most 1_048_576, ever 0..=1 << 32;
    /// Requests of this actor that it does not wait for: `request-async`s without an answer yet. `Err`.
    async_requests = 1_024, at most 1_048_576, ever 0..=1 << 32;
    /// Answers that this actor has put off with `defer` and has not given yet. `Err` of `defer`.
    deferred_replies = 1_024, at most 1_048_576, ever 0..=1 << 32;
    /// A key in the actor's table, or a prefix or cursor of a scan: `Err`.
    table_key_bytes = KIB, at most 64 * KIB, ever 0..=MIB;
    /// A value in the actor's table: `Err`.
    table_value_bytes = 64 * KIB, at most 16 * MIB, ever 0..=RECORDED_BYTES;
    /// Rows that one call writes or deletes, each time counted: `Err`.
    table_writes = 10_000, at most 1_000_000, ever 0..=1 << 32;
    /// Rows in one answer of `scan`. The rest is on the next page.
    table_scan_rows = 1_000, at most 1_000_000, ever 1..=1 << 32;
    /// Bytes of the keys and values in one answer of `scan`, but for its first row. The rest is on the next page.
    table_scan_bytes = MIB, at most 64 * MIB, ever 0..=RECORDED_BYTES;
    /// Children that are alive or listed, so stopped and failed ones count. `Err` of `spawn`.
    children = 16_384, at most 1_048_576, ever 0..=1 << 32;
    /// A longer line is cut, in the log and in the chain.
    log_line_bytes = 4 * KIB, at most GUEST_LINE_BYTES, ever 0..=GUEST_LINE_BYTES;
    /// Further lines are recorded in the chain but not logged. Their number is logged before the next line.
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

/// Why a limit cannot have the value that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitRefused {
    /// There is no limit of that name.
    #[error("there is no such limit")]
    Unknown,
    /// The value lies outside the possible range: nothing would work below it, and the code could not cope above it.
    #[error("it can be from {least} to {most}")]
    Impossible {
        /// The lowest possible value.
        least: u64,
        /// The highest possible value.
        most: u64,
    },
    /// The value lies above the runtime's ceiling.
    #[error("this runtime allows at most {ceiling}; [actor_ceilings] of its theater.toml raises that")]
    AboveCeiling {
        /// The highest value that this runtime allows.
        ceiling: u64,
    },
}

/// A default or a ceiling with a value that it cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the limit {name} cannot be {value}: {why}")]
#[non_exhaustive]
pub struct LimitsError {
    /// The limit.
    pub name: &'static str,
    /// The value that was asked for.
    pub value: u64,
    /// Why the limit cannot have it.
    pub why: LimitRefused,
}

/// What a runtime allows its actors: the defaults for limits that a manifest does not set, and the ceilings, which are
/// the highest values that a manifest may set.
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
    /// Refuses a value outside its possible range, and a default above its ceiling.
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

    /// The limits of an actor whose manifest sets none.
    pub(crate) fn defaults(&self) -> &Limits {
        &self.defaults
    }

    /// Checks that a manifest may set the limit called `name` to `value`.
    pub(crate) fn check(&self, name: &str, value: u64) -> Result<(), LimitRefused> {
        let values = Limits::ALL.iter().zip(self.ceilings.entries());
        let Some((declared, (_, ceiling))) = values.into_iter().find(|(declared, _)| declared.name == name) else {
            return Err(LimitRefused::Unknown);
        };
        if value > ceiling { Err(LimitRefused::AboveCeiling { ceiling }) } else { declared.check(value) }
    }

    /// Checks that an actor may have all of `limits`.
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
pub(super) mod tests {
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

    /// A value as people write it: `64 MiB`, `1,024`.
    pub(in super::super) fn spell(name: &str, value: u64) -> String {
        let units = [(1 << 40, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
        let is_in = |unit: u64| name.ends_with("_bytes") && value > 0 && value.is_multiple_of(unit);
        let unit = units.into_iter().find(|(unit, _)| is_in(*unit));
        let (value, unit) = unit.map_or((value, String::new()), |(unit, name)| (value / unit, format!(" {name}")));
        let digits = value.to_string();
        let grouped: Vec<&str> =
            digits.as_bytes().rchunks(3).rev().map(|it| std::str::from_utf8(it).expect("digits")).collect();
        grouped.join(",") + &unit
    }

    /// Removes the targets of links: `[text](target)` becomes `text`.
    fn without_links(text: &str) -> String {
        let mut parts = text.split("](");
        let mut plain = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let open = plain.rfind('[').expect("a link has a beginning");
            plain.remove(open);
            plain.push_str(part.split_once(')').expect("a link has an end").1);
        }
        plain
    }

    #[test]
    fn the_document_has_the_rows_of_the_table_and_no_others() {
        let document = without_links(include_str!("../../../docs/limits.md"));
        let table = document.split_once("## Of an actor").expect("its chapter").1;
        let table = table.split_once("\n## ").expect("the next chapter").0;
        let documented: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
        let declared: Vec<String> = Limits::ALL
            .iter()
            .map(|Declared { name, default, ceiling, range, doc, .. }| {
                let spelled = [*default, *ceiling, *range.start(), *range.end()].map(|value| spell(name, value));
                let [default, ceiling, least, most] = spelled;
                format!("| `{name}` | {default} | {ceiling} | {least} to {most} | {} |", doc.trim_start())
            })
            .collect();
        assert_eq!(documented, declared, "docs/limits.md repeats this table; links may be added there");
    }
}
