//! A test with the golden vectors of `tests/vectors`: hashes that another program computed from the format document
//! alone.

use serde::Deserialize;

use super::cbor::{Cbor, CborError};
use super::data::{Call, EventData, Failed, HostCall, Intent, Refused, Return, Started, Stopped};
use super::shown::{GET_CHAIN, ShownEvents, ShownPast};
use super::{ChainEvent, DroppedData, EventHash, EventKind, Salt, UnverifiedChain, sha1};

#[derive(Deserialize)]
struct Vector {
    name: String,
    sequence: u64,
    parent_hash: Option<String>,
    event_type: String,
    data_hex: String,
    data_repeat: usize,
    timestamp: u64,
    hash: String,
    /// Version 3.
    salted: Option<SaltedVector>,
}

/// What the vector of an event of version 3 has beside the rest.
#[derive(Deserialize)]
struct SaltedVector {
    salt: String,
    data_sha256: String,
    preimage_hex: String,
}

#[test]
fn every_golden_event_hashes_to_what_the_document_says() {
    let files = [include_str!("../../tests/vectors/events.json"), include_str!("../../tests/vectors/salted.json")];
    for file in files {
        let vectors: Vec<Vector> = serde_json::from_str(file).expect("the vectors");
        assert!(vectors.len() >= 12);
        vectors.into_iter().for_each(hashes_as_the_document_says);
    }
}

fn hashes_as_the_document_says(vector: Vector) {
    let salt = vector.salted.as_ref().map(|salted| Salt::parse(&salted.salt).expect("a salt"));
    let event = ChainEvent {
        sequence: vector.sequence,
        hash: EventHash([0; 20]),
        parent_hash: vector.parent_hash.map(|text| EventHash::parse(&text).expect("a hash")),
        event_type: vector.event_type.into(),
        data: hex::decode(vector.data_hex).expect("hex").repeat(vector.data_repeat),
        salt,
        dropped: None,
        timestamp: vector.timestamp,
    };
    assert_eq!(EventHash::of(&event).to_string(), vector.hash, "{}", vector.name);
    let kept = DroppedData::of(&event);
    let dropped = ChainEvent { data: Vec::new(), salt: None, dropped: Some(kept), ..event.clone() };
    for event in [&event, &dropped] {
        assert_eq!(EventHash::of_checked(event), Some(EventHash::of(event)), "{}", vector.name);
        assert_eq!(EventHash::of(event).to_string(), vector.hash, "{}", vector.name);
    }
    if let Some(salted) = vector.salted {
        assert_eq!(kept.digest.to_string(), salted.data_sha256, "{}", vector.name);
        let preimage = hex::decode(salted.preimage_hex).expect("hex");
        assert_eq!(hex::encode(sha1(&preimage)), vector.hash, "{}", vector.name);
    }
}

#[test]
fn every_golden_chain_verifies() {
    let chains: [&[u8]; 7] = [
        include_bytes!("../../tests/vectors/counter.chain"),
        include_bytes!("../../tests/vectors/bare.chain"),
        include_bytes!("../../tests/vectors/one.chain"),
        include_bytes!("../../tests/vectors/edges.chain"),
        include_bytes!("../../tests/vectors/salted.chain"),
        include_bytes!("../../tests/vectors/mixed.chain"),
        include_bytes!("../../tests/vectors/dropped.chain"),
    ];
    for chain in chains {
        UnverifiedChain::read(chain).and_then(UnverifiedChain::verify).expect("an honest chain");
    }
}

/// The data of an event, read as what its kind has, and written again.
fn again(event: &ChainEvent) -> Result<Vec<u8>, CborError> {
    fn of<T: EventData>(event: &ChainEvent) -> Result<Vec<u8>, CborError> {
        event.read::<T>().map(|data| data.to_cbor())
    }
    match event.kind().expect("a kind") {
        EventKind::Started => of::<Started>(event),
        EventKind::Call => of::<Call>(event),
        EventKind::Intent => of::<Intent>(event),
        EventKind::HostCall => of::<HostCall>(event),
        EventKind::Return => of::<Return>(event),
        EventKind::Refused => of::<Refused>(event),
        EventKind::Failed => of::<Failed>(event),
        EventKind::Stopped => of::<Stopped>(event),
    }
}

#[test]
fn every_event_of_the_golden_chain_of_version_3_has_the_data_that_its_kind_has() {
    let chain = include_bytes!("../../tests/vectors/salted.chain");
    let chain = UnverifiedChain::read(&chain[..]).and_then(UnverifiedChain::verify).expect("an honest chain");
    for event in chain.events() {
        assert_eq!(again(event).as_ref(), Ok(&event.data), "event {}", event.sequence);
        let older = ChainEvent { salt: None, ..event.clone() };
        let says_more = [0, 3, 5, 8, 12, 13, 14, 16, 18, 23].contains(&event.sequence);
        assert_eq!(again(&older).err(), says_more.then_some(CborError::TooNew), "event {}", event.sequence);
    }
    let called = chain.events().iter().find(|event| event.event_type == GET_CHAIN.host_call).expect("a get-chain");
    let result = called.read::<HostCall>().expect("a host call").result;
    let shown = ShownPast::from_cbor(result.whole().expect("a result"));
    assert_eq!(shown, Ok(ShownPast::Events(ShownEvents { bare: vec![(1, 1), (3, 4)], upto: 6, first: 0 })));
}
