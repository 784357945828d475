//! The recorder: everything that crosses an actor's boundary passes it, in and out.
//!
//! Live, it records a host call and does its effect. In replay, it compares the call with the chain and answers from
//! the chain, and nothing outside is touched:
//!
//! ```text
//!                    ┌─ live ────▶ [intent] ─▶ act ─▶ host-call ─▶ the guest gets the result
//!   host_call(f, p) ─┤
//!                    └─ replay ──▶ compare with the chain ───────▶ the guest gets the recorded result
//! ```
//!
//! A transition that a crash left open is resumed: the recorder replays it to the end of the chain, and is live from
//! there. A handler that makes its host calls through the recorder needs no code of its own for recording, replay,
//! recovery and rehearsal.

mod rehearsal;
mod table_calls;

pub(crate) use rehearsal::{AskedHost, HostAnswers};

use super::effect::{Answered, Attempt, Effect};
use super::interruption::Interruption;
use super::script::{Divergence, Script, compare};
use crate::base::id::ActorId;
use crate::base::{clock, fail};
use crate::chain::cbor::{Cbor, bytes_to_json};
use crate::chain::data::{Encoded, HostCall, Intent};
use crate::chain::shown::{GET_CHAIN, ShownEvents, ShownPast, shown, shown_from};
use crate::chain::{ChainEvent, EventKind, Function, Head, Link, StateChain};
use crate::journal::{ActorKey, Attached, Cause, JournalDown, JournalError, JournalHandle, Owed, Record};
use crate::system::Wait;
use rehearsal::Rehearsed;
use table_calls::TableSlot;

/// An answer that a call has put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PutOff {
    /// The sequence of the host call that did so.
    pub(crate) token: u64,
    /// Whether the answer is for an HTTP client.
    pub(crate) is_http: bool,
    /// Whether an actor has asked, so that there is a row.
    pub(crate) is_owed: bool,
}

/// What a guest asked for in a host call that has recorded no intent: that would have recorded it.
#[derive(Default)]
struct Asked {
    params: Option<Encoded>,
    /// The actor that the address among the parameters stood for, unless the address is an id.
    to: Option<ActorId>,
}

/// The recorder of one actor. It owns the chain.
pub(crate) struct Recorder {
    chain: StateChain,
    mode: Mode,
    /// See [`Recorder::rests_on`].
    rests_on: u64,
    /// The delivery that the open intent promised. If the incarnation ends, its last event settles the delivery.
    promised: Option<Cause>,
    /// The registered wait of the open intent. It ends after the answer, or the end of the incarnation, is enqueued; at
    /// the latest when the recorder is dropped.
    wait: Option<Wait>,
    /// The answer of the call that the guest is in, if it was put off. If the call ends without a result, the event of its end
    /// settles what is owed for it.
    deferred: Option<PutOff>,
    /// In replay: an event that the guest is shown without its data.
    unseen: Option<Unseen>,
    /// In replay: the starts that went on with the open transition.
    resumed: Vec<ChainEvent>,
    tables: TableSlot,
}

/// A call of `get-chain` that shows an event whose data was dropped, after the call was recorded or nobody knows when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unseen {
    /// The event of the call.
    pub(crate) call: u64,
    /// The event that it shows.
    pub(crate) event: u64,
    /// Whether the chain says that the guest saw the data when it lived; else nobody knows.
    pub(crate) was_seen: bool,
}

/// ```text
///   Replay      follows a chain to its end, wherever that is
///   Rehearsal   is answered from elsewhere, and follows no chain
///   Resuming ── the recorded part of the open transition is over ──▶ Live
/// ```
enum Mode {
    Live(Outlet),
    Resuming { script: Script, outlet: Outlet },
    Replay(Script),
    Rehearsal(Rehearsed),
}

/// Where events go.
#[derive(Clone)]
struct Outlet {
    journal: JournalHandle,
    actor: ActorKey,
}

impl Outlet {
    /// Waits until everything recorded so far is on disk.
    fn flush(&self) -> Result<(), Interruption> {
        self.journal.flush().map_err(|JournalDown| Interruption::JournalDown)
    }

