//! The data of each kind of event: one struct for each kind, and its CBOR encoding.
//!
//! Parameters and results stay encoded here (a `Vec<u8>` with one CBOR item), because only the exported function or
//! host function that they belong to knows their type. `docs/chain-format.md` specifies the layout.

use std::fmt;

use super::cbor::{Cbor, CborError, CborReader, CborWriter, Type, bytes_to_json, list, record};
use super::event::ChainEvent;
use super::hash::{ComponentDigest, EventHash, sha1};
use super::state_chain::Link;
use crate::base::id::{ActorId, Incarnation};
use crate::base::limits::INLINE_STATE_BYTES;

/// The data of one kind of event.
pub(crate) trait EventData: Cbor {
    /// Whether it says something that only an event of version 3 can say.
    fn is_of_version_3(&self) -> bool {
        false
    }
}

impl ChainEvent {
    /// The data, decoded. An error also if the data says something that only an event of a later version can say.
    pub(crate) fn read<T: EventData>(&self) -> Result<T, CborError> {
        let data = T::from_cbor(&self.data)?;
        if data.is_of_version_3() && !self.is_salted() { Err(CborError::TooNew) } else { Ok(data) }
    }
}

/// One encoded CBOR item, which is passed on unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoded(pub(crate) Vec<u8>);

impl Cbor for Encoded {
    fn write(&self, to: &mut CborWriter) {
        to.encoded(&self.0);
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        from.item().map(|item| Self(item.to_vec()))
    }
}

/// A state as an event names it: in full up to [`INLINE_STATE_BYTES`], or by length and SHA-1 if it is larger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NamedState {
    None,
    Inline(Vec<u8>),
    Digest { len: u64, sha1: [u8; 20] },
}

impl NamedState {
    pub(crate) fn of(state: Option<&[u8]>) -> Self {
        match state {
            None => Self::None,
            Some(bytes) if bytes.len() <= INLINE_STATE_BYTES => Self::Inline(bytes.to_vec()),
            Some(bytes) => Self::Digest { len: bytes.len() as u64, sha1: sha1(bytes) },
        }
    }
}

impl fmt::Display for NamedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 200;
        match self {
            Self::None => f.write_str("no state"),
            Self::Inline(bytes) => {
                let text = bytes_to_json(bytes).to_string();
                let cut = &text[..text.floor_char_boundary(SHOWN)];
                write!(f, "the state {cut}{}", if cut.len() < text.len() { "…" } else { "" })
            }
            Self::Digest { len, sha1 } => write!(f, "the state of {len} bytes with SHA-1 {}", hex::encode(sha1)),
        }
    }
}

impl Cbor for NamedState {
    fn write(&self, to: &mut CborWriter) {
        match self {
            Self::None => to.null(),
            Self::Inline(bytes) => to.bytes(bytes),
            Self::Digest { len, sha1 } => to.map(2).key("len").uint(*len).key("sha1").bytes(sha1),
        };
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        match from.next()? {
            Type::Null => <()>::read(from).map(|()| Self::None),
            Type::Bytes => match from.bytes()? {
                bytes if bytes.len() <= INLINE_STATE_BYTES => Ok(Self::Inline(bytes.to_vec())),
                _ => Err(CborError::Mismatch("bytes beyond 4096", "a state named by its digest")),
            },
            _ => from.map(|entries| match (entries.read("len")?, entries.read("sha1")?) {
                (len, _) if len <= INLINE_STATE_BYTES as u64 => {
                    Err(CborError::Mismatch("the digest of a small state", "the state itself"))
                }
                (len, Fixed(sha1)) => Ok(Self::Digest { len, sha1 }),
            }),
        }
    }
}

/// What a `return` says about the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StateAfter {
    Unchanged,
    Now(NamedState),
}

