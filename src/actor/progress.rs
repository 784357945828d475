//! How far an actor has come: which incarnation its chain has reached, whether it was ever up, how its last incarnation
//! ended.

use std::sync::Arc;

use super::spec::Spec;
use super::trial::Trial;
use crate::base::id::Incarnation;
use crate::system::ActorStatus;

/// What an actor's thread remembers from one incarnation to the next.
pub(super) struct Progress {
    /// Whether the runtime was started again and the actor is not up since. If the actor fails now, its chain does not
    /// record that as its end, and the next start tries again.
    pub(super) recovering: bool,
    /// The status that the recorded end of the last incarnation leads to; none while no end is recorded.
    pub(super) recorded_end: Option<ActorStatus>,
    /// Whether an incarnation has been up before. From then on a failed `init` no longer ends the actor.
    pub(super) was_up: bool,
    /// The actor began with the state of another one.
    pub(super) is_fork: bool,
    /// The newest incarnation on the chain; 0 before the first.
    pub(super) recorded: Incarnation,
    /// Whether the thread has panicked and the actor has not been up since.
    pub(super) panicked: bool,
    /// How many starts in a row have resumed the last resumed transition without finishing it, this start included.
    pub(super) attempts: u64,
    /// The upgrade that is on trial.
    pub(super) trial: Option<Box<Trial>>,
    /// The actor's state is being migrated.
    pub(super) is_migrating: bool,
    /// The incarnation has failed so that the upgrade is taken back.
    pub(super) takes_back: bool,
    /// What the command line names for the actor, while a transition of another build is resumed.
    pub(super) successor: Option<Arc<Spec>>,
}

impl Progress {
    /// The progress of an actor whose thread begins now.
    pub(super) fn new(was_up: bool, is_fork: bool, recorded: Incarnation) -> Self {
        Self {
            recovering: false,
            recorded_end: None,
            was_up,
            is_fork,
            recorded,
            panicked: false,
            attempts: 0,
            trial: None,
            is_migrating: false,
            takes_back: false,
            successor: None,
        }
    }
}
