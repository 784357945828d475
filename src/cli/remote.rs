//! Commands that ask a running runtime.

use std::io::Read;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::history::fetch;
use super::show::{self, print_json};
use super::{Done, Failure, MessageArgs, OneActor, Remote};
use crate::chain::cbor::bytes_to_json;
use crate::server::Client;
use crate::server::protocol::{ActorView, Request, Response};

pub(super) fn connect(remote: &Remote) -> Result<Client, Failure> {
    Client::connect(remote.server).map_err(Failure::no)
}

pub(super) fn ask(client: &mut Client, request: &Request) -> Result<Response, Failure> {
    client.ask(request).map_err(Failure::no)
}

/// What the answer should have been, or a failure that says what it was.
macro_rules! answered {
    ($response:expr, $pattern:pat => $value:expr) => {
        match $response? {
            $pattern => $value,
            other => return Err(Failure::no(crate::server::unexpected(&other))),
        }
    };
}
pub(super) use answered;

pub(super) fn actors(client: &mut Client) -> Result<Vec<ActorView>, Failure> {
    Ok(answered!(ask(client, &Request::ActorTree), Response::ActorTree { actors } => actors))
}

/// The actor that `text` names: by name, id, or the beginning of an id.
pub(super) fn find(client: &mut Client, text: &str) -> Result<ActorView, Failure> {
    let actors = actors(client)?;
    pick(&actors, text).map_err(Failure::no)
}

/// An exact id first, then a name, then a beginning of an id; among several, the one that is alive.
fn pick(actors: &[ActorView], text: &str) -> Result<ActorView, String> {
    let by = |matches: &dyn Fn(&ActorView) -> bool| actors.iter().filter(|actor| matches(actor)).collect::<Vec<_>>();
    let mut found = by(&|actor| actor.id == text);
    if found.is_empty() {
        found = by(&|actor| actor.name == text);
    }
    if found.is_empty() && text.len() >= 4 {
        found = by(&|actor| actor.id.starts_with(text));
    }
    let alive: Vec<_> = found.iter().copied().filter(|actor| show::is_alive(actor)).collect();
    match (&found[..], &alive[..]) {
        ([one], _) | (_, [one]) => Ok((*one).clone()),
        ([], _) => Err(format!("no actor is called \"{text}\"; `theater list` shows those there are")),
        (several, _) => {
            let ids: Vec<&str> = several.iter().take(5).map(|actor| actor.id.as_str()).collect();
            Err(format!("{} actors are called \"{text}\"; name one by its id: {}", several.len(), ids.join(", ")))
        }
    }
}

pub(super) fn start(manifest: &Path, remote: &Remote) -> Done {
    // The runtime may have been started elsewhere.
    let absolute = std::path::absolute(manifest).map_err(Failure::no)?;
    let mut client = connect(remote)?;
    let request = Request::StartActor { manifest: absolute.display().to_string() };
    let id = answered!(ask(&mut client, &request), Response::ActorStarted { id } => id);
    if remote.json {
        print_json(&serde_json::json!({ "id": id }));
    } else {
        println!("{id}");
    }
    Ok(())
}

pub(super) fn stop(one: &OneActor) -> Done {
    let mut client = connect(&one.remote)?;
    let id = find(&mut client, &one.actor)?.id;
    let id = answered!(ask(&mut client, &Request::StopActor { id }), Response::ActorStopped { id } => id);
    say(&one.remote, "stopped", &id);
    Ok(())
}

pub(super) fn restart(one: &OneActor) -> Done {
    let mut client = connect(&one.remote)?;
    let id = find(&mut client, &one.actor)?.id;
    let id = answered!(ask(&mut client, &Request::RestartActor { id }), Response::ActorRestarted { id } => id);
    say(&one.remote, "restarted", &id);
    Ok(())
}

fn say(remote: &Remote, done: &str, id: &str) {
    if remote.json {
        print_json(&serde_json::json!({ done: id }));
    } else {
        println!("{done} {id}");
    }
}

pub(super) fn list(remote: &Remote) -> Done {
    let actors = actors(&mut connect(remote)?)?;
    if remote.json {
        print_json(&actors);
    } else {
        show::list(&actors);
    }
    Ok(())
}

pub(super) fn tree(remote: &Remote) -> Done {
    let actors = actors(&mut connect(remote)?)?;
    if remote.json {
        print_json(&actors);
    } else {
        show::tree(&actors);
    }
    Ok(())
}

pub(super) fn status(one: &OneActor) -> Done {
    let actor = find(&mut connect(&one.remote)?, &one.actor)?;
    if one.remote.json {
        print_json(&actor);
    } else {
        show::status(&actor);
    }
    Ok(())
}

pub(super) fn state(one: &OneActor) -> Done {
    let mut client = connect(&one.remote)?;
    let id = find(&mut client, &one.actor)?.id;
    let answer = ask(&mut client, &Request::GetActorState { id: id.clone() });
    let state = match answered!(answer, Response::ActorState { state, length, .. } => (state, length)) {
        (Some(state), _) => Some(BASE64.decode(state).map_err(Failure::no)?),
        (None, Some(_)) => Some(fetch(&mut client, |offset| Request::GetStateBytes { id: id.clone(), offset })?),
        (None, None) => None,
    };
    if one.remote.json {
        print_json(&serde_json::json!({ "state": state.as_deref().map(bytes_to_json) }));
    } else {
        show::bytes(state.as_deref());
    }
    Ok(())
}

pub(super) fn send(args: &MessageArgs) -> Done {
    let mut client = connect(&args.remote)?;
    let id = find(&mut client, &args.actor)?.id;
    let request = Request::SendMessage { id, message: BASE64.encode(message(args)?) };
    let id = answered!(ask(&mut client, &request), Response::Sent { id } => id);
    say(&args.remote, "sent", &id);
    Ok(())
}

pub(super) fn request(args: &MessageArgs) -> Done {
    let mut client = connect(&args.remote)?;
    let id = find(&mut client, &args.actor)?.id;
    let request = Request::RequestMessage { id, message: BASE64.encode(message(args)?) };
    let answer = answered!(ask(&mut client, &request), Response::Answer { message, .. } => message);
    let answer = BASE64.decode(answer).map_err(Failure::no)?;
    if args.remote.json {
        print_json(&serde_json::json!({ "answer": bytes_to_json(&answer) }));
    } else {
        show::bytes(Some(&answer));
    }
    Ok(())
}

fn message(args: &MessageArgs) -> Result<Vec<u8>, Failure> {
    if args.message != "-" {
        return Ok(args.message.clone().into_bytes());
    }
    let mut message = Vec::new();
    std::io::stdin().read_to_end(&mut message).map_err(Failure::no)?;
    Ok(message)
}

pub(super) fn shutdown(remote: &Remote) -> Done {
    let mut client = connect(remote)?;
    answered!(ask(&mut client, &Request::Shutdown), Response::ShuttingDown => ());
    if remote.json {
        print_json(&serde_json::json!({ "shutting_down": true }));
    } else {
        println!("shutting down");
    }
    Ok(())
}
