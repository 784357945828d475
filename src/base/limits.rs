//! Every bound there is, with its unit in its name.
//!
//! [`Limits`] are an actor's own: a manifest's `[limits]` may lower or raise each within the ceiling beside it.
//! The constants below bound the runtime as a whole.

use std::time::Duration;

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident = $default:expr, at most $ceiling:expr;)*) => {
        /// The bounds of one actor. All values are whole numbers in the unit their name ends in.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits { $($(#[$doc])* pub $name: u64,)* }

        impl Default for Limits {
            fn default() -> Self { Self { $($name: $default,)* } }
        }

        impl Limits {
            /// The names a manifest may set.
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// Every limit with the most that a manifest may say.
            #[cfg(test)]
            fn ceilings() -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), $ceiling)),*]
            }

            /// Every limit with its value, in the order of declaration.
            pub(crate) fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }

            /// Sets the limit called `name`; refused above its ceiling, or where there is no such limit.
            pub(crate) fn set(&mut self, name: &str, value: u64) -> Result<(), LimitRefused> {
                let (slot, ceiling) = match name {
                    $(stringify!($name) => (&mut self.$name, $ceiling),)*
                    _ => return Err(LimitRefused::Unknown),
                };
                if value > ceiling { return Err(LimitRefused::AboveCeiling { ceiling }); }
                *slot = value;
                Ok(())
            }
        }
    };
}

/// Why a limit was not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitRefused {
    Unknown,
    AboveCeiling { ceiling: u64 },
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

