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
//! A handler that uses it has recording and replay for nothing.

use std::borrow::Cow;

use super::interruption::Interruption;
use super::script::{Divergence, Script, compare};
use crate::base::clock;
use crate::base::limits::{GUEST_CHAIN_BYTES, GUEST_CHAIN_EVENTS};
use crate::chain::cbor::Cbor;
use crate::chain::data::{Encoded, HostCall, Intent};
use crate::chain::{ChainEvent, EventKind, Function, Link, StateChain};
use crate::journal::{ActorKey, JournalDown, JournalHandle, Record, StateWrite};

/// What a host function does, as far as others can see it. Decided live, after the arguments were looked at.
pub(crate) enum Effect<'a, R> {
    /// Nobody sees it (a read, a refused argument): the result is recorded.
    Read(R),
    /// Others see it, and it cannot fail any more: recorded first, then done, naming the event.
    Announce(R, Box<dyn FnOnce(Link) + 'a>),
    /// Another actor sees it, and it has an answer: an intent is recorded, then it is done, then the answer recorded
    /// with the event it came from.
    Act(Box<dyn FnOnce(Link) -> Result<Answered<R>, Interruption> + 'a>),
}

/// A result, and the event of another actor that it came from.
pub(crate) struct Answered<R> {
    pub(crate) result: R,
    pub(crate) answer: Option<Link>,
}

/// One actor's recorder; it owns the chain.
pub(crate) struct Recorder {
    chain: StateChain,
    mode: Mode,
}

enum Mode {
    Live { journal: JournalHandle, actor: ActorKey },
    Replay(Script),
}

impl Recorder {
    pub(crate) fn live(chain: StateChain, journal: JournalHandle, actor: ActorKey) -> Self {
        Self { chain, mode: Mode::Live { journal, actor } }
    }

    pub(crate) fn replaying(chain: StateChain, script: Script) -> Self {
        Self { chain, mode: Mode::Replay(script) }
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
        state: Option<StateWrite>,
    ) -> Result<Link, Interruption> {
        match &mut self.mode {
            Mode::Live { journal, actor } => {
                let event = self.chain.append(event_type, data, clock::unix_ms());
                journal
                    .enqueue(Record::Event(*actor, event, state))
                    .map_err(|JournalDown| Interruption::JournalDown)?;
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
            }
        }
        Ok(self.chain.head_link().expect("an event was appended"))
    }

    /// One host call: the only way in which anything reaches a guest while it runs.
    ///
    /// `effect` runs live only: it looks at the arguments and decides what kind of effect it is to be. An
    /// [`Interruption`] from it, or from the effect, ends the transition and is not recorded as an answer.
    pub(crate) fn host_call<'a, P: Cbor, R: Cbor>(
        &mut self,
        function: &'static Function,
        params: &P,
        effect: impl FnOnce() -> Result<Effect<'a, R>, Interruption>,
    ) -> wasmtime::Result<R> {
        let params = Encoded(params.to_cbor());
        let done = match &self.mode {
            Mode::Live { .. } => effect().and_then(|effect| self.host_call_live(function, params, effect)),
            Mode::Replay(_) => self.host_call_replayed(function, params),
        };
        done.map_err(wasmtime::Error::new)
    }

    fn host_call_live<R: Cbor>(
        &mut self,
        function: &'static Function,
        params: Encoded,
        effect: Effect<'_, R>,
    ) -> Result<R, Interruption> {
        match effect {
            Effect::Read(result) => {
                self.record_host_call(function, Some(params), &result, None)?;
                Ok(result)
            }
            Effect::Announce(result, act) => {
                let announced = self.record_host_call(function, Some(params), &result, None)?;
                act(announced);
                Ok(result)
            }
            Effect::Act(act) => {
                let intent = self.record(function.intent, Intent { params }.to_cbor(), None)?;
                let Answered { result, answer } = act(intent)?;
                self.record_host_call(function, None, &result, answer)?;
                Ok(result)
            }
        }
    }

    fn record_host_call<R: Cbor>(
        &mut self,
        function: &'static Function,
        params: Option<Encoded>,
        result: &R,
        answer: Option<Link>,
    ) -> Result<Link, Interruption> {
        let data = HostCall { answer, params, result: Encoded(result.to_cbor()) }.to_cbor();
        self.record(function.host_call, data, None)
    }

    /// The result and the answering event are inputs; that this function was called with these parameters is not.
    fn host_call_replayed<R: Cbor>(&mut self, function: &'static Function, params: Encoded) -> Result<R, Interruption> {
        let mut params = Some(params);
        if self.recorded()?.kind() == Some(EventKind::Intent) {
            let intent = Intent { params: params.take().expect("not taken yet") };
            self.record(function.intent, intent.to_cbor(), None)?;
            self.stop_where_it_was_ended()?;
        }
        let recorded = self.recorded()?;
        let before = match recorded.kind() {
            Some(EventKind::HostCall) => HostCall::from_cbor(&recorded.data).ok(),
            _ => None,
        };
        let Some(before) = before else {
            return Err(diverged(compare_type(recorded, function.host_call)));
        };
        let result = before.result.clone();
        let again = HostCall { answer: before.answer, params, result: before.result };
        self.record(function.host_call, again.to_cbor(), None)?;
        let result = R::from_cbor(&result.0).map_err(|error| {
            diverged(Divergence {
                sequence: self.chain.next_sequence() - 1,
                field: "data.result".into(),
                recorded: error.to_string().into(),
                actual: function.full.into(),
            })
        })?;
        self.stop_where_it_was_ended()?;
        Ok(result)
    }

    /// Replaying: whether the transition was ended from outside at this very place.
    pub(crate) fn stop_where_it_was_ended(&self) -> Result<(), Interruption> {
        match &self.mode {
            Mode::Replay(script) if script.ends_from_outside() => Err(Interruption::RecordedEnd),
            Mode::Replay(_) | Mode::Live { .. } => Ok(()),
        }
    }

    /// The newest events before the one with sequence `upto`, within what a guest is shown.
    pub(crate) fn past(&self, upto: u64) -> Result<Vec<ChainEvent>, Interruption> {
        let from = upto.saturating_sub(GUEST_CHAIN_EVENTS);
        let mut events = match &self.mode {
            Mode::Live { journal, actor } => {
                self.flush()?;
                let read = journal.reader().and_then(|reader| {
                    reader
                        .events(*actor, from, upto - from, usize::MAX)
                        .map_err(|error| crate::journal::JournalError::Read { path: journal.dir().to_owned(), error })
                });
                read.map_err(|error| {
                    log::error!("{error}");
                    Interruption::JournalDown
                })?
            }
            Mode::Replay(script) => {
                script.past().iter().filter(|event| (from..upto).contains(&event.sequence)).cloned().collect()
            }
        };
        let mut bytes = 0;
        let shown = events.iter().rev().take_while(|event| {
            bytes += event.data.len();
            bytes <= GUEST_CHAIN_BYTES
        });
        let hidden = events.len() - shown.count();
        events.drain(..hidden);
        Ok(events)
    }

    /// Live: waits until everything recorded so far is on disk.
    fn flush(&self) -> Result<(), Interruption> {
        match &self.mode {
            Mode::Live { journal, .. } => journal.flush().map_err(|JournalDown| Interruption::JournalDown),
            Mode::Replay(_) => Ok(()),
        }
    }

    /// Replaying: the event that comes next. Asked of a live recorder it is a defect.
    fn recorded(&self) -> Result<&ChainEvent, Interruption> {
        let Mode::Replay(script) = &self.mode else { unreachable!("only replay asks what was recorded") };
        script.peek().ok_or_else(|| diverged(past_the_end(&self.chain, "a further host call")))
    }

    /// Replaying: what is still to come, if anything.
    pub(crate) fn upcoming(&self) -> Option<&ChainEvent> {
        match &self.mode {
            Mode::Replay(script) => script.peek(),
            Mode::Live { .. } => None,
        }
    }

    /// Replaying: takes the next event as it was recorded, because it is an input.
    pub(crate) fn copy(&mut self) -> Option<ChainEvent> {
        let Mode::Replay(script) = &mut self.mode else { return None };
        let recorded = script.peek()?.clone();
        script.advance();
        let event_type: Cow<'static, str> = recorded.event_type.clone();
        let again = self.chain.append(event_type, recorded.data.clone(), recorded.timestamp);
        assert_eq!(again.hash, recorded.hash, "a verified chain copies hash for hash");
        Some(recorded)
    }
}

fn diverged(divergence: Divergence) -> Interruption {
    Interruption::Diverged(Box::new(divergence))
}

fn compare_type(recorded: &ChainEvent, event_type: &str) -> Divergence {
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
