//! The table `messages`: a row for each message that an actor was to get, from another actor or from outside.
//!
//! What a message went through stands on two chains: the event that sent it on the sender's; on the receiver's the `call`
//! that quotes that event, and the event that ends the call. The journal has them in this order, so one pass through it
//! finds them together. In memory are the messages that are under way at that place of the journal.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::CStr;

use super::cells::{between, number, text, time};
use super::source::SqlSource;
use super::table::{ReadingWays, SqlColumn, SqlTable};
use super::walk::{EventWalk, WalkedEvent, closing_of};
use super::wanted::{ColumnKey, NumberSpan, WantedRows};
use crate::base::id::ActorId;
use crate::chain::cbor::{Cbor, Value};
use crate::chain::data::{Call, Encoded, Failed, HostCall, Intent, Refused, Return, Stopped};
use crate::chain::{ChainEvent, EventKind, Link};
use crate::journal::Cause;
use crate::promise::{HANDLE_REQUEST, HANDLE_SEND, REQUEST, SEND, accepted_send};

pub(super) struct MessagesTable {
    wanted: WantedRows,
    walk: EventWalk,
    /// Sent and not taken, as far as the walk has come.
    waiting: HashMap<Cause, MessageTale>,
    /// Taken, by the actor that is at work on it.
    taken: HashMap<usize, MessageTale>,
    /// The newest request of each sender.
    asked: HashMap<usize, Cause>,
    /// Those that can be told.
    left: VecDeque<MessageTale>,
    /// Whether the walk is behind the wanted positions.
    is_behind: bool,
}

/// Where and when an event happened.
#[derive(Clone, Copy)]
struct EventMoment {
    actor: usize,
    sequence: u64,
    unix_ms: u64,
}

impl EventMoment {
    fn of(walked: &WalkedEvent) -> Self {
        Self { actor: walked.actor, sequence: walked.event.sequence, unix_ms: walked.event.timestamp }
    }
}

/// What became of a message.
pub(super) struct MessageTale {
    /// The position of the event that sent it, and that event; nothing for a message from outside.
    sent: Option<(u64, EventMoment)>,
    receiver: ActorId,
    is_request: bool,
    taken: Option<EventMoment>,
    closed: Option<EventMoment>,
    /// Nothing where nobody can tell, because data was dropped.
    outcome: Option<&'static str>,
}

/// Words for what became of a message, beside those of the kinds of events that end a call.
const WAITING: &str = "waiting";
const TAKEN: &str = "taken";
const DROPPED: &str = "dropped";
const WITHDRAWN: &str = "withdrawn";

/// How the text begins that a sender gets for a request that its receiver will not take any more.
const NOT_DELIVERED: &str = "not delivered";

impl MessageTale {
    fn event(source: &SqlSource, moment: Option<EventMoment>) -> rusqlite::Result<Option<ChainEvent>> {
        moment.map_or(Ok(None), |moment| source.event(moment.actor, moment.sequence))
    }

    /// The message as JSON: the sender's event has it, or else the call.
    fn message(&self, source: &SqlSource) -> rusqlite::Result<Option<String>> {
        let (moment, place) = match self.sent {
            Some((_, sent)) => (Some(sent), 1),
            None => (self.taken, 0),
        };
        let event = Self::event(source, moment)?;
        let message = event.as_ref().and_then(|event| source.with_data(event)).and_then(|event| {
            match Value::parse(&params(event)?.0).ok()? {
                Value::Array(params) => Some(params.get(place)?.to_json().to_string()),
                _ => None,
            }
        });
        Ok(message)
    }

