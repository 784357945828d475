//! Dead letters: messages that one actor sent another and that the receiver never took, because it ended. The end on the
//! receiver's chain names each by the event that sent it.
//!
//! ```text
//!   sender's chain    … host-call send ◀─────────────┐ named as dropped
//!   receiver's chain            … stopped or failed ─┘
//!   anyone's chain                         … call handle-send, with the key "dead letter UUID:SEQUENCE": sent again
//! ```
//!
//! A dead letter that is sent again is a call with an idempotency key of the runtime's own. The call and its key are one event,
//! so a crash leaves the letter dead or taken, and nothing between.

use std::fmt;
use std::str::FromStr;

use crate::base::id::ActorId;
use crate::chain::data::{Caller, Failed, Stopped};
use crate::chain::{ChainEvent, EventKind, KeyDigest, Link};
use crate::journal::{ActorRow, JournalReader, ReadResult};
use crate::promise::{SEND, message_sent, sent_to};

/// Which dead letter: the event that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadLetterId {
    /// The actor that sent it.
    pub sender: ActorId,
    /// The sequence of the event on the sender's chain.
    pub sequence: u64,
}

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sender, self.sequence)
    }
}

impl FromStr for DeadLetterId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (sender, sequence) = text.split_once(':')?;
            Some(Self { sender: sender.parse().ok()?, sequence: sequence.parse().ok()? })
        };
        read().ok_or_else(|| format!("{text:?} is no dead letter: theater dead-letters lists them, as UUID:NUMBER"))
    }
}

impl DeadLetterId {
    /// The key of the call that takes it when it is sent again. It has blanks, so no client can give it.
    pub(crate) fn key(self) -> String {
        format!("dead letter {self}")
    }

    pub(crate) fn digest(self) -> KeyDigest {
        KeyDigest::of(Caller::Management, &self.key())
    }
}

/// A message that was sent and that its receiver never took.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The event that sent it.
    pub id: DeadLetterId,
    /// The receiver.
    pub to: ActorId,
    /// When it was sent, in milliseconds since the Unix epoch; none if the sender's chain is not in this journal.
    pub sent_ms: Option<u64>,
    /// When the receiver ended.
    pub dropped_ms: u64,
    /// How the receiver ended: `stopped`, or `failed` and the reason.
    pub why: String,
    /// The message; none if its data was dropped by a prune or a redaction.
    pub message: Option<Vec<u8>>,
}

impl DeadLetter {
    /// The message as the parameters of the export that takes it.
    pub(crate) fn params(&self) -> Option<Vec<u8>> {
        use crate::chain::cbor::Cbor;
        self.message.clone().map(|message| (message,).to_cbor())
    }
}

/// The dead letters to an actor, or to all, that were not sent again: by receiver, each in the order in which they were
/// dropped. What an end says whose data was dropped is not known any more.
pub(crate) fn dead_letters(reader: &JournalReader, to: Option<ActorId>) -> ReadResult<Vec<DeadLetter>> {
    let mut letters = Vec::new();
    for row in reader.actors()?.iter().filter(|row| to.is_none_or(|to| row.actor.id == to)) {
        dead_letters_to(reader, row, |letter| letters.push(letter))?;
    }
    Ok(letters)
}

/// The dead letter of this id; none if there is none, or if it was sent again.
pub(crate) fn dead_letter(reader: &JournalReader, id: DeadLetterId) -> ReadResult<Option<DeadLetter>> {
    let Some(sender) = reader.actor_of(id.sender)? else { return Ok(None) };
    let event = reader.event_of(sender.actor, id.sequence)?;
    if event.as_ref().is_some_and(|event| event.dropped.is_some()) {
        // Who was to get it is not known any more.
        return Ok(dead_letters(reader, None)?.into_iter().find(|letter| letter.id == id));
    }
    let receiver = event.as_ref().and_then(sent_to).map(|to| reader.actor_of(to)).transpose()?.flatten();
    let mut found = None;
    if let Some(receiver) = receiver {
        dead_letters_to(reader, &receiver, |letter| {
            found = found.take().or(Some(letter).filter(|letter| letter.id == id))
        })?;
    }
    Ok(found)
}

fn dead_letters_to(reader: &JournalReader, row: &ActorRow, mut show: impl FnMut(DeadLetter)) -> ReadResult<()> {
    for end in reader.ends(row.actor)? {
        let Some((why, dropped)) = said(&end) else { continue };
        for Link { actor, sequence, .. } in dropped.into_iter().flatten() {
            let id = DeadLetterId { sender: actor, sequence };
            let sender = reader.actor_of(actor)?;
            let event = sender.map(|sender| reader.event_of(sender.actor, sequence)).transpose()?.flatten();
            // The sender of a request is told; and a notice is no message.
            let is_send = event.as_ref().is_none_or(|event| *event.event_type == *SEND.host_call);
            if !is_send || reader.holder_of(id.digest())?.is_some() {
                continue;
            }
            show(DeadLetter {
                id,
                to: row.actor.id,
                sent_ms: event.as_ref().map(|event| event.timestamp),
                dropped_ms: end.timestamp,
                why: why.clone(),
                message: event
                    .as_ref()
                    .filter(|event| event.dropped.is_none())
                    .and_then(|event| message_sent(&event.data)),
            });
        }
    }
    Ok(())
}

/// How an incarnation ended, and which deliveries the end names as dropped.
fn said(end: &ChainEvent) -> Option<(String, Vec<Option<Link>>)> {
    match end.kind() {
        Some(EventKind::Failed) => {
            let Failed { detail, reason, dropped } = end.read().ok()?;
            Some((format!("failed: {reason}: {detail}"), dropped))
        }
        Some(EventKind::Stopped) => end.read().ok().map(|Stopped { dropped, .. }| ("stopped".to_owned(), dropped)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::idempotency::is_key;

    #[test]
    fn the_id_of_a_dead_letter_is_read_as_it_is_written_and_its_key_is_nobody_elses() {
        let id = DeadLetterId { sender: ActorId::random(), sequence: 17 };
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", ":", "17", "x:17", &format!("{}:", id.sender), &format!("{}:-1", id.sender)] {
            assert!(wrong.parse::<DeadLetterId>().is_err(), "{wrong}");
        }
        assert!(!is_key(&id.key()));
    }
}
