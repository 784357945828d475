//! One management connection: a thread that reads and does, a thread that writes and pushes.
//!
//! The writer owns the subscriptions, so an acknowledgement always leaves before the first event it promises. A client
//! that leaves its socket full for too long is dropped; the actor it listens to never notices.

use std::io::BufReader;
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::frame::{self, FrameError};
use super::protocol::{ActorView, EventView, PushedEvent, Request, Response};
use super::subscription::Cursor;
use crate::base::id::ActorId;
use crate::base::limits::{SUBSCRIBER_PATIENCE, SUBSCRIPTIONS_PER_CONNECTION};
use crate::base::thread::{self, JoinHandle};
use crate::chain::{ComponentDigest, EventHash};
use crate::journal::{ActorKey, prune, redact};
use crate::system::{TheaterHandle, Waker};

/// Answers that wait for the writer.
const OUTGOING: usize = 64;
/// Events in one page, and bytes of their data before base64.
const PAGE_EVENTS: u64 = 1_000;
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// What the reader hands to the writer.
enum Outgoing {
    Answer(Response),
    Subscribe {
        actor: ActorKey,
        from: Option<u64>,
    },
    /// The answer first, then the end: ending closes this connection too.
    Shutdown,
    Unsubscribe {
        actor: ActorId,
        subscription_id: String,
    },
}

pub(super) struct Connection {
    stream: TcpStream,
    reader: JoinHandle,
    writer: JoinHandle,
    ended: Receiver<()>,
}

impl Connection {
    pub(super) fn start(number: u64, stream: TcpStream, theater: TheaterHandle) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(SUBSCRIBER_PATIENCE))?;
        let (outgoing, to_write) = bounded(OUTGOING);
        let (alive, ended) = bounded::<()>(0);
        let (reading, writing) = (stream.try_clone()?, stream.try_clone()?);
        let asked = theater.clone();
        let writer = thread::spawn(&format!("mgmt-{number}w"), move || {
            Writer { stream: writing, theater, cursors: Vec::new() }.run(&to_write);
        })?;
        let reader = thread::spawn(&format!("mgmt-{number}r"), move || {
            let _alive = alive;
            read(&reading, &asked, &outgoing);
        })?;
        Ok(Self { stream, reader, writer, ended })
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected)
    }

    /// Ends it, if it has not ended, and joins its threads.
    pub(super) fn close(self) {
        // It may be closed already; a panic of its threads was logged.
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.reader.join();
        let _ = self.writer.join();
    }
}

/// Reads commands until the connection ends or its framing breaks.
fn read(stream: &TcpStream, theater: &TheaterHandle, outgoing: &Sender<Outgoing>) {
    let mut source = BufReader::new(stream);
    loop {
        let (answer, broken) = match frame::receive(&mut source) {
            Ok(None) | Err(FrameError::Io(_)) => return,
            Ok(Some(json)) => (understand(&json).map_or_else(error, |request| apply(theater, request)), false),
            Err(broken) => (error(broken.to_string()), true),
        };
        if outgoing.send(answer).is_err() || broken {
            return;
        }
    }
}

fn understand(json: &[u8]) -> Result<Request, String> {
    serde_json::from_slice(json).map_err(|error| format!("not a command: {error}"))
}

fn error(message: String) -> Outgoing {
    Outgoing::Answer(Response::Error { message })
}

/// One command, carried out.
fn apply(theater: &TheaterHandle, request: Request) -> Outgoing {
    match request {
        Request::SubscribeToActor { id, from } => match known(theater, &id) {
            Ok(actor) => Outgoing::Subscribe { actor, from },
            Err(message) => error(message),
        },
        Request::UnsubscribeFromActor { id, subscription_id } => match id.parse() {
            Ok(actor) => Outgoing::Unsubscribe { actor, subscription_id },
            Err(bad) => error(format!("{bad}")),
        },
        Request::Shutdown => Outgoing::Shutdown,
        other => answer(theater, other).map_or_else(error, Outgoing::Answer),
    }
}

