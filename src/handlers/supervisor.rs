//! `supervisor`: an actor spawns, watches, stops and restarts children, and reads their state and history.
//!
//! What changes a child records an intent first; what only reads is recorded with its result. State and history come
//! from the journal, never through the child's mailbox.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use serde::Deserialize;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::Handler;
use crate::base::id::ActorId;
use crate::base::limits::PATH_BYTES;
use crate::chain::cbor::Cbor;
use crate::chain::data::StoppedBy;
use crate::chain::shown::{shown, shown_from};
use crate::chain::{Function, Link, function};
use crate::guest::wit::{ChildEvent, SupervisedEvent};
use crate::guest::{
    Answered, Attempt, Capability, Effect, Export, Extensions, GuestExport, HostState, Interruption, Live, StateOnly,
};
use crate::manifest::{HandlerEntry, ManifestError};
use crate::system::{Awaited, Confinement, OrderKind, Parentage, SpawnRequest, Spawned, Vouched, Waited};

pub(super) const NAME: &str = "supervisor";
pub(super) const IMPORTS: &[&str] = &["ntwk:theater/supervisor"];

pub(crate) const HANDLE_CHILD_EVENT: &Function = function!("ntwk:theater/supervisor-handlers", "handle-child-event");
pub(crate) const SPAWN: &Function = function!("ntwk:theater/supervisor", "spawn");
const LIST_CHILDREN: &Function = function!("ntwk:theater/supervisor", "list-children");
pub(crate) const STOP_CHILD: &Function = function!("ntwk:theater/supervisor", "stop-child");
pub(crate) const RESTART_CHILD: &Function = function!("ntwk:theater/supervisor", "restart-child");
const GET_CHILD_STATE: &Function = function!("ntwk:theater/supervisor", "get-child-state");
const GET_CHILD_EVENTS: &Function = function!("ntwk:theater/supervisor", "get-child-events");

/// A child's `init` and end are bounded by their own limits; this only keeps a defect from holding a parent for ever.
const PATIENCE: Duration = Duration::from_secs(3_600);

#[derive(Default)]
struct Supervisor {
    allow: Vec<PathBuf>,
    children: Vec<PathBuf>,
}

#[derive(Deserialize, Default)]
struct Config {
    /// Directories from which children may be spawned, beside the manifest's own.
    #[serde(default)]
    allow: Vec<String>,
    /// Manifests that may be spawned wherever they lie, as they were when this one was read.
    #[serde(default)]
    children: Vec<String>,
}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Handler>, ManifestError> {
    let Some(entry) = entry else { return Ok(Box::new(Supervisor::default())) };
    let config: Config = entry.config(&["allow", "children"])?;
    let allow = config.allow.iter().map(|directory| entry.beside(directory)).collect();
    let children = config.children.iter().map(|manifest| entry.beside(manifest)).collect();
    Ok(Box::new(Supervisor { allow, children }))
}

/// From where children may be spawned, beside the manifest's own directory.
struct Allowed(Vec<PathBuf>);

impl Handler for Supervisor {
    fn install(&self, extensions: &mut Extensions) {
        extensions.insert(Allowed(self.allow.clone()));
    }

    fn spawns_from(&self) -> Option<&[PathBuf]> {
        Some(&self.allow)
    }

    fn children(&self) -> &[PathBuf] {
        &self.children
    }
}

impl Capability for Supervisor {
    fn name(&self) -> &'static str {
        NAME
    }

    fn imports(&self) -> &'static [&'static str] {
        IMPORTS
    }

    fn link(&self, linker: &mut Linker<Box<HostState>>) -> wasmtime::Result<()> {
        let mut supervisor = linker.instance(IMPORTS[0])?;
        supervisor.func_wrap("spawn", spawn)?;
        supervisor.func_wrap("list-children", |store, (): ()| list_children(store))?;
        supervisor.func_wrap("stop-child", |store, child| change(store, STOP_CHILD, child))?;
        supervisor.func_wrap("restart-child", |store, child| change(store, RESTART_CHILD, child))?;
        supervisor.func_wrap("get-child-state", |store, child| read(store, GET_CHILD_STATE, child, child_state))?;
        supervisor.func_wrap("get-child-events", |store, child| read(store, GET_CHILD_EVENTS, child, child_events))
    }

    fn exports(&self) -> Vec<Box<dyn GuestExport>> {
        vec![Box::new(Export::<(ChildEvent,), StateOnly>::new(HANDLE_CHILD_EVENT))]
    }

    fn exports_are_optional(&self) -> bool {
        true
    }
}

