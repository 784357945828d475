//! Commands that ask a running runtime.

use std::io::Read;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::config::refused;
use super::history::Source;
use super::show::{self, print_json, say};
use super::{Done, Failure, MessageArgs, OneActor, Remote};
use crate::chain::cbor::bytes_to_json;
use crate::config::Settings;
use crate::server::protocol::{ActorView, Request, Response, StatusAnswer};
use crate::server::{Client, ClientError, MESSAGE_BYTES};

pub(super) fn connect(remote: &Remote) -> Result<Client, Failure> {
    let flags =
        [("management.token_file", remote.token_file.clone()), ("management.authorities", remote.authorities.clone())];
    let settings = Settings::of_environment(remote.config.as_deref(), &flags);
    let options = settings.and_then(|settings| settings.client(remote.server.clone()));
    Client::connect(&options.map_err(refused)?).map_err(Failure::no)
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
    let mut all = Vec::new();
    let gathered = client.each_actor(|actor| {
        all.push(actor);
        Ok(())
    });
    gathered.map(|()| all).map_err(Failure::no)
}

/// The actor that `text` names.
pub(super) fn find(client: &mut Client, text: &str) -> Result<ActorView, Failure> {
    let hint = |failure: Failure| match failure.message.starts_with("no actor is called") {
        true => Failure::no(failure.message + "; `theater list` shows those there are"),
        false => failure,
    };
    let found = ask(client, &Request::FindActor { text: text.to_owned() }).map_err(hint);
    Ok(*answered!(found, Response::ActorStatus(StatusAnswer::Actor { actor }) => actor))
}

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

/// A path as it is meant here: the runtime may have been started elsewhere.
pub(super) fn from_anywhere(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path);
    let absolute = absolute.map_err(|error| Failure::no(format!("{}: the working directory: {error}", path.display())));
    absolute.map(|absolute| absolute.display().to_string())
}

pub(super) fn stop(one: &OneActor) -> Done {
    let mut client = connect(&one.remote)?;
    let id = find(&mut client, &one.actor)?.id;
    let id = answered!(ask(&mut client, &Request::StopActor { id }), Response::ActorStopped { id } => id);
    confirm(&one.remote, "stopped", &id);
    Ok(())
}

pub(super) fn restart(one: &OneActor) -> Done {
    let mut client = connect(&one.remote)?;
    let id = find(&mut client, &one.actor)?.id;
    let id = answered!(ask(&mut client, &Request::RestartActor { id }), Response::ActorRestarted { id } => id);
    confirm(&one.remote, "restarted", &id);
    Ok(())
}

pub(super) fn forget(one: &OneActor) -> Done {
    let mut client = connect(&one.remote)?;
    let id = find(&mut client, &one.actor)?.id;
    let id = answered!(ask(&mut client, &Request::ForgetActor { id }), Response::ActorForgotten { id } => id);
    confirm(&one.remote, "forgotten", &id);
    Ok(())
}

fn confirm(remote: &Remote, done: &str, id: &str) {
    if remote.json {
        print_json(&serde_json::json!({ done: id }));
    } else {
        say!("{done} {id}");
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

/// Events shown of an actor that failed.
const LED_TO_IT: u64 = 6;

pub(super) fn status(one: &OneActor) -> Done {
    let mut client = connect(&one.remote)?;
    let actor = find(&mut client, &one.actor)?;
    if one.remote.json {
        print_json(&actor);
        return Ok(());
    }
    show::status(&actor);
    if actor.failure.is_some() {
        let length = chain_length(&mut client, &actor.id)?;
        show::line(&format!("\nwhat led to it (all of it: theater events {}):", actor.name));
        let mut source = Source::Running { client, id: actor.id };
        let shown = source.each(length.saturating_sub(LED_TO_IT), |event| {
            show::event(&event, None);
            Ok(())
        });
        shown?;
    }
    Ok(())
}

/// How many events an actor has on disk.
pub(super) fn chain_length(client: &mut Client, id: &str) -> Result<u64, Failure> {
    let request = Request::GetActorMetrics { id: id.to_owned() };
    let metrics = answered!(ask(client, &request), Response::ActorMetrics { metrics, .. } => metrics);
    Ok(metrics["chain_length"].as_u64().unwrap_or(0))
}

pub(super) fn send(args: &MessageArgs) -> Done {
    let message = BASE64.encode(message(args)?);
    let mut client = connect(&args.remote)?;
    let actor = find(&mut client, &args.actor)?;
    let request = Request::SendMessage { id: actor.id.clone(), message };
    let id = answered!(ask_actor(&mut client, &request, &actor), Response::Sent { id } => id);
    confirm(&args.remote, "sent", &id);
    Ok(())
}

pub(super) fn request(args: &MessageArgs) -> Done {
    let message = BASE64.encode(message(args)?);
    let mut client = connect(&args.remote)?;
    let actor = find(&mut client, &args.actor)?;
    let request = Request::RequestMessage { id: actor.id.clone(), message };
    let answer = answered!(ask_actor(&mut client, &request, &actor), Response::Answer { message, .. } => message);
    let answer = BASE64.decode(answer).map_err(Failure::no)?;
    if args.remote.json {
        print_json(&serde_json::json!({ "answer": bytes_to_json(&answer) }));
    } else {
        show::bytes(Some(&answer));
    }
    Ok(())
}

/// Asks an actor something. Where it is not up, or fails of it, the answer names it by its id, if at all, and has no remedy.
fn ask_actor(client: &mut Client, request: &Request, actor: &ActorView) -> Result<Response, Failure> {
    client.ask(request).map_err(|error| {
        let why = error.to_string();
        let name = &actor.name;
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

/// The message, from the command line or standard input; refused before anything is sent where no frame can hold it.
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