    /// What the receiver returned, as JSON; or the text of its refusal or failure.
    fn answer(&self, source: &SqlSource) -> rusqlite::Result<Option<String>> {
        let Some(closing) = Self::event(source, self.closed.filter(|_| self.taken.is_some()))? else { return Ok(None) };
        let Some(data) = source.with_data(&closing).map(|closing| &closing.data) else { return Ok(None) };
        Ok(match closing.kind() {
            Some(EventKind::Return) => Return::from_cbor(data)
                .ok()
                .and_then(|returned| Some(Value::parse(&returned.result.0).ok()?.to_json().to_string())),
            Some(EventKind::Refused) => Refused::from_cbor(data).ok().map(|refused| json_text(&refused.message)),
            Some(EventKind::Failed) => {
                Failed::from_cbor(data).ok().map(|failed| json_text(&format!("{}: {}", failed.reason, failed.detail)))
            }
            Some(
                EventKind::Started | EventKind::Call | EventKind::Intent | EventKind::HostCall | EventKind::Stopped,
            )
            | None => None,
        })
    }

    /// When it was sent; from outside, when it was taken.
    fn began(&self) -> Option<u64> {
        self.sent.map(|(_, sent)| sent).or(self.taken).map(|moment| moment.unix_ms)
    }
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The parameters of a call, a send or a request.
fn params(event: &ChainEvent) -> Option<Encoded> {
    match event.kind()? {
        EventKind::Call => Call::from_cbor(&event.data).ok().map(|call| call.params),
        EventKind::Intent => Intent::from_cbor(&event.data).ok().map(|intent| intent.params),
        EventKind::HostCall => HostCall::from_cbor(&event.data).ok()?.params,
        EventKind::Started | EventKind::Return | EventKind::Refused | EventKind::Failed | EventKind::Stopped => None,
    }
}

/// The receiver of the message that an event sends.
fn receiver(event: &ChainEvent) -> Option<ActorId> {
    if *event.event_type == *SEND.host_call {
        return accepted_send(event, &HostCall::from_cbor(&event.data).ok()?);
    }
    match Value::parse(&params(event)?.0).ok()? {
        Value::Array(params) => match params.first()? {
            Value::Text(to) => to.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// Whether the sender of a request was told that the receiver will not take it any more.
fn is_withdrawn(answer: &HostCall) -> bool {
    let result = answer.result.whole().unwrap_or_default();
    let refusal = Result::<Vec<u8>, String>::from_cbor(result).ok().and_then(Result::err);
    answer.answer.is_none() && refusal.is_some_and(|why| why.starts_with(NOT_DELIVERED))
}

fn dropped(end: &ChainEvent) -> Vec<Option<Link>> {
    match end.kind() {
        Some(EventKind::Failed) => Failed::from_cbor(&end.data).map(|failed| failed.dropped).unwrap_or_default(),
        _ => Stopped::from_cbor(&end.data).map(|stopped| stopped.dropped).unwrap_or_default(),
    }
}

/// What an event may say about a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    Sent { is_request: bool },
    Answered,
    Taken { is_request: bool },
    Closed,
    Ended,
}

fn says(event_type: &str) -> Option<Says> {
    let ends = [EventKind::Failed, EventKind::Stopped].map(EventKind::word);
    Some(match event_type {
        it if it == SEND.host_call => Says::Sent { is_request: false },
        it if it == REQUEST.intent => Says::Sent { is_request: true },
        it if it == REQUEST.host_call => Says::Answered,
        it if it == HANDLE_SEND.call => Says::Taken { is_request: false },
        it if it == HANDLE_REQUEST.call => Says::Taken { is_request: true },
        it if [HANDLE_SEND, HANDLE_REQUEST]
            .iter()
            .any(|function| it == function.returned || it == function.refused) =>
        {
            Says::Closed
        }
        it if ends.contains(&it) => Says::Ended,
        _ => return None,
    })
}

/// Whether an event has to be looked at: those of other senders and of other receivers need not.
fn is_picked(wanted: &WantedRows, is_behind: bool, actor: usize, event_type: &str) -> bool {
    match says(event_type) {
        Some(Says::Sent { .. }) => !is_behind && wanted.has_actor(actor),
        Some(Says::Answered) => wanted.has_actor(actor),
        Some(Says::Taken { .. } | Says::Closed | Says::Ended) => wanted.has_receiver(Some(actor)),
        None => false,
    }
}

impl MessagesTable {
    /// Takes an event. Messages that nothing more will happen to can be told then.
    fn take(&mut self, source: &SqlSource, walked: &WalkedEvent) -> rusqlite::Result<()> {
        let Some(says) = says(&walked.event.event_type) else { return Ok(()) };
        match says {
            Says::Closed => self.close(walked),
            Says::Ended => {
                self.close(walked);
                self.drop_waiting(walked);
            }
            Says::Sent { .. } | Says::Answered | Says::Taken { .. } => {
                let Some(event) = source.with_data(&walked.event) else { return Ok(()) };
                match says {
                    Says::Sent { is_request } => self.sent(source, walked, is_request),
                    Says::Taken { is_request } => self.taken(source, walked, is_request),
                    _ => self.answered(source, walked.actor, event)?,
                }
            }
        }
        Ok(())
    }

    fn sent(&mut self, source: &SqlSource, walked: &WalkedEvent, is_request: bool) {
        let WalkedEvent { actor, event, position } = walked;
        let Some(to) = receiver(event) else { return };
        let cause = Cause { actor: source.actors[*actor].actor.id, sequence: event.sequence };
        if is_request {
            self.asked.insert(*actor, cause);
        }
        if self.wanted.sequences.has(event.sequence) && self.wanted.has_receiver(source.place_of(to)) {
            let sent = position.map(|position| (position, EventMoment::of(walked)));
            let (taken, closed, outcome) = (None, None, Some(WAITING));
            self.waiting.insert(cause, MessageTale { sent, receiver: to, is_request, taken, closed, outcome });
        }
    }

    fn taken(&mut self, source: &SqlSource, walked: &WalkedEvent, is_request: bool) {
        let Ok(call) = Call::from_cbor(&walked.event.data) else { return };
        let receiver = source.actors[walked.actor].actor.id;
        let (taken, closed, outcome) = (Some(EventMoment::of(walked)), None, Some(TAKEN));
        let tale = match &call.cause {
            Some(cause) => self.waiting.remove(&Cause::from(cause)),
            None if self.has_outside() => {
                Some(MessageTale { sent: None, receiver, is_request, taken, closed, outcome })
            }
            None => None,
        };
        if let Some(tale) = tale {
            self.taken.insert(walked.actor, MessageTale { taken, outcome, ..tale });
        }
    }

    /// Whether messages from outside are wanted: they have no sender, no sequence and no position.
    fn has_outside(&self) -> bool {
        let everything = WantedRows::everything(false, false);
        let WantedRows { actors, sequences, positions, .. } = &self.wanted;
        actors.is_none() && (*sequences, *positions) == (everything.sequences, everything.positions)
    }

    /// The sender of a request has its answer. If the request still waits here, then it was withdrawn, or the data of the
    /// call that took it was dropped.
    fn answered(&mut self, source: &SqlSource, sender: usize, event: &ChainEvent) -> rusqlite::Result<()> {
        let Some(cause) = self.asked.remove(&sender) else { return Ok(()) };
        let Ok(answer) = HostCall::from_cbor(&event.data) else { return Ok(()) };
        if is_withdrawn(&answer)
            && let Some(tale) = self.waiting.remove(&cause)
        {
            let closed = Some(EventMoment { actor: sender, sequence: event.sequence, unix_ms: event.timestamp });
            self.left.push_back(MessageTale { closed, outcome: Some(WITHDRAWN), ..tale });
        } else if let Some(link) = answer.answer
            && let Some(tale) = self.waiting.remove(&cause)
        {
            let closing = match source.place_of(link.actor) {
                Some(actor) => source.event(actor, link.sequence)?.map(|event| (actor, event)),
                None => None,
            };
            self.left.push_back(match closing {
                Some((actor, event)) => {
                    let (sequence, unix_ms) = (event.sequence, event.timestamp);
                    closed(tale, EventMoment { actor, sequence, unix_ms }, event.kind())
                }
                None => MessageTale { outcome: None, ..tale },
            });
        }
        Ok(())
    }

    /// The call that an actor was at work on has ended.
    fn close(&mut self, walked: &WalkedEvent) {
        if let Some(tale) = self.taken.remove(&walked.actor) {
            self.left.push_back(closed(tale, EventMoment::of(walked), walked.event.kind()));
        }
    }

    /// An actor has ended, and names the messages that it will not take.
    fn drop_waiting(&mut self, walked: &WalkedEvent) {
        for cause in dropped(&walked.event).iter().flatten() {
            if let Some(tale) = self.waiting.remove(&Cause::from(cause)) {
                let closed = Some(EventMoment::of(walked));
                self.left.push_back(MessageTale { closed, outcome: Some(DROPPED), ..tale });
            }
        }
    }

    /// The walk is over: what it left open is told as it is at the end of the journal.
    fn end(&mut self, source: &SqlSource) -> rusqlite::Result<()> {
        let mut left = Vec::new();
        for (actor, tale) in self.taken.drain() {
            let ended = match tale.taken {
                Some(taken) => closing_of(source, actor, taken.sequence)?,
                None => None,
            };
            let moment = |event: &ChainEvent| EventMoment { actor, sequence: event.sequence, unix_ms: event.timestamp };
            left.push(match ended {
                Some(event) => closed(tale, moment(&event), event.kind()),
                None => tale,
            });
        }
        if !self.waiting.is_empty() {
            let owed = source.read(|reader| reader.pending())?;
            let owed: HashSet<Cause> = owed.into_iter().map(|pending| pending.cause).collect();
            for (cause, tale) in self.waiting.drain() {
                let outcome = match owed.contains(&cause) {
                    true => Some(WAITING),
                    false => what_became_of(source, &tale)?,
                };
                left.push(MessageTale { outcome, ..tale });
            }
        }
        left.sort_by_key(|tale| tale.sent.map(|(position, _)| position));
        self.left.extend(left);
        Ok(())
    }
}

/// A message that no event of its receiver names, and that is not owed any more: its sender has withdrawn it as it ended, or
/// its receiver dropped it, which earlier versions did not record. If data of the receiver was dropped, nobody can tell.
fn what_became_of(source: &SqlSource, tale: &MessageTale) -> rusqlite::Result<Option<&'static str>> {
    let lacks_data = match source.place_of(tale.receiver) {
        Some(at) => source.read(|reader| reader.last_dropped(source.actors[at].actor))?.is_some(),
        None => false,
    };
    let gone = if tale.is_request { WITHDRAWN } else { DROPPED };
    Ok(Some(gone).filter(|_| !lacks_data))
}

fn closed(tale: MessageTale, closed: EventMoment, kind: Option<EventKind>) -> MessageTale {
    MessageTale { closed: Some(closed), outcome: kind.map(EventKind::word), ..tale }
}

type MessageColumn = SqlColumn<MessageTale>;

impl SqlTable for MessagesTable {
    const NAME: &'static CStr = c"messages";
    const MEANING: &'static str =
        "the messages to actors, from actors and from outside, in the order in which they were done with";
    const WAYS: ReadingWays = ReadingWays::Journal;
    const COLUMNS: &'static [MessageColumn] = &[
        MessageColumn::integer(
            "position",
            "the place of the event that sent it in the order of all; NULL for a message from outside",
            |_, tale| Ok(number(tale.sent.map(|(position, _)| position))),
        )
        .by(ColumnKey::Position),
        MessageColumn::text(
            "sender",
            "the UUID of the actor that sent it; NULL for a message from outside",
            |source, tale| Ok(text(tale.sent.map(|(_, sent)| source.actors[sent.actor].actor.id))),
        )
        .by(ColumnKey::Actor),
        MessageColumn::text("sender_name", "the name of that actor", |source, tale| {
            Ok(text(tale.sent.map(|(_, sent)| &source.actors[sent.actor].name)))
        })
        .by(ColumnKey::Name),
        MessageColumn::integer("sequence", "the place of the event that sent it on the sender's chain", |_, tale| {
            Ok(number(tale.sent.map(|(_, sent)| sent.sequence)))
        })
        .by(ColumnKey::Sequence),
        MessageColumn::text("receiver", "the UUID of the actor that it went to", |_, tale| {
            Ok(text(Some(tale.receiver)))
        })
        .by(ColumnKey::Receiver),
        MessageColumn::text("receiver_name", "the name of that actor", |source, tale| {
            Ok(text(source.name_of(tale.receiver)))
        })
        .by(ColumnKey::ReceiverName),
        MessageColumn::text("kind", "`send`, or `request`: the sender waits for the answer", |_, tale| {
            Ok(text(Some(if tale.is_request { "request" } else { "send" })))
        }),
        MessageColumn::text(
            "outcome",
            "`return`, `refused`, `failed` or `stopped`: how the receiver's call ended; `taken`: it has not ended; \
             `waiting`: in the mailbox; `dropped`: the receiver ended before; `withdrawn`: the sender gave up before; \
             NULL: data was dropped, so that nobody can tell",
            |_, tale| Ok(text(tale.outcome)),
        ),
        MessageColumn::text("sent", "when it was sent", |_, tale| Ok(time(tale.sent.map(|(_, sent)| sent.unix_ms)))),
        MessageColumn::integer("unix_ms", "the same, in milliseconds since the Unix epoch", |_, tale| {
            Ok(number(tale.sent.map(|(_, sent)| sent.unix_ms)))
        }),
        MessageColumn::text("taken", "when the receiver was called for it", |_, tale| {
            Ok(time(tale.taken.map(|taken| taken.unix_ms)))
        }),
        MessageColumn::integer("call", "the place of that `call` on the receiver's chain", |_, tale| {
            Ok(number(tale.taken.map(|taken| taken.sequence)))
        }),
        MessageColumn::text("answered", "when the call ended, or the message was dropped or withdrawn", |_, tale| {
            Ok(time(tale.closed.map(|closed| closed.unix_ms)))
        }),
        MessageColumn::integer(
            "closing",
            "the place of the event that says so, on the receiver's chain; on the sender's if it was withdrawn",
            |_, tale| Ok(number(tale.closed.map(|closed| closed.sequence))),
        ),
        MessageColumn::integer("waited_ms", "milliseconds from `sent` to `taken`", |_, tale| {
            let taken = tale.taken.map(|taken| taken.unix_ms);
            Ok(between(tale.sent.map(|(_, sent)| sent.unix_ms), taken))
        }),
        MessageColumn::integer(
            "took_ms",
            "milliseconds from `sent` to `answered`; from outside, from `taken`",
            |_, tale| Ok(between(tale.began(), tale.closed.map(|closed| closed.unix_ms))),
        ),
        MessageColumn::text("message", "the message, as JSON", |source, tale| Ok(text(tale.message(source)?))),
        MessageColumn::text(
            "answer",
            "what the receiver returned, as JSON; the text of its refusal or failure",
            |source, tale| Ok(text(tale.answer(source)?)),
        ),
    ];

    type Row = MessageTale;

    fn begin(source: &SqlSource, wanted: WantedRows) -> Self {
        let all = WantedRows::everything(false, false);
        let positions = if wanted.is_nothing() { NumberSpan { first: 1, last: 0 } } else { wanted.positions };
        let walk = EventWalk::new(source, WantedRows { positions, ..all });
        let (waiting, taken, asked) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { wanted, walk, waiting, taken, asked, left: VecDeque::new(), is_behind: false }
    }

    fn next(&mut self, source: &SqlSource) -> rusqlite::Result<Option<MessageTale>> {
        loop {
            if let Some(tale) = self.left.pop_front() {
                return Ok(Some(tale));
            }
            let Self { wanted, walk, is_behind, .. } = self;
            let walked = match *is_behind && self.waiting.is_empty() {
                true => None,
                false => walk.next(source, |actor, of_type| is_picked(wanted, *is_behind, actor, of_type))?,
            };
            match walked {
                Some(walked) => self.take(source, &walked)?,
                // Behind the wanted positions nothing new counts, but what was sent before may be taken there.
                None if !self.is_behind => {
                    self.is_behind = true;
                    self.walk.go_on();
                }
                None if self.waiting.is_empty() && self.taken.is_empty() => return Ok(None),
                None => self.end(source)?,
            }
        }
    }
}
