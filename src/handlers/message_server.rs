//! `message-server`: actors send to and request of each other.
//!
//! A send is recorded, then delivered. A request records an intent, delivers, and waits: for the answer, for the
//! deadline, or for the order to end. A wait that would close a circle is refused before anything is recorded.

use std::time::Instant;

use serde::Deserialize;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::Handler;
use crate::base::id::ActorId;
use crate::base::limits::Limits;
use crate::chain::cbor::Cbor;
use crate::chain::data::Caller;
use crate::chain::{Function, Link, function};
use crate::guest::{
    Answered, Attempt, Capability, Effect, Export, GuestExport, HostState, Interruption, Live, StateAnd, StateOnly,
};
use crate::journal::Owed;
use crate::manifest::{HandlerEntry, ManifestError};
use crate::system::{
    Answer, Awaited, AwaitedReply, Delivery, Lane, NoAnswer, OrderKind, Outcome, Refusal, Reply, Slot, WaitId, Waited,
};

pub(super) const NAME: &str = "message-server";
pub(super) const IMPORTS: &[&str] = &["ntwk:theater/message-server-host"];

pub(crate) const HANDLE_SEND: &Function = function!("ntwk:theater/message-server-client", "handle-send");
pub(crate) const HANDLE_REQUEST: &Function = function!("ntwk:theater/message-server-client", "handle-request");
pub(crate) const SEND: &Function = function!("ntwk:theater/message-server-host", "send");
pub(crate) const REQUEST: &Function = function!("ntwk:theater/message-server-host", "request");

struct MessageServer;

/// Older manifests carry a port, which means nothing here.
#[derive(Deserialize)]
struct Config {
    #[serde(rename = "port")]
    _port: Option<u16>,
}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Handler>, ManifestError> {
    if let Some(entry) = entry {
        let Config { .. } = entry.config(&["port"])?;
    }
    Ok(Box::new(MessageServer))
}

impl Handler for MessageServer {}

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
        let live = live.as_ref().expect("effects run live");
        let addressed = refused.map_or_else(|| address(&message), Err).and_then(|(to, params)| {
            live.theater
                .registry
                .reserve(to, Lane::Mail, HANDLE_SEND, params.len())
                .map(|slot| (slot, params))
                .map_err(Refused::By)
        });
        match addressed {
            Ok((slot, params)) => {
                let owes = Some(Owed { receiver: slot.receiver, notice: None });
                let act = Box::new(|event| fill_send(slot, params, event));
                Ok(Effect::Announce { result: Ok(()), owes, act })
            }
            Err(refused) => refused.answer().map(|why| Effect::Read(Err(why))),
        }
    })?;
    Ok((sent,))
}

fn fill_send(slot: Slot, params: Vec<u8>, event: Link) {
    slot.fill(Delivery {
        function: HANDLE_SEND,
        params,
        caller: Caller::Actor,
        cause: Some(event),
        reply: Reply::Nobody,
    });
}

fn request(mut store: StoreContextMut<'_, Box<HostState>>, message: Message) -> wasmtime::Result<(Requested,)> {
    let state = store.data_mut();
    let (live, limits) = (state.live().cloned(), state.limits.clone());
    let (message, refused) = bounded(message, &limits);
    let requested = state.recorder.host_call(REQUEST, &message, |attempt| {
        let live = live.as_deref().expect("effects run live");
        if attempt != Attempt::First {
            return Ok(recovered(live, &limits));
        }
        let addressed = refused.map_or_else(|| address(&message), Err).and_then(|(to, params)| {
            let begun = live.theater.registry.begin_wait(live.id, to, HANDLE_REQUEST, params.len());
            begun.map(|(slot, wait)| Request { to, slot, wait: WaitGuard { live, wait }, params }).map_err(Refused::By)
        });
        match addressed {
            Ok(request) => {
                let owes = Some(Owed { receiver: request.to, notice: None });
                Ok(Effect::Act { owes, act: Box::new(|intent| request.make(intent, &limits)) })
            }
            Err(refused) => refused.answer().map(|why| Effect::Read(Err(why))),
        }
    })?;
    Ok((requested,))
}

