//! Dead letters through a handle: listing them, and sending one again.

use super::history::ReadError;
use crate::base::id::ActorId;
use crate::chain::data::Caller;
use crate::promise::HANDLE_SEND;
use crate::system::{KeyRefusal, NotDelivered, RequestError, TheaterHandle};
use crate::theater::dead_letters::{self, DeadLetter, DeadLetterId};

impl TheaterHandle {
    /// The messages that actors sent to the actor `to`, or to any, and that the receiver never took because it ended; without
    /// those that were sent again. They are found as long as the receiver's end, and the event that sent them, keep their data.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the journal cannot be read.
    pub fn dead_letters(&self, to: Option<ActorId>) -> Result<Vec<DeadLetter>, ReadError> {
        Ok(dead_letters::dead_letters(&self.journal.reader()?, to)?)
    }

    /// Sends a dead letter again, to its receiver or to another actor, and waits until what the actor did with it is on disk.
    /// The letter is taken once: from then on it is no dead letter, also after a crash, and whatever the actor did.
    ///
    /// # Errors
    ///
    /// [`NotDelivered::NotDead`] if there is no such dead letter, or if it was sent again; [`NotDelivered::MessageDropped`] if
    /// its message was dropped; else as [`TheaterHandle::send`].
    pub fn send_dead_letter(&self, id: DeadLetterId, to: Option<ActorId>) -> Result<ActorId, RequestError> {
        // Whoever sends it at the same time has this place, or has called an actor already.
        let begun = self.keyed.begin(&self.journal, id.sender, id.digest(), &id.key());
        let request = begun.ok_or(KeyRefusal::UnderWay)?;
        let unreadable = |error: &dyn ToString| KeyRefusal::Unreadable(error.to_string());
        let reader = self.journal.reader().map_err(|error| unreadable(&error))?;
        let found = dead_letters::dead_letter(&reader, id).map_err(|error| unreadable(&error))?;
        let letter = found.ok_or_else(|| NotDelivered::NotDead(id.to_string()))?;
        let params = letter.params().ok_or_else(|| NotDelivered::MessageDropped(id.to_string()))?;
        let to = to.unwrap_or(letter.to);
        let deadline = self.takes(to, letter.message.as_ref().map_or(0, Vec::len))?;
        let answer = self.deliver_keyed(to, (HANDLE_SEND, params, Caller::Management), request)?;
        self.outcome(&answer, deadline).map(|_| to)
    }
}
