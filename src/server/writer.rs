//! The writing thread of a management connection: it sends answers, owns the subscriptions, and pushes their events.
//!
//! Because one thread does both, the acknowledgement of a subscription is always sent before the first event of it. A
//! client that does not read for too long is told so and is disconnected. The actors whose events it subscribed to
//! never wait for it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::Shutdown;

use crossbeam_channel::{Receiver, TryRecvError};

use super::answer_charge::AnswerCharge;
use super::frame;
use super::protocol::Response;
use super::subscription::{Cursor, JournalPages, Kinds};
use super::transport::{WritingHalf, is_late};
use crate::base::id::ActorId;
use crate::base::limits::{ManagementLimits, PARTING_GRACE};
use crate::base::wait;
use crate::journal::ActorKey;
use crate::net::Deadline;
use crate::system::{Following, ListenerId, TheaterHandle};

/// How many subscriptions are served before it is the turn of answers again.
const SERVED_A_TURN: usize = 64;
/// Frames of pushed events are collected up to this many bytes, and then written together.
const TOGETHER_BYTES: usize = 64 * 1024;

/// What the reading thread hands to the writing thread.
pub(super) enum ToWrite {
    /// An answer.
    Answer {
        frame: Vec<u8>,
        /// The room that the answer takes in the budgets until it was sent.
        charge: AnswerCharge,
    },
    Subscribe {
        wanted: EventsWanted,
        from: Option<u64>,
        kinds: Kinds,
    },
    /// Answers first, and has the runtime end then, because that closes this connection too.
    Shutdown,
    Unsubscribe {
        /// The actor of the subscription, if the client has named it.
        actor: Option<ActorId>,
        subscription_id: String,
    },
}

/// Whose events a subscription is for.
pub(super) enum EventsWanted {
    Actor(ActorKey),
    /// The events of an actor and of all actors below it.
    Tree(ActorId),
    All,
}

/// The client is gone, or was disconnected.
struct ClientGone;

/// The writing thread of one connection.
pub(super) struct ManagementWriter {
    stream: WritingHalf,
    theater: TheaterHandle,
    limits: ManagementLimits,
    listener: ListenerId,
    /// The bell: the channel on which the journal wakes this thread when events were committed that it may have to
    /// push.
    bell: Receiver<()>,
    /// All subscriptions, by their ids.
    cursors: HashMap<String, Cursor>,
    /// The ids of the subscriptions to one actor.
    by_actor: HashMap<ActorId, Vec<String>>,
    /// The ids of the subscriptions to a tree or to all actors.
    wide: Vec<String>,
    /// The ids of the subscriptions that may have events to push, in the order of their turns.
    due: VecDeque<String>,
    /// The same ids, to look one up.
    due_ids: HashSet<String>,
    /// How many bytes of frames were collected and not written yet.
    collected: usize,
}

impl ManagementWriter {
    pub(super) fn new(stream: WritingHalf, theater: TheaterHandle, limits: ManagementLimits) -> Self {
        let (listener, bell) = theater.subscribers.listen();
        Self {
            stream,
            theater,
            limits,
            listener,
            bell,
            cursors: HashMap::new(),
            by_actor: HashMap::new(),
            wide: Vec::new(),
            due: VecDeque::new(),
            due_ids: HashSet::new(),
            collected: 0,
        }
    }

    pub(super) fn run(mut self, to_write: &Receiver<ToWrite>) {
        let bell = self.bell.clone();
        let done = loop {
            // If both channels have an item, one of them is picked at random, so that neither answers nor events wait
            // for long.
            let done = match wait::one_of(&[to_write, &bell], None) {
                Some(0) => match to_write.try_recv() {
                    Ok(item) => self.write(item),
                    // The reading thread has ended.
                    Err(TryRecvError::Disconnected) => break Ok(()),
                    Err(TryRecvError::Empty) => continue,
                },
                _ => {
                    let _ = bell.try_recv();
                    self.push()
                }
            };
            if done.is_err() {
                break done;
            }
        };
        self.theater.subscribers.leave(self.listener);
        // If all was written, the reading thread may still have to read what the client sends, so that the client gets
        // the last answer. If not, nothing else will come, and the reading thread is woken from its wait.
        self.stream.socket.shut(if done.is_ok() { Shutdown::Write } else { Shutdown::Both });
    }

