//! A trace as an indented tree: each line has the actor, the events, what happened, how it ended, and how long it took.

use super::super::show::{cut_to, in_colour, line, visible};
use super::super::times::moment;
use super::source::ID_CHARS;
use super::tree::{CausalKind, CausalNode, CausalOutcome, CausalTree};

/// Characters of a message or an answer on a line.
const SAID: usize = 80;
/// Characters of the text of a failure.
const WHY: usize = 400;

pub(super) fn print(tree: &CausalTree) {
    let CausalTree { root, notes, .. } = tree;
    line(&format!("{}  {}", moment(root.began_ms), described(root)));
    branches(root, "");
    notes.iter().for_each(|note| line(&format!("note: {}", visible(note))));
    if let Some(bad) = deepest_bad(root) {
        let before = bad.sequence.saturating_sub(1);
        let name = visible(&bad.name);
        let id = &bad.actor[..ID_CHARS.min(bad.actor.len())];
        let address = if name.ends_with(&format!(" {id}")) { id } else { &name };
        line(&format!("the state of {name} before that: theater state {address} --at {before}"));
    }
}

fn branches(parent: &CausalNode, indent: &str) {
    for (at, child) in parent.children.iter().enumerate() {
        let is_last = at + 1 == parent.children.len();
        line(&format!("{indent}{}{}", if is_last { "└── " } else { "├── " }, described(child)));
        branches(child, &format!("{indent}{}", if is_last { "    " } else { "│   " }));
    }
}

fn described(node: &CausalNode) -> String {
    let events = match node.closing {
        Some(closing) => format!("{}-{closing}", node.sequence),
        None => node.sequence.to_string(),
    };
    let mut said = vec![match node.kind {
        CausalKind::Call | CausalKind::Event => format!("{} {events}", visible(&node.name)),
        CausalKind::HostCall => events,
    }];
    said.push(what(node));
    if let Some(to) = node.to_name.as_ref().or(node.to.as_ref()) {
        said.push(format!("to {}", visible(to)));
    }
    if !node.message.is_null() {
        said.push(cut_to(&node.message.to_string(), SAID));
    }
    said.push(outcome(node));
    said.extend(node.took_ms.map(|ms| format!("{ms} ms")));
    if node.asked {
        said.push("<- this event".to_owned());
    }
    said.retain(|part| !part.is_empty());
    let text = said.join("  ");
    let (colour, plain) = if node.is_bad() && in_colour() { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
    format!("{colour}{text}{plain}")
}

fn what(node: &CausalNode) -> String {
    if let Some(http) = &node.http {
        return visible(&format!("{} {}", http.method, http.path));
    }
    // `ntwk:theater/message-server-host.request` is `request` here; its interface is on the chain.
    let short = node.function.rsplit_once('.').map_or(node.function.as_str(), |(_, short)| short);
    let by = node.caller.as_deref().filter(|caller| !matches!(*caller, "actor" | "http")).unwrap_or_default();
    match by {
        "" => short.to_owned(),
        by => format!("{short} (by {by})"),
    }
}

fn outcome(node: &CausalNode) -> String {
    let status = node.http.as_ref().and_then(|http| http.status).map(|status| status.to_string());
    let word = match node.outcome {
        CausalOutcome::Done if !node.answer.is_null() => cut_to(&node.answer.to_string(), SAID),
        CausalOutcome::Done => String::new(),
        CausalOutcome::Refused => "refused".to_owned(),
        CausalOutcome::Failed => "FAILED".to_owned(),
        CausalOutcome::Stopped => "stopped".to_owned(),
        CausalOutcome::Error => "error".to_owned(),
        CausalOutcome::Open => "open".to_owned(),
        CausalOutcome::Dropped => "LOST".to_owned(),
        CausalOutcome::Unknown => "unknown".to_owned(),
    };
    let why = node.detail.as_deref().map(|why| cut_to(&why.lines().collect::<Vec<_>>().join(" | "), WHY));
    let told = match (word.is_empty(), why) {
        (false, Some(why)) => format!("{word}: {why}"),
        (true, Some(why)) => why,
        (_, None) => word,
    };
    let all: Vec<String> = status.into_iter().chain(Some(told).filter(|told| !told.is_empty())).collect();
    if all.is_empty() { String::new() } else { format!("→ {}", all.join(" ")) }
}

/// The innermost call that went wrong: what its callers say follows from it.
fn deepest_bad(node: &CausalNode) -> Option<&CausalNode> {
    let below = node.children.iter().filter_map(deepest_bad).max_by_key(|bad| depth_of(node, bad));
    below.or_else(|| Some(node).filter(|node| node.kind == CausalKind::Call && node.is_bad()))
}

fn depth_of(node: &CausalNode, sought: &CausalNode) -> Option<usize> {
    if std::ptr::eq(node, sought) {
        return Some(0);
    }
    node.children.iter().filter_map(|child| depth_of(child, sought)).max().map(|depth| depth + 1)
}
