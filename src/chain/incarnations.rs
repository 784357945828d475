//! The numbers of a chain's incarnations: each `started` has the next one. One gap that earlier versions left is accepted.
//!
//! Those versions counted an incarnation before its `started` was written. Where the transition that it was to resume was
//! given up instead, its number was never used, and the next `started` is two ahead of the one before:
//!
//! ```text
//!   started 3, resumes ── failed, interrupted ── (stopped) ── started 5
//! ```
//!
//! `docs/chain-format.md` §5.4 says the same; `docs/verify_chain.py` is written from there.

use super::cbor::Cbor;
use super::data::{Failed, FailureReason, Started};
use super::event::{ChainEvent, EventKind};
use crate::base::id::Incarnation;

/// The order of the incarnations of one chain, whose events are shown to it one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Incarnations {
    newest: Incarnation,
    since: Since,
}

/// What has come since the newest `started`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    /// Nothing, and it resumes a transition.
    Resumes,
    /// That transition was given up at once.
    GivenUp,
    Anything,
}

impl Incarnations {
    /// Before the first event of a chain.
    pub(crate) fn none() -> Self {
        Self { newest: Incarnation(0), since: Since::Anything }
    }

    /// Somewhere within the incarnation that `started` begins.
    pub(crate) fn within(started: &Started) -> Self {
        Self { newest: started.incarnation, since: Since::Anything }
    }

    /// The next event is a `started`, which says this; or why it cannot be.
    pub(crate) fn begins(&mut self, started: &Started) -> Result<(), String> {
        let (Incarnation(newest), found) = (self.newest, started.incarnation);
        let ahead = found.0.checked_sub(newest);
        let fits = ahead == Some(1) || (ahead == Some(2) && self.since == Since::GivenUp);
        self.newest = found;
        self.since = if started.resumes { Since::Resumes } else { Since::Anything };
        if fits {
            Ok(())
        } else {
            Err(format!("it is incarnation {found}, but {} is the next", newest.saturating_add(1)))
        }
    }

    /// The next event is another than a `started`.
    pub(crate) fn goes_on(&mut self, event: &ChainEvent) {
        self.since = match (self.since, event.kind()) {
            (Since::Resumes, Some(EventKind::Failed)) if may_be_given_up(event) => Since::GivenUp,
            (Since::GivenUp, Some(EventKind::Stopped)) => Since::GivenUp,
            _ => Since::Anything,
        };
    }

    /// The next event, whichever it is; or why it cannot be.
    pub(crate) fn follow(&mut self, event: &ChainEvent) -> Result<(), String> {
        if event.kind() == Some(EventKind::Started) {
            let started = Started::from_cbor(&event.data).map_err(|error| error.to_string())?;
            return self.begins(&started);
        }
        self.goes_on(event);
        Ok(())
    }
}

/// Where its data was dropped, nobody can tell that it is not.
fn may_be_given_up(failed: &ChainEvent) -> bool {
    let interrupted = |failed: Failed| failed.reason == FailureReason::Interrupted;
    failed.dropped.is_some() || Failed::from_cbor(&failed.data).is_ok_and(interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::ActorId;
    use crate::chain::data::{NamedLimits, NamedState, StartReason, Stopped, StoppedBy};
    use crate::chain::{ComponentDigest, DroppedData, StateChain};

    /// A chain in short: `3` starts incarnation 3, `3r` resumes in it, `i` and `t` fail by interruption and by a trap,
    /// `d` fails by what was dropped, `s` stops, `c` calls.
    fn first_refused(chain: &str) -> Option<String> {
        let actor = ActorId::random();
        let mut events = StateChain::new(actor);
        let mut incarnations = Incarnations::none();
        chain.split(' ').find_map(|word| {
            let failed = |reason| Failed { detail: "x".into(), reason, dropped: vec![] }.to_cbor();
            let (kind, data) = match word {
                "i" | "d" => ("failed", failed(FailureReason::Interrupted)),
                "t" => ("failed", failed(FailureReason::Trap)),
                "s" => ("stopped", Stopped { by: StoppedBy::Operator, cause: None, dropped: vec![] }.to_cbor()),
                "c" => ("call ntwk:theater/actor.init", Vec::new()),
                _ => ("started", started(actor, word).to_cbor()),
            };
            let mut event = events.append(kind, data, 0);
            if word == "d" {
                event.data.clear();
                event.dropped = Some(DroppedData { length: 1, sha1: [0; 20] });
            }
            incarnations.follow(&event).err()
        })
    }

    fn started(id: ActorId, word: &str) -> Started {
        Started {
            id,
            fork: None,
            name: String::new(),
            state: NamedState::None,
            limits: NamedLimits(vec![]),
            parent: None,
            reason: StartReason::Recovery,
            resumes: word.ends_with('r'),
            manifest: String::new(),
            component: ComponentDigest([0; 32]),
            incarnation: Incarnation(word.trim_end_matches('r').parse().expect("a number")),
        }
    }

    #[test]
    fn a_number_is_skipped_only_where_a_resumed_transition_was_given_up() {
        for honest in [
            "1 c 2 t 3 s 4",
            "1 c 2r c 3r i 4",
            "1 c 2r i 4 c 5",
            "1 c 2r d 4",
            "1 c 2r i s 4",
            "1 c 2r 3r i 5 c 6r i 8",
        ] {
            assert_eq!(first_refused(honest), None, "{honest}");
        }
        for (wrong, next) in [
            ("2", 1),
            ("0", 1),
            ("1 1", 2),
            ("1 c 3", 2),
            ("1 c i 3", 2),
            ("1 c 2r c i 4", 3),
            ("1 c 2 i 4", 3),
            ("1 c 2r t 4", 3),
            ("1 c 2r s 4", 3),
            ("1 c 2r s i 4", 3),
            ("1 c 2r i c 4", 3),
            ("1 c 2r i i 4", 3),
            ("1 c 2r i 5", 3),
            ("1 c 2r i 2", 3),
            ("1 c 2r i 4 6", 5),
            ("1 18446744073709551615 1", 2),
        ] {
            let why = first_refused(wrong).unwrap_or_else(|| panic!("{wrong} is accepted"));
            assert!(why.ends_with(&format!("but {next} is the next")), "{wrong}: {why}");
        }
    }
}
