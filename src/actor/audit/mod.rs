//! The audit of a whole journal: every chain by itself, and the links between chains.
//!
//! A `call` quotes the event that caused it, a `host-call` the event that answered it, the `started` of a fork the event
//! that was forked. Each quote is looked up in the
//! other chain: it must be there, with that hash, and say the same. And each message that a chain says it sent must
//! have arrived: taken, named as dropped, or owed at the end.

mod holdings;
mod said;

use std::collections::{HashMap, HashSet};

use crate::base::id::ActorId;
use crate::chain::cbor::{Cbor, Value};
use crate::chain::data::{Call, HostCall, Intent, Return};
use crate::chain::{ChainEvent, ComponentDigest, EventKind, Head, Link, first_broken};
use crate::handlers::{HANDLE_REQUEST, HANDLE_SEND, REQUEST, SEND};
use crate::journal::{ActorKey, ActorRow, JournalReader};
use said::Said;

const PAGE: u64 = 2_000;
const PAGE_BYTES: usize = 16 * 1024 * 1024;

/// What an audit found.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    pub(crate) actors: u64,
    pub(crate) events: u64,
    /// Quotes of one chain in another that were looked up.
    pub(crate) links: u64,
    /// Messages that were sent and not taken yet when the journal ended.
    pub(crate) in_flight: u64,
    /// Events whose data was dropped: their hashes are checked, what they said is not.
    pub(crate) dropped: u64,
    /// Everything that is wrong, each with the actor and the event.
    pub(crate) findings: Vec<String>,
}

type Read<T> = rusqlite::Result<T>;

/// Audits everything `reader` has, as it is at one moment. The error is the database's own.
pub(crate) fn audit(reader: &JournalReader) -> Read<Audit> {
    reader.freeze()?;
    let rows = reader.actors()?;
    let keys = rows.iter().map(|row| (row.actor.id, row.actor)).collect();
    let owed = reader.pending()?.into_iter().map(|pending| (pending.cause.actor, pending.cause.sequence)).collect();
    let mut auditor = Auditor {
        reader,
        keys,
        audit: Audit::default(),
        sent: Vec::new(),
        arrived: Arrived::default(),
        owed,
        components: HashSet::new(),
    };
    for row in &rows {
        // What cannot be read of one chain does not hide what is wrong with another.
        if let Err(error) = auditor.chain(row) {
            auditor.finding(row, &format!("cannot be read: {error}"));
        }
    }
    auditor.missing_messages();
    Ok(auditor.audit)
}

struct Auditor<'a> {
    reader: &'a JournalReader,
    keys: HashMap<ActorId, ActorKey>,
    audit: Audit,
    sent: Vec<Sent>,
    arrived: Arrived,
    /// Messages that the journal has still to deliver, by sender and sequence.
    owed: HashSet<(ActorId, u64)>,
    /// Those that were looked at.
    components: HashSet<ComponentDigest>,
}

/// A send as its sender recorded it.
struct Sent {
    name: String,
    from: ActorId,
    sequence: u64,
    to: ActorId,
}

/// What became of sends, by sender and sequence.
#[derive(Default)]
struct Arrived {
    settled: HashSet<(ActorId, u64)>,
    /// The latest event of each sender that each receiver has taken a send of.
    latest: HashMap<(ActorId, ActorId), u64>,
    /// Receivers that may have taken what nobody can see any more.
    forgetful: HashSet<ActorId>,
}

impl Auditor<'_> {
    fn chain(&mut self, row: &ActorRow) -> Read<()> {
        self.audit.actors += 1;
        let mut head: Option<Head> = None;
        let mut next = 0;
        let mut holdings = self.holdings_of(row)?;
        loop {
            let page = self.reader.events(row.actor, next, PAGE, PAGE_BYTES)?;
            if page.is_empty() {
                self.holds_no_more(row, holdings);
                return Ok(());
            }
            let broken = first_broken(head.as_ref(), &page);
            let whole = broken.as_ref().map_or(page.len(), |(at, _)| *at);
            for (event, said) in page[..whole].iter().zip(Said::by(&page[..whole])) {
                self.audit.events += 1;
                self.links(row, event, &said)?;
                self.holds(row, &mut holdings, event, said)?;
            }
            if let Some((_, broken)) = broken {
                self.finding(row, &broken.to_string());
                // What follows would only repeat it.
                return Ok(());
            }
            head = page.last().map(|last| Head { sequence: last.sequence, hash: last.hash });
            next = head.map_or(next, |head| head.sequence + 1);
        }
    }

    fn finding(&mut self, row: &ActorRow, what: &str) {
        self.audit.findings.push(format!("actor {} ({}): {what}", row.name, row.actor.id));
    }

    fn links(&mut self, row: &ActorRow, event: &ChainEvent, said: &Said) -> Read<()> {
        match said {
            Said::Call(call) => self.caused(row, event, call)?,
            Said::HostCall(host_call) => self.answered(row, event, host_call)?,
            Said::DroppedDeliveries(causes) => self.dropped(causes),
            Said::Started(started) => {
                if let Some(origin) = &started.fork {
                    self.quoted(row, event, "its origin", origin)?;
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
    fn caused(&mut self, row: &ActorRow, event: &ChainEvent, call: &Call) -> Read<()> {
        let Some(cause) = &call.cause else { return Ok(()) };
        let quoted = self.quoted(row, event, "its cause", cause)?;
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
    fn answered(&mut self, row: &ActorRow, event: &ChainEvent, host_call: &HostCall) -> Read<()> {
        if event.function() == SEND.full && host_call.result.0 == Ok::<(), String>(()).to_cbor() {
            let to = host_call.params.as_ref().and_then(|params| addressed(&params.0));
            if let Some(to) = to.and_then(|(to, _)| to.parse().ok()) {
                let (name, from, sequence) = (row.name.clone(), row.actor.id, event.sequence);
                self.sent.push(Sent { name, from, sequence, to });
            }
        }
        let Some(answer) = &host_call.answer else { return Ok(()) };
        let quoted = self.quoted(row, event, "its answer", answer)?;
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

    /// The event of another chain that `link` quotes, if it is there with that hash.
    fn quoted(&mut self, row: &ActorRow, event: &ChainEvent, what: &str, link: &Link) -> Read<Option<ChainEvent>> {
        self.audit.links += 1;
        let Link { actor, sequence, hash } = link;
        let Some(key) = self.keys.get(actor).copied() else {
            self.finding(row, &format!("event {}: {what} is of actor {actor}, which is not here", event.sequence));
            return Ok(None);
        };
        let quoted = self.reader.events(key, *sequence, 1, usize::MAX)?.pop();
        match quoted.filter(|quoted| quoted.sequence == *sequence) {
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
    fn missing_messages(&mut self) {
        for Sent { name, from, sequence, to } in std::mem::take(&mut self.sent) {
            if self.arrived.settled.contains(&(from, sequence)) || self.arrived.forgetful.contains(&to) {
                continue;
            }
            if !self.owed.contains(&(from, sequence)) && self.keys.contains_key(&to)
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
    match Value::parse(params).ok()?.into_array().ok()?.pop()? {
        Value::Bytes(message) => Some(message),
        _ => None,
    }
}
