//! Rehearsal: a mode of the recorder in which nothing is live and nothing is compared. The host calls are answered from
//! elsewhere: a test's script, or a chain that was recorded with another build. No effect happens.

use super::{Asked, Mode, Recorder};
use crate::base::seeded_bytes::SeededBytes;
use crate::chain::cbor::Cbor;
use crate::chain::data::Encoded;
use crate::chain::shown::{GET_CHAIN, ShownEvents, ShownPast, shown};
use crate::chain::{ChainEvent, Function, Link, Salt, StateChain};
use crate::guest::interruption::Interruption;
use crate::guest::past::Past;
use crate::journal::Attached;

/// Answers the host calls of a guest that is rehearsed.
pub(crate) trait HostAnswers: Send + Sync {
    /// The encoded result of a host call. [`Interruption::Unanswered`] ends the transition.
    fn answer(&mut self, call: &AskedHost<'_>) -> Result<Vec<u8>, Interruption>;

    /// The timestamp of the events that are recorded now.
    fn unix_ms(&self) -> u64;
}

/// A host call that a guest has made.
pub(crate) struct AskedHost<'a> {
    pub(crate) function: &'static Function,
    /// The parameters: one CBOR item.
    pub(crate) params: &'a [u8],
    /// The sequence of its event, which is the token of a call that gives one.
    pub(crate) sequence: u64,
}

/// What a rehearsal has recorded, and who answers.
pub(super) struct Rehearsed {
    answers: Box<dyn HostAnswers>,
    /// What `get-chain` shows.
    past: Past,
    /// The events since they were last taken.
    events: Vec<ChainEvent>,
}

impl Rehearsed {
    pub(super) fn record(&mut self, chain: &mut StateChain, event_type: &'static str, data: Vec<u8>) -> Link {
        // The same salts in every run: what a guest is shown of its chain does not differ from run to run.
        let salt = SeededBytes::of(chain.next_sequence()).draw(16).try_into().map(Salt).ok();
        let event = chain.append_salted(event_type, data, self.answers.unix_ms(), salt);
        self.past.push(event.clone());
        self.events.push(event);
        chain.head_link().expect("an event was appended")
    }
}

impl Recorder {
    /// A recorder whose host calls `answers` answers. `past` holds the events that the guest may be shown.
    pub(crate) fn rehearsing(chain: StateChain, past: Past, answers: Box<dyn HostAnswers>) -> Self {
        Self::of(chain, Mode::Rehearsal(Rehearsed { answers, past, events: Vec::new() }))
    }

    /// In a rehearsal: the events since this function was last called.
    pub(crate) fn take_rehearsed(&mut self) -> Vec<ChainEvent> {
        match &mut self.mode {
            Mode::Rehearsal(rehearsed) => std::mem::take(&mut rehearsed.events),
            Mode::Live(_) | Mode::Resuming { .. } | Mode::Replay(_) => Vec::new(),
        }
    }

    /// In a rehearsal: makes a host call.
    pub(super) fn rehearse<R: Cbor>(
        &mut self,
        function: &'static Function,
        params: Encoded,
    ) -> Result<R, Interruption> {
        let sequence = self.chain.next_sequence();
        let Mode::Rehearsal(rehearsed) = &mut self.mode else { unreachable!("only a rehearsal is answered here") };
        let answer = rehearsed.answers.answer(&AskedHost { function, params: &params.0, sequence })?;
        let result = R::from_cbor(&answer).map_err(|error| {
            Interruption::Unanswered(format!("the answer to {} is not of the function's type: {error}", function.full))
        })?;
        let asked = Asked { params: Some(params), to: None };
        self.record_host_call(function, asked, &result, None, Attached::default())?;
        Ok(result)
    }

    /// In a rehearsal: the events that `get-chain` shows; `None` in any other mode.
    pub(super) fn rehearse_get_chain(&mut self) -> Option<Result<Vec<ChainEvent>, Interruption>> {
        let Mode::Rehearsal(rehearsed) = &self.mode else { return None };
        let next = self.chain.next_sequence();
        let mut events = rehearsed.past.before(next);
        events.drain(..events.len() - shown(events.iter()));
        let result = ShownPast::Events(ShownEvents::of(&events, next));
        let recorded = self.record_read(GET_CHAIN, Encoded(().to_cbor()), &result);
        Some(recorded.map(|_| events))
    }
}
