//! `theater events`: prints an actor's events, one a line: its history, and with --follow those that come.

use std::path::PathBuf;

use clap::Args;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::connect::{connect, find};
use super::http_lines::{HeldEvents, OpenRequests};
use super::past::ActorHistory;
use super::recent::Recent;
use super::show::{self, print_json};
use super::times::how_long;
use super::{Done, Failure, Remote};
use crate::base::{clock, thread};
use crate::chain::{ChainEvent, EventKind};
use crate::server::Client;
use crate::server::protocol::{Request, Response, Scope, StatusAnswer};

#[derive(Args)]
pub(super) struct EventsArgs {
    /// The actor's name, its id, or the beginning of either; or a chain file, NAME.chain
    #[arg(required_unless_present = "all")]
    actor: Option<String>,
    /// Go on and show new events as they come
    #[arg(long, short)]
    follow: bool,
    /// The first event to show; with --below or --all the first position in the journal [default: the first event; with
    /// --below or --all the next one to come]
    #[arg(long, value_name = "SEQUENCE")]
    from: Option<u64>,
    /// Show only the last events, this many; of the wanted kinds, if --kind is given
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["from", "below", "all"])]
    last: Option<u64>,
    /// Show only events that are no older than this: 90s, 10m, 2h, 1d
    #[arg(long, value_name = "TIME", value_parser = how_long, conflicts_with_all = ["from", "below", "all"])]
    since: Option<u64>,
    /// Show only events of this kind; may be given several times
    #[arg(long, value_name = "KIND", value_parser = EventKind::ALL.map(EventKind::word))]
    kind: Vec<String>,
    /// Follow the actor and all actors below it, in the order in which events are committed
    #[arg(long, conflicts_with = "data_dir")]
    below: bool,
    /// Follow every actor
    #[arg(long, conflicts_with_all = ["actor", "data_dir"])]
    all: bool,
    /// Read the data directory itself; no runtime needs to be running
    #[arg(long, value_name = "DIR", conflicts_with = "follow")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

impl EventsArgs {
    fn wants(&self, event: &ChainEvent) -> bool {
        self.kind.is_empty() || event.kind().is_some_and(|kind| self.kind.iter().any(|word| word == kind.word()))
    }

    /// Shows an event, with a text in place of its data if there is one.
    fn show(&self, event: &ChainEvent, actor: Option<&str>, text: Option<&str>) {
        if !self.wants(event) {
            return;
        }
        match text {
            _ if self.remote.json => print_json(&show::event_json(event, actor)),
            Some(text) => show::event_with(event, actor, text),
            None => show::event(event, actor),
        }
    }

    fn recent(&self) -> Recent {
        Recent { last: self.last, since_ms: self.since.map(|since| clock::unix_ms().saturating_sub(since)) }
    }
}

pub(super) fn events(args: &EventsArgs) -> Done {
    match &args.actor {
        Some(actor) if !args.below => of_one(args, actor),
        actor => of_many(args, actor.as_deref()),
    }
}

fn of_one(args: &EventsArgs, actor: &str) -> Done {
    let mut source = ActorHistory::open(actor, args.data_dir.as_deref(), &args.remote)?;
    let from = match args.from {
        Some(from) => from,
        None => args.recent().first(&mut source, |event| args.wants(event))?,
    };
    if !args.follow {
        let mut held = HeldEvents::default();
        source.each(from, |event| {
            held.take(event).iter().for_each(|(event, text)| args.show(event, None, text.as_deref()));
            Ok(())
        })?;
        held.end(None).iter().for_each(|(event, text)| args.show(event, None, text.as_deref()));
        return Ok(());
    }
    let (client, id) = source.followed()?;
    end_with_the_reader()?;
    let mut events = client.subscribe(id, Some(from)).map_err(Failure::no)?;
    let mut open = OpenRequests::default();
    loop {
        match events.next().map_err(Failure::no)? {
            Response::ActorEvent { event, .. } => {
                let event = event.into_event().map_err(Failure::no)?;
                let text = open.text(&event, "");
                args.show(&event, None, text.as_deref());
            }
            other => return Err(Failure::no(crate::server::unexpected(&other))),
        }
    }
}

/// Ends this program once nobody reads its standard output any more. Without this, the program would notice only when
/// it writes the next event, and that event may never come.
pub(super) fn end_with_the_reader() -> Done {
    let watching = thread::spawn("reader", || {
        let out = std::io::stdout();
        // `poll` reports an error for a pipe whose reader has gone, even if it is asked for no condition.
        let mut of_interest = [PollFd::new(&out, PollFlags::empty())];
        loop {
            match poll(&mut of_interest, None) {
                Err(Errno::INTR) => {}
                Ok(_) if of_interest[0].revents().intersects(PollFlags::ERR) => std::process::exit(0),
                // Standard output cannot be watched: the next write fails if the reader has gone.
                _ => return,
            }
        }
    });
    watching.map(drop).map_err(|error| Failure::no(format!("no thread to watch standard output on: {error}")))
}

/// Follows a tree of actors, or all actors, as events are committed.
fn of_many(args: &EventsArgs, actor: Option<&str>) -> Done {
    end_with_the_reader()?;
    let mut client = connect(&args.remote)?;
    let scope = match actor {
        Some(actor) => Scope::Tree(find(&mut client, actor)?.id),
        None => Scope::All,
    };
    let mut names: std::collections::HashMap<String, String> = std::collections::HashMap::new();
    let kinds = (!args.kind.is_empty()).then(|| args.kind.clone());
    let mut open = OpenRequests::default();
    let mut events = client.subscribe_to(scope, args.from, kinds).map_err(Failure::no)?;
    loop {
        let Response::Event { id, event, .. } = events.next().map_err(Failure::no)? else {
            return Err(Failure::no("the runtime sent something else than events"));
        };
        // Data that does not fit a frame is left out here; `events ACTOR` shows it.
        let event = event.into_event(|_| Ok(Vec::new())).map_err(Failure::no)?;
        if let Some(name) = show::name_started(&event) {
            names.insert(id.clone(), name);
        }
        if !names.contains_key(&id) {
            names.insert(id.clone(), name_of(&mut connect(&args.remote)?, &id));
        }
        let text = open.text(&event, &id);
        args.show(&event, Some(names.get(&id).unwrap_or(&id)), text.as_deref());
    }
}

/// The actor's name, or its id if it is not listed any more.
fn name_of(client: &mut Client, id: &str) -> String {
    match client.ask(&Request::ActorStatus { id: id.to_owned() }) {
        Ok(Response::ActorStatus(StatusAnswer::Actor { actor })) => actor.name,
        _ => id.to_owned(),
    }
}
