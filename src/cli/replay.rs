//! `theater replay`: executes the history of a chain file, or of one actor or all actors of a data directory, again.

use std::io::{IsTerminal, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::config::refused;
use super::outcomes;
use super::past::{find_row, read_verified};
use super::realm_copy::readable_dir;
use super::sandbox::engine;
use super::show::{self, print_json, say};
use super::{Done, Failure};
use crate::actor::{
    self, BehaviourChange, Boundary, ComparedTransitions, OtherBuild, OutcomeChange, OutcomesCompared, Recording,
    ReplayError, Replayed,
};
use crate::base::clock;
use crate::base::{fail, thread, wait};
use crate::chain::cbor::bytes_to_json;
use crate::config::Settings;
use crate::guest::{GuestEngine, THREAD_STACK_BYTES};
use crate::journal::{self, ActorRow, JournalReader, Newest};
use crate::manifest::Manifest;

#[derive(Args)]
pub(super) struct ReplayArgs {
    /// A chain file that `theater export` wrote; with --journal an actor: its name, its id, or the beginning of either
    #[arg(value_name = "CHAIN", required_unless_present = "journal")]
    subject: Option<String>,
    /// Replay one actor of this data directory, or all actors; no runtime needs to be running
    #[arg(long, value_name = "DIR")]
    journal: Option<PathBuf>,
    /// Run this component instead of the recorded one
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Run the component of this manifest; with --outcomes, its [config] and its limits count too
    #[arg(long, value_name = "MANIFEST", conflicts_with = "component")]
    manifest: Option<PathBuf>,
    /// Give the recorded inputs to the component of --component or --manifest, and list the differences
    #[arg(long, conflicts_with = "until")]
    compare: bool,
    /// Compare what comes of each call: how it ends, state, answer, rows and effects. Clock, random bytes and log need not
    /// be asked for as before, and the recorded component is not needed
    #[arg(long, requires = "compare")]
    outcomes: bool,
    /// Compare only the newest calls, so many
    #[arg(long, value_name = "N", requires = "outcomes")]
    newest: Option<u64>,
    /// Replay up to this event, and print the state there
    #[arg(long, value_name = "SEQUENCE")]
    until: Option<u64>,
    /// Compare each state that the journal keeps with the state that the replay computes
    #[arg(long, requires = "journal", conflicts_with_all = ["until", "compare"])]
    verify_snapshots: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn replay(args: &ReplayArgs) -> Done {
    let component = args.component.as_ref().map(|path| {
        std::fs::read(path).map_err(|error| Failure::no(format!("cannot read {}: {error}", path.display())))
    });
    let given = args.manifest.as_deref().map(GivenManifest::load).transpose()?;
    let component = component.transpose()?.or_else(|| given.as_ref().map(|given| given.component.clone()));
    if args.compare && component.is_none() {
        return Err(Failure::usage(
            "--compare needs the other build: name it with --component FILE or --manifest MANIFEST",
        ));
    }
    let journal = args.journal.as_deref().map(readable_dir).transpose()?;
    match (journal.as_deref(), &args.subject) {
        (Some(dir), None) if args.until.is_none() && !args.compare => whole_journal(args, dir, component),
        (Some(_), None) => Err(Failure::no("name the actor: --until and --compare are for one chain")),
        (Some(dir), Some(subject)) => {
            let reader = journal::open_to_read(dir).map_err(Failure::no)?;
            let row = find_row(&reader, subject, dir)?;
            let recording = Recording::of_journal(reader.clone(), row.actor);
            let snapshots = args.verify_snapshots.then(|| Snapshots::of(reader, &row)).transpose()?;
            one_chain(args, &recording, component.as_deref(), given, snapshots, Some(dir))
        }
        (None, Some(path)) => {
            let recording = Recording::of_file(read_verified(Path::new(path))?);
            one_chain(args, &recording, component.as_deref(), given, None, None)
        }
        (None, None) => unreachable!("clap asks for one of them"),
    }
}

fn one_chain(
    args: &ReplayArgs,
    recording: &Recording,
    component: Option<&[u8]>,
    given: Option<GivenManifest>,
    mut snapshots: Option<Snapshots>,
    dir: Option<&Path>,
) -> Done {
    let engine = engine(dir)?;
    if let Some(component) = component.filter(|_| args.outcomes) {
        let other = given.map(|given| given.other).unwrap_or_default();
        return compare_by_outcomes(args, &engine, recording, component, &other);
    }
    if let Some(component) = component.filter(|_| args.compare) {
        return compare(args, &engine, recording, component);
    }
    let progress = Progress::begin();
    let mut passed = |boundary: Boundary<'_>| {
        progress.at(boundary.head.sequence);
        snapshots.as_mut().map_or(Ok(()), |snapshots| snapshots.check(&boundary))
    };
    let replayed = match args.until {
        Some(until) => actor::replay_until(&engine, recording, until, component, &mut passed),
        None => actor::replay(&engine, recording, component, &mut passed),
    };
    progress.end();
    let replayed = replayed.map_err(|error| diverged(args, error))?;
    if let Some(snapshots) = snapshots {
        snapshots.check_newest(&replayed).map_err(Failure::no)?;
    }
    report(args, &replayed);
    Ok(())
}

fn diverged(args: &ReplayArgs, error: ReplayError) -> Failure {
    if args.json
        && let ReplayError::Diverged(at) | ReplayError::Unseen { diverged: at, .. } = &error
    {
        let at = serde_json::json!({
            "sequence": at.sequence, "field": at.field, "recorded": at.recorded, "actual": at.actual,
        });
        print_json(&serde_json::json!({ "diverged": at }));
    }
    Failure::no(error)
}

fn report(args: &ReplayArgs, replayed: &Replayed) {
    let Replayed { events, from, transitions, head, state, notes, skipped } = replayed;
    notes.iter().for_each(|note| super::stderr::tell(&format!("note: {note}")));
    let head = head.map(|head| head.to_string());
    if args.json {
        let state = args.until.map(|_| state.as_deref().map(bytes_to_json));
        let skipped: Vec<_> = skipped.iter().map(|skipped| [skipped.start(), skipped.end()]).collect();
        print_json(&serde_json::json!({
            "events": events, "from": from, "transitions": transitions, "head": head, "state": state, "skipped": skipped,
        }));
    } else if args.until.is_some() {
        show::bytes(state.as_deref());
    } else {
        let head = head.unwrap_or_default();
        say!("replayed: {} events, {transitions} transitions, head {head}", replayed.compared());
        for skipped in skipped {
            let (first, last) = (skipped.start(), skipped.end());
            say!(
                "not replayed: events {first} to {last}; data of them was dropped, and replay went on with the state behind {last}"
            );
        }
        if *transitions == 0 {
            say!("nothing was executed: the actor was never called");
        }
    }
}

/// The build that a manifest names.
struct GivenManifest {
    component: Vec<u8>,
    other: OtherBuild,
}

impl GivenManifest {
    fn load(path: &Path) -> Result<Self, Failure> {
        let settings = Settings::of_environment(None, &[]).map_err(refused)?;
        let manifest = Manifest::load(path, &settings.actor_limits()).map_err(Failure::no)?;
        let component = manifest.read_component().map_err(Failure::no)?;
        let other =
            OtherBuild { config: Some(manifest.plain_values.all()), limits: Some(Arc::clone(&manifest.limits)) };
        Ok(Self { component, other })
    }
}

fn compare_by_outcomes(
    args: &ReplayArgs,
    engine: &GuestEngine,
    recording: &Recording,
    component: &[u8],
    other: &OtherBuild,
) -> Done {
    let program = actor::program_to_compare(engine, component).map_err(Failure::no)?;
    let which = args.newest.map_or(ComparedTransitions::All, ComparedTransitions::Newest);
    let mut changed = |change: OutcomeChange| {
        if args.json {
            print_json(&outcomes::as_json(&change));
        } else {
            show::line(&outcomes::described(&change));
        }
    };
    let compared = actor::compare_outcomes(recording, which, &program, other, &mut changed);
    let OutcomesCompared { transitions, changed, skipped } = compared.map_err(Failure::no)?;
    if args.json {
        let skipped: Vec<_> =
            skipped.iter().map(|(at, why)| serde_json::json!({ "sequence": at, "why": why })).collect();
        print_json(&serde_json::json!({ "transitions": transitions, "changes": changed, "skipped": skipped }));
    } else {
        skipped.iter().for_each(|(at, why)| say!("event {at}: not compared: {why}"));
    }
    if changed > 0 {
        return Err(Failure::no(format!("{changed} of {transitions} transitions come out otherwise")));
    }
    if transitions == 0 {
        return Err(Failure::no("nothing was compared: no call of the chain could be made again"));
    }
    if !args.json {
        say!("all {transitions} transitions come out as before");
    }
    Ok(())
}

fn compare(args: &ReplayArgs, engine: &GuestEngine, recording: &Recording, component: &[u8]) -> Done {
    let mut changes = 0_u64;
    let mut changed = |change: BehaviourChange| {
        changes += 1;
        let BehaviourChange { sequence, export, what, recorded, actual } = change;
        if args.json {
            print_json(&serde_json::json!({
                "sequence": sequence, "export": export, "what": what, "recorded": recorded, "actual": actual,
            }));
        } else {
            show::line(&format!("event {sequence} {export}: {what}: {recorded} -> {actual}"));
        }
    };
    let transitions = actor::compare(engine, recording, component, &mut changed);
    let transitions = transitions.map_err(|error| diverged(args, error))?;
    if changes > 0 {
        return Err(Failure::no(format!("{changes} of {transitions} transitions change")));
    }
    if args.json {
        print_json(&serde_json::json!({ "transitions": transitions, "changes": 0 }));
    } else {
        say!("none of {transitions} transitions changes");
    }
    Ok(())
}

/// The states that the journal keeps of one actor, compared with the replay in the order of their events.
struct Snapshots {
    reader: JournalReader,
    row: ActorRow,
    /// The events whose kept states are still to be compared.
    ahead: std::collections::VecDeque<u64>,
}

impl Snapshots {
    fn of(reader: JournalReader, row: &ActorRow) -> Result<Self, Failure> {
        let ahead = reader.kept_sequences(row.actor).map_err(Failure::no)?.into();
        Ok(Self { reader, row: row.clone(), ahead })
    }

    fn check(&mut self, boundary: &Boundary<'_>) -> Result<(), ReplayError> {
        let at = boundary.head.sequence;
        while let Some(sequence) = self.ahead.front().copied().filter(|sequence| *sequence <= at) {
            self.ahead.pop_front();
            let kept = self.reader.kept_state_at(self.row.actor, sequence);
            let kept = kept.map_err(|error| ReplayError::Unreadable(error.to_string()))?.flatten();
            if sequence == at && kept.as_deref() != boundary.state {
                let what = format!("{} was kept, and replay gives {}", shown(kept.as_deref()), shown(boundary.state));
                return Err(ReplayError::Snapshot { sequence, what });
            }
        }
        Ok(())
    }

    fn check_newest(&self, replayed: &Replayed) -> Result<(), ReplayError> {
        let newest = self.reader.newest_state(self.row.actor);
        let newest = match newest.map_err(|error| ReplayError::Unreadable(error.to_string()))? {
            Newest::Is(newest) => newest,
            // It is not stored, so there is nothing to compare.
            Newest::Behind(_) => return Ok(()),
        };
        if newest != replayed.state {
            let what = format!(
                "{} is the newest, and replay gives {}",
                shown(newest.as_deref()),
                shown(replayed.state.as_deref())
            );
            return Err(ReplayError::Snapshot { sequence: replayed.events.saturating_sub(1), what });
        }
        Ok(())
    }
}

fn shown(state: Option<&[u8]>) -> String {
    let text = state.map_or_else(|| "no state".to_owned(), |state| bytes_to_json(state).to_string());
    let mut cut = text;
    cut.truncate(cut.floor_char_boundary(200));
    cut
}

/// An actor, and the outcome of its replay.
type ReplayedActor = (ActorRow, Result<Replayed, ReplayError>);

/// Replays all actors of a data directory: each core takes one actor after the other.
fn whole_journal(args: &ReplayArgs, dir: &Path, component: Option<Vec<u8>>) -> Done {
    let reader = journal::open_to_read(dir).map_err(Failure::no)?;
    let read = |error| Failure::no(journal::JournalError::Read { path: dir.to_owned(), error });
    let rows = reader.actors().map_err(read)?;
    let engine = Arc::new(engine(Some(dir))?);
    let count = rows.len();
    let (work, tasks) = unbounded();
    rows.into_iter().for_each(|row| work.send(row).expect("the receiver is here"));
    drop(work);
    let (found, results) = unbounded();
    let events = Arc::new(AtomicU64::new(0));
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(count.max(1));
    let mut threads = Vec::new();
    for at in 0..workers {
        let worker = Worker {
            engine: Arc::clone(&engine),
            reader: reader.clone(),
            component: component.clone(),
            snapshots: args.verify_snapshots,
            tasks: tasks.clone(),
            found: found.clone(),
            events: Arc::clone(&events),
        };
        let thread = thread::spawn_sized(&format!("replay-{at}"), THREAD_STACK_BYTES, move || worker.run());
        threads.push(thread.map_err(|error| Failure::no(format!("cannot start a thread to replay on: {error}")))?);
    }
    drop((found, tasks));
    let outcome = gather(args, &results, count, &events);
    for thread in threads {
        thread.join().map_err(Failure::ended)?;
    }
    outcome
}

struct Worker {
    engine: Arc<GuestEngine>,
    reader: JournalReader,
    component: Option<Vec<u8>>,
    snapshots: bool,
    tasks: Receiver<ActorRow>,
    found: Sender<ReplayedActor>,
    events: Arc<AtomicU64>,
}

impl Worker {
    fn run(self) {
        while let Ok(row) = wait::receive(&self.tasks) {
            // A panic is a defect of Theater. The worker goes on with the other actors.
            let replayed = catch_unwind(AssertUnwindSafe(|| self.one(&row)))
                .unwrap_or_else(|panic| Err(ReplayError::Panicked(thread::panic_message(&*panic))));
            if self.found.send((row, replayed)).is_err() {
                return;
            }
        }
    }

    fn one(&self, row: &ActorRow) -> Result<Replayed, ReplayError> {
        fail::point("replaying");
        let snapshots = if self.snapshots { Some(Snapshots::of(self.reader.clone(), row)) } else { None };
        let mut snapshots = snapshots.transpose().map_err(|failure| ReplayError::Unreadable(failure.message))?;
        let recording = Recording::of_journal(self.reader.clone(), row.actor);
        let mut before = 0;
        let mut passed = |boundary: Boundary<'_>| {
            let at = boundary.head.sequence;
            self.events.fetch_add(at.saturating_sub(before), Ordering::Relaxed);
            before = at;
            snapshots.as_mut().map_or(Ok(()), |snapshots| snapshots.check(&boundary))
        };
        let replayed = actor::replay(&self.engine, &recording, self.component.as_deref(), &mut passed)?;
        snapshots.map_or(Ok(()), |snapshots| snapshots.check_newest(&replayed))?;
        Ok(replayed)
    }
}

