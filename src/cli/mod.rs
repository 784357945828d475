//! The command line: the only place that prints.
//!
//! Results go to standard output, everything else to standard error. Exit codes: 0 done; 1 the answer is no (a chain
//! does not verify, a replay diverges, the runtime refuses); 2 the command line is wrong; 3 the runtime ended itself.

mod at_rest;
mod backup;
mod build;
mod check;
mod cluster;
mod completions;
mod config;
mod connect;
mod console;
mod dead_letters;
mod describe;
mod dev;
mod diff;
mod doctor;
mod events;
mod forget;
mod fork;
mod history;
mod http_lines;
mod json_lines;
mod logging;
mod logs;
mod man;
mod mistakes;
mod new;
mod outcomes;
mod output;
mod past;
mod prune_many;
mod proofs;
mod realm_copy;
mod recent;
mod remote;
mod repair;
mod replay;
mod sandbox;
mod selection;
mod rows;
mod run;
mod service_manager;
mod serving;
mod show;
mod signals;
mod sql;
mod stderr;
mod table;
mod test;
mod times;
mod toolchain;
mod top;
mod top_keys;
mod trace;
mod upgrade;

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::server::Endpoint;

const GUIDE: &str = "\
Where to look:
  How do I begin?                            theater new NAME --lang ts; theater build NAME
  Who is there, and who failed, and why?     theater list, theater tree
  Why did this actor fail?                   theater status ACTOR (the reason, and what led to it)
  What has it done, step by step?            theater events ACTOR [--since 1h]; theater logs ACTOR
  Which requests failed?                     theater events ACTOR --kind call --since 1d (method, path, status)
  What led to an event, what came of it?     theater trace ACTOR SEQUENCE
  What was its state then, what changed?     theater state ACTOR --at SEQUENCE; theater diff ACTOR SEQUENCE LATER
  What is it, and what may it do?            theater describe ACTOR
  What does it do now?                       theater events ACTOR --follow, theater top
  All of this, in a browser?                 theater console
  Does it do the same again?                 theater export ACTOR -o FILE; theater replay FILE
  How many, how often, how long?             theater sql 'SELECT …' (theater sql shows the tables)
  How is it backed up?                       theater backup DIR; theater restore DIR
  Is this machine large enough?              theater doctor --actors N
  What is configured, and where?             theater config

ACTOR is a name, an id, or the beginning of either, as long as it is no other's.
Exit status: 0 done; 1 no (the text says why); 2 the command line is wrong; 3 the runtime ended itself.";

