//! Connects the functions that a component exports to the traits that an actor implements.

use std::panic;
use std::sync::Once;

use crate::actor::{
    Actor, ChildHandler, ConnectionHandler, HttpHandler, MessageHandler, Migration, MonitorHandler, ReplyHandler,
    StreamHandler, TimerHandler, WebSocketHandler,
};
use crate::bindings;
use crate::bindings::host::ntwk::theater::types::{Json, State};
use crate::{ChildEvent, Down, HttpAnswer, HttpRequest, HttpResponse, WebSocketMessage, WebSocketResponse};
use crate::{json, runtime};

impl<A: Actor> bindings::actor::exports::ntwk::theater::actor::Guest for A {
    fn init(state: State, (id,): (String,)) -> Result<(State,), String> {
        report_panics();
        let actor = A::init(A::load(state)?, &id)?;
        Ok((actor.save()?,))
    }
}

impl<A: Migration> bindings::migration::exports::ntwk::theater::migration::Guest for A {
    fn migrate(state: State, (from,): (String,)) -> Result<(State,), String> {
        report_panics();
        let actor = A::migrate(A::load_before(state)?, &from)?;
        Ok((actor.save()?,))
    }
}

impl<A: MessageHandler> bindings::messages::exports::ntwk::theater::message_server_client::Guest for A {
    fn handle_send(state: State, (message,): (Json,)) -> Result<(State,), String> {
        let (state, ()) = transition(state, |actor: &mut A| actor.handle_send(json::read("message", &message)?))?;
        Ok((state,))
    }

    fn handle_request(state: State, (message,): (Json,)) -> Result<(State, (Json,)), String> {
        transition(state, |actor: &mut A| {
            let reply = actor.handle_request(json::read("message", &message)?)?;
            Ok((json::write("reply", &reply)?,))
        })
    }
}

impl<A: HttpHandler> bindings::http::exports::ntwk::theater::http_server::Guest for A {
    fn handle_request(state: State, (request,): (HttpRequest,)) -> Result<(State, (HttpResponse,)), String> {
        transition(state, |actor: &mut A| Ok((actor.handle(request)?,)))
    }
}

impl<A: WebSocketHandler> bindings::websocket::exports::ntwk::theater::websocket_server::Guest for A {
    fn handle_message(state: State, (message,): (WebSocketMessage,)) -> Result<(State, (WebSocketResponse,)), String> {
        transition(state, |actor: &mut A| {
            let messages = actor.handle_message(message)?;
            Ok((WebSocketResponse { messages },))
        })
    }
}

impl<A: ConnectionHandler> bindings::connections::exports::ntwk::theater::connection_handlers::Guest for A {
    fn handle_connection_message(
        state: State,
        (connection, message): (u64, WebSocketMessage),
    ) -> Result<(State, (WebSocketResponse,)), String> {
        transition(state, |actor: &mut A| {
            let messages = actor.handle_connection_message(connection, message)?;
            Ok((WebSocketResponse { messages },))
        })
    }
}

impl<A: StreamHandler> bindings::streams::exports::ntwk::theater::stream_handlers::Guest for A {
    fn handle_request(state: State, (stream, request): (u64, HttpRequest)) -> Result<(State, (HttpAnswer,)), String> {
        transition(state, |actor: &mut A| Ok((actor.handle_stream_request(stream, request)?,)))
    }

    fn handle_stream_closed(state: State, (stream,): (u64,)) -> Result<(State,), String> {
        let (state, ()) = transition(state, |actor: &mut A| actor.handle_stream_closed(stream))?;
        Ok((state,))
    }
}

impl<A: TimerHandler> bindings::timers::exports::ntwk::theater::timer_handlers::Guest for A {
    fn handle_timer(state: State, (key, due, message): (String, u64, Json)) -> Result<(State,), String> {
        let (state, ()) =
            transition(state, |actor: &mut A| actor.handle_timer(&key, due, json::read("timer's message", &message)?))?;
        Ok((state,))
    }
}