impl Cbor for StateAfter {
    fn write(&self, to: &mut CborWriter) {
        match self {
            Self::Unchanged => {
                to.text("unchanged");
            }
            Self::Now(state) => state.write(to),
        }
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        match from.next()? {
            Type::Text if from.text()? == "unchanged" => Ok(Self::Unchanged),
            Type::Text => Err(CborError::Mismatch("another word", "a state")),
            _ => NamedState::read(from).map(Self::Now),
        }
    }
}

/// Defines an enum whose values are encoded as fixed words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// The word for this value, in events and in protocols.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The value for `word`.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }

        impl Cbor for $name {
            fn write(&self, to: &mut CborWriter) {
                to.text(self.word());
            }

            fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
                Self::parse(from.text()?).ok_or(CborError::Mismatch("another word", concat!("one of ", $($word, " "),+)))
            }
        }
    };
}

words! {
    /// Why an incarnation began.
    StartReason {
        /// A new actor was spawned.
        Spawn = "spawn",
        /// The actor was restarted after a stop or a failure.
        Restart = "restart",
        /// The runtime was started again.
        Recovery = "recovery",
        /// A new actor was forked from a past state of another actor.
        Fork = "fork",
        /// The actor goes on with another component or manifest. Version 3.
        Upgrade = "upgrade",
    }
}

words! {
    /// The origin of a call.
    Caller {
        /// The runtime itself, for `init` and lifecycle notices.
        Runtime = "runtime",
        /// Another actor; the cause of the call names its event.
        Actor = "actor",
        /// The management server, on behalf of a person or a tool.
        Management = "management",
        /// The HTTP listener.
        Http = "http",
        /// The WebSocket listener.
        WebSocket = "websocket",
        /// A timer that the actor has set. Version 3.
        Timer = "timer",
    }
}

words! {
    /// Why an incarnation failed.
    FailureReason {
        /// The guest trapped.
        Trap = "trap",
        /// The guest exceeded one of its limits.
        Limit = "limit",
        /// The guest used up the CPU time of one call.
        Deadline = "deadline",
        /// The runtime panicked while it ran the guest: a defect of Theater.
        Panic = "panic",
        /// `init` returned an error, or a listener could not be started.
        Init = "init",
        /// The process ended while the guest ran.
        Interrupted = "interrupted",
        /// The actor's children failed more often than its restart limit allows.
        Restarts = "restarts",
    }
}

words! {
    /// Who stopped an actor.
    StoppedBy {
        /// A person or a tool, through the management server or the library.
        Operator = "operator",
        /// A parent or other ancestor; the cause names its event.
        Parent = "parent",
        /// The supervisor, because the parent ended or a sibling failed.
        Supervisor = "supervisor",
    }
}

record!(Link { "hash": hash, "actor": actor, "sequence": sequence });
list!(Option<Link>);

impl Cbor for EventHash {
    fn write(&self, to: &mut CborWriter) {
        to.bytes(&self.0);
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        Fixed::read(from).map(|Fixed(bytes)| Self(bytes))
    }
}

impl Cbor for ComponentDigest {
    fn write(&self, to: &mut CborWriter) {
        to.bytes(&self.0);
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        Fixed::read(from).map(|Fixed(bytes)| Self(bytes))
    }
}

impl Cbor for ActorId {
    fn write(&self, to: &mut CborWriter) {
        to.text(&self.to_string());
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        from.text()?.parse().map_err(|_| CborError::Mismatch("other text", "an actor id"))
    }
}

impl Cbor for Incarnation {
    fn write(&self, to: &mut CborWriter) {
        to.uint(self.0);
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        from.uint().map(Self)
    }
}

/// A digest as a byte string.
struct Fixed<const N: usize>([u8; N]);

impl<const N: usize> Cbor for Fixed<N> {
    fn write(&self, to: &mut CborWriter) {
        to.bytes(&self.0);
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        let bytes = from.bytes()?.try_into();
        bytes.map(Self).map_err(|_| CborError::Mismatch("bytes of another length", "a digest"))
    }
}

/// The limits in force, by name, in the canonical order of map keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedLimits(pub(crate) Vec<(String, u64)>);