/// WebAssembly components as supervised actors, with a history that verifies and replays.
#[derive(Parser)]
#[command(name = "theater", version, about, max_term_width = 110, after_help = GUIDE)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the runtime in the foreground, with the actors of these manifests
    ///
    /// Actors that an earlier run left in the data directory are resumed. A manifest whose actor is among them resumes
    /// that actor and starts no second one. Ctrl-C suspends all actors and ends the runtime; a second Ctrl-C ends it at
    /// once. A setting that is not given here is taken from the environment, then from theater.toml: `theater config`
    /// shows the settings in force.
    Run(Box<run::RunArgs>),
    /// Start an actor from a manifest, and print its id
    Start {
        manifest: PathBuf,
        #[command(flatten)]
        remote: Remote,
    },
    /// Stop actors, and everything below them
    Stop(selection::ManyActors),
    /// Start actors again: the chain of each goes on in a new incarnation
    Restart(selection::ManyActors),
    /// Have actors take nothing more: what comes for them waits until they are resumed
    ///
    /// The call under way is finished first. Messages, requests, timers and the ends of other actors wait, within the bounds of the
    /// mailbox and with their deadlines. The actors below go on. A pause outlives restarts, upgrades and ends of the runtime.
    Pause(selection::ManyActors),
    /// Let paused actors go on with what has waited, in the order in which it came
    Resume(selection::ManyActors),
    /// Let an actor go on with another component and manifest: same id, same history, same state
    ///
    /// The component is compiled while the actor works on with the old one, and takes its place between two calls. What waits
    /// for the actor, its timers and its clients stay. If the component exports `migrate`, it makes the new state of the old
    /// one. Whatever is refused, the actor goes on as before.
    Upgrade(upgrade::UpgradeArgs),
    /// Remove actors that have ended, and all actors below them, from the list; their histories stay in the journal
    Forget(ForgetArgs),
    /// Start a new actor from the state that another had at one of its events, and print its id
    ///
    /// The new actor is a root with a chain of its own, which quotes that event. Its `init` is not run. It runs the
    /// component and the manifest that the other actor had there, unless another manifest is given.
    Fork(fork::ForkArgs),
    /// List actors: status, name, id, address, and why a failed actor failed
    List(ListArgs),
    /// Show the tree of actors: who was started by whom
    Tree(AllActors),
    /// Show one actor; if it failed, why, and the events that led to it
    Status(StatusArgs),
    /// Describe one actor: manifest, component, limits, handlers, restart policy, history, state, children, and its failures
    Describe(OneActor),
    /// Show the actors at work: calls, latency, mailbox, memory, restarts
    ///
    /// On a terminal the view is refreshed every second until the key q or Ctrl-C; elsewhere, and with --json, it is printed once.
    Top(top::TopArgs),
    /// Show an actor's state
    State(history::StateArgs),
    /// Show what has changed in an actor's state between two of its events
    ///
    /// Each difference has its place as a JSON pointer, and what was there before and after. Of states that are not JSON,
    /// sizes and hashes are shown.
    Diff(diff::DiffArgs),
    /// Print rows of an actor's table
    Table(table::TableArgs),
    /// Show an actor's events, one a line: what it was asked, what it did, and the result
    Events(events::EventsArgs),
    /// Show the lines that an actor has logged, with their times
    Logs(logs::LogsArgs),
    /// Show what led to an event and everything that came of it, across actors
    ///
    /// The call of the outermost cause is the root of a tree: under each call stand its host calls, under each message the
    /// call of the actor that took it, and how it ended. A message that failed, or that nobody took, says where it stopped.
    Trace(trace::TraceArgs),
    /// Send an actor a message, and wait until the actor has worked on it
    Send(MessageArgs),
    /// Send an actor a request, and print the answer
    Request(MessageArgs),
    /// List messages that their receivers never took, because they ended; or send one again
    ///
    /// Only messages between actors: who sends one from outside is told. A dead letter that was sent again, and taken, is
    /// not listed any more.
    DeadLetters(dead_letters::DeadLettersArgs),
    /// Write an actor's whole history to a portable chain file
    Export(history::ExportArgs),
    /// Drop old data of an actor's history; the hashes stay, so that all of it still verifies
    ///
    /// The data of all events before the last kept state before the named event is dropped. From that state on, the
    /// history can still be replayed. Data that a transition or a delivery under way needs stays.
    Prune(forget::PruneArgs),
    /// Drop the data of one event; its hash stays, so that the history still verifies
    Redact(forget::RedactArgs),
    /// Copy a journal and verify the copy; a runtime may be using the journal meanwhile
    Backup(backup::BackupArgs),
    /// Make a data directory from a backup, after verifying the backup
    Restore(backup::RestoreArgs),
    /// Show what a damaged journal has lost, and accept the loss
    ///
    /// For a journal that every start refuses, because its end or its mark is lost, and that has no backup. With
    /// --accept-loss, the loss is recorded on each chain that it concerns, and the next start goes on from what is left.
    Repair(repair::RepairArgs),
    /// Check every hash and link of a chain file, of a journal, or a proof
    Verify(history::VerifyArgs),
    /// Write a proof that an event was recorded, which anyone checks who has the public key
    ///
    /// The proof holds the event, its path in the Merkle tree over all events of the journal, and the signed checkpoint of that
    /// tree: `theater verify --proof` checks it without the journal. It needs [proofs] in theater.toml.
    Prove(proofs::prove::ProveArgs),
    /// Make or show a key that signs checkpoints, or the cosignatures of a witness
    Key(proofs::key::KeyArgs),
    /// Cosign the checkpoints of logs, each if it goes on from the one before
    ///
    /// A witness is a process of its own, best on another machine and of another operator. It keeps the last checkpoint of each
    /// log, so a log can show no second history to anyone who demands its cosignature. Ctrl-C ends it.
    Witness(proofs::witness::WitnessArgs),
    /// Execute a history again and compare every event
    ///
    /// The history is a chain file, or that of one actor or all actors of a data directory. No effect outside happens
    /// again. With --compare, another build of the component gets the recorded inputs, and every difference is listed:
    /// the exit status is 0 if there is none, and 1 if there are differences.
    Replay(replay::ReplayArgs),
    /// Ask a journal in SQL: actors, events, messages, HTTP requests, states, failures, timers, monitors, dead letters
    ///
    /// The statement reads the data directory itself, as it is at one moment, whether or not a runtime uses it, and can
    /// change nothing. For instance: theater sql "SELECT name, type, data FROM events ORDER BY position DESC LIMIT 20".
    /// Without a statement, the tables and their columns are shown.
    Sql(sql::SqlArgs),
    /// Make a project for an actor: code, manifest, README and a test
    New(new::NewArgs),
    /// Build the components of a project: Rust, TypeScript, JavaScript or Python
    ///
    /// The language is that of the project file beside the manifest: Cargo.toml, package.json or pyproject.toml. The
    /// manifest decides what the component imports and exports. A toolchain that is missing is installed by npm or pip.
    Build(build::BuildArgs),
    /// Build actors, run them, and upgrade them at each change of a source
    ///
    /// A build that fails leaves the actors as they are. The state carries on. Each HTTP request is shown as it is
    /// answered. Actors, settings and data directory are those of `theater run`.
    Dev(Box<dev::DevArgs>),
    /// Run the tests of a project: scripted tests, golden chains, and those of its language
    ///
    /// Scripted tests are tests/*.toml: what happens to an actor, and what is expected. Golden chains are tests/*.chain:
    /// histories that the present build must come to again. No server, port or journal is needed. docs/testing.md
    /// describes the format.
    Test(test::TestArgs),
    /// Check a manifest and its component, without starting anything
    Check(check::CheckArgs),
    /// Show the realms of a cluster: which node owns each, which follow, and how far behind they are
    Realms(cluster::RealmsArgs),
    /// Hand a realm over to another node
    Realm(cluster::RealmArgs),
    /// Prepare the database of a cluster
    Cluster(cluster::ClusterArgs),
    /// Check whether this machine has room for a number of actors, and say which settings to change
    Doctor(doctor::DoctorArgs),
    /// Print the settings in force, and where each value comes from
    Config(Box<config::ConfigArgs>),
    /// Serve a page for a browser that shows the runtime: actors, histories, traces, states at any event
    ///
    /// The console is a process of its own and a client of the management server. Open the address that it prints. Ctrl-C ends
    /// it, and the runtime does not notice.
    Console(console::ConsoleArgs),
    /// Print a completion script for a shell
    ///
    /// For instance: theater completions bash > /etc/bash_completion.d/theater
    ///
    /// The script also completes the names of the actors that there are, by asking the runtime.
    Completions { shell: clap_complete::Shell },
    /// Print the names of all actors, for a completion script
    #[command(hide = true)]
    ActorNames {
        #[command(flatten)]
        remote: Remote,
    },
    /// Write the manual pages into a directory
    Man(man::ManArgs),
    /// End the running runtime, and suspend every actor
    Shutdown {
        #[command(flatten)]
        remote: Remote,
    },
}

