//! The host calls of a table, as a chain has them: which functions there are, what an event writes, and how it names the rows
//! that a read has shown.
//!
//! A table is the fold over the writes of the transitions that closed with a `return`. So whoever has all events of a chain can
//! make its table again, and whoever reads it can tell which events the rows come from.

use sha2::{Digest, Sha256};

use super::cbor::Cbor;
use super::data::{CallResult, HostCall};
use super::function::{Function, function};
use super::hash::EventHash;

pub(crate) const GET: &Function = function!("ntwk:theater/table", "get");
pub(crate) const PUT: &Function = function!("ntwk:theater/table", "put");
pub(crate) const DELETE: &Function = function!("ntwk:theater/table", "delete");
pub(crate) const SCAN: &Function = function!("ntwk:theater/table", "scan");
pub(crate) const COUNT: &Function = function!("ntwk:theater/table", "count");

/// What all event types of its host calls begin with.
const HOST_CALL: &str = "host-call ntwk:theater/table.";

/// What one event writes: the value of a key, or nothing in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableWrite {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
}

/// Whether an event of this type may write to a table.
pub(crate) fn may_write(event_type: &str) -> bool {
    event_type.starts_with(HOST_CALL) && (event_type == PUT.host_call || event_type == DELETE.host_call)
}

/// What an event with this type and data writes; none if it writes nothing, or was refused.
pub(crate) fn write_of(event_type: &str, data: &[u8]) -> Option<TableWrite> {
    if !may_write(event_type) {
        return None;
    }
    let HostCall { params: Some(params), result: CallResult::Whole(result), .. } = HostCall::from_cbor(data).ok()?
    else {
        return None;
    };
    if event_type == PUT.host_call {
        Result::<(), String>::from_cbor(&result.0).ok()?.ok()?;
        let (key, value) = <(Vec<u8>, Vec<u8>)>::from_cbor(&params.0).ok()?;
        return Some(TableWrite { key, value: Some(value) });
    }
    Result::<bool, String>::from_cbor(&result.0).ok()?.ok()?;
    let (key,) = <(Vec<u8>,)>::from_cbor(&params.0).ok()?;
    Some(TableWrite { key, value: None })
}

/// The digest that names rows: the SHA-256 of the hashes of the events that wrote them, in the order of the rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadDigest(Sha256);

impl ReadDigest {
    pub(crate) fn add(&mut self, hash: &EventHash) {
        self.0.update(hash.0);
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

/// The same for a few rows.
pub(crate) fn digest_of_read<'a>(rows: impl IntoIterator<Item = &'a EventHash>) -> [u8; 32] {
    let mut digest = ReadDigest::default();
    rows.into_iter().for_each(|hash| digest.add(hash));
    digest.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::data::Encoded;

    fn event<P: Cbor, R: Cbor>(params: &P, result: &R) -> Vec<u8> {
        HostCall::new(None, Some(Encoded(params.to_cbor())), Encoded(result.to_cbor())).to_cbor()
    }

    #[test]
    fn what_an_event_writes_is_read_from_it_and_what_was_refused_writes_nothing() {
        let put = event(&(b"k".to_vec(), b"v".to_vec()), &Ok::<(), String>(()));
        let written = TableWrite { key: b"k".to_vec(), value: Some(b"v".to_vec()) };
        assert_eq!(write_of(PUT.host_call, &put), Some(written));
        let refused = event(&(b"k".to_vec(), b"v".to_vec()), &Err::<(), _>("no".to_owned()));
        assert_eq!(write_of(PUT.host_call, &refused), None);
        for was_there in [true, false] {
            let delete = event(&(b"k".to_vec(),), &Ok::<_, String>(was_there));
            assert_eq!(write_of(DELETE.host_call, &delete), Some(TableWrite { key: b"k".to_vec(), value: None }));
        }
        assert_eq!(write_of(GET.host_call, &put), None);
        assert_eq!(write_of(PUT.host_call, b"\xff"), None, "damaged data");
    }
}
