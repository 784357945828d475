//! What a rehearsed actor has of the world without a script: a clock that stands, random bytes of a seed, the values of
//! `[config]`, and timers, requests and monitors that wait until a step of the test says what becomes of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::base::clock::Moment;
use crate::base::seeded_bytes::SeededBytes;
use crate::chain::cbor::Cbor;
use crate::guest::AskedHost;
use crate::guest::wit::PendingTimer;
use crate::promise::{CRON, DEFER, EVERY, MONITOR, REQUEST_ASYNC, SET, SET_AT};
use crate::system::{Cron, DueTime, MissedRounds, Schedule};

/// 2026-01-01T00:00:00Z.
const DEFAULT_UNIX_MS: u64 = 1_767_225_600_000;

/// A timer that the actor has set.
pub(super) struct SetTimer {
    pub(super) due: u64,
    pub(super) message: Vec<u8>,
    /// The event that set it.
    pub(super) of: u64,
    /// Which round is due, counted from 1.
    pub(super) round: u64,
    schedule: Schedule,
}

pub(super) struct Simulated {
    pub(super) unix_ms: u64,
    random: SeededBytes,
    config: BTreeMap<String, Vec<u8>>,
    timers: BTreeMap<String, SetTimer>,
    /// The tokens of asynchronous requests without an answer, in order.
    requests: Vec<u64>,
    /// The references of monitors, each with the address that it watches.
    monitors: Vec<(u64, String)>,
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulated").field("unix_ms", &self.unix_ms).finish_non_exhaustive()
    }
}

impl Simulated {
    pub(super) fn new(unix_ms: Option<u64>, seed: u64, config: BTreeMap<String, Vec<u8>>) -> Self {
        let (timers, requests, monitors) = (BTreeMap::new(), Vec::new(), Vec::new());
        let unix_ms = unix_ms.unwrap_or(DEFAULT_UNIX_MS);
        Self { unix_ms, random: SeededBytes::of(seed), config, timers, requests, monitors }
    }

    /// The answer to a host call that needs no script; `None` if the test must say what it returns.
    pub(super) fn answer(&mut self, call: &AskedHost<'_>) -> Option<Vec<u8>> {
        let AskedHost { function, params, sequence } = call;
        let full = function.full;
        if full == DEFER.full {
            return Some(Ok::<u64, String>(*sequence).to_cbor());
        }
        match full.strip_prefix("ntwk:theater/")? {
            "clock.now" => Some(self.unix_ms.to_cbor()),
            "random.bytes" => {
                let (n,) = <(u32,)>::from_cbor(params).ok()?;
                Some(self.random.draw(n).to_cbor())
            }
            "runtime.log" => Some(().to_cbor()),
            "config.get" => {
                let (key,) = <(String,)>::from_cbor(params).ok()?;
                Some(self.config.get(&key).cloned().to_cbor())
            }
            "timer.cancel" => {
                let (key,) = <(String,)>::from_cbor(params).ok()?;
                Some(self.timers.contains_key(&key).to_cbor())
            }
            "timer.list" => Some(self.pending().to_cbor()),
            "monitors.demonitor" => {
                let (reference,) = <(u64,)>::from_cbor(params).ok()?;
                Some(self.monitors.iter().any(|(open, _)| *open == reference).to_cbor())
            }
            _ => self.wanted_timer(call).map(|(_, timer)| timer.map(|it| it.due).to_cbor()),
        }
    }

    /// The answer to a host call that the test expects, and of which it does not say what it returns.
    pub(super) fn success(call: &AskedHost<'_>) -> Option<Vec<u8>> {
        let full = call.function.full;
        if [REQUEST_ASYNC.full, MONITOR.full].contains(&full) {
            return Some(Ok::<u64, String>(call.sequence).to_cbor());
        }
        (full == "ntwk:theater/connections.push").then(|| {
            let all_were_queued: Vec<crate::guest::wit::NotQueued> = Vec::new();
            Ok::<_, String>(all_were_queued).to_cbor()
        })
    }

    /// Notes what a host call with this answer means for later steps.
    pub(super) fn note(&mut self, call: &AskedHost<'_>, answer: &[u8]) {
        let full = call.function.full;
        let number = || Result::<u64, String>::from_cbor(answer).ok().and_then(Result::ok);
        if full == REQUEST_ASYNC.full {
            self.requests.extend(number());
        } else if full == MONITOR.full {
            let address = <(String,)>::from_cbor(call.params).map(|(address,)| address).unwrap_or_default();
            self.monitors.extend(number().map(|reference| (reference, address)));
        } else if full == "ntwk:theater/monitors.demonitor" {
            let gone = <(u64,)>::from_cbor(call.params).map_or(0, |(reference,)| reference);
            self.monitors.retain(|(reference, _)| *reference != gone);
        } else if full == "ntwk:theater/timer.cancel" {
            let key = <(String,)>::from_cbor(call.params).map(|(key,)| key).unwrap_or_default();
            self.timers.remove(&key);
        } else if let Some((key, Ok(timer))) = self.wanted_timer(call)
            && let Some(due) = number()
        {
            self.timers.insert(key, SetTimer { due, ..timer });
        }
    }

