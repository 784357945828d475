//! A delivery: one item in a mailbox. It names an export to be called, and who gets the answer.

use super::reply::Reply;
use crate::chain::data::Caller;
use crate::chain::{Function, Link};

/// One export to be called, and who gets the answer.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) function: &'static Function,
    /// The parameters, as one CBOR item.
    pub(crate) params: Vec<u8>,
    pub(crate) caller: Caller,
    /// The event of another actor that led to this delivery.
    pub(crate) cause: Option<Link>,
    pub(crate) reply: Reply,
}