impl<A: MonitorHandler> bindings::monitors::exports::ntwk::theater::monitor_handlers::Guest for A {
    fn handle_down(state: State, (down,): (Down,)) -> Result<(State,), String> {
        let (state, ()) = transition(state, |actor: &mut A| actor.handle_down(down))?;
        Ok((state,))
    }
}

impl<A: ReplyHandler> bindings::replies::exports::ntwk::theater::reply_handlers::Guest for A {
    fn handle_reply(state: State, (token, answer): (u64, Result<Json, String>)) -> Result<(State,), String> {
        let answer = answer.and_then(|answer| json::read("reply", &answer));
        let (state, ()) = transition(state, |actor: &mut A| actor.handle_reply(token, answer))?;
        Ok((state,))
    }
}

impl<A: ChildHandler> bindings::children::exports::ntwk::theater::supervisor_handlers::Guest for A {
    fn handle_child_event(state: State, (event,): (ChildEvent,)) -> Result<(State,), String> {
        let (state, ()) = transition(state, |actor: &mut A| actor.handle_child_event(event))?;
        Ok((state,))
    }
}

/// Decodes the state, runs the actor's own step, and encodes the state again.
fn transition<A: Actor, R>(state: State, step: impl FnOnce(&mut A) -> Result<R, String>) -> Result<(State, R), String> {
    report_panics();
    let mut actor = A::load(state)?.ok_or("the actor has no state")?;
    let result = step(&mut actor)?;
    Ok((actor.save()?, result))
}