impl NamedLimits {
    pub(crate) fn of(entries: Vec<(&'static str, u64)>) -> Self {
        let mut entries: Vec<_> = entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        entries.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
        Self(entries)
    }
}

impl Cbor for NamedLimits {
    fn write(&self, to: &mut CborWriter) {
        to.map(self.0.len());
        for (name, value) in &self.0 {
            to.key(name).uint(*value);
        }
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        from.map(|entries| {
            let mut limits = Vec::new();
            while let Some(name) = entries.key() {
                limits.push((name.to_owned(), entries.value(CborReader::uint)?));
            }
            Ok(Self(limits))
        })
    }
}

/// The data of `started`: everything that an incarnation begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Started {
    pub(crate) id: ActorId,
    /// The event of another chain whose state this chain begins with; present exactly if the reason is `fork`.
    pub(crate) fork: Option<Link>,
    pub(crate) name: String,
    /// Of a fork: the digest of the events that wrote the rows of its table that it begins with; none if it begins with none.
    /// Version 3.
    pub(crate) rows: Option<[u8; 32]>,
    /// Whether the actor had ended for good before this start, and somebody has asked for it again. Version 3, if so.
    pub(crate) ended: bool,
    /// The name of the actor among its siblings, if it was spawned with one. Version 3.
    pub(crate) label: Option<String>,
    pub(crate) state: NamedState,
    pub(crate) limits: NamedLimits,
    pub(crate) parent: Option<ActorId>,
    pub(crate) reason: StartReason,
    /// Whether the transition that was open before this event continues after it.
    pub(crate) resumes: bool,
    /// The text of the manifest, as it was read.
    pub(crate) manifest: String,
    pub(crate) component: ComponentDigest,
    pub(crate) incarnation: Incarnation,
}

impl Cbor for Started {
    fn write(&self, to: &mut CborWriter) {
        debug_assert_eq!(
            self.fork.is_some(),
            self.reason == StartReason::Fork,
            "a fork says of what, and nothing else"
        );
        let there = [self.fork.is_some(), self.rows.is_some(), self.ended, self.label.is_some()];
        to.map(10 + there.into_iter().filter(|there| *there).count()).key("id").item(&self.id);
        to.item_if_there("fork", self.fork.as_ref()).key("name").item(&self.name);
        to.item_if_there("rows", self.rows.map(Fixed).as_ref());
        to.item_if_there("ended", self.ended.then_some(&true));
        to.item_if_there("label", self.label.as_ref()).key("state").item(&self.state).key("limits").item(&self.limits);
        to.key("parent").item(&self.parent).key("reason").item(&self.reason).key("resumes").item(&self.resumes);
        to.key("manifest").item(&self.manifest).key("component").item(&self.component);
        to.key("incarnation").item(&self.incarnation);
    }

    /// All the limits, by name, and a whole manifest. A buffer that grows leaves its earlier sizes in the allocator's cache of
    /// the actor's thread, which is then idle perhaps for long.
    fn to_cbor(&self) -> Vec<u8> {
        const BESIDE_THE_MANIFEST: usize = 2048;
        let mut to = CborWriter::with_room(BESIDE_THE_MANIFEST + self.manifest.len());
        self.write(&mut to);
        to.finish()
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        let started = from.map(|entries| {
            Ok(Self {
                id: entries.read("id")?,
                fork: entries.read_if_there("fork")?,
                name: entries.read("name")?,
                rows: entries.read_if_there("rows")?.map(|Fixed(digest)| digest),
                ended: match entries.read_if_there("ended")? {
                    Some(false) => return Err(CborError::Mismatch("false", "true, or no such key")),
                    ended => ended.is_some(),
                },
                label: entries.read_if_there("label")?,
                state: entries.read("state")?,
                limits: entries.read("limits")?,
                parent: entries.read("parent")?,
                reason: entries.read("reason")?,
                resumes: entries.read("resumes")?,
                manifest: entries.read("manifest")?,
                component: entries.read("component")?,
                incarnation: entries.read("incarnation")?,
            })
        })?;
        match (started.reason == StartReason::Fork, &started.fork) {
            (true, None) => Err(CborError::MissingKey("fork")),
            (false, Some(_)) => Err(CborError::UnknownKey("fork".into())),
            (false, None) if started.rows.is_some() => Err(CborError::UnknownKey("rows".into())),
            (true, Some(_)) | (false, None) => Ok(started),
        }
    }
}

