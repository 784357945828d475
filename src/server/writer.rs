//! The writing side of a connection: it answers, owns the subscriptions, and pushes their events.
//!
//! That one thread does both means that an acknowledgement always leaves before the first event it promises. A client
//! that leaves its socket full for too long is told so and dropped; the actor it listens to never notices.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::Shutdown;

use crossbeam_channel::{Receiver, select};

use super::budget::Charge;
use super::frame;
use super::protocol::Response;
use super::subscription::{Cursor, Kinds, Pages};
use super::transport::{Writing, is_late};
use crate::base::clock;
use crate::base::id::ActorId;
use crate::base::limits::{ManagementLimits, PARTING_GRACE};
use crate::journal::ActorKey;
use crate::system::{Following, ListenerId, TheaterHandle};

/// Subscriptions served before answers get their turn.
const SERVED_A_TURN: usize = 64;
/// Pushed frames are written together up to this.
const TOGETHER_BYTES: usize = 64 * 1024;

/// What the reader hands to the writer.
pub(super) enum Outgoing {
    /// A frame, and what it is charged to until it has left.
    Answer {
        frame: Vec<u8>,
        charge: Charge,
    },
    Subscribe {
        wanted: Wanted,
        from: Option<u64>,
        kinds: Kinds,
    },
    /// The answer first, then the end: ending closes this connection too.
    Shutdown,
    Unsubscribe {
        /// Whose it is, where that was said.
        actor: Option<ActorId>,
        subscription_id: String,
    },
}

/// Whose events.
pub(super) enum Wanted {
    Actor(ActorKey),
    Tree(ActorId),
    All,
}

/// The client is gone, or was dropped.
struct Gone;

pub(super) struct Writer {
    stream: Writing,
    theater: TheaterHandle,
    limits: ManagementLimits,
    listener: ListenerId,
    bell: Receiver<()>,
    cursors: HashMap<String, Cursor>,
    by_actor: HashMap<ActorId, Vec<String>>,
    wide: Vec<String>,
    /// Subscriptions that may have something to push, in turn.
    due: VecDeque<String>,
    /// The same, to find one.
    is_due: HashSet<String>,
    together: usize,
}