limits! {
    /// Linear memory of one instance, all its memories together.
    memory_bytes = 64 * MIB, at most 1024 * MIB;
    /// CPU time of one call; time spent waiting does not count.
    cpu_ms_per_call = 5_000, at most 600_000;
    /// How long an actor waits for the answer to a request.
    request_deadline_ms = 30_000, at most 3_600_000;
    /// How long a stop lets the running transition go on.
    stop_grace_ms = 1_000, at most 600_000;
    /// Deliveries waiting in the mailbox.
    mailbox_deliveries = 1_024, at most 1_048_576;
    /// Bytes of parameters waiting in the mailbox.
    mailbox_bytes = 16 * MIB, at most 1024 * MIB;
    /// One message, sent or answered.
    message_bytes = MIB, at most 64 * MIB;
    /// The state an export returns.
    state_bytes = 16 * MIB, at most 256 * MIB;
    /// The body of an HTTP request or response.
    http_body_bytes = 8 * MIB, at most 256 * MIB;
    /// The head of an HTTP request or response: its first line and its headers.
    http_head_bytes = 64 * KIB, at most MIB;
    /// Connections one listener holds at a time.
    http_connections = 256, at most 16_384;
    /// HTTP exchanges of an actor that have not ended, those that it gave up included.
    http_exchanges = 16, at most 1_024;
    /// One message of a WebSocket client.
    websocket_message_bytes = MIB, at most 64 * MIB;
    /// All that is said to a WebSocket client in answer to one message.
    websocket_answer_bytes = 8 * MIB, at most 256 * MIB;
    /// How long a WebSocket client may take nothing of what it is sent before it is dropped.
    websocket_stall_ms = 10_000, at most 3_600_000;
    /// WebSocket connections one listener holds at a time.
    websocket_connections = 256, at most 16_384;
    /// Silence of a WebSocket client before it is asked whether it is there, and then before it is dropped.
    websocket_idle_ms = 60_000, at most 86_400_000;
    /// The content of one file, read or written.
    file_bytes = 8 * MIB, at most 256 * MIB;
    /// Names one listing of a directory gives.
    list_entries = 10_000, at most 1_000_000;
    /// Files and directories in a granted directory while the actor adds to it.
    filesystem_entries = 100_000, at most 10_000_000;
    /// Bytes of all files in a granted directory while the actor adds to it.
    filesystem_bytes = 1024 * MIB, at most 1024 * 1024 * MIB;
    /// Random bytes drawn at once.
    random_bytes = 64 * KIB, at most MIB;
    /// Children alive or listed.
    children = 16_384, at most 1_048_576;
    /// One line a guest logs; the rest is cut.
    log_line_bytes = 4 * KIB, at most 64 * KIB;
    /// Lines a guest may log within a second; further ones are counted and dropped.
    log_lines_per_second = 200, at most 100_000;
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

/// A manifest file.
pub(crate) const MANIFEST_BYTES: u64 = MIB;
/// A component file. Python's are near 20 MiB.
pub(crate) const COMPONENT_BYTES: u64 = 256 * MIB;
/// Bytes of records that wait for the journal's writer; beyond it, enqueueing blocks.
pub(crate) const JOURNAL_QUEUE_BYTES: usize = 64 * MIB as usize;
/// One management frame.
pub(crate) const FRAME_BYTES: usize = 8 * MIB as usize;
/// Event data in one pushed frame; more is cut, with its true length beside it.
pub(crate) const PUSHED_DATA_BYTES: usize = MIB as usize;
/// HTTP exchanges that actors have begun, in the whole process; each is a thread.
pub(crate) const HTTP_EXCHANGES: usize = 1_024;
/// How long an actor's HTTP request may take to be connected, where its manifest does not say.
pub(crate) const HTTP_CONNECT_TIMEOUT_MS: u64 = 10_000;
/// The same for the whole exchange.
pub(crate) const HTTP_TIMEOUT_MS: u64 = 30_000;
/// The most that a manifest may say of either.
pub(crate) const HTTP_TIMEOUT_CEILING_MS: u64 = 3_600_000;
/// Redirects that are followed, where the manifest does not say.
pub(crate) const HTTP_REDIRECTS: u32 = 10;
/// The most that a manifest may say.
pub(crate) const HTTP_REDIRECTS_CEILING: u32 = 100;
/// Headers of an actor's HTTP request.
pub(crate) const HTTP_REQUEST_HEADERS: usize = 1_024;
/// Headers of a response to an actor's request.
pub(crate) const HTTP_RESPONSE_HEADERS: usize = 128;
/// A path that a guest names; no path of the system is longer.
pub(crate) const PATH_BYTES: usize = 4_096;
/// Directories inside each other below a granted one, in a path that is made or in a tree that is walked. Each
/// that is walked is open.
pub(crate) const DIRECTORY_DEPTH: usize = 64;
/// From the first byte of an HTTP request to the end of its head; then 408.
pub(crate) const HTTP_HEAD: Duration = Duration::from_secs(10);
/// From the end of its head to the end of its body; then 408.
pub(crate) const HTTP_BODY: Duration = Duration::from_secs(60);
/// From an HTTP answer to the next request; then the connection is closed.
pub(crate) const HTTP_IDLE: Duration = Duration::from_secs(60);
/// For an HTTP client to take a whole answer; then the connection is closed.
pub(crate) const HTTP_TAKING: Duration = Duration::from_secs(60);
/// How long an HTTP client waits for a connection's place where all are taken; then 503.
pub(crate) const HTTP_ADMISSION: Duration = Duration::from_secs(2);
/// For HTTP requests under way to end when their listener does.
pub(crate) const HTTP_DRAIN: Duration = Duration::from_secs(5);
/// The bodies of all requests under way at one HTTP listener; beyond it 503.
pub(crate) const HTTP_BODIES_BYTES: usize = 64 * MIB as usize;
/// Header lines of an HTTP request; beyond it 431.
pub(crate) const HTTP_REQUEST_LINES: usize = 256;
/// Bytes of chunk extensions in one HTTP body; beyond it 400.
pub(crate) const HTTP_EXTENSION_BYTES: usize = 4 * KIB as usize;
/// Bytes of the trailers behind an HTTP body; beyond it 431.
pub(crate) const HTTP_TRAILER_BYTES: usize = 8 * KIB as usize;
/// Trailers behind an HTTP body; beyond it 400.
pub(crate) const HTTP_TRAILERS: usize = 64;
/// For a WebSocket client to shake hands.
pub(crate) const WEBSOCKET_HANDSHAKE: Duration = Duration::from_secs(10);
/// For a message of a WebSocket client, from its first byte on.
pub(crate) const WEBSOCKET_MESSAGE: Duration = Duration::from_secs(60);
/// For a WebSocket client to take all that it is sent in answer to one message.
pub(crate) const WEBSOCKET_TAKING: Duration = Duration::from_secs(60);
/// For a WebSocket client to close after it was told why.
pub(crate) const WEBSOCKET_LINGER: Duration = Duration::from_secs(2);
/// For all WebSocket connections to end when their listener does.
pub(crate) const WEBSOCKET_DRAIN: Duration = Duration::from_secs(5);
/// Subscriptions of one management connection that follow more than one actor: each of them reads the whole journal.
pub(crate) const WIDE_SUBSCRIPTIONS: usize = 16;
/// How long a subscriber that did not read may take for its last frame.
pub(crate) const PARTING_GRACE: Duration = Duration::from_secs(5);
/// A frame, once begun, has come within this time.
pub(crate) const FRAME_TIME: Duration = Duration::from_secs(60);
/// How long the answer to a wrong token takes.
pub(crate) const WRONG_TOKEN_DELAY: Duration = Duration::from_secs(1);
/// Wrong tokens on one connection.
pub(crate) const WRONG_TOKENS: u32 = 3;
/// A token, at least; it is to be drawn, not thought of.
pub(crate) const TOKEN_BYTES: usize = 16;
/// A file with a token, at most.
pub(crate) const TOKEN_FILE_BYTES: u64 = 4 * KIB;
/// A configuration file.
pub(crate) const CONFIG_BYTES: u64 = MIB;
/// One line of the log, in characters; the rest is cut. Guests' lines have a bound of their own, which is at most this.
pub(crate) const LOG_LINE_CHARS: usize = 64 * 1024 + 256;

/// The bounds of the management server, which `theater.toml` may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagementLimits {
    /// Connections at a time.
    pub connections: usize,
    /// Subscriptions of one connection.
    pub subscriptions: usize,
    /// How long a client may leave its socket full before it is dropped.
    pub patience: Duration,
    /// How long a client that has to authenticate may take for it.
    pub authentication: Duration,
}

