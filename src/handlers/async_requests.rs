//! The handler `async-requests`, which every actor has: an actor asks others, and is told of the answers later.
//!
//! A request is a promise that the actor makes to itself (`promise/async_request.rs`). The host call that makes it is recorded
//! together with a row of `pending`, and then delivers the message. `system/async_requests.rs` has the open requests, and the
//! answers that have come; `actor/serve.rs` takes them.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::Grant;
use crate::base::limits::{ADDRESS_BYTES, Limits};
use crate::base::{clock, fail};
use crate::guest::{Capability, Effect, Export, GuestExport, HostState, Interruption, Live, StateOnly};
use crate::manifest::{HandlerEntry, ManifestError};
use crate::promise::{AskParams, HANDLE_REPLY, REQUEST_ASYNC, ReplyParams, ReservedAsync};
use crate::system::{DueTime, Refusal};

pub(super) const NAME: &str = "async-requests";
pub(super) const IMPORTS: &[&str] = &["ntwk:theater/async-requests"];

struct AsyncRequestsHandler;

/// The handler has no settings.
#[derive(serde::Deserialize)]
struct Config {}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> {
    if let Some(entry) = entry {
        let Config {} = entry.config(&[])?;
    }
    Ok(Box::new(AsyncRequestsHandler))
}

impl Grant for AsyncRequestsHandler {}

impl Capability for AsyncRequestsHandler {
    fn name(&self) -> &'static str {
        NAME
    }

    fn imports(&self) -> &'static [&'static str] {
        IMPORTS
    }

    fn link(&self, linker: &mut Linker<Box<HostState>>) -> wasmtime::Result<()> {
        linker.instance(IMPORTS[0])?.func_wrap("request-async", request_async)
    }

    fn exports(&self) -> Vec<Box<dyn GuestExport>> {
        vec![Box::new(Export::<ReplyParams, StateOnly>::new(HANDLE_REPLY))]
    }

    fn exports_are_optional(&self) -> bool {
        true
    }
}

/// The answer to the guest: the token, which is the sequence of the event of this host call.
type AskedFor = Result<u64, String>;

fn request_async(mut store: StoreContextMut<'_, Box<HostState>>, asked: AskParams) -> wasmtime::Result<(AskedFor,)> {
    let state = store.data_mut();
    let (live, limits) = (state.live().cloned(), Arc::clone(&state.limits));
    let (params, refused) = bounded(asked, &limits);
    let token = state.recorder.next_sequence();
    let answered = state.recorder.host_call(REQUEST_ASYNC, &params, |_| {
        let live = live.as_deref().expect("effects run live");
        let asked = match refused {
            Some(why) => Err(Refused::Because(why)),
            None => reserve(live, &limits, &params),
        };
        match asked {
            Ok(request) => {
                let (owes, to) = (Some(request.owed(live.id)), request.to());
                let act = Box::new(|event| {
                    fail::point("async-recorded");
                    fail::point_after("async-committed", || _ = live.theater.journal.flush());
                    request.fill(live, event);
                });
                Ok(Effect::Announce { result: Ok(token), owes, settles: None, act }.to(&params.0, to))
            }
            Err(Refused::Because(why)) => Ok(Effect::Look(Err(why))),
            // The transition is left open, and goes on after the next start of the runtime.
            Err(Refused::Suspending) => Err(Interruption::Suspending),
        }
    })?;
    Ok((answered,))
}

enum Refused {
    Because(String),
    Suspending,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        if refusal == Refusal::Suspending { Self::Suspending } else { Self::Because(refusal.to_string()) }
    }
}

/// Reserves a place for the message in the mailbox of the actor that the address stands for.
fn reserve(live: &Live, limits: &Limits, (address, message, within_ms): &AskParams) -> Result<ReservedAsync, Refused> {
    let (theater, limit) = (&live.theater, limits.async_requests);
    let exports = theater.registry.entry(live.id, |entry| entry.exports.contains(HANDLE_REPLY.full));
    if exports != Some(true) {
        let why = format!("this actor does not export {}, so it could not be told of the answer", HANDLE_REPLY.full);
        return Err(Refused::Because(why));
    }
    if theater.async_requests.of(live.id).count() as u64 >= limit {
        let why = format!(
            "{limit} asynchronous requests have no answer yet: the limit async_requests is {limit}; wait for some, or raise the \
             limit"
        );
        return Err(Refused::Because(why));
    }
    let to = theater.registry.resolve(address).map_err(|why| Refused::Because(why.to_string()))?;
    let within_ms = within_ms.expect("it is filled in");
    let due = DueTime::after(clock::moment(), within_ms);
    Ok(ReservedAsync::reserve(live, to, message.clone(), within_ms, due)?)
}

/// What is recorded of the parameters: the deadline that holds, and all of the message, unless it is refused for its size, so
/// that a guest cannot fill the disk with refused messages.
fn bounded((mut to, message, within_ms): AskParams, limits: &Limits) -> (AskParams, Option<String>) {
    // One byte more than an address can have: what is cut is no address either.
    to.truncate(to.floor_char_boundary(ADDRESS_BYTES + 1));
    let within_ms = Some(within_ms.unwrap_or(limits.request_deadline_ms));
    let (size, limit) = (message.len(), limits.message_bytes);
    if size as u64 <= limit {
        return ((to, message, within_ms), None);
    }
    ((to, Vec::new(), within_ms), Some(Refusal::TooLarge { size, limit }.to_string()))
}
