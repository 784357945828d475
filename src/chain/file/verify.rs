//! Verifies a chain file piece by piece, and names each fault with its event. Verified events are not kept, only what
//! is needed to check the rest, so a chain may have any length.

use std::collections::{BTreeMap, BTreeSet};

use super::read::Attachment;
use super::{ChainFileContents, ChainFileError, FileRow, Header, UnverifiedChain, VerifiedChain};
use crate::chain::course::{StateCourse, StateOnChain};
use crate::chain::data::{NamedState, Started};
use crate::chain::dropped::DroppedEvents;
use crate::chain::event::{ChainEvent, EventKind};
use crate::chain::hash::{ComponentDigest, sha1};
use crate::chain::incarnations::Incarnations;
use crate::chain::state_chain::{Head, Salting, first_broken};
use crate::chain::table::ReadDigest;

impl UnverifiedChain {
    /// Verifies each hash and link, the header against the events, and the attachments against their names.
    pub fn verify(self) -> Result<VerifiedChain, ChainFileError> {
        let mut verification = Verification::new(self.header.clone());
        self.components.iter().for_each(|(digest, bytes)| verification.component(*digest, bytes));
        self.blobs.iter().for_each(|(name, bytes)| verification.blob(*name, bytes));
        self.states.iter().for_each(|(sequence, state)| verification.state(*sequence, state.as_deref()));
        self.rows.iter().for_each(|(sequence, row)| verification.row(*sequence, row));
        verification.events(&self.events)?;
        Ok(VerifiedChain { contents: verification.finish()?, chain: self })
    }
}

/// The progress of a verification, and what is needed to check the rest of the file.
pub(super) struct Verification {
    header: Header,
    /// The attached components, each with whether its bytes hash to its name.
    components: BTreeMap<ComponentDigest, bool>,
    /// The attached blobs, each with its length and whether its bytes hash to its name.
    blobs: BTreeMap<[u8; 20], (u64, bool)>,
    states: BTreeMap<u64, Mark>,
    /// The attached states whose events have not been reached yet.
    states_ahead: BTreeSet<u64>,
    /// The digest of the attached rows after each event that was not reached yet.
    rows: BTreeMap<u64, ReadDigest>,
    attached_rows: u64,
    head: Option<Head>,
    /// Whether an event of version 3 was seen. From there on, every event is of version 3.
    salting: Salting,
    incarnations: Incarnations,
    /// The newest `started`: its sequence and its component.
    newest: Option<(u64, ComponentDigest)>,
    /// The components that `started` events name.
    named_components: BTreeSet<ComponentDigest>,
    named_states: BTreeMap<[u8; 20], u64>,
    course: Option<StateCourse>,
    /// Whether the newest `started` resumes a transition.
    resumes: bool,
    dropped: DroppedEvents,
    begun: Vec<u64>,
    calls: u64,
    starts: Vec<u64>,
    unvouched: Vec<u64>,
}

/// Length and digest of a state: enough to compare it with the state that an event names.
#[derive(PartialEq, Eq)]
enum Mark {
    None,
    Some { len: u64, sha1: [u8; 20] },
}

impl Mark {
    fn of(state: Option<&[u8]>) -> Self {
        state.map_or(Self::None, |bytes| Self::Some { len: bytes.len() as u64, sha1: sha1(bytes) })
    }

    fn of_named(named: &NamedState) -> Self {
        match named {
            NamedState::None => Self::None,
            NamedState::Inline(bytes) => Self::of(Some(bytes)),
            NamedState::Digest { len, sha1 } => Self::Some { len: *len, sha1: *sha1 },
        }
    }
}

impl Verification {
    pub(super) fn new(header: Header) -> Self {
        Self {
            header,
            components: BTreeMap::new(),
            blobs: BTreeMap::new(),
            states: BTreeMap::new(),
            states_ahead: BTreeSet::new(),
            rows: BTreeMap::new(),
            attached_rows: 0,
            head: None,
            salting: Salting::default(),
            incarnations: Incarnations::none(),
            newest: None,
            named_components: BTreeSet::new(),
            named_states: BTreeMap::new(),
            course: None,
            resumes: false,
            dropped: DroppedEvents::default(),
            begun: Vec::new(),
            calls: 0,
            starts: Vec::new(),
            unvouched: Vec::new(),
        }
    }