    /// The timer that a host call sets, or why it cannot be set; `None` if the call sets none.
    fn wanted_timer(&self, call: &AskedHost<'_>) -> Option<(String, Result<SetTimer, String>)> {
        let (full, params, of) = (call.function.full, call.params, call.sequence);
        let timer = |due, message, schedule| Ok(SetTimer { due, message, of, round: 1, schedule });
        if full == SET.full {
            let (key, after, message) = <(String, u64, Vec<u8>)>::from_cbor(params).ok()?;
            return Some((key, timer(self.unix_ms.saturating_add(after), message, Schedule::Once)));
        }
        if full == SET_AT.full {
            let (key, due, message) = <(String, u64, Vec<u8>)>::from_cbor(params).ok()?;
            return Some((key, timer(due, message, Schedule::Once)));
        }
        if full == EVERY.full {
            let (key, ms, message) = <(String, u64, Vec<u8>)>::from_cbor(params).ok()?;
            let due = self.unix_ms.saturating_add(ms);
            let refused = || Err("every 0 ms: the rounds of a timer are at least 1 ms apart".to_owned());
            return Some((key, if ms == 0 { refused() } else { timer(due, message, Schedule::Every { ms }) }));
        }
        if full == CRON.full {
            let (key, expression, zone, message) = <(String, String, String, Vec<u8>)>::from_cbor(params).ok()?;
            let set = Cron::parse(&expression, &zone).and_then(|cron| {
                let due = cron.next_after(self.unix_ms).ok_or("no calendar goes as far as the next match")?;
                timer(due, message, Schedule::Cron(Arc::new(cron)))
            });
            return Some((key, set));
        }
        None
    }

    fn pending(&self) -> Vec<PendingTimer> {
        let pending =
            self.timers.iter().map(|(key, it)| PendingTimer { key: key.clone(), due: it.due, round: it.round });
        pending.collect()
    }

    /// The timer of this key, which fires: the clock is set to its time, and its next round is pending. The error says which
    /// timers there are.
    pub(super) fn fire(&mut self, key: &str) -> Result<SetTimer, String> {
        let Some(fired) = self.timers.remove(key) else {
            let there: Vec<_> = self.timers.keys().map(|key| format!("\"{key}\"")).collect();
            let there = if there.is_empty() { "none is".to_owned() } else { format!("pending: {}", there.join(", ")) };
            return Err(format!("no timer \"{key}\" is pending; {there}"));
        };
        self.unix_ms = self.unix_ms.max(fired.due);
        // The clock stands at the time of the round, so none is missed.
        let now = Moment { unix_ms: fired.due, boot_ms: 0 };
        if let Some(next) = fired.schedule.next(DueTime::at(fired.due), now, MissedRounds::MakeUp) {
            let (message, schedule) = (fired.message.clone(), fired.schedule.clone());
            let (due, of, round) = (next.unix_ms, fired.of, fired.round + 1);
            self.timers.insert(key.to_owned(), SetTimer { due, message, of, round, schedule });
        }
        Ok(fired)
    }

    /// The asynchronous request that is answered: the one with this token, or the oldest.
    pub(super) fn answered(&mut self, token: Option<u64>) -> Result<u64, String> {
        let at = match token {
            Some(token) => self.requests.iter().position(|open| *open == token),
            None => (!self.requests.is_empty()).then_some(0),
        };
        let open = || self.requests.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        match at {
            Some(at) => Ok(self.requests.remove(at)),
            None if self.requests.is_empty() => Err("no asynchronous request waits for an answer".to_owned()),
            None => Err(format!("no asynchronous request has this token; those that wait have: {}", open())),
        }
    }

    /// The monitor of an actor that is down.
    pub(super) fn down(&mut self, actor: &str) -> Result<u64, String> {
        let at = self.monitors.iter().position(|(_, watched)| watched == actor);
        let at = at.ok_or_else(|| {
            let watched: Vec<_> = self.monitors.iter().map(|(_, watched)| format!("\"{watched}\"")).collect();
            let watched = if watched.is_empty() { "no actor".to_owned() } else { watched.join(", ") };
            format!("the actor does not monitor \"{actor}\"; it monitors {watched}")
        })?;
        Ok(self.monitors.remove(at).0)
    }
}
