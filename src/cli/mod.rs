//! The command line: the only place that prints.
//!
//! Results go to standard output, everything else to standard error. Exit codes: 0 done; 1 the answer is no (a chain
//! does not verify, a replay diverges, the runtime refuses); 2 the command line is wrong; 3 the runtime ended itself.

mod forget;
mod fork;
mod history;
mod remote;
mod replay;
mod run;
mod show;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// WebAssembly components as supervised actors, with a history that verifies and replays.
#[derive(Parser)]
#[command(name = "theater", version, about, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the runtime in the foreground, with the actors of these manifests
    ///
    /// Actors that an earlier run left in the data directory are resumed; a manifest whose actor is among them resumes
    /// it rather than starting a second. Ctrl-C suspends all actors and ends; a second one ends at once.
    Run(run::RunArgs),
    /// Start an actor from a manifest, and print its id
    Start {
        manifest: PathBuf,
        #[command(flatten)]
        remote: Remote,
    },
    /// Stop an actor and everything below it
    Stop(OneActor),
    /// Start an actor again: its chain goes on in a new incarnation
    Restart(OneActor),
    /// Start a new actor from the state that another had at one of its events, and print its id
    ///
    /// It is a root of its own, with a chain of its own, which quotes that event. Its `init` is not run. It runs the
    /// component and the manifest that the other had there, unless it is given another manifest.
    Fork(fork::ForkArgs),
    /// List actors: status, name, id, address
    ///
    /// A failed actor is listed with the reason; `theater events ACTOR` shows what led to it.
    List(AllActors),
    /// Show the tree of actors
    Tree(AllActors),
    /// Show one actor
    Status(OneActor),
    /// Show an actor's state
    State(OneActor),
    /// Show an actor's events
    Events(history::EventsArgs),
    /// Send an actor a message, and wait until it was worked on
    Send(MessageArgs),
    /// Request something of an actor, and print the answer
    Request(MessageArgs),
    /// Write an actor's whole history to a portable chain file
    Export(history::ExportArgs),
    /// Drop old data of an actor's history; the hashes stay, so that all of it still verifies
    ///
    /// Dropped is what lies before the last kept state before the event that is named; from that state on the history
    /// can still be replayed. What a transition or a delivery under way needs stays.
    Prune(forget::PruneArgs),
    /// Drop the data of one event; its hash stays, so that the history still verifies
    Redact(forget::RedactArgs),
    /// Check every hash and link of a chain file
    Verify(history::VerifyArgs),
    /// Execute a history again and compare every event
    ///
    /// Of a chain file, or of one or all actors of a data directory. Nothing that an actor did outside happens again.
    /// With --compare another build is given the recorded inputs, and what it does otherwise is listed: exit status 0
    /// where it does nothing otherwise, 1 where it does.
    Replay(replay::ReplayArgs),
    /// Check a manifest and its component, without starting anything
    Check { manifest: PathBuf },
    /// End the running runtime: every actor is suspended
    Shutdown {
        #[command(flatten)]
        remote: Remote,
    },
}

/// How to reach a running runtime.
#[derive(Args, Clone)]
struct Remote {
    /// The management server of the running runtime
    #[arg(long, value_name = "HOST:PORT", env = "THEATER_SERVER", default_value = "127.0.0.1:9000")]
    server: SocketAddr,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct OneActor {
    /// Its name, its id, or the beginning of its id
    actor: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args)]
struct AllActors {
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args)]
struct MessageArgs {
    /// Its name, its id, or the beginning of its id
    actor: String,
    /// The message, usually JSON; `-` reads it from standard input
    message: String,
    #[command(flatten)]
    remote: Remote,
}

/// Why a command did not do what was asked.
#[derive(Debug)]
struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// The answer is no.
    fn no(message: impl ToString) -> Self {
        Self { message: message.to_string(), code: 1 }
    }

    /// The runtime ended itself.
    fn ended(message: impl ToString) -> Self {
        Self { message: message.to_string(), code: 3 }
    }
}

type Done = Result<(), Failure>;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Start { manifest, remote } => remote::start(&manifest, &remote),
        Command::Stop(one) => remote::stop(&one),
        Command::Restart(one) => remote::restart(&one),
        Command::Fork(args) => fork::fork(&args),
        Command::List(AllActors { remote }) => remote::list(&remote),
        Command::Tree(AllActors { remote }) => remote::tree(&remote),
        Command::Status(one) => remote::status(&one),
        Command::State(one) => remote::state(&one),
        Command::Events(args) => history::events(&args),
        Command::Send(args) => remote::send(&args),
        Command::Request(args) => remote::request(&args),
        Command::Export(args) => history::export(&args),
        Command::Prune(args) => forget::prune(&args),
        Command::Redact(args) => forget::redact(&args),
        Command::Verify(args) => history::verify(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Check { manifest } => run::check(&manifest),
        Command::Shutdown { remote } => remote::shutdown(&remote),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, code }) => {
            eprintln!("theater: {message}");
            ExitCode::from(code)
        }
    }
}
