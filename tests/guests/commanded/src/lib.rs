//! A test actor that carries out JSON commands, so that a test can provoke any behaviour.
//!
//! A command is `{"op": "echo", "value": 1}`, or only its name if it needs nothing more: `"count"`. It arrives as a
//! message, or as the body of `POST /op`. A manifest's `init_state` may hold a command for `init`, `{"init": command}`,
//! a timer's message may be one; one for every notice about a child, `{"on_notice": command}`, in which THE-CHILD stands for
//! the child's id; one for the end of every monitored actor, `{"on_down": command}`, in which THE-ACTOR stands for its id; and
//! one for every answer that it did not wait for, `{"on_reply": command}`.
//! `op.rs` lists the commands; an actor with more imports adds its own with [`More`].

mod calls;
mod http;
mod misbehave;
mod op;

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use theater_actor::{
    Actor, ChildEvent, ChildEventKind, ChildHandler, Down, EndReason, MessageHandler, MonitorHandler, ReplyHandler,
    TimerHandler,
};

pub use calls::{Chance, Fetch, Files, Gathering, Rows, Timing, Watching};
pub use op::{More, NoMore, outcome};

/// The actor; `X` is the type of its commands beyond the common ones.
#[derive(Serialize, Deserialize)]
#[serde(bound = "", default, deny_unknown_fields)]
pub struct Commanded<X> {
    id: String,
    count: u64,
    blob: String,
    notices: Vec<Value>,
    /// The timers that were taken without a command, each as `[key, due]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fired: Vec<Value>,
    /// The ends of monitored actors, each as `[reference, actor, why it failed or null]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    downs: Vec<Value>,
    /// The answers to requests that it did not wait for, each as `[token, {"ok": …} or {"err": text}]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    replies: Vec<Value>,
    /// The command for `init`, which replaces it with its answer.
    init: Value,
    on_notice: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    on_down: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    on_reply: Value,
    #[serde(skip)]
    saved_as: SavedAs,
    #[serde(skip)]
    more: PhantomData<fn() -> X>,
}

/// What happens to the state when the call ends.
#[derive(Default)]
enum SavedAs {
    #[default]
    Json,
    Nothing,
    Raw(String),
}

impl<X> Default for Commanded<X> {
    fn default() -> Self {
        Self {
            id: String::new(),
            count: 0,
            blob: String::new(),
            notices: Vec::new(),
            fired: Vec::new(),
            downs: Vec::new(),
            replies: Vec::new(),
            init: Value::Null,
            on_notice: Value::Null,
            on_down: Value::Null,
            on_reply: Value::Null,
            saved_as: SavedAs::Json,
            more: PhantomData,
        }
    }
}

impl<X: More> Actor for Commanded<X> {
    fn init(state: Option<Self>, id: &str) -> Result<Self, String> {
        let mut actor = state.unwrap_or_default();
        actor.id = id.into();
        if !actor.init.is_null() {
            let command = actor.init.take();
            actor.init = actor.obey(command)?;
        }
        Ok(actor)
    }

    fn load(state: Option<Vec<u8>>) -> Result<Option<Self>, String> {
        let Some(bytes) = state else { return Ok(Some(Self::default())) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("the state is not a probe's: {error}"))
    }

    fn save(&self) -> Result<Option<Vec<u8>>, String> {
        match &self.saved_as {
            SavedAs::Json => serde_json::to_vec(self).map(Some).map_err(|error| error.to_string()),
            SavedAs::Nothing => Ok(None),
            SavedAs::Raw(text) => Ok(Some(text.clone().into_bytes())),
        }
    }
}

impl<X: More> MessageHandler for Commanded<X> {
    type Message = Value;
    type Reply = Value;

    fn handle_request(&mut self, command: Value) -> Result<Value, String> {
        self.obey(command)
    }
}

impl<X: More> TimerHandler for Commanded<X> {
    type TimerMessage = Value;

    /// Obeys the message, if it is a command, and else notes the timer in the state.
    fn handle_timer(&mut self, key: &str, due: u64, command: Value) -> Result<(), String> {
        if command.is_null() {
            self.fired.push(json!([key, due]));
            return Ok(());
        }
        self.obey(command).map(drop)
    }
}

impl<X: More> ChildHandler for Commanded<X> {
    fn handle_child_event(&mut self, event: ChildEvent) -> Result<(), String> {
        let kind = match event.kind {
            ChildEventKind::Started => json!("started"),
            ChildEventKind::Stopped => json!("stopped"),
            ChildEventKind::Failed(reason) => json!({ "failed": reason }),
            ChildEventKind::Restarted => json!("restarted"),
        };
        self.notices.push(json!({ "child": event.child_id, "kind": kind }));
        if !self.on_notice.is_null() {
            let command = self.on_notice.to_string().replace("THE-CHILD", &event.child_id);
            self.obey(serde_json::from_str(&command).expect("JSON as before"))?;
        }
        Ok(())
    }
}

impl<X: More> ReplyHandler for Commanded<X> {
    type Answer = Value;

    fn handle_reply(&mut self, token: u64, answer: Result<Value, String>) -> Result<(), String> {
        self.replies.push(json!([token, outcome(answer)]));
        if !self.on_reply.is_null() {
            self.obey(self.on_reply.clone())?;
        }
        Ok(())
    }
}

impl<X: More> MonitorHandler for Commanded<X> {
    fn handle_down(&mut self, down: Down) -> Result<(), String> {
        let Down { reference, actor_id, reason } = down;
        let why = match reason {
            EndReason::Stopped => Value::Null,
            EndReason::Failed(why) => json!(why),
        };
        self.downs.push(json!([reference, actor_id, why]));
        if !self.on_down.is_null() {
            let command = self.on_down.to_string().replace("THE-ACTOR", &actor_id);
            self.obey(serde_json::from_str(&command).expect("JSON as before"))?;
        }
        Ok(())
    }
}
