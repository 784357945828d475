//! The handler `supervisor`: an actor spawns, stops and restarts children, and reads their state and history.
//!
//! A call that changes a child records an intent first. A call that only reads is recorded with its result. State and
//! history are read from the journal, never through the child's mailbox.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::Grant;
use crate::base::id::ActorId;
use crate::base::limits::{LABEL_BYTES, Limits, PATH_BYTES};
use crate::chain::cbor::Cbor;
use crate::chain::shown::{shown, shown_from};
use crate::chain::{Function, function};
use crate::guest::wit::{ChildEvent, SupervisedEvent};
use crate::guest::{
    Answered, Attempt, Capability, Effect, Export, Extensions, GuestExport, HostState, Interruption, Live, StateOnly,
};
use crate::manifest::{HandlerEntry, ManifestError};
use crate::promise::{
    GET_OR_SPAWN, HANDLE_CHILD_EVENT, RESTART_CHILD, SPAWN, SPAWN_AS, STOP_CHILD, change_again, change_child,
    changed_again, revive_child, spawn_child,
};
use crate::system::{Confinement, Label, NamedChild, NotALabel, VouchedManifest, Wait};

pub(super) const NAME: &str = "supervisor";
pub(super) const IMPORTS: &[&str] = &["ntwk:theater/supervisor", "ntwk:theater/labels"];

const LIST_CHILDREN: &Function = function!("ntwk:theater/supervisor", "list-children");
const GET_CHILD_STATE: &Function = function!("ntwk:theater/supervisor", "get-child-state");
const GET_CHILD_EVENTS: &Function = function!("ntwk:theater/supervisor", "get-child-events");

#[derive(Default)]
struct Supervisor {
    allow: Vec<PathBuf>,
    children: Vec<PathBuf>,
}

#[derive(Deserialize, Default)]
struct Config {
    /// Directories, besides the manifest's own, from which children may be spawned.
    #[serde(default)]
    allow: Vec<String>,
    /// Manifests that may be spawned wherever they lie, if they are unchanged since this manifest was read.
    #[serde(default)]
    children: Vec<String>,
}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> {
    let Some(entry) = entry else { return Ok(Box::new(Supervisor::default())) };
    let config: Config = entry.config(&["allow", "children"])?;
    let allow = config.allow.iter().map(|directory| entry.beside(directory)).collect();
    let children = config.children.iter().map(|manifest| entry.beside(manifest)).collect();
    Ok(Box::new(Supervisor { allow, children }))
}

/// The directories, besides the manifest's own, from which children may be spawned.
struct Allowed(Vec<PathBuf>);

impl Grant for Supervisor {
    fn install(&self, extensions: &mut Extensions) {
        extensions.insert(Allowed(self.allow.clone()));
    }

    fn spawns_from(&self) -> Option<&[PathBuf]> {
        Some(&self.allow)
    }

    fn children(&self) -> &[PathBuf] {
        &self.children
    }

    fn doubts(&self) -> Vec<String> {
        let absent = self.allow.iter().filter(|directory| !directory.is_dir());
        let told = absent.map(|directory| {
            format!(
                "{}, which the handler \"supervisor\" allows, is no directory: nothing can be spawned from there",
                directory.display()
            )
        });
        told.collect()
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
        supervisor.func_wrap("get-child-events", |store, child| read(store, GET_CHILD_EVENTS, child, child_events))?;
        let mut labels = linker.instance(IMPORTS[1])?;
        labels.func_wrap("spawn-as", |store, wanted| spawn_labelled(store, SPAWN_AS, wanted))?;
        labels.func_wrap("get-or-spawn", |store, wanted| spawn_labelled(store, GET_OR_SPAWN, wanted))
    }

    fn exports(&self) -> Vec<Box<dyn GuestExport>> {
        vec![Box::new(Export::<(ChildEvent,), StateOnly>::new(HANDLE_CHILD_EVENT))]
    }

    fn exports_are_optional(&self) -> bool {
        true
    }
}

