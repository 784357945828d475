//! The one door. Everything that crosses an actor's boundary passes the recorder.
//!
//! Live it records and acts; replaying it compares and answers from the chain, and nothing outside is touched:
//!
//! ```text
//!                    ┌─ live ────▶ [intent] ─▶ act ─▶ host-call ─▶ the guest gets the result
//!   host_call(f, p) ─┤
//!                    └─ replay ──▶ compare with the chain ───────▶ the guest gets the recorded result
//! ```
//!
//! A transition that a crash left open is resumed: replayed as far as the chain goes, and live from there. A handler
//! that uses the recorder has recording, replay and recovery for nothing.

use super::interruption::Interruption;
use super::script::{Divergence, Script, compare};
use crate::base::{clock, fail};
use crate::chain::cbor::{Cbor, bytes_to_json};
use crate::chain::data::{Encoded, HostCall, Intent};
use crate::chain::shown::{shown, shown_from};
use crate::chain::{ChainEvent, EventKind, Function, Head, Link, StateChain};
use crate::journal::{ActorKey, Attached, Cause, JournalDown, JournalHandle, Owed, Record};
use crate::system::Wait;

/// What a host function does, as far as others can see it. Decided live, after the arguments were looked at.
pub(crate) enum Effect<'a, R> {
    /// Nobody sees it (a read, a refused argument): the result is recorded.
    Read(R),
    /// Others see it, and it cannot fail any more: recorded first, then done, naming the event.
    Announce { result: R, owes: Option<Owed>, act: Box<dyn FnOnce(Link) + 'a> },
    /// Another actor sees it, and it has an answer: an intent is recorded, then it is done, then the answer recorded
    /// with the event it came from.
    /// Made by [`Effect::act`].
    Act { owes: Option<Owed>, act: Box<Act<'a, R>> },
    /// The world outside sees it: it is done once the intent is on disk. Made by [`Effect::outside`].
    Outside(Box<dyn FnOnce() -> Result<R, Interruption> + 'a>),
}

type Act<'a, R> = dyn FnOnce(Link, &mut Option<Wait>) -> Result<Answered<R>, Interruption> + 'a;

impl<'a, R> Effect<'a, R> {
    /// An effect on another actor, which `act` has once the intent is recorded. Where it waits for that actor, it leaves
    /// its wait with the recorder, which lets go of it when the event that settles it is enqueued, and not before.
    pub(crate) fn act(
        owes: Option<Owed>,
        act: impl FnOnce(Link, &mut Option<Wait>) -> Result<Answered<R>, Interruption> + 'a,
    ) -> Self {
        Self::Act { owes, act: Box::new(act) }
    }
}

/// A result, and the event of another actor that it came from.
pub(crate) struct Answered<R> {
    pub(crate) result: R,
    pub(crate) answer: Option<Link>,
}

/// Which time a host call is decided upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    First,
    /// This intent is on the chain, and no answer: the process ended between the two. What can be asked what came of
    /// it is asked; what cannot is not done again.
    Again(Link),
}

/// What a guest is told of an effect on the outside that a crash interrupted.
pub(crate) const OUTCOME_UNKNOWN: &str = "interrupted: outcome unknown";

/// Does something outside; its error is the guest's answer.
type ActOutside<'a, T> = Box<dyn FnOnce() -> Result<Result<T, String>, Interruption> + 'a>;

impl<'a, T: 'a> Effect<'a, Result<T, String>> {
    /// An effect on the world outside, which `prepare` looks at first: its error is the answer, and nothing is done.
    /// One that was interrupted is never done twice.
    pub(crate) fn outside(attempt: &Attempt, prepare: impl FnOnce() -> Result<ActOutside<'a, T>, String>) -> Self {
        match attempt {
            Attempt::Again(_) => Self::Read(Err(OUTCOME_UNKNOWN.to_owned())),
            Attempt::First => prepare().map_or_else(|why| Self::Read(Err(why)), Self::Outside),
        }
    }
}

