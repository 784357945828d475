//! The host functions of `streams`: an actor sends the body of an HTTP answer piece by piece.
//!
//! Room for a piece is taken in the queue of the stream before the event is recorded, so that the recorded result says whether
//! the client gets it. The piece is put into the queue after the commit.

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::base::fail;
use crate::chain::{Function, function};
use crate::guest::wit::NotPushed;
use crate::guest::{Effect, HostState, Interruption, Live};
use crate::handlers::slow_clients::SlowClients;
use crate::system::ClientKind;

pub(in crate::handlers) const IMPORTS: &[&str] = &["ntwk:theater/streams"];

const PUSH_CHUNK: &Function = function!("ntwk:theater/streams", "push-chunk");
const END: &Function = function!("ntwk:theater/streams", "end");
const STREAMS: &Function = function!("ntwk:theater/streams", "streams");

/// What becomes of this actor's streams whose clients are slow.
pub(super) struct SlowStreams(pub(super) SlowClients);

pub(super) fn link(linker: &mut Linker<Box<HostState>>) -> wasmtime::Result<()> {
    let mut streams = linker.instance(IMPORTS[0])?;
    streams.func_wrap("push-chunk", push_chunk)?;
    streams.func_wrap("end", end)?;
    streams.func_wrap("streams", |store, (): ()| list(store))
}

/// The answer to the guest.
type Pushed = Result<(), NotPushed>;

fn push_chunk(
    mut store: StoreContextMut<'_, Box<HostState>>,
    (id, mut bytes): (u64, Vec<u8>),
) -> wasmtime::Result<(Pushed,)> {
    let state = store.data_mut();
    let (live, limit, size) = (state.live().cloned(), state.limits.push_bytes, bytes.len());
    let is_too_long = size as u64 > limit;
    if is_too_long {
        // A guest cannot fill the disk with what is refused.
        bytes.clear();
    }
    let params = (id, bytes);
    let pushed = state.recorder.host_call(PUSH_CHUNK, &params, |_| {
        let live = live.as_deref().expect("effects run live");
        if is_too_long {
            let why = format!("a piece of {size} bytes: the limit push_bytes is {limit}");
            return Ok::<_, Interruption>(Effect::Look(Err(NotPushed::Refused(why))));
        }
        if let Err(low) = live.theater.journal.has_room_within() {
            return Ok(Effect::Look(Err(NotPushed::Refused(low.to_string()))));
        }
        Ok(queued(live, id, &params.1))
    })?;
    Ok((pushed,))
}

/// Takes room in the queue, and has the piece put into it once that is recorded.
fn queued<'a>(live: &'a Live, id: u64, bytes: &[u8]) -> Effect<'a, Pushed> {
    let Some(queue) = live.theater.clients.find(live.id, ClientKind::Stream, id) else {
        return Effect::Look(Err(NotPushed::Gone));
    };
    if bytes.is_empty() {
        // An empty chunk would end the body.
        return Effect::Look(Ok(()));
    }
    let piece = queue.framed(bytes);
    let room = piece.len();
    let slow = live.extensions.get::<SlowStreams>().map_or_else(SlowClients::default, |slow| slow.0);
    let is_queued = queue.reserve(room).is_ok();
    let act = Box::new(move |_| {
        fail::point("chunk-recorded");
        // The error of a journal that is down is ignored: what rests on an event that was never committed must not leave.
        let _ = live.theater.journal.release(move || {
            if is_queued {
                queue.put(piece, room);
                queue.flush_later();
            } else {
                slow.settle(&[queue]);
            }
        });
        fail::point_after("chunk-committed", || _ = live.theater.journal.flush());
    });
    let result = if is_queued { Ok(()) } else { Err(NotPushed::Full) };
    Effect::Announce { result, owes: None, settles: None, act }
}

fn end(mut store: StoreContextMut<'_, Box<HostState>>, params: (u64,)) -> wasmtime::Result<(bool,)> {
    let state = store.data_mut();
    let live = state.live().cloned();
    let was_open = state.recorder.host_call(END, &params, |_| {
        let live = live.as_deref().expect("effects run live");
        let (clients, id) = (&live.theater.clients, params.0);
        // Who takes the stream out of the table settles the promise: nobody tells of its end any more.
        let taken = clients.find(live.id, ClientKind::Stream, id);
        let taken = taken.and_then(|queue| Some((clients.over(live.id, &queue)?, queue)));
        let Some((promised_by, queue)) = taken else { return Ok::<_, Interruption>(Effect::Look(false)) };
        let act = Box::new(move |_| {
            fail::point("end-of-stream-recorded");
            // As above.
            let _ = live.theater.journal.release(move || queue.end());
            fail::point_after("end-of-stream-committed", || _ = live.theater.journal.flush());
        });
        Ok(Effect::Announce { result: true, owes: None, settles: Some(promised_by.sequence), act })
    })?;
    Ok((was_open,))
}

fn list(mut store: StoreContextMut<'_, Box<HostState>>) -> wasmtime::Result<(Vec<u64>,)> {
    let state = store.data_mut();
    let live = state.live().cloned();
    let open = state.recorder.host_call(STREAMS, &(), |_| {
        let live = live.as_deref().expect("effects run live");
        Ok(Effect::Look(live.theater.clients.open(live.id, ClientKind::Stream)))
    })?;
    Ok((open,))
}
