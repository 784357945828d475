//! What was under way between actors when an earlier process ended, put back together from their chains.
//!
//! A host call that ends a chain is an *intent* without an answer. Whom it concerns says what came of it:
//!
//! ```text
//!   request   owed still (`pending`) ─▶ delivered again, in its place in the mailbox
//!             taken, not closed ──────▶ the receiver resumes it, and answers
//!             closed, or dropped ─────▶ that is the answer
//!   spawn     no such child ──────────▶ spawned now      its `init` open ──▶ awaited      over ──▶ that is the answer
//!   stop,     an event of the child names the intent ──▶ done            none ──▶ done now
//!   restart
//! ```
//!
//! What else is owed (sends, notices, the `close` of a WebSocket connection) is put back from its row of `pending` alone.

use std::collections::{HashMap, HashSet};

use crossbeam_channel::{Sender, bounded};

use crate::actor::SpawnReply;
use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Caller, Failed, FailureReason, HostCall, Intent, Refused, Return, Stopped};
use crate::chain::{ChainEvent, EventKind, Link};
use crate::guest::wit::{ChildEvent, ChildEventKind};
use crate::handlers::{
    CLOSE, HANDLE_CHILD_EVENT, HANDLE_REQUEST, HANDLE_SEND, INIT, REQUEST, RESTART_CHILD, SPAWN, STOP_CHILD, close,
};
use crate::journal::{ActorKey, Cause, JournalReader, Pending};
use crate::system::{Answer, Awaited, Delivery, Lane, Outcome, Registry, Reply, Spawned, WaitId};

/// What each of the actors that go on needs of the others.
#[derive(Default)]
pub(super) struct InFlight {
    /// What became of the host call that a chain ends with.
    pub(super) awaited: HashMap<ActorId, Awaited>,
    /// Who waits for the end of an open transition.
    pub(super) replies: HashMap<ActorId, Reply>,
    /// Who waits for an `init`, and the event that asked for it.
    pub(super) spawns: HashMap<ActorId, (SpawnReply, Link)>,
    /// What is owed, in the order in which it was promised.
    pub(super) owed: Vec<(ActorId, Lane, Delivery)>,
}

type Read<T> = rusqlite::Result<T>;

/// Who there is.
pub(super) struct Cast<'a> {
    pub(super) reader: &'a JournalReader,
    pub(super) registry: &'a Registry,
    pub(super) keys: HashMap<ActorId, ActorKey>,
    /// The actors that go on.
    pub(super) alive: HashSet<ActorId>,
    /// Their open transitions.
    pub(super) open: HashMap<ActorId, Vec<ChainEvent>>,
}

/// An intent that ends a chain.
struct Dangling<'a> {
    link: Link,
    event: &'a ChainEvent,
    position: u64,
}