impl EventData for Started {
    fn is_of_version_3(&self) -> bool {
        self.ended || self.rows.is_some() || self.label.is_some() || self.reason == StartReason::Upgrade
    }
}

/// The data of `call`: the function call that the guest is about to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// The actor's own event that promised this call. Version 3.
    pub(crate) of: Option<u64>,
    /// The key by which whoever asked from outside can ask again and is answered as before. Version 3.
    pub(crate) key: Option<String>,
    /// When the next firing of the timer is due, in milliseconds since the Unix epoch; only if a timer calls, and if there is a
    /// next firing. Version 3.
    pub(crate) next: Option<u64>,
    pub(crate) cause: Option<Link>,
    /// Whether a new instance was made for this call.
    pub(crate) fresh: bool,
    /// Which firing of the timer this is; present exactly if a timer calls. Version 3.
    pub(crate) round: Option<u64>,
    pub(crate) caller: Caller,
    pub(crate) params: Encoded,
}

impl Call {
    /// A call that no earlier event of the actor itself has promised.
    pub(crate) fn new(cause: Option<Link>, fresh: bool, caller: Caller, params: Encoded) -> Self {
        Self { of: None, key: None, next: None, cause, fresh, round: None, caller, params }
    }
}

impl Cbor for Call {
    fn write(&self, to: &mut CborWriter) {
        let there = [self.of, self.next, self.round].into_iter().flatten().count() + usize::from(self.key.is_some());
        to.map(4 + there).item_if_there("of", self.of.as_ref()).item_if_there("key", self.key.as_ref());
        to.item_if_there("next", self.next.as_ref());
        to.key("cause").item(&self.cause).key("fresh").item(&self.fresh);
        to.item_if_there("round", self.round.as_ref()).key("caller").item(&self.caller);
        to.key("params").item(&self.params);
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        let call = from.map(|entries| {
            Ok(Self {
                of: entries.read_if_there("of")?,
                key: entries.read_if_there("key")?,
                next: entries.read_if_there("next")?,
                cause: entries.read("cause")?,
                fresh: entries.read("fresh")?,
                round: entries.read_if_there("round")?,
                caller: entries.read("caller")?,
                params: entries.read("params")?,
            })
        })?;
        match (call.caller == Caller::Timer, call.round) {
            (true, None) => Err(CborError::MissingKey("round")),
            (false, Some(_)) => Err(CborError::UnknownKey("round".into())),
            (false, None) if call.next.is_some() => Err(CborError::UnknownKey("next".into())),
            _ if call.key.is_some() && !matches!(call.caller, Caller::Http | Caller::Management) => {
                Err(CborError::UnknownKey("key".into()))
            }
            (true, Some(_)) | (false, None) => Ok(call),
        }
    }
}

impl EventData for Call {
    fn is_of_version_3(&self) -> bool {
        self.of.is_some() || self.key.is_some() || self.next.is_some() || self.round.is_some()
    }
}

/// The data of `intent`: a host call that is about to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Intent {
    /// The actor's own event whose promise this host call carries on or settles. Version 3.
    pub(crate) of: Option<u64>,
    /// The actor that the address in the parameters stood for. Version 3.
    pub(crate) to: Option<ActorId>,
    pub(crate) params: Encoded,
}

impl Intent {
    /// An intent with these parameters alone.
    pub(crate) fn new(params: Encoded) -> Self {
        Self { of: None, to: None, params }
    }
}

