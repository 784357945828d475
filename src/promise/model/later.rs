//! Answers that come later, in the model: requests that an actor does not wait for, and answers that an actor puts off.

use super::actors::{AskedLater, At, Given};
use super::runtime::{ModelRuntime, More};
use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Caller, Encoded, HostCall};
use crate::journal::{Cause, Owed, REPLY as REPLY_ROW};
use crate::promise::deferred::outcome_of;
use crate::promise::{DEFER, HANDLE_REPLY, HANDLE_REQUEST, Promise, REPLY, REQUEST_ASYNC, told_reply, too_late};
use crate::system::{Answer, CameOf, DueReply};

impl ModelRuntime {
    /// A reply for an asker that does not wait: it has no edge.
    pub(super) fn new_later_reply(&mut self, asker: ActorId) -> usize {
        let wait = self.waits.begin_anyway(asker, asker);
        self.waits.end(wait);
        let reply = self.new_reply(wait);
        self.replies[reply].is_later = true;
        reply
    }

    pub(super) fn ask(&mut self, i: usize, to: usize) {
        if !self.actors[to].takes_messages() {
            return;
        }
        let (asker, receiver) = (self.actors[i].id, self.actors[to].id);
        let (address, stood_for) = self.address(receiver);
        let token = self.actors[i].chain.next_sequence();
        let params = Encoded((address, Vec::<u8>::new(), Some(1_u64)).to_cbor());
        let asked = HostCall::new(None, Some(params), Encoded(Ok::<u64, String>(token).to_cbor()));
        let asked = HostCall { to: stood_for, ..asked };
        let owes = Some(Owed { receiver: asker, notice: Some(REPLY_ROW), boot: None });
        let cause = self.record(i, REQUEST_ASYNC.host_call, asked.to_cbor(), More { owes, ..More::default() });
        let reply = self.new_later_reply(asker);
        self.actors[i].asked.push(AskedLater { token, to: receiver, reply });
        self.deliver(to, HANDLE_REQUEST, cause, Some(reply));
    }

    /// Puts off the answer of the call that the actor is in, whether or not an actor waits for it.
    pub(super) fn defer(&mut self, i: usize) {
        let is_request = self.actors[i].work.as_ref().is_some_and(|work| work.function == HANDLE_REQUEST.full);
        if !is_request || self.actors[i].putting_off.is_some() {
            return;
        }
        let token = self.actors[i].chain.next_sequence();
        let result = Encoded(Ok::<u64, String>(token).to_cbor());
        let put_off = HostCall::new(None, Some(Encoded(().to_cbor())), result);
        let owes = Promise::DeferredAnswer.owed(self.actors[i].id);
        self.record(i, DEFER.host_call, put_off.to_cbor(), More { owes, ..More::default() });
        self.actors[i].putting_off = Some(token);
    }

    /// Gives the oldest answer that the actor has put off, if there is one.
    pub(super) fn give_put_off(&mut self, i: usize) {
        let actor = self.actors[i].id;
        let Some((token, reply)) = self.actors[i].deferred.pop_first() else { return };
        let reply = reply.filter(|reply| !self.replies[*reply].is_given_up);
        let answer: Result<Vec<u8>, String> = if self.rng.one_in(4) { Err("no".into()) } else { Ok(Vec::new()) };
        let result = reply.map(|_| ()).ok_or_else(|| too_late(token));
        let params = Encoded((token, answer.clone()).to_cbor());
        let gave = HostCall { of: Some(token), ..HostCall::new(None, Some(params), Encoded(result.to_cbor())) };
        let more = More { settles: vec![Cause { actor, sequence: token }], ..More::default() };
        let closing = Some(self.record(i, REPLY.host_call, gave.to_cbor(), more));
        let answer = Given::Answer(Answer { outcome: outcome_of(answer), closing });
        self.actors[i].at = At::Closed { reply, answer, is_enqueued: true, then: Box::new(At::Working) };
    }

    /// Tells an actor of an answer that has come, or of a deadline that has passed.
    pub(super) fn told_later(&mut self, i: usize) -> bool {
        let replies = &self.replies;
        let come = self.actors[i].asked.iter().position(|asked| replies[asked.reply].given.is_some());
        let has_passed = self.budget == 0 || self.rng.one_in(12);
        let Some(at) = come.or((has_passed && !self.actors[i].asked.is_empty()).then_some(0)) else { return false };
        let AskedLater { token, to, reply } = self.actors[i].asked.remove(at);
        self.withdraw(reply);
        let came = match self.replies[reply].given.clone() {
            Some(Given::Answer(answer)) => CameOf::Answer(answer),
            Some(given) => unreachable!("no answer to a message: {given:?}"),
            None if self.replies[reply].withdrawn => CameOf::NotDelivered,
            None => CameOf::OutcomeUnknown,
        };
        let (params, cause) = told_reply(DueReply { token, to, within_ms: 1, came });
        self.call(i, HANDLE_REPLY, params, (Caller::Runtime, Some(token)), (cause, None));
        true
    }

    /// The actor has ended for good: it asks for nothing any more, and who waits for its answers is told.
    pub(super) fn nothing_later(&mut self, i: usize, answer: &Answer) {
        for asked in std::mem::take(&mut self.actors[i].asked) {
            self.withdraw(asked.reply);
        }
        for reply in std::mem::take(&mut self.actors[i].deferred).into_values().flatten() {
            if answer.closing.is_some() {
                self.waits.end(self.replies[reply].wait);
            }
            self.replies[reply].given = Some(Given::Answer(answer.clone()));
        }
    }

    /// Whether the row of a delivery is its sender's own.
    pub(super) fn is_later(&self, reply: Option<usize>) -> bool {
        reply.is_some_and(|reply| self.replies[reply].is_later)
    }

    /// Keeps the reply of a call that has put off its answer.
    pub(super) fn keep_put_off(&mut self, i: usize, token: u64, reply: Option<usize>) {
        self.actors[i].deferred.insert(token, reply);
        self.actors[i].at = At::Idle;
    }
}
