//! `theater dead-letters`: the messages that their receivers never took, and sending one again.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Args, Subcommand};

use super::connect::{answered, ask, connect, find};
use super::past::find_row;
use super::realm_copy::readable_dir;
use super::show::{self, print_json, say};
use super::{Done, Failure, Remote, times};
use crate::chain::cbor::bytes_to_json;
use crate::journal;
use crate::server::protocol::{DeadLetterView, Request, Response};
use crate::theater::dead_letters as read_dead_letters;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct DeadLettersArgs {
    /// Only those to this actor: its name, its id, or the beginning of either
    actor: Option<String>,
    /// Read the data directory itself; no runtime needs to be running
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    action: Option<DeadLetterAction>,
}

#[derive(Subcommand)]
enum DeadLetterAction {
    /// Send a dead letter again, once, and wait until an actor has worked on it
    Send(DeadLetterSendArgs),
}

#[derive(Args)]
struct DeadLetterSendArgs {
    /// The dead letter, as the list shows it: UUID:NUMBER
    letter: String,
    /// The actor to send it to [default: the actor that it was sent to]
    #[arg(long, value_name = "ACTOR")]
    to: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn dead_letters(args: &DeadLettersArgs) -> Done {
    if let Some(DeadLetterAction::Send(args)) = &args.action {
        return send(args);
    }
    let letters = match &args.data_dir {
        Some(dir) => on_disk(&readable_dir(dir)?, args.actor.as_deref())?,
        None => of_a_runtime(&args.remote, args.actor.as_deref())?,
    };
    if args.remote.json {
        print_json(&letters);
        return Ok(());
    }
    for letter in &letters {
        let DeadLetterView { letter: id, to, dropped_ms, why, bytes, message, .. } = letter;
        let message = match (bytes, message) {
            (None, _) => "(the message was dropped by a prune or a redaction)".to_owned(),
            (Some(_), Some(message)) => bytes_to_json(&BASE64.decode(message).map_err(Failure::no)?).to_string(),
            (Some(bytes), None) => format!("({bytes} bytes)"),
        };
        show::line(&format!("{}  {id}  to {to}, which {why}  {message}", times::moment(*dropped_ms)));
    }
    Ok(())
}

fn on_disk(dir: &Path, actor: Option<&str>) -> Result<Vec<DeadLetterView>, Failure> {
    let reader = journal::open_to_read(dir).map_err(Failure::no)?;
    let to = actor.map(|actor| find_row(&reader, actor, dir)).transpose()?.map(|row| row.actor.id);
    let letters = read_dead_letters(&reader, to).map_err(Failure::no)?;
    Ok(letters.into_iter().map(DeadLetterView::from).collect())
}

fn of_a_runtime(remote: &Remote, actor: Option<&str>) -> Result<Vec<DeadLetterView>, Failure> {
    let mut client = connect(remote)?;
    let id = actor.map(|actor| find(&mut client, actor)).transpose()?.map(|actor| actor.id);
    let (mut all, mut from) = (Vec::new(), Some(0));
    while let Some(at) = from {
        let request = Request::GetDeadLetters { id: id.clone(), from: at, limit: None };
        let (letters, next) =
            answered!(ask(&mut client, &request), Response::DeadLetters { letters, next } => (letters, next));
        all.extend(letters);
        from = next;
    }
    Ok(all)
}

fn send(args: &DeadLetterSendArgs) -> Done {
    let mut client = connect(&args.remote)?;
    let to = args.to.as_deref().map(|to| find(&mut client, to)).transpose()?.map(|actor| actor.id);
    let request = Request::SendDeadLetter { letter: args.letter.clone(), to };
    let (letter, id) = answered!(ask(&mut client, &request), Response::DeadLetterSent { letter, id } => (letter, id));
    if args.remote.json {
        print_json(&serde_json::json!({ "letter": letter, "id": id }));
    } else {
        say!("sent {letter} to {id}");
    }
    Ok(())
}
