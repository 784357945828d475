//! Checks the incarnation numbers of a chain: each `started` has the next number. One kind of gap is accepted.
//!
//! Earlier versions counted an incarnation before they wrote its `started`. If they then gave up the transition that
//! this incarnation was to resume, they never used the number, and the next `started` is two above the one before:
//!
//! ```text
//!   started 3, resumes ── failed, interrupted ── (stopped) ── started 5
//! ```
//!
//! `docs/chain-format.md` §5.4 specifies this; `docs/verify_chain.py` was written from there.

use super::data::{Failed, FailureReason, Started};
use super::event::{ChainEvent, EventKind};
use crate::base::id::Incarnation;

/// Checks the incarnations of one chain; it is given the chain's events one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Incarnations {
    newest: Incarnation,
    since: Since,
}

/// The events seen since the newest `started`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    /// None, and the `started` resumes a transition.
    Resumes,
    /// The resumed transition was given up at once; no other event except stops came after that.
    GivenUp,
    Anything,
}

impl Incarnations {
    /// The state before the first event of a chain.
    pub(crate) fn none() -> Self {
        Self { newest: Incarnation(0), since: Since::Anything }
    }

    /// The state at some event within the incarnation that `started` begins.
    pub(crate) fn within(started: &Started) -> Self {
        Self { newest: started.incarnation, since: Since::Anything }
    }

    /// Takes a `started`; the error says why it cannot be the next.
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

    /// Takes an event of a kind other than `started`.
    pub(crate) fn goes_on(&mut self, event: &ChainEvent) {
        // This is asked of every event, and the kind seldom matters.
        let is = |kind| event.kind() == Some(kind);
        self.since = match self.since {
            Since::Resumes if is(EventKind::Failed) && may_be_given_up(event) => Since::GivenUp,
            Since::GivenUp if is(EventKind::Stopped) => Since::GivenUp,
            _ => Since::Anything,
        };
    }

    /// Takes an event of any kind; the error says why it cannot be the next.
    pub(crate) fn follow(&mut self, event: &ChainEvent) -> Result<(), String> {
        if event.kind() == Some(EventKind::Started) {
            let started = event.read::<Started>().map_err(|error| error.to_string())?;
            return self.begins(&started);
        }
        self.goes_on(event);
        Ok(())
    }
}

/// Whether a `failed` may record a transition that was given up. If its data was dropped, nobody can rule that out.
fn may_be_given_up(failed: &ChainEvent) -> bool {
    let interrupted = |failed: Failed| failed.reason == FailureReason::Interrupted;
    failed.dropped.is_some() || failed.read().is_ok_and(interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::ActorId;
    use crate::chain::cbor::Cbor;
    use crate::chain::data::{NamedLimits, NamedState, StartReason, Stopped, StoppedBy};
    use crate::chain::{ComponentDigest, DroppedData, StateChain};

    /// A chain in a short notation: `3` starts incarnation 3, `3r` starts it and resumes, `i` fails by interruption,
    /// `t` fails by a trap, `d` fails and its data was dropped, `s` stops, `c` calls.
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
                event.dropped = Some(DroppedData::of(&event));
                event.data.clear();
            }
            incarnations.follow(&event).err()
        })
    }

    fn started(id: ActorId, word: &str) -> Started {
        Started {
            id,
            fork: None,
            rows: None,
            name: String::new(),
            ended: false,
            label: None,
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
