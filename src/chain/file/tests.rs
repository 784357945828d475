use super::*;
use crate::base::id::Incarnation;
use crate::chain::cbor::Cbor;
use crate::chain::data::{
    Call, Caller, Encoded, NamedLimits, NamedState, Return, StartReason, Started, StateAfter, Stopped, StoppedBy,
};
use crate::chain::sha1;
use crate::chain::state_chain::StateChain;

const COMPONENT: &[u8] = b"\0asm: a small component";

fn large_state() -> Vec<u8> {
    vec![b'x'; 5_000]
}

fn events(actor: ActorId) -> Vec<ChainEvent> {
    let nothing = || Encoded(().to_cbor());
    let started = Started {
        id: actor,
        fork: None,
        name: "counter".into(),
        state: NamedState::of(Some(&large_state())),
        limits: NamedLimits(vec![]),
        parent: None,
        reason: StartReason::Spawn,
        resumes: false,
        manifest: String::new(),
        component: ComponentDigest::of(COMPONENT),
        incarnation: Incarnation::FIRST,
    };
    let call = Call { cause: None, fresh: true, caller: Caller::Runtime, params: nothing() };
    let returned = Return { state: StateAfter::Unchanged, result: nothing() };
    let stopped = Stopped { by: StoppedBy::Operator, cause: None, dropped: vec![] };
    let mut chain = StateChain::new(actor);
    vec![
        chain.append("started", started.to_cbor(), 1_000),
        chain.append("call ntwk:theater/actor.init", call.to_cbor(), 1_001),
        chain.append("return ntwk:theater/actor.init", returned.to_cbor(), 1_002),
        chain.append("stopped", stopped.to_cbor(), 1_003),
    ]
}

fn file() -> Vec<u8> {
    let actor = ActorId::random();
    let events = events(actor);
    let components = BTreeMap::from([(ComponentDigest::of(COMPONENT), COMPONENT.to_vec())]);
    let blobs = BTreeMap::from([(sha1(&large_state()), large_state())]);
    let header = Header {
        actor,
        component: ComponentDigest::of(COMPONENT),
        attachments: 2,
        events: events.len() as u64,
        version: 1,
        head: events.last().expect("four events").hash,
    };
    let mut writer = ChainFileWriter::begin(Vec::new(), &header, &components, &blobs, &States::new()).expect("memory");
    events.iter().for_each(|event| writer.event(event).expect("memory"));
    writer.finish().expect("memory")
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
fn no_byte_can_be_changed_unnoticed() {
    let honest = file();
    for at in 0..honest.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut altered = honest.clone();
            altered[at] ^= bit;
            assert!(verify(&altered).is_err(), "byte {at} with bit {bit:#x} flipped");
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
    let from_tomorrow = text.replace("\"version\":1", "\"version\":3");
    assert!(matches!(verify(from_tomorrow.as_bytes()), Err(ChainFileError::Version { found: 3 })));
}