    fn write(&mut self, item: ToWrite) -> Result<(), ClientGone> {
        let response = match item {
            ToWrite::Answer { frame, charge } => {
                self.collected += frame.len();
                let sent = self.stream.put_frame(frame).map_err(|_| ClientGone).and_then(|()| self.flush());
                drop(charge);
                return sent;
            }
            ToWrite::Shutdown => {
                let sent = self.send(&Response::ShuttingDown);
                self.theater.shutdown();
                return sent;
            }
            ToWrite::Subscribe { wanted, from, kinds } => {
                self.subscribe(wanted, from, kinds).unwrap_or_else(|message| Response::Error { message })
            }
            ToWrite::Unsubscribe { actor, subscription_id } => self.unsubscribe(actor, &subscription_id),
        };
        self.send(&response)
    }

    fn subscribe(&mut self, wanted: EventsWanted, from: Option<u64>, kinds: Kinds) -> Result<Response, String> {
        let (most, widest) = (self.limits.subscriptions, self.limits.wide_subscriptions);
        if self.cursors.len() >= most {
            return Err(format!("too many subscriptions: the limit management_subscriptions is {most} a connection"));
        }
        if !matches!(wanted, EventsWanted::Actor(_)) && self.wide.len() >= widest {
            return Err(format!(
                "too many subscriptions to trees or all: the limit management_wide_subscriptions is {widest} a connection"
            ));
        }
        let following = match &wanted {
            EventsWanted::Actor(actor) => Following::Actor(actor.id),
            EventsWanted::Tree(_) | EventsWanted::All => Following::Everybody,
        };
        // The bell is set first, and the cursor is placed afterwards. So an event that is committed between the two
        // rings the bell: it is pushed, whether the cursor was placed before it or not.
        self.theater.subscribers.follow(self.listener, following);
        let reader = self.theater.journal.reader().map_err(|error| error.to_string());
        let placed = reader.and_then(|reader| {
            let cursor = match &wanted {
                EventsWanted::Actor(actor) => Cursor::on_actor(&reader, *actor, from, kinds),
                EventsWanted::Tree(top) => Cursor::on_journal(&reader, Some(*top), from, kinds),
                EventsWanted::All => Cursor::on_journal(&reader, None, from, kinds),
            };
            cursor.map_err(|error| error.to_string())
        });
        let cursor = match placed {
            Ok(cursor) => cursor,
            Err(why) => {
                self.theater.subscribers.unfollow(self.listener, following);
                return Err(why);
            }
        };
        let (subscription_id, from) = (cursor.id.to_string(), cursor.next());
        self.cursors.insert(subscription_id.clone(), cursor);
        // Events that are in the journal already are due at once.
        match wanted {
            EventsWanted::Actor(actor) => {
                self.by_actor.entry(actor.id).or_default().push(subscription_id.clone());
                self.mark_due(subscription_id.clone());
                Ok(Response::Subscribed { id: actor.id.to_string(), subscription_id })
            }
            EventsWanted::Tree(_) | EventsWanted::All => {
                self.wide.push(subscription_id.clone());
                self.mark_due(subscription_id.clone());
                Ok(Response::SubscribedFrom { subscription_id, from })
            }
        }
    }

