//! The handler `deferred-replies`, which every actor has: an actor puts off the answer to a request, and gives it later.
//!
//! The host call `defer` promises the answer (`promise/deferred.rs`), and the recorder takes note of it, so that the `return` of
//! the call says that it does not answer. When the call is over, the actor's thread puts the reply of whoever waits among the
//! answers that were put off (`system/deferrals.rs`), from where `reply` takes it.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::Grant;
use crate::base::fail;
use crate::base::limits::Limits;
use crate::chain::cbor::Cbor;
use crate::chain::data::Caller;
use crate::chain::{Function, Link};
use crate::guest::wit::HttpResponse;
use crate::guest::{Capability, Effect, GuestExport, HostState, Interruption, Live, PutOff};
use crate::manifest::{HandlerEntry, ManifestError};
use crate::promise::{
    DEFER, HANDLE_REQUEST, HANDLE_STREAM_REQUEST, Promise, REPLY, REPLY_HTTP, is_kept_for_a_key, outcome_of, too_late,
    why_not_open,
};
use crate::system::{Answer, Outcome, Refusal, Reply};

pub(super) const NAME: &str = "deferred-replies";
pub(super) const IMPORTS: &[&str] = &["ntwk:theater/deferred-replies"];

const HTTP: &str = "ntwk:theater/http-server";

struct DeferredRepliesHandler;

/// The handler has no settings.
#[derive(serde::Deserialize)]
struct Config {}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> {
    if let Some(entry) = entry {
        let Config {} = entry.config(&[])?;
    }
    Ok(Box::new(DeferredRepliesHandler))
}

impl Grant for DeferredRepliesHandler {}

impl Capability for DeferredRepliesHandler {
    fn name(&self) -> &'static str {
        NAME
    }

    fn imports(&self) -> &'static [&'static str] {
        IMPORTS
    }

    fn link(&self, linker: &mut Linker<Box<HostState>>) -> wasmtime::Result<()> {
        let mut replies = linker.instance(IMPORTS[0])?;
        replies.func_wrap("defer", |store, (): ()| defer(store))?;
        replies.func_wrap("reply", reply)?;
        replies.func_wrap("reply-http", reply_http)
    }

    fn exports(&self) -> Vec<Box<dyn GuestExport>> {
        Vec::new()
    }
}

/// The answer to the guest: the token, which is the sequence of the event of this host call.
type Deferred = Result<u64, String>;
type Given = Result<(), String>;

fn defer(mut store: StoreContextMut<'_, Box<HostState>>) -> wasmtime::Result<(Deferred,)> {
    let state = store.data_mut();
    let (live, limits, called) = (state.live().cloned(), Arc::clone(&state.limits), state.called);
    let (token, before) = (state.recorder.next_sequence(), state.recorder.deferred());
    let (function, caller) = called.expect("a guest is in a call");
    let (is_http, is_owed) = (answers_http(function), caller == Caller::Actor);
    let put_off = state.recorder.host_call(DEFER, &(), |_| {
        let live = live.as_deref().expect("effects run live");
        Ok::<_, Interruption>(match room(live, &limits, function, before) {
            Ok(gives_way) => {
                // Whoever is outside goes with the process.
                let owes = if is_owed { Promise::DeferredAnswer.owed(live.id) } else { None };
                // The reply is put among those that were put off once the call is over.
                let act = Box::new(move |_| {
                    gives_way.iter().for_each(|token| drop(live.theater.deferrals.take(live.id, *token)));
                    fail::point("defer-recorded");
                    fail::point_after("defer-committed", || _ = live.theater.journal.flush());
                });
                Effect::Announce { result: Ok(token), owes, settles: gives_way, act }
            }
            Err(why) => Effect::Look(Err(why)),
        })
    })?;
    if let Ok(token) = &put_off {
        state.recorder.defer(PutOff { token: *token, is_http, is_owed });
    }
    Ok((put_off,))
}

/// Whether the export answers HTTP requests.
fn answers_http(function: &Function) -> bool {
    function.interface == HTTP || function.full == HANDLE_STREAM_REQUEST.full
}

/// Whether the answer to a call can be put off; if so, the answer that nobody waits for any more and that gives its place to
/// this one, if one has to.
fn room(
    live: &Live,
    limits: &Limits,
    function: &'static Function,
    before: Option<PutOff>,
) -> Result<Option<u64>, String> {
    live.theater.journal.has_room_within().map_err(|low| low.to_string())?;
    if !answers_http(function) && function.full != HANDLE_REQUEST.full {
        return Err(format!("nobody waits for the answer to {}", function.full));
    }
    if let Some(PutOff { token, .. }) = before {
        return Err(format!("the answer to this call was put off already, with the token {token}"));
    }
    let limit = limits.deferred_replies;
    live.theater.deferrals.room(live.id, limit).ok_or_else(|| {
        format!(
            "{limit} answers are put off already: the limit deferred_replies is {limit}; give some of them, or raise the limit"
        )
    })
}

