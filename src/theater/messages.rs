//! Messages from outside the runtime: what an embedder, or the management server, sends to an actor or asks of it.

use std::sync::Arc;

use crate::base::id::ActorId;
use crate::chain::Function;
use crate::chain::cbor::Cbor;
use crate::chain::data::Caller;
use crate::promise::{HANDLE_REQUEST, HANDLE_SEND};
use crate::system::{NoAnswer, Outcome, Refusal, TheaterHandle};

impl TheaterHandle {
    /// Asks an actor, as another actor would, and waits until its answer is on disk. The text of the error says whether
    /// the message was worked on.
    pub fn request(&self, id: ActorId, message: Vec<u8>) -> Result<Vec<u8>, String> {
        let result = self.call(id, HANDLE_REQUEST, message)?;
        Vec::from_cbor(&result).map_err(|error| error.to_string())
    }

    /// Sends an actor a message that has no answer, and waits until what it did with it is on disk.
    pub fn send(&self, id: ActorId, message: Vec<u8>) -> Result<(), String> {
        self.call(id, HANDLE_SEND, message).map(drop)
    }

    /// Has an export called with a message, and waits for the transition to be on disk.
    fn call(&self, id: ActorId, function: &'static Function, message: Vec<u8>) -> Result<Vec<u8>, String> {
        let limits = self.registry.entry(id, |entry| Arc::clone(&entry.limits));
        let limits = limits.ok_or_else(|| format!("no such actor: {id}"))?;
        if message.len() as u64 > limits.message_bytes {
            let limit = limits.message_bytes;
            return Err(Refusal::TooLarge { size: message.len(), limit }.to_string());
        }
        let params = (message,).to_cbor();
        let delivered = self.deliver(id, function, params, Caller::Management);
        let answer = delivered.map_err(|refusal| refusal.to_string())?;
        let deadline = limits.request_deadline();
        match answer.within(deadline).map(|answer| answer.outcome) {
            Ok(Outcome::Returned(result)) => Ok(result),
            Ok(Outcome::Refused(message)) => Err(format!("refused: {message}")),
            Ok(Outcome::Failed(why)) => Err(format!("failed: {why}")),
            Ok(Outcome::Stopped) => Err("outcome unknown: the actor was stopped while it worked on it".into()),
            Ok(Outcome::Dropped(why)) => Err(format!("not delivered: the actor {why}")),
            Err(NoAnswer::NotDelivered) => {
                Err(format!("not delivered: the actor did not come to it within {} ms", deadline.as_millis()))
            }
            Err(NoAnswer::OutcomeUnknown) => {
                Err(format!("outcome unknown: no answer within {} ms", deadline.as_millis()))
            }
            // It may be in the middle of it, and the next start goes on with that.
            Err(NoAnswer::Gone) if self.registry.is_suspending() => {
                Err("outcome unknown: the runtime is shutting down".into())
            }
            Err(NoAnswer::Gone) => Err("outcome unknown: the actor has ended without an answer".into()),
        }
    }
}