    pub(super) fn attachment(&mut self, attachment: &Attachment) {
        match attachment {
            Attachment::Component(digest, bytes) => self.component(*digest, bytes),
            Attachment::Blob(name, bytes) => self.blob(*name, bytes),
            Attachment::State(sequence, state) => self.state(*sequence, state.as_deref()),
            Attachment::Row(sequence, row) => self.row(*sequence, row),
        }
    }

    fn component(&mut self, digest: ComponentDigest, bytes: &[u8]) {
        self.components.insert(digest, ComponentDigest::of(bytes) == digest);
    }

    fn blob(&mut self, name: [u8; 20], bytes: &[u8]) {
        self.blobs.insert(name, (bytes.len() as u64, sha1(bytes) == name));
    }

    fn state(&mut self, sequence: u64, state: Option<&[u8]>) {
        self.states.insert(sequence, Mark::of(state));
        self.states_ahead.insert(sequence);
    }

    fn row(&mut self, sequence: u64, row: &FileRow) {
        self.attached_rows += 1;
        self.rows.entry(sequence).or_default().add(&row.hash);
    }

    /// Verifies the next events: each hash and link, each start, and the states that are attached after them.
    pub(super) fn events(&mut self, events: &[ChainEvent]) -> Result<(), ChainFileError> {
        if let Some((_, broken)) = first_broken(self.head.as_ref(), events) {
            return Err(broken.into());
        }
        for event in events {
            self.head = Some(Head { sequence: event.sequence, hash: event.hash });
            self.salting.follow(event)?;
            if event.dropped.is_some() {
                self.dropped.add(event.sequence);
            }
            self.calls += u64::from(event.kind() == Some(EventKind::Call));
            if event.kind() == Some(EventKind::Started) {
                self.begun.push(event.sequence);
                self.started(event)?;
            } else if let Some(course) = &mut self.course {
                course.pass(event);
                self.incarnations.goes_on(event);
            }
            if self.states_ahead.first() == Some(&event.sequence) {
                self.states_ahead.pop_first();
                self.verify_state(event)?;
            }
            if let Some(digest) = self.rows.remove(&event.sequence) {
                self.verify_rows(event, digest)?;
            }
        }
        Ok(())
    }

    /// Checks that rows are attached where a replay can begin, and that a fork begins with those that it names.
    fn verify_rows(&self, event: &ChainEvent, digest: ReadDigest) -> Result<(), ChainFileError> {
        let sequence = event.sequence;
        let refused = |why: &str| {
            Err(ChainFileError::Attachment { name: format!("the rows after event {sequence}"), why: why.into() })
        };
        if sequence > 0 {
            let is_a_start = self.starts.last() == Some(&sequence) || self.unvouched.last() == Some(&sequence);
            return if is_a_start { Ok(()) } else { refused("no replay can begin with that event") };
        }
        let named = event.read::<Started>().ok().and_then(|started| started.rows);
        match named {
            None => refused("the chain begins with none"),
            Some(named) if named != digest.finish() => refused("the chain begins with others"),
            Some(_) => Ok(()),
        }
    }

    fn started(&mut self, event: &ChainEvent) -> Result<(), ChainFileError> {
        let wrong = |why: String| ChainFileError::Data { sequence: event.sequence, why };
        let started = event.read::<Started>().map_err(|error| wrong(error.to_string()))?;
        if started.id != self.header.actor {
            return Err(disagrees("actor", self.header.actor, event.sequence, started.id));
        }
        self.incarnations.begins(&started).map_err(wrong)?;
        match &mut self.course {
            None => self.course = Some(StateCourse::begin(&started).map_err(wrong)?),
            Some(course) => course.start(&started).map_err(wrong)?,
        }
        self.resumes = started.resumes;
        let mut has_its_state = true;
        self.named_components.insert(started.component);
        if let NamedState::Digest { sha1, len } = started.state {
            self.named_states.insert(sha1, len);
            has_its_state = self.blobs.contains_key(&sha1);
        }
        if has_its_state && !started.resumes {
            self.starts.push(event.sequence);
        }
        self.newest = Some((event.sequence, started.component));
        Ok(())
    }

