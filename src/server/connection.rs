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
use super::budget::{Budget, Charge, Purse};
use super::commands::{answer, known};
use super::door::{LEFT, ring};
use super::frame::{self, FrameError};
use super::paging::Paging;
use super::protocol::{Request, Response, Scope};
use super::subscription::Kinds;
use super::transport::{Reading, Socket, halves, is_late};
use super::writer::{Outgoing, Wanted, Writer};
use crate::base::clock;
use crate::base::limits::{ANSWER_WAIT, ManagementLimits, WRONG_TOKEN_DELAY, WRONG_TOKENS};
use crate::base::seldom::Seldom;
use crate::base::thread::{self, JoinHandle};
use crate::manifest::nearest;
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
    /// Bytes of answers that all connections have under way.
    pub(super) answers: Arc<Budget>,
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
        });
        match reader {
            Ok(reader) => Ok(Self { control, heard, reader }),
            Err(error) => {
                control.say_and_close(&no_thread(&error));
                Err(error)
            }
        }
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

/// What a client is told that nobody can serve.
fn no_thread(error: &std::io::Error) -> Vec<u8> {
    frame::encode_error(&format!("the runtime has no thread for this connection: {error}"))
}

/// The reading thread: begins the writing one, and joins it.
fn serve(number: u64, socket: Socket, house: &Arc<House>, heard: &AtomicBool, leaving: Leaving) {
    let local = matches!(socket, Socket::Unix(_));
    let tls = if local { None } else { house.tls.clone() };
    let peer = socket.peer();
    let (reading, writing) = match halves(socket, tls, clock::now() + house.limits.authentication) {
        Ok(halves) => halves,
        Err(error) => return log::debug!("no TLS handshake with {peer}: {error}"),
    };
    let (outgoing, to_write) = bounded(OUTGOING);
    let (theater, limits) = (house.theater.clone(), house.limits.clone());
    // Handed over once there is a thread: else it would go with the thread that there is none for.
    let (hand_over, handed_over) = bounded(1);
    let taken = handed_over.clone();
    let _ = hand_over.send(writing);
    let writer = thread::spawn(&format!("mgmt-{number}w"), move || {
        let Ok(writing) = taken.recv() else { return };
        Writer::new(writing, theater, limits).run(&to_write);
    });
    let writer = match writer {
        Ok(writer) => writer,
        Err(error) => {
            if let Ok(mut writing) = handed_over.try_recv() {
                // The client may be gone already.
                let _ = writing.put_frame(no_thread(&error)).and_then(|()| writing.flush(clock::now() + LINGER));
            }
            let line = house.shortages.lock().line(format_args!("no thread for a management connection: {error}"));
            return line.into_iter().for_each(|line| log::warn!("{line}"));
        }
    };
    let role = if local { Role::Control } else { house.guard.unasked() };
    let mut source = BufReader::new(reading);
    let purse = Purse::new(house.limits.answer_bytes, Arc::clone(&house.answers));
    let (paging, began) = (Paging::default(), clock::now());
    let mut reader = Reader { house, role, peer, wrong_tokens: 0, began, heard, paging, purse };
    let how = reader.read(&mut source, &outgoing);
    drop(outgoing);
    if matches!(how, End::Broken) {
        source.get_mut().linger(clock::now() + LINGER, LINGER_BYTES);
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
    /// What its answers are charged to.
    purse: Purse,
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
                let deadline = clock::now() + frame_time;
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
                    (self.error(format!("{slow}: the limit management_frame_ms is {limit}")), true)
                }
                Err(FrameError::Io(_)) => return End::Gone,
                Err(FrameError::TooLarge { size, limit }) if !stranger => {
                    (self.error(format!("a frame of {size} bytes: the limit management_frame_bytes is {limit}")), true)
                }
                Err(broken) => (self.error(broken.to_string()), true),
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
        (self.error(format!("not authenticated in time: the limit management_authentication_ms is {limit}")), true)
    }

    /// One frame: what is to be said to it, and whether the connection ends with that.
    fn frame(&mut self, json: &[u8]) -> (Outgoing, bool) {
        let request: Request = match serde_json::from_slice(json) {
            Ok(request) => request,
            // Who has not authenticated learns nothing but that.
            Err(_) if self.role == Role::Nobody => return (self.error(NOT_YET.into()), false),
            Err(error) => return (self.error(not_a_command(&error.to_string())), false),
        };
        if let Request::Authenticate { token } = &request {
            return self.authenticate(token);
        }
        match request.takes() {
            _ if self.role == Role::Nobody => (self.error(NOT_YET.into()), false),
            takes if takes > self.role => {
                let (has, takes) = (self.role.word(), takes.word());
                (
                    self.error(format!("not allowed: this takes the role {takes}, and the token given is for {has}")),
                    false,
                )
            }
            _ => {
                self.heard.store(true, Ordering::Relaxed);
                (self.apply(request).unwrap_or_else(|why| self.error(why)), false)
            }
        }
    }

    fn authenticate(&mut self, token: &str) -> (Outgoing, bool) {
        if self.role != Role::Nobody && self.house.guard.unasked() != Role::Nobody {
            // Nobody is asked here: a client that authenticates all the same is right, too.
            let role = self.role.word().to_owned();
            return (self.say(&Response::Authenticated { role }), false);
        }
        if let Some(role) = self.house.guard.role_of(token) {
            self.role = role;
            self.heard.store(true, Ordering::Relaxed);
            return (self.say(&Response::Authenticated { role: role.word().to_owned() }), false);
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
        (self.error("not authenticated: the token is wrong".into()), self.wrong_tokens >= WRONG_TOKENS)
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
            other => self.answer(other),
        }
    }

    /// Carries a command out. Where its answer may be long, there is room for it first: nothing is read that could not be
    /// said.
    fn answer(&mut self, request: Request) -> Result<Outgoing, String> {
        let size = request.answer_size(&self.house.theater);
        let room = if size.is_long { Some(self.purse.reserve().ok_or_else(|| self.busy())?) } else { None };
        let response = answer(&self.house.theater, &mut self.paging, request)?;
        let frame = frame::encode(&response).map_err(|why| format!("the answer: {why}; {}", size.remedy))?;
        drop(response);
        Ok(self.charged(frame, room))
    }

    fn busy(&self) -> String {
        let (seconds, limit) = (ANSWER_WAIT.as_secs(), self.house.limits.answers_bytes);
        format!(
            "busy: for {seconds} s other clients had so many answers under way that there was no room for this one: the \
             limit management_answers_bytes is {limit}; nothing was done, try again"
        )
    }

    fn charged(&self, frame: Vec<u8>, room: Option<Charge>) -> Outgoing {
        let charge = match room {
            Some(mut room) => {
                room.shrink_to(frame.len());
                room
            }
            None => self.purse.charge(frame.len()),
        };
        Outgoing::Answer { frame, charge }
    }

    fn say(&self, response: &Response) -> Outgoing {
        self.charged(frame::encode(response).unwrap_or_else(|why| frame::encode_error(&why.to_string())), None)
    }

    fn error(&self, message: String) -> Outgoing {
        self.charged(frame::encode_error(&message), None)
    }
}