/// How to reach a running runtime.
#[derive(Args, Clone)]
struct Remote {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The management server: HOST:PORT, tls:HOST:PORT or unix:PATH [default: that of theater.toml, or
    /// 127.0.0.1:9000]
    #[arg(long, value_name = "ENDPOINT", env = "THEATER_SERVER", help_heading = "Connection")]
    server: Option<NamedServer>,
    /// The file that holds the token to authenticate with; THEATER_TOKEN can hold the token itself
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    token_file: Option<String>,
    /// Certificates (PEM) to trust instead of the well-known authorities
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    authorities: Option<String>,
    /// The configuration file [default: theater.toml, if it exists]
    #[arg(long, value_name = "FILE", env = "THEATER_CONFIG", value_parser = file_or_none(), help_heading = "Connection")]
    config: Option<PathBuf>,
}

/// A server that was named; none if the name is empty, which counts as not given.
#[derive(Clone)]
struct NamedServer(Option<Endpoint>);

impl FromStr for NamedServer {
    type Err = <Endpoint as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(|endpoint| Self(Some(endpoint))) }
    }
}

/// Understands the name of a configuration file. An empty one counts as not given, as every empty setting does.
fn file_or_none() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

#[derive(Args)]
struct OneActor {
    /// The actor's name, its id, or the beginning of either
    actor: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args)]
struct ForgetArgs {
    /// Names of actors, ids, the beginning of either; or patterns of paths, as for stop
    #[arg(required_unless_present = "ended")]
    actor: Vec<String>,
    /// Forget every actor that has ended
    #[arg(long, conflicts_with = "actor")]
    ended: bool,
    /// Do it without asking, however many actors are named
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args)]
struct ListArgs {
    /// List only actors that have ended: stopped or failed
    #[arg(long)]
    ended: bool,
    /// Read the data directory itself; no runtime needs to be running
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args)]
struct AllActors {
    /// Read the data directory itself; no runtime needs to be running
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args)]
struct StatusArgs {
    /// The actor's name, its id, or the beginning of either
    actor: String,
    /// Read the data directory itself; no runtime needs to be running
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args)]
struct MessageArgs {
    /// A name for the message: it may be sent again with the same one, and the actor works on it once
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// The actor's name, its id, or the beginning of either
    actor: String,
    /// The message, usually JSON; `-` reads it from standard input
    message: String,
    #[command(flatten)]
    remote: Remote,
}

