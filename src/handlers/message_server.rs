//! `message-server`: actors send to and request of each other.
//!
//! A send is recorded, then delivered. A request records an intent, delivers, and waits: for the answer, for the
//! deadline, or for the order to end. A wait that would close a circle is refused before anything is recorded. What a
//! message promises is in `promise/message.rs`.

use serde::Deserialize;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::Grant;
use crate::base::id::ActorId;
use crate::base::limits::Limits;
use crate::chain::cbor::Cbor;
use crate::guest::{Attempt, Capability, Effect, Export, GuestExport, HostState, Interruption, StateAnd, StateOnly};
use crate::manifest::{HandlerEntry, ManifestError};
use crate::promise::{HANDLE_REQUEST, HANDLE_SEND, REQUEST, Request, SEND, Send, request_again};
use crate::system::Refusal;

pub(super) const NAME: &str = "message-server";
pub(super) const IMPORTS: &[&str] = &["ntwk:theater/message-server-host"];

struct MessageServer;

/// Older manifests carry a port, which means nothing here.
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

/// An id has 36 bytes; more of what is not one is not recorded.
const ADDRESS_BYTES: usize = 64;

type Message = (String, Vec<u8>);
type Sent = Result<(), String>;
type Requested = Result<Vec<u8>, String>;

fn send(mut store: StoreContextMut<'_, Box<HostState>>, message: Message) -> wasmtime::Result<(Sent,)> {
    let state = store.data_mut();
    let (live, limits) = (state.live().cloned(), state.limits.clone());
    let (message, refused) = bounded(message, &limits);
    let sent = state.recorder.host_call(SEND, &message, |_| {
        let live = live.as_deref().expect("effects run live");
        let addressed = refused
            .map_or_else(|| address(&message), Err)
            .and_then(|(to, params)| Send::reserve(live, to, params).map_err(Refused::By));
        match addressed {
            Ok(send) => {
                let owes = send.owed();
                Ok(Effect::Announce { result: Ok(()), owes, act: Box::new(|event| send.fill(event)) })
            }
            Err(refused) => refused.answer().map(|why| Effect::Read(Err(why))),
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
        let addressed = refused
            .map_or_else(|| address(&message), Err)
            .and_then(|(to, params)| Request::reserve(live, to, params).map_err(Refused::By));
        match addressed {
            Ok(request) => Ok(Effect::act(request.owed(), |intent, held| request.make(live, &limits, intent, held))),
            Err(refused) => refused.answer().map(|why| Effect::Read(Err(why))),
        }
    })?;
    Ok((requested,))
}

/// Why nothing was delivered.
enum Refused {
    BadAddress(String),
    By(Refusal),
}

impl Refused {
    /// What the guest is told; or nothing, where the transition is to be left open for the next start.
    fn answer(self) -> Result<String, Interruption> {
        match self {
            Self::By(Refusal::Suspending) => Err(Interruption::Suspending),
            Self::By(refusal) => Ok(refusal.to_string()),
            Self::BadAddress(why) => Ok(why),
        }
    }
}

/// What is recorded of a message: all of it, unless it is refused for its size. Then its address stands alone, so that
/// a guest cannot fill the disk with what is refused.
fn bounded((mut to, message): Message, limits: &Limits) -> (Message, Option<Refused>) {
    to.truncate(to.floor_char_boundary(ADDRESS_BYTES));
    let (size, limit) = (message.len(), limits.message_bytes);
    if size as u64 <= limit {
        return ((to, message), None);
    }
    ((to, Vec::new()), Some(Refused::By(Refusal::TooLarge { size, limit })))
}

/// The receiver, and the parameters of its export.
fn address((to, message): &Message) -> Result<(ActorId, Vec<u8>), Refused> {
    let to = to.parse().map_err(|error: crate::base::id::NotAnActorId| Refused::BadAddress(error.to_string()))?;
    Ok((to, (message.clone(),).to_cbor()))
}
