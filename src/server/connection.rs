//! One management connection: a thread that reads and does, a thread that writes and pushes.
//!
//! ```text
//!   silent ── a frame that it may send ──▶ heard ── the end, or its framing breaks ──▶ gone
//!      └───── no room for others, or too late to authenticate ─────▶ gone
//! ```
//!
//! The reading thread begins and joins the writing one; when it ends, the door hears of it.

use std::io::BufReader;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;

use super::auth::{Guard, Role, WrongTokens};
use super::commands::{answer, known};
use super::door::{LEFT, ring};
use super::frame::{self, FrameError};
use super::paging::Paging;
use super::protocol::{Request, Response, Scope};
use super::subscription::Kinds;
use super::transport::{Reading, Socket, halves, is_late};
use super::writer::{Outgoing, Wanted, Writer};
use crate::base::clock;
use crate::base::limits::{ManagementLimits, WRONG_TOKEN_DELAY, WRONG_TOKENS};
use crate::base::seldom::Seldom;
use crate::base::thread::{self, JoinHandle};
use crate::system::TheaterHandle;

/// Answers that wait for the writer.
const OUTGOING: usize = 64;
/// A frame of someone who has not authenticated: the command for it fits, and little else.
const STRANGERS_FRAME_BYTES: usize = 8 * 1024;
/// What is read and thrown away of someone whose framing broke, so that they get to read why.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 32 * 1024 * 1024;
/// What is said of a command that is none.
const QUOTED_CHARS: usize = 1_000;

/// What all connections of one server share.
pub(super) struct House {
    pub(super) theater: TheaterHandle,
    pub(super) guard: Guard,
    pub(super) wrong_tokens: WrongTokens,
    /// The system gives no more threads.
    pub(super) shortages: Mutex<Seldom>,
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
    pub(super) limits: ManagementLimits,
}

/// A connection as the door knows it.
pub(super) struct Connection {
    control: Socket,
    heard: Arc<AtomicBool>,
    reader: JoinHandle,
}

/// Says that the connection has ended when it is dropped.
struct Leaving {
    number: u64,
    to: Farewell,
}

/// Where a connection says that it has ended: its number, and a bell.
pub(super) type Farewell = (Sender<u64>, Arc<OwnedFd>);

impl Drop for Leaving {
    fn drop(&mut self) {
        // The door may be closed already, and then joins everyone.
        let (numbers, bell) = &self.to;
        let _ = numbers.send(self.number);
        ring(bell, LEFT);
    }
}

impl Connection {
    /// Serves `socket`. Over TCP the house's rules hold; who may open the Unix socket may do everything.
    pub(super) fn start(number: u64, socket: Socket, house: Arc<House>, to: Farewell) -> std::io::Result<Self> {
        socket.prepare()?;
        let control = socket.duplicate()?;
        let heard = Arc::new(AtomicBool::new(false));
        let leaving = Leaving { number, to };
        let marked = Arc::clone(&heard);
        let reader = thread::spawn(&format!("mgmt-{number}r"), move || {
            serve(number, socket, &house, &marked, leaving);
        })?;
        Ok(Self { control, heard, reader })
    }

    /// Whether it has said something that it may say.
    pub(super) fn was_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    /// Cuts it off; its threads end.
    pub(super) fn hang_up(&self) {
        self.control.shut(Shutdown::Both);
    }

    /// Ends it, if it has not ended, and joins its threads.
    pub(super) fn close(self) {
        self.hang_up();
        // A panic of it was logged.
        let _ = self.reader.join();
    }
}

/// The reading thread: begins the writing one, and joins it.
fn serve(number: u64, socket: Socket, house: &Arc<House>, heard: &AtomicBool, leaving: Leaving) {
    let local = matches!(socket, Socket::Unix(_));
    let tls = if local { None } else { house.tls.clone() };
    let peer = socket.peer();
    let (reading, writing) = match halves(socket, tls, Instant::now() + house.limits.authentication) {
        Ok(halves) => halves,
        Err(error) => return log::debug!("no TLS handshake with {peer}: {error}"),
    };
    let (outgoing, to_write) = bounded(OUTGOING);
    let (theater, limits) = (house.theater.clone(), house.limits.clone());
    let writer = thread::spawn(&format!("mgmt-{number}w"), move || {
        Writer::new(writing, theater, limits).run(&to_write);
    });
    let writer = match writer {
        Ok(writer) => writer,
        Err(error) => {
            let line = house.shortages.lock().line(format_args!("no thread for a management connection: {error}"));
            return line.into_iter().for_each(|line| log::warn!("{line}"));
        }
    };
    let role = if local { Role::Control } else { house.guard.unasked() };
    let mut source = BufReader::new(reading);
    let mut reader =
        Reader { house, role, peer, wrong_tokens: 0, began: Instant::now(), heard, paging: Paging::default() };
    let how = reader.read(&mut source, &outgoing);
    drop(outgoing);
    if matches!(how, End::Broken) {
        source.get_mut().linger(Instant::now() + LINGER, LINGER_BYTES);
    }
    // A panic of it was logged.
    let _ = writer.join();
    drop(leaving);
}

/// Why no more is read.
enum End {
    Gone,
    /// It was told why; it may still be sending.
    Broken,
}

struct Reader<'a> {
    house: &'a House,
    role: Role,
    peer: String,
    wrong_tokens: u32,
    began: Instant,
    heard: &'a AtomicBool,
    paging: Paging,
}