    /// Checks that an attached state is the one that the latest event with a state names.
    fn verify_state(&mut self, event: &ChainEvent) -> Result<(), ChainFileError> {
        let sequence = event.sequence;
        let refused = |why: String| Err(ChainFileError::Attachment { name: format!("state {sequence}"), why });
        if !matches!(event.kind(), Some(EventKind::Started | EventKind::Return | EventKind::Refused)) {
            return refused("no incarnation begins and no transition ends with that event".into());
        }
        let Some(course) = &self.course else { return Ok(()) };
        match course.now() {
            StateOnChain::Named(named) if self.states.get(&sequence) != Some(&Mark::of_named(named)) => {
                refused(format!("the state after that event is another: {named}"))
            }
            StateOnChain::Named(_) => {
                // A replay cannot begin within a transition that was resumed.
                let resumes = event.kind() == Some(EventKind::Started) && self.resumes;
                if self.starts.last() != Some(&sequence) && !resumes {
                    self.starts.push(sequence);
                }
                Ok(())
            }
            StateOnChain::Lost(_) => {
                self.unvouched.push(sequence);
                Ok(())
            }
        }
    }

    /// Checks what only the end of the file can show.
    pub(super) fn finish(self) -> Result<ChainFileContents, ChainFileError> {
        let Some(head) = self.head else {
            return Err(ChainFileError::Lacks { what: "any event, and a chain has at least one" });
        };
        let found = head.sequence + 1;
        if found != self.header.events {
            return Err(ChainFileError::EventCount { announced: self.header.events, found });
        }
        if head.hash != self.header.head {
            let (announced, found) = (self.header.head, head.hash);
            return Err(ChainFileError::WrongHead { sequence: head.sequence, announced, found });
        }
        match self.header.version {
            2 if self.dropped.is_empty() => {
                return Err(ChainFileError::Lacks { what: "any event without its data, and its version is 2" });
            }
            3 if !self.salting.has_begun() => {
                return Err(ChainFileError::Lacks { what: "any event with a salt, and its version is 3" });
            }
            _ => {}
        }
        if let Some((sequence, component)) = self.newest
            && component != self.header.component
        {
            return Err(disagrees("component", self.header.component, sequence, component));
        }
        self.finish_attachments()?;
        let Self { header, begun, calls, dropped, starts, unvouched, .. } = self;
        Ok(ChainFileContents {
            header,
            head,
            incarnations: begun.len() as u64,
            begun,
            calls,
            dropped,
            starts,
            unvouched,
        })
    }

    fn finish_attachments(&self) -> Result<(), ChainFileError> {
        let found = (self.components.len() + self.blobs.len() + self.states.len()) as u64 + self.attached_rows;
        if found != self.header.attachments {
            return Err(ChainFileError::AttachmentCount { announced: self.header.attachments, found });
        }
        let check = |name: String, is_named: bool, matches: bool| match (is_named, matches) {
            (true, true) => Ok(()),
            (false, _) => Err(ChainFileError::Attachment { name, why: "no event names it".into() }),
            (true, false) => {
                Err(ChainFileError::Attachment { name, why: "its bytes are not the ones that are named".into() })
            }
        };
        if let Some(sequence) = self.states_ahead.first() {
            let name = format!("state {sequence}");
            return Err(ChainFileError::Attachment { name, why: "the chain has no such event".into() });
        }
        if let Some(sequence) = self.rows.keys().next() {
            let name = format!("the rows after event {sequence}");
            return Err(ChainFileError::Attachment { name, why: "the chain has no such event".into() });
        }
        for (digest, matches) in &self.components {
            check(digest.to_string(), self.named_components.contains(digest), *matches)?;
        }
        for (name, (len, matches)) in &self.blobs {
            let named = self.named_states.get(name);
            check(hex::encode(name), named.is_some(), *matches && named == Some(len))?;
        }
        Ok(())
    }
}

fn disagrees(field: &'static str, announced: impl ToString, sequence: u64, found: impl ToString) -> ChainFileError {
    ChainFileError::HeaderDisagrees { field, announced: announced.to_string(), sequence, found: found.to_string() }
}
