//! One management connection: a thread that reads commands and carries them out, and a thread that writes answers and
//! pushes events.
//!
//! ```text
//!   silent ── a command that it may send ──▶ heard ── the end, or its framing breaks ──▶ gone
//!      └───── no room for others, or too late to authenticate ──────▶ gone
//! ```
//!
//! The reading thread starts the writing one and joins it. When the reading thread ends, the acceptor joins it.

use std::io::{self, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use super::answer_charge::{AnswerCharge, Purse};
use super::auth::Role;
use super::commands::answer;
use super::frame::{self, FrameError};
use super::lookup::known;
use super::paging::Paging;
use super::protocol::{Request, Response, Scope};
use super::shared::ManagementShared;
use super::subscription::Kinds;
use super::transport::{ReadingHalf, Socket, halves, is_late};
use super::writer::{EventsWanted, ManagementWriter, ToWrite};
use crate::base::limits::{ANSWER_WAIT, ManagementLimits, WRONG_TOKEN_DELAY, WRONG_TOKENS};
use crate::base::{clock, thread, wait};
use crate::manifest::nearest;
use crate::net::Deadline;

/// How many answers may wait for the writing thread.
const WAITING_ANSWERS: usize = 64;
/// The most bytes of a frame from a client that has not authenticated. Only the command to authenticate fits, and
/// little else.
const STRANGERS_FRAME_BYTES: usize = 8 * 1024;
/// For how long, and how many bytes, are read and thrown away from a client whose framing broke, so that it can still
/// read why.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 32 * 1024 * 1024;
/// How many characters of an invalid command are quoted.
const QUOTED_CHARS: usize = 1_000;

/// The body of the reading thread: it starts the writing thread, carries out commands, and joins the writing thread.
/// `was_heard` is set when the client has sent a command that it may send.
pub(super) fn serve(number: usize, socket: Socket, shared: &ManagementShared, was_heard: &AtomicBool) {
    let local = matches!(socket, Socket::Unix(_));
    let tls = if local { None } else { shared.tls.as_deref() };
    let peer = socket.peer();
    let (reading, writing) = match halves(socket, tls, Deadline::after(shared.limits.authentication)) {
        Ok(halves) => halves,
        Err(error) => return log::debug!("no TLS handshake with {peer}: {error}"),
    };
    let (to_writer, to_write) = bounded(WAITING_ANSWERS);
    let (theater, limits) = (shared.theater.clone(), shared.limits.clone());
    let writer = thread::spawn_with(&format!("mgmt-{number}w"), thread::STACK_BYTES, writing, move |writing| {
        ManagementWriter::new(writing, theater, limits).run(&to_write);
    });
    let writer = match writer {
        Ok(writer) => writer,
        Err((error, mut writing)) => {
            // The client may be gone already.
            let _ = writing.put_frame(no_thread(&error)).and_then(|()| writing.flush(Deadline::after(LINGER)));
            let line = shared.shortages.lock().line(format_args!("no thread for a management connection: {error}"));
            return line.into_iter().for_each(|line| log::warn!("{line}"));
        }
    };
    let role = if local { Role::Control } else { shared.guard.unasked() };
    let mut source = BufReader::new(reading);
    let purse = Purse::new(shared.limits.answer_bytes, Arc::clone(&shared.answers));
    let (paging, authenticates_until) = (Paging::default(), Deadline::after(shared.limits.authentication));
    let mut reader =
        CommandReader { shared, role, peer, wrong_tokens: 0, authenticates_until, was_heard, paging, purse };
    let end = reader.read(&mut source, &to_writer);
    drop(to_writer);
    if matches!(end, NoMoreCommands::Broken) {
        source.get_mut().linger(Deadline::after(LINGER), LINGER_BYTES);
    }
    // A panic was logged by the writing thread itself.
    let _ = writer.join();
}

/// The frame for a client that the runtime has no thread for.
pub(super) fn no_thread(error: &io::Error) -> Vec<u8> {
    frame::encode_error(&format!("the runtime has no thread for this connection: {error}"))
}

/// Why no more commands are read.
enum NoMoreCommands {
    /// The client is gone.
    Gone,
    /// The client was told why. It may still be sending.
    Broken,
}

/// Reads the commands of one client and carries them out.
struct CommandReader<'a> {
    shared: &'a ManagementShared,
    role: Role,
    peer: String,
    wrong_tokens: u32,
    authenticates_until: Deadline,
    was_heard: &'a AtomicBool,
    paging: Paging,
    /// The budgets to which its answers are charged.
    purse: Purse,
}

