//! `theater prune` of several actors: what each would lose is looked at first, and asked about once.

use std::collections::HashMap;

use super::connect::{actors, connect};
use super::forget::{self, PruneArgs};
use super::selection::{agree, choose, is_pattern};
use super::show::{print_json, say, visible};
use super::{Done, Failure};
use crate::server::protocol::{ActorView, Request, Response};
use crate::server::{Client, ClientError};

/// What became of an actor, or would: how many events, how many bytes of data, from where a replay can begin; or why nothing does.
struct Loss {
    events: u64,
    bytes: Option<u64>,
    replays_from: Option<u64>,
}

/// Prunes the actors that are named.
pub(super) fn prune(args: &PruneArgs) -> Done {
    match &args.actor[..] {
        [one] if !is_pattern(one) => forget::prune(args, one),
        _ if args.data_dir.is_some() => {
            Err(Failure::usage("with --data-dir, one actor is pruned at a time: give its name or its id"))
        }
        _ => prune_many(args),
    }
}

fn prune_many(args: &PruneArgs) -> Done {
    let mut client = connect(&args.remote)?;
    let all = actors(&mut client)?;
    let chosen = choose(&mut client, &all, &args.actor, "prune", |_| true)?;
    let foresee = |id| Request::ForeseePrune { id, before: args.before, despite_get_chain: args.despite_get_chain };
    let foreseen = of_each(&mut client, &chosen, &foresee)?;
    if args.dry_run {
        return report(&chosen, &foreseen, "would_drop", "would be dropped; nothing was changed", args.remote.json);
    }
    let detail = |actor: &ActorView| match foreseen.get(&actor.id)? {
        Ok(Loss { events, bytes, .. }) => Some(format!("{events} events, {} bytes", bytes.unwrap_or(0))),
        Err(why) => Some(format!("nothing: {why}")),
    };
    agree(&chosen, &format!("drop old data of these {} actors", chosen.len()), &detail, args.yes)?;
    let prune = |id| Request::PruneActor { id, before: args.before, despite_get_chain: args.despite_get_chain };
    let done = of_each(&mut client, &chosen, &prune)?;
    report(&chosen, &done, "dropped", "are dropped; all hashes are kept", args.remote.json)
}

/// Asks the same about each actor.
fn of_each(
    client: &mut Client,
    chosen: &[ActorView],
    request: &dyn Fn(String) -> Request,
) -> Result<HashMap<String, Result<Loss, String>>, Failure> {
    let mut losses = HashMap::new();
    for ActorView { id, .. } in chosen {
        let loss = match client.ask(&request(id.clone())) {
            Ok(Response::Forgotten { events, replays_from, .. }) => Ok(Loss { events, bytes: None, replays_from }),
            Ok(Response::WouldForget { events, bytes, replays_from, .. }) => {
                Ok(Loss { events, bytes: Some(bytes), replays_from })
            }
            Ok(other) => return Err(Failure::no(crate::server::unexpected(&other))),
            Err(ClientError::Refused(why)) => Err(why),
            Err(broken) => return Err(Failure::no(broken)),
        };
        losses.insert(id.clone(), loss);
    }
    Ok(losses)
}

fn report(
    chosen: &[ActorView],
    losses: &HashMap<String, Result<Loss, String>>,
    key: &str,
    what: &str,
    json: bool,
) -> Done {
    let (mut done, mut refused, mut whys, mut events_of_all) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for actor in chosen {
        match losses.get(&actor.id) {
            Some(Ok(Loss { events, bytes, replays_from })) => {
                events_of_all += events;
                let of_one = bytes.map_or_else(String::new, |bytes| format!(", {bytes} bytes"));
                if !json {
                    say!("{}  {events} events{of_one}", visible(actor.shown_name()));
                }
                let mut one = serde_json::json!({ "id": actor.id, "events": events, "replays_from": replays_from });
                bytes.iter().for_each(|bytes| one["bytes"] = (*bytes).into());
                done.push(one);
            }
            Some(Err(why)) => {
                whys.push(format!("{}: {why}", actor.shown_name()));
                refused.push(serde_json::json!({ "id": actor.id, "why": why }));
            }
            None => {}
        }
    }
    if json {
        print_json(&serde_json::json!({ key: done, "refused": refused }));
    } else {
        say!("the data of {events_of_all} events of {} actors {what}", done.len());
    }
    if whys.is_empty() { Ok(()) } else { Err(Failure::no(format!("not pruned: {}", whys.join("; ")))) }
}