type HostStore<'a> = StoreContextMut<'a, Box<HostState>>;

/// What is longer than any path is cut before it is recorded, and is no path either way.
fn cut((mut text,): (String,)) -> (String,) {
    text.truncate(text.floor_char_boundary(PATH_BYTES));
    (text,)
}

fn spawn(mut store: HostStore<'_>, params: (String,)) -> wasmtime::Result<(Result<String, String>,)> {
    let params = cut(params);
    let state = store.data_mut();
    let (live, children) = (state.live().cloned(), state.limits.children);
    let spawned = state.recorder.host_call(SPAWN, &params, |attempt| {
        let live = live.as_deref().expect("effects run live");
        if attempt != Attempt::First {
            return Ok(Effect::Act { owes: None, act: Box::new(|intent| spawn_again(live, &params.0, intent)) });
        }
        if live.theater.registry.children(live.id).len() as u64 >= children {
            return Ok(Effect::Read(Err(format!("too many children: the limit children is {children}"))));
        }
        Ok(Effect::Act { owes: None, act: Box::new(|intent| spawn_child(live, &params.0, intent)) })
    })?;
    Ok((spawned,))
}

/// A spawn that was under way when an earlier process ended: the child's id tells whether it is there.
fn spawn_again(live: &Live, manifest: &str, intent: Link) -> Result<Answered<Result<String, String>>, Interruption> {
    match live.recovered.try_recv() {
        Ok(Awaited::Child { spawned, wait }) => {
            let spawned = wait_for(live, &spawned);
            live.theater.registry.end_wait(live.id, wait);
            spawned.map(answered_by_child)
        }
        Ok(Awaited::Answer { .. } | Awaited::Done(_)) | Err(_) => spawn_child(live, manifest, intent),
    }
}

fn answered_by_child(spawned: Result<Spawned, String>) -> Answered<Result<String, String>> {
    match spawned {
        Ok(Spawned { id, closing }) => Answered { result: Ok(id.to_string()), answer: closing },
        Err(why) => Answered { result: Err(why), answer: None },
    }
}

fn spawn_child(live: &Live, manifest: &str, intent: Link) -> Result<Answered<Result<String, String>>, Interruption> {
    let child = ActorId::of_child(live.id, intent.sequence);
    let wait = match live.theater.registry.begin_wait_for_init(live.id, child) {
        Ok(wait) => wait,
        Err(refusal) => return Ok(Answered { result: Err(refusal.to_string()), answer: None }),
    };
    let allowed = live.extensions.get::<Allowed>().map_or(&[][..], |allowed| &allowed.0);
    let directories = [std::slice::from_ref(&live.manifest_dir), allowed].concat();
    let vouched = live.extensions.get::<Arc<[Vouched]>>().cloned().unwrap_or_default();
    let confinement = Confinement { directories, vouched };
    let parentage = Parentage { parent: live.id, child, cause: intent, wait, confinement };
    let request = SpawnRequest { manifest: live.manifest_dir.join(manifest), parentage: Some(parentage) };
    let spawned = wait_for(live, &live.theater.control.spawn(request));
    live.theater.registry.end_wait(live.id, wait);
    spawned.map(answered_by_child)
}

/// Waits for the supervisor's answer, or for the order to end.
fn wait_for<T>(live: &Live, answer: &Receiver<Result<T, String>>) -> Result<Result<T, String>, Interruption> {
    match live.stop.wait(answer, Instant::now() + PATIENCE) {
        Waited::Came(answer) => Ok(answer),
        // The supervisor has ended: the runtime is shutting down.
        Waited::Gone | Waited::Deadline | Waited::Overdue(OrderKind::Suspend) => Err(Interruption::Suspending),
        Waited::Overdue(OrderKind::Stop | OrderKind::Cycle | OrderKind::Fail) => Err(Interruption::Ordered),
    }
}

