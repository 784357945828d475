//! Commands that a running runtime carries out: start, forget, list, tree, status, send, request, shutdown.

use std::io::Read;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::connect::{actors, answered, ask, chain_length, connect, find, from_anywhere};
use super::past::ActorHistory;
use super::selection::{self, FORGET, ManyActors};
use super::show::{self, print_json, say};
use super::{AllActors, Done, Failure, ForgetArgs, ListArgs, MessageArgs, Remote, StatusArgs, at_rest};
use crate::chain::EventKind;
use crate::chain::cbor::bytes_to_json;
use crate::server::protocol::{ActorView, Request, Response};
use crate::server::{Client, ClientError, MESSAGE_BYTES};

pub(super) fn start(manifest: &Path, remote: &Remote) -> Done {
    let manifest = from_anywhere(manifest)?;
    let mut client = connect(remote)?;
    let request = Request::StartActor { manifest, initial_state: None };
    let id = answered!(ask(&mut client, &request), Response::ActorStarted { id } => id);
    if remote.json {
        print_json(&serde_json::json!({ "id": id }));
    } else {
        say!("{id}");
    }
    Ok(())
}

pub(super) fn forget(args: ForgetArgs) -> Done {
    let ForgetArgs { actor, ended, yes, remote } = args;
    if !ended {
        return selection::act(&ManyActors { actor, yes, remote }, &FORGET);
    }
    let mut client = connect(&remote)?;
    let all = actors(&mut client)?;
    let ended: Vec<ActorView> = all.iter().filter(|actor| !actor.is_alive()).cloned().collect();
    if ended.is_empty() && !remote.json {
        say!("no actor has ended");
    }
    // One goes with all actors below it.
    selection::carry_out(&mut client, &selection::uppermost(ended, &all), &FORGET, &remote)
}

fn confirm(remote: &Remote, done: &str, id: &str) {
    if remote.json {
        print_json(&serde_json::json!({ done: id }));
    } else {
        say!("{done} {id}");
    }
}

pub(super) fn list(args: &ListArgs) -> Done {
    let mut actors = listed(args.data_dir.as_deref(), &args.remote)?;
    actors.retain(|actor| !args.ended || !actor.is_alive());
    match () {
        () if args.remote.json => print_json(&actors),
        () if args.ended && actors.is_empty() => say!("no actor has ended"),
        () => show::list(&actors),
    }
    Ok(())
}

/// The actors of a running runtime, or those in a data directory.
fn listed(data_dir: Option<&Path>, remote: &Remote) -> Result<Vec<ActorView>, Failure> {
    data_dir.map_or_else(|| actors(&mut connect(remote)?), at_rest::actors)
}

pub(super) fn tree(AllActors { data_dir, remote }: &AllActors) -> Done {
    let actors = listed(data_dir.as_deref(), remote)?;
    if remote.json {
        print_json(&actors);
    } else {
        show::tree(&actors);
    }
    Ok(())
}

/// How many events are shown that led to a failure.
const LED_TO_IT: u64 = 6;

pub(super) fn status(StatusArgs { actor, data_dir, remote }: &StatusArgs) -> Done {
    let (actor, running) = match data_dir {
        Some(dir) => (at_rest::find(dir, actor)?, None),
        None => {
            let mut client = connect(remote)?;
            (find(&mut client, actor)?, Some(client))
        }
    };
    if remote.json {
        print_json(&actor);
        return Ok(());
    }
    show::status(&actor, running.is_some());
    if actor.failure.is_some() {
        let (mut source, length) = match (running, data_dir) {
            (Some(mut client), _) => {
                let length = chain_length(&mut client, &actor.id)?;
                (ActorHistory::Running { client, id: actor.id.clone() }, length)
            }
            (None, dir) => ActorHistory::open(&actor.id, dir.as_deref(), remote)?.with_length()?,
        };
        let address = actor.path.clone().unwrap_or_else(|| actor.id.clone());
        let at = data_dir.as_ref().map_or_else(String::new, |dir| format!(" --data-dir {}", dir.display()));
        show::line(&format!("\nwhat led to it (all of it: theater events {address}{at}):"));
        let mut failed = None;
        source.each(length.saturating_sub(LED_TO_IT), |event| {
            show::event(&event, None);
            failed = (event.kind() == Some(EventKind::Failed)).then_some(event.sequence).or(failed);
            Ok(())
        })?;
        if let Some(failed) = failed {
            show::line(&format!("\nwho asked for it, and what came of it: theater trace {address} {failed}{at}"));
        }
    }
    Ok(())
}

pub(super) fn send(args: &MessageArgs) -> Done {
    let message = BASE64.encode(message(args)?);
    let mut client = connect(&args.remote)?;
    let actor = find(&mut client, &args.actor)?;
    let request = Request::SendMessage { id: actor.id.clone(), message, message_id: args.message_id.clone() };
    let id = answered!(ask_actor(&mut client, &request, &actor), Response::Sent { id } => id);
    confirm(&args.remote, "sent", &id);
    Ok(())
}

pub(super) fn request(args: &MessageArgs) -> Done {
    let message = BASE64.encode(message(args)?);
    let mut client = connect(&args.remote)?;
    let actor = find(&mut client, &args.actor)?;
    let request = Request::RequestMessage { id: actor.id.clone(), message, message_id: args.message_id.clone() };
    let answer = answered!(ask_actor(&mut client, &request, &actor), Response::Answer { message, .. } => message);
    let answer = BASE64.decode(answer).map_err(Failure::no)?;
    if args.remote.json {
        print_json(&serde_json::json!({ "answer": bytes_to_json(&answer) }));
    } else {
        show::bytes(Some(&answer));
    }
    Ok(())
}

/// Sends a command about an actor. If the actor is not up, or fails, the runtime's answer has at most the actor's id,
/// and no remedy. This adds the actor's name and the remedy.
fn ask_actor(client: &mut Client, request: &Request, actor: &ActorView) -> Result<Response, Failure> {
    client.ask(request).map_err(|error| {
        let why = error.to_string();
        let name = actor.shown_name();
        let remedy = if why.starts_with("failed: ") || why == format!("actor {} is failed", actor.id) {
            format!("; what led to it, and how {name} is now: theater status {name}")
        } else if why == format!("actor {} is stopped", actor.id) {
            format!(" ({name}); theater restart {name} starts it again")
        } else {
            String::new()
        };
        Failure::no(why + &remedy)
    })
}

/// The message, from the command line or from standard input. A message that no frame can hold is refused before anything
/// is sent.
fn message(args: &MessageArgs) -> Result<Vec<u8>, Failure> {
    let mut message = Vec::new();
    if args.message == "-" {
        let most = MESSAGE_BYTES as u64 + 1;
        let read = std::io::stdin().take(most).read_to_end(&mut message);
        read.map_err(|error| Failure::no(format!("cannot read the message from standard input: {error}")))?;
    } else {
        message.extend_from_slice(args.message.as_bytes());
    }
    if message.len() > MESSAGE_BYTES {
        return Err(Failure::no(ClientError::TooLong));
    }
    Ok(message)
}

pub(super) fn shutdown(remote: &Remote) -> Done {
    let mut client = connect(remote)?;
    answered!(ask(&mut client, &Request::Shutdown), Response::ShuttingDown => ());
    if remote.json {
        print_json(&serde_json::json!({ "shutting_down": true }));
    } else {
        say!("shutting down");
    }
    Ok(())
}
