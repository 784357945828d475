//! The host functions of `connections`: an actor sends to its WebSocket clients at any time.
//!
//! A push is one event, however many connections it goes to. Room for it is taken in the queue of each connection before it is
//! recorded, so that the recorded result says who does not get it. It is put into the queues after the commit.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::outgoing::{frame_of, outgoing};
use crate::base::fail;
use crate::base::limits::PUSHED_TO;
use crate::chain::{Function, function};
use crate::guest::wit::{NotQueued, NotQueuedReason, WebSocketMessage, WebSocketResponse};
use crate::guest::{Effect, HostState, Interruption, Live};
use crate::handlers::slow_clients::SlowClients;
use crate::journal::JournalHandle;
use crate::net::ClientQueue;
use crate::system::ClientKind;

pub(in crate::handlers) const IMPORTS: &[&str] = &["ntwk:theater/connections"];

const PUSH: &Function = function!("ntwk:theater/connections", "push");
const CLOSE: &Function = function!("ntwk:theater/connections", "close");
const CONNECTIONS: &Function = function!("ntwk:theater/connections", "connections");

/// What becomes of this actor's slow connections.
pub(super) struct SlowConnections(pub(super) SlowClients);

pub(super) fn link(linker: &mut Linker<Box<HostState>>) -> wasmtime::Result<()> {
    let mut connections = linker.instance(IMPORTS[0])?;
    connections.func_wrap("push", push)?;
    connections.func_wrap("close", close)?;
    connections.func_wrap("connections", |store, (): ()| list(store))
}

/// The answer to the guest: the connections that do not get the message.
type Pushed = Result<Vec<NotQueued>, String>;

fn push(
    mut store: StoreContextMut<'_, Box<HostState>>,
    (mut to, mut message): (Vec<u64>, WebSocketMessage),
) -> wasmtime::Result<(Pushed,)> {
    let state = store.data_mut();
    let (live, limit) = (state.live().cloned(), state.limits.push_bytes);
    let refused = bounded(&mut to, &mut message, limit);
    let params = (to, message);
    let pushed = state.recorder.host_call(PUSH, &params, |_| {
        let live = live.as_deref().expect("effects run live");
        let room = || live.theater.journal.has_room_within().map_err(|low| low.to_string());
        let sendable = refused.map_or(Ok(()), Err).and_then(|()| room()).and_then(|()| sendable(&params.1));
        Ok::<_, Interruption>(match sendable {
            Ok(frame) => queued(live, &params.0, frame),
            Err(why) => Effect::Look(Err(why)),
        })
    })?;
    Ok((pushed,))
}

/// Why a push is refused. Of what is too long only the beginning is recorded, so that a guest cannot fill the disk with it.
fn bounded(to: &mut Vec<u64>, message: &mut WebSocketMessage, limit: u64) -> Option<String> {
    let count = to.len();
    if count > PUSHED_TO {
        to.truncate(PUSHED_TO);
        (message.data, message.text) = (None, None);
        return Some(format!("a push to {count} connections: the most is {PUSHED_TO}"));
    }
    let bytes = message.data.as_ref().map_or(0, Vec::len) + message.text.as_ref().map_or(0, String::len);
    if bytes as u64 > limit {
        (message.data, message.text) = (None, None);
        return Some(format!("a message of {bytes} bytes: the limit push_bytes is {limit}"));
    }
    None
}

fn sendable(message: &WebSocketMessage) -> Result<Arc<[u8]>, String> {
    match outgoing(message.clone())? {
        Some(message) => Ok(frame_of(&message)),
        None => Err("a \"close\": close a connection with connections.close".to_owned()),
    }
}

