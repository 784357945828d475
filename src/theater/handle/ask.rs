//! Messages from outside the runtime: what an embedder, or the management server, sends to an actor or asks of it.

use std::sync::Arc;
use std::time::Duration;

use crate::base::id::ActorId;
use crate::base::limits::Limits;
use crate::chain::Function;
use crate::chain::cbor::Cbor;
use crate::chain::data::Caller;
use crate::chain::idempotency::is_key;
use crate::promise::{HANDLE_REQUEST, HANDLE_SEND, answered_later};
use crate::system::{
    AwaitedReply, Keyed, KeyedDelivery, NoAnswer, NotDelivered, OutcomeUnknown, RequestError, TheaterHandle,
};

impl TheaterHandle {
    /// Asks an actor something, as another actor would, and waits until its answer is on disk: at most as long as the
    /// actor's limit `request_deadline_ms` says, 30 seconds by default. If the actor's manifest has `reads = "early"`, and
    /// the request has changed nothing, the call returns as soon as the state that the actor read is on disk.
    ///
    /// # Errors
    ///
    /// The variant of [`RequestError`] says whether the actor can have worked on the message.
    pub fn request(&self, id: ActorId, message: impl Into<Vec<u8>>) -> Result<Vec<u8>, RequestError> {
        self.answer(id, message.into(), None)
    }

    /// Like [`TheaterHandle::request`], and waits at most `within`.
    ///
    /// # Errors
    ///
    /// After `within`: [`NotDelivered::Deadline`] if the actor had not begun to work on the message, which is then
    /// withdrawn; [`crate::OutcomeUnknown::Deadline`] if the actor had begun, and then it goes on working.
    pub fn request_within(
        &self,
        id: ActorId,
        message: impl Into<Vec<u8>>,
        within: Duration,
    ) -> Result<Vec<u8>, RequestError> {
        self.answer(id, message.into(), Some(within))
    }

    /// Sends an actor a message that has no answer, and waits until what the actor did with it is on disk: at most as long
    /// as the actor's limit `request_deadline_ms` says.
    ///
    /// # Errors
    ///
    /// As [`TheaterHandle::request`].
    pub fn send(&self, id: ActorId, message: impl Into<Vec<u8>>) -> Result<(), RequestError> {
        self.call(id, HANDLE_SEND, message.into(), None).map(drop)
    }

    /// Like [`TheaterHandle::send`], and waits at most `within`.
    ///
    /// # Errors
    ///
    /// As [`TheaterHandle::request_within`].
    pub fn send_within(&self, id: ActorId, message: impl Into<Vec<u8>>, within: Duration) -> Result<(), RequestError> {
        self.call(id, HANDLE_SEND, message.into(), Some(within)).map(drop)
    }

    /// Like [`TheaterHandle::request`], for a message that may be sent again with the same id: the actor works on it once, and
    /// each further call gets the recorded answer, also after a crash. If the actor failed or was stopped while it worked on
    /// the message, there is no answer, and the message is delivered again.
    ///
    /// # Errors
    ///
    /// As [`TheaterHandle::request`]; and [`NotDelivered::AtWork`], [`NotDelivered::IdOfAnother`], [`NotDelivered::AnswerDropped`]
    /// or [`NotDelivered::NotAnId`].
    pub fn request_once(
        &self,
        id: ActorId,
        message_id: &str,
        message: impl Into<Vec<u8>>,
    ) -> Result<Vec<u8>, RequestError> {
        let result = self.call_once(id, HANDLE_REQUEST, message_id, message.into())?;
        Vec::from_cbor(&result).map_err(|error| RequestError::Unreadable(error.to_string()))
    }

    /// Like [`TheaterHandle::send`], for a message that may be sent again with the same id: the actor works on it once.
    ///
    /// # Errors
    ///
    /// As [`TheaterHandle::request_once`].
    pub fn send_once(&self, id: ActorId, message_id: &str, message: impl Into<Vec<u8>>) -> Result<(), RequestError> {
        self.call_once(id, HANDLE_SEND, message_id, message.into()).map(drop)
    }

    /// The limits that an actor runs under now, or none if no listed actor has this id.
    pub fn limits(&self, id: ActorId) -> Option<Limits> {
        self.registry.entry(id, |entry| (*entry.limits).clone())
    }

    fn answer(&self, id: ActorId, message: Vec<u8>, within: Option<Duration>) -> Result<Vec<u8>, RequestError> {
        let result = self.call(id, HANDLE_REQUEST, message, within)?;
        Vec::from_cbor(&result).map_err(|error| RequestError::Unreadable(error.to_string()))
    }

    /// Delivers a message to an export, and waits until the transition is on disk.
    fn call(
        &self,
        id: ActorId,
        function: &'static Function,
        message: Vec<u8>,
        within: Option<Duration>,
    ) -> Result<Vec<u8>, RequestError> {
        let deadline = self.takes(id, message.len())?;
        let answer = self.deliver(id, function, (message,).to_cbor(), Caller::Management)?;
        self.outcome(&answer, within.unwrap_or(deadline))
    }

    /// The same for a message that an id names.
    fn call_once(
        &self,
        id: ActorId,
        function: &'static Function,
        message_id: &str,
        message: Vec<u8>,
    ) -> Result<Vec<u8>, RequestError> {
        if !is_key(message_id) {
            return Err(NotDelivered::NotAnId(message_id.to_owned()).into());
        }
        let deadline = self.takes(id, message.len())?;
        let params = (message,).to_cbor();
        let is_same = |recorded: &[u8]| recorded == params;
        let (caller, key) = (Caller::Management, message_id);
        let (params, given_later) = (params.clone(), answered_later as fn(&_) -> _);
        let delivery = KeyedDelivery { function, params, caller, key, is_same: &is_same, given_later };
        match self.deliver_once(id, delivery)? {
            Keyed::New(answer) => self.outcome(&answer, deadline),
            Keyed::Before(outcome) => RequestError::or_result(outcome),
        }
    }

    /// Whether an actor takes a message of so many bytes; and how long an answer may take.
    pub(super) fn takes(&self, id: ActorId, bytes: usize) -> Result<Duration, RequestError> {
        let limits = self.registry.entry(id, |entry| Arc::clone(&entry.limits));
        let limits = limits.ok_or(RequestError::NoSuchActor(id))?;
        if bytes as u64 > limits.message_bytes {
            return Err(NotDelivered::TooLarge { size: bytes, limit: limits.message_bytes }.into());
        }
        Ok(limits.request_deadline())
    }

    pub(super) fn outcome(&self, answer: &AwaitedReply, within: Duration) -> Result<Vec<u8>, RequestError> {
        match answer.within(within) {
            Ok(answer) => RequestError::or_result(answer.outcome),
            // The actor may be working on the message; then the next start goes on with it.
            Err(NoAnswer::Gone) if self.registry.is_suspending() => Err(OutcomeUnknown::ShuttingDown.into()),
            Err(none) => Err(RequestError::of_no_answer(none, within)),
        }
    }
}
