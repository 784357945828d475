//! `theater logs`: the lines that an actor has logged, with their times.

use std::path::PathBuf;

use clap::Args;

use super::events::end_with_the_reader;
use super::past::ActorHistory;
use super::recent::Recent;
use super::show::{print_json, say, visible};
use super::times::{how_long, moment};
use super::{Done, Failure, Remote};
use crate::base::clock;
use crate::chain::cbor::Cbor;
use crate::chain::data::HostCall;
use crate::chain::{ChainEvent, Function, function};
use crate::server::protocol::Response;

const LOG: &Function = function!("ntwk:theater/runtime", "log");

#[derive(Args)]
pub(super) struct LogsArgs {
    /// The actor's name, its id, or the beginning of either; or a chain file, NAME.chain
    actor: String,
    /// Go on and show new lines as they come
    #[arg(long, short)]
    follow: bool,
    /// Show only the last lines, this many
    #[arg(long, value_name = "COUNT")]
    last: Option<u64>,
    /// Show only lines that are no older than this: 90s, 10m, 2h, 1d
    #[arg(long, value_name = "TIME", value_parser = how_long)]
    since: Option<u64>,
    /// Read the data directory itself; no runtime needs to be running
    #[arg(long, value_name = "DIR", conflicts_with = "follow")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn logs(args: &LogsArgs) -> Done {
    let mut source = ActorHistory::open(&args.actor, args.data_dir.as_deref(), &args.remote)?;
    let since_ms = args.since.map(|since| clock::unix_ms().saturating_sub(since));
    let from = Recent { last: args.last, since_ms }.first(&mut source, is_line)?;
    if !args.follow {
        source.each(from, |event| {
            show(&event, args.remote.json);
            Ok(())
        })?;
        return Ok(());
    }
    let (client, id) = source.followed()?;
    end_with_the_reader()?;
    let mut events = client.subscribe(id, Some(from)).map_err(Failure::no)?;
    loop {
        match events.next().map_err(Failure::no)? {
            Response::ActorEvent { event, .. } => show(&event.into_event().map_err(Failure::no)?, args.remote.json),
            other => return Err(Failure::no(crate::server::unexpected(&other))),
        }
    }
}

fn is_line(event: &ChainEvent) -> bool {
    *event.event_type == *LOG.host_call
}

/// Shows the text that an event logs, if it logs one. A text of several lines is shown as that, each with the time.
fn show(event: &ChainEvent, json: bool) {
    if !is_line(event) {
        return;
    }
    let said = HostCall::from_cbor(&event.data).ok().and_then(|call| <(String,)>::from_cbor(&call.params?.0).ok());
    let text = said.map(|(text,)| text);
    if json {
        print_json(&serde_json::json!({ "sequence": event.sequence, "timestamp": event.timestamp, "text": text }));
        return;
    }
    let time = moment(event.timestamp);
    match text {
        Some(text) if text.is_empty() => say!("{time}"),
        Some(text) => text.lines().for_each(|line| say!("{time}  {}", visible(line))),
        None => say!("{time}  (dropped)"),
    }
}
