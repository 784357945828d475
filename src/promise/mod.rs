//! Promises between actors: who owes what to whom, until which event settles it. One type, one file for each kind.
//!
//! | kind | promised by | row of `pending` | delivered live | settled by | after a crash |
//! |---|---|---|---|---|---|
//! | `Send` | `host-call` of `send` | to the receiver | mail | the receiver's `call`, or its end that names it as dropped | deliver again |
//! | `Request` | `intent` of `request` | to the receiver | mail, with a reply | the same; for whoever waits, its `host-call` or its end | answered, await, deliver again |
//! | `Spawn` | `intent` of `spawn` | none: the child's id follows from the intent | by the supervisor | the parent's `host-call` | answered by `init`, await it, spawn now |
//! | `Stop`, `Restart` | `intent` of `stop-child`, `restart-child` | none: the child's event names the intent | by the supervisor | the parent's `host-call` | done, await that the child is up, or do it now |
//! | `Notice` | the child's `return` of `init`, `started`, `failed`, `stopped` | to the parent, with its word | the lane for notices | the parent's `call`, or its end | deliver again |
//! | `WebSocketClose` | the `return` of a `connect` | to the actor itself: `close` | the lane for notices, when the connection ends | the actor's `call`, or its end | deliver now: the client went with the process |
//!
//! Whoever waits has an edge in the graph of waits (`system/waits.rs`). The edge goes once the event that settles the
//! wait **has been enqueued**. Of a request that was answered that is the receiver's closing event, and the receiver ends
//! the wait after it has enqueued that and before it answers. Of a deadline, a refusal, an end, or an answer that no event
//! of the receiver gives (it was stopped, and its end comes later), it is the waiter's own event, so the waiter's recorder
//! holds the [`Wait`](crate::system::Wait). Hence in no prefix of the journal two open
//! intents lead to each other.
//!
//! After a crash [`decide`] says what each promise is, from the chains and the rows alone. It is total: whatever stands
//! there, each intent that ends a chain is answered, awaited, done (again) or of unknown outcome. Journals of earlier
//! versions can hold circles of open requests; the newest wait of a circle is then answered with `outcome unknown`, and
//! what it delivered stays as it is.
//!
//! A host function that promises something more is one file here, and a line in each `match` of [`Promise`].

mod arrivals;
mod child;
mod circles;
mod fates;
mod message;
#[cfg(test)]
mod model;
mod notice;
mod websocket;

pub(crate) use arrivals::{Arrivals, DroppedAtEnd, Sent};
pub(crate) use child::{RESTART_CHILD, SPAWN, STOP_CHILD, change_again, change_child, changed_again, spawn_child};
pub(crate) use fates::{Chains, Decided, Due, Fate, Read, Through, decide};
pub(crate) use message::{
    HANDLE_REQUEST, HANDLE_SEND, REQUEST, Request, SEND, Send, accepted_send, is_what_was_answered, is_what_was_sent,
    request_again,
};
pub(crate) use notice::{HANDLE_CHILD_EVENT, Notice};
pub(crate) use websocket::{HANDLE_MESSAGE, bare, close};

use crate::base::id::ActorId;
use crate::chain::{ChainEvent, EventKind, Link};
use crate::guest::wit::ChildEventKind;
use crate::journal::{Owed, Pending};
use crate::system::{Delivery, Lane};

/// To whom an event promises what a row of `pending` says is owed for it, or why it promises nothing of the kind.
/// `parent` is that of the actor whose event it is.
pub(crate) fn promised_to(row: &Pending, event: &ChainEvent, parent: Option<ActorId>) -> Result<ActorId, &'static str> {
    match Promise::of_row(row, event) {
        Some(Promise::Send) => message::sent_to(event).ok_or("that event promises no message"),
        Some(Promise::Request) => message::requested_of(event).ok_or("that event promises no message"),
        Some(Promise::WebSocketClose) if event.kind() == Some(EventKind::Return) => Ok(row.cause.actor),
        Some(Promise::Notice(kind)) if notice::is_told_by(&kind, event) => {
            parent.ok_or("there is no parent to be told")
        }
        Some(Promise::Notice(_) | Promise::WebSocketClose | Promise::Spawn | Promise::Stop | Promise::Restart)
        | None => Err("that event promises no such notice"),
    }
}

