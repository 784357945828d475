//! The data of an event as JSON for people: what an actor has said as the JSON or the text that it is, and hashes in hex.

use serde_json::Value as Json;

use super::cbor::Value;
use super::event::ChainEvent;

/// What an actor or a host function has said: a key in there is theirs, whatever it is called.
const SAID: [&str; 2] = ["params", "result"];
/// Where the data of an event has a hash or a digest.
const HASHES: [&str; 5] = ["hash", "sha1", "component", "digest", "rows"];

impl ChainEvent {
    /// The data as JSON, as `theater events --json` shows it: a byte string is the JSON that it holds, or else its
    /// text, or else `{"base64": "…"}`; a hash or digest of the event itself is in hex. None if the data was dropped, or is
    /// not valid event data.
    pub fn data_as_json(&self) -> Option<Json> {
        if self.dropped.is_some() {
            return None;
        }
        match Value::parse(&self.data).ok()? {
            Value::Map(entries) => {
                let shown = |(key, value): &(&str, Value<'_>)| {
                    let said = SAID.contains(key);
                    ((*key).to_owned(), if said { value.to_json() } else { with_hashes(key, value) })
                };
                Some(Json::Object(entries.iter().map(shown).collect()))
            }
            other => Some(other.to_json()),
        }
    }
}

fn with_hashes(key: &str, value: &Value<'_>) -> Json {
    match value {
        Value::Bytes(bytes) if HASHES.contains(&key) => hex::encode(bytes).into(),
        Value::Map(entries) => {
            entries.iter().map(|(key, value)| ((*key).to_owned(), with_hashes(key, value))).collect::<Json>()
        }
        Value::Array(items) => items.iter().map(|item| with_hashes(key, item)).collect(),
        other => other.to_json(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::ActorId;
    use crate::chain::cbor::Cbor;
    use crate::chain::data::{CallResult, Encoded, Failed, FailureReason, HostCall, NamedState, Return, StateAfter};
    use crate::chain::{EventHash, Link, StateChain};

    fn shown(data: Vec<u8>) -> Json {
        StateChain::new(ActorId::random()).append("started", data, 0).data_as_json().expect("valid data")
    }

    #[test]
    fn hashes_are_in_hex_even_if_they_happen_to_be_text() {
        // Twenty letters, and a digest that is JSON.
        let link = Link { actor: ActorId::random(), sequence: 4, hash: EventHash(*b"ABCDEFGHIJKLMNOPQRST") };
        let hash = "4142434445464748494a4b4c4d4e4f5051525354";
        let said = Encoded((b"ABCDEFGHIJKLMNOPQRST".to_vec(),).to_cbor());
        let call = HostCall {
            result: CallResult::Digest(*b"11111111111111111111111111111111"),
            ..HostCall::new(Some(link.clone()), Some(said.clone()), said)
        };
        let json = shown(call.to_cbor());
        assert_eq!((&json["answer"]["hash"], &json["digest"]), (&hash.into(), &"31".repeat(32).into()));
        assert_eq!(json["params"][0], "ABCDEFGHIJKLMNOPQRST", "what an actor has said is what it said");
        let failed = Failed { detail: "oh".into(), reason: FailureReason::Trap, dropped: vec![None, Some(link)] };
        assert_eq!(shown(failed.to_cbor())["dropped"][1]["hash"], hash);
        let state = StateAfter::Now(NamedState::Digest { len: 5_000, sha1: *b"ABCDEFGHIJKLMNOPQRST" });
        let returned = shown(Return::new(state, Encoded(().to_cbor())).to_cbor());
        assert_eq!(returned["state"]["sha1"], hash);
    }

    #[test]
    fn a_record_of_an_actor_with_a_key_of_that_name_is_shown_as_it_is() {
        let record = Value::Map(vec![("hash", Value::Bytes(b"ABCDEFGHIJKLMNOPQRST"))]);
        let call = HostCall::new(None, None, Encoded(record.to_bytes()));
        assert_eq!(shown(call.to_cbor())["result"]["hash"], "ABCDEFGHIJKLMNOPQRST");
    }
}