fn answer(theater: &TheaterHandle, request: Request) -> Result<Response, String> {
    match request {
        Request::StartActor { manifest } => {
            theater.start(PathBuf::from(manifest)).map(|id| Response::ActorStarted { id: id.to_string() })
        }
        Request::StopActor { id } => theater.stop(known(theater, &id)?.id).map(|()| Response::ActorStopped { id }),
        Request::RestartActor { id } => {
            theater.restart(known(theater, &id)?.id).map(|()| Response::ActorRestarted { id })
        }
        Request::ForkActor { id, at, name, manifest } => {
            let forked = theater.fork(known(theater, &id)?.id, at, &name, manifest.map(PathBuf::from));
            forked.map(|id| Response::ActorForked { id: id.to_string() })
        }
        Request::ListActors => {
            let alive = theater.actors().into_iter().filter(|actor| actor.status.is_alive());
            Ok(Response::ActorList { actors: alive.map(|actor| actor.id.to_string()).collect() })
        }
        Request::ActorTree => {
            Ok(Response::ActorTree { actors: theater.actors().into_iter().map(ActorView::from).collect() })
        }
        Request::ActorStatus { id } => {
            let info = theater.actor(known(theater, &id)?.id).ok_or_else(|| format!("no such actor: {id}"))?;
            Ok(Response::ActorStatus { actor: info.into() })
        }
        Request::GetActorState { id } => {
            let state = read_journal(theater, known(theater, &id)?, |reader, actor| reader.newest_state(actor))?;
            let length = state.as_ref().map(|state| state.len() as u64);
            let state = state.filter(|state| state.len() <= PAGE_BYTES).map(|state| BASE64.encode(state));
            Ok(Response::ActorState { id, state, length })
        }
        Request::GetStateBytes { id, offset } => {
            let actor = known(theater, &id)?;
            stretch(theater, id, offset, |reader| reader.newest_state(actor))
        }
        Request::GetEventData { id, sequence, offset } => {
            let actor = known(theater, &id)?;
            let data = |reader: &crate::journal::JournalReader| {
                let event = reader.events(actor, sequence, 1, usize::MAX)?.pop();
                Ok(event.filter(|event| event.sequence == sequence).map(|event| event.data))
            };
            stretch(theater, id, offset, data)
        }
        Request::GetActorEvents { id, from, limit } => events(theater, id, from, limit),
        Request::GetComponent { digest, offset } => {
            let wanted = ComponentDigest::parse(&digest).ok_or("not a SHA-256 in hex")?;
            stretch(theater, digest, offset, |reader| reader.component(wanted))
        }
        Request::GetBlob { digest, offset } => {
            let wanted = EventHash::parse(&digest).ok_or("not a SHA-1 in hex")?;
            stretch(theater, digest, offset, |reader| reader.blob(&wanted.0))
        }
        Request::GetKeptState { id, behind, offset } => kept_state(theater, id, behind, offset),
        Request::PruneActor { id, before } => {
            let actor = known(theater, &id)?;
            let reader = theater.journal.reader().map_err(|error| error.to_string())?;
            let pruned = prune(&theater.journal, &reader, actor, before).map_err(|error| error.to_string())?;
            Ok(Response::Forgotten { id, events: pruned.events, replays_from: pruned.replays_from })
        }
        Request::RedactEvent { id, sequence } => {
            let actor = known(theater, &id)?;
            let reader = theater.journal.reader().map_err(|error| error.to_string())?;
            let redacted = redact(&theater.journal, &reader, actor, sequence).map_err(|error| error.to_string())?;
            Ok(Response::Forgotten { id, events: redacted.events, replays_from: redacted.replays_from })
        }
        Request::SendMessage { id, message } => {
            theater.send(known(theater, &id)?.id, decode(&message)?)?;
            Ok(Response::Sent { id })
        }
        Request::RequestMessage { id, message } => {
            let reply = theater.request(known(theater, &id)?.id, decode(&message)?)?;
            Ok(Response::Answer { id, message: BASE64.encode(reply) })
        }
        Request::Status => {
            let actors = theater.actors();
            Ok(Response::Status {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                data_dir: theater.journal.dir().display().to_string(),
                actors: actors.len() as u64,
                alive: actors.iter().filter(|actor| actor.status.is_alive()).count() as u64,
            })
        }
        Request::SubscribeToActor { .. } | Request::UnsubscribeFromActor { .. } | Request::Shutdown => {
            unreachable!("the caller has taken these")
        }
    }
}