/// What is said of a frame that is no command. Of a name that is none, the nearest that is one; not all there are.
fn not_a_command(why: &str) -> String {
    // It quotes what was sent, however long that was.
    let cut = |why: &str| why.chars().take(QUOTED_CHARS).collect::<String>();
    let unknown = why.strip_prefix("unknown variant `").and_then(|rest| rest.rsplit_once("`, expected one of "));
    let Some((name, known)) = unknown else { return format!("not a command: {}", cut(why)) };
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let near = if name.len() < QUOTED_CHARS { nearest(name, &known) } else { None };
    let hint =
        near.map_or_else(|| "docs/management.md lists them".to_owned(), |near| format!("did you mean `{near}`?"));
    format!("not a command: unknown variant `{}`; {hint}", cut(name))
}

const NOT_YET: &str = "not authenticated: send {\"Authenticate\":{\"token\":\"…\"}} first";

#[cfg(test)]
mod tests {
    use super::*;

    fn said_of(json: &str) -> String {
        not_a_command(&serde_json::from_str::<Request>(json).expect_err("no command").to_string())
    }

    #[test]
    fn a_name_that_is_no_command_is_answered_by_the_nearest_that_is_one() {
        assert_eq!(said_of("\"ListActor\""), "not a command: unknown variant `ListActor`; did you mean `ListActors`?");
        assert_eq!(said_of("{\"Dance\":{}}"), "not a command: unknown variant `Dance`; docs/management.md lists them");
        let kind = said_of("{\"Subscribe\":{\"scope\":\"Al\"}}");
        assert!(kind.starts_with("not a command: unknown variant `Al`, expected `All` or `Tree`"), "{kind}");
        assert_eq!(said_of("17"), "not a command: expected value at line 1 column 1");
        assert!(said_of(&format!("\"{}\"", "`".repeat(100_000))).len() < 2_000);
    }
}