impl Reader<'_> {
    /// Reads commands and has them carried out, until the connection ends or its framing breaks.
    fn read(&mut self, source: &mut BufReader<Reading>, outgoing: &Sender<Outgoing>) -> End {
        loop {
            let stranger = self.role == Role::Nobody;
            source.get_mut().deadline = stranger.then(|| self.began + self.house.limits.authentication);
            let ManagementLimits { frame_bytes, frame_time, .. } = self.house.limits;
            let limit = if stranger { STRANGERS_FRAME_BYTES.min(frame_bytes) } else { frame_bytes };
            let begun = |source: &mut BufReader<Reading>| {
                let deadline = Instant::now() + frame_time;
                let reading = source.get_mut();
                reading.deadline = Some(reading.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
            };
            let (item, broken) = match frame::receive_within(source, limit, begun) {
                Ok(None) => return End::Gone,
                Ok(Some(json)) => self.frame(&json),
                Err(FrameError::Io(error)) if is_late(&error) => self.too_late(),
                Err(FrameError::TooSlow) if stranger => self.too_late(),
                Err(slow @ FrameError::TooSlow) => {
                    let limit = frame_time.as_millis();
                    (error_item(format!("{slow}: the limit management_frame_ms is {limit}")), true)
                }
                Err(FrameError::Io(_)) => return End::Gone,
                Err(FrameError::TooLarge { size, limit }) if !stranger => {
                    (error_item(format!("a frame of {size} bytes: the limit management_frame_bytes is {limit}")), true)
                }
                Err(broken) => (error_item(broken.to_string()), true),
            };
            if outgoing.send(item).is_err() {
                // What it sent and nobody read would, at the end, have the system drop what it was told last.
                return End::Broken;
            }
            if broken {
                return End::Broken;
            }
        }
    }

    fn too_late(&self) -> (Outgoing, bool) {
        let limit = self.house.limits.authentication.as_millis();
        (error_item(format!("not authenticated in time: the limit management_authentication_ms is {limit}")), true)
    }

    /// One frame: what is to be said to it, and whether the connection ends with that.
    fn frame(&mut self, json: &[u8]) -> (Outgoing, bool) {
        let request: Request = match serde_json::from_slice(json) {
            Ok(request) => request,
            // Who has not authenticated learns nothing but that.
            Err(_) if self.role == Role::Nobody => return (error_item(NOT_YET.into()), false),
            Err(error) => {
                // It quotes what was sent, however long that was.
                let why: String = error.to_string().chars().take(QUOTED_CHARS).collect();
                return (error_item(format!("not a command: {why}")), false);
            }
        };
        if let Request::Authenticate { token } = &request {
            return self.authenticate(token);
        }
        match request.takes() {
            _ if self.role == Role::Nobody => (error_item(NOT_YET.into()), false),
            takes if takes > self.role => {
                let (has, takes) = (self.role.word(), takes.word());
                (
                    error_item(format!("not allowed: this takes the role {takes}, and the token given is for {has}")),
                    false,
                )
            }
            _ => {
                self.heard.store(true, Ordering::Relaxed);
                (self.apply(request).unwrap_or_else(error_item), false)
            }
        }
    }

    fn authenticate(&mut self, token: &str) -> (Outgoing, bool) {
        if self.role != Role::Nobody && self.house.guard.unasked() != Role::Nobody {
            // Nobody is asked here: a client that authenticates all the same is right, too.
            let role = self.role.word().to_owned();
            return (Outgoing::Answer(Response::Authenticated { role }), false);
        }
        if let Some(role) = self.house.guard.role_of(token) {
            self.role = role;
            self.heard.store(true, Ordering::Relaxed);
            return (Outgoing::Answer(Response::Authenticated { role: role.word().to_owned() }), false);
        }
        self.wrong_tokens += 1;
        let (is_logged, unsaid) = self.house.wrong_tokens.came(clock::unix_ms() / 1_000);
        if unsaid > 0 {
            log::warn!("{unsaid} more wrong tokens were given by management clients");
        }
        if is_logged {
            let (peer, count) = (&self.peer, self.wrong_tokens);
            log::warn!("a management client at {peer} gave a wrong token ({count} of {WRONG_TOKENS})");
        }
        std::thread::sleep(WRONG_TOKEN_DELAY);
        (error_item("not authenticated: the token is wrong".into()), self.wrong_tokens >= WRONG_TOKENS)
    }

    fn apply(&mut self, request: Request) -> Result<Outgoing, String> {
        let theater = &self.house.theater;
        match request {
            Request::SubscribeToActor { id, from, kinds } => {
                let wanted = Wanted::Actor(known(theater, &id)?);
                Ok(Outgoing::Subscribe { wanted, from, kinds: Kinds::parse(kinds)? })
            }
            Request::Subscribe { scope, from, kinds } => {
                let wanted = match scope {
                    Scope::All => Wanted::All,
                    Scope::Tree(id) => Wanted::Tree(known(theater, &id)?.id),
                };
                Ok(Outgoing::Subscribe { wanted, from, kinds: Kinds::parse(kinds)? })
            }
            Request::UnsubscribeFromActor { id, subscription_id } => {
                let actor = id.parse().map_err(|bad| format!("{bad}"))?;
                Ok(Outgoing::Unsubscribe { actor: Some(actor), subscription_id })
            }
            Request::Unsubscribe { subscription_id } => Ok(Outgoing::Unsubscribe { actor: None, subscription_id }),
            Request::Shutdown => Ok(Outgoing::Shutdown),
            other => answer(theater, &mut self.paging, other).map(Outgoing::Answer),
        }
    }
}

const NOT_YET: &str = "not authenticated: send {\"Authenticate\":{\"token\":\"…\"}} first";

fn error_item(message: String) -> Outgoing {
    Outgoing::Answer(Response::Error { message })
}