impl Cbor for Intent {
    fn write(&self, to: &mut CborWriter) {
        to.map(1 + usize::from(self.of.is_some()) + usize::from(self.to.is_some()));
        to.item_if_there("of", self.of.as_ref()).item_if_there("to", self.to.as_ref());
        to.key("params").item(&self.params);
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        from.map(|entries| {
            Ok(Self {
                of: entries.read_if_there("of")?,
                to: entries.read_if_there("to")?,
                params: entries.read("params")?,
            })
        })
    }
}

impl EventData for Intent {
    fn is_of_version_3(&self) -> bool {
        self.of.is_some() || self.to.is_some()
    }
}

/// What a `host-call` says about the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallResult {
    Whole(Encoded),
    /// The result can be computed again from earlier events of the chain; this is the SHA-256 of their hashes. Version 3.
    Digest([u8; 32]),
}

impl CallResult {
    /// The encoded result, if the event holds it.
    pub(crate) fn whole(&self) -> Option<&[u8]> {
        match self {
            Self::Whole(result) => Some(&result.0),
            Self::Digest(_) => None,
        }
    }
}

/// The data of `host-call`: a host call and its answer. The parameters are omitted if an intent has recorded them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostCall {
    /// As in [`Intent`]; absent if an intent has recorded it.
    pub(crate) of: Option<u64>,
    /// As in [`Intent`]; absent if an intent has recorded it.
    pub(crate) to: Option<ActorId>,
    /// The event of another actor that the result came from.
    pub(crate) answer: Option<Link>,
    pub(crate) params: Option<Encoded>,
    pub(crate) result: CallResult,
}

impl HostCall {
    /// A host call whose event holds the whole result.
    pub(crate) fn new(answer: Option<Link>, params: Option<Encoded>, result: Encoded) -> Self {
        Self { of: None, to: None, answer, params, result: CallResult::Whole(result) }
    }
}

impl Cbor for HostCall {
    fn write(&self, to: &mut CborWriter) {
        let there = [self.of.is_some(), self.to.is_some(), self.params.is_some()];
        to.map(2 + there.into_iter().filter(|there| *there).count());
        to.item_if_there("of", self.of.as_ref()).item_if_there("to", self.to.as_ref());
        to.key("answer").item(&self.answer);
        match &self.result {
            CallResult::Whole(result) => to.item_if_there("params", self.params.as_ref()).key("result").item(result),
            CallResult::Digest(digest) => to.key("digest").bytes(digest).item_if_there("params", self.params.as_ref()),
        };
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        from.map(|entries| {
            let (of, to) = (entries.read_if_there("of")?, entries.read_if_there("to")?);
            let (answer, digest) = (entries.read("answer")?, entries.read_if_there("digest")?);
            let params = entries.read_if_there("params")?;
            let result = match digest {
                Some(Fixed(digest)) => CallResult::Digest(digest),
                None => CallResult::Whole(entries.read("result")?),
            };
            Ok(Self { of, to, answer, params, result })
        })
    }
}

impl EventData for HostCall {
    fn is_of_version_3(&self) -> bool {
        self.of.is_some() || self.to.is_some() || matches!(self.result, CallResult::Digest(_))
    }
}

/// The data of `return`: the function's result, and the new state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Return {
    pub(crate) state: StateAfter,
    pub(crate) result: Encoded,
    /// The actor's own host call that took over the answer: this event does not answer the caller, a later one does.
    /// Version 3.
    pub(crate) deferred: Option<u64>,
}

impl Return {
    /// A return that answers its caller.
    pub(crate) fn new(state: StateAfter, result: Encoded) -> Self {
        Self { state, result, deferred: None }
    }
}

impl Cbor for Return {
    fn write(&self, to: &mut CborWriter) {
        to.map(2 + usize::from(self.deferred.is_some())).key("state").item(&self.state);
        to.key("result").item(&self.result).item_if_there("deferred", self.deferred.as_ref());
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        from.map(|entries| {
            Ok(Self {
                state: entries.read("state")?,
                result: entries.read("result")?,
                deferred: entries.read_if_there("deferred")?,
            })
        })
    }
}

