//! Every bound there is, with its unit in its name.
//!
//! [`Limits`] are an actor's own, in a file of their own. [`RuntimeLimits`] and [`ManagementLimits`] bound a runtime as a
//! whole and may be set. The constants are fixed: parts of a format or a protocol, or of what makes another bound hold.

mod actor;

use std::time::Duration;

pub use actor::{ActorLimits, LimitRefused, Limits, LimitsError};
pub(crate) use actor::{Declared, MEMORY_BYTES};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// A manifest file.
pub(crate) const MANIFEST_BYTES: u64 = MIB;
/// A component file. Python's are near 20 MiB.
pub(crate) const COMPONENT_BYTES: u64 = 256 * MIB;
/// One management frame, by the protocol: no client reads a longer one.
pub(crate) const FRAME_BYTES: usize = 8 * MIB as usize;
/// How long a command waits for room for its answer, where others' answers fill what there is for all.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// An answer up to this size is given however much is under way to others, one at a time for each connection.
pub(crate) const SMALL_ANSWER_BYTES: usize = 64 * KIB as usize;
/// Actors of one page, and of an answer that is not paged: what many fit a frame at all.
pub(crate) const ACTORS_PAGE: u64 = 1_000;
pub(crate) const ACTORS_UNPAGED: usize = 32_768;
/// Bytes of a page of actors; one whose failure has a long text may stand alone.
pub(crate) const ACTORS_PAGE_BYTES: usize = 4 * MIB as usize;
/// Event data in one pushed frame; more is cut, with its true length beside it.
pub(crate) const PUSHED_DATA_BYTES: usize = MIB as usize;
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
/// Interim responses (1xx) before the one that counts.
pub(crate) const HTTP_INTERIM_RESPONSES: usize = 16;
/// A path that a guest names; no path of the system is longer.
pub(crate) const PATH_BYTES: usize = 4_096;
/// Directories inside each other below a granted one, in a path that is made or in a tree that is walked. Each
/// that is walked is open.
pub(crate) const DIRECTORY_DEPTH: usize = 64;
/// How long an HTTP client waits for a connection's place where all are taken; then 503.
pub(crate) const HTTP_ADMISSION: Duration = Duration::from_secs(2);
/// For HTTP requests under way to end when their listener does.
pub(crate) const HTTP_DRAIN: Duration = Duration::from_secs(5);
/// Header lines of an HTTP request; beyond it 431.
pub(crate) const HTTP_REQUEST_LINES: usize = 256;
/// Bytes of chunk extensions in one HTTP body; beyond it 400.
pub(crate) const HTTP_EXTENSION_BYTES: usize = 4 * KIB as usize;
/// Bytes of the trailers behind an HTTP body; beyond it 431.
pub(crate) const HTTP_TRAILER_BYTES: usize = 8 * KIB as usize;
/// Trailers behind an HTTP body; beyond it 400.
pub(crate) const HTTP_TRAILERS: usize = 64;
/// For a WebSocket client to close after it was told why.
pub(crate) const WEBSOCKET_LINGER: Duration = Duration::from_secs(2);
/// For all WebSocket connections to end when their listener does.
pub(crate) const WEBSOCKET_DRAIN: Duration = Duration::from_secs(5);
/// How long a subscriber that did not read may take for its last frame.
pub(crate) const PARTING_GRACE: Duration = Duration::from_secs(5);
/// How long the answer to a wrong token takes.
pub(crate) const WRONG_TOKEN_DELAY: Duration = Duration::from_secs(1);
/// Wrong tokens on one connection.
pub(crate) const WRONG_TOKENS: u32 = 3;
/// Lines about wrong tokens within a second; further ones are counted and not logged.
pub(crate) const WRONG_TOKEN_LINES_PER_SECOND: u64 = 10;
/// What all management connections keep of what their clients read a piece at a time; beyond it, each piece takes a reading
/// of its own.
pub(crate) const KEPT_FOR_CLIENTS_BYTES: usize = 256 * MIB as usize;
/// A token, at least; it is to be drawn, not thought of.
pub(crate) const TOKEN_BYTES: usize = 16;
/// A file with a token, at most.
pub(crate) const TOKEN_FILE_BYTES: u64 = 4 * KIB;
/// A configuration file.
pub(crate) const CONFIG_BYTES: u64 = MIB;
/// A file of certificates, or of a key, in PEM. What an operating system trusts is a fifth of a MiB.
pub(crate) const PEM_BYTES: u64 = 4 * MIB;
/// One line of the log, in characters; the rest is cut. Guests' lines have a bound of their own, which is below this.
pub(crate) const LOG_LINE_CHARS: usize = actor::GUEST_LINE_BYTES as usize + 256;

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

/// The bounds of the management server, which `theater.toml` may set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManagementLimits {
    /// Connections at a time.
    pub connections: usize,
    /// Subscriptions of one connection.
    pub subscriptions: usize,
    /// Those of them that follow more than one actor: each reads the whole journal.
    pub wide_subscriptions: usize,
    /// How long a client may leave its socket full before it is dropped.
    pub patience: Duration,
    /// How long a client that has to authenticate may take for it.
    pub authentication: Duration,
    /// One frame of a client; the protocol has at most 8 MiB.
    pub frame_bytes: usize,
    /// A frame, once begun, has come within this time.
    pub frame_time: Duration,
    /// Bytes of answers that one connection has under way: beyond it, its next command waits.
    pub answer_bytes: usize,
    /// The same of all connections together: beyond it, commands whose answer may be long wait.
    pub answers_bytes: usize,
}

impl Default for ManagementLimits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            subscriptions: 4_096,
            wide_subscriptions: 16,
            patience: Duration::from_secs(10),
            authentication: Duration::from_secs(10),
            frame_bytes: FRAME_BYTES,
            frame_time: Duration::from_secs(60),
            answer_bytes: 16 * MIB as usize,
            answers_bytes: 128 * MIB as usize,
        }
    }
}

/// The bounds of a runtime as a whole, which `theater.toml` may set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuntimeLimits {
    /// Bytes of records that wait for the journal's writer; beyond it, who records waits.
    pub journal_queue_bytes: usize,
    /// HTTP exchanges that all actors have under way; each is a thread.
    pub http_exchanges: usize,
}

impl Default for RuntimeLimits {
    fn default() -> Self {
        Self { journal_queue_bytes: 64 * MIB as usize, http_exchanges: 1_024 }
    }
}
