//! The decoded contents of an event, as far as the audit looks at them.

use crate::chain::cbor::{Cbor, CborError};
use crate::chain::data::{Call, Failed, HostCall, Return, Started, StateAfter, Stopped};
use crate::chain::{ChainEvent, EventKind};
use crate::promise::DroppedAtEnd;

pub(super) enum Said {
    Started(Box<Started>),
    /// A call that an event of another actor caused.
    Call(Call),
    HostCall(HostCall),
    /// The state that a `return` names.
    State(StateAfter),
    /// The deliveries that an end names as dropped.
    DroppedDeliveries(DroppedAtEnd),
    /// Nothing that the audit looks at.
    Nothing,
    /// The event's data was dropped.
    Gone,
    Unreadable(CborError),
}

impl Said {
    pub(super) fn by(event: &ChainEvent) -> Self {
        Self::read(event).unwrap_or_else(Self::Unreadable)
    }

    fn read(event: &ChainEvent) -> Result<Self, CborError> {
        if event.dropped.is_some() {
            return Ok(Self::Gone);
        }
        let data = &event.data;
        Ok(match event.kind() {
            Some(EventKind::Started) => Self::Started(Box::new(Started::from_cbor(data)?)),
            Some(EventKind::Call) => {
                let call = Call::from_cbor(data)?;
                if call.cause.is_some() { Self::Call(call) } else { Self::Nothing }
            }
            Some(EventKind::HostCall) => Self::HostCall(HostCall::from_cbor(data)?),
            Some(EventKind::Return) => Self::State(Return::from_cbor(data)?.state),
            Some(EventKind::Failed) => Self::DroppedDeliveries(Failed::from_cbor(data)?.into()),
            Some(EventKind::Stopped) => Self::DroppedDeliveries(Stopped::from_cbor(data)?.into()),
            Some(EventKind::Intent | EventKind::Refused) | None => Self::Nothing,
        })
    }
}
