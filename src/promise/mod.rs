//! Promises between actors: which actor owes what to which other, until which event settles it. One type, and one file
//! for each kind of promise.
//!
//! | kind | promised by | row of `pending` | delivered live | settled by | after a crash |
//! |---|---|---|---|---|---|
//! | `Send` | `host-call` of `send` | to the receiver | mail | the receiver's `call`, or its end that names it as dropped | deliver again |
//! | `Request` | `intent` of `request` | to the receiver | mail, with a reply | the same; for the sender, its `host-call` or its end | answered, await, deliver again |
//! | `Spawn` | `intent` of `spawn`, `spawn-as`, `get-or-spawn` | none: the child's id follows from the intent | by the supervisor | the parent's `host-call` | answered by `init`, await it, spawn now |
//! | `Stop`, `Restart` | `intent` of `stop-child`, `restart-child`, and of a `get-or-spawn` that names a child | none: the child's event names the intent | by the supervisor | the parent's `host-call` | done, await that the child is up, or do it now |
//! | `Notice` | the child's `return` of `init`, `started`, `failed`, `stopped` | to the parent, with its word | the lane for notices | the parent's `call`, or its end | deliver again |
//! | `Timer` | `host-call` of `timer.set` and the like; the `call` of a round that is not the last | to the actor itself: `timer` | by the actor's own thread, when it is due | the actor's `call` of that round, the `host-call` that cancels or replaces it, its end, or a `started` that begins anew | set again, for the recorded time |
//! | `Monitor` | `host-call` of `monitor` | to the actor itself: `monitor` | by the actor's own thread, once the other actor has ended for good | the actor's `call` of `handle-down`, the `host-call` of `demonitor`, its end, or a `started` that begins anew | open again; due, if the other actor's chain says that it has ended |
//! | `AsyncReply` | `host-call` of `request-async`, which promises the receiver a message too | to the actor itself: `reply` | the message is mail, with a reply that nobody waits for; the answer goes to the actor's own thread | the actor's `call` of `handle-reply`, its end, or a `started` that begins anew | told of; or awaited, until the same deadline; or the message is delivered again |
//! | `DeferredAnswer` | `host-call` of `defer`, if an actor asked | to the actor itself: `deferred` | nothing | the `host-call` of `reply`, a `defer` that takes its place, the `refused` or the end of its call, its end, or a `started` that begins anew | open again; who asked waits on |
//! | `WebSocketClose` | the `return` of a `connect` | to the actor itself: `close` | the lane for notices, when the connection ends | the actor's `call`, or its end | deliver now: the client went with the process |
//! | `StreamEnd` | the `return` of a request that has a stream's head | to the actor itself: `stream` | the lane for notices, when the client is gone | the actor's `call` of `handle-stream-closed`, the `host-call` of `end`, or its end | deliver now: the client went with the process |
//!
//! While an actor waits for another, the graph of waits (`system/waits.rs`) has an edge between the two. An actor adds its
//! edge before it records its intent, and an edge that would close a circle is refused. The edge is removed only after
//! the event that settles the wait **has been enqueued** for the journal. Which event that is, and who removes the edge,
//! depends on how the wait ends:
//!
//! - B answers A's request by its closing event (`return`, `refused`, `failed`): B enqueues that event, then removes A's
//!   edge, then gives the answer.
//! - B puts its answer off, and gives it later: the edge stays until then. B enqueues the host call that answers, then removes
//!   A's edge, then gives the answer.
//! - No event of B gives the answer: A's deadline has passed, the request was refused, B was stopped and its end comes
//!   later, or A itself ends. Then A's own next event settles the wait, so A's recorder holds the
//!   [`Wait`](crate::system::Wait), and removes the edge after it has enqueued that event.
//!
//! Therefore no prefix of the journal contains two open requests that lead to each other. Suppose that one did: A's
//! request to B and B's request to A are both open in it. Say that A added its edge before B did; the other case is the
//! same with the names exchanged. B was not refused, so A's edge was gone when B added its own. It was removed after the
//! event that settles A's request had been enqueued, and B enqueued its intent only later. Events are written in the order
//! in which they are enqueued. So every prefix that has B's intent also has the event that settles A's request, and A's
//! request is not open in it, which contradicts the assumption. A longer circle is impossible for the same reason: the
//! actor that adds its edge last finds all others in place, or gone because they are settled.
//!
//! After a crash, [`decide`] says what each promise is, from the chains and the rows of `pending` alone. It decides
//! about everything that is stored there: each intent at the end of a chain is answered, awaited, done (again), or of
//! unknown outcome. Journals of earlier versions may contain circles of open requests. Of each circle, the newest wait
//! is answered with `outcome unknown`, and the message that it delivered stays as it is.
//!
//! A new host function that promises something needs one file here, and a line in each `match` of [`Promise`].