type HostStore<'a> = StoreContextMut<'a, Box<HostState>>;

/// Cuts a text that is longer than any path before it is recorded. The cut text is not a valid path either.
fn cut((mut text,): (String,)) -> (String,) {
    text.truncate(text.floor_char_boundary(PATH_BYTES));
    (text,)
}

fn spawn(mut store: HostStore<'_>, params: (String,)) -> wasmtime::Result<(Result<String, String>,)> {
    let params = cut(params);
    let state = store.data_mut();
    let (live, limits) = (state.live().cloned(), state.limits.clone());
    let spawned = state.recorder.host_call(SPAWN, &params, |attempt| {
        let live = live.as_deref().expect("effects run live");
        if attempt == Attempt::First
            && let Err(why) = has_room_for_a_child(live, &limits)
        {
            return Ok(Effect::Look(Err(why)));
        }
        let wanted = (live.manifest_dir.join(&params.0), confinement(live), None);
        Ok(Effect::act(None, |intent, held| spawn_child(live, &limits, wanted, intent, held)))
    })?;
    Ok((spawned,))
}

fn has_room_for_a_child(live: &Live, limits: &Limits) -> Result<(), String> {
    let children = live.theater.registry.count_of_children(live.id) as u64;
    if children >= limits.children {
        return Err(format!("too many children: the limit children is {}", limits.children));
    }
    live.theater.journal.has_room().map_err(|low| low.to_string())
}

/// A manifest, a label, and the state to begin with.
type Labelled = (String, String, Option<Vec<u8>>);

/// Spawns a child with a label. If a living child has the label already, `get-or-spawn` answers with its id, and `spawn-as` with
/// an error. If the child that had the label has ended, `get-or-spawn` restarts it, and `spawn-as` spawns another.
fn spawn_labelled(
    mut store: HostStore<'_>,
    function: &'static Function,
    (mut manifest, mut label, mut init_state): Labelled,
) -> wasmtime::Result<(Result<String, String>,)> {
    manifest.truncate(manifest.floor_char_boundary(PATH_BYTES));
    // One byte more than a label can have: what is cut is no label either.
    label.truncate(label.floor_char_boundary(LABEL_BYTES + 1));
    let state = store.data_mut();
    let (live, limits) = (state.live().cloned(), state.limits.clone());
    let size = init_state.as_ref().map_or(0, Vec::len);
    let is_too_large = size as u64 > limits.message_bytes;
    if is_too_large {
        // A guest must not fill the disk with what is refused.
        init_state = Some(Vec::new());
    }
    let wanted: Labelled = (manifest, label, init_state);
    let spawned = state.recorder.host_call(function, &wanted, |attempt| {
        let live = live.as_deref().expect("effects run live");
        let (manifest, label, init_state) = &wanted;
        let label: Label = match label.parse() {
            Ok(label) => label,
            Err(why) => return Ok(Effect::Look(Err(NotALabel::to_string(&why)))),
        };
        let registry = &live.theater.registry;
        let gets = function.full == GET_OR_SPAWN.full;
        let revived = match attempt {
            Attempt::Again { to, .. } => to,
            Attempt::First => {
                if is_too_large {
                    let limit = limits.message_bytes;
                    let why = format!("init-state of {size} bytes: the limit message_bytes is {limit}");
                    return Ok(Effect::Look(Err(why)));
                }
                match registry.labelled(live.id, &label) {
                    Some(holder) if gets => return Ok(Effect::Look(Ok(holder.to_string()))),
                    Some(holder) => {
                        let why = format!("the label \"{label}\" is taken by actor {holder}");
                        return Ok(Effect::Look(Err(why)));
                    }
                    None => {}
                }
                let ended = registry.ended_with_label(live.id, &label).filter(|_| gets);
                if ended.is_none()
                    && let Err(why) = has_room_for_a_child(live, &limits)
                {
                    return Ok(Effect::Look(Err(why)));
                }
                ended
            }
        };
        // Somebody outside may have restarted the child meanwhile.
        let (parent, held_label) = (live.id, label.clone());
        let or_living = move |answered: Answered<Result<String, String>>| match answered.result {
            Err(_) if gets && let Some(living) = registry.labelled(parent, &held_label) => {
                Answered { result: Ok(living.to_string()), answer: None }
            }
            _ => answered,
        };
        let limits = &limits;
        if let Some(child) = revived {
            let revive =
                move |intent, held: &mut Option<Wait>| revive_child(live, limits, child, intent, held).map(or_living);
            return Ok(Effect::To(child, Box::new(Effect::act(None, revive))));
        }
        let named = NamedChild { label, init_state: init_state.clone() };
        let wanted = (live.manifest_dir.join(manifest), confinement(live), Some(named));
        let spawn =
            move |intent, held: &mut Option<Wait>| spawn_child(live, limits, wanted, intent, held).map(or_living);
        Ok(Effect::act(None, spawn))
    })?;
    Ok((spawned,))
}

