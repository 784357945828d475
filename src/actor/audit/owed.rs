//! The check of owed deliveries: each row of `pending` is compared with the chains. The event that the row names must
//! have promised this delivery to this receiver, and no later event may have settled it.

use std::collections::HashMap;

use super::{ReadResult, finding};
use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Failed, HostCall, Stopped};
use crate::chain::{ChainEvent, EventHash, EventKind};
use crate::journal::{ActorRow, Cause, JournalReader, Pending};
use crate::promise::{promised_to, settled_by};

/// How many events of one receiver are searched for the one that settled a delivery. No runtime leaves an owed row that
/// is older, except by a defect; `links.rs` searches all events.
const LOOKED_AT: u64 = 65_536;

pub(super) struct OwedCheck<'a> {
    reader: &'a JournalReader,
    rows: HashMap<ActorId, &'a ActorRow>,
    pending: Vec<Pending>,
}

impl<'a> OwedCheck<'a> {
    pub(super) fn new(reader: &'a JournalReader, rows: &'a [ActorRow]) -> ReadResult<Self> {
        let rows = rows.iter().map(|row| (row.actor.id, row)).collect();
        Ok(Self { reader, rows, pending: reader.pending()? })
    }

    /// The findings about the rows.
    pub(super) fn findings(&self) -> ReadResult<Vec<String>> {
        let mut found = Vec::new();
        let mut open: HashMap<ActorId, HashMap<Cause, u64>> = HashMap::new();
        for pending in &self.pending {
            let Cause { actor, sequence } = pending.cause;
            let Some(row) = self.rows.get(&actor) else {
                found.push(format!(
                    "the table of pending: it names event {sequence} of actor {actor}, which is not here"
                ));
                continue;
            };
            match self.promised(row, pending) {
                Ok(Ok(())) => _ = open.entry(pending.receiver).or_default().insert(pending.cause, pending.position),
                Ok(Err(why)) => found.push(finding(row, &in_row(sequence, &why))),
                Err(error) => found.push(finding(row, &in_row(sequence, &error.to_string()))),
            }
        }
        for (receiver, links) in open {
            let Some(row) = self.rows.get(&receiver) else { continue };
            match self.settled(row, links) {
                Ok(settled) => found.extend(settled),
                Err(error) => found.push(finding(row, &error.to_string())),
            }
        }
        found.sort();
        Ok(found)
    }

    /// Checks that the event promised this delivery and that its sender still waits for it; the inner `Err` says what
    /// the event promised instead.
    fn promised(&self, row: &ActorRow, pending: &Pending) -> ReadResult<Result<(), String>> {
        let event = self.reader.promise(row.actor, pending)?;
        if EventHash::of(&event) != event.hash {
            return Ok(Err("that event is not what was written".to_owned()));
        }
        match promised_to(pending, &event, row.parent) {
            // The event's data was dropped, so there is nothing to compare.
            _ if event.dropped.is_some() => Ok(Ok(())),
            Err(why) => Ok(Err(why.to_owned())),
            Ok(to) if to != pending.receiver => {
                Ok(Err(format!("it is owed to actor {}, but the event promises it to {to}", pending.receiver)))
            }
            Ok(_) if self.is_answered(row, &event)? => Ok(Err("its sender has an answer to that request".to_owned())),
            Ok(_) => Ok(Ok(())),
        }
    }

    /// Whether the sender of a request has recorded an answer to it.
    fn is_answered(&self, row: &ActorRow, intent: &ChainEvent) -> ReadResult<bool> {
        if intent.kind() != Some(EventKind::Intent) {
            return Ok(false);
        }
        let mut next = intent.sequence + 1;
        loop {
            let Some(event) = self.reader.events(row.actor, next, 1, usize::MAX)?.pop() else { return Ok(false) };
            match event.kind() {
                // The transition was resumed after a crash.
                Some(EventKind::Started) => next = event.sequence + 1,
                kind => return Ok(kind == Some(EventKind::HostCall)),
            }
        }
    }

    /// The findings about deliveries that an event of the receiver has settled.
    fn settled(&self, row: &ActorRow, mut open: HashMap<Cause, u64>) -> ReadResult<Vec<String>> {
        let mut found = Vec::new();
        let oldest = open.values().min().copied().unwrap_or(u64::MAX);
        self.reader.newest_events(row.actor, oldest, LOOKED_AT, |event| {
            let mut settles = |promise: &Cause, how: &str| {
                if open.remove(promise).is_some() {
                    let why = format!("but actor {} ({}) {how} in event {}", row.name, row.actor.id, event.sequence);
                    let sender = self.rows.get(&promise.actor).expect("its row was looked at");
                    found.push(finding(sender, &in_row(promise.sequence, &why)));
                }
            };
            match event.kind() {
                Some(EventKind::Call) => {
                    let call = Call::from_cbor(&event.data).ok();
                    let taken = call.and_then(|call| settled_by(row.actor.id, event.function(), &call));
                    taken.iter().for_each(|promise| settles(promise, "took it"));
                }
                Some(EventKind::HostCall) => {
                    let of = HostCall::from_cbor(&event.data).ok().and_then(|host_call| host_call.of);
                    let own = of.map(|sequence| Cause { actor: row.actor.id, sequence });
                    own.iter().for_each(|promise| settles(promise, "cancelled or replaced it"));
                }
                Some(EventKind::Failed | EventKind::Stopped) => {
                    let failed = Failed::from_cbor(&event.data).map(|failed| failed.dropped);
                    let dropped = failed.or_else(|_| Stopped::from_cbor(&event.data).map(|stopped| stopped.dropped));
                    let dropped = dropped.unwrap_or_default();
                    dropped.iter().flatten().for_each(|cause| settles(&Cause::from(cause), "dropped it"));
                }
                _ => {}
            }
        })?;
        Ok(found)
    }
}

fn in_row(sequence: u64, why: &str) -> String {
    format!("its row in the table of pending says that event {sequence} is owed: {why}")
}