impl Cast<'_> {
    pub(super) fn in_flight(&self) -> Read<InFlight> {
        let pending = self.reader.pending()?;
        let owed: HashSet<Cause> = pending.iter().map(|pending| pending.cause).collect();
        let mut found = InFlight::default();
        let mut waiting = HashMap::new();
        let mut actors: Vec<&ActorId> = self.open.keys().collect();
        actors.sort();
        for actor in actors {
            let Some(dangling) = self.dangling(*actor)? else { continue };
            match dangling.event.function() {
                function if function == REQUEST.full => self.request(&dangling, &owed, &mut found, &mut waiting)?,
                function if function == SPAWN.full => self.spawn(&dangling, &mut found)?,
                function if function == STOP_CHILD.full || function == RESTART_CHILD.full => {
                    if let Some(done) = self.changed(&dangling)? {
                        found.awaited.insert(*actor, Awaited::Done(done));
                    }
                }
                // Of an effect outside nobody can say what came of it: the recorder answers that.
                _ => {}
            }
        }
        let mut again = Vec::new();
        for pending in pending {
            again.extend(self.delivery(&pending, &mut waiting)?);
        }
        // Promised by a program that kept no account of it.
        found.owed.splice(0..0, again);
        Ok(found)
    }

    fn dangling(&self, actor: ActorId) -> Read<Option<Dangling<'_>>> {
        let events = self.open[&actor].iter().rev();
        let last = events.filter(|event| event.kind() != Some(EventKind::Started)).take(1).last();
        let Some(event) = last.filter(|event| event.kind() == Some(EventKind::Intent)) else { return Ok(None) };
        let position = self.reader.position(self.keys[&actor], event.sequence)?.unwrap_or(0);
        Ok(Some(Dangling { link: link(actor, event), event, position }))
    }

    fn request(
        &self,
        dangling: &Dangling<'_>,
        owed: &HashSet<Cause>,
        found: &mut InFlight,
        waiting: &mut HashMap<Cause, Reply>,
    ) -> Read<()> {
        let from = dangling.link.actor;
        let Some((to, params)) = addressed(&dangling.event.data) else { return Ok(()) };
        let key = self.keys.get(&to);
        let taken = self.open.get(&to).is_some_and(|open| caused_by(&open[0], &dangling.link));
        let closed = match key {
            Some(key) if !taken => answer_to(&self.reader.events_behind(*key, dangling.position)?, to, &dangling.link),
            _ => None,
        };
        let cause = Cause::from(&dangling.link);
        if !taken && !owed.contains(&cause) && (closed.is_some() || !self.alive.contains(&to)) {
            let lost = || Answer { outcome: Outcome::Dropped("has ended".into()), closing: None };
            let (reply, answer) = Reply::actor(from, WaitId::OVER);
            found.awaited.insert(from, Awaited::Answer { to, answer, wait: WaitId::OVER });
            answer_at_once(reply, closed.unwrap_or_else(lost));
            return Ok(());
        }
        let wait = self.registry.resume_wait(from, to);
        let (reply, answer) = Reply::actor(from, wait);
        if taken {
            reply.claim();
        }
        found.awaited.insert(from, Awaited::Answer { to, answer, wait });
        if taken {
            found.replies.insert(to, reply);
        } else if owed.contains(&cause) {
            waiting.insert(cause, reply);
        } else {
            found.owed.push((to, Lane::Mail, request_delivery(params, dangling.link.clone(), reply)));
        }
        Ok(())
    }

    fn spawn(&self, dangling: &Dangling<'_>, found: &mut InFlight) -> Read<()> {
        let parent = dangling.link.actor;
        let child = ActorId::of_child(parent, dangling.link.sequence);
        let Some(key) = self.keys.get(&child) else { return Ok(()) };
        let (to, spawned): (Sender<Result<Spawned, String>>, _) = bounded(1);
        let initialised = match self.initialised(*key)? {
            Some(over) => Some(over),
            None if self.alive.contains(&child) => None,
            None => Some(Err("it has ended".to_owned())),
        };
        let wait = match initialised {
            Some(over) => {
                to.send(over).expect("there is room for one");
                WaitId::OVER
            }
            None => {
                let wait = self.registry.resume_wait(parent, child);
                found.spawns.insert(child, (SpawnReply::new(to, Some((parent, wait))), dangling.link.clone()));
                wait
            }
        };
        found.awaited.insert(parent, Awaited::Child { spawned, wait });
        Ok(())
    }

    /// What the child's first `init` came to; nothing while it is not over.
    fn initialised(&self, child: ActorKey) -> Read<Option<Result<Spawned, String>>> {
        let mut next = 0;
        loop {
            let page = self.reader.events(child, next, 1_000, 16 << 20)?;
            let Some(last) = page.last() else { return Ok(None) };
            next = last.sequence + 1;
            for event in &page {
                let end = match event.kind() {
                    Some(EventKind::Return) => Ok(Spawned { id: child.id, closing: Some(link(child.id, event)) }),
                    Some(EventKind::Refused) => Err(Refused::from_cbor(&event.data).map_or_else(text, |it| it.message)),
                    Some(EventKind::Failed) => {
                        Err(Failed::from_cbor(&event.data).map_or_else(text, |it| match it.reason {
                            FailureReason::Init => it.detail,
                            reason => format!("{reason}: {}", it.detail),
                        }))
                    }
                    Some(EventKind::Stopped) => Err("stopped before it was up".to_owned()),
                    Some(EventKind::Started | EventKind::Call | EventKind::Intent | EventKind::HostCall) | None => {
                        continue;
                    }
                };
                return Ok(Some(end));
            }
        }
    }

    /// The event that says that a child was stopped or restarted by this intent.
    fn changed(&self, dangling: &Dangling<'_>) -> Read<Option<Link>> {
        let intent = Intent::from_cbor(&dangling.event.data).ok();
        let child = intent.and_then(|intent| <(String,)>::from_cbor(&intent.params.0).ok());
        let child = child.and_then(|(child,)| child.parse::<ActorId>().ok());
        let Some(key) = child.and_then(|child| self.keys.get(&child)) else { return Ok(None) };
        let behind = self.reader.events_behind(*key, dangling.position)?;
        let was_stopped = |event: &&ChainEvent| {
            event.kind() == Some(EventKind::Stopped)
                && Stopped::from_cbor(&event.data).is_ok_and(|stopped| stopped.cause.as_ref() == Some(&dangling.link))
        };
        if let Some(stopped) = behind.iter().find(was_stopped) {
            return Ok(Some(link(key.id, stopped)));
        }
        if dangling.event.function() == STOP_CHILD.full {
            return Ok(None);
        }
        // A child that did not run is started without an end before it.
        let first = behind.first().filter(|event| event.kind() == Some(EventKind::Started));
        let Some(started) = first.filter(|started| started.sequence > 0) else { return Ok(None) };
        let before = self.reader.events(*key, started.sequence - 1, 1, usize::MAX)?.pop();
        let ended = before.is_some_and(|it| matches!(it.kind(), Some(EventKind::Failed | EventKind::Stopped)));
        Ok(ended.then(|| link(key.id, started)))
    }

    /// What a row of `pending` stands for, made from the event that promised it.
    fn delivery(
        &self,
        pending: &Pending,
        waiting: &mut HashMap<Cause, Reply>,
    ) -> Read<Option<(ActorId, Lane, Delivery)>> {
        let Pending { cause, receiver, notice, .. } = pending;
        let Some(key) = self.keys.get(&cause.actor) else { return Ok(None) };
        let event = self.reader.promise(*key, pending)?;
        let cause_link = link(cause.actor, &event);
        if notice.as_deref() == Some(CLOSE) {
            return Ok(Some((*receiver, Lane::Notice, close(cause_link))));
        }
        if let Some(word) = notice {
            let delivery = notice_of(cause.actor, word, &event, cause_link);
            return Ok(delivery.map(|delivery| (*receiver, Lane::Notice, delivery)));
        }
        let delivery = match event.kind() {
            Some(EventKind::Intent) => addressed(&event.data).map(|(_, params)| {
                let reply = waiting.remove(cause).unwrap_or(Reply::Nobody);
                request_delivery(params, cause_link, reply)
            }),
            _ => sent(&event.data).map(|params| Delivery {
                function: HANDLE_SEND,
                params,
                caller: Caller::Actor,
                cause: Some(cause_link),
                reply: Reply::Nobody,
            }),
        };
        Ok(delivery.map(|delivery| (*receiver, Lane::Mail, delivery)))
    }
}