mod address;
mod arrivals;
mod asked;
mod async_request;
mod child;
mod circles;
mod client;
mod deferred;
mod fates;
mod message;
#[cfg(test)]
mod model;
mod monitor;
mod notice;
mod numbered;
mod stream;
mod timer;
mod websocket;

pub(crate) use arrivals::{Arrivals, DroppedAtEnd, Sent};
pub(crate) use asked::{AskParams, AskedMessage, REQUEST_ASYNC, asked_by};
pub(crate) use async_request::{HANDLE_REPLY, ReplyParams, ReservedAsync, decided, is_what_was_replied, told_reply};
pub(crate) use child::{
    GET_OR_SPAWN, RESTART_CHILD, SPAWN, SPAWN_AS, STOP_CHILD, change_again, change_child, changed_again, revive_child,
    spawn_child,
};
pub(crate) use client::ClientCall;
pub(crate) use deferred::{
    DEFER, REPLY, REPLY_HTTP, answered_later, begun_anew, is_kept_for_a_key, outcome_of, too_late, why_not_open,
};
pub(crate) use fates::{Chains, Decided, Due, Fate, OpenMonitor, OpenRequest, ReadResult, Through, decide};
pub(crate) use message::{
    HANDLE_REQUEST, HANDLE_SEND, REQUEST, ReservedRequest, ReservedSend, SEND, accepted_send, is_what_was_answered,
    is_what_was_sent, message_sent, request_again, sent_to,
};
pub(crate) use monitor::{HANDLE_DOWN, MONITOR, recorded_end, told, watched_by};
pub(crate) use notice::{HANDLE_CHILD_EVENT, Notice};
pub(crate) use numbered::{client_id, renumbered};
pub(crate) use stream::{HANDLE_STREAM_CLOSED, HANDLE_STREAM_REQUEST, stream_closed};
pub(crate) use timer::{
    CRON, EVERY, HANDLE_TIMER, PromisedFiring, SET, SET_AT, TimerParams, owed as owed_timer, repeats,
};
pub(crate) use websocket::{HANDLE_CONNECTION_MESSAGE, HANDLE_MESSAGE, bare, close};

use std::sync::Arc;

use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Intent};
use crate::chain::{ChainEvent, EventKind, Link};
use crate::guest::wit::ChildEventKind;
use crate::journal::{self, Cause, Owed, Pending, STREAM, TIMER};
use crate::system::{Delivery, Lane, Timer};

