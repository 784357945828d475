//! Commands about several actors at once: which actors names and patterns mean, the question before anything is done, and what
//! became of each.
//!
//! A pattern has `*`, `**` or `?`. It is compared with paths (`ledger/*`); one without a slash, with names of roots and with
//! labels. Of what a pattern matches, only the actors count that the command would change: `stop` leaves out those that have ended.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead as _, IsTerminal as _};

use clap::Args;

use super::connect::{actors, connect, find};
use super::show::{print_json, say, visible};
use super::{Done, Failure, Remote, stderr};
use crate::server::protocol::{ActorView, Request, Response};
use crate::server::{Client, ClientError};

/// One or more actors, by names or patterns.
#[derive(Args)]
pub(super) struct ManyActors {
    /// Names of actors, ids, the beginning of either; or patterns of paths: 'ledger/*' ('*' is any text without a slash, '**' any text, '?' one character)
    #[arg(required = true)]
    pub(super) actor: Vec<String>,
    /// Do it without asking, however many actors are meant
    #[arg(long, short)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// What a command does to each actor.
pub(super) struct ActionOnMany {
    /// `stop`
    pub(super) verb: &'static str,
    /// `stopped`
    pub(super) done: &'static str,
    pub(super) request: fn(String) -> Request,
    /// Whether it would change anything about the actor.
    pub(super) concerns: fn(&ActorView) -> bool,
    /// Whether it does the same to the actors below.
    pub(super) with_those_below: bool,
}

pub(super) const STOP: ActionOnMany = ActionOnMany {
    verb: "stop",
    done: "stopped",
    request: |id| Request::StopActor { id },
    concerns: ActorView::is_alive,
    with_those_below: true,
};

pub(super) const RESTART: ActionOnMany = ActionOnMany {
    verb: "restart",
    done: "restarted",
    request: |id| Request::RestartActor { id },
    concerns: |_| true,
    with_those_below: false,
};

pub(super) const PAUSE: ActionOnMany = ActionOnMany {
    verb: "pause",
    done: "paused",
    request: |id| Request::PauseActor { id },
    concerns: |actor| actor.is_alive() && !actor.paused,
    with_those_below: false,
};

pub(super) const RESUME: ActionOnMany = ActionOnMany {
    verb: "resume",
    done: "resumed",
    request: |id| Request::ResumeActor { id },
    concerns: |actor| actor.paused,
    with_those_below: false,
};

pub(super) const FORGET: ActionOnMany = ActionOnMany {
    verb: "forget",
    done: "forgotten",
    request: |id| Request::ForgetActor { id },
    concerns: |actor| !actor.is_alive(),
    with_those_below: true,
};

/// Does to each actor that `many` means what `action` says.
pub(super) fn act(many: &ManyActors, action: &ActionOnMany) -> Done {
    let ManyActors { actor, yes, remote } = many;
    let mut client = connect(remote)?;
    if let [one] = &actor[..]
        && !is_pattern(one)
    {
        let id = find(&mut client, one)?.id;
        let note = note(&client.ask(&(action.request)(id.clone())).map_err(Failure::no)?);
        match (remote.json, note) {
            (true, _) => print_json(&serde_json::json!({ action.done: id })),
            (false, None) => say!("{} {id}", action.done),
            (false, Some(note)) => say!("{} {id} ({note})", action.done),
        }
        return Ok(());
    }
    let all = actors(&mut client)?;
    let mut chosen = choose(&mut client, &all, actor, action.verb, action.concerns)?;
    if action.with_those_below {
        chosen = uppermost(chosen, &all);
    }
    let below = if action.with_those_below { ", and everything below them" } else { "" };
    agree(&chosen, &format!("{} these {} actors{below}", action.verb, chosen.len()), &|_| None, *yes)?;
    carry_out(&mut client, &chosen, action, remote)
}

/// Sends the command for each actor, and says what became of it.
pub(super) fn carry_out(client: &mut Client, chosen: &[ActorView], action: &ActionOnMany, remote: &Remote) -> Done {
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for actor in chosen {
        match client.ask(&(action.request)(actor.id.clone())) {
            Ok(answer) => {
                if !remote.json {
                    let note = note(&answer).map_or_else(String::new, |note| format!(" ({note})"));
                    say!("{} {}  {}{note}", action.done, actor.id, visible(actor.shown_name()));
                }
                done.push(actor);
            }
            Err(ClientError::Refused(why)) => refused.push((actor, why)),
            Err(broken) => return Err(Failure::no(broken)),
        }
    }
    if remote.json {
        let ids: Vec<_> = done.iter().map(|actor| &actor.id).collect();
        let refused: Vec<_> =
            refused.iter().map(|(actor, why)| serde_json::json!({ "id": actor.id, "why": why })).collect();
        print_json(&serde_json::json!({ action.done: ids, "refused": refused }));
    }
    match &refused[..] {
        [] => Ok(()),
        all => {
            let whys: Vec<_> = all.iter().map(|(actor, why)| format!("{}: {why}", actor.shown_name())).collect();
            Err(Failure::no(format!("not {}: {}", action.done, whys.join("; "))))
        }
    }
}

/// What an answer says beyond that it is done.
fn note(answer: &Response) -> Option<&'static str> {
    match answer {
        Response::ActorPaused { already: true, .. } => Some("it was paused already"),
        Response::ActorResumed { already: true, .. } => Some("it was not paused"),
        _ => None,
    }
}

