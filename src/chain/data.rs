//! The data of each kind of event: one struct for each kind, and its CBOR encoding.
//!
//! Parameters and results stay encoded here (a `Vec<u8>` with one CBOR item), because only the exported function or
//! host function that they belong to knows their type. `docs/chain-format.md` specifies the layout.

use std::fmt;

use super::cbor::{Cbor, CborError, Reader, Type, Writer, bytes_to_json, list, record};
use super::hash::{ComponentDigest, EventHash, sha1};
use super::state_chain::Link;
use crate::base::id::{ActorId, Incarnation};
use crate::base::limits::INLINE_STATE_BYTES;

/// One encoded CBOR item, which is passed on unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encoded(pub(crate) Vec<u8>);

impl Cbor for Encoded {
    fn write(&self, to: &mut Writer) {
        to.encoded(&self.0);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CborError> {
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
    fn write(&self, to: &mut Writer) {
        match self {
            Self::None => to.null(),
            Self::Inline(bytes) => to.bytes(bytes),
            Self::Digest { len, sha1 } => to.map(2).key("len").uint(*len).key("sha1").bytes(sha1),
        };
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CborError> {
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
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Unchanged => {
                to.text("unchanged");
            }
            Self::Now(state) => state.write(to),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CborError> {
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
            fn write(&self, to: &mut Writer) {
                to.text(self.word());
            }

            fn read(from: &mut Reader<'_>) -> Result<Self, CborError> {
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
    fn write(&self, to: &mut Writer) {
        to.bytes(&self.0);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CborError> {
        Fixed::read(from).map(|Fixed(bytes)| Self(bytes))
    }
}

impl Cbor for ComponentDigest {
    fn write(&self, to: &mut Writer) {
        to.bytes(&self.0);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CborError> {
        Fixed::read(from).map(|Fixed(bytes)| Self(bytes))
    }
}

impl Cbor for ActorId {
    fn write(&self, to: &mut Writer) {
        to.text(&self.to_string());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CborError> {
        from.text()?.parse().map_err(|_| CborError::Mismatch("other text", "an actor id"))
    }
}

impl Cbor for Incarnation {
    fn write(&self, to: &mut Writer) {
        to.uint(self.0);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CborError> {
        from.uint().map(Self)
    }
}

/// A digest as a byte string.
struct Fixed<const N: usize>([u8; N]);

impl<const N: usize> Cbor for Fixed<N> {
    fn write(&self, to: &mut Writer) {
        to.bytes(&self.0);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CborError> {
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
    fn write(&self, to: &mut Writer) {
        to.map(self.0.len());
        for (name, value) in &self.0 {
            to.key(name).uint(*value);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CborError> {
        from.map(|entries| {
            let mut limits = Vec::new();
            while let Some(name) = entries.key() {
                limits.push((name.to_owned(), entries.value(Reader::uint)?));
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
    fn write(&self, to: &mut Writer) {
        debug_assert_eq!(
            self.fork.is_some(),
            self.reason == StartReason::Fork,
            "a fork says of what, and nothing else"
        );
        to.map(if self.fork.is_some() { 11 } else { 10 }).key("id").item(&self.id);
        if let Some(fork) = &self.fork {
            to.key("fork").item(fork);
        }
        to.key("name").item(&self.name).key("state").item(&self.state).key("limits").item(&self.limits);
        to.key("parent").item(&self.parent).key("reason").item(&self.reason).key("resumes").item(&self.resumes);
        to.key("manifest").item(&self.manifest).key("component").item(&self.component);
        to.key("incarnation").item(&self.incarnation);
    }

    /// All the limits, by name, and a whole manifest. A buffer that grows leaves its earlier sizes in the allocator's cache of
    /// the actor's thread, which is then idle perhaps for long.
    fn to_cbor(&self) -> Vec<u8> {
        const BESIDE_THE_MANIFEST: usize = 2048;
        let mut to = Writer::with_room(BESIDE_THE_MANIFEST + self.manifest.len());
        self.write(&mut to);
        to.finish()
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CborError> {
        let started = from.map(|entries| {
            Ok(Self {
                id: entries.read("id")?,
                fork: entries.read_if_there("fork")?,
                name: entries.read("name")?,
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
            (true, Some(_)) | (false, None) => Ok(started),
        }
    }
}

/// The data of `call`: the function call that the guest is about to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) cause: Option<Link>,
    /// Whether a new instance was made for this call.
    pub(crate) fresh: bool,
    pub(crate) caller: Caller,
    pub(crate) params: Encoded,
}

record!(Call { "cause": cause, "fresh": fresh, "caller": caller, "params": params });

/// The data of `intent`: a host call that is about to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Intent {
    pub(crate) params: Encoded,
}

record!(Intent { "params": params });

/// The data of `host-call`: a host call and its answer. The parameters are omitted if an intent has recorded them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostCall {
    /// The event of another actor that the result came from.
    pub(crate) answer: Option<Link>,
    pub(crate) params: Option<Encoded>,
    pub(crate) result: Encoded,
}

impl Cbor for HostCall {
    fn write(&self, to: &mut Writer) {
        to.map(if self.params.is_some() { 3 } else { 2 }).key("answer").item(&self.answer);
        if let Some(params) = &self.params {
            to.key("params").item(params);
        }
        to.key("result").item(&self.result);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, CborError> {
        from.map(|entries| {
            Ok(Self {
                answer: entries.read("answer")?,
                params: entries.read_if_there("params")?,
                result: entries.read("result")?,
            })
        })
    }
}

/// The data of `return`: the function's result, and the new state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Return {
    pub(crate) state: StateAfter,
    pub(crate) result: Encoded,
}

record!(Return { "state": state, "result": result });

/// The data of `refused`: the error that the exported function returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) message: String,
}

record!(Refused { "message": message });

/// The data of `failed`: how the actor failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) detail: String,
    pub(crate) reason: FailureReason,
    /// The causes of the deliveries that waited and are lost; `None` for a delivery that no actor sent.
    pub(crate) dropped: Vec<Option<Link>>,
}

record!(Failed { "detail": detail, "reason": reason, "dropped": dropped });

/// The data of `stopped`: who ended the incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stopped {
    pub(crate) by: StoppedBy,
    pub(crate) cause: Option<Link>,
    pub(crate) dropped: Vec<Option<Link>>,
}

record!(Stopped { "by": by, "cause": cause, "dropped": dropped });

#[cfg(test)]
mod tests {
    use super::*;

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
            name: "counter".into(),
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
        survives(&Started { reason: StartReason::Fork, fork: Some(link()), ..spawned });
        survives(&Call { cause: Some(link()), fresh: true, caller: Caller::Actor, params: nothing.clone() });
        survives(&Intent { params: nothing.clone() });
        survives(&HostCall { answer: None, params: Some(nothing.clone()), result: nothing.clone() });
        survives(&HostCall { answer: Some(link()), params: None, result: nothing.clone() });
        for state in
            [StateAfter::Unchanged, StateAfter::Now(NamedState::None), StateAfter::Now(NamedState::of(Some(b"x")))]
        {
            survives(&Return { state, result: nothing.clone() });
        }
        survives(&Refused { message: "no".into() });
        survives(&Failed {
            detail: "unreachable".into(),
            reason: FailureReason::Trap,
            dropped: vec![None, Some(link())],
        });
        survives(&Stopped { by: StoppedBy::Parent, cause: Some(link()), dropped: vec![] });
    }

    #[test]
    fn a_state_of_4_kib_stands_in_the_event_and_a_larger_one_is_named() {
        assert!(matches!(NamedState::of(Some(&[0; 4096])), NamedState::Inline(_)));
        assert!(matches!(NamedState::of(Some(&[0; 4097])), NamedState::Digest { len: 4097, .. }));
    }
}
