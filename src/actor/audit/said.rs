//! What an event says that the audit looks at. To read it is much of an audit's work, and needs nothing but the event:
//! a page is read on all cores.

use rayon::prelude::*;

use crate::chain::cbor::{Cbor, CborError};
use crate::chain::data::{Call, Failed, HostCall, Return, Started, StateAfter, Stopped};
use crate::chain::{ChainEvent, EventKind, Link};

pub(super) enum Said {
    Started(Box<Started>),
    Call(Call),
    HostCall(HostCall),
    /// Of a `return`: the state.
    State(StateAfter),
    /// Of an end: the deliveries that nobody will come to.
    DroppedDeliveries(Vec<Option<Link>>),
    /// Nothing that is looked at.
    Nothing,
    /// Its data was dropped.
    Gone,
    Unreadable(CborError),
}

impl Said {
    /// What each event of a page says.
    pub(super) fn by(page: &[ChainEvent]) -> Vec<Self> {
        /// Less is not worth handing over.
        const SHARE: usize = 64;
        page.par_iter().with_min_len(SHARE).map(|event| Self::read(event).unwrap_or_else(Self::Unreadable)).collect()
    }

    fn read(event: &ChainEvent) -> Result<Self, CborError> {
        if event.dropped.is_some() {
            return Ok(Self::Gone);
        }
        let data = &event.data;
        Ok(match event.kind() {
            Some(EventKind::Started) => Self::Started(Box::new(Started::from_cbor(data)?)),
            Some(EventKind::Call) => Self::Call(Call::from_cbor(data)?),
            Some(EventKind::HostCall) => Self::HostCall(HostCall::from_cbor(data)?),
            Some(EventKind::Return) => Self::State(Return::from_cbor(data)?.state),
            Some(EventKind::Failed) => Self::DroppedDeliveries(Failed::from_cbor(data)?.dropped),
            Some(EventKind::Stopped) => Self::DroppedDeliveries(Stopped::from_cbor(data)?.dropped),
            Some(EventKind::Intent | EventKind::Refused) | None => Self::Nothing,
        })
    }
}