/// Logs the message of a panic, because in a component a panic is a trap without any message.
fn report_panics() {
    static HOOK: Once = Once::new();
    if cfg!(target_family = "wasm") {
        HOOK.call_once(|| panic::set_hook(Box::new(|panic| runtime::log(&panic.to_string()))));
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::bindings::actor::exports::ntwk::theater::actor::Guest as Start;
    use super::bindings::messages::exports::ntwk::theater::message_server_client::Guest as Messages;
    use super::bindings::migration::exports::ntwk::theater::migration::Guest as Migrations;
    use super::bindings::monitors::exports::ntwk::theater::monitor_handlers::Guest as Monitors;
    use super::bindings::replies::exports::ntwk::theater::reply_handlers::Guest as Replies;
    use super::bindings::timers::exports::ntwk::theater::timer_handlers::Guest as Timers;
    use super::*;
    use crate::EndReason;

    #[derive(Serialize, Deserialize)]
    struct Sum {
        sum: i64,
    }

    impl Actor for Sum {
        fn init(state: Option<Self>, id: &str) -> Result<Self, String> {
            state.ok_or_else(|| format!("{id} has nothing to begin with"))
        }
    }

    impl MessageHandler for Sum {
        type Message = i64;
        type Reply = String;

        fn handle_request(&mut self, n: i64) -> Result<String, String> {
            self.sum += n;
            Ok(format!("now {}", self.sum))
        }
    }

    impl Migration for Sum {
        type Before = Vec<i64>;

        fn migrate(before: Vec<i64>, from: &str) -> Result<Self, String> {
            if before.is_empty() {
                return Err(format!("{from} has summed up nothing"));
            }
            Ok(Self { sum: before.iter().sum() })
        }
    }

    impl TimerHandler for Sum {
        type TimerMessage = i64;

        fn handle_timer(&mut self, key: &str, due: u64, n: i64) -> Result<(), String> {
            if key != "add" {
                return Err(format!("{key} was due at {due}"));
            }
            self.sum += n;
            Ok(())
        }
    }

    impl MonitorHandler for Sum {
        fn handle_down(&mut self, down: Down) -> Result<(), String> {
            match down.reason {
                EndReason::Stopped => self.sum = 0,
                EndReason::Failed(why) => return Err(format!("{} of {}: {why}", down.actor_id, down.reference)),
            }
            Ok(())
        }
    }

    impl ReplyHandler for Sum {
        type Answer = i64;

        fn handle_reply(&mut self, token: u64, answer: Result<i64, String>) -> Result<(), String> {
            self.sum += answer.map_err(|why| format!("{token}: {why}"))?;
            Ok(())
        }
    }

    fn bytes(text: &str) -> Vec<u8> {
        text.into()
    }

    fn request(state: Option<&str>, message: &str) -> Result<(State, (Json,)), String> {
        <Sum as Messages>::handle_request(state.map(bytes), (bytes(message),))
    }

    #[test]
    fn init_begins_with_the_state_of_the_manifest() {
        let init = |state: Option<&str>| <Sum as Start>::init(state.map(bytes), ("a".into(),));
        assert_eq!(init(Some(r#"{ "sum": 1 }"#)), Ok((Some(bytes(r#"{"sum":1}"#)),)));
        assert_eq!(init(None), Err("a has nothing to begin with".into()));
    }

    #[test]
    fn the_state_of_an_earlier_build_becomes_one_of_this_or_is_refused() {
        let migrate = |state: Option<&str>| <Sum as Migrations>::migrate(state.map(bytes), ("a".into(),));
        assert_eq!(migrate(Some("[1,2]")), Ok((Some(bytes(r#"{"sum":3}"#)),)));
        assert_eq!(migrate(Some("[]")), Err("a has summed up nothing".into()));
        assert!(migrate(Some("{}")).unwrap_err().starts_with("the state of the build before is not of type "));
        assert_eq!(migrate(None), Err("there is no state to migrate".into()));
    }

    #[test]
    fn a_request_changes_the_state_and_is_answered() {
        let answer = request(Some(r#"{"sum":1}"#), "2");
        assert_eq!(answer, Ok((Some(bytes(r#"{"sum":3}"#)), (bytes(r#""now 3""#),))));
    }

    #[test]
    fn a_send_is_a_request_without_an_answer() {
        let state = <Sum as Messages>::handle_send(Some(bytes(r#"{"sum":1}"#)), (bytes("2"),));
        assert_eq!(state, Ok((Some(bytes(r#"{"sum":3}"#)),)));
    }

    #[test]
    fn a_timer_changes_the_state_or_leaves_it() {
        let fire = |key: &str, message: &str| {
            <Sum as Timers>::handle_timer(Some(bytes(r#"{"sum":1}"#)), (key.into(), 7, bytes(message)))
        };
        assert_eq!(fire("add", "2"), Ok((Some(bytes(r#"{"sum":3}"#)),)));
        assert_eq!(fire("tea", "2"), Err("tea was due at 7".into()));
        assert!(fire("add", "{}").unwrap_err().starts_with("the timer's message is not of type i64: "));
    }

    #[test]
    fn the_end_of_another_actor_changes_the_state_or_leaves_it() {
        let told = |reason: EndReason| {
            let down = Down { reference: 7, actor_id: "a".into(), reason };
            <Sum as Monitors>::handle_down(Some(bytes(r#"{"sum":1}"#)), (down,))
        };
        assert_eq!(told(EndReason::Stopped), Ok((Some(bytes(r#"{"sum":0}"#)),)));
        assert_eq!(told(EndReason::Failed("trap".into())), Err("a of 7: trap".into()));
    }

    #[test]
    fn a_reply_changes_the_state_or_leaves_it_and_one_of_another_type_is_an_error() {
        let told = |answer: Result<&str, &str>| {
            let answer = answer.map(bytes).map_err(str::to_owned);
            <Sum as Replies>::handle_reply(Some(bytes(r#"{"sum":1}"#)), (7, answer))
        };
        assert_eq!(told(Ok("2")), Ok((Some(bytes(r#"{"sum":3}"#)),)));
        assert_eq!(told(Err("no")), Err("7: no".into()));
        assert!(told(Ok("{}")).unwrap_err().starts_with("7: the reply is not of type i64: "));
    }

    #[test]
    fn what_does_not_parse_is_an_error_that_names_it() {
        let refusal = |state, message| request(state, message).unwrap_err();
        assert!(refusal(Some("[]"), "1").starts_with("the state is not of type theater_actor::export::tests::Sum: "));
        assert!(refusal(Some(r#"{"sum":1}"#), "{}").starts_with("the message is not of type i64: "));
        assert_eq!(refusal(None, "1"), "the actor has no state");
    }
}