fn known(theater: &TheaterHandle, id: &str) -> Result<ActorKey, String> {
    let id: ActorId = id.parse().map_err(|error| format!("{error}"))?;
    theater.key(id).ok_or_else(|| format!("no such actor: {id}"))
}

fn read_journal<T>(
    theater: &TheaterHandle,
    actor: ActorKey,
    read: impl FnOnce(&crate::journal::JournalReader, ActorKey) -> rusqlite::Result<T>,
) -> Result<T, String> {
    let reader = theater.journal.reader().map_err(|error| error.to_string())?;
    read(&reader, actor).map_err(|error| error.to_string())
}

fn events(theater: &TheaterHandle, id: String, from: u64, limit: u64) -> Result<Response, String> {
    let actor = known(theater, &id)?;
    let limit = limit.min(PAGE_EVENTS);
    let events = read_journal(theater, actor, |reader, actor| reader.events(actor, from, limit, PAGE_BYTES))?;
    let next = events.last().map(|event| event.sequence + 1);
    Ok(Response::ActorEvents { id, events: events.into_iter().map(EventView::from).collect(), next })
}

fn stretch(
    theater: &TheaterHandle,
    digest: String,
    offset: u64,
    read: impl FnOnce(&crate::journal::JournalReader) -> rusqlite::Result<Option<Vec<u8>>>,
) -> Result<Response, String> {
    let reader = theater.journal.reader().map_err(|error| error.to_string())?;
    let bytes =
        read(&reader).map_err(|error| error.to_string())?.ok_or_else(|| format!("nothing is kept as {digest}"))?;
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let to = bytes.len().min(from + PAGE_BYTES);
    Ok(Response::Bytes { digest, size: bytes.len() as u64, offset, data: BASE64.encode(&bytes[from..to]) })
}

fn kept_state(theater: &TheaterHandle, id: String, behind: u64, offset: u64) -> Result<Response, String> {
    let actor = known(theater, &id)?;
    let kept = read_journal(theater, actor, |reader, actor| match reader.first_kept_behind(actor, behind)? {
        Some(sequence) => reader.kept_state(actor, sequence + 1),
        None => Ok(None),
    })?;
    let (sequence, state) = kept.unzip();
    let state = state.flatten();
    let bytes = state.as_deref().unwrap_or_default();
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let to = bytes.len().min(from + PAGE_BYTES);
    let data = BASE64.encode(&bytes[from..to]);
    Ok(Response::KeptState { id, sequence, size: state.as_ref().map(|state| state.len() as u64), offset, data })
}

fn decode(message: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(message).map_err(|error| format!("the message is not base64: {error}"))
}

/// The writing side, with the subscriptions.
struct Writer {
    stream: TcpStream,
    theater: TheaterHandle,
    cursors: Vec<Cursor>,
}

/// The client is gone, or too slow.
struct Gone;

