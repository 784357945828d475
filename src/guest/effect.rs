//! Effects: what a host function does, as its handler describes it to the recorder, which records it and has it done.

use super::interruption::Interruption;
use crate::base::id::ActorId;
use crate::chain::Link;
use crate::journal::Owed;
use crate::system::Wait;

/// What a host function does that others can notice. The handler decides this live, after it has looked at the
/// arguments.
pub(crate) enum Effect<'a, R> {
    /// Nobody notices it: it reads something outside of the runtime, or refuses an argument. The result is recorded.
    Read(R),
    /// Nobody notices it: it looks at another actor, which may have events that are not on disk yet. The result is
    /// recorded.
    Look(R),
    /// Only the runtime's log notices it. It is recorded first and then done.
    Log { result: R, act: Box<dyn FnOnce() + 'a> },
    /// Others notice it, and it cannot fail any more. It is recorded first and then done; `act` gets the event that
    /// recorded it. `settles` is the sequence of the actor's own event whose promise ends with it.
    Announce { result: R, owes: Option<Owed>, settles: Option<u64>, act: Box<dyn FnOnce(Link) + 'a> },
    /// Another actor notices it and answers. An intent is recorded, then `act` is done, then the answer is recorded
    /// with the event that it came from. Made by [`Effect::act`].
    Act { owes: Option<Owed>, act: Box<Act<'a, R>> },
    /// The effect, of a host call whose address stood for this actor: the id is recorded.
    To(ActorId, Box<Self>),
    /// The world outside the runtime notices it. It is done once its intent is on disk. Made by [`Effect::outside`].
    Outside(Box<dyn FnOnce() -> Result<R, Interruption> + 'a>),
}

type Act<'a, R> = dyn FnOnce(Link, &mut Option<Wait>) -> Result<Answered<R>, Interruption> + 'a;

impl<'a, R> Effect<'a, R> {
    /// The same effect, on the actor that `address` stood for. An id stands for itself.
    pub(crate) fn to(self, address: &str, actor: ActorId) -> Self {
        if address.parse() == Ok(actor) { self } else { Self::To(actor, Box::new(self)) }
    }

    /// An effect on another actor. `act` does it once the intent is recorded. If `act` waits for that actor, it leaves
    /// its registered wait with the recorder, and the recorder ends the wait after the event that settles it is
    /// enqueued, and not earlier.
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

/// Whether a host call is made for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    First,
    /// The intent is on the chain and the answer is not: the process ended between the two. A handler finds out the
    /// outcome if it can. If it cannot, it does not do the effect again.
    Again {
        intent: Link,
        /// The actor that the address among the parameters stood for, unless the address is an id.
        to: Option<ActorId>,
    },
}

/// The error that a guest gets for an effect on the outside that a crash interrupted.
pub(crate) const OUTCOME_UNKNOWN: &str = "interrupted: outcome unknown";

/// An act outside of the runtime. Its inner error is the answer that the guest gets.
type ActOutside<'a, T> = Box<dyn FnOnce() -> Result<Result<T, String>, Interruption> + 'a>;

impl<'a, T: 'a> Effect<'a, Result<T, String>> {
    /// An effect on the world outside. `prepare` looks at the arguments first; its error is the answer, and then
    /// nothing is done. An effect that a crash interrupted is never done twice.
    pub(crate) fn outside(attempt: &Attempt, prepare: impl FnOnce() -> Result<ActOutside<'a, T>, String>) -> Self {
        match attempt {
            Attempt::Again { .. } => Self::Read(Err(OUTCOME_UNKNOWN.to_owned())),
            Attempt::First => prepare().map_or_else(|why| Self::Read(Err(why)), Self::Outside),
        }
    }
}