    fn unsubscribe(&mut self, actor: Option<ActorId>, subscription_id: &str) -> Response {
        let is_meant = |cursor: &Cursor| actor.is_none_or(|actor| cursor.is_of(actor));
        let Some(cursor) = self.cursors.get(subscription_id).filter(|cursor| is_meant(cursor)) else {
            let of = actor.map(|actor| format!(" to {actor}")).unwrap_or_default();
            return Response::Error { message: format!("no such subscription: {subscription_id}{of}") };
        };
        let following = cursor.follows();
        self.theater.subscribers.unfollow(self.listener, following);
        self.cursors.remove(subscription_id);
        match following {
            Following::Everybody => self.wide.retain(|other| other != subscription_id),
            Following::Actor(actor) => {
                if let Some(ids) = self.by_actor.get_mut(&actor) {
                    ids.retain(|other| other != subscription_id);
                    if ids.is_empty() {
                        self.by_actor.remove(&actor);
                    }
                }
            }
        }
        match actor {
            Some(actor) => Response::Unsubscribed { id: actor.to_string() },
            None => Response::UnsubscribedFrom { subscription_id: subscription_id.to_owned() },
        }
    }

    fn mark_due(&mut self, id: String) {
        if self.due_ids.insert(id.clone()) {
            self.due.push_back(id);
        }
        self.theater.subscribers.ring(self.listener);
    }

    /// Pushes a page of events for each of the next few subscriptions that are due. If more are due it rings its own
    /// bell, so that answers get their turn in between.
    fn push(&mut self) -> Result<(), ClientGone> {
        let news = self.theater.subscribers.take_due(self.listener);
        let of_actors = news.iter().filter_map(|actor| self.by_actor.get(actor)).flatten();
        for id in of_actors.chain(&self.wide) {
            if self.due_ids.insert(id.clone()) {
                self.due.push_back(id.clone());
            }
        }
        let reader = match self.theater.journal.reader() {
            Ok(reader) => reader,
            Err(error) => return self.send(&Response::Error { message: error.to_string() }),
        };
        let mut pages = JournalPages::new(&reader);
        for _ in 0..self.due.len().min(SERVED_A_TURN) {
            let Some(id) = self.due.pop_front() else { break };
            self.due_ids.remove(&id);
            // The subscription may have ended since it became due.
            let Some(cursor) = self.cursors.get_mut(&id) else { continue };
            match cursor.advance(&mut pages) {
                Ok(page) => {
                    if page.more {
                        self.due_ids.insert(id.clone());
                        self.due.push_back(id);
                    }
                    // Each event is made into a frame only when it is its turn, because as JSON it is several times as
                    // long.
                    page.events.into_iter().try_for_each(|event| self.put(&event.into_frame()))?;
                }
                Err(error) => self.put(&Response::Error { message: error.to_string() })?,
            }
        }
        self.flush()?;
        if !self.due.is_empty() {
            self.theater.subscribers.ring(self.listener);
        }
        Ok(())
    }

    fn send(&mut self, response: &Response) -> Result<(), ClientGone> {
        self.put(response)?;
        self.flush()
    }

    fn put(&mut self, response: &Response) -> Result<(), ClientGone> {
        let frame = frame::encode(response).unwrap_or_else(|why| frame::encode_error(&why.to_string()));
        self.collected += frame.len();
        self.stream.put_frame(frame).map_err(|_| ClientGone)?;
        if self.collected >= TOGETHER_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes what was collected. The client must read it within the limit `management_patience_ms`.
    fn flush(&mut self) -> Result<(), ClientGone> {
        self.collected = 0;
        match self.stream.flush(Deadline::after(self.limits.patience)) {
            Ok(()) => Ok(()),
            Err(error) => {
                if is_late(&error) {
                    self.part();
                }
                Err(ClientGone)
            }
        }
    }

    /// Sends a last frame that says why the client is disconnected. The frame fits into the socket's buffer after the
    /// bytes that the client has not read, or the client reads now and makes room.
    fn part(&mut self) {
        let limit = self.limits.patience.as_millis();
        log::warn!("a management client does not read; its connection is closed");
        let message = format!(
            "dropped: what was sent was not read in time: the limit management_patience_ms is {limit}; subscribe again \
             from the last event received"
        );
        self.stream.make_room();
        let last = frame::encode_error(&message);
        // A client that does not read this frame either cannot be told.
        let _ = self.stream.put_frame(last).and_then(|()| self.stream.flush(Deadline::after(PARTING_GRACE)));
    }
}