/// The actor to which an event promises what a row of `pending` says, or why the event promises nothing of that kind.
/// `parent` is the parent of the actor whose event it is.
pub(crate) fn promised_to(row: &Pending, event: &ChainEvent, parent: Option<ActorId>) -> Result<ActorId, &'static str> {
    match Promise::of_row(row, event) {
        Some(Promise::Send) => message::sent_to(event).ok_or("that event promises no message"),
        Some(Promise::Request) => message::requested_of(event).ok_or("that event promises no message"),
        Some(Promise::WebSocketClose) if event.kind() == Some(EventKind::Return) => Ok(row.cause.actor),
        Some(Promise::StreamEnd) if stream::is_promised_by(event) => Ok(row.cause.actor),
        Some(Promise::StreamEnd) => Err("that event opens no stream"),
        Some(Promise::Notice(kind)) if notice::is_told_by(&kind, event) => {
            parent.ok_or("there is no parent to be told")
        }
        Some(Promise::Timer) if timer::is_promised_by(event) => Ok(row.cause.actor),
        Some(Promise::Timer) => Err("that event promises no timer"),
        Some(Promise::Monitor) if watched_by(event).is_some() => Ok(row.cause.actor),
        Some(Promise::Monitor) => Err("that event asks for nobody's end"),
        Some(Promise::AsyncReply) if asked_by(event).is_some() => Ok(row.cause.actor),
        Some(Promise::AsyncReply) => Err("that event asks for no answer"),
        Some(Promise::DeferredAnswer) if deferred::put_off_by(event).is_some() => Ok(row.cause.actor),
        Some(Promise::DeferredAnswer) => Err("that event puts off no answer"),
        Some(Promise::Notice(_) | Promise::WebSocketClose | Promise::Spawn | Promise::Stop | Promise::Restart)
        | None => Err("that event promises no such notice"),
    }
}

/// The event whose promise a call settles: its cause, or, if it tells of an end or of an answer, the actor's own event that
/// asked for that. (The call that takes an asynchronous request settles nothing: the row is its sender's.)
pub(crate) fn settled_by(actor: ActorId, function: &str, call: &Call) -> Option<Cause> {
    if [HANDLE_DOWN.full, HANDLE_REPLY.full].contains(&function) {
        return call.of.map(|sequence| Cause { actor, sequence });
    }
    call.cause.as_ref().map(Cause::from)
}

/// A promise, by its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    Send,
    Request,
    Spawn,
    Stop,
    Restart,
    Notice(ChildEventKind),
    Timer,
    Monitor,
    AsyncReply,
    DeferredAnswer,
    WebSocketClose,
    StreamEnd,
}

fn names_an_actor(intent: &ChainEvent) -> bool {
    Intent::from_cbor(&intent.data).is_ok_and(|intent| intent.to.is_some())
}

impl Promise {
    /// The promise of an intent; `None` if the intent concerns only the world outside.
    fn of_intent(intent: &ChainEvent) -> Option<Self> {
        match intent.function() {
            // The child that had the label has ended, and is restarted.
            function if function == GET_OR_SPAWN.full && names_an_actor(intent) => Some(Self::Restart),
            function if function == REQUEST.full => Some(Self::Request),
            function if [SPAWN, SPAWN_AS, GET_OR_SPAWN].iter().any(|it| it.full == function) => Some(Self::Spawn),
            function if function == STOP_CHILD.full => Some(Self::Stop),
            function if function == RESTART_CHILD.full => Some(Self::Restart),
            _ => None,
        }
    }

    /// The promise of a row of `pending`, read with the help of the event that made it.
    fn of_row(row: &Pending, event: &ChainEvent) -> Option<Self> {
        if row.is_timer() {
            return Some(Self::Timer);
        }
        if row.is_monitor() {
            return Some(Self::Monitor);
        }
        if row.is_reply() {
            return Some(Self::AsyncReply);
        }
        if row.is_deferred() {
            return Some(Self::DeferredAnswer);
        }
        match row.notice.as_deref() {
            Some(websocket::WORD) => Some(Self::WebSocketClose),
            Some(STREAM) => Some(Self::StreamEnd),
            Some(word) => notice::kind(word, event).map(Self::Notice),
            None if event.kind() == Some(EventKind::Intent) => Some(Self::Request),
            None => Some(Self::Send),
        }
    }

    /// The row of `pending` that is written together with the event that makes the promise.
    pub(crate) fn owed(&self, receiver: ActorId) -> Option<Owed> {
        let notice = match self {
            Self::Send | Self::Request => None,
            Self::Spawn | Self::Stop | Self::Restart => return None,
            Self::Notice(kind) => Some(kind.word()),
            Self::Timer => Some(TIMER),
            Self::Monitor => Some(journal::MONITOR),
            Self::AsyncReply => Some(journal::REPLY),
            Self::DeferredAnswer => Some(journal::DEFERRED),
            Self::WebSocketClose => Some(websocket::WORD),
            Self::StreamEnd => Some(STREAM),
        };
        Some(Owed { receiver, notice, boot: None })
    }

