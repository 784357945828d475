//! Verifying a chain that was read: nothing of it is believed, and each thing that is wrong is named with its event.

use std::collections::{BTreeMap, BTreeSet};

use super::{ChainFileError, UnverifiedChain, VerifiedChain};
use crate::chain::cbor::Cbor;
use crate::chain::data::{NamedState, Return, Started, StateAfter};
use crate::chain::event::{ChainEvent, EventKind};
use crate::chain::hash::{ComponentDigest, sha1};
use crate::chain::incarnations::Incarnations;
use crate::chain::state_chain::{Head, first_broken};

impl UnverifiedChain {
    /// Checks everything: each hash and link, the header against the events, the attachments against their names.
    pub fn verify(self) -> Result<VerifiedChain, ChainFileError> {
        if let Some((_, broken)) = first_broken(None, &self.events) {
            return Err(broken.into());
        }
        let found = self.events.len() as u64;
        let Some(last) = self.events.last() else {
            return Err(ChainFileError::Header { why: "a chain has at least one event".into() });
        };
        let head = Head { sequence: last.sequence, hash: last.hash };
        if found != self.header.events {
            return Err(ChainFileError::EventCount { announced: self.header.events, found });
        }
        if head.hash != self.header.head {
            let (announced, found) = (self.header.head, head.hash);
            return Err(ChainFileError::WrongHead { sequence: head.sequence, announced, found });
        }
        if self.header.version > 1 && self.events.iter().all(|event| event.dropped.is_none()) {
            return Err(ChainFileError::Header { why: "it is of version 2, but all data is there".into() });
        }
        self.verify_header_and_attachments()?;
        Ok(VerifiedChain { chain: self, head })
    }

    fn verify_header_and_attachments(&self) -> Result<(), ChainFileError> {
        let found = (self.components.len() + self.blobs.len() + self.states.len()) as u64;
        if found != self.header.attachments {
            return Err(ChainFileError::AttachmentCount { announced: self.header.attachments, found });
        }
        let mut named_components = BTreeSet::new();
        let mut named_states = BTreeMap::new();
        let mut newest = None;
        let mut incarnations = Incarnations::none();
        for event in &self.events {
            if event.kind() != Some(EventKind::Started) {
                incarnations.goes_on(event);
                continue;
            }
            let started = Started::from_cbor(&event.data)
                .map_err(|error| ChainFileError::Data { sequence: event.sequence, why: error.to_string() })?;
            if started.id != self.header.actor {
                return Err(self.disagrees("actor", self.header.actor, event, started.id));
            }
            let ordered = incarnations.begins(&started);
            ordered.map_err(|why| ChainFileError::Data { sequence: event.sequence, why })?;
            named_components.insert(started.component);
            if let NamedState::Digest { sha1, len } = started.state {
                named_states.insert(sha1, len);
            }
            newest = Some((event, started.component));
        }
        if let Some((event, component)) = newest
            && component != self.header.component
        {
            return Err(self.disagrees("component", self.header.component, event, component));
        }
        self.verify_attachments(&named_components, &named_states)
    }

    fn verify_attachments(
        &self,
        components: &BTreeSet<ComponentDigest>,
        states: &BTreeMap<[u8; 20], u64>,
    ) -> Result<(), ChainFileError> {
        let check = |name: String, is_named: bool, matches: bool| match (is_named, matches) {
            (true, true) => Ok(()),
            (false, _) => Err(ChainFileError::Attachment { name, why: "no event names it".into() }),
            (true, false) => {
                Err(ChainFileError::Attachment { name, why: "its bytes are not the ones that are named".into() })
            }
        };
        for (sequence, state) in &self.states {
            self.verify_state(*sequence, state.as_deref())?;
        }
        for (digest, bytes) in &self.components {
            check(digest.to_string(), components.contains(digest), ComponentDigest::of(bytes) == *digest)?;
        }
        for (digest, bytes) in &self.blobs {
            let len = states.get(digest);
            let matches = sha1(bytes) == *digest && len == Some(&(bytes.len() as u64));
            check(hex::encode(digest), len.is_some(), matches)?;
        }
        Ok(())
    }

    /// A state is the one that its event names, where it names one and its data is there.
    fn verify_state(&self, sequence: u64, state: Option<&[u8]>) -> Result<(), ChainFileError> {
        let refused =
            |why: &str| Err(ChainFileError::Attachment { name: format!("state {sequence}"), why: why.into() });
        let event = usize::try_from(sequence).ok().and_then(|at| self.events.get(at));
        let named = match event.map(|event| (event.kind(), event)) {
            Some((Some(EventKind::Started), event)) => Started::from_cbor(&event.data).ok().map(|it| it.state),
            Some((Some(EventKind::Return), event)) => match Return::from_cbor(&event.data).map(|it| it.state) {
                Ok(StateAfter::Now(named)) => Some(named),
                Ok(StateAfter::Unchanged) | Err(_) => None,
            },
            Some((Some(EventKind::Refused), _)) => None,
            _ => return refused("no incarnation begins and no transition ends with that event"),
        };
        match named {
            Some(named) if named != NamedState::of(state) => refused("it is not the state that the event names"),
            _ => Ok(()),
        }
    }

    fn disagrees(
        &self,
        field: &'static str,
        announced: impl ToString,
        event: &ChainEvent,
        found: impl ToString,
    ) -> ChainFileError {
        let (announced, found) = (announced.to_string(), found.to_string());
        ChainFileError::HeaderDisagrees { field, announced, sequence: event.sequence, found }
    }
}
