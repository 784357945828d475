//! Printing for people: actors, events, states and times as lines on a terminal.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

use serde::Serialize;
use serde_json::Value as Json;

use super::times::moment;
use crate::base::clock;
use crate::base::text::is_treacherous;
use crate::chain::cbor::{Cbor, bytes_to_json};
use crate::chain::data::Failed;
use crate::chain::{ChainEvent, EventKind};
use crate::server::protocol::{ActorView, RestartsView};

/// Characters of an event's data that fit on its line; the rest is cut. `--json` shows all of it.
const LINE_CHARS: usize = 160;
/// Characters of the text of a failure, which is what is looked for.
const FAILURE_CHARS: usize = 600;

pub(super) fn print_json(item: &impl Serialize) {
    let text = serde_json::to_string(item).expect("what is printed serialises");
    line(&spelled_out(&text));
}

/// JSON whose treacherous characters are spelled out: it says the same, and controls no terminal.
fn spelled_out(json: &str) -> Cow<'_, str> {
    if !json.contains(is_treacherous) {
        return json.into();
    }
    let spelled = |character: char| match character {
        // Characters beyond the first 65,536 are none of these.
        bad if is_treacherous(bad) => format!("\\u{:04x}", u32::from(bad)),
        other => other.to_string(),
    };
    json.chars().map(spelled).collect::<String>().into()
}

/// Prints a line on standard output. If the reader has gone (`| head`), the program ends quietly; if the disk is full, it
/// ends with an error.
pub(super) fn line(text: &str) {
    printed(writeln!(std::io::stdout(), "{text}"));
}

/// Handles the outcome of printing a result, as [`line`] does.
pub(super) fn printed(result: std::io::Result<()>) {
    match result {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            super::stderr::tell(&format!("theater: cannot write to standard output: {error}"));
            std::process::exit(1);
        }
    }
}

/// [`line`] with the arguments of `format!`.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::show::line(&format!($($text)*)) };
}
pub(super) use say;

/// Prints bytes of a guest: as text if they are text, otherwise as JSON with base64.
pub(super) fn bytes(bytes: Option<&[u8]>) {
    match bytes {
        None => line("(no state)"),
        Some(bytes) => match std::str::from_utf8(bytes) {
            // A program gets what the guest wrote. A terminal would obey it.
            Ok(text) if std::io::stdout().is_terminal() => line(&visible_lines(text)),
            Ok(text) => line(text),
            Err(_) => line(&bytes_to_json(bytes).to_string()),
        },
    }
}

pub(super) fn list(actors: &[ActorView]) {
    if actors.is_empty() {
        line("no actors; start one with `theater start MANIFEST`");
        return;
    }
    let width = actors.iter().map(|actor| actor.shown_name().chars().count()).max().unwrap_or(0).max(4);
    line(&format!("{:<10} {:<width$} {:<36} {}", "STATUS", "NAME", "ID", "ADDRESS"));
    for actor in actors {
        let more = failure(actor).unwrap_or_else(|| actor.addresses.join(", "));
        let (more, name) = (visible(&more), visible(actor.shown_name()));
        line(format!("{:<10} {name:<width$} {:<36} {more}", actor.shown_status(), actor.id).trim_end());
    }
}

pub(super) fn tree(actors: &[ActorView]) {
    let there: HashSet<&str> = actors.iter().map(|actor| actor.id.as_str()).collect();
    let mut children: HashMap<Option<&str>, Vec<&ActorView>> = HashMap::new();
    for actor in actors {
        // An actor whose parent is not listed any more is shown as a root.
        let parent = actor.parent.as_deref().filter(|parent| there.contains(parent));
        children.entry(parent).or_default().push(actor);
    }
    for root in children.get(&None).into_iter().flatten() {
        line(&described(root));
        branches(&children, root, "");
    }
}

fn branches(children: &HashMap<Option<&str>, Vec<&ActorView>>, parent: &ActorView, indent: &str) {
    let below = children.get(&Some(parent.id.as_str())).map(Vec::as_slice).unwrap_or_default();
    for (at, child) in below.iter().enumerate() {
        let last = at + 1 == below.len();
        line(&format!("{indent}{}{}", if last { "└── " } else { "├── " }, described(child)));
        branches(children, child, &format!("{indent}{}", if last { "    " } else { "│   " }));
    }
}

fn described(actor: &ActorView) -> String {
    let ActorView { name, label, incarnation, mailbox_depth, id, .. } = actor;
    let status = actor.shown_status();
    let failure = failure(actor).map(|failure| format!(" ({failure})")).unwrap_or_default();
    let (age, restarts) = (age(actor.since_ms), incarnation.saturating_sub(1));
    let used = actor.restarts.as_ref().map(|it| format!(" ({} of {} used)", it.used, it.allowed)).unwrap_or_default();
    let (name, failure) = (visible(name), visible(&failure));
    let name = label.as_ref().map_or_else(|| name.to_string(), |label| format!("{label} ({name})"));
    format!(
        "{name}  {status}{failure}  incarnation {incarnation}  restarts {restarts}{used}  mailbox {mailbox_depth}  age {age}  {id}"
    )
}

