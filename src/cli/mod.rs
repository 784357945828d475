//! The command line: the only place that prints.
//!
//! Results go to standard output, everything else to standard error. Exit codes: 0 done; 1 the answer is no (a chain
//! does not verify, a replay diverges, the runtime refuses); 2 the command line is wrong; 3 the runtime ended itself.

mod backup;
mod check;
mod config;
mod connect;
mod doctor;
mod events;
mod forget;
mod fork;
mod history;
mod logging;
mod output;
mod past;
mod remote;
mod repair;
mod replay;
mod run;
mod show;
mod signals;
mod stderr;
mod top;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::server::Endpoint;

const GUIDE: &str = "\
Where to look:
  Who is there, and who failed, and why?     theater list, theater tree
  Why did this actor fail?                   theater status ACTOR (the reason, and what led to it)
  What has it done, step by step?            theater events ACTOR
  What does it do now?                       theater events ACTOR --follow, theater top
  Does it do the same again?                 theater export ACTOR -o FILE; theater replay FILE
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
    /// Actors that an earlier run left in the data directory are resumed; a manifest whose actor is among them resumes
    /// it rather than starting a second. Ctrl-C suspends all actors and ends; a second one ends at once. What is not
    /// said here is looked for in the environment, then in theater.toml: `theater config` shows what is in force.
    Run(Box<run::RunArgs>),
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
    /// List an actor that has ended, and all below it, no longer; its history stays in the journal
    Forget(OneActor),
    /// Start a new actor from the state that another had at one of its events, and print its id
    ///
    /// It is a root of its own, with a chain of its own, which quotes that event. Its `init` is not run. It runs the
    /// component and the manifest that the other had there, unless it is given another manifest.
    Fork(fork::ForkArgs),
    /// List actors: status, name, id, address; of a failed one why it failed
    List(AllActors),
    /// Show the tree of actors: who was started by whom
    Tree(AllActors),
    /// Show one actor; of a failed one why it failed, and what led to it
    Status(OneActor),
    /// Show the actors at work: calls, latency, mailbox, memory, restarts
    ///
    /// On a terminal it is shown anew every second, until Ctrl-C; elsewhere, and with --json, once.
    Top(top::TopArgs),
    /// Show an actor's state
    State(history::StateArgs),
    /// Show an actor's events, one a line: what it was asked, what it did, what came of it
    Events(events::EventsArgs),
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
    /// Copy a journal while a runtime is at work on it, or a data directory that none holds, and verify the copy
    Backup(backup::BackupArgs),
    /// Make a data directory of a backup, which is verified
    Restore(backup::RestoreArgs),
    /// Say what a journal has lost that every start refuses, and go on without it
    ///
    /// For a journal whose end or whose mark is lost, where there is no backup. With --accept-loss the loss is recorded on
    /// each chain that it concerns, and the next start goes on from what is left.
    Repair(repair::RepairArgs),
    /// Check every hash and link of a chain file
    Verify(history::VerifyArgs),
    /// Execute a history again and compare every event
    ///
    /// Of a chain file, or of one or all actors of a data directory. Nothing that an actor did outside happens again.
    /// With --compare another build is given the recorded inputs, and what it does otherwise is listed: exit status 0
    /// where it does nothing otherwise, 1 where it does.
    Replay(replay::ReplayArgs),
    /// Check a manifest and its component, without starting anything
    Check(check::CheckArgs),
    /// Check whether this machine is large enough for so many actors, and say what to change
    Doctor(doctor::DoctorArgs),
    /// Print what is configured, and where each value comes from
    Config(Box<config::ConfigArgs>),
    /// Print a completion script for a shell
    ///
    /// For instance: theater completions bash > /etc/bash_completion.d/theater
    Completions { shell: clap_complete::Shell },
    /// End the running runtime: every actor is suspended
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
    /// The management server: HOST:PORT, tls:HOST:PORT or unix:PATH [default: as theater.toml says, or
    /// 127.0.0.1:9000]
    #[arg(long, value_name = "ENDPOINT", env = "THEATER_SERVER", help_heading = "Connection")]
    server: Option<Endpoint>,
    /// The file of the token to authenticate with; or THEATER_TOKEN is the token itself
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    token_file: Option<String>,
    /// Certificates (PEM) to trust instead of the well-known authorities
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    authorities: Option<String>,
    /// The configuration file [default: theater.toml, where it is there]
    #[arg(long, value_name = "FILE", env = "THEATER_CONFIG", help_heading = "Connection")]
    config: Option<PathBuf>,
}

#[derive(Args)]
struct OneActor {
    /// Its name, its id, or the beginning of either
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
    /// Its name, its id, or the beginning of either
    actor: String,
    /// The message, usually JSON; `-` reads it from standard input
    message: String,
    #[command(flatten)]
    remote: Remote,
}

/// The exit code of a runtime that ended itself.
const ENDED: u8 = 3;

/// Why a command did not do what was asked.
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
    /// The answer is no.
    fn no(message: impl ToString) -> Self {
        Self { message: message.to_string(), code: 1 }
    }

    /// The command line is wrong.
    fn usage(message: impl ToString) -> Self {
        Self { message: message.to_string(), code: 2 }
    }

    /// The runtime ended itself.
    fn ended(message: impl ToString) -> Self {
        Self { message: message.to_string(), code: ENDED }
    }
}

type Done = Result<(), Failure>;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        if error.use_stderr() {
            error.exit()
        }
        // What was asked for, and so a result: one that cannot be printed is an error.
        show::printed(error.print().and_then(|()| std::io::Write::flush(&mut std::io::stdout())));
        std::process::exit(0)
    });
    let done = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Start { manifest, remote } => remote::start(&manifest, &remote),
        Command::Stop(one) => remote::stop(&one),
        Command::Restart(one) => remote::restart(&one),
        Command::Forget(one) => remote::forget(&one),
        Command::Fork(args) => fork::fork(&args),
        Command::List(AllActors { remote }) => remote::list(&remote),
        Command::Tree(AllActors { remote }) => remote::tree(&remote),
        Command::Status(one) => remote::status(&one),
        Command::Top(args) => top::top(&args),
        Command::State(args) => history::state(&args),
        Command::Events(args) => events::events(&args),
        Command::Send(args) => remote::send(&args),
        Command::Request(args) => remote::request(&args),
        Command::Export(args) => history::export(&args),
        Command::Prune(args) => forget::prune(&args),
        Command::Redact(args) => forget::redact(&args),
        Command::Backup(args) => backup::backup(&args),
        Command::Restore(args) => backup::restore(&args),
        Command::Repair(args) => repair::repair(&args),
        Command::Verify(args) => history::verify(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Check(args) => check::check(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Config(args) => config::config(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "theater", &mut script);
            show::line(String::from_utf8_lossy(&script).trim_end());
            Ok(())
        }
        Command::Shutdown { remote } => remote::shutdown(&remote),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, code }) => {
            let said = format!("theater: {message}");
            // A runtime that ends itself ends, whoever reads why.
            if code == ENDED {
                stderr::last_words(&said)
            } else {
                stderr::tell(&said)
            }
            ExitCode::from(code)
        }
    }
}
