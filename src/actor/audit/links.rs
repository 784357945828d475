//! The links between chains. A `call` quotes the event that caused it, a `host-call` the event that answered it, the
//! `started` of a fork the event that was forked. Each quote is looked up in the other chain: it must be there, with that
//! hash, and say the same. And each message that a chain says it sent must have arrived: taken, named as dropped, or owed
//! at the end.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::near::Near;
use super::said::Said;
use super::{Auditor, Read};
use crate::base::id::ActorId;
use crate::chain::cbor::{Cbor, CborError, Reader};
use crate::chain::data::{Call, HostCall, Intent, NamedState, Return};
use crate::chain::{ChainEvent, EventKind, Link, Vouched};
use crate::handlers::{HANDLE_REQUEST, HANDLE_SEND, REQUEST, SEND};
use crate::journal::ActorRow;

/// A send as its sender recorded it.
pub(super) struct Sent {
    name: String,
    from: ActorId,
    sequence: u64,
    to: ActorId,
}

/// What became of sends, by sender and sequence.
#[derive(Default)]
pub(super) struct Arrived {
    settled: HashSet<(ActorId, u64)>,
    /// The latest event of each sender that each receiver has taken a send of.
    latest: HashMap<(ActorId, ActorId), u64>,
    /// Receivers that may have taken what nobody can see any more.
    forgetful: HashSet<ActorId>,
}