fn link(actor: ActorId, event: &ChainEvent) -> Link {
    Link { actor, sequence: event.sequence, hash: event.hash }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn caused_by(call: &ChainEvent, cause: &Link) -> bool {
    Call::from_cbor(&call.data).is_ok_and(|call| call.cause.as_ref() == Some(cause))
}

/// Receiver and message of an intent to request, the message as the receiver's parameters.
fn addressed(intent: &[u8]) -> Option<(ActorId, Vec<u8>)> {
    let intent = Intent::from_cbor(intent).ok()?;
    let (to, message) = <(String, Vec<u8>)>::from_cbor(&intent.params.0).ok()?;
    Some((to.parse().ok()?, (message,).to_cbor()))
}

/// The message of a send, as the receiver's parameters.
fn sent(host_call: &[u8]) -> Option<Vec<u8>> {
    let (_, message) = <(String, Vec<u8>)>::from_cbor(&HostCall::from_cbor(host_call).ok()?.params?.0).ok()?;
    Some((message,).to_cbor())
}

fn request_delivery(params: Vec<u8>, cause: Link, reply: Reply) -> Delivery {
    Delivery { function: HANDLE_REQUEST, params, caller: Caller::Actor, cause: Some(cause), reply }
}

fn notice_of(child: ActorId, word: &str, event: &ChainEvent, cause: Link) -> Option<Delivery> {
    let kind = match word {
        "started" => ChildEventKind::Started,
        "restarted" => ChildEventKind::Restarted,
        "stopped" => ChildEventKind::Stopped,
        "failed" => {
            let failed = Failed::from_cbor(&event.data).ok()?;
            ChildEventKind::Failed(format!("{}: {}", failed.reason, failed.detail))
        }
        _ => return None,
    };
    let params = (ChildEvent { child_id: child.to_string(), kind },).to_cbor();
    let (function, caller) = (HANDLE_CHILD_EVENT, Caller::Runtime);
    Some(Delivery { function, params, caller, cause: Some(cause), reply: Reply::Nobody })
}

fn answer_at_once(reply: Reply, answer: Answer) {
    reply.claim();
    if let Reply::Actor { to, .. } = reply {
        to.give(answer);
    }
}

/// What the receiver's chain says of a message, among its events since it was sent.
fn answer_to(events: &[ChainEvent], receiver: ActorId, cause: &Link) -> Option<Answer> {
    let mut taken = false;
    for event in events {
        let closing = || Some(link(receiver, event));
        let answer = |outcome, closing| Some(Answer { outcome, closing });
        let dropped = |causes: &[Option<Link>]| causes.iter().flatten().any(|dropped| dropped == cause);
        match event.kind()? {
            EventKind::Call => taken = caused_by(event, cause),
            EventKind::Return if taken => {
                return answer(Outcome::Returned(Return::from_cbor(&event.data).ok()?.result.0), closing());
            }
            EventKind::Refused if taken => {
                return answer(Outcome::Refused(Refused::from_cbor(&event.data).ok()?.message), closing());
            }
            EventKind::Failed => {
                let failed = Failed::from_cbor(&event.data).ok()?;
                if taken {
                    return answer(Outcome::Failed(format!("{}: {}", failed.reason, failed.detail)), closing());
                }
                if dropped(&failed.dropped) {
                    return answer(Outcome::Dropped("failed".into()), closing());
                }
            }
            EventKind::Stopped if taken => return answer(Outcome::Stopped, None),
            EventKind::Stopped => {
                if dropped(&Stopped::from_cbor(&event.data).ok()?.dropped) {
                    return answer(Outcome::Dropped("was stopped".into()), closing());
                }
            }
            EventKind::Started | EventKind::Intent | EventKind::HostCall | EventKind::Return | EventKind::Refused => {}
        }
    }
    None
}

/// Whether an open transition is an `init`.
pub(super) fn is_init(open: &[ChainEvent]) -> bool {
    open.first().is_some_and(|call| call.function() == INIT.full)
}