impl CommandReader<'_> {
    /// Reads commands and has them carried out, until the connection ends or its framing breaks.
    fn read(&mut self, source: &mut BufReader<ReadingHalf>, to_writer: &Sender<ToWrite>) -> NoMoreCommands {
        loop {
            let stranger = self.role == Role::Nobody;
            source.get_mut().deadline = stranger.then_some(self.authenticates_until);
            let ManagementLimits { frame_bytes, frame_time, .. } = self.shared.limits;
            let limit = if stranger { STRANGERS_FRAME_BYTES.min(frame_bytes) } else { frame_bytes };
            let has_begun = |source: &mut BufReader<ReadingHalf>| {
                let deadline = Deadline::after(frame_time);
                let reading = source.get_mut();
                reading.deadline = Some(reading.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
            };
            let (item, broken) = match frame::receive_within(source, limit, has_begun) {
                Ok(None) => return NoMoreCommands::Gone,
                Ok(Some(json)) => self.frame(&json),
                Err(FrameError::Io(error)) if is_late(&error) => self.too_late(),
                Err(FrameError::TooSlow) if stranger => self.too_late(),
                Err(slow @ FrameError::TooSlow) => {
                    let limit = frame_time.as_millis();
                    (self.error(format!("{slow}: the limit management_frame_ms is {limit}")), true)
                }
                Err(FrameError::Io(_)) => return NoMoreCommands::Gone,
                Err(FrameError::TooLarge { size, limit }) if !stranger => {
                    (self.error(format!("a frame of {size} bytes: the limit management_frame_bytes is {limit}")), true)
                }
                Err(broken) => (self.error(broken.to_string()), true),
            };
            if to_writer.send(item).is_err() {
                // The writing thread has ended. The bytes that the client has sent must still be read: otherwise the
                // system resets the connection, and the client loses the last answer.
                return NoMoreCommands::Broken;
            }
            if broken {
                return NoMoreCommands::Broken;
            }
        }
    }

    fn too_late(&self) -> (ToWrite, bool) {
        let limit = self.shared.limits.authentication.as_millis();
        (self.error(format!("not authenticated in time: the limit management_authentication_ms is {limit}")), true)
    }

    /// Handles one frame. Returns the answer, and whether the connection ends with that.
    fn frame(&mut self, json: &[u8]) -> (ToWrite, bool) {
        let request: Request = match serde_json::from_slice(json) {
            Ok(request) => request,
            // A client that has not authenticated learns nothing else.
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
                self.was_heard.store(true, Ordering::Relaxed);
                (self.apply(request).unwrap_or_else(|why| self.error(why)), false)
            }
        }
    }

    fn authenticate(&mut self, token: &str) -> (ToWrite, bool) {
        if self.role != Role::Nobody && self.shared.guard.unasked() != Role::Nobody {
            // No token is asked for here. A client that authenticates although it need not is told that it has.
            let role = self.role.word().to_owned();
            return (self.say(&Response::Authenticated { role }), false);
        }
        if let Some(role) = self.shared.guard.role_of(token) {
            self.role = role;
            self.was_heard.store(true, Ordering::Relaxed);
            return (self.say(&Response::Authenticated { role: role.word().to_owned() }), false);
        }
        self.wrong_tokens += 1;
        let (is_logged, unsaid) = self.shared.wrong_tokens.came(clock::unix_ms() / 1_000);
        if unsaid > 0 {
            log::warn!("{unsaid} more wrong tokens were given by management clients");
        }
        if is_logged {
            let (peer, count) = (&self.peer, self.wrong_tokens);
            log::warn!("a management client at {peer} gave a wrong token ({count} of {WRONG_TOKENS})");
        }
        wait::sleep(WRONG_TOKEN_DELAY);
        (self.error("not authenticated: the token is wrong".into()), self.wrong_tokens >= WRONG_TOKENS)
    }

    fn apply(&mut self, request: Request) -> Result<ToWrite, String> {
        let theater = &self.shared.theater;
        match request {
            Request::SubscribeToActor { id, from, kinds } => {
                let wanted = EventsWanted::Actor(known(theater, &id)?);
                Ok(ToWrite::Subscribe { wanted, from, kinds: Kinds::parse(kinds)? })
            }
            Request::Subscribe { scope, from, kinds } => {
                let wanted = match scope {
                    Scope::All => EventsWanted::All,
                    Scope::Tree(id) => EventsWanted::Tree(known(theater, &id)?.id),
                };
                Ok(ToWrite::Subscribe { wanted, from, kinds: Kinds::parse(kinds)? })
            }
            Request::UnsubscribeFromActor { id, subscription_id } => {
                let actor = id.parse().map_err(|bad| format!("{bad}"))?;
                Ok(ToWrite::Unsubscribe { actor: Some(actor), subscription_id })
            }
            Request::Unsubscribe { subscription_id } => Ok(ToWrite::Unsubscribe { actor: None, subscription_id }),
            Request::Shutdown => Ok(ToWrite::Shutdown),
            other => self.answer(other),
        }
    }

    /// Carries a command out. If its answer may be long, it takes room in the budget first, so that nothing is read
    /// that cannot be sent.
    fn answer(&mut self, request: Request) -> Result<ToWrite, String> {
        let size = request.answer_size(&self.shared.theater);
        let room = if size.is_long { Some(self.purse.reserve().ok_or_else(|| self.busy())?) } else { None };
        let response = answer(&self.shared.theater, &mut self.paging, request)?;
        let frame = frame::encode(&response).map_err(|why| format!("the answer: {why}; {}", size.remedy))?;
        drop(response);
        Ok(self.charged(frame, room))
    }

    fn busy(&self) -> String {
        let (seconds, limit) = (ANSWER_WAIT.as_secs(), self.shared.limits.answers_bytes);
        format!(
            "busy: for {seconds} s other clients had so many answers under way that there was no room for this one: the \
             limit management_answers_bytes is {limit}; nothing was done, try again"
        )
    }

    fn charged(&self, frame: Vec<u8>, room: Option<AnswerCharge>) -> ToWrite {
        let charge = match room {
            Some(mut room) => {
                room.shrink_to(frame.len());
                room
            }
            None => self.purse.charge(frame.len()),
        };
        ToWrite::Answer { frame, charge }
    }

    fn say(&self, response: &Response) -> ToWrite {
        self.charged(frame::encode(response).unwrap_or_else(|why| frame::encode_error(&why.to_string())), None)
    }

    fn error(&self, message: String) -> ToWrite {
        self.charged(frame::encode_error(&message), None)
    }
}

/// The error for a frame that is no command. For an unknown name it gives the nearest known one instead of all of them.
fn not_a_command(why: &str) -> String {
    // The error of the parser quotes what was sent, however long that is.
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
