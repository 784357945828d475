//! `theater describe`: all about one actor as text, what went wrong first.

use super::connect::{answered, ask, connect, find};
use super::show::{joined, limit, paused, print_json, say, starts_again, visible};
use super::times::moment;
use super::{Done, Failure, OneActor};
use crate::server::protocol::{ActorDescription, ActorView, Request, Response};

pub(super) fn describe(one: &OneActor) -> Done {
    let mut client = connect(&one.remote)?;
    let id = find(&mut client, &one.actor)?.id;
    let answer = ask(&mut client, &Request::DescribeActor { id });
    let (actor, description) = answered!(
        answer,
        Response::ActorDescription { actor, description } => (actor, description)
    );
    if one.remote.json {
        print_json(&serde_json::json!({ "actor": actor, "description": description }));
    } else {
        print(&actor, &description);
    }
    Ok(())
}

/// A row with a name; further rows of the same name have none.
fn row(name: &str, value: &str) {
    say!("{}", format!("{name:<14} {}", visible(value)).trim_end());
}

fn rows(name: &str, values: impl IntoIterator<Item = String>) {
    let mut name = name;
    for value in values {
        row(name, &value);
        name = "";
    }
}

fn print(actor: &ActorView, description: &ActorDescription) {
    row("name", actor.shown_name());
    row("id", &actor.id);
    row(
        "status",
        &format!("{}, incarnation {}, since {}", actor.shown_status(), actor.incarnation, moment(actor.since_ms)),
    );
    rows("paused", paused(actor));
    rows("failure", actor.failure.as_deref().map(joined));
    rows("given up", actor.given_up.clone());
    rows("", limit(actor));
    rows("start again", starts_again(actor));
    rows("address", actor.urls.iter().cloned());
    rows("parent", actor.parent.clone());
    row("manifest", &actor.manifest);
    row("component", &description.component);
    rows(
        "handlers",
        description.handlers.iter().map(|handler| match handler.config.is_null() {
            true => handler.kind.clone(),
            false => format!("{} {}", handler.kind, handler.config),
        }),
    );
    rows(
        "limits",
        description.limits.iter().map(|(name, [value, usual])| format!("{name} = {value} (usually {usual})")),
    );
    if description.limits.is_empty() {
        row("limits", "all as usual");
    }
    rows("restart", restart(actor, description));
    row("chain", &chain(description));
    row("state", &description.state_bytes.map_or("none".to_owned(), |bytes| format!("{bytes} bytes")));
    row("mailbox", &format!("{} waiting", actor.mailbox_depth));
    let owed =
        description.owed.iter().map(|owed| format!("{} of event {} of {}", owed.what, owed.sequence, owed.actor));
    rows("owed", counted(owed, description.owed_count));
    let children =
        description.children.iter().map(|child| format!("{:<10} {}  {}", child.status, child.name, child.id));
    rows("children", counted(children, description.children_count));
    rows(
        "failures",
        description.failures.iter().map(|failure| {
            let why = failure.detail.as_deref().map_or("(its data was dropped)".to_owned(), joined);
            format!("event {}  {}  {}: {why}", failure.sequence, moment(failure.unix_ms), failure.reason)
        }),
    );
    if let Some(failure) = description.failures.first() {
        let address = actor.path.as_ref().unwrap_or(&actor.id);
        row("", &format!("what led to it, and what came of it: theater trace {address} {}", failure.sequence));
    }
}

/// The listed ones, and how many there are beyond these.
fn counted(listed: impl Iterator<Item = String>, count: u64) -> Vec<String> {
    let mut all: Vec<String> = listed.collect();
    let more = count.saturating_sub(all.len() as u64);
    all.extend((more > 0).then(|| format!("… and {more} more")));
    all
}

fn chain(description: &ActorDescription) -> String {
    match &description.head {
        Some(head) => format!("{} events, head {head}", description.chain_length),
        None => "no events on disk yet".to_owned(),
    }
}

fn restart(actor: &ActorView, description: &ActorDescription) -> Vec<String> {
    let rules = &description.restart;
    let mut said = vec![match rules.restart.as_str() {
        "temporary" => "temporary: never by itself".to_owned(),
        policy => format!("{policy}, with its {} state, after {} ms", rules.restart_state, rules.restart_backoff_ms),
    }];
    said.extend(actor.restarts.as_ref().map(|used| {
        let whose = if actor.parent.is_some() { "its siblings' restarts count too" } else { "as the root of its tree" };
        format!("{} of {} used within {} ms ({whose})", used.used, used.allowed, used.within_ms)
    }));
    if description.children_count > 0 {
        let (strategy, most) = (&rules.strategy, rules.max_restarts);
        said.push(format!("its children: {strategy}, at most {most} restarts within {} ms", rules.within_ms));
    }
    said
}
