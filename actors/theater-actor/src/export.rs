//! From the functions a component exports to the traits an actor implements.

use std::panic;
use std::sync::Once;

use crate::actor::{Actor, ChildHandler, HttpHandler, MessageHandler, WebSocketHandler};
use crate::bindings;
use crate::bindings::host::ntwk::theater::types::{Json, State};
use crate::{ChildEvent, HttpRequest, HttpResponse, WebSocketMessage, WebSocketResponse};
use crate::{json, runtime};

impl<A: Actor> bindings::actor::exports::ntwk::theater::actor::Guest for A {
    fn init(state: State, (id,): (String,)) -> Result<(State,), String> {
        report_panics();
        let actor = A::init(A::load(state)?, &id)?;
        Ok((actor.save()?,))
    }
}

impl<A: MessageHandler> bindings::messages::exports::ntwk::theater::message_server_client::Guest
    for A
{
    fn handle_send(state: State, (message,): (Json,)) -> Result<(State,), String> {
        let (state, ()) = transition(state, |actor: &mut A| {
            actor.handle_send(json::read("message", &message)?)
        })?;
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
    fn handle_request(
        state: State,
        (request,): (HttpRequest,),
    ) -> Result<(State, (HttpResponse,)), String> {
        transition(state, |actor: &mut A| Ok((actor.handle(request)?,)))
    }
}

impl<A: WebSocketHandler> bindings::websocket::exports::ntwk::theater::websocket_server::Guest
    for A
{
    fn handle_message(
        state: State,
        (message,): (WebSocketMessage,),
    ) -> Result<(State, (WebSocketResponse,)), String> {
        transition(state, |actor: &mut A| {
            let messages = actor.handle_message(message)?;
            Ok((WebSocketResponse { messages },))
        })
    }
}

impl<A: ChildHandler> bindings::children::exports::ntwk::theater::supervisor_handlers::Guest for A {
    fn handle_child_event(state: State, (event,): (ChildEvent,)) -> Result<(State,), String> {
        let (state, ()) = transition(state, |actor: &mut A| actor.handle_child_event(event))?;
        Ok((state,))
    }
}

/// State in, state out, with the actor's own step between.
fn transition<A: Actor, R>(
    state: State,
    step: impl FnOnce(&mut A) -> Result<R, String>,
) -> Result<(State, R), String> {
    report_panics();
    let mut actor = A::load(state)?.ok_or("the actor has no state")?;
    let result = step(&mut actor)?;
    Ok((actor.save()?, result))
}

/// On this target a panic is a trap without a word, so the word goes to the log first.
fn report_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| panic::set_hook(Box::new(|panic| runtime::log(&panic.to_string()))));
}
