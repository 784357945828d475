//! The common commands and their effects.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use theater_actor::{messages, runtime};

use crate::{Commanded, SavedAs, misbehave};

/// Commands of one actor beyond the common ones.
pub trait More: DeserializeOwned {
    /// Carries out the command and returns its answer.
    ///
    /// # Errors
    /// The exported function that received the command refuses with this text.
    fn obey(self) -> Result<Value, String>;
}

/// The additional commands of an actor that has only the common ones.
#[derive(Deserialize)]
pub enum NoMore {}

impl More for NoMore {
    fn obey(self) -> Result<Value, String> {
        match self {}
    }
}

/// The common commands.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", bound = "X: DeserializeOwned")]
enum Op<X> {
    /// Answers with the value.
    Echo { value: Value },
    /// Answers with the whole state.
    Get,
    /// Adds one to the count, and answers with the count.
    Count,
    /// Carries out one command after the other, and answers with the list of answers. The first refusal refuses all.
    Many { ops: Vec<Value> },

    /// Makes the exported function return `Err(message)`.
    Refuse {
        #[serde(default)]
        message: String,
    },
    /// Executes `unreachable`.
    Trap,
    /// Panics; the message is logged.
    Panic {
        #[serde(default)]
        message: String,
    },
    /// Never ends.
    Spin,
    /// Calls itself until the stack is full.
    Recurse,
    /// Keeps the processor busy for this many rounds, and answers with their number.
    Work { rounds: u64 },
    /// Fills this much memory, and answers with the number.
    Grow { mib: usize },
    /// Computes a not-a-number in several ways, and answers with the bits of each in hexadecimal.
    Float { x: f64 },
    /// Adds one to a count outside the state, and answers with that count: 1 in a new instance.
    Global,

    /// Gives an answer of `n` bytes, including the quotes.
    ReplyBytes { n: usize },
    /// Makes the state `n` bytes long.
    StateBytes { n: usize },
    /// Ends the call without a state.
    DropState,
    /// Ends the call with these bytes as the state.
    RawState { text: String },

    /// Logs the text.
    Log {
        text: String,
        #[serde(default = "once")]
        times: u32,
    },
    /// Sends the message on, and answers with `{"ok": null}` or `{"err": text}`.
    Send { to: String, msg: Value },
    /// Sends the message on, and answers with `{"ok": reply}` or `{"err": text}`.
    Request { to: String, msg: Value },
    /// Answers with what `get-chain` shows: `{"types": […], "hashes": […], "parents": […]}`.
    Chain,
    /// Answers with the number of bytes of data that `get-chain` shows for each event.
    ChainData,

    #[serde(untagged)]
    More(X),
}

fn once() -> u32 {
    1
}

/// `{"ok": …}` or `{"err": text}`, for commands that pass on the host's answer or error.
pub fn outcome<T: Serialize>(result: Result<T, String>) -> Value {
    match result {
        Ok(value) => json!({ "ok": value }),
        Err(message) => json!({ "err": message }),
    }
}

impl<X: More> Commanded<X> {
    pub(crate) fn obey(&mut self, command: Value) -> Result<Value, String> {
        let command = match command {
            Value::String(name) => json!({ "op": name }),
            whole => whole,
        };
        let op = Op::deserialize(&command).map_err(|_| format!("not a command: {command}"))?;
        match op {
            Op::Echo { value } => Ok(value),
            Op::Get => serde_json::to_value(&*self).map_err(|error| error.to_string()),
            Op::Count => self.count(),
            Op::Many { ops } => ops.into_iter().map(|command| self.obey(command)).collect(),

            Op::Refuse { message } => Err(message),
            Op::Trap => misbehave::trap(),
            Op::Panic { message } => panic!("{message}"),
            Op::Spin => misbehave::spin(),
            Op::Recurse => Ok(json!(misbehave::recurse(0))),
            Op::Work { rounds } => Ok(json!(misbehave::work(rounds))),
            Op::Grow { mib } => misbehave::grow(mib).map(Value::from),
            Op::Float { x } => Ok(json!(misbehave::not_a_number(x).map(|bits| format!("{bits:016x}")))),
            Op::Global => Ok(json!(count_outside_the_state())),

            Op::ReplyBytes { n } => string_of_json_length(n),
            Op::StateBytes { n } => self.grow_state(n),
            Op::DropState => Ok(self.save_as(SavedAs::Nothing)),
            Op::RawState { text } => Ok(self.save_as(SavedAs::Raw(text))),

            Op::Log { text, times } => {
                (0..times).for_each(|_| theater_actor::println!("{text}"));
                Ok(Value::Null)
            }
            Op::Send { to, msg } => Ok(outcome(messages::send(&to, &msg))),
            Op::Request { to, msg } => Ok(outcome(messages::request::<_, Value>(&to, &msg))),
            Op::Chain => Ok(describe(&runtime::chain())),
            Op::ChainData => Ok(runtime::chain().events.iter().map(|it| it.event.data.len()).collect()),

            Op::More(more) => X::obey(more),
        }
    }