/// Takes room in each queue, and has the message put into those that have room once that is recorded.
fn queued<'a>(live: &'a Live, to: &[u64], frame: Arc<[u8]>) -> Effect<'a, Pushed> {
    let (mut taken, mut full, mut not_queued) = (Vec::with_capacity(to.len()), Vec::new(), Vec::new());
    let room = frame.len();
    for id in to {
        let mut unable = |reason| not_queued.push(NotQueued { connection: *id, reason });
        match live.theater.clients.find(live.id, ClientKind::Connection, *id) {
            None => unable(NotQueuedReason::Gone),
            Some(queue) => match queue.reserve(room) {
                Ok(()) => taken.push(queue),
                Err(_) => {
                    unable(NotQueuedReason::Full);
                    full.push(queue);
                }
            },
        }
    }
    let slow = live.extensions.get::<SlowConnections>().map_or_else(SlowClients::default, |slow| slow.0);
    let act = Box::new(move |_| {
        fail::point("push-recorded");
        send_after_commit(&live.theater.journal, taken, frame);
        if !full.is_empty() {
            // A journal that is down ends the process.
            let _ = live.theater.journal.release(move || slow.settle(&full));
        }
        fail::point_after("push-committed", || _ = live.theater.journal.flush());
    });
    Effect::Announce { result: Ok(not_queued), owes: None, settles: None, act }
}

/// Sends a frame, for which room was taken, after the commit of everything that was recorded so far.
fn send_after_commit(journal: &JournalHandle, to: Vec<Arc<ClientQueue>>, frame: Arc<[u8]>) {
    let Some(writer) = to.iter().find_map(|queue| queue.writer().cloned()) else { return };
    // The error of a journal that is down is ignored: what rests on an event that was never committed must not leave.
    let _ = journal.release(move || {
        to.iter().for_each(|queue| queue.put(Arc::clone(&frame), frame.len()));
        writer.flush(to);
    });
}

/// Sends the answer to a message of a connection after the commit of everything that was recorded so far, up to a `close`
/// among the messages, or one that cannot be sent. The connection's own thread ends it for these.
pub(crate) fn send_answer(journal: &JournalHandle, queue: Arc<ClientQueue>, response: WebSocketResponse) {
    let messages = response.messages.into_iter().map_while(|message| outgoing(message).ok().flatten());
    let frames: Vec<Arc<[u8]>> = messages.map(|message| frame_of(&message)).collect();
    if frames.is_empty() {
        return;
    }
    let frames: Arc<[u8]> = if frames.len() == 1 { Arc::clone(&frames[0]) } else { frames.concat().into() };
    if queue.reserve(frames.len()).is_err() {
        // An answer that is left out would not be noticed. So the client is disconnected, whatever `slow` says.
        let _ = journal.release(move || queue.cut());
        return;
    }
    send_after_commit(journal, vec![queue], frames);
}

fn close(
    mut store: StoreContextMut<'_, Box<HostState>>,
    params: (u64, u16),
) -> wasmtime::Result<(Result<bool, String>,)> {
    let state = store.data_mut();
    let live = state.live().cloned();
    let closed = state.recorder.host_call(CLOSE, &params, |_| {
        let live = live.as_deref().expect("effects run live");
        let (id, code) = params;
        if !matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999) {
            let why = format!("{code} is no code that may be sent: give 1000 to 1003, 1007 to 1013, or 3000 to 4999");
            return Ok::<_, Interruption>(Effect::Look(Err(why)));
        }
        let Some(queue) = live.theater.clients.find(live.id, ClientKind::Connection, id) else {
            return Ok(Effect::Look(Ok(false)));
        };
        queue.begin_closing();
        let act = Box::new(move |_| {
            // The error of a journal that is down is ignored, as above.
            let _ = live.theater.journal.release(move || queue.ask_to_close(code));
        });
        Ok(Effect::Announce { result: Ok(true), owes: None, settles: None, act })
    })?;
    Ok((closed,))
}

fn list(mut store: StoreContextMut<'_, Box<HostState>>) -> wasmtime::Result<(Vec<u64>,)> {
    let state = store.data_mut();
    let live = state.live().cloned();
    let open = state.recorder.host_call(CONNECTIONS, &(), |_| {
        let live = live.as_deref().expect("effects run live");
        Ok(Effect::Look(live.theater.clients.open(live.id, ClientKind::Connection)))
    })?;
    Ok((open,))
}