/// A request that was under way when an earlier process ended: recovery has put it back in its place.
fn recovered<'a>(live: &'a Live, limits: &'a Limits) -> Effect<'a, Requested> {
    let act = move |_| match live.recovered.try_recv() {
        Ok(Awaited::Answer { to, answer, wait }) => Waiting { to, wait: WaitGuard { live, wait }, answer }.wait(limits),
        Ok(Awaited::Child { .. } | Awaited::Done(_)) | Err(_) => {
            unreachable!("recovery finds an answer for every open request")
        }
    };
    Effect::Act { owes: None, act: Box::new(act) }
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

/// A request for which a place is reserved and the wait is noted.
struct Request<'a> {
    to: ActorId,
    slot: Slot,
    wait: WaitGuard<'a>,
    params: Vec<u8>,
}

/// Takes the wait back, whichever way it ends; after an answer it is gone already.
struct WaitGuard<'a> {
    live: &'a Live,
    wait: WaitId,
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.live.theater.registry.end_wait(self.live.id, self.wait);
    }
}

impl Request<'_> {
    fn make(self, intent: Link, limits: &Limits) -> Result<Answered<Requested>, Interruption> {
        let Self { to, slot, wait, params } = self;
        let (reply, answer) = Reply::actor(wait.live.id, wait.wait);
        slot.fill(Delivery { function: HANDLE_REQUEST, params, caller: Caller::Actor, cause: Some(intent), reply });
        Waiting { to, wait, answer }.wait(limits)
    }
}

/// A request that was made.
struct Waiting<'a> {
    to: ActorId,
    wait: WaitGuard<'a>,
    answer: AwaitedReply,
}

impl Waiting<'_> {
    fn wait(self, limits: &Limits) -> Result<Answered<Requested>, Interruption> {
        let Self { to, wait: WaitGuard { live, .. }, answer } = &self;
        let deadline = Instant::now() + limits.request_deadline();
        let unanswered = |why: String| Ok(Answered { result: Err(why), answer: None });
        match live.stop.wait_for_reply(answer, deadline) {
            Waited::Came(answer) => Ok(understand(*to, answer)),
            // Its thread went without a word. Where the runtime is being suspended that is no answer: the transition is
            // left open for the next start. Otherwise the thread has panicked.
            Waited::Gone if live.theater.registry.is_suspending() => Err(Interruption::Suspending),
            Waited::Gone => unanswered(format!("outcome unknown: actor {to} has ended without an answer")),
            Waited::Deadline => {
                let within = format!("within request_deadline_ms = {}", limits.request_deadline_ms);
                unanswered(match answer.withdraw() {
                    NoAnswer::NotDelivered => format!("not delivered: actor {to} did not come to it {within}"),
                    NoAnswer::OutcomeUnknown | NoAnswer::Gone => {
                        format!("outcome unknown: no answer of actor {to} {within}")
                    }
                })
            }
            Waited::Overdue(order) => {
                answer.withdraw();
                Err(match order {
                    OrderKind::Stop | OrderKind::Cycle | OrderKind::Fail => Interruption::Ordered,
                    OrderKind::Suspend => Interruption::Suspending,
                })
            }
        }
    }
}

fn understand(to: ActorId, Answer { outcome, closing }: Answer) -> Answered<Requested> {
    let result = match outcome {
        Outcome::Returned(result) => Vec::from_cbor(&result).map_err(|error| error.to_string()),
        Outcome::Refused(message) => Err(message),
        Outcome::Failed(why) => Err(format!("actor {to} failed: {why}")),
        Outcome::Stopped => Err(format!("outcome unknown: actor {to} was stopped while it worked on it")),
        Outcome::Dropped(why) => Err(format!("not delivered: actor {to} {why}")),
    };
    Answered { result, answer: closing }
}