fn list_children(mut store: HostStore<'_>) -> wasmtime::Result<(Vec<String>,)> {
    let state = store.data_mut();
    let live = state.live().cloned();
    let children = state.recorder.host_call(LIST_CHILDREN, &(), |_| {
        let live = live.as_deref().expect("effects run live");
        Ok(Effect::Read(live.theater.registry.children(live.id).iter().map(ToString::to_string).collect()))
    })?;
    Ok((children,))
}

/// The child that `text` names, if it is below this actor.
fn descendant(live: &Live, text: &str) -> Result<ActorId, String> {
    let child = text.parse().ok().filter(|child| live.theater.registry.is_descendant(*child, live.id));
    child.ok_or_else(|| format!("not a child of this actor: {}", text.chars().take(64).collect::<String>()))
}

fn change(
    mut store: HostStore<'_>,
    function: &'static Function,
    params: (String,),
) -> wasmtime::Result<(Result<(), String>,)> {
    let params = cut(params);
    let state = store.data_mut();
    let live = state.live().cloned();
    let changed = state.recorder.host_call(function, &params, |attempt| {
        let live = live.as_deref().expect("effects run live");
        if attempt != Attempt::First
            && let Ok(Awaited::Done(event)) = live.recovered.try_recv()
        {
            let act = |_| Ok(Answered { result: Ok(()), answer: Some(event) });
            return Ok(Effect::Act { owes: None, act: Box::new(act) });
        }
        let child = match descendant(live, &params.0) {
            Ok(child) => child,
            Err(why) => return Ok(Effect::Read(Err(why))),
        };
        let act = move |intent| {
            let control = &live.theater.control;
            let answer = match function.name {
                "stop-child" => control.stop(child, StoppedBy::Parent, Some(intent)),
                _ => control.restart(child, StoppedBy::Parent, Some(intent)),
            };
            Ok(match wait_for(live, &answer)? {
                Ok(answer) => Answered { result: Ok(()), answer },
                Err(why) => Answered { result: Err(why), answer: None },
            })
        };
        Ok(Effect::Act { owes: None, act: Box::new(act) })
    })?;
    Ok((changed,))
}

fn read<R: Cbor>(
    mut store: HostStore<'_>,
    function: &'static Function,
    params: (String,),
    from_journal: fn(&Live, ActorId) -> Result<R, String>,
) -> wasmtime::Result<(Result<R, String>,)>
where
    Result<R, String>: Cbor,
{
    let params = cut(params);
    let state = store.data_mut();
    let live = state.live().cloned();
    let found = state.recorder.host_call(function, &params, |_| {
        let live = live.as_deref().expect("effects run live");
        live.theater.journal.flush().map_err(|_| Interruption::JournalDown)?;
        Ok(Effect::Read(descendant(live, &params.0).and_then(|child| from_journal(live, child))))
    })?;
    Ok((found,))
}

fn child_state(live: &Live, child: ActorId) -> Result<Vec<u8>, String> {
    let key = live.theater.key(child).ok_or("it is gone")?;
    let reader = live.theater.journal.reader().map_err(|error| error.to_string())?;
    Ok(reader.newest_state(key).map_err(|error| error.to_string())?.unwrap_or_default())
}

fn child_events(live: &Live, child: ActorId) -> Result<Vec<SupervisedEvent>, String> {
    let key = live.theater.key(child).ok_or("it is gone")?;
    let reader = live.theater.journal.reader().map_err(|error| error.to_string())?;
    let head = reader.head(key).map_err(|error| error.to_string())?.map_or(0, |head| head.sequence + 1);
    let from = shown_from(head);
    let mut events = reader.events(key, from, head - from, usize::MAX).map_err(|error| error.to_string())?;
    let hidden = events.len() - shown(events.iter());
    let shown = events.drain(hidden..).map(|event| SupervisedEvent {
        hash: event.hash.0.to_vec(),
        parent_hash: event.parent_hash.map(|hash| hash.0.to_vec()),
        event_type: event.event_type.into_owned(),
        data: event.data,
        timestamp: event.timestamp,
    });
    Ok(shown.collect())
}