impl Writer {
    pub(super) fn new(stream: Writing, theater: TheaterHandle, limits: ManagementLimits) -> Self {
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
            is_due: HashSet::new(),
            together: 0,
        }
    }

    pub(super) fn run(mut self, outgoing: &Receiver<Outgoing>) {
        let bell = self.bell.clone();
        let done = loop {
            let done = select! {
                recv(outgoing) -> item => match item {
                    Ok(item) => self.write(item),
                    Err(_) => break Ok(()),
                },
                recv(bell) -> _ => self.push(),
            };
            if done.is_err() {
                break done;
            }
        };
        self.theater.subscribers.leave(self.listener);
        // In order, the reader may still have to hear the other side out; otherwise nothing it waits for will come.
        self.stream.socket.shut(if done.is_ok() { Shutdown::Write } else { Shutdown::Both });
    }

    fn write(&mut self, item: Outgoing) -> Result<(), Gone> {
        let response = match item {
            Outgoing::Answer { frame, charge } => {
                self.together += frame.len();
                let sent = self.stream.put_frame(frame).map_err(|_| Gone).and_then(|()| self.flush());
                drop(charge);
                return sent;
            }
            Outgoing::Shutdown => {
                let sent = self.send(&Response::ShuttingDown);
                self.theater.shutdown();
                return sent;
            }
            Outgoing::Subscribe { wanted, from, kinds } => {
                self.subscribe(wanted, from, kinds).unwrap_or_else(|message| Response::Error { message })
            }
            Outgoing::Unsubscribe { actor, subscription_id } => self.unsubscribe(actor, &subscription_id),
        };
        self.send(&response)
    }

    fn subscribe(&mut self, wanted: Wanted, from: Option<u64>, kinds: Kinds) -> Result<Response, String> {
        let (most, widest) = (self.limits.subscriptions, self.limits.wide_subscriptions);
        if self.cursors.len() >= most {
            return Err(format!("too many subscriptions: the limit management_subscriptions is {most} a connection"));
        }
        if !matches!(wanted, Wanted::Actor(_)) && self.wide.len() >= widest {
            return Err(format!(
                "too many subscriptions to trees or all: the limit management_wide_subscriptions is {widest} a connection"
            ));
        }
        let following = match &wanted {
            Wanted::Actor(actor) => Following::Actor(actor.id),
            Wanted::Tree(_) | Wanted::All => Following::Everybody,
        };
        // Followed first, placed afterwards: what is committed in between rings.
        self.theater.subscribers.follow(self.listener, following);
        let reader = self.theater.journal.reader().map_err(|error| error.to_string());
        let placed = reader.and_then(|reader| {
            let cursor = match &wanted {
                Wanted::Actor(actor) => Cursor::on_actor(&reader, *actor, from, kinds),
                Wanted::Tree(top) => Cursor::on_journal(&reader, Some(*top), from, kinds),
                Wanted::All => Cursor::on_journal(&reader, None, from, kinds),
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
        // What is there already is due at once.
        match wanted {
            Wanted::Actor(actor) => {
                self.by_actor.entry(actor.id).or_default().push(subscription_id.clone());
                self.mark_due(subscription_id.clone());
                Ok(Response::Subscribed { id: actor.id.to_string(), subscription_id })
            }
            Wanted::Tree(_) | Wanted::All => {
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
        if self.is_due.insert(id.clone()) {
            self.due.push_back(id);
        }
        self.theater.subscribers.ring(self.listener);
    }

    /// Pushes a page for each of the next few subscriptions that are due; rings again where there is more, so that
    /// answers come in between.
    fn push(&mut self) -> Result<(), Gone> {
        let news = self.theater.subscribers.take_due(self.listener);
        let of_actors = news.iter().filter_map(|actor| self.by_actor.get(actor)).flatten();
        for id in of_actors.chain(&self.wide) {
            if self.is_due.insert(id.clone()) {
                self.due.push_back(id.clone());
            }
        }
        let reader = match self.theater.journal.reader() {
            Ok(reader) => reader,
            Err(error) => return self.send(&Response::Error { message: error.to_string() }),
        };
        let mut pages = Pages::new(&reader);
        for _ in 0..self.due.len().min(SERVED_A_TURN) {
            let Some(id) = self.due.pop_front() else { break };
            self.is_due.remove(&id);
            // It may have been ended meanwhile.
            let Some(cursor) = self.cursors.get_mut(&id) else { continue };
            match cursor.advance(&mut pages) {
                Ok(page) => {
                    if page.more {
                        self.is_due.insert(id.clone());
                        self.due.push_back(id);
                    }
                    // Each is made when it is its turn: as JSON an event is several times as long.
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

    fn send(&mut self, response: &Response) -> Result<(), Gone> {
        self.put(response)?;
        self.flush()
    }

    fn put(&mut self, response: &Response) -> Result<(), Gone> {
        let frame = frame::encode(response).unwrap_or_else(|why| frame::encode_error(&why.to_string()));
        self.together += frame.len();
        self.stream.put_frame(frame).map_err(|_| Gone)?;
        if self.together >= TOGETHER_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes what was put, within the client's patience.
    fn flush(&mut self) -> Result<(), Gone> {
        self.together = 0;
        match self.stream.flush(clock::now() + self.limits.patience) {
            Ok(()) => Ok(()),
            Err(error) => {
                if is_late(&error) {
                    self.part();
                }
                Err(Gone)
            }
        }
    }

    /// The last frame. There is room for it behind what the client has not read, or there will be if it reads now.
    fn part(&mut self) {
        let limit = self.limits.patience.as_millis();
        log::warn!("a management client does not read; its connection is closed");
        let message = format!(
            "dropped: what was sent was not read in time: the limit management_patience_ms is {limit}; subscribe again \
             from the last event received"
        );
        self.stream.make_room();
        let last = frame::encode_error(&message);
        // One that reads nothing of this either has been told as far as it can be.
        let _ = self.stream.put_frame(last).and_then(|()| self.stream.flush(clock::now() + PARTING_GRACE));
    }
}