    /// The events that a `get-chain` which is event `upto` may show.
    fn before(&self, upto: u64) -> Result<Vec<ChainEvent>, Interruption> {
        self.flush()?;
        let (journal, from) = (&self.journal, shown_from(upto));
        let unreadable = |error| JournalError::Read { path: journal.dir().to_owned(), error };
        let read = journal
            .reader()
            .and_then(|reader| reader.events(self.actor, from, upto - from, usize::MAX).map_err(unreadable));
        read.map_err(|error| {
            log::error!("{error}");
            Interruption::JournalDown
        })
    }
}

/// What the chain says of a host call that is about to be made.
enum Recalled<R> {
    /// The chain does not have it: it is made now.
    Nothing,
    /// The chain has its intent, and no answer.
    /// With the actor that its address stood for.
    Intent(Link, Option<ActorId>),
    Answer(R),
}

impl Recorder {
    pub(crate) fn live(chain: StateChain, journal: JournalHandle, actor: ActorKey) -> Self {
        Self::of(chain, Mode::Live(Outlet { journal, actor }))
    }

    pub(crate) fn replaying(chain: StateChain, script: Script) -> Self {
        Self::of(chain, Mode::Replay(script))
    }

    fn of(chain: StateChain, mode: Mode) -> Self {
        let rests_on = chain.next_sequence();
        Self {
            chain,
            mode,
            rests_on,
            promised: None,
            wait: None,
            deferred: None,
            unseen: None,
            resumed: Vec::new(),
            tables: TableSlot::default(),
        }
    }

    /// Takes over the registered wait of the open intent that an earlier process left.
    pub(crate) fn hold(&mut self, wait: Option<Wait>) {
        self.wait = wait;
    }

    /// From here on, events are compared with `script`, which is on the chain already. After its last event, the
    /// recorder is live again.
    pub(crate) fn resume(&mut self, script: Script) {
        let Mode::Live(outlet) = &self.mode else { unreachable!("only a live chain is resumed") };
        self.tables.resume(script.peek().and_then(|first| first.sequence.checked_sub(1)));
        self.mode = Mode::Resuming { script, outlet: outlet.clone() };
    }

    /// Makes the recorder live although the recorded part of the open transition is not used up: the transition has
    /// ended early, and its end must be recorded.
    pub(crate) fn go_live(&mut self) {
        let Mode::Resuming { script, outlet } = &self.mode else { return };
        let dangling = script.last().filter(|event| event.kind() == Some(EventKind::Intent));
        let actor = outlet.actor.id;
        self.promised = dangling.map(|intent| Cause { actor, sequence: intent.sequence });
        self.mode = Mode::Live(outlet.clone());
    }

    /// Notes that a host call has put off the answer of the call that the guest is in.
    pub(crate) fn defer(&mut self, put_off: PutOff) {
        self.deferred = Some(put_off);
    }

    /// The answer of the call that the guest is in, if it was put off.
    pub(crate) fn deferred(&self) -> Option<PutOff> {
        self.deferred
    }

    /// The same, for the end of the call.
    pub(crate) fn take_deferred(&mut self) -> Option<PutOff> {
        self.deferred.take()
    }

    pub(crate) fn chain(&self) -> &StateChain {
        &self.chain
    }

    /// How many events of the chain, counted from its beginning, the newest state rests on. The events after them are
    /// parts of reads: if a crash takes them back, the state and the promises of this actor are the same as before.
    pub(crate) fn rests_on(&self) -> u64 {
        self.rests_on
    }

    /// Like [`Recorder::record`], for an event that may be a part of a read: nothing that the actor does or answers later
    /// rests on it.
    pub(crate) fn record_of_read(
        &mut self,
        event_type: &'static str,
        data: Vec<u8>,
        attached: Attached,
    ) -> Result<Link, Interruption> {
        let rests_on = self.rests_on;
        let link = self.record(event_type, data, attached)?;
        self.rests_on = rests_on;
        Ok(link)
    }