impl Writer {
    fn run(mut self, outgoing: &Receiver<Outgoing>) {
        let (waker, bell) = Waker::new();
        let served = loop {
            let done = select! {
                recv(outgoing) -> item => match item {
                    Ok(item) => self.write(item, &waker),
                    Err(_) => break Ok(()),
                },
                recv(bell) -> _ => self.push(&waker),
            };
            if done.is_err() {
                break done;
            }
        };
        if let Err(Gone) = served {
            log::debug!("a management client has gone");
        }
        for cursor in &self.cursors {
            cursor.close(&self.theater.subscribers);
        }
        // Whatever the reader waits for will not come.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn write(&mut self, item: Outgoing, waker: &Waker) -> Result<(), Gone> {
        let response = match item {
            Outgoing::Answer(response) => response,
            Outgoing::Shutdown => {
                let sent = self.send(&Response::ShuttingDown);
                self.theater.shutdown();
                return sent;
            }
            Outgoing::Subscribe { actor, from } => self.subscribe(actor, from, waker),
            Outgoing::Unsubscribe { actor, subscription_id } => self.unsubscribe(actor, &subscription_id),
        };
        self.send(&response)
    }

    fn subscribe(&mut self, actor: ActorKey, from: Option<u64>, waker: &Waker) -> Response {
        if self.cursors.len() >= SUBSCRIPTIONS_PER_CONNECTION {
            let message = format!("too many subscriptions: the limit is {SUBSCRIPTIONS_PER_CONNECTION} a connection");
            return Response::Error { message };
        }
        match Cursor::open(&self.theater, actor, from, waker.clone()) {
            Ok(cursor) => {
                let (id, subscription_id) = (actor.id.to_string(), cursor.id.to_string());
                self.cursors.push(cursor);
                // What is there already is due at once.
                waker.wake();
                Response::Subscribed { id, subscription_id }
            }
            Err(message) => Response::Error { message },
        }
    }

    fn unsubscribe(&mut self, actor: ActorId, subscription_id: &str) -> Response {
        let Some(at) = self.cursors.iter().position(|cursor| cursor.is(actor, subscription_id)) else {
            return Response::Error { message: format!("no such subscription: {subscription_id} to {actor}") };
        };
        self.cursors.swap_remove(at).close(&self.theater.subscribers);
        Response::Unsubscribed { id: actor.to_string() }
    }

    /// Pushes one page for each subscription that has one; rings again where there may be more, so that answers come
    /// in between.
    fn push(&mut self, waker: &Waker) -> Result<(), Gone> {
        let mut cursors = std::mem::take(&mut self.cursors);
        let mut more = false;
        let mut done = Ok(());
        for cursor in &mut cursors {
            match cursor.advance(&self.theater) {
                Ok(events) => {
                    more |= !events.is_empty();
                    let id = cursor.actor.id.to_string();
                    done = events.into_iter().try_for_each(|event| {
                        self.send(&Response::ActorEvent { id: id.clone(), event: PushedEvent::from(event) })
                    });
                }
                Err(message) => done = self.send(&Response::Error { message }),
            }
            if done.is_err() {
                break;
            }
        }
        self.cursors = cursors;
        if more {
            waker.wake();
        }
        done
    }

    /// One deadline for the whole frame: a client that takes a byte now and then is too slow as well.
    fn write_all(&mut self, mut bytes: &[u8], deadline: Instant) -> std::io::Result<()> {
        use std::io::{Error, ErrorKind, Write};
        while !bytes.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::from(ErrorKind::TimedOut));
            }
            self.stream.set_write_timeout(Some(left))?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(Error::from(ErrorKind::WriteZero)),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes a frame, however slowly it is taken, within the client's patience.
    fn send(&mut self, response: &Response) -> Result<(), Gone> {
        let frame = frame::encode(response);
        let begun = Instant::now();
        let sent = self.write_all(&frame, begun + SUBSCRIBER_PATIENCE);
        if sent.is_err() && begun.elapsed() + Duration::from_millis(100) >= SUBSCRIBER_PATIENCE {
            log::warn!("a management client does not read; its connection is closed");
        }
        sent.map_err(|_| Gone)
    }
}
