//! The handler `timer`: an actor has itself called later: once, at equal distances, or by a cron expression.
//!
//! A timer is a promise that the actor makes to itself (`promise/timer.rs`). The host call that sets it is recorded together
//! with a row of `pending`, as a send is; `system/timers.rs` holds it until it is due, and `actor/serve.rs` takes it then.

use std::sync::Arc;

use serde::Deserialize;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::Grant;
use crate::base::clock::{self, Moment};
use crate::base::limits::Limits;
use crate::chain::{Function, Head, function};
use crate::guest::wit::PendingTimer;
use crate::guest::{Capability, Effect, Export, GuestExport, HostState, Interruption, Live, StateOnly};
use crate::manifest::{HandlerEntry, ManifestError};
use crate::promise::{CRON, EVERY, HANDLE_TIMER, SET, SET_AT, TimerParams, owed_timer};
use crate::system::{CRON_BYTES, Cron, DueTime, MissedRounds, NoTimer, Refusal, Schedule, Timer, check_cron_lengths};

pub(super) const NAME: &str = "timer";
pub(super) const IMPORTS: &[&str] = &["ntwk:theater/timer"];

const CANCEL: &Function = function!("ntwk:theater/timer", "cancel");
const LIST: &Function = function!("ntwk:theater/timer", "list");

struct TimerHandler {
    missed: MissedRounds,
}

#[derive(Deserialize)]
struct Config {
    missed: Option<Missed>,
}

/// What `missed` can be.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Missed {
    Skip,
    MakeUp,
}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> {
    let config = entry.map(|entry| entry.config::<Config>(&["missed"])).transpose()?;
    let missed = match config.and_then(|config| config.missed) {
        Some(Missed::Skip) | None => MissedRounds::Skip,
        Some(Missed::MakeUp) => MissedRounds::MakeUp,
    };
    Ok(Box::new(TimerHandler { missed }))
}

impl Grant for TimerHandler {
    fn missed_rounds(&self) -> Option<MissedRounds> {
        Some(self.missed)
    }
}

impl Capability for TimerHandler {
    fn name(&self) -> &'static str {
        NAME
    }

    fn imports(&self) -> &'static [&'static str] {
        IMPORTS
    }

    fn link(&self, linker: &mut Linker<Box<HostState>>) -> wasmtime::Result<()> {
        let mut timer = linker.instance(IMPORTS[0])?;
        timer.func_wrap("set", set)?;
        timer.func_wrap("set-at", set_at)?;
        timer.func_wrap("every", every)?;
        timer.func_wrap("cron", cron)?;
        timer.func_wrap("cancel", cancel)?;
        timer.func_wrap("list", |store, (): ()| list(store))
    }

    fn exports(&self) -> Vec<Box<dyn GuestExport>> {
        vec![Box::new(Export::<TimerParams, StateOnly>::new(HANDLE_TIMER))]
    }

    fn exports_are_optional(&self) -> bool {
        true
    }
}

/// The answer to the guest: when the timer is due, in milliseconds since the Unix epoch.
type TimerSet = Result<u64, String>;
/// A key, a time, and a message.
type Timed = (String, u64, Vec<u8>);

fn set(mut store: StoreContextMut<'_, Box<HostState>>, (key, after, message): Timed) -> wasmtime::Result<(TimerSet,)> {
    let (asked, refused) = bounded(store.data().limits.as_ref(), key, message);
    let params = (asked.0, after, asked.1);
    let when = |now| Ok((DueTime::after(now, after), Schedule::Once));
    record(store.data_mut(), SET, &params, (&params.0, &params.2), refused, when)
}

fn set_at(mut store: StoreContextMut<'_, Box<HostState>>, (key, at, message): Timed) -> wasmtime::Result<(TimerSet,)> {
    let (asked, refused) = bounded(store.data().limits.as_ref(), key, message);
    let params = (asked.0, at, asked.1);
    let when = |_| Ok((DueTime::at(at), Schedule::Once));
    record(store.data_mut(), SET_AT, &params, (&params.0, &params.2), refused, when)
}

fn every(mut store: StoreContextMut<'_, Box<HostState>>, (key, ms, message): Timed) -> wasmtime::Result<(TimerSet,)> {
    let (asked, refused) = bounded(store.data().limits.as_ref(), key, message);
    let params = (asked.0, ms, asked.1);
    let when = |now| match ms {
        0 => Err("every 0 ms: the rounds of a timer are at least 1 ms apart".to_owned()),
        _ => Ok((DueTime::after(now, ms), Schedule::Every { ms })),
    };
    record(store.data_mut(), EVERY, &params, (&params.0, &params.2), refused, when)
}

fn cron(
    mut store: StoreContextMut<'_, Box<HostState>>,
    (key, mut expression, mut zone, message): (String, String, String, Vec<u8>),
) -> wasmtime::Result<(TimerSet,)> {
    let (asked, refused) = bounded(store.data().limits.as_ref(), key, message);
    let refused = refused.or_else(|| check_cron_lengths(&expression, &zone).err());
    expression.truncate(expression.floor_char_boundary(CRON_BYTES));
    zone.truncate(zone.floor_char_boundary(CRON_BYTES));
    let params = (asked.0, expression, zone, asked.1);
    let when = |now: Moment| {
        let cron = Cron::parse(&params.1, &params.2)?;
        let due = cron.next_after(now.unix_ms).ok_or("no calendar goes as far as the next match")?;
        Ok((DueTime::at(due), Schedule::Cron(Arc::new(cron))))
    };
    record(store.data_mut(), CRON, &params, (&params.0, &params.3), refused, when)
}