    /// Appends an event and enqueues it for the journal. Only after this has returned may another thread see an effect
    /// of the event: then the journal has the event before anything that the other thread records.
    ///
    /// In replay, the event must be the one that was recorded; its timestamp is copied.
    pub(crate) fn record(
        &mut self,
        event_type: &'static str,
        data: Vec<u8>,
        mut attached: Attached,
    ) -> Result<Link, Interruption> {
        self.pass_resumptions();
        match &mut self.mode {
            Mode::Live(Outlet { journal, actor }) => {
                let ends = matches!(event_type, "failed" | "stopped");
                if ends {
                    attached.settles.extend(self.promised.take());
                    let actor = self.chain.actor();
                    attached.settles.extend(self.deferred.take().map(|it| Cause { actor, sequence: it.token }));
                }
                let event = self.chain.append(event_type, data, clock::unix_ms());
                journal
                    .enqueue(Record::Event(*actor, event, attached))
                    .map_err(|JournalDown| Interruption::JournalDown)?;
                self.rests_on = self.chain.next_sequence();
                if ends {
                    self.wait = None;
                }
                Ok(self.chain.head_link().expect("an event was appended"))
            }
            Mode::Resuming { script, outlet } => {
                let recorded = script.peek().expect("a script that is used up is left");
                if let Some(divergence) = compare(recorded, event_type, &data) {
                    return Err(diverged(divergence));
                }
                let Outlet { actor, .. } = outlet;
                let link = Link { actor: actor.id, sequence: recorded.sequence, hash: recorded.hash };
                script.advance();
                if script.peek().is_none() {
                    self.mode = Mode::Live(outlet.clone());
                }
                Ok(link)
            }
            Mode::Replay(script) => {
                let Some(recorded) = script.peek() else {
                    return Err(diverged(past_the_end(&self.chain, event_type)));
                };
                if let Some(divergence) = compare(recorded, event_type, &data) {
                    return Err(diverged(divergence));
                }
                self.chain.append_salted(event_type, data, recorded.timestamp, recorded.salt);
                script.advance();
                Ok(self.chain.head_link().expect("an event was appended"))
            }
            Mode::Rehearsal(rehearsed) => Ok(rehearsed.record(&mut self.chain, event_type, data)),
        }
    }

    /// In replay: passes a `started` that goes on with the open transition.
    pub(crate) fn pass_resumptions(&mut self) {
        while let Mode::Replay(script) = &self.mode
            && script.at_a_resumption()
        {
            let started = self.copy();
            self.resumed.extend(started);
        }
    }

