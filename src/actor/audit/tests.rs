//! Tests of the audit on journals that are written here, event by event.

use std::path::Path;

use super::*;
use crate::actor::Recording;
use crate::base::id::Incarnation;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Failed, FailureReason, NamedLimits, NamedState, StartReason, Started};
use crate::chain::{Salt, StateChain};
use crate::journal::{ActorKey, ActorStarted, Attached, DataDir, Durability, Journal, Listener, Record};

/// Writes a journal of one actor whose incarnations have these numbers. Each incarnation but the first resumes a
/// transition, and each ends with a failure for `reason`. The events of version 1 are named.
fn journal(dir: &Path, numbers: &[u64], reason: FailureReason, of_version_1: &[u64]) -> ActorKey {
    let listener = Listener { committed: Box::new(|_| ()), failed: Box::new(|_| ()) };
    let dir = DataDir::open(dir).expect("a directory");
    let journal = Journal::open(dir, Durability::Relaxed, 1 << 20, listener).expect("a journal");
    let actor = journal.handle().new_actor(ActorId::random());
    let mut chain = StateChain::new(actor.id);
    let mut write = |kind: &'static str, data: Vec<u8>, begins: Option<Box<ActorStarted>>| {
        let sequence = chain.next_sequence();
        let salt = (!of_version_1.contains(&sequence)).then(|| Salt::draw(actor.id, sequence));
        let event = chain.append_salted(kind, data, 0, salt);
        let attached = Attached { begins, ..Attached::default() };
        journal.handle().enqueue(Record::Event(actor, event, attached)).expect("an open journal");
    };
    for (at, number) in numbers.iter().enumerate() {
        let (incarnation, component) = (Incarnation(*number), ComponentDigest([0; 32]));
        let started = Started {
            id: actor.id,
            fork: None,
            rows: None,
            name: "counted".into(),
            ended: false,
            label: None,
            state: NamedState::None,
            limits: NamedLimits(vec![]),
            parent: None,
            reason: if at == 0 { StartReason::Spawn } else { StartReason::Recovery },
            resumes: at > 0,
            manifest: String::new(),
            component,
            incarnation,
        };
        let row = ActorStarted {
            name: "counted".into(),
            parent: None,
            incarnation,
            component,
            manifest: "".into(),
            manifest_path: String::new(),
            attempts: 0,
        };
        write("started", started.to_cbor(), Some(Box::new(row)));
        write("failed", Failed { detail: "x".into(), reason, dropped: vec![] }.to_cbor(), None);
    }
    journal.close();
    actor
}

/// The findings of an audit about the order of incarnations, and the error of a replay that reads the same journal.
fn said(numbers: &[u64], reason: FailureReason) -> (Vec<String>, Option<String>) {
    said_of(numbers, reason, &[], "incarnation")
}

fn said_of(numbers: &[u64], reason: FailureReason, of_version_1: &[u64], word: &str) -> (Vec<String>, Option<String>) {
    let dir = tempfile::tempdir().expect("a directory");
    let actor = journal(dir.path(), numbers, reason, of_version_1);
    let findings = audit(dir.path()).expect("it is read").findings.into_iter();
    let findings = findings.filter(|finding| finding.contains(word));
    let findings = findings.map(|finding| finding.rsplit("): ").next().unwrap_or_default().to_owned()).collect();
    let reader = crate::journal::open_to_read(dir.path()).expect("a journal");
    let recording = Recording::of_journal(reader, actor);
    (findings, recording.why_it_is_not_followed())
}

#[test]
fn an_incarnation_that_is_missing_or_there_twice_is_found_in_a_journal_as_in_a_file() {
    for (numbers, honest) in [
        (&[1, 2, 3][..], true),
        (&[1, 2, 4], true),
        (&[1, 2, 4, 6], true),
        (&[1, 3], false),
        (&[1, 2, 5], false),
        (&[1, 2, 2], false),
        (&[2, 3], false),
    ] {
        let (found, replay) = said(numbers, FailureReason::Interrupted);
        assert_eq!((found.is_empty(), replay.is_none()), (honest, honest), "{numbers:?}: {found:?}, {replay:?}");
        assert!(honest || found[0] == *replay.as_ref().expect("it refuses"), "{found:?}, {replay:?}");
    }
    let (found, _) = said(&[1, 2, 4], FailureReason::Trap);
    assert_eq!(found, ["event 4: it is incarnation 4, but 3 is the next"]);
}

#[test]
fn an_event_of_version_1_after_one_of_version_3_is_found_in_a_journal_as_in_a_file() {
    for older in [&[][..], &[0], &[0, 1, 2], &[0, 1, 2, 3]] {
        let (found, replay) = said_of(&[1, 2], FailureReason::Interrupted, older, "salt");
        assert_eq!((found, replay), (vec![], None), "{older:?}");
    }
    for (older, refused) in [(&[1][..], 1), (&[0, 2], 2), (&[0, 1, 3], 3), (&[2, 3], 2)] {
        let (found, replay) = said_of(&[1, 2], FailureReason::Interrupted, older, "salt");
        let why = ChainBroken::Unsalted { sequence: refused }.to_string();
        assert_eq!((found, replay), (vec![why.clone()], Some(why)), "{older:?}");
    }
}