fn confinement(live: &Live) -> Confinement {
    let allowed = live.extensions.get::<Allowed>().map_or(&[][..], |allowed| &allowed.0);
    let directories = [std::slice::from_ref(&live.manifest_dir), allowed].concat();
    let vouched = live.extensions.get::<Arc<[VouchedManifest]>>().cloned().unwrap_or_default();
    Confinement { directories, vouched }
}

fn list_children(mut store: HostStore<'_>) -> wasmtime::Result<(Vec<String>,)> {
    let state = store.data_mut();
    let live = state.live().cloned();
    let children = state.recorder.host_call(LIST_CHILDREN, &(), |_| {
        let live = live.as_deref().expect("effects run live");
        Ok(Effect::Look(live.theater.registry.children(live.id).iter().map(ToString::to_string).collect()))
    })?;
    Ok((children,))
}

/// The child that `address` stands for, if it is a descendant of this actor.
fn descendant(live: &Live, text: &str) -> Result<ActorId, String> {
    let registry = &live.theater.registry;
    let child = registry.resolve(text).ok().filter(|child| registry.is_descendant(*child, live.id));
    child.ok_or_else(|| format!("not a child of this actor: {}", text.chars().take(64).collect::<String>()))
}

fn change(
    mut store: HostStore<'_>,
    function: &'static Function,
    params: (String,),
) -> wasmtime::Result<(Result<(), String>,)> {
    let params = cut(params);
    let state = store.data_mut();
    let (live, limits) = (state.live().cloned(), state.limits.clone());
    let changed = state.recorder.host_call(function, &params, |attempt| {
        let live = live.as_deref().expect("effects run live");
        let again = match attempt {
            Attempt::First => None,
            Attempt::Again { to, .. } => Some(to),
        };
        if again.is_some()
            && let Some(found) = change_again(live)
        {
            let child = params.0.clone();
            return Ok(Effect::act(None, move |_, _| changed_again(live, &limits, &child, found)));
        }
        // After a crash, the address may stand for another actor than it did.
        let child = match again.flatten().map_or_else(|| descendant(live, &params.0), Ok) {
            Ok(child) => child,
            Err(why) => return Ok(Effect::Look(Err(why))),
        };
        let effect =
            Effect::act(None, move |intent, held| change_child(live, &limits, (function, child), intent, held));
        Ok(effect.to(&params.0, child))
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
        Ok(match descendant(live, &params.0) {
            Ok(child) => Effect::Look(from_journal(live, child)).to(&params.0, child),
            Err(why) => Effect::Look(Err(why)),
        })
    })?;
    Ok((found,))
}

fn child_state(live: &Live, child: ActorId) -> Result<Vec<u8>, String> {
    let key = live.theater.key(child).ok_or("it is gone")?;
    let reader = live.theater.journal.reader().map_err(|error| error.to_string())?;
    match reader.newest_state(key).map_err(|error| error.to_string())? {
        crate::journal::Newest::Is(state) => Ok(state.unwrap_or_default()),
        crate::journal::Newest::Behind(event) => Err(format!("the state behind event {event} is not stored")),
    }
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
