//! What an asynchronous request asks for, as the event that makes it says it.

use super::address::stood_for;
use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::HostCall;
use crate::chain::{ChainEvent, EventKind, Function, function};

pub(crate) const REQUEST_ASYNC: &Function = function!("ntwk:theater/async-requests", "request-async");

/// The parameters of `request-async`: the receiver, the message, the deadline in milliseconds.
pub(crate) type AskParams = (String, Vec<u8>, Option<u64>);

/// What an event asks for that is an asynchronous request, and was not refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AskedMessage {
    pub(crate) to: ActorId,
    pub(crate) message: Vec<u8>,
    pub(crate) within_ms: u64,
}

/// What an event asks for; `None` if it asks for nothing.
pub(crate) fn asked_by(event: &ChainEvent) -> Option<AskedMessage> {
    if event.function() != REQUEST_ASYNC.full || event.kind() != Some(EventKind::HostCall) {
        return None;
    }
    let HostCall { to, params, result, .. } = event.read().ok()?;
    let token = Result::<u64, String>::from_cbor(result.whole()?).ok()?.ok()?;
    let (address, message, within_ms) = AskParams::from_cbor(&params?.0).ok()?;
    let to = stood_for(to, &address).filter(|_| token == event.sequence)?;
    Some(AskedMessage { to, message, within_ms: within_ms? })
}