impl EventData for Return {
    fn is_of_version_3(&self) -> bool {
        self.deferred.is_some()
    }
}

/// The data of `refused`: the error that the exported function returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) message: String,
}

record!(Refused { "message": message });
impl EventData for Refused {}

/// The data of `failed`: how the actor failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) detail: String,
    pub(crate) reason: FailureReason,
    /// The causes of the deliveries that waited and are lost; `None` for a delivery that no actor sent.
    pub(crate) dropped: Vec<Option<Link>>,
}

record!(Failed { "detail": detail, "reason": reason, "dropped": dropped });
impl EventData for Failed {}

/// The data of `stopped`: who ended the incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stopped {
    pub(crate) by: StoppedBy,
    pub(crate) cause: Option<Link>,
    pub(crate) dropped: Vec<Option<Link>>,
}

record!(Stopped { "by": by, "cause": cause, "dropped": dropped });
impl EventData for Stopped {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{Salt, StateChain};

    fn link() -> Link {
        Link { actor: ActorId::random(), sequence: 4, hash: EventHash([9; 20]) }
    }

    /// Encoding asserts (in tests) that the keys are in canonical order.
    fn survives<T: Cbor + PartialEq + std::fmt::Debug>(item: &T) {
        assert_eq!(&T::from_cbor(&item.to_cbor()).expect("what was written"), item);
    }

    #[test]
    fn every_kind_of_data_is_read_back_as_it_was_written() {
        let nothing = Encoded(().to_cbor());
        let spawned = Started {
            id: ActorId::random(),
            fork: None,
            rows: None,
            name: "counter".into(),
            ended: false,
            label: None,
            state: NamedState::of(Some(&[1; INLINE_STATE_BYTES + 1])),
            limits: NamedLimits::of(crate::base::limits::Limits::default().entries()),
            parent: Some(ActorId::random()),
            reason: StartReason::Spawn,
            resumes: false,
            manifest: "name = \"counter\"".into(),
            component: ComponentDigest([3; 32]),
            incarnation: Incarnation::FIRST,
        };
        survives(&spawned);
        survives(&Started { reason: StartReason::Fork, fork: Some(link()), ..spawned.clone() });
        let rows = Some([9; 32]);
        survives(&Started { reason: StartReason::Fork, fork: Some(link()), rows, ..spawned.clone() });
        survives(&Started { reason: StartReason::Restart, ended: true, ..spawned.clone() });
        survives(&Started { reason: StartReason::Upgrade, label: Some("alice".into()), ..spawned });
        survives(&Call::new(Some(link()), true, Caller::Actor, nothing.clone()));
        let due = Call::new(Some(link()), false, Caller::Timer, nothing.clone());
        survives(&Call { of: Some(3), round: Some(1), ..due.clone() });
        survives(&Call { of: Some(3), round: Some(1), next: Some(1_900_000_000_000), ..due });
        let asked = Call::new(None, true, Caller::Http, nothing.clone());
        survives(&Call { key: Some("order-17".into()), ..asked });
        survives(&Intent::new(nothing.clone()));
        survives(&Intent { of: Some(3), to: Some(ActorId::random()), params: nothing.clone() });
        survives(&HostCall::new(None, Some(nothing.clone()), nothing.clone()));
        survives(&HostCall::new(Some(link()), None, nothing.clone()));
        let sent = HostCall::new(None, Some(nothing.clone()), nothing.clone());
        survives(&HostCall { of: Some(3), to: Some(ActorId::random()), ..sent.clone() });
        survives(&HostCall { result: CallResult::Digest([8; 32]), ..sent });
        for state in
            [StateAfter::Unchanged, StateAfter::Now(NamedState::None), StateAfter::Now(NamedState::of(Some(b"x")))]
        {
            survives(&Return::new(state.clone(), nothing.clone()));
            survives(&Return { deferred: Some(3), ..Return::new(state, nothing.clone()) });
        }
        survives(&Refused { message: "no".into() });
        survives(&Failed {
            detail: "unreachable".into(),
            reason: FailureReason::Trap,
            dropped: vec![None, Some(link())],
        });
        survives(&Stopped { by: StoppedBy::Parent, cause: Some(link()), dropped: vec![] });
    }