/// One actor's recorder; it owns the chain.
pub(crate) struct Recorder {
    chain: StateChain,
    mode: Mode,
    /// The delivery that the open intent promised: an end of the incarnation settles it.
    promised: Option<Cause>,
    /// The wait of the open intent. It ends when the answer, or the end of the incarnation, is enqueued; else with this.
    wait: Option<Wait>,
    /// Replaying: what the guest is not shown.
    unseen: Option<Unseen>,
    /// Replaying: starts that went on with the open transition.
    resumed: Vec<ChainEvent>,
}

/// A call of `get-chain` shows an event whose data was dropped, perhaps since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unseen {
    /// The call's event.
    pub(crate) call: u64,
    /// The event it shows.
    pub(crate) event: u64,
}

/// ```text
///   Replay      follows a chain to its end, wherever that is
///   Resuming ── the recorded part of the open transition is over ──▶ Live
/// ```
enum Mode {
    Live(Outlet),
    Resuming { script: Script, outlet: Outlet },
    Replay(Script),
}

/// Where events go.
#[derive(Clone)]
struct Outlet {
    journal: JournalHandle,
    actor: ActorKey,
}

/// What the chain says of a host call that is about to be made.
enum Recalled<R> {
    /// Nothing: it is made now.
    Nothing,
    /// It was about to be made.
    Intent(Link),
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
        Self { chain, mode, promised: None, wait: None, unseen: None, resumed: Vec::new() }
    }

    /// Takes over the wait of the open intent that an earlier process left.
    pub(crate) fn hold(&mut self, wait: Option<Wait>) {
        self.wait = wait;
    }

    /// From here on what happens is compared with `script`, which is on the chain already, and recorded once that is
    /// used up.
    pub(crate) fn resume(&mut self, script: Script) {
        let Mode::Live(outlet) = &self.mode else { unreachable!("only a live chain is resumed") };
        self.mode = Mode::Resuming { script, outlet: outlet.clone() };
    }

    /// The open transition is over before its recorded part was: an end is recorded live.
    pub(crate) fn go_live(&mut self) {
        let Mode::Resuming { script, outlet } = &self.mode else { return };
        let dangling = script.last().filter(|event| event.kind() == Some(EventKind::Intent));
        let actor = outlet.actor.id;
        self.promised = dangling.map(|intent| Cause { actor, sequence: intent.sequence });
        self.mode = Mode::Live(outlet.clone());
    }

    pub(crate) fn chain(&self) -> &StateChain {
        &self.chain
    }

    /// Appends an event. Once it has returned, whatever another thread sees of it is in order.
    ///
    /// Replaying, the event must be the one that was recorded, which lends its timestamp.
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
                }
                let event = self.chain.append(event_type, data, clock::unix_ms());
                journal
                    .enqueue(Record::Event(*actor, event, attached))
                    .map_err(|JournalDown| Interruption::JournalDown)?;
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
                self.chain.append(event_type, data, recorded.timestamp);
                script.advance();
                Ok(self.chain.head_link().expect("an event was appended"))
            }
        }
    }

    /// Replaying: a transition that was resumed goes on behind the `started` that says so.
    pub(crate) fn pass_resumptions(&mut self) {
        while let Mode::Replay(script) = &self.mode
            && script.at_a_resumption()
        {
            let started = self.copy();
            self.resumed.extend(started);
        }
    }

    /// One host call: the only way in which anything reaches a guest while it runs.
    ///
    /// `effect` runs live only: it looks at the arguments and decides what kind of effect it is to be. An
    /// [`Interruption`] from it, or from the effect, ends the transition and is not recorded as an answer.
    pub(crate) fn host_call<'a, P: Cbor, R: Cbor>(
        &mut self,
        function: &'static Function,
        params: &P,
        effect: impl FnOnce(Attempt) -> Result<Effect<'a, R>, Interruption>,
    ) -> wasmtime::Result<R> {
        let params = Encoded(params.to_cbor());
        let done = match self.recall(function, &params) {
            Ok(Recalled::Answer(result)) => Ok(result),
            Ok(Recalled::Nothing) => effect(Attempt::First).and_then(|effect| self.make(function, params, effect)),
            Ok(Recalled::Intent(intent)) => {
                effect(Attempt::Again(intent.clone())).and_then(|effect| self.finish(function, intent, effect))
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
        match effect {
            Effect::Read(result) => {
                self.record_host_call(function, Some(params), &result, None, Attached::default())?;
                Ok(result)
            }
            Effect::Announce { result, owes, act } => {
                let attached = Attached { owes, ..Attached::default() };
                let announced = self.record_host_call(function, Some(params), &result, None, attached)?;
                act(announced);
                Ok(result)
            }
            Effect::Act { owes, act } => {
                let attached = Attached { owes, ..Attached::default() };
                let intent = self.record(function.intent, Intent { params }.to_cbor(), attached)?;
                self.promised = owes.map(|_| Cause::from(&intent));
                fail::point("intent-recorded");
                fail::point_after("intent-committed", || _ = self.flush());
                let answered = act(intent, &mut self.wait)?;
                fail::point("effect-done");
                fail::point_after("effect-committed", || _ = self.flush());
                self.answered(function, answered)
            }
            Effect::Outside(act) => {
                self.record(function.intent, Intent { params }.to_cbor(), Attached::default())?;
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
        let answered = match effect {
            Effect::Read(result) => Answered { result, answer: None },
            Effect::Act { act, .. } => act(intent, &mut self.wait)?,
            // No program of ours has recorded such an intent.
            Effect::Announce { .. } | Effect::Outside(_) => {
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
        self.record_host_call(function, None, &result, answer, attached)?;
        self.wait = None;
        Ok(result)
    }

    fn record_host_call<R: Cbor>(
        &mut self,
        function: &'static Function,
        params: Option<Encoded>,
        result: &R,
        answer: Option<Link>,
        attached: Attached,
    ) -> Result<Link, Interruption> {
        let data = HostCall { answer, params, result: Encoded(result.to_cbor()) }.to_cbor();
        self.record(function.host_call, data, attached)
    }

    /// What the chain says of this host call. The result and the answering event are inputs; that this function was
    /// called with these parameters is not.
    fn recall<R: Cbor>(&mut self, function: &'static Function, params: &Encoded) -> Result<Recalled<R>, Interruption> {
        self.pass_resumptions();
        if matches!(self.mode, Mode::Live(_)) {
            return Ok(Recalled::Nothing);
        }
        let mut params = Some(params.clone());
        if self.recorded()?.kind() == Some(EventKind::Intent) {
            let intent = Intent { params: params.take().expect("not taken yet") };
            let intent = self.record(function.intent, intent.to_cbor(), Attached::default())?;
            if matches!(self.mode, Mode::Live(_)) {
                return Ok(Recalled::Intent(intent));
            }
            self.stop_where_it_was_ended()?;
        }
        let recorded = self.recorded()?;
        let before = match recorded.kind() {
            Some(EventKind::HostCall) => HostCall::from_cbor(&recorded.data).ok(),
            _ => None,
        };
        let Some(before) = before else {
            return Err(diverged(unlike(recorded, function.host_call)));
        };
        let result = before.result.clone();
        let again = HostCall { answer: before.answer, params, result: before.result };
        let Link { sequence, .. } = self.record(function.host_call, again.to_cbor(), Attached::default())?;
        let result = R::from_cbor(&result.0).map_err(|error| {
            diverged(Divergence {
                sequence,
                field: "data.result".into(),
                recorded: error.to_string().into(),
                actual: function.full.into(),
            })
        })?;
        self.stop_where_it_was_ended()?;
        Ok(Recalled::Answer(result))
    }

    /// Replaying: whether the transition was ended from outside at this very place.
    pub(crate) fn stop_where_it_was_ended(&mut self) -> Result<(), Interruption> {
        self.pass_resumptions();
        match &self.mode {
            Mode::Replay(script) if script.ends_from_outside() => Err(Interruption::RecordedEnd),
            Mode::Replay(_) | Mode::Resuming { .. } | Mode::Live(_) => Ok(()),
        }
    }

    /// The sequence that the next event has: the one that is to be recorded, or is on the chain already.
    pub(crate) fn next_sequence(&mut self) -> u64 {
        self.pass_resumptions();
        let recorded = self.upcoming().map(|event| event.sequence);
        recorded.unwrap_or_else(|| self.chain.next_sequence())
    }

    /// What a guest is shown of its chain by a host call that is event `upto`: the newest events before that.
    pub(crate) fn past(&mut self, upto: u64) -> Result<Vec<ChainEvent>, Interruption> {
        match &self.mode {
            Mode::Live(Outlet { journal, actor }) | Mode::Resuming { outlet: Outlet { journal, actor }, .. } => {
                self.flush()?;
                let from = shown_from(upto);
                let read = journal.reader().and_then(|reader| {
                    reader
                        .events(*actor, from, upto - from, usize::MAX)
                        .map_err(|error| crate::journal::JournalError::Read { path: journal.dir().to_owned(), error })
                });
                let mut events = read.map_err(|error| {
                    log::error!("{error}");
                    Interruption::JournalDown
                })?;
                let hidden = events.len() - shown(events.iter());
                events.drain(..hidden);
                Ok(events)
            }
            Mode::Replay(script) => {
                let events = script.past().shown(upto);
                let hidden = events.iter().find(|event| event.dropped.is_some());
                self.unseen = hidden.map(|event| Unseen { call: upto, event: event.sequence }).or(self.unseen);
                Ok(events)
            }
        }
    }

    /// Replaying: what the guest was perhaps shown when it lived, and is not shown now.
    pub(crate) fn unseen(&self) -> Option<Unseen> {
        self.unseen
    }

    /// Replaying: a guest on a new instance remembers nothing of what it was shown.
    pub(crate) fn nothing_is_remembered(&mut self) {
        self.unseen = None;
    }

    /// Replaying: the starts that went on with the open transition since this was asked last.
    pub(crate) fn take_resumed(&mut self) -> Vec<ChainEvent> {
        std::mem::take(&mut self.resumed)
    }

    /// Live: waits until everything recorded so far is on disk.
    pub(crate) fn flush(&self) -> Result<(), Interruption> {
        match &self.mode {
            Mode::Live(outlet) | Mode::Resuming { outlet, .. } => {
                outlet.journal.flush().map_err(|JournalDown| Interruption::JournalDown)
            }
            Mode::Replay(_) => Ok(()),
        }
    }

    /// Replaying or resuming: the event that comes next. Asked of a live recorder it is a defect.
    fn recorded(&self) -> Result<&ChainEvent, Interruption> {
        let script = match &self.mode {
            Mode::Replay(script) | Mode::Resuming { script, .. } => script,
            Mode::Live(_) => unreachable!("a live recorder has nothing to recall"),
        };
        script.peek().ok_or_else(|| diverged(past_the_end(&self.chain, "a further host call")))
    }

    /// Replaying or resuming: what is still to come, if anything.
    pub(crate) fn upcoming(&self) -> Option<&ChainEvent> {
        match &self.mode {
            Mode::Replay(script) | Mode::Resuming { script, .. } => script.peek(),
            Mode::Live(_) => None,
        }
    }

    /// Replaying: why the chain could not be followed to its end.
    pub(crate) fn broken(&self) -> Option<&str> {
        match &self.mode {
            Mode::Replay(script) | Mode::Resuming { script, .. } => script.broken(),
            Mode::Live(_) => None,
        }
    }

    /// Replaying: takes the next event as it was recorded, because it is an input. Its hash was verified.
    pub(crate) fn copy(&mut self) -> Option<ChainEvent> {
        let Mode::Replay(script) = &mut self.mode else { return None };
        let recorded = script.peek()?.clone();
        script.advance();
        self.chain.take(Head { sequence: recorded.sequence, hash: recorded.hash });
        Some(recorded)
    }
}

fn diverged(divergence: Divergence) -> Interruption {
    Interruption::Diverged(Box::new(divergence))
}

/// What was recorded is of another type, or of this one with data that does not read as such.
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