fn reply(
    mut store: StoreContextMut<'_, Box<HostState>>,
    (token, answer): (u64, Result<Vec<u8>, String>),
) -> wasmtime::Result<(Given,)> {
    let state = store.data_mut();
    let (size, limit) = (answer.as_ref().map_or_else(String::len, Vec::len), state.limits.message_bytes);
    let refused = (size as u64 > limit).then(|| Refusal::TooLarge { size, limit }.to_string());
    // Of what is too long nothing is recorded, so that a guest cannot fill the disk with it.
    let params = if refused.is_some() { (token, Err(String::new())) } else { (token, answer) };
    let outcome = outcome_of(params.1.clone());
    Ok((give(state, REPLY, &params, token, refused, outcome)?,))
}

fn reply_http(
    mut store: StoreContextMut<'_, Box<HostState>>,
    (token, response): (u64, HttpResponse),
) -> wasmtime::Result<(Given,)> {
    let state = store.data_mut();
    let head: usize = response.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let size = head + response.body.as_ref().map_or(0, Vec::len);
    let limit = state.limits.http_body_bytes + state.limits.http_head_bytes;
    let refused = (size as u64 > limit).then(|| {
        format!("a response of {size} bytes: the limits http_body_bytes and http_head_bytes are {limit} together")
    });
    let bare = || HttpResponse { status: response.status, headers: Vec::new(), body: None };
    let params = if refused.is_some() { (token, bare()) } else { (token, response) };
    let outcome = Outcome::Returned(params.1.to_cbor());
    Ok((give(state, REPLY_HTTP, &params, token, refused, outcome)?,))
}

/// Records a host call that gives an answer which was put off, and gives it.
fn give<P: Cbor>(
    state: &mut HostState,
    function: &'static Function,
    params: &P,
    token: u64,
    refused: Option<String>,
    outcome: Outcome,
) -> wasmtime::Result<Given> {
    let (live, before) = (state.live().cloned(), state.recorder.deferred());
    state.recorder.host_call(function, params, |_| {
        let live = live.as_deref().expect("effects run live");
        if let Some(why) = refused {
            return Ok(Effect::Look(Err(why)));
        }
        if before.is_some_and(|before| before.token == token) {
            let why = format!("the call that put off the answer with the token {token} is not over: return the answer");
            return Ok(Effect::Look(Err(why)));
        }
        let deferrals = &live.theater.deferrals;
        let Some(open) = deferrals.look(live.id, token) else {
            return Ok(Effect::Look(not_open(live, token)?));
        };
        if open.is_http != (function.full == REPLY_HTTP.full) {
            let (whom, with) = if open.is_http { ("an HTTP client", REPLY_HTTP) } else { ("a message", REPLY) };
            let why = format!("the answer with the token {token} is for {whom}: give it with {}", with.name);
            return Ok(Effect::Look(Err(why)));
        }
        let reply = move || deferrals.take(live.id, token).unwrap_or(Reply::Nobody);
        if !open.is_awaited {
            let act = Box::new(move |_| drop(reply()));
            let result = if open.is_keyed { Ok(()) } else { Err(too_late(token)) };
            return Ok(Effect::Announce { result, owes: None, settles: Some(token), act });
        }
        let act = Box::new(move |event: Link| {
            fail::point("reply-given");
            fail::point_after("reply-given-committed", || _ = live.theater.journal.flush());
            live.theater.give(reply(), Answer { outcome, closing: Some(event) });
        });
        Ok(Effect::Announce { result: Ok(()), owes: None, settles: Some(token), act })
    })
}

/// What becomes of an answer that is not open, as the actor's chain says it: it is kept for who repeats the request, or there is a
/// reason why it cannot be given.
fn not_open(live: &Live, token: u64) -> Result<Given, Interruption> {
    const PAGE: u64 = 1_024;
    const PAGE_BYTES: usize = 4 << 20;
    let journal = &live.theater.journal;
    // The chain is read as far as it is on disk.
    journal.flush().map_err(|_| Interruption::JournalDown)?;
    let unreadable = |why: String| {
        log::error!("the chain of actor {} cannot be read: {why}", live.name);
        Interruption::JournalDown
    };
    let reader = journal.reader().map_err(|error| unreadable(error.to_string()))?;
    let Some(key) = live.theater.key(live.id) else { return Ok(Err(too_late(token))) };
    let page = |from: u64| reader.events(key, from, PAGE, PAGE_BYTES);
    let kept = is_kept_for_a_key(token, page).and_then(|is_kept| match is_kept {
        true => Ok(Ok(())),
        false => why_not_open(live.id, token, page).map(Err),
    });
    kept.map_err(|error| unreadable(error.to_string()))
}
