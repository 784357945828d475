//! A rehearsal: another build makes a recorded call, and its host calls are answered from the record, in whatever order it makes
//! them. A host call is matched by its function, its parameters and how often it was made before.

use std::collections::{HashMap, VecDeque};

use super::past::Past;
use crate::chain::cbor::{Cbor, Value};
use crate::chain::data::{HostCall, Intent};
use crate::chain::{ChainEvent, EventKind, Function};

/// What is only written to the runtime's log changes nothing, so it needs no record.
const LOG: &str = "ntwk:theater/runtime.log";

/// Host calls that nobody but the guest notices. That a build makes fewer of them is no difference.
const LOOKS: [&str; 9] = [
    "ntwk:theater/clock.",
    "ntwk:theater/config.",
    "ntwk:theater/connections.connections",
    "ntwk:theater/filesystem.list",
    "ntwk:theater/filesystem.read",
    "ntwk:theater/random.",
    "ntwk:theater/runtime.",
    "ntwk:theater/supervisor.list",
    "ntwk:theater/table.",
];

/// The host calls of one recorded transition.
#[derive(Default)]
pub(crate) struct Rehearsal {
    /// By function and parameters: the results, in the order in which they were recorded.
    answers: HashMap<(String, Vec<u8>), VecDeque<Vec<u8>>>,
    /// The events before, which a guest may be shown.
    pub(super) past: Past,
}

impl Rehearsal {
    /// The rehearsal of the transition that these events recorded; `past` are the events before its host calls.
    pub(crate) fn of(events: &[ChainEvent], past: Past) -> Self {
        let (mut answers, mut asked) = (HashMap::<_, VecDeque<_>>::new(), None);
        for event in events {
            match event.kind() {
                Some(EventKind::Intent) => asked = event.read::<Intent>().ok().map(|intent| intent.params.0),
                Some(EventKind::HostCall) => {
                    let intended = asked.take();
                    let Ok(call) = event.read::<HostCall>() else { continue };
                    let params = call.params.map(|params| params.0).or(intended);
                    if let (Some(params), Some(result)) = (params, call.result.whole()) {
                        answers.entry((event.function().to_owned(), params)).or_default().push_back(result.to_vec());
                    }
                }
                _ => {}
            }
        }
        Self { answers, past }
    }

    /// The recorded answer to the next host call of this function with these parameters.
    pub(super) fn answer(&mut self, function: &Function, params: &[u8]) -> Option<Vec<u8>> {
        if function.full == LOG {
            return Some(().to_cbor());
        }
        self.answers.get_mut(&(function.full.to_owned(), params.to_vec()))?.pop_front()
    }

    /// The effects that were recorded and were not made now.
    pub(crate) fn left(&self) -> Vec<String> {
        let is_left = |((function, _), results): &(&(String, Vec<u8>), &VecDeque<Vec<u8>>)| {
            !results.is_empty() && !LOOKS.iter().any(|look| function.starts_with(look))
        };
        let mut left: Vec<_> =
            self.answers.iter().filter(is_left).map(|((function, params), _)| shown(function, params)).collect();
        left.sort();
        left
    }
}

/// A host call, as people are shown it.
pub(super) fn shown(function: &str, params: &[u8]) -> String {
    let params = Value::parse(params).map_or_else(|_| "…".to_owned(), |params| params.to_json().to_string());
    format!("{function} {params}")
}