    /// Makes one host call. This is the only way in which anything reaches a guest while it runs.
    ///
    /// `effect` runs only live: it looks at the arguments and decides what kind of effect the call has. An
    /// [`Interruption`] from `effect`, or from the effect itself, ends the transition and is not recorded as an answer.
    pub(crate) fn host_call<'a, P: Cbor, R: Cbor>(
        &mut self,
        function: &'static Function,
        params: &P,
        effect: impl FnOnce(Attempt) -> Result<Effect<'a, R>, Interruption>,
    ) -> wasmtime::Result<R> {
        let params = Encoded(params.to_cbor());
        if matches!(self.mode, Mode::Rehearsal(_)) {
            return self.rehearse(function, params).map_err(wasmtime::Error::new);
        }
        let done = match self.recall(function, &params) {
            Ok(Recalled::Answer(result)) => Ok(result),
            Ok(Recalled::Nothing) => effect(Attempt::First).and_then(|effect| self.make(function, params, effect)),
            Ok(Recalled::Intent(intent, to)) => {
                let attempt = Attempt::Again { intent: intent.clone(), to };
                effect(attempt).and_then(|effect| self.finish(function, intent, effect))
            }
            Err(interruption) => Err(interruption),
        };
        done.map_err(wasmtime::Error::new)
    }

    /// Makes a host call for the first time.
    fn make<R: Cbor>(
        &mut self,
        function: &'static Function,
        params: Encoded,
        effect: Effect<'_, R>,
    ) -> Result<R, Interruption> {
        let (to, effect) = match effect {
            Effect::To(to, effect) => (Some(to), *effect),
            effect => (None, effect),
        };
        match effect {
            Effect::Read(result) => {
                self.record_read(function, params, &result)?;
                Ok(result)
            }
            Effect::Look(result) => {
                self.record_host_call(
                    function,
                    Asked { params: Some(params), to },
                    &result,
                    None,
                    Attached::default(),
                )?;
                Ok(result)
            }
            Effect::Log { result, act } => {
                self.record_read(function, params, &result)?;
                act();
                Ok(result)
            }
            Effect::Announce { result, owes, settles, act } => {
                let asked = Asked { params: Some(params), to };
                let announced = self.record_announced(function, asked, &result, owes, settles)?;
                act(announced);
                Ok(result)
            }
            Effect::Act { owes, act } => {
                let attached = Attached { owes, ..Attached::default() };
                let intent = self.record(function.intent, Intent { to, ..Intent::new(params) }.to_cbor(), attached)?;
                self.promised = owes.map(|_| Cause::from(&intent));
                fail::point("intent-recorded");
                fail::point_after("intent-committed", || _ = self.flush());
                let answered = act(intent, &mut self.wait)?;
                fail::point("effect-done");
                fail::point_after("effect-committed", || _ = self.flush());
                self.answered(function, answered)
            }
            Effect::To(..) => unreachable!("an effect is on one actor"),
            Effect::Outside(act) => {
                self.record(function.intent, Intent::new(params).to_cbor(), Attached::default())?;
                self.flush()?;
                fail::point("outside-committed");
                let result = act()?;
                fail::point("outside-done");
                self.answered(function, Answered { result, answer: None })
            }
        }
    }

    /// Closes a host call whose intent an earlier process left open.
    fn finish<R: Cbor>(
        &mut self,
        function: &'static Function,
        intent: Link,
        effect: Effect<'_, R>,
    ) -> Result<R, Interruption> {
        self.promised = Some(Cause::from(&intent));
        let effect = if let Effect::To(_, effect) = effect { *effect } else { effect };
        let answered = match effect {
            Effect::Read(result) | Effect::Look(result) => Answered { result, answer: None },
            Effect::Act { act, .. } => act(intent, &mut self.wait)?,
            // No version of Theater records an intent for these effects.
            Effect::Log { .. } | Effect::Announce { .. } | Effect::Outside(_) | Effect::To(..) => {
                return Err(diverged(Divergence {
                    sequence: intent.sequence,
                    field: "event_type".into(),
                    recorded: function.intent.into(),
                    actual: "this host function records no intent that could be gone on with".into(),
                }));
            }
        };
        self.answered(function, answered)
    }

    fn answered<R: Cbor>(
        &mut self,
        function: &'static Function,
        Answered { result, answer }: Answered<R>,
    ) -> Result<R, Interruption> {
        let attached = Attached { settles: self.promised.take().into_iter().collect(), ..Attached::default() };
        self.record_host_call(function, Asked::default(), &result, answer, attached)?;
        self.wait = None;
        Ok(result)
    }

    fn record_read<R: Cbor>(
        &mut self,
        function: &'static Function,
        params: Encoded,
        result: &R,
    ) -> Result<Link, Interruption> {
        let data = HostCall::new(None, Some(params), Encoded(result.to_cbor())).to_cbor();
        self.record_of_read(function.host_call, data, Attached::default())
    }

    fn record_announced<R: Cbor>(
        &mut self,
        function: &'static Function,
        Asked { params, to }: Asked,
        result: &R,
        owes: Option<Owed>,
        of: Option<u64>,
    ) -> Result<Link, Interruption> {
        let actor = self.chain.actor();
        let settles = of.map(|sequence| Cause { actor, sequence }).into_iter().collect();
        let data = HostCall { of, to, ..HostCall::new(None, params, Encoded(result.to_cbor())) };
        self.record(function.host_call, data.to_cbor(), Attached { owes, settles, ..Attached::default() })
    }

    fn record_host_call<R: Cbor>(
        &mut self,
        function: &'static Function,
        Asked { params, to }: Asked,
        result: &R,
        answer: Option<Link>,
        attached: Attached,
    ) -> Result<Link, Interruption> {
        let data = HostCall { to, ..HostCall::new(answer, params, Encoded(result.to_cbor())) }.to_cbor();
        self.record(function.host_call, data, attached)
    }

    /// Looks the host call up on the chain. Its result and the answering event are inputs and are taken from there.
    /// That the guest calls this function with these parameters is no input, so it is compared.
    fn recall<R: Cbor>(&mut self, function: &'static Function, params: &Encoded) -> Result<Recalled<R>, Interruption> {
        self.pass_resumptions();
        if matches!(self.mode, Mode::Live(_)) {
            return Ok(Recalled::Nothing);
        }
        let mut params = Some(params.clone());
        if self.recorded()?.kind() == Some(EventKind::Intent) {
            // Which actor an address stood for is an input.
            let Intent { of, to, .. } = self.recorded()?.read().unwrap_or_else(|_| Intent::new(Encoded(().to_cbor())));
            let intent = Intent { of, to, params: params.take().expect("not taken yet") };
            let intent = self.record(function.intent, intent.to_cbor(), Attached::default())?;
            if matches!(self.mode, Mode::Live(_)) {
                return Ok(Recalled::Intent(intent, to));
            }
            self.stop_where_it_was_ended()?;
        }
        let recorded = self.recorded()?;
        let before = match recorded.kind() {
            Some(EventKind::HostCall) => recorded.read::<HostCall>().ok(),
            _ => None,
        };
        let Some(before) = before else {
            return Err(diverged(unlike(recorded, function.host_call)));
        };
        let again = HostCall { params, ..before };
        let Link { sequence, .. } = self.record(function.host_call, again.to_cbor(), Attached::default())?;
        let unreadable = |why: String| {
            let (field, recorded, actual) = ("data.result".into(), why.into(), function.full.into());
            diverged(Divergence { sequence, field, recorded, actual })
        };
        // No host function of this version computes its result again from the chain.
        let result = again.result.whole().ok_or_else(|| unreadable("named by its digest".to_owned()))?;
        let result = R::from_cbor(result).map_err(|error| unreadable(error.to_string()))?;
        self.stop_where_it_was_ended()?;
        Ok(Recalled::Answer(result))
    }

    /// In replay: whether the transition was ended from outside at this place.
    pub(crate) fn stop_where_it_was_ended(&mut self) -> Result<(), Interruption> {
        self.pass_resumptions();
        match &self.mode {
            Mode::Replay(script) if script.ends_from_outside() => Err(Interruption::RecordedEnd),
            Mode::Replay(_) | Mode::Resuming { .. } | Mode::Live(_) | Mode::Rehearsal(_) => Ok(()),
        }
    }

    /// The sequence of the next event, which is to be recorded or is on the chain already.
    pub(crate) fn next_sequence(&mut self) -> u64 {
        self.pass_resumptions();
        let recorded = self.upcoming().map(|event| event.sequence);
        recorded.unwrap_or_else(|| self.chain.next_sequence())
    }

    /// Makes the host call `get-chain`, and returns the events that it shows the guest. Live, they are read from the journal,
    /// and the call records which they are. A guest is shown only what is on disk.
    pub(crate) fn get_chain(&mut self) -> wasmtime::Result<Vec<ChainEvent>> {
        if let Some(shown) = self.rehearse_get_chain() {
            return shown.map_err(wasmtime::Error::new);
        }
        let next = self.next_sequence();
        let (outlet, mut read) = (self.outlet().cloned(), None);
        let shown: ShownPast = self.host_call(GET_CHAIN, &(), |_| {
            let mut events = outlet.expect("effects run live").before(next)?;
            let shown = ShownEvents::of(&events, next);
            events.retain(|event| event.sequence >= shown.first);
            read = Some(events);
            Ok(Effect::Read(ShownPast::Events(shown)))
        })?;
        match read {
            Some(events) => Ok(events),
            None => self.show_again(next, &shown).map_err(wasmtime::Error::new),
        }
    }

    /// The events that a recorded `get-chain`, which is event `next`, has shown: what its event says or, if that says no
    /// more than its place, the newest ones before it.
    fn show_again(&mut self, next: u64, past: &ShownPast) -> Result<Vec<ChainEvent>, Interruption> {
        let upto = past.upto();
        if upto != next {
            return Err(diverged(Divergence {
                sequence: next,
                field: "data.result".into(),
                recorded: upto.into(),
                actual: next.into(),
            }));
        }
        let mut events = match &self.mode {
            Mode::Live(outlet) | Mode::Resuming { outlet, .. } => outlet.before(upto)?,
            Mode::Replay(script) => script.past().before(upto),
            Mode::Rehearsal(_) => unreachable!("a rehearsal shows its own events"),
        };
        let hidden = match past {
            ShownPast::Upto(_) => events.len() - shown(events.iter()),
            ShownPast::Events(named) => events.iter().take_while(|event| event.sequence < named.first).count(),
        };
        events.drain(..hidden);
        if let ShownPast::Events(named) = past {
            show_as_then(&mut events, named)?;
        }
        if matches!(self.mode, Mode::Replay(_)) {
            let was_whole = |event: &&ChainEvent| match past {
                ShownPast::Upto(_) => true,
                ShownPast::Events(named) => named.is_whole(event.sequence),
            };
            let hidden = events.iter().filter(was_whole).find(|event| event.dropped.is_some());
            let was_seen = matches!(past, ShownPast::Events(_));
            self.unseen = hidden.map(|event| Unseen { call: upto, event: event.sequence, was_seen }).or(self.unseen);
        }
        Ok(events)
    }

    fn outlet(&self) -> Option<&Outlet> {
        match &self.mode {
            Mode::Live(outlet) | Mode::Resuming { outlet, .. } => Some(outlet),
            Mode::Replay(_) | Mode::Rehearsal(_) => None,
        }
    }

    /// In replay: an event that the guest is shown without its data now, and when it lived was shown with it or may have been.
    pub(crate) fn unseen(&self) -> Option<Unseen> {
        self.unseen
    }

    /// In replay: forgets what the guest was shown, because a guest on a new instance remembers nothing.
    pub(crate) fn nothing_is_remembered(&mut self) {
        self.unseen = None;
    }

    /// In replay: the starts that went on with the open transition since the last call of this function.
    pub(crate) fn take_resumed(&mut self) -> Vec<ChainEvent> {
        std::mem::take(&mut self.resumed)
    }

    /// Live: waits until everything recorded so far is on disk.
    pub(crate) fn flush(&self) -> Result<(), Interruption> {
        self.outlet().map_or(Ok(()), Outlet::flush)
    }

    /// In replay, or while resuming: the next event. To ask a live recorder is a defect.
    fn recorded(&self) -> Result<&ChainEvent, Interruption> {
        let script = match &self.mode {
            Mode::Replay(script) | Mode::Resuming { script, .. } => script,
            Mode::Live(_) | Mode::Rehearsal(_) => unreachable!("this recorder has nothing to recall"),
        };
        script.peek().ok_or_else(|| diverged(past_the_end(&self.chain, "a further host call")))
    }

    /// In replay, or while resuming: the next event, if there is one.
    pub(crate) fn upcoming(&self) -> Option<&ChainEvent> {
        match &self.mode {
            Mode::Replay(script) | Mode::Resuming { script, .. } => script.peek(),
            Mode::Live(_) | Mode::Rehearsal(_) => None,
        }
    }

    /// In replay: why the chain could not be followed to its end.
    pub(crate) fn broken(&self) -> Option<&str> {
        match &self.mode {
            Mode::Replay(script) | Mode::Resuming { script, .. } => script.broken(),
            Mode::Live(_) | Mode::Rehearsal(_) => None,
        }
    }

    /// In replay: copies the next event as it was recorded, because it is an input. Its hash was verified.
    pub(crate) fn copy(&mut self) -> Option<ChainEvent> {
        let Mode::Replay(script) = &mut self.mode else { return None };
        let recorded = script.peek()?.clone();
        script.advance();
        self.chain.take(Head { sequence: recorded.sequence, hash: recorded.hash });
        Some(recorded)
    }
}

