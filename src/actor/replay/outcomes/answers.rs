//! How host calls of another build are answered in a comparison of outcomes.
//!
//! `[config]` is that of the other build's manifest, if it has one. Of other functions, a recorded call with the same parameters gives
//! its answer, each one once, in order. If there is none:
//! the clock, random bytes, the log and `[config]` are answered here; a call that others notice gets the next answer of its
//! function, because its other parameters are told as a difference anyway; anything else has no answer.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::base::seeded_bytes::SeededBytes;
use crate::chain::cbor::{Cbor, Value};
use crate::chain::data::{HostCall, Intent};
use crate::chain::{ChainEvent, EventKind};
use crate::guest::values::{has_plain_success, returned};
use crate::guest::{AskedHost, HostAnswers, Interruption};
use crate::handlers::is_noticed;
use crate::promise::{DEFER, MONITOR, REQUEST_ASYNC};

const CONFIG: &str = "ntwk:theater/config.get";

pub(in crate::actor::replay) struct RecordedAnswers {
    recorded: Vec<RecordedHostCall>,
    unix_ms: u64,
    random: SeededBytes,
    config: Option<BTreeMap<String, Vec<u8>>>,
    /// The recorded host calls whose answers were given, each with the sequence of the call that got it.
    given: Vec<(u64, u64)>,
}

struct RecordedHostCall {
    /// The sequence of its event.
    sequence: u64,
    function: String,
    params: Vec<u8>,
    result: Vec<u8>,
    is_given: bool,
}

impl RecordedAnswers {
    /// The answers that the events within a transition have recorded.
    pub(in crate::actor::replay) fn of(
        call: &ChainEvent,
        within: &[ChainEvent],
        config: &Option<BTreeMap<String, Vec<u8>>>,
    ) -> Self {
        let (mut recorded, mut intended) = (Vec::new(), None);
        for event in within {
            match event.kind() {
                Some(EventKind::Intent) => intended = event.read::<Intent>().ok().map(|intent| intent.params.0),
                Some(EventKind::HostCall) => {
                    let Ok(done) = event.read::<HostCall>() else { continue };
                    let params = done.params.map(|params| params.0).or_else(|| intended.take());
                    let (Some(params), Some(result)) = (params, done.result.whole()) else { continue };
                    let (sequence, function) = (event.sequence, event.function().to_owned());
                    let result = result.to_vec();
                    recorded.push(RecordedHostCall { sequence, function, params, result, is_given: false });
                }
                _ => {}
            }
        }
        let random = SeededBytes::of(call.sequence);
        Self { recorded, unix_ms: call.timestamp, random, config: config.clone(), given: Vec::new() }
    }

    /// The recorded host calls whose answers were given since this was last asked, each with the call that got it.
    pub(super) fn take_given(&mut self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.given)
    }

    fn take(&mut self, to: u64, fits: impl Fn(&RecordedHostCall) -> bool) -> Option<Vec<u8>> {
        let found = self.recorded.iter_mut().find(|call| !call.is_given && fits(call))?;
        found.is_given = true;
        self.given.push((found.sequence, to));
        Some(found.result.clone())
    }

    /// The time that the build has been told last, or at which the call was made.
    fn last_time(&self) -> u64 {
        let told = self.recorded.iter().rev().find(|call| call.is_given && call.function == "ntwk:theater/clock.now");
        told.and_then(|call| u64::from_cbor(&call.result).ok()).unwrap_or(self.unix_ms)
    }

    fn own(&mut self, call: &AskedHost<'_>) -> Option<Vec<u8>> {
        let full = call.function.full;
        match full {
            "ntwk:theater/clock.now" => Some(self.last_time().to_cbor()),
            "ntwk:theater/random.bytes" => {
                let (n,) = <(u32,)>::from_cbor(call.params).ok()?;
                Some(self.random.draw(n).to_cbor())
            }
            "ntwk:theater/runtime.log" => Some(().to_cbor()),
            CONFIG => {
                let (key,) = <(String,)>::from_cbor(call.params).ok()?;
                Some(self.config.as_ref().and_then(|config| config.get(&key)).cloned().to_cbor())
            }
            _ if [DEFER.full, REQUEST_ASYNC.full, MONITOR.full].contains(&full) => {
                Some(Ok::<u64, String>(call.sequence).to_cbor())
            }
            _ if has_plain_success(full) => returned(full, None).ok(),
            _ => None,
        }
    }
}

impl HostAnswers for RecordedAnswers {
    fn answer(&mut self, call: &AskedHost<'_>) -> Result<Vec<u8>, Interruption> {
        let full = call.function.full;
        if full == CONFIG && self.config.is_some() {
            // The other build has a manifest of its own.
            return self.own(call).ok_or_else(|| unanswered(call));
        }
        let exact = self.take(call.sequence, |it| it.function == full && it.params == call.params);
        let similar =
            exact.or_else(|| if is_noticed(full) { self.take(call.sequence, |it| it.function == full) } else { None });
        similar.or_else(|| self.own(call)).ok_or_else(|| unanswered(call))
    }

    fn unix_ms(&self) -> u64 {
        self.unix_ms
    }
}

fn unanswered(call: &AskedHost<'_>) -> Interruption {
    let params = Value::parse(call.params).map_or(Json::Null, |value| value.to_json());
    Interruption::Unanswered(json!({ "call": call.function.full, "params": params }).to_string())
}
