//! A test with the golden vectors of `tests/vectors`: hashes that another program computed from the format document
//! alone.

use serde::Deserialize;

use super::{ChainEvent, EventHash, UnverifiedChain};

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
}

#[test]
fn every_golden_event_hashes_to_what_the_document_says() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../tests/vectors/events.json")).expect("the vectors");
    assert!(vectors.len() >= 12);
    for vector in vectors {
        let event = ChainEvent {
            sequence: vector.sequence,
            hash: EventHash([0; 20]),
            parent_hash: vector.parent_hash.map(|text| EventHash::parse(&text).expect("a hash")),
            event_type: vector.event_type.into(),
            data: hex::decode(vector.data_hex).expect("hex").repeat(vector.data_repeat),
            dropped: None,
            timestamp: vector.timestamp,
        };
        assert_eq!(EventHash::of(&event).to_string(), vector.hash, "{}", vector.name);
        assert_eq!(EventHash::of_checked(&event), Some(EventHash::of(&event)), "{}", vector.name);
    }
}

#[test]
fn every_golden_chain_verifies() {
    let chains: [&[u8]; 4] = [
        include_bytes!("../../tests/vectors/counter.chain"),
        include_bytes!("../../tests/vectors/bare.chain"),
        include_bytes!("../../tests/vectors/one.chain"),
        include_bytes!("../../tests/vectors/edges.chain"),
    ];
    for chain in chains {
        UnverifiedChain::read(chain).and_then(UnverifiedChain::verify).expect("an honest chain");
    }
}