impl Auditor<'_> {
    pub(super) fn links(&mut self, near: &Near<'_>, row: &ActorRow, event: &ChainEvent, said: &Said) -> Read<()> {
        match said {
            Said::Call(call) => self.caused(near, row, event, call)?,
            Said::HostCall(host_call) => self.answered(near, row, event, host_call)?,
            Said::DroppedDeliveries(causes) => self.dropped(causes),
            Said::Started(started) => {
                if let Some(origin) = &started.fork
                    && self.quoted(near, row, event, "its origin", origin)?.is_some()
                {
                    self.forked(near, row, event, &started.state, origin)?;
                }
            }
            Said::State(_) | Said::Nothing => {}
            Said::Gone => {
                self.audit.dropped += 1;
                self.arrived.forgetful.insert(row.actor.id);
            }
            Said::Unreadable(error) => self.finding(row, &format!("event {}: {error}", event.sequence)),
        }
        Ok(())
    }

    fn dropped(&mut self, causes: &[Option<Link>]) {
        self.arrived.settled.extend(causes.iter().flatten().map(|link| (link.actor, link.sequence)));
    }

    /// A call that an event of another actor caused: that event is there, and is this message to this actor.
    fn caused(&mut self, near: &Near<'_>, row: &ActorRow, event: &ChainEvent, call: &Call) -> Read<()> {
        let Some(cause) = &call.cause else { return Ok(()) };
        let quoted = self.quoted(near, row, event, "its cause", cause)?;
        let Some(quoted) = quoted.filter(|quoted| quoted.dropped.is_none()) else {
            self.arrived.settled.insert((cause.actor, cause.sequence));
            return Ok(());
        };
        let message = match event.function() {
            function if function == HANDLE_SEND.full => {
                self.arrived.settled.insert((cause.actor, cause.sequence));
                let latest = self.arrived.latest.entry((cause.actor, row.actor.id)).or_default();
                *latest = cause.sequence.max(*latest);
                HostCall::from_cbor(&quoted.data)
                    .ok()
                    .and_then(|sent| sent.params)
                    .filter(|_| quoted.function() == SEND.full)
            }
            function if function == HANDLE_REQUEST.full => Intent::from_cbor(&quoted.data)
                .ok()
                .map(|intent| intent.params)
                .filter(|_| quoted.function() == REQUEST.full),
            // Of a notice or an `init` the quote alone says enough.
            _ => return Ok(()),
        };
        let expected = (row.actor.id.to_string(), message_of(&call.params.0));
        let said = message.and_then(|params| addressed(&params.0));
        if said != Some(expected) {
            let why = format!(
                "event {}: it took a message that event {} of actor {} did not send it",
                event.sequence, cause.sequence, cause.actor
            );
            self.finding(row, &why);
        }
        Ok(())
    }

    /// A host call that an event of another actor answered: that event is there, and gives this result.
    fn answered(&mut self, near: &Near<'_>, row: &ActorRow, event: &ChainEvent, host_call: &HostCall) -> Read<()> {
        if event.function() == SEND.full && host_call.result.0 == Ok::<(), String>(()).to_cbor() {
            let to = host_call.params.as_ref().and_then(|params| addressed(&params.0));
            if let Some(to) = to.and_then(|(to, _)| to.parse().ok()) {
                let (name, from, sequence) = (row.name.clone(), row.actor.id, event.sequence);
                self.sent.push(Sent { name, from, sequence, to });
            }
        }
        let Some(answer) = &host_call.answer else { return Ok(()) };
        let quoted = self.quoted(near, row, event, "its answer", answer)?;
        let Some(quoted) = quoted.filter(|quoted| quoted.dropped.is_none()) else { return Ok(()) };
        if event.function() != REQUEST.full || quoted.kind() != Some(EventKind::Return) {
            return Ok(());
        }
        let given = Return::from_cbor(&quoted.data).ok().and_then(|given| Vec::<u8>::from_cbor(&given.result.0).ok());
        let got = Result::<Vec<u8>, String>::from_cbor(&host_call.result.0).ok().and_then(Result::ok);
        if given.is_none() || given != got {
            let why = format!(
                "event {}: it got an answer that event {} of actor {} did not give",
                event.sequence, answer.sequence, answer.actor
            );
            self.finding(row, &why);
        }
        Ok(())
    }

    /// A fork begins with what its origin came to at the event that is forked.
    fn forked(
        &mut self,
        near: &Near<'_>,
        row: &ActorRow,
        event: &ChainEvent,
        state: &NamedState,
        origin: &Link,
    ) -> Read<()> {
        let Some(course) = self.by_id.get(&origin.actor) else { return Ok(()) };
        if let Vouched::Named(named) = near.state(self.rows[*course].actor, origin.sequence)?
            && named != *state
        {
            let why = format!(
                "event {}: it begins with {state}, but event {} of actor {}, which it is a fork of, came to {named}",
                event.sequence, origin.sequence, origin.actor
            );
            self.finding(row, &why);
        }
        Ok(())
    }

    /// The event of another chain that `link` quotes, if it is there with that hash.
    fn quoted<'n>(
        &mut self,
        near: &Near<'n>,
        row: &ActorRow,
        event: &ChainEvent,
        what: &str,
        link: &Link,
    ) -> Read<Option<Cow<'n, ChainEvent>>> {
        self.audit.links += 1;
        let Link { actor, sequence, hash } = link;
        let Some(course) = self.by_id.get(actor).copied() else {
            self.finding(row, &format!("event {}: {what} is of actor {actor}, which is not here", event.sequence));
            return Ok(None);
        };
        match near.event((course, self.rows[course].actor), *sequence)? {
            Some(quoted) if quoted.hash == *hash => Ok(Some(quoted)),
            Some(quoted) => {
                let found = quoted.hash;
                let why = format!(
                    "event {}: {what} is event {sequence} of actor {actor} with hash {hash}, but that has the hash {found}",
                    event.sequence
                );
                self.finding(row, &why);
                Ok(None)
            }
            None => {
                let why =
                    format!("event {}: {what} is event {sequence} of actor {actor}, which lacks it", event.sequence);
                self.finding(row, &why);
                Ok(None)
            }
        }
    }

    /// A send that is neither taken nor dropped is on its way: it is owed, and no later one has overtaken it.
    pub(super) fn missing_messages(&mut self) {
        for Sent { name, from, sequence, to } in std::mem::take(&mut self.sent) {
            if self.arrived.settled.contains(&(from, sequence)) || self.arrived.forgetful.contains(&to) {
                continue;
            }
            if !self.owed.contains(&(from, sequence)) && self.by_id.contains_key(&to)
                || self.arrived.latest.get(&(from, to)).is_some_and(|latest| *latest > sequence)
            {
                let why = format!("actor {name} ({from}): event {sequence}: actor {to} lacks the message it sent");
                self.audit.findings.push(why);
            } else {
                self.audit.in_flight += 1;
            }
        }
    }
}

/// Receiver and message of the parameters of a send or request.
fn addressed(params: &[u8]) -> Option<(String, Option<Vec<u8>>)> {
    let (to, message) = <(String, Vec<u8>)>::from_cbor(params).ok()?;
    Some((to, Some(message)))
}

/// The message in the parameters of the export that takes it.
fn message_of(params: &[u8]) -> Option<Vec<u8>> {
    let last = |from: &mut Reader<'_>, length: u64| {
        if length == 0 {
            return Err(CborError::Mismatch("no parameters", "a message"));
        }
        (1..length).try_for_each(|_| from.item().map(drop))?;
        from.bytes().map(<[u8]>::to_vec)
    };
    Reader::only(params, |from| from.array(last)).ok()
}
