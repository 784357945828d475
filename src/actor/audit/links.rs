//! The check of links between chains. A `call` quotes the event that caused it, a `host-call` the event that answered
//! it, the `started` of a fork the event that was forked. Each quote is looked up in the other chain: the event must be
//! there, with that hash, and say the same. And each message that a chain says it sent must have arrived: it was taken,
//! named as dropped, or is still owed at the end.

use std::borrow::Cow;

use super::near::Near;
use super::said::Said;
use super::{Auditor, ReadResult};
use crate::chain::data::{Call, HostCall, NamedState};
use crate::chain::{ChainEvent, Link, StateOnChain};
use crate::journal::ActorRow;
use crate::promise::{
    HANDLE_CONNECTION_MESSAGE, HANDLE_DOWN, HANDLE_REPLY, HANDLE_SEND, HANDLE_STREAM_CLOSED, HANDLE_TIMER, Sent,
    accepted_send, asked_by, is_what_was_answered, is_what_was_replied, is_what_was_sent, watched_by,
};

impl Auditor<'_> {
    pub(super) fn links(&mut self, near: &Near<'_>, row: &ActorRow, event: &ChainEvent, said: &Said) -> ReadResult<()> {
        match said {
            Said::Call(call) => self.caused(near, row, event, call)?,
            Said::HostCall(host_call) => self.answered(near, row, event, host_call)?,
            Said::DroppedDeliveries(dropped) => self.arrivals.dropped(row.actor.id, self.now(), dropped),
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
                self.arrivals.cannot_be_seen(row.actor.id);
            }
            Said::Unreadable(error) => self.finding(row, &format!("event {}: {error}", event.sequence)),
        }
        Ok(())
    }

    /// The number of events read so far, as a measure of time; 0 if chains are read one by one, because their order is
    /// then unknown.
    fn now(&self) -> u64 {
        if self.is_in_order { self.audit.events } else { 0 }
    }

    /// Checks a call that an event of another actor caused: that event exists, and sent this message to this actor. The event
    /// that causes the call of a timer is the actor's own.
    fn caused(&mut self, near: &Near<'_>, row: &ActorRow, event: &ChainEvent, call: &Call) -> ReadResult<()> {
        let is_timer = event.function() == HANDLE_TIMER.full;
        if event.function() == HANDLE_REPLY.full {
            return self.replied(near, row, event, call);
        }
        let Some(cause) = &call.cause else {
            if is_timer {
                let why = format!("event {}: it was called for a timer, and no event promised that", event.sequence);
                self.finding(row, &why);
            }
            return Ok(());
        };
        let is_once =
            is_timer || [HANDLE_STREAM_CLOSED, HANDLE_CONNECTION_MESSAGE].iter().any(|it| event.function() == it.full);
        if is_once && !self.arrivals.taken(cause) {
            let why =
                format!("event {}: it was called twice for what event {} promised", event.sequence, cause.sequence);
            self.finding(row, &why);
        }
        let quoted = self.quoted(near, row, event, "its cause", cause)?;
        let Some(quoted) = quoted.filter(|quoted| quoted.dropped.is_none()) else {
            self.arrivals.taken(cause);
            return Ok(());
        };
        if event.function() == HANDLE_SEND.full {
            self.arrivals.send_taken(row.actor.id, cause);
        }
        if event.function() == HANDLE_DOWN.full {
            return self.told(near, row, event, (call, cause), &quoted);
        }
        if !is_what_was_sent(row.actor.id, event, call, &quoted) {
            let (what, not) = match is_once {
                _ if is_timer => ("it was called for a timer", "did not promise"),
                true => ("it was told of the end of a client", "did not promise"),
                false => ("it took a message", "did not send it"),
            };
            let (sequence, actor) = (cause.sequence, cause.actor);
            let why = format!("event {}: {what} that event {sequence} of actor {actor} {not}", event.sequence);
            self.finding(row, &why);
        }
        Ok(())
    }

    /// Checks a call that tells of the end of another actor: the event `end` is that end, and this actor had asked for it.
    fn told(
        &mut self,
        near: &Near<'_>,
        row: &ActorRow,
        event: &ChainEvent,
        (call, cause): (&Call, &Link),
        end: &ChainEvent,
    ) -> ReadResult<()> {
        let Link { actor, sequence, .. } = cause;
        if !is_what_was_sent(row.actor.id, event, call, end) {
            let why = format!(
                "event {}: it tells of an end that event {sequence} of actor {actor} does not say",
                event.sequence
            );
            self.finding(row, &why);
            return Ok(());
        }
        let course = self.by_id[&row.actor.id];
        let asked = call.of.map(|of| near.event((course, row.actor), of)).transpose()?.flatten();
        let is_asked = asked.is_some_and(|asked| asked.dropped.is_some() || watched_by(&asked) == Some(*actor));
        if !is_asked {
            let why = format!(
                "event {}: it tells of the end of actor {actor}, which no earlier event of this actor asked for",
                event.sequence
            );
            self.finding(row, &why);
        }
        Ok(())
    }

    /// Checks a call that tells of an answer: an earlier event of this actor has asked for it, no other call has told of it, and the
    /// event that it quotes is of the actor that was asked and says the same. Without such an event it tells of an error.
    fn replied(&mut self, near: &Near<'_>, row: &ActorRow, event: &ChainEvent, call: &Call) -> ReadResult<()> {
        let course = self.by_id[&row.actor.id];
        let asked = call.of.map(|of| near.event((course, row.actor), of)).transpose()?.flatten();
        let is_gone = asked.as_ref().is_some_and(|asked| asked.dropped.is_some());
        let asked = asked.and_then(|asked| asked_by(&asked));
        if asked.is_none() && !is_gone {
            let why = format!("event {}: it tells of an answer that no earlier event asked for", event.sequence);
            self.finding(row, &why);
            return Ok(());
        }
        if let Some(of) = call.of
            && !self.replied.insert((row.actor.id, of))
        {
            let why = format!("event {}: it tells once more of the answer that event {of} asked for", event.sequence);
            self.finding(row, &why);
        }
        let Some(cause) = &call.cause else {
            if !is_what_was_replied(call, None) {
                let why = format!("event {}: it tells of an answer, and quotes no event that gave it", event.sequence);
                self.finding(row, &why);
            }
            return Ok(());
        };
        let quoted = self.quoted(near, row, event, "its cause", cause)?;
        let is_of_receiver = asked.is_none_or(|asked| asked.to == cause.actor);
        let is_right = |given: Cow<'_, ChainEvent>| given.dropped.is_some() || is_what_was_replied(call, Some(&given));
        if !is_of_receiver || !quoted.is_none_or(is_right) {
            let why = format!(
                "event {}: it tells of an answer that event {} of actor {} did not give",
                event.sequence, cause.sequence, cause.actor
            );
            self.finding(row, &why);
        }
        Ok(())
    }

    /// Checks a host call that an event of another actor answered: that event exists, and gave this result.
    fn answered(
        &mut self,
        near: &Near<'_>,
        row: &ActorRow,
        event: &ChainEvent,
        host_call: &HostCall,
    ) -> ReadResult<()> {
        if let Some(to) = accepted_send(event, host_call) {
            let (from, sequence, at) = (row.actor.id, event.sequence, self.now());
            self.arrivals.sent(Sent { from, sequence, to, at });
        }
        let Some(answer) = &host_call.answer else { return Ok(()) };
        let quoted = self.quoted(near, row, event, "its answer", answer)?;
        let Some(quoted) = quoted.filter(|quoted| quoted.dropped.is_none()) else { return Ok(()) };
        if !is_what_was_answered(event, host_call, &quoted) {
            let why = format!(
                "event {}: it got an answer that event {} of actor {} did not give",
                event.sequence, answer.sequence, answer.actor
            );
            self.finding(row, &why);
        }
        Ok(())
    }

    /// Checks that a fork begins with the state that its origin had after the forked event.
    fn forked(
        &mut self,
        near: &Near<'_>,
        row: &ActorRow,
        event: &ChainEvent,
        state: &NamedState,
        origin: &Link,
    ) -> ReadResult<()> {
        let Some(course) = self.by_id.get(&origin.actor) else { return Ok(()) };
        if let StateOnChain::Named(named) = near.state(self.rows[*course].actor, origin.sequence)?
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

    /// The event of another chain that `link` quotes, if it is there with that hash; otherwise adds a finding.
    fn quoted<'n>(
        &mut self,
        near: &Near<'n>,
        row: &ActorRow,
        event: &ChainEvent,
        what: &str,
        link: &Link,
    ) -> ReadResult<Option<Cow<'n, ChainEvent>>> {
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

    /// Reports sends that are lost. A send that was neither taken nor dropped counts as on its way only if it is owed
    /// and no later send of the same sender to the same receiver has overtaken it.
    pub(super) fn missing_messages(&mut self) {
        let arrivals = std::mem::take(&mut self.arrivals);
        let (missing, on_their_way) =
            arrivals.missing(|sent| self.owed.contains(sent), |receiver| self.by_id.contains_key(receiver));
        self.audit.in_flight += on_their_way;
        for Sent { from, sequence, to, .. } in missing {
            let name = self.by_id.get(&from).map_or("", |course| &self.rows[*course].name);
            let why = format!("actor {name} ({from}): event {sequence}: actor {to} lacks the message it sent");
            self.audit.findings.push(why);
        }
    }
}