/// Why an actor failed, and why it is not restarted, unless the first explains the second.
fn failure(actor: &ActorView) -> Option<String> {
    let failure = &joined(actor.failure.as_ref()?);
    match actor.given_up.as_ref().filter(|why| !failure.contains(*why)) {
        Some(why) => Some(format!("{failure}; given up: {why}")),
        None => Some(failure.clone()),
    }
}

fn age(since_ms: u64) -> String {
    let seconds = clock::unix_ms().saturating_sub(since_ms) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        _ => format!("{}h{}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `is_running`: a runtime says so; else a data directory does, which knows less.
pub(super) fn status(actor: &ActorView, is_running: bool) {
    let mut rows = vec![
        ("name", actor.name.clone()),
        ("id", actor.id.clone()),
        ("status", actor.shown_status().to_owned()),
        ("incarnation", actor.incarnation.to_string()),
        ("mailbox", actor.mailbox_depth.to_string()),
        ("age", age(actor.since_ms)),
        ("manifest", actor.manifest.clone()),
    ];
    rows.extend(paused(actor).map(|paused| ("paused", paused)));
    rows.extend(actor.path.clone().filter(|_| actor.label.is_some()).map(|path| ("path", path)));
    rows.extend(actor.failure.as_ref().map(|failure| ("failure", joined(failure))));
    rows.extend(actor.given_up.clone().map(|why| ("given up", why)));
    let used = |it: &RestartsView| format!("{} of {} used within {} ms", it.used, it.allowed, it.within_ms);
    rows.extend(actor.restarts.as_ref().map(|restarts| ("restarts", used(restarts))));
    if is_running {
        rows.extend(limit(actor).map(|limit| ("limit", limit)));
        rows.extend(starts_again(actor).map(|how| ("start again", how)));
    }
    rows.extend(actor.parent.clone().map(|parent| ("parent", parent)));
    rows.extend(actor.urls.iter().map(|url| ("address", url.clone())));
    for (key, value) in rows {
        line(&format!("{key:<12} {}", visible(&value)));
    }
}

/// What a pause means for an actor, if it is paused.
pub(super) fn paused(actor: &ActorView) -> Option<String> {
    let waits = if actor.is_alive() { "what comes for it waits" } else { "it begins paused if it is restarted" };
    actor.paused.then(|| format!("{waits}, until theater resume {}", actor.shown_name()))
}

/// Whether the limit of restarts is why a failed actor stays down.
pub(super) fn limit(actor: &ActorView) -> Option<String> {
    actor.failure.as_ref()?;
    let why = actor.given_up.as_deref().unwrap_or_default();
    if why.starts_with("more than max_restarts") {
        return Some(format!("it was the limit of restarts: {why}"));
    }
    Some("it was not the limit of restarts".to_owned())
}

/// What starts an actor again that does not run.
pub(super) fn starts_again(actor: &ActorView) -> Option<String> {
    let by_hand = format!("theater restart {}", actor.path.as_ref().unwrap_or(&actor.id));
    match actor.status.as_str() {
        "stopped" => return Some(by_hand),
        "failed" => {}
        _ => return None,
    }
    let why = actor.given_up.as_deref().unwrap_or_default();
    Some(match why {
        "restart = \"temporary\"" => {
            format!("{by_hand}; by itself it starts again only with restart = \"transient\" or \"permanent\"")
        }
        "it has never been up" => format!("{by_hand}, once its init succeeds: its policy is for an actor that was up"),
        "its parent fails" => format!("{by_hand}; or its parent, if that spawns it again"),
        "the next start of the runtime brings it back" => format!("{by_hand}, or the next start of the runtime"),
        why if why.starts_with("more than max_restarts") => {
            format!("{by_hand}, once the cause of its failures is gone; a higher max_restarts only puts that off")
        }
        _ => by_hand,
    })
}

/// Prints an event on one line: its sequence, the time, the actor if several are shown, the event type, and the data as
/// JSON. No text of a guest can end the line or control the terminal: JSON spells control characters out.
pub(super) fn event(event: &ChainEvent, actor: Option<&str>) {
    let shown = match (event.dropped, failure_of(event)) {
        (Some(dropped), _) => format!("(dropped: {} bytes)", dropped.length),
        (None, Some(failure)) => failure,
        (None, None) => cut(&brief(event).to_string()),
    };
    event_with(event, actor, &shown);
}

/// The same, with another text in place of the data.
pub(super) fn event_with(event: &ChainEvent, actor: Option<&str>, shown: &str) {
    let (colour, plain) = if in_colour() { (colour(event), "\x1b[0m") } else { ("", "") };
    let whose = actor.map(|name| format!("{}  ", visible(name))).unwrap_or_default();
    let (sequence, time, what) = (event.sequence, moment(event.timestamp), &event.event_type);
    line(format!("{sequence:>6}  {time}  {whose}{colour}{what}{plain}  {shown}").trim_end());
}

/// Why an actor has failed, and how much was lost with it, if the event is a `failed`.
fn failure_of(event: &ChainEvent) -> Option<String> {
    if event.kind() != Some(EventKind::Failed) {
        return None;
    }
    let Failed { detail, reason, dropped } = Failed::from_cbor(&event.data).ok()?;
    let why = cut_to(&joined(&format!("{reason}: {detail}")), FAILURE_CHARS);
    Some(match dropped.len() {
        0 => why,
        1 => format!("{why}; 1 delivery is lost"),
        lost => format!("{why}; {lost} deliveries are lost"),
    })
}

/// A text of several lines as one.
pub(super) fn joined(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join(" | ")
}

/// The data of an event to be shown. Of a `started` only the parts that differ between starts are shown.
fn brief(event: &ChainEvent) -> Json {
    match decoded(event) {
        Json::Object(map) if event.kind() == Some(EventKind::Started) => {
            let brief = ["reason", "incarnation", "state"].map(|key| map.get_key_value(key));
            // A damaged event may lack any of these keys: it is shown as it is.
            match brief.into_iter().collect::<Option<Vec<_>>>() {
                Some(brief) => {
                    Json::Object(brief.into_iter().map(|(key, value)| (key.clone(), value.clone())).collect())
                }
                None => Json::Object(map),
            }
        }
        other => other,
    }
}

/// The text cut to what fits on an event's line, without control characters.
pub(super) fn cut(text: &str) -> String {
    cut_to(text, LINE_CHARS)
}

/// The text cut to so many characters, without control characters.
pub(super) fn cut_to(text: &str, chars: usize) -> String {
    let cut: String = text.chars().take(chars).collect();
    // JSON does not escape control characters beyond ASCII.
    let cut = visible(&cut);
    if cut.len() < text.len() { cut + "…" } else { cut }
}

/// The text with every character replaced that controls a terminal or the direction of writing.
pub(super) fn visible(text: &str) -> String {
    text.chars().map(|character| if is_treacherous(character) { '\u{fffd}' } else { character }).collect()
}

/// Like [`visible`], for a text of several lines.
pub(super) fn visible_lines(text: &str) -> String {
    let is_replaced = |character: char| is_treacherous(character) && character != '\n' && character != '\t';
    text.chars().map(|character| if is_replaced(character) { '\u{fffd}' } else { character }).collect()
}

/// Whether output on standard output is coloured.
pub(super) fn in_colour() -> bool {
    static DECIDED: OnceLock<bool> = OnceLock::new();
    *DECIDED.get_or_init(|| shows_colours(&std::io::stdout()))
}

/// Colours are used on a terminal that has them, unless NO_COLOR is set; CLICOLOR_FORCE forces them elsewhere.
pub(super) fn shows_colours(out: &impl IsTerminal) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !set("NO_COLOR") && (set("CLICOLOR_FORCE") || (out.is_terminal() && !dumb))
}

/// The actor's name, if the event is a `started`.
pub(super) fn name_started(event: &ChainEvent) -> Option<String> {
    match decoded(event) {
        Json::Object(mut map) if event.kind() == Some(EventKind::Started) => match map.remove("name") {
            Some(Json::String(name)) => Some(name),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn event_json(event: &ChainEvent, actor: Option<&str>) -> Json {
    let mut json = serde_json::json!({
        "sequence": event.sequence,
        "hash": event.hash.to_string(),
        "parent_hash": event.parent_hash.map(|hash| hash.to_string()),
        "event_type": event.event_type,
        "timestamp": event.timestamp,
        "data": decoded(event),
    });
    if let (Some(actor), Json::Object(map)) = (actor, &mut json) {
        map.insert("actor".into(), actor.into());
    }
    json
}

fn decoded(event: &ChainEvent) -> Json {
    event.data_as_json().unwrap_or_else(|| bytes_to_json(&event.data))
}

fn colour(event: &ChainEvent) -> &'static str {
    match event.kind() {
        Some(EventKind::Failed) => "\x1b[31m",
        Some(EventKind::Refused | EventKind::Stopped) => "\x1b[33m",
        Some(EventKind::Started) => "\x1b[32m",
        Some(EventKind::Call | EventKind::Return) => "\x1b[36m",
        Some(EventKind::Intent | EventKind::HostCall) | None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_actor_says_controls_no_terminal() {
        assert_eq!(visible("a\x1b[2J\u{9b}\u{202e}b\nc"), "a\u{fffd}[2J\u{fffd}\u{fffd}b\u{fffd}c");
        assert_eq!(visible_lines("a\x1b\tb\n\u{2066}c"), "a\u{fffd}\tb\n\u{fffd}c");
    }

    #[test]
    fn json_says_the_same_with_its_treacherous_characters_spelled_out() {
        let json = serde_json::json!({ "said": "\u{9b}\u{202e}ü\u{7f}\u{1f600}" }).to_string();
        let spelled = spelled_out(&json);
        assert!(spelled.contains("\\u009b\\u202eü\\u007f\u{1f600}"), "{spelled}");
        assert_eq!(
            serde_json::from_str::<Json>(&spelled).expect("JSON"),
            serde_json::from_str::<Json>(&json).expect("JSON")
        );
    }
}