/// The key and the message, and why they are refused. Of what is too long only the beginning is recorded, so that a guest
/// cannot fill the disk with it.
fn bounded(limits: &Limits, mut key: String, message: Vec<u8>) -> ((String, Vec<u8>), Option<String>) {
    let (size, limit) = (key.len(), limits.timer_key_bytes);
    if size as u64 > limit {
        cut(&mut key, limit);
        return ((key, Vec::new()), Some(NoTimer::LongKey { size, limit }.to_string()));
    }
    let (size, limit) = (message.len(), limits.message_bytes);
    if size as u64 > limit {
        return ((key, Vec::new()), Some(Refusal::TooLarge { size, limit }.to_string()));
    }
    ((key, message), None)
}

fn cut(key: &mut String, limit: u64) {
    key.truncate(key.floor_char_boundary(usize::try_from(limit).unwrap_or(usize::MAX)));
}

/// Records a host call that sets a timer, and sets it. `when` says when it is due first, and which rounds follow.
fn record<P: crate::chain::cbor::Cbor>(
    state: &mut HostState,
    function: &'static Function,
    params: &P,
    (key, message): (&str, &[u8]),
    refused: Option<String>,
    when: impl FnOnce(Moment) -> Result<(DueTime, Schedule), String>,
) -> wasmtime::Result<(TimerSet,)> {
    let (live, limits) = (state.live().cloned(), Arc::clone(&state.limits));
    let set = state.recorder.host_call(function, params, |_| {
        let live = live.as_deref().expect("effects run live");
        let possible = refused.map_or(Ok(()), Err).and_then(|()| possible(live));
        let wanted = possible.and_then(|()| {
            let (due, schedule) = when(clock::moment())?;
            let replaced = live.theater.timers.of(live.id).room_for(key, message, &limits);
            Ok((due, schedule, replaced.map_err(|why| why.to_string())?))
        });
        Ok(match wanted {
            Ok((due, schedule, settles)) => announced(live, (key, message), due, schedule, settles),
            Err(why) => Effect::Look(Err(why)),
        })
    })?;
    Ok((set,))
}

/// Whether the actor can have timers now.
fn possible(live: &Live) -> Result<(), String> {
    live.theater.journal.has_room_within().map_err(|low| low.to_string())?;
    let exports = live.theater.registry.entry(live.id, |entry| entry.exports.contains(HANDLE_TIMER.full));
    if exports == Some(true) {
        return Ok(());
    }
    Err(format!("this actor does not export {}, so it could not be called when the timer is due", HANDLE_TIMER.full))
}

fn announced<'a>(
    live: &'a Live,
    (key, message): (&'a str, &'a [u8]),
    due: DueTime,
    schedule: Schedule,
    settles: Option<u64>,
) -> Effect<'a, TimerSet> {
    let act = move |crate::chain::Link { sequence, hash, .. }: crate::chain::Link| {
        let promised_by = Head { sequence, hash };
        let timer = Timer { message: message.into(), due, schedule, of: sequence, round: 1, promised_by };
        let timers = &live.theater.timers;
        timers.put(&timers.of(live.id), key.into(), timer);
    };
    Effect::Announce { result: Ok(due.unix_ms), owes: Some(owed_timer(live.id, due)), settles, act: Box::new(act) }
}

fn cancel(mut store: StoreContextMut<'_, Box<HostState>>, (mut key,): (String,)) -> wasmtime::Result<(bool,)> {
    let state = store.data_mut();
    let live = state.live().cloned();
    // No timer has a longer key.
    let limit = state.limits.timer_key_bytes;
    let is_possible = key.len() as u64 <= limit;
    cut(&mut key, limit);
    let params = (key,);
    let was_pending = state.recorder.host_call(CANCEL, &params, |_| {
        let live = live.as_deref().expect("effects run live");
        let (timers, key) = (live.theater.timers.of(live.id), &params.0);
        Ok::<_, Interruption>(match timers.promised_by(key).filter(|_| is_possible) {
            None => Effect::Look(false),
            Some(promise) => {
                let act = Box::new(move |_| timers.remove(key));
                Effect::Announce { result: true, owes: None, settles: Some(promise), act }
            }
        })
    })?;
    Ok((was_pending,))
}

fn list(mut store: StoreContextMut<'_, Box<HostState>>) -> wasmtime::Result<(Vec<PendingTimer>,)> {
    let state = store.data_mut();
    let live = state.live().cloned();
    let pending = state.recorder.host_call(LIST, &(), |_| {
        let live = live.as_deref().expect("effects run live");
        let timers = live.theater.timers.of(live.id).list().into_iter();
        let shown = |(key, timer): (Arc<str>, Timer)| PendingTimer {
            key: key.to_string(),
            due: timer.due.unix_ms,
            round: timer.round,
        };
        Ok(Effect::Look(timers.map(shown).collect::<Vec<_>>()))
    })?;
    Ok((pending,))
}