    /// Whether events of versions 1 and 3 can hold this data.
    fn held<T: EventData>(data: &T) -> [bool; 2] {
        [None, Some(Salt([1; 16]))].map(|salt| {
            let event = StateChain::new(ActorId::random()).append_salted("stopped", data.to_cbor(), 0, salt);
            event.read::<T>().is_ok()
        })
    }

    #[test]
    fn what_came_with_version_3_is_no_data_of_an_earlier_event() {
        let (nothing, actor) = (Encoded(().to_cbor()), ActorId::random());
        let (either, salted) = ([true, true], [false, true]);
        let call = Call::new(None, true, Caller::Runtime, nothing.clone());
        assert_eq!(held(&call), either);
        assert_eq!(held(&Call { of: Some(1), ..call.clone() }), salted);
        assert_eq!(held(&Call { caller: Caller::Timer, round: Some(1), ..call.clone() }), salted);
        assert_eq!(held(&Call { caller: Caller::Timer, ..call.clone() }), [false, false], "which firing?");
        assert_eq!(held(&Call { round: Some(1), ..call.clone() }), [false, false], "a firing of what?");
        assert_eq!(held(&Call { next: Some(1), ..call.clone() }), [false, false], "the next firing of what?");
        let keyed = |caller| Call { caller, key: Some("order-17".into()), ..call.clone() };
        assert_eq!(held(&keyed(Caller::Http)), salted);
        assert_eq!(held(&keyed(Caller::Management)), salted);
        assert_eq!(held(&keyed(Caller::Actor)), [false, false], "an actor's message is no request from outside");
        let fired = Call { caller: Caller::Timer, of: Some(1), round: Some(1), next: Some(9), ..call };
        assert_eq!(held(&fired), salted);
        let intent = Intent::new(nothing.clone());
        assert_eq!(held(&intent), either);
        assert_eq!(held(&Intent { of: Some(1), ..intent.clone() }), salted);
        assert_eq!(held(&Intent { to: Some(actor), ..intent }), salted);
        let host_call = HostCall::new(None, None, nothing.clone());
        assert_eq!(held(&host_call), either);
        assert_eq!(held(&HostCall { of: Some(1), ..host_call.clone() }), salted);
        assert_eq!(held(&HostCall { to: Some(actor), ..host_call.clone() }), salted);
        assert_eq!(held(&HostCall { result: CallResult::Digest([0; 32]), ..host_call }), salted);
        let returned = Return::new(StateAfter::Unchanged, nothing);
        assert_eq!(held(&returned), either);
        assert_eq!(held(&Return { deferred: Some(1), ..returned }), salted);
    }

    #[test]
    fn a_host_call_has_its_result_or_the_digest_of_it_and_never_both() {
        let mut both = CborWriter::default();
        both.map(3).key("answer").null().key("digest").bytes(&[0; 32]).key("result").null();
        assert_eq!(HostCall::from_cbor(&both.finish()), Err(CborError::UnknownKey("result".into())));
        let mut neither = CborWriter::default();
        neither.map(1).key("answer").null();
        assert_eq!(HostCall::from_cbor(&neither.finish()), Err(CborError::MissingKey("result")));
    }

    #[test]
    fn a_state_of_4_kib_stands_in_the_event_and_a_larger_one_is_named() {
        assert!(matches!(NamedState::of(Some(&[0; 4096])), NamedState::Inline(_)));
        assert!(matches!(NamedState::of(Some(&[0; 4097])), NamedState::Digest { len: 4097, .. }));
    }
}
