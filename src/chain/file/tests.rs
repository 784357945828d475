use super::*;
use crate::base::id::Incarnation;
use crate::chain::Salt;
use crate::chain::cbor::Cbor;
use crate::chain::data::{
    Call, Caller, Encoded, NamedLimits, NamedState, Return, StartReason, Started, StateAfter, Stopped, StoppedBy,
};
use crate::chain::event::DroppedData;
use crate::chain::sha1;
use crate::chain::state_chain::StateChain;

const COMPONENT: &[u8] = b"\0asm: a small component";

fn large_state() -> Vec<u8> {
    vec![b'x'; 5_000]
}

fn started(actor: ActorId) -> Started {
    Started {
        id: actor,
        fork: None,
        rows: None,
        name: "counter".into(),
        ended: false,
        label: None,
        state: NamedState::of(Some(&large_state())),
        limits: NamedLimits(vec![]),
        parent: None,
        reason: StartReason::Spawn,
        resumes: false,
        manifest: String::new(),
        component: ComponentDigest::of(COMPONENT),
        incarnation: Incarnation::FIRST,
    }
}

/// Which of four events have a salt.
type SaltedOnes = [bool; 4];

const OLDER: SaltedOnes = [false; 4];
const SALTED: SaltedOnes = [true; 4];
/// A chain that an older program began.
const MIXED: SaltedOnes = [false, false, true, true];

fn events(actor: ActorId, salted: SaltedOnes) -> Vec<ChainEvent> {
    let nothing = || Encoded(().to_cbor());
    let call = Call::new(None, true, Caller::Runtime, nothing());
    let returned = Return::new(StateAfter::Unchanged, nothing());
    let stopped = Stopped { by: StoppedBy::Operator, cause: None, dropped: vec![] };
    let all = [
        ("started", started(actor).to_cbor()),
        ("call ntwk:theater/actor.init", call.to_cbor()),
        ("return ntwk:theater/actor.init", returned.to_cbor()),
        ("stopped", stopped.to_cbor()),
    ];
    grow(actor, all.into_iter().zip(salted))
}

