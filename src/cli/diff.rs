//! `theater diff`: what has changed in an actor's state between two of its events.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value as Json, json};

use super::past::ActorHistory;
use super::show::{cut, print_json, say, visible};
use super::{Done, Remote};
use crate::base::json_difference::{JsonDifference, all_differences};
use crate::chain::sha1;

/// So many differences are listed; the others are counted.
const LISTED: usize = 1_000;

#[derive(Args)]
pub(super) struct DiffArgs {
    /// The actor's name, its id, or the beginning of either; or a chain file, NAME.chain
    actor: String,
    /// The event after which the first state is
    #[arg(value_name = "SEQUENCE")]
    before: u64,
    /// The event after which the second state is
    #[arg(value_name = "LATER")]
    after: u64,
    /// Read the data directory itself; no runtime needs to be running
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

/// A state of the past.
struct StateOfThen(Option<Vec<u8>>);

impl StateOfThen {
    /// The state as JSON, or none for no state; an error if the state is not JSON.
    fn json(&self) -> Result<Option<Json>, serde_json::Error> {
        self.0.as_deref().map(serde_json::from_slice).transpose()
    }

    fn measured(&self) -> Json {
        match &self.0 {
            None => Json::Null,
            Some(bytes) => json!({ "bytes": bytes.len(), "sha1": hex::encode(sha1(bytes)) }),
        }
    }

    fn described(&self) -> String {
        match &self.0 {
            None => "no state".to_owned(),
            Some(bytes) => format!("{} bytes, SHA-1 {}", bytes.len(), hex::encode(sha1(bytes))),
        }
    }
}

pub(super) fn diff(args: &DiffArgs) -> Done {
    let mut history = ActorHistory::open(&args.actor, args.data_dir.as_deref(), &args.remote)?;
    let before = StateOfThen(history.state_at(args.before)?);
    let after = StateOfThen(history.state_at(args.after)?);
    match (before.json(), after.json()) {
        (Ok(one), Ok(other)) => differences(args, one.as_ref(), other.as_ref()),
        _ => measures(args, &before, &after),
    }
    Ok(())
}

fn differences(args: &DiffArgs, before: Option<&Json>, after: Option<&Json>) {
    let (listed, more) = all_differences(before, after, LISTED);
    if args.remote.json {
        let listed: Vec<Json> = listed.into_iter().map(as_json).collect();
        print_json(&json!({ "before": args.before, "after": args.after, "differences": listed, "more": more }));
        return;
    }
    for JsonDifference { pointer, before, after } in &listed {
        let shown =
            |value: &Option<Json>| value.as_ref().map_or("(nothing)".to_owned(), |value| cut(&value.to_string()));
        let pointer = if pointer.is_empty() { "(the whole state)".to_owned() } else { visible(pointer) };
        say!("{pointer}  {} -> {}", shown(before), shown(after));
    }
    match (listed.is_empty(), more) {
        (true, _) => say!("the state after event {} is that after event {}", args.after, args.before),
        (false, 0) => {}
        (false, more) => say!("… and {more} more differences"),
    }
}

/// A side that has nothing there lacks its key.
fn as_json(JsonDifference { pointer, before, after }: JsonDifference) -> Json {
    let sides = [("before", before), ("after", after)];
    let sides = sides.into_iter().filter_map(|(side, value)| Some((side.to_owned(), value?)));
    [("pointer".to_owned(), Json::String(pointer))].into_iter().chain(sides).collect::<serde_json::Map<_, _>>().into()
}

/// What can be said of states that are not JSON.
fn measures(args: &DiffArgs, before: &StateOfThen, after: &StateOfThen) {
    if args.remote.json {
        let same = before.0 == after.0;
        let states = json!([before.measured(), after.measured()]);
        print_json(&json!({ "before": args.before, "after": args.after, "not_json": states, "same": same }));
    } else if before.0 == after.0 {
        say!("the state after event {} is that after event {}: {}", args.after, args.before, before.described());
    } else {
        say!("the states are not JSON; they differ");
        say!("after event {}: {}", args.before, before.described());
        say!("after event {}: {}", args.after, after.described());
    }
}