/// The exit code of a runtime that ended by itself, because its journal or a thread failed.
const ENDED: u8 = 3;

/// Why a command failed: the message, and the exit code.
#[derive(Debug)]
struct Failure {
    message: String,
    code: u8,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure {
    /// The runtime or the data says no: exit code 1.
    fn no(message: impl ToString) -> Self {
        Self { message: message.to_string(), code: 1 }
    }

    /// The command line is wrong: exit code 2.
    fn usage(message: impl ToString) -> Self {
        Self { message: message.to_string(), code: 2 }
    }

    /// The runtime ended by itself: exit code 3.
    fn ended(message: impl ToString) -> Self {
        Self { message: message.to_string(), code: ENDED }
    }
}

type Done = Result<(), Failure>;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        if error.use_stderr() {
            stderr::tell(mistakes::said(&error).trim_end());
            std::process::exit(error.exit_code())
        }
        // Help and version are results that were asked for: not being able to print them is an error.
        show::printed(error.print().and_then(|()| std::io::Write::flush(&mut std::io::stdout())));
        std::process::exit(0)
    });
    let done = signals::outlive_files_that_are_too_long()
        .map_err(|error| Failure::no(format!("cannot watch for signals: {error}")))
        .and_then(|()| carry_out(cli.command));
    // The copy of a realm, for instance.
    crate::journal::remove_ephemeral();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, code }) => {
            // A message may quote what an actor or a forged file says.
            let said = format!("theater: {}", show::visible_lines(&message));
            // A runtime that ends by itself does not wait for a reader of standard error.
            if code == ENDED {
                stderr::last_words(&said)
            } else {
                stderr::tell(&said)
            }
            ExitCode::from(code)
        }
    }
}

fn carry_out(command: Command) -> Done {
    match command {
        Command::Run(args) => run::run(&args),
        Command::Start { manifest, remote } => remote::start(&manifest, &remote),
        Command::Stop(many) => selection::act(&many, &selection::STOP),
        Command::Restart(many) => selection::act(&many, &selection::RESTART),
        Command::Pause(many) => selection::act(&many, &selection::PAUSE),
        Command::Resume(many) => selection::act(&many, &selection::RESUME),
        Command::Upgrade(args) => upgrade::upgrade(&args),
        Command::Forget(args) => remote::forget(args),
        Command::Fork(args) => fork::fork(&args),
        Command::List(args) => remote::list(&args),
        Command::Tree(args) => remote::tree(&args),
        Command::Status(args) => remote::status(&args),
        Command::Describe(one) => describe::describe(&one),
        Command::Top(args) => top::top(&args),
        Command::State(args) => history::state(&args),
        Command::Diff(args) => diff::diff(&args),
        Command::Table(args) => table::table(&args),
        Command::Events(args) => events::events(&args),
        Command::Logs(args) => logs::logs(&args),
        Command::Trace(args) => trace::show(&args),
        Command::Send(args) => remote::send(&args),
        Command::Request(args) => remote::request(&args),
        Command::DeadLetters(args) => dead_letters::dead_letters(&args),
        Command::Export(args) => history::export(&args),
        Command::Prune(args) => prune_many::prune(&args),
        Command::Redact(args) => forget::redact(&args),
        Command::Backup(args) => backup::backup(&args),
        Command::Restore(args) => backup::restore(&args),
        Command::Repair(args) => repair::repair(&args),
        Command::Verify(args) => history::verify(&args),
        Command::Prove(args) => proofs::prove::prove(&args),
        Command::Key(args) => proofs::key::key(&args),
        Command::Witness(args) => proofs::witness::witness(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Sql(args) => sql::sql(&args),
        Command::New(args) => new::new(&args),
        Command::Build(args) => build::build(&args),
        Command::Dev(args) => dev::dev(&args),
        Command::Test(args) => test::test(&args),
        Command::Check(args) => check::check(&args),
        Command::Realms(args) => cluster::realms(&args),
        Command::Realm(args) => cluster::move_realm(&args),
        Command::Cluster(args) => cluster::cluster(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Config(args) => config::config(&args),
        Command::Console(args) => console::console(&args),
        Command::Completions { shell } => completions::completions(shell, Cli::command()),
        Command::ActorNames { remote } => completions::actor_names(&remote),
        Command::Man(args) => man::man(&args, Cli::command()),
        Command::Shutdown { remote } => remote::shutdown(&remote),
    }
}