/// Takes the data from the events that were shown without it. The error says that the events are not those that were shown.
fn show_as_then(events: &mut [ChainEvent], named: &ShownEvents) -> Result<(), Interruption> {
    let first = events.first().map_or(named.upto, |event| event.sequence);
    if first != named.first {
        let (sequence, field) = (named.upto, "data.result.first".into());
        let (recorded, actual) = (named.first.into(), first.into());
        return Err(diverged(Divergence { sequence, field, recorded, actual }));
    }
    events.iter_mut().filter(|event| named.is_bare(event.sequence)).for_each(|event| event.data.clear());
    Ok(())
}

fn diverged(divergence: Divergence) -> Interruption {
    Interruption::Diverged(Box::new(divergence))
}

/// The divergence for a recorded event that has another type, or that has this type and data that cannot be read as
/// such.
fn unlike(recorded: &ChainEvent, event_type: &str) -> Divergence {
    if recorded.event_type == event_type {
        return Divergence {
            sequence: recorded.sequence,
            field: "data".into(),
            recorded: bytes_to_json(&recorded.data),
            actual: format!("the data of a {event_type}").into(),
        };
    }
    Divergence {
        sequence: recorded.sequence,
        field: "event_type".into(),
        recorded: recorded.event_type.as_ref().into(),
        actual: event_type.into(),
    }
}