/// The actors that names and patterns mean, each once: those that are named, and of those that a pattern matches, the ones that
/// the command concerns. A name that means nobody, and a pattern that comes to nothing, is an error before anything is done.
pub(super) fn choose(
    client: &mut Client,
    all: &[ActorView],
    texts: &[String],
    verb: &str,
    concerns: fn(&ActorView) -> bool,
) -> Result<Vec<ActorView>, Failure> {
    let (mut chosen, mut seen) = (Vec::new(), HashSet::new());
    for text in texts {
        if !is_pattern(text) {
            let actor = find(client, text)?;
            if seen.insert(actor.id.clone()) {
                chosen.push(actor);
            }
            continue;
        }
        let mut matching = all.iter().filter(|actor| is_meant(text, actor)).peekable();
        if matching.peek().is_none() {
            return Err(Failure::no(format!("no actor matches {text}; `theater list` shows those there are")));
        }
        let mut concerned = matching.filter(|actor| concerns(actor)).peekable();
        if concerned.peek().is_none() {
            return Err(Failure::no(format!("of the actors that match {text}, there is none to {verb}")));
        }
        chosen.extend(concerned.filter(|actor| seen.insert(actor.id.clone())).cloned());
    }
    Ok(chosen)
}

/// The actors of which none above them is among them; `all` says who is above whom.
pub(super) fn uppermost(chosen: Vec<ActorView>, all: &[ActorView]) -> Vec<ActorView> {
    let parents: HashMap<&str, &str> =
        all.iter().filter_map(|actor| Some((actor.id.as_str(), actor.parent.as_deref()?))).collect();
    let ids: HashSet<String> = chosen.iter().map(|actor| actor.id.clone()).collect();
    let above = |id: &str| parents.get(id).copied();
    let is_below =
        |actor: &ActorView| std::iter::successors(above(&actor.id), |id| above(id)).any(|id| ids.contains(id));
    chosen.into_iter().filter(|actor| !is_below(actor)).collect()
}

/// Shows what is going to be done, if it concerns more than one actor, and asks. `detail` is shown with each actor.
pub(super) fn agree(
    chosen: &[ActorView],
    what: &str,
    detail: &dyn Fn(&ActorView) -> Option<String>,
    yes: bool,
) -> Result<(), Failure> {
    if chosen.len() < 2 || yes {
        return Ok(());
    }
    stderr::tell(&format!("{what}:"));
    let width = chosen.iter().map(|actor| actor.shown_name().chars().count()).max().unwrap_or(0);
    for actor in chosen {
        let detail = detail(actor).unwrap_or_default();
        let line = format!("  {:<10} {:<width$} {} {detail}", actor.shown_status(), actor.shown_name(), actor.id);
        stderr::tell(visible(line.trim_end()).as_ref());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("nothing was done: give --yes to do this, because nobody can be asked here"));
    }
    stderr::tell("do this? [y/N]");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::no(format!("no answer: {error}")))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::no("nothing was done")),
    }
}

pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Whether a pattern means an actor: by its path, or, if it has no slash, by its label, or the name of a root.
fn is_meant(pattern: &str, actor: &ActorView) -> bool {
    let name = if actor.parent.is_none() { Some(&actor.name) } else { actor.label.as_ref() };
    let by_name = !pattern.contains('/') && name.is_some_and(|name| matches(pattern.as_bytes(), name.as_bytes()));
    by_name || actor.path.as_ref().is_some_and(|path| matches(pattern.as_bytes(), path.as_bytes()))
}

/// Whether a text is what a pattern says: the time for it is at most the product of their lengths.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // Which beginnings of the text fit the pattern so far, by their lengths.
    let mut fits = vec![false; text.len() + 1];
    fits[0] = true;
    let mut rest = pattern;
    while let Some(sign) = rest.first().copied() {
        let is_deep = rest.starts_with(b"**");
        rest = &rest[if is_deep { 2 } else { 1 }..];
        if sign == b'*' {
            for at in 0..text.len() {
                fits[at + 1] |= fits[at] && (is_deep || text[at] != b'/');
            }
            continue;
        }
        for at in (0..text.len()).rev() {
            fits[at + 1] = fits[at] && (sign == text[at] || sign == b'?' && text[at] != b'/');
        }
        fits[0] = false;
    }
    fits[text.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes())
    }

    #[test]
    fn a_star_is_any_text_within_a_label_and_two_are_any_text() {
        assert!(
            fits("ledger/*", "ledger/alice") && fits("*", "") && fits("a*c*", "abcabc") && fits("l?dger", "ledger")
        );
        assert!(!fits("ledger/*", "ledger/alice/old") && !fits("ledger/*", "ledger") && !fits("*", "ledger/alice"));
        assert!(fits("ledger/**", "ledger/alice/old") && fits("**/old", "ledger/alice/old") && fits("**", "a/b"));
        assert!(!fits("a?c", "a/c") && !fits("a", "ab") && !fits("ab", "a") && fits("", ""));
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_time() {
        let (pattern, text) = ("*a".repeat(200), "a".repeat(10_000) + "b");
        assert!(!fits(&pattern, &text));
    }

    fn actor(name: &str, label: Option<&str>, path: Option<&str>, parent: Option<&str>) -> ActorView {
        serde_json::from_value(serde_json::json!({
            "id": path.unwrap_or(name), "name": name, "label": label, "path": path, "parent": parent, "status": "running",
            "failure": null, "incarnation": 1, "mailbox_depth": 0, "addresses": [], "manifest": "", "since_ms": 0
        }))
        .expect("an actor")
    }

    #[test]
    fn a_pattern_without_a_slash_means_roots_by_name_and_others_by_label() {
        let root = actor("account", None, Some("account"), None);
        let labelled = actor("account", Some("alice"), Some("ledger/alice"), Some("ledger"));
        let unlabelled = actor("account", None, None, Some("ledger"));
        assert!(is_meant("acc*", &root) && is_meant("al*", &labelled) && is_meant("ledger/*", &labelled));
        assert!(!is_meant("acc*", &labelled) && !is_meant("acc*", &unlabelled) && !is_meant("ledger/*", &root));
    }

    #[test]
    fn what_goes_with_another_is_not_named_twice() {
        let all = [
            actor("ledger", None, Some("ledger"), None),
            actor("a", Some("a"), Some("ledger/a"), Some("ledger")),
            actor("b", Some("b"), Some("ledger/a/b"), Some("ledger/a")),
        ];
        let names = |chosen: &[usize]| {
            let chosen = chosen.iter().map(|at| all[*at].clone()).collect();
            uppermost(chosen, &all).into_iter().map(|actor| actor.name).collect::<Vec<_>>()
        };
        assert_eq!((names(&[0, 2]), names(&[2, 1])), (vec!["ledger".to_owned()], vec!["a".to_owned()]));
    }
}