fn gather(args: &ReplayArgs, results: &Receiver<ReplayedActor>, count: usize, events: &AtomicU64) -> Done {
    let begun = clock::now();
    let progress = Progress::begin();
    let (mut done, mut total, mut transitions, mut wrong, mut idle) = (0_usize, 0_u64, 0_u64, 0_usize, 0_usize);
    let (mut skipped, mut skipping) = (0_u64, 0_usize);
    while done < count {
        let (row, replayed) = match wait::receive_within(results, Duration::from_millis(200)) {
            Ok(found) => found,
            Err(RecvTimeoutError::Timeout) => {
                progress.show(&format!("{done} of {count} actors, {} events", events.load(Ordering::Relaxed)));
                continue;
            }
            // Every worker has ended, and not every actor was replayed.
            Err(RecvTimeoutError::Disconnected) => break,
        };
        done += 1;
        match replayed {
            Ok(replayed) => {
                total += replayed.compared();
                transitions += replayed.transitions;
                skipped += replayed.events - replayed.compared();
                skipping += usize::from(!replayed.skipped.is_empty());
            }
            Err(error) => {
                let is_idle = matches!(error, ReplayError::NothingExecuted { .. });
                *(if is_idle { &mut idle } else { &mut wrong }) += 1;
                progress.end();
                say_of(args, &row, &error);
            }
        }
    }
    progress.end();
    if done < count {
        let missing = count - done;
        return Err(Failure::ended(format!("{missing} of {count} actors were not replayed: the threads have ended")));
    }
    if wrong > 0 {
        return Err(Failure::no(format!("{wrong} of {count} actors do not replay")));
    }
    if transitions == 0 && idle > 0 {
        return Err(Failure::no("nothing was executed: what was dropped is needed for all calls that there are"));
    }
    let seconds = clock::since(begun).as_secs_f64();
    if args.json {
        print_json(&serde_json::json!({
            "actors": count, "events": total, "transitions": transitions, "skipped": skipped, "idle": idle,
            "seconds": seconds,
        }));
        return Ok(());
    }
    say!("replayed: {count} actors, {total} events, {transitions} transitions, in {seconds:.1} s");
    if skipped > 0 {
        say!(
            "not replayed: {skipped} events of {skipping} actors, since data was dropped; `theater replay --journal DIR ACTOR` says which"
        );
    }
    if transitions == 0 {
        say!("nothing was executed: no actor was ever called");
    }
    Ok(())
}

fn say_of(args: &ReplayArgs, row: &ActorRow, error: &ReplayError) {
    let (name, id) = (&row.name, row.actor.id);
    if args.json {
        print_json(&serde_json::json!({ "actor": id.to_string(), "name": name, "error": error.to_string() }));
    } else {
        show::line(&format!("actor {name} ({id}): {error}"));
    }
}

/// A progress line on a terminal; nothing is shown elsewhere.
struct Progress {
    shown: bool,
    last: std::cell::Cell<Option<Instant>>,
}

impl Progress {
    fn begin() -> Self {
        Self { shown: std::io::stderr().is_terminal(), last: std::cell::Cell::new(None) }
    }

    fn at(&self, sequence: u64) {
        let due = self.last.get().is_none_or(|last| clock::since(last) >= Duration::from_millis(200));
        if self.shown && due {
            self.last.set(Some(clock::now()));
            self.show(&format!("event {sequence}"));
        }
    }

    fn show(&self, text: &str) {
        if self.shown {
            // A progress line that cannot be written does not matter.
            let mut stderr = std::io::stderr();
            let _ = write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush());
        }
    }

    fn end(&self) {
        self.show("");
    }
}