    fn lane(&self) -> Lane {
        match self {
            Self::Send
            | Self::Request
            | Self::Spawn
            | Self::Stop
            | Self::Restart
            | Self::Timer
            | Self::Monitor
            | Self::AsyncReply
            | Self::DeferredAnswer => Lane::Mail,
            Self::Notice(_) | Self::WebSocketClose | Self::StreamEnd => Lane::Notice,
        }
    }

    /// The delivery that the promise of `event` leads to; `None` if the event does not contain it.
    fn delivery(self, chains: &dyn Chains, event: &ChainEvent, cause: Link) -> ReadResult<Option<Delivery>> {
        let call = || client::call_closed_by(chains, cause.actor, event);
        Ok(match self {
            Self::Send => message::sent(&event.data).map(|params| message::send_delivery(params, cause)),
            Self::Request => {
                message::requested(&event.data).map(|(_, params)| message::request_delivery(params, cause))
            }
            Self::AsyncReply => async_request::delivery(event, cause),
            // A timer and a monitor are no deliveries: the actor takes them when they are due. An answer is given by a host call.
            Self::Spawn | Self::Stop | Self::Restart | Self::Timer | Self::Monitor | Self::DeferredAnswer => None,
            Self::Notice(kind) => Some(notice::delivery(notice::params(cause.actor, kind), cause)),
            Self::WebSocketClose if event.function() != HANDLE_CONNECTION_MESSAGE.full => Some(close(cause, None)),
            Self::WebSocketClose => call()?.map(|id| close(cause, Some(id))),
            Self::StreamEnd => call()?.map(|id| stream_closed(cause, id)),
        })
    }

    /// The timer that `event` promises to fire, as a row says, with its key; the inner error says why it cannot be read.
    fn timer(
        &self,
        chains: &dyn Chains,
        row: &Pending,
        event: &ChainEvent,
    ) -> ReadResult<Result<(Arc<str>, Timer), String>> {
        match self {
            Self::Timer => timer::timer(chains, row, event),
            _ => Ok(Err("it promises no timer".to_owned())),
        }
    }

    /// The monitor that `event` asks for, as a row says; the inner error says why it cannot be read.
    fn monitor(
        &self,
        chains: &dyn Chains,
        row: &Pending,
        event: &ChainEvent,
    ) -> ReadResult<Result<OpenMonitor, String>> {
        match self {
            Self::Monitor => monitor::open(chains, row, event),
            _ => Ok(Err("it asks for nobody's end".to_owned())),
        }
    }

    /// The asynchronous request that `event` makes, as a row says; the inner error says why it cannot be read.
    fn request(
        &self,
        chains: &dyn Chains,
        receivers: &mut fates::Receivers,
        row: &Pending,
        event: &ChainEvent,
    ) -> ReadResult<Result<OpenRequest, String>> {
        match self {
            Self::AsyncReply => async_request::open(chains, receivers, row, event),
            _ => Ok(Err("it asks for no answer".to_owned())),
        }
    }

    /// What became of a promise whose intent is the last event of a chain.
    fn fate(
        &self,
        chains: &dyn Chains,
        receivers: &mut fates::Receivers,
        intent: &fates::OpenIntent<'_>,
    ) -> ReadResult<Fate> {
        match self {
            Self::Request => message::fate(chains, receivers, intent),
            Self::Spawn => child::spawn_fate(chains, intent),
            Self::Stop | Self::Restart => child::change_fate(chains, intent),
            Self::Send
            | Self::Notice(_)
            | Self::Timer
            | Self::Monitor
            | Self::AsyncReply
            | Self::DeferredAnswer
            | Self::WebSocketClose
            | Self::StreamEnd => Ok(Fate::Again),
        }
    }
}