/// One kind of promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    Send,
    Request,
    Spawn,
    Stop,
    Restart,
    Notice(ChildEventKind),
    WebSocketClose,
}

impl Promise {
    /// What an intent promises; nothing where only the world outside is concerned.
    fn of_intent(intent: &ChainEvent) -> Option<Self> {
        match intent.function() {
            function if function == REQUEST.full => Some(Self::Request),
            function if function == SPAWN.full => Some(Self::Spawn),
            function if function == STOP_CHILD.full => Some(Self::Stop),
            function if function == RESTART_CHILD.full => Some(Self::Restart),
            _ => None,
        }
    }

    /// What a row of `pending` stands for, with the event that promised it.
    fn of_row(row: &Pending, event: &ChainEvent) -> Option<Self> {
        match row.notice.as_deref() {
            Some(websocket::WORD) => Some(Self::WebSocketClose),
            Some(word) => notice::kind(word, event).map(Self::Notice),
            None if event.kind() == Some(EventKind::Intent) => Some(Self::Request),
            None => Some(Self::Send),
        }
    }

    /// What the `return` of a call promises to the actor itself.
    pub(crate) fn of_call(function: &str, params: &[u8]) -> Option<Self> {
        websocket::is_connect(function, params).then_some(Self::WebSocketClose)
    }

    /// The row of `pending` that the event which promises it is written with.
    pub(crate) fn owed(&self, receiver: ActorId) -> Option<Owed> {
        let notice = match self {
            Self::Send | Self::Request => None,
            Self::Spawn | Self::Stop | Self::Restart => return None,
            Self::Notice(kind) => Some(kind.word()),
            Self::WebSocketClose => Some(websocket::WORD),
        };
        Some(Owed { receiver, notice })
    }

    fn lane(&self) -> Lane {
        match self {
            Self::Send | Self::Request | Self::Spawn | Self::Stop | Self::Restart => Lane::Mail,
            Self::Notice(_) | Self::WebSocketClose => Lane::Notice,
        }
    }

    /// The delivery of a row, made from the event that promised it; nothing where that does not say it.
    fn delivery(self, event: &ChainEvent, cause: Link) -> Option<Delivery> {
        match self {
            Self::Send => message::sent(&event.data).map(|params| message::send_delivery(params, cause)),
            Self::Request => {
                message::requested(&event.data).map(|(_, params)| message::request_delivery(params, cause))
            }
            Self::Spawn | Self::Stop | Self::Restart => None,
            Self::Notice(kind) => Some(notice::delivery(notice::params(cause.actor, kind), cause)),
            Self::WebSocketClose => Some(close(cause)),
        }
    }

    /// What is due at once where the call that promised it was resumed after a crash, and has returned with `closing`.
    pub(crate) fn due_after_a_crash(&self, closing: Link) -> Option<Delivery> {
        match self {
            Self::WebSocketClose => Some(close(closing)),
            Self::Send | Self::Request | Self::Spawn | Self::Stop | Self::Restart | Self::Notice(_) => None,
        }
    }

    /// What an intent is that ends a chain.
    fn fate(&self, chains: &dyn Chains, intent: &fates::OpenIntent<'_>) -> Read<Fate> {
        match self {
            Self::Request => message::fate(chains, intent),
            Self::Spawn => child::spawn_fate(chains, intent),
            Self::Stop | Self::Restart => child::change_fate(chains, intent),
            Self::Send | Self::Notice(_) | Self::WebSocketClose => Ok(Fate::Again),
        }
    }
}