fn past_the_end(chain: &StateChain, what: &str) -> Divergence {
    Divergence {
        sequence: chain.next_sequence(),
        field: "event_type".into(),
        recorded: serde_json::Value::Null,
        actual: what.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::ActorId;
    use crate::chain::{DroppedData, Salt, function};

    const ASK: &Function = function!("x:y/z", "ask");

    /// A chain of version 3 with events of these types and data, and one more after them.
    fn salted(all: Vec<(&'static str, Vec<u8>)>) -> Vec<ChainEvent> {
        let mut chain = StateChain::new(ActorId::random());
        let salts = (0..).map(|byte| Some(Salt([byte; 16])));
        let closing = ("return x:y/z.run", vec![0xf6]);
        all.into_iter()
            .chain([closing])
            .zip(salts)
            .map(|((kind, data), salt)| chain.append_salted(kind, data, 7, salt))
            .collect()
    }

    fn replaying(events: &[ChainEvent]) -> Recorder {
        Recorder::replaying(StateChain::new(ActorId::random()), Script::new(events.to_vec()))
    }

    fn nothing_happens<'a, R>(_: Attempt) -> Result<Effect<'a, R>, Interruption> {
        unreachable!("a replay has no effects")
    }

    #[test]
    fn a_replay_takes_salts_and_what_an_address_stood_for_from_the_chain_and_comes_to_the_same_hash() {
        let params = Encoded(("root/bob".to_owned(),).to_cbor());
        let intent = Intent { of: Some(0), to: Some(ActorId::random()), params: params.clone() };
        let sent = HostCall::new(None, Some(params), Encoded(2_u64.to_cbor()));
        let sent = HostCall { of: Some(0), to: Some(ActorId::random()), ..sent };
        let events = salted(vec![
            (ASK.intent, intent.to_cbor()),
            (ASK.host_call, HostCall::new(None, None, Encoded(1_u64.to_cbor())).to_cbor()),
            (ASK.host_call, sent.to_cbor()),
        ]);
        let mut recorder = replaying(&events);
        for answer in [1_u64, 2] {
            let got: u64 = recorder.host_call(ASK, &("root/bob".to_owned(),), nothing_happens).expect("an answer");
            assert_eq!(got, answer);
        }
        assert_eq!(recorder.chain().head().map(|head| head.hash), Some(events[2].hash));

        let other = ("root/eve".to_owned(),);
        let refused =
            replaying(&events).host_call::<_, u64>(ASK, &other, nothing_happens).expect_err("another address");
        assert!(matches!(refused.downcast_ref(), Some(Interruption::Diverged(at)) if at.field == "data.params[0]"));
    }

    #[test]
    fn a_result_that_is_named_by_its_digest_is_not_taken_for_the_result() {
        let named = HostCall::new(None, Some(Encoded(().to_cbor())), Encoded(Vec::new()));
        let named = HostCall { result: crate::chain::data::CallResult::Digest([1; 32]), ..named };
        let events = salted(vec![(ASK.host_call, named.to_cbor())]);
        let refused = replaying(&events).host_call::<_, u64>(ASK, &(), nothing_happens).expect_err("no result");
        assert!(
            matches!(refused.downcast_ref(), Some(Interruption::Diverged(at)) if at.recorded == "named by its digest")
        );
    }

    /// What a guest is shown in replay by a `get-chain` after three events: sequence and length of data of each.
    fn shown_again(dropped: &[usize], named: ShownPast) -> (wasmtime::Result<Vec<(u64, usize)>>, Option<Unseen>) {
        let get = HostCall::new(None, Some(Encoded(().to_cbor())), Encoded(named.to_cbor()));
        let past = ["started", "call x.y", "return x.y"].map(|kind| (kind, vec![0xf6; 4]));
        let mut events = salted(past.into_iter().chain([(GET_CHAIN.host_call, get.to_cbor())]).collect());
        for at in dropped {
            let kept = Some(DroppedData::of(&events[*at]));
            events[*at] = ChainEvent { data: Vec::new(), salt: None, dropped: kept, ..events[*at].clone() };
        }
        let mut recorder = replaying(&events);
        (0..3).for_each(|_| _ = recorder.copy());
        let shown = recorder.get_chain();
        (shown.map(|past| past.iter().map(|event| (event.sequence, event.data.len())).collect()), recorder.unseen())
    }

    #[test]
    fn a_get_chain_of_version_3_shows_again_what_it_has_shown_and_knows_what_it_cannot_show_any_more() {
        let named = |bare: &[(u64, u64)], first| ShownPast::Events(ShownEvents { bare: bare.to_vec(), upto: 3, first });
        let (shown, unseen) = shown_again(&[], named(&[], 0));
        assert_eq!((shown.ok(), unseen), (Some(vec![(0, 4), (1, 4), (2, 4)]), None));
        let (shown, unseen) = shown_again(&[1], named(&[(1, 1)], 0));
        assert_eq!((shown.ok(), unseen), (Some(vec![(0, 4), (1, 0), (2, 4)]), None), "it was dropped before");
        let (shown, unseen) = shown_again(&[], named(&[(0, 1)], 0));
        assert_eq!((shown.ok(), unseen), (Some(vec![(0, 0), (1, 0), (2, 4)]), None), "this copy has it still");
        let (shown, unseen) = shown_again(&[1, 2], named(&[(1, 1)], 1));
        let later = Some(Unseen { call: 3, event: 2, was_seen: true });
        assert_eq!((shown.ok(), unseen), (Some(vec![(1, 0), (2, 0)]), later), "it was dropped later");
        let (shown, unseen) = shown_again(&[1], ShownPast::Upto(3));
        let at_some_time = Some(Unseen { call: 3, event: 1, was_seen: false });
        assert_eq!((shown.ok(), unseen), (Some(vec![(0, 4), (1, 0), (2, 4)]), at_some_time), "nobody knows when");
        let (shown, _) = shown_again(&[], named(&[], 7));
        assert_eq!(divergence(shown).field, "data.result.first");
        let later = ShownPast::Events(ShownEvents { bare: vec![], upto: 4, first: 0 });
        for elsewhere in [later, ShownPast::Upto(2)] {
            assert_eq!(divergence(shown_again(&[], elsewhere).0).field, "data.result");
        }
    }

    fn divergence<T>(result: wasmtime::Result<T>) -> Divergence {
        match result.err().expect("a divergence").downcast() {
            Ok(Interruption::Diverged(divergence)) => *divergence,
            other => panic!("{other:?}"),
        }
    }
}
