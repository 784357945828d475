//! The handler `message-server`: actors send messages to each other, and request answers of each other.
//!
//! A send is recorded and then delivered. A request records an intent, delivers the message, and waits for the answer,
//! for the deadline or for an order to end. If the wait would close a circle of waiting actors, the request is refused
//! before anything is recorded. `promise/message.rs` defines what a message promises.

use serde::Deserialize;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::Grant;
use crate::base::id::ActorId;
use crate::base::limits::{ADDRESS_BYTES, Limits};
use crate::chain::cbor::Cbor;
use crate::guest::{
    Attempt, Capability, Effect, Export, GuestExport, HostState, Interruption, Live, StateAnd, StateOnly,
};
use crate::manifest::{HandlerEntry, ManifestError};
use crate::promise::{HANDLE_REQUEST, HANDLE_SEND, REQUEST, ReservedRequest, ReservedSend, SEND, request_again};
use crate::system::{NoSuchAddress, Refusal};

pub(super) const NAME: &str = "message-server";
pub(super) const IMPORTS: &[&str] = &["ntwk:theater/message-server-host"];

struct MessageServer;

/// Older manifests have a port here; it has no effect.
#[derive(Deserialize)]
struct Config {
    #[serde(rename = "port")]
    _port: Option<u16>,
}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> {
    if let Some(entry) = entry {
        let Config { .. } = entry.config(&["port"])?;
    }
    Ok(Box::new(MessageServer))
}

impl Grant for MessageServer {}

impl Capability for MessageServer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn imports(&self) -> &'static [&'static str] {
        IMPORTS
    }

    fn link(&self, linker: &mut Linker<Box<HostState>>) -> wasmtime::Result<()> {
        let mut host = linker.instance(IMPORTS[0])?;
        host.func_wrap("send", send)?;
        host.func_wrap("request", request)
    }

    fn exports(&self) -> Vec<Box<dyn GuestExport>> {
        vec![
            Box::new(Export::<(Vec<u8>,), StateOnly>::new(HANDLE_SEND)),
            Box::new(Export::<(Vec<u8>,), StateAnd<Vec<u8>>>::new(HANDLE_REQUEST)),
        ]
    }

    fn exports_are_optional(&self) -> bool {
        true
    }
}

type Message = (String, Vec<u8>);
type Sent = Result<(), String>;
type Requested = Result<Vec<u8>, String>;

fn send(mut store: StoreContextMut<'_, Box<HostState>>, message: Message) -> wasmtime::Result<(Sent,)> {
    let state = store.data_mut();
    let (live, limits) = (state.live().cloned(), state.limits.clone());
    let (message, refused) = bounded(message, &limits);
    let sent = state.recorder.host_call(SEND, &message, |_| {
        let live = live.as_deref().expect("effects run live");
        let addressed = refused.map_or_else(|| address(live, &message), Err).and_then(|(to, params)| {
            let send = ReservedSend::reserve(live, to, params).map_err(Refused::By)?;
            Ok((to, send))
        });
        match addressed {
            Ok((to, send)) => {
                let owes = send.owed();
                let act = Box::new(|event| send.fill(event));
                let effect = Effect::Announce { result: Ok(()), owes, settles: None, act };
                Ok(effect.to(&message.0, to))
            }
            Err(refused) => refused.answer().map(|why| Effect::Look(Err(why))),
        }
    })?;
    Ok((sent,))
}

fn request(mut store: StoreContextMut<'_, Box<HostState>>, message: Message) -> wasmtime::Result<(Requested,)> {
    let state = store.data_mut();
    let (live, limits) = (state.live().cloned(), state.limits.clone());
    let (message, refused) = bounded(message, &limits);
    let requested = state.recorder.host_call(REQUEST, &message, |attempt| {
        let live = live.as_deref().expect("effects run live");
        if attempt != Attempt::First {
            return Ok(Effect::act(None, |_, held| request_again(live, &limits, held)));
        }
        let addressed = refused.map_or_else(|| address(live, &message), Err).and_then(|(to, params)| {
            let request = ReservedRequest::reserve(live, to, params).map_err(Refused::By)?;
            Ok((to, request))
        });
        match addressed {
            Ok((to, request)) => {
                let effect = Effect::act(request.owed(), |intent, held| request.make(live, &limits, intent, held));
                Ok(effect.to(&message.0, to))
            }
            Err(refused) => refused.answer().map(|why| Effect::Look(Err(why))),
        }
    })?;
    Ok((requested,))
}

/// Why a message was not delivered.
enum Refused {
    BadAddress(NoSuchAddress),
    By(Refusal),
}

impl Refused {
    /// The error text for the guest; or the interruption that leaves the transition open for the next start of the
    /// runtime.
    fn answer(self) -> Result<String, Interruption> {
        match self {
            Self::By(Refusal::Suspending) => Err(Interruption::Suspending),
            Self::By(refusal) => Ok(refusal.to_string()),
            Self::BadAddress(why) => Ok(why.to_string()),
        }
    }
}

/// The part of a message that is recorded: all of it, or only the address if the message is refused for its size, so
/// that a guest cannot fill the disk with refused messages.
fn bounded((mut to, message): Message, limits: &Limits) -> (Message, Option<Refused>) {
    // One byte more than an address can have: what is cut is no address either.
    to.truncate(to.floor_char_boundary(ADDRESS_BYTES + 1));
    let (size, limit) = (message.len(), limits.message_bytes);
    if size as u64 <= limit {
        return ((to, message), None);
    }
    ((to, Vec::new()), Some(Refused::By(Refusal::TooLarge { size, limit })))
}

/// The receiver, and the parameters for its exported function.
fn address(live: &Live, (to, message): &Message) -> Result<(ActorId, Vec<u8>), Refused> {
    let to = live.theater.registry.resolve(to).map_err(Refused::BadAddress)?;
    Ok((to, (message.clone(),).to_cbor()))
}