/// A chain of these types and data, each event with a salt or without one.
fn grow(actor: ActorId, all: impl IntoIterator<Item = ((&'static str, Vec<u8>), bool)>) -> Vec<ChainEvent> {
    let mut chain = StateChain::new(actor);
    let append = |(at, ((event_type, data), salted)): (u64, ((&'static str, Vec<u8>), bool))| {
        chain.append_salted(event_type, data, 1_000 + at, salted.then(|| Salt::draw(actor, at)))
    };
    (0..).zip(all).map(append).collect()
}

/// A file of these events, whatever they are.
fn file_of(actor: ActorId, events: &[ChainEvent], version: u32) -> Vec<u8> {
    let components = BTreeMap::from([(ComponentDigest::of(COMPONENT), COMPONENT.to_vec())]);
    let blobs = BTreeMap::from([(sha1(&large_state()), large_state())]);
    let header = Header {
        actor,
        component: ComponentDigest::of(COMPONENT),
        attachments: 2,
        events: events.len() as u64,
        version,
        head: events.last().expect("some events").hash,
    };
    let mut writer = ChainFileWriter::begin(Vec::new(), &header, &components, &blobs, &States::new()).expect("memory");
    events.iter().for_each(|event| writer.event(event).expect("memory"));
    writer.finish().expect("memory")
}

fn file_with(salted: SaltedOnes) -> Vec<u8> {
    let actor = ActorId::random();
    file_of(actor, &events(actor, salted), if salted == OLDER { 1 } else { 3 })
}

fn file() -> Vec<u8> {
    file_with(OLDER)
}

/// A file of version 3 in which the data of two events was dropped, one of them of version 1.
fn file_with_less() -> Vec<u8> {
    let actor = ActorId::random();
    let mut events = events(actor, MIXED);
    [1, 2].into_iter().for_each(|at| drop_data(&mut events[at]));
    file_of(actor, &events, 3)
}

fn drop_data(event: &mut ChainEvent) {
    event.dropped = Some(DroppedData::of(event));
    (event.data, event.salt) = (Vec::new(), None);
}

fn verify(file: &[u8]) -> Result<VerifiedChain, ChainFileError> {
    UnverifiedChain::read(file)?.verify()
}

#[test]
fn a_written_chain_verifies() {
    let chain = verify(&file()).expect("an honest file");
    assert_eq!((chain.events().len(), chain.incarnations()), (4, 1));
    assert_eq!(chain.chain.components.values().next().map(Vec::as_slice), Some(COMPONENT));
}

#[test]
fn a_written_chain_of_version_3_verifies_with_older_events_before_and_without_dropped_data() {
    for (file, dropped) in [(file_with(SALTED), 0), (file_with(MIXED), 0), (file_with_less(), 2)] {
        let chain = verify(&file).expect("an honest file");
        assert_eq!((chain.events().len(), chain.dropped()), (4, dropped));
        assert!(chain.events()[3].is_salted());
    }
    let kept = String::from_utf8(file_with_less()).expect("JSON");
    assert_eq!(kept.matches("\"data_sha1\"").count(), 1, "of the older event");
    assert_eq!(kept.matches("\"data_sha256\"").count(), 1, "of the newer event");
    assert_eq!(kept.matches("\"salt\"").count(), 1, "the salt went with the data");
}

#[test]
fn no_byte_can_be_changed_unnoticed() {
    let all: [u8; 3] = [0x01, 0x20, 0x80];
    for (honest, bits) in [(file(), &all[..]), (file_with(SALTED), &all[..1]), (file_with_less(), &all[..1])] {
        for at in 0..honest.len() {
            for bit in bits {
                let mut altered = honest.clone();
                altered[at] ^= bit;
                assert!(verify(&altered).is_err(), "byte {at} with bit {bit:#x} flipped");
            }
        }
    }
}

#[test]
fn no_event_of_an_earlier_version_comes_after_one_of_version_3() {
    for at in 1..4 {
        let salted = std::array::from_fn(|event| event != at);
        let actor = ActorId::random();
        let why = verify(&file_of(actor, &events(actor, salted), 3)).expect_err("an older event").to_string();
        assert_eq!(why, format!("event {at}: it has no salt, but an event before it has one"));
    }
}

#[test]
fn the_version_in_the_header_is_that_of_the_newest_event() {
    let actor = ActorId::random();
    let refused = |salted, version| {
        verify(&file_of(actor, &events(actor, salted), version)).expect_err("another version").to_string()
    };
    assert_eq!(refused(OLDER, 2), "the header is not followed by any event without its data, and its version is 2");
    assert_eq!(refused(OLDER, 3), "the header is not followed by any event with a salt, and its version is 3");
    for version in [1, 2] {
        let why = refused(SALTED, version);
        assert!(why.contains("event 0") && why.contains("salt"), "{why}");
    }
}

#[test]
fn an_upgrade_begins_with_the_state_of_its_chain_or_goes_back_to_that_of_the_upgrade_before() {
    let actor = ActorId::random();
    let init = "call ntwk:theater/actor.init";
    let again = |incarnation, reason, state: &[u8]| Started {
        reason,
        incarnation: Incarnation(incarnation),
        state: NamedState::of(Some(state)),
        ..started(actor)
    };
    let call = || (init, Call::new(None, true, Caller::Runtime, Encoded(().to_cbor())).to_cbor());
    let to = |state: &[u8]| {
        let returned = Return::new(StateAfter::Now(NamedState::of(Some(state))), Encoded(().to_cbor()));
        ("return ntwk:theater/actor.init", returned.to_cbor())
    };
    let begin = |started: Started| ("started", started.to_cbor());
    let (upgrade, recovery, restart) = (StartReason::Upgrade, StartReason::Recovery, StartReason::Restart);
    let verified = |more: Vec<(&'static str, Vec<u8>)>, salted: bool| {
        let all: Vec<_> = [begin(started(actor)), call(), to(b"1")].into_iter().chain(more).collect();
        let events = grow(actor, all.into_iter().map(|one| (one, salted)));
        verify(&file_of(actor, &events, if salted { 3 } else { 1 })).map(|_| ()).map_err(|error| error.to_string())
    };
    let migrated = || vec![begin(again(2, upgrade, b"1")), call(), to(b"2")];
    let then = |last: Vec<Started>| migrated().into_iter().chain(last.into_iter().map(begin)).collect::<Vec<_>>();
    for honest in [
        migrated(),
        then(vec![again(3, upgrade, b"2")]),
        then(vec![again(3, upgrade, b"1")]),
        then(vec![again(3, recovery, b"2"), again(4, upgrade, b"1")]),
    ] {
        assert_eq!(verified(honest, true), Ok(()));
    }
    let resumes = Started { resumes: true, ..again(2, upgrade, b"1") };
    for (wrong, why) in [
        (vec![begin(again(2, upgrade, b"0"))], "but the chain has come to the state 1"),
        (then(vec![again(3, upgrade, b"0")]), "but the chain has come to the state 2"),
        (then(vec![again(3, recovery, b"1")]), "but the chain has come to the state 2"),
        (then(vec![again(3, restart, b"2"), again(4, upgrade, b"1")]), "but the chain has come to the state 2"),
        (vec![begin(resumes)], "it is an upgrade, but goes on with a transition"),
    ] {
        let said = verified(wrong, true).expect_err(why);
        assert!(said.ends_with(why), "{said}");
    }
    let first = grow(actor, [(begin(Started { reason: upgrade, ..started(actor) }), true)]);
    let said = verify(&file_of(actor, &first, 3)).expect_err("nothing to upgrade").to_string();
    assert_eq!(said, "event 0: it is the first start of its chain, but its reason is upgrade");
    let said = verified(migrated(), false).expect_err("an upgrade in version 1");
    assert_eq!(said, "event 3: it says what only an event of version 3 can say, and has no salt");
}

#[test]
fn a_label_and_an_end_for_good_are_the_data_of_a_start_of_version_3() {
    let actor = ActorId::random();
    let labelled = Started { label: Some("alice".into()), ..started(actor) };
    let again = Started { ended: true, ..started(actor) };
    for data in [labelled.to_cbor(), again.to_cbor()] {
        for (salted, version, verifies) in [(true, 3, true), (false, 1, false)] {
            let events = grow(actor, [(("started", data.clone()), salted)]);
            assert_eq!(verify(&file_of(actor, &events, version)).is_ok(), verifies);
        }
    }
}

#[test]
fn no_line_can_be_dropped_doubled_or_swapped_unnoticed() {
    let honest = file();
    let lines: Vec<&[u8]> = honest.split_inclusive(|byte| *byte == b'\n').collect();
    for at in 0..lines.len() {
        let without: Vec<u8> = [&lines[..at], &lines[at + 1..]].concat().concat();
        assert!(verify(&without).is_err(), "line {at} dropped");
        let doubled: Vec<u8> = [&lines[..=at], &lines[at..]].concat().concat();
        assert!(verify(&doubled).is_err(), "line {at} doubled");
        if at > 0 {
            let mut swapped = lines.clone();
            swapped.swap(at - 1, at);
            assert!(verify(&swapped.concat()).is_err(), "lines {} and {at} swapped", at - 1);
        }
    }
}

#[test]
fn what_has_no_lines_at_all_is_refused_at_its_beginning() {
    let endless = std::io::BufReader::new(std::io::repeat(0));
    let why = UnverifiedChain::read(endless).expect_err("it has no header").to_string();
    assert_eq!(why, "line 1 is not the header of a chain file: it is longer than 65536 bytes");
}

#[test]
fn a_file_cut_anywhere_is_refused_and_a_cut_line_is_called_truncated() {
    let honest = file();
    for length in 0..honest.len() {
        let error = verify(&honest[..length]).expect_err("a cut file");
        let at_line_end = length > 0 && honest[length - 1] == b'\n';
        assert_eq!(matches!(error, ChainFileError::Truncated { .. }), length > 0 && !at_line_end, "cut at {length}");
    }
}

#[test]
fn the_error_names_the_event() {
    let text = String::from_utf8(file()).expect("JSON");
    let altered = text.replace("\"timestamp\":1002", "\"timestamp\":1003");
    let message = verify(altered.as_bytes()).expect_err("an altered timestamp").to_string();
    assert!(message.starts_with("event 2: its hash is "), "{message}");
    let from_tomorrow = text.replace("\"version\":1", "\"version\":4");
    let refused = verify(from_tomorrow.as_bytes()).expect_err("a later version");
    assert!(matches!(refused, ChainFileError::Version { found: 4 }));
    let named = "the file is a chain of format version 4; this program reads versions 1 to 3";
    assert_eq!(refused.to_string(), named);
}