    fn count(&mut self) -> Result<Value, String> {
        self.count = self.count.checked_add(1).ok_or("cannot count further")?;
        Ok(json!(self.count))
    }

    fn grow_state(&mut self, n: usize) -> Result<Value, String> {
        self.blob.clear();
        let rest = serde_json::to_vec(self).map_err(|error| error.to_string())?.len();
        let blob = n.checked_sub(rest).ok_or_else(|| format!("the rest of the state is {rest} bytes already"))?;
        self.blob = "x".repeat(blob);
        Ok(json!(n))
    }

    fn save_as(&mut self, saved_as: SavedAs) -> Value {
        self.saved_as = saved_as;
        Value::Null
    }
}

fn string_of_json_length(n: usize) -> Result<Value, String> {
    let quotes = 2;
    let length = n.checked_sub(quotes).ok_or("the shortest string is 2 bytes")?;
    Ok(Value::String("x".repeat(length)))
}

fn count_outside_the_state() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed) + 1
}

fn describe(chain: &runtime::Chain) -> Value {
    let hex = |hash: u64| format!("{hash:016x}");
    let events = &chain.events;
    json!({
        "types": events.iter().map(|it| &it.event.event_type).collect::<Vec<_>>(),
        "hashes": events.iter().map(|it| hex(it.hash)).collect::<Vec<_>>(),
        "parents": events.iter().map(|it| it.event.parent.map(hex)).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use theater_actor::Actor;

    use super::*;

    fn obey(actor: &mut Commanded<NoMore>, command: Value) -> Result<Value, String> {
        actor.obey(command)
    }

    #[test]
    fn a_bare_name_is_a_command() {
        let mut actor = Commanded::default();
        assert_eq!(obey(&mut actor, json!("count")), Ok(json!(1)));
        assert_eq!(obey(&mut actor, json!({ "op": "count" })), Ok(json!(2)));
        assert!(obey(&mut actor, json!("dance")).is_err());
    }

    #[test]
    fn many_commands_are_obeyed_in_their_order() {
        let mut actor = Commanded::default();
        let command = json!({ "op": "many", "ops": ["count", { "op": "echo", "value": "a" }, "count"] });
        assert_eq!(obey(&mut actor, command), Ok(json!([1, "a", 2])));
    }

    #[test]
    fn the_state_is_as_long_as_was_asked_for() {
        let mut actor = Commanded::default();
        obey(&mut actor, json!({ "op": "state-bytes", "n": 4097 })).unwrap();
        assert_eq!(actor.save().unwrap().unwrap().len(), 4097);
        assert!(obey(&mut actor, json!({ "op": "state-bytes", "n": 3 })).is_err());
    }

    #[test]
    fn a_reply_is_as_long_as_was_asked_for() {
        let reply = obey(&mut Commanded::default(), json!({ "op": "reply-bytes", "n": 100 })).unwrap();
        assert_eq!(reply.to_string().len(), 100);
    }

    #[test]
    fn a_state_can_be_dropped_or_spoilt() {
        let mut actor = Commanded::default();
        obey(&mut actor, json!("drop-state")).unwrap();
        assert_eq!(actor.save(), Ok(None));
        obey(&mut actor, json!({ "op": "raw-state", "text": "not json" })).unwrap();
        assert_eq!(actor.save(), Ok(Some(b"not json".to_vec())));
    }

    #[test]
    fn init_obeys_the_command_in_the_state_and_keeps_the_answer() {
        let state = Commanded::<NoMore>::load(Some(br#"{"init": "count"}"#.to_vec())).unwrap();
        let actor = Commanded::init(state, "me").unwrap();
        assert_eq!((actor.count, &actor.init, actor.id.as_str()), (1, &json!(1), "me"));

        let state =
            Commanded::<NoMore>::load(Some(br#"{"init": {"op": "refuse", "message": "no"}}"#.to_vec())).unwrap();
        assert_eq!(Commanded::init(state, "me").err(), Some("no".into()));
    }
}
