//! The connection to a running runtime, and the questions that several commands ask it.

use std::path::Path;

use super::config::refused;
use super::{Failure, NamedServer, Remote};
use crate::config::Settings;
use crate::server::protocol::{ActorView, Request, Response, StatusAnswer};
use crate::server::{Client, ClientOptions};

pub(super) fn connect(remote: &Remote) -> Result<Client, Failure> {
    Client::connect(&client_options(remote)?).map_err(Failure::no)
}

/// How to reach the runtime that `remote` names.
pub(super) fn client_options(remote: &Remote) -> Result<ClientOptions, Failure> {
    let flags =
        [("management.token_file", remote.token_file.clone()), ("management.authorities", remote.authorities.clone())];
    let settings = Settings::of_environment(remote.config.as_deref(), &flags);
    let options =
        settings.and_then(|settings| settings.client(remote.server.clone().and_then(|NamedServer(named)| named)));
    options.map_err(refused)
}

pub(super) fn ask(client: &mut Client, request: &Request) -> Result<Response, Failure> {
    client.ask(request).map_err(Failure::no)
}

/// Takes the value from the expected response, or returns a failure that shows the unexpected one.
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

/// An absolute path for what `path` means in the working directory of this command: the runtime may have another one.
pub(super) fn from_anywhere(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path);
    let absolute = absolute.map_err(|error| Failure::no(format!("{}: the working directory: {error}", path.display())));
    absolute.map(|absolute| absolute.display().to_string())
}

/// How many events an actor has on disk.
pub(super) fn chain_length(client: &mut Client, id: &str) -> Result<u64, Failure> {
    let request = Request::GetActorMetrics { id: id.to_owned() };
    let metrics = answered!(ask(client, &request), Response::ActorMetrics { metrics, .. } => metrics);
    Ok(metrics["chain_length"].as_u64().unwrap_or(0))
}