impl Default for ManagementLimits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            subscriptions: 4_096,
            patience: Duration::from_secs(10),
            authentication: Duration::from_secs(10),
        }
    }
}

/// Newest events that a guest is shown of a chain.
pub(crate) const GUEST_CHAIN_EVENTS: u64 = 1_024;
/// Bytes of event data that a guest is shown of a chain.
pub(crate) const GUEST_CHAIN_BYTES: usize = MIB as usize;
/// State up to this size stands in the event itself; a larger one is named by its SHA-1.
pub(crate) const INLINE_STATE_BYTES: usize = 4 * KIB as usize;
/// A state is kept for good once this many events have passed since the last one kept.
pub(crate) const KEPT_STATE_EVENTS: u64 = 1_000;
/// Transitions one instance may serve, whatever the manifest says.
pub(crate) const REUSE_CEILING: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_raised_only_up_to_its_ceiling() {
        let mut limits = Limits::default();
        assert_eq!(limits.set("memory_bytes", 128 * MIB), Ok(()));
        assert_eq!(limits.memory_bytes, 128 * MIB);
        let refused = limits.set("memory_bytes", 2048 * MIB);
        assert_eq!(refused, Err(LimitRefused::AboveCeiling { ceiling: 1024 * MIB }));
        assert_eq!(limits.set("memory_byte", 1), Err(LimitRefused::Unknown));
    }

    #[test]
    fn every_default_lies_within_its_ceiling() {
        for (name, value) in Limits::default().entries() {
            assert_eq!(Limits::default().set(name, value), Ok(()), "{name}");
        }
    }

    /// As a person writes it: `64 MiB`, `1,024`.
    fn spell(name: &str, value: u64) -> String {
        let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
        let unit = units.into_iter().find(|(unit, _)| name.ends_with("_bytes") && value.is_multiple_of(*unit));
        let (value, unit) = unit.map_or((value, String::new()), |(unit, name)| (value / unit, format!(" {name}")));
        let digits = value.to_string();
        let grouped: Vec<&str> =
            digits.as_bytes().rchunks(3).rev().map(|it| std::str::from_utf8(it).expect("digits")).collect();
        grouped.join(",") + &unit
    }

    #[test]
    fn the_document_has_every_limit_with_its_default_and_its_ceiling() {
        let document = include_str!("../../docs/limits.md");
        for ((name, default), (_, ceiling)) in Limits::default().entries().into_iter().zip(Limits::ceilings()) {
            let row = format!("| `{name}` | {} | {} |", spell(name, default), spell(name, ceiling));
            assert!(document.contains(&row), "docs/limits.md lacks {row}");
        }
    }
}
