//! Every limit, with its unit at the end of its name.
//!
//! [`Limits`] bound one actor (`actor.rs`). [`RuntimeLimits`] and [`ManagementLimits`] bound a runtime as a whole
//! (`operator.rs`). Both may be configured. The constants here are fixed: they are part of a format or a protocol, or they
//! make another limit hold.

mod actor;
mod operator;

use std::time::Duration;

pub use actor::{ActorLimits, LimitRefused, Limits, LimitsError};
pub(crate) use actor::{Declared, MEMORY_BYTES};
pub(crate) use operator::{DeclaredSetting, SLEEP_AFTER_MS};
pub use operator::{ManagementLimits, RuntimeLimits};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The size of a manifest file.
pub(crate) const MANIFEST_BYTES: u64 = MIB;
/// The size of a component file. Components that contain Python are near 20 MiB.
pub(crate) const COMPONENT_BYTES: u64 = 256 * MIB;
/// The first line of a chain file, its header. Something else than a chain file (a device, an image) is refused after it.
pub(crate) const CHAIN_FILE_HEADER_BYTES: u64 = 64 * KIB;
/// Any other line of a chain file. The longest lines hold an event or a component in base64.
pub(crate) const CHAIN_FILE_LINE_BYTES: u64 = 2 * 1024 * MIB;
/// The size of one management frame. The protocol allows no larger one, and no client reads one.
pub(crate) const FRAME_BYTES: usize = 8 * MIB as usize;
/// How long a command waits for room for its answer while answers to other commands take all the room.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// Each connection may always have one answer up to this size in progress, even while answers to other connections take
/// all the room.
pub(crate) const SMALL_ANSWER_BYTES: usize = 64 * KIB as usize;
/// The actors on one page of a list.
pub(crate) const ACTORS_PAGE: u64 = 1_000;
/// The actors in an answer that is not paged: as many as can fit a frame.
pub(crate) const ACTORS_UNPAGED: usize = 32_768;
/// The bytes of a page of actors. An actor whose failure has a long text may fill a page alone.
pub(crate) const ACTORS_PAGE_BYTES: usize = 4 * MIB as usize;
/// The event data in one pushed frame. Longer data is cut, and the frame has its true length beside it.
pub(crate) const PUSHED_DATA_BYTES: usize = MIB as usize;
/// How long an actor's HTTP request may take to connect, unless the manifest sets it.
pub(crate) const HTTP_CONNECT_TIMEOUT_MS: u64 = 10_000;
/// How long an actor's whole HTTP request may take, unless the manifest sets it.
pub(crate) const HTTP_TIMEOUT_MS: u64 = 30_000;
/// The highest value that a manifest may set for either of these two times.
pub(crate) const HTTP_TIMEOUT_CEILING_MS: u64 = 3_600_000;
/// How many redirects are followed, unless the manifest sets it.
pub(crate) const HTTP_REDIRECTS: u32 = 10;
/// The highest number of redirects that a manifest may set.
pub(crate) const HTTP_REDIRECTS_CEILING: u32 = 100;
/// The headers of an actor's HTTP request.
pub(crate) const HTTP_REQUEST_HEADERS: usize = 1_024;
/// The headers of a response to an actor's HTTP request.
pub(crate) const HTTP_RESPONSE_HEADERS: usize = 128;
/// The interim responses (1xx) before the final one.
pub(crate) const HTTP_INTERIM_RESPONSES: usize = 16;
/// The length of a path that a guest names. The system allows no longer path.
pub(crate) const PATH_BYTES: usize = 4_096;
/// The name that a parent gives a child.
pub(crate) const LABEL_BYTES: usize = 128;
/// The address of an actor: the name of a root, and labels.
pub(crate) const ADDRESS_BYTES: usize = 1_024;
/// How deep directories may be nested below a granted one, in a path that is created or in a tree that is walked. While a
/// tree is walked, each directory on the way down is open.
pub(crate) const DIRECTORY_DEPTH: usize = 64;
/// How long an HTTP client waits for a free connection slot. It then gets 503.
pub(crate) const HTTP_ADMISSION: Duration = Duration::from_secs(2);
/// How many clients of one route are counted each by itself, for its `rate`; further ones are counted together.
pub(crate) const ROUTE_CLIENTS: usize = 10_000;
/// How long HTTP requests in progress may go on when their listener ends.
pub(crate) const HTTP_DRAIN: Duration = Duration::from_secs(5);
/// The header lines of an HTTP request; beyond it 431.
pub(crate) const HTTP_REQUEST_LINES: usize = 256;
/// The bytes of chunk extensions in one HTTP body; beyond it 400.
pub(crate) const HTTP_EXTENSION_BYTES: usize = 4 * KIB as usize;
/// The bytes of the trailers after an HTTP body; beyond it 431.
pub(crate) const HTTP_TRAILER_BYTES: usize = 8 * KIB as usize;
/// The number of trailers after an HTTP body; beyond it 400.
pub(crate) const HTTP_TRAILERS: usize = 64;
/// How long a WebSocket client may take to close the connection after it was told why.
pub(crate) const WEBSOCKET_LINGER: Duration = Duration::from_secs(2);
/// How long all WebSocket connections may take to end when their listener ends.
pub(crate) const WEBSOCKET_DRAIN: Duration = Duration::from_secs(5);
/// The connections that one message can be pushed to.
pub(crate) const PUSHED_TO: usize = 65_536;
/// How long a subscriber that did not read may take to read its last frame.
pub(crate) const PARTING_GRACE: Duration = Duration::from_secs(5);
/// How long the answer to a wrong token is delayed.
pub(crate) const WRONG_TOKEN_DELAY: Duration = Duration::from_secs(1);
/// The wrong tokens that one connection may send.
pub(crate) const WRONG_TOKENS: u32 = 3;
/// The lines that are logged about wrong tokens within a second. Further ones are counted and not logged.
pub(crate) const WRONG_TOKEN_LINES_PER_SECOND: u64 = 10;
/// The bytes that all management connections together keep in memory for clients that read something piece by piece.
/// Beyond it, each piece is read from the journal again.
pub(crate) const KEPT_FOR_CLIENTS_BYTES: usize = 256 * MIB as usize;
/// The least length of a token. A token should be drawn at random, not made up.
pub(crate) const TOKEN_BYTES: usize = 16;
/// The size of a file with a token.
pub(crate) const TOKEN_FILE_BYTES: u64 = 4 * KIB;
/// The value of a secret. A header that carries it has to fit the head of a request.
pub(crate) const SECRET_BYTES: u64 = 16 * KIB;
/// The name of a secret.
pub(crate) const SECRET_NAME_BYTES: usize = 64;
/// How long the command of a secret may take, unless `theater.toml` sets it.
pub(crate) const SECRET_COMMAND_TIMEOUT_MS: u64 = 5_000;
/// The highest value that `theater.toml` may set for it. An actor that starts waits so long before it can be stopped.
pub(crate) const SECRET_COMMAND_TIMEOUT_CEILING_MS: u64 = 30_000;
/// How long the output of a secret's command is used, unless `theater.toml` sets it.
pub(crate) const SECRET_KEEP_MS: u64 = 10_000;
/// The highest value that `theater.toml` may set for it.
pub(crate) const SECRET_KEEP_CEILING_MS: u64 = 3_600_000;
/// How long a command that failed is not run again, so that those who wait for it do not run it one after the other.
pub(crate) const SECRET_FAILURE_KEPT: Duration = Duration::from_secs(1);
/// The beginning of what a secret's command writes to standard error, for the log.
pub(crate) const SECRET_STDERR_BYTES: usize = KIB as usize;
/// A secret of at least this length is masked in the responses of servers that were sent it. A shorter one may stand in any
/// text by chance.
pub(crate) const SECRET_MASKED_BYTES: usize = 8;
/// The size of a manifest's `[config]`, written as JSON without spaces.
pub(crate) const CONFIG_TABLE_BYTES: usize = 64 * KIB as usize;
/// A key of a manifest's `[config]`, and a key that a guest asks for.
pub(crate) const CONFIG_KEY_BYTES: usize = 256;
/// The size of a configuration file.
pub(crate) const CONFIG_BYTES: u64 = MIB;
/// The size of a file of certificates or of a key, in PEM. The certificates that an operating system trusts take a fifth
/// of a MiB.
pub(crate) const PEM_BYTES: u64 = 4 * MIB;
/// The characters of one line of the log; the rest is cut. The lines of guests have a lower limit of their own.
pub(crate) const LOG_LINE_CHARS: usize = actor::GUEST_LINE_BYTES as usize + 256;

/// The events that a guest is shown of a chain: the newest ones.
pub(crate) const GUEST_CHAIN_EVENTS: u64 = 1_024;
/// The bytes of event data that a guest is shown of a chain.
pub(crate) const GUEST_CHAIN_BYTES: usize = MIB as usize;
/// A state up to this size is stored in the event itself. A larger one is named by its SHA-1.
pub(crate) const INLINE_STATE_BYTES: usize = 4 * KIB as usize;
/// How many events lie between two states that the journal keeps for good.
pub(crate) const KEPT_STATE_EVENTS: u64 = 1_000;

/// How long after the last kept state a large state that has changed is kept again.
pub(crate) const KEPT_STATE_AFTER: Duration = Duration::from_secs(1);
/// The transitions that one instance may serve, whatever the manifest says.
pub(crate) const REUSE_CEILING: u32 = 1_000;
