//! `theater export`, `theater state` and `theater verify`: an actor's history, from a running runtime, from a data
//! directory, or from a chain file.

use std::path::{Path, PathBuf};

use clap::Args;

use super::output::{Output, named};
use super::past::ActorHistory;
use super::proofs::verify::{self, ProofArgs, Since};
use super::realm_copy::readable_dir;
use super::show::{self, print_json, say};
use super::{Done, Failure, Remote};
use crate::actor::{Audit, audit};
use crate::chain::cbor::bytes_to_json;
use crate::chain::{ChainFile, ChainFileContents, ExportError, export as export_chain};

#[derive(Args)]
pub(super) struct ExportArgs {
    /// The actor's name, its id, or the beginning of either
    actor: String,
    /// The file to write; `-` for standard output
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Leave the components out: a replay then needs --component, and a golden chain is a few KB
    #[arg(long, visible_alias = "without-components")]
    no_component: bool,
    /// Read the data directory itself; no runtime needs to be running
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args)]
pub(super) struct StateArgs {
    /// The actor's name, its id, or the beginning of either; or a chain file, NAME.chain
    actor: String,
    /// Show the state after this event; within a transition, the state before it
    #[arg(long, value_name = "SEQUENCE")]
    at: Option<u64>,
    /// Read the data directory itself; no runtime needs to be running
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args)]
pub(super) struct VerifyArgs {
    /// A chain file that `theater export` wrote
    #[arg(required_unless_present_any = ["journal", "proof"])]
    chain: Option<PathBuf>,
    /// Check all chains of a data directory, and the links between them; no runtime needs to be running
    #[arg(long, value_name = "DIR", conflicts_with = "chain")]
    journal: Option<PathBuf>,
    #[command(flatten)]
    proof: ProofArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn state(args: &StateArgs) -> Done {
    let mut history = ActorHistory::open(&args.actor, args.data_dir.as_deref(), &args.remote)?;
    let (state, lost) = match args.at {
        Some(at) => (history.state_at(at)?, None),
        None => history.newest_state()?,
    };
    if let Some(event) = lost {
        super::stderr::tell(&format!(
            "theater: no event names this state: the data of event {event}, which led to it, was dropped"
        ));
    }
    if args.remote.json {
        print_json(&serde_json::json!({ "state": state.as_deref().map(bytes_to_json) }));
    } else {
        show::bytes(state.as_deref());
    }
    Ok(())
}

pub(super) fn export(args: &ExportArgs) -> Done {
    let mut history = ActorHistory::open(&args.actor, args.data_dir.as_deref(), &args.remote)?;
    let exported = export_chain(&mut history, !args.no_component, || Output::to(&args.output));
    let cannot_write = |error| Failure::no(format!("cannot write {}: {error}", named(&args.output)));
    let (exported, output) = exported.map_err(|error| match error {
        ExportError::History(failure) => failure,
        ExportError::Write(error) => cannot_write(error),
        other => Failure::no(other),
    })?;
    output.finish().map_err(cannot_write)?;
    super::stderr::tell(&format!("{} events, head {}", exported.events, exported.head));
    Ok(())
}

pub(super) fn verify(args: &VerifyArgs) -> Done {
    args.proof.check_is_used(args.journal.is_some())?;
    if let Some(path) = &args.proof.proof {
        return verify::proof(&args.proof, path, args.chain.as_deref(), args.json);
    }
    let path = match (&args.chain, &args.journal) {
        (_, Some(dir)) => return verify_journal(&readable_dir(dir)?, &args.proof, args.json),
        (Some(chain), None) => chain,
        (None, None) => unreachable!("clap asks for one of them"),
    };
    let contents = ChainFile::check(path).map_err(|error| Failure::no(format!("{}: {error}", path.display())))?;
    let ChainFileContents { header, incarnations, dropped, unvouched, .. } = &contents;
    let (events, head) = (header.events, header.head);
    if args.json {
        let stretches: Vec<_> = dropped.stretches().iter().map(|stretch| [stretch.start(), stretch.end()]).collect();
        print_json(&serde_json::json!({
            "actor": header.actor.to_string(), "events": events, "incarnations": incarnations, "head": head.to_string(),
            "dropped": dropped.count(), "dropped_events": stretches, "unvouched_states": unvouched,
        }));
        return Ok(());
    }
    say!("verified: {events} events, {incarnations} incarnations, head {head}");
    if !dropped.is_empty() {
        let dropped = dropped.described(events);
        say!("the data of {dropped} was dropped: their hashes are verified, what they said is not");
    }
    for sequence in unvouched {
        say!(
            "the state attached after event {sequence} is named by no event, since data was dropped: replay does not use it"
        );
    }
    Ok(())
}

pub(super) fn things_are_wrong(count: usize) -> String {
    if count == 1 { "1 thing is wrong".to_owned() } else { format!("{count} things are wrong") }
}

fn verify_journal(dir: &Path, proof: &ProofArgs, json: bool) -> Done {
    let audited = audit(dir).map_err(Failure::no)?;
    let Audit { actors, events, links, in_flight, dropped, unvouched, mut findings } = audited;
    let since = verify::since(proof, dir)?;
    if let Since::Differs(what) = &since {
        findings.push(what.clone());
    }
    let goes_on = match &since {
        Since::GoesOn { checkpoint, events } => Some((checkpoint, events)),
        Since::NothingSigned | Since::Differs(_) => None,
    };
    if json {
        print_json(&serde_json::json!({
            "actors": actors, "events": events, "links": links, "in_flight": in_flight, "dropped": dropped,
            "unvouched_states": unvouched, "findings": findings,
            "checkpoint": goes_on.map(|(checkpoint, _)| serde_json::json!({
                "origin": checkpoint.origin, "size": checkpoint.size, "signature": if proof.has_key() { "verified" } else { "not looked at" },
            })),
        }));
    } else {
        findings.iter().for_each(|finding| show::line(finding));
    }
    if !findings.is_empty() {
        return Err(Failure::no(format!("{}: {}", dir.display(), things_are_wrong(findings.len()))));
    }
    if !json {
        say!(
            "verified: {actors} actors, {events} events, {links} links between them, {in_flight} messages on their way"
        );
        if dropped > 0 {
            say!("the data of {dropped} events was dropped: their hashes are verified, what they said is not");
        }
        if let Some((checkpoint, events)) = goes_on {
            let signed = if proof.has_key() { "" } else { " (its signature was not looked at: --key KEY checks it)" };
            say!(
                "the journal goes on from the checkpoint of {} over {} events{signed}; {} came since",
                checkpoint.origin,
                checkpoint.size,
                events - checkpoint.size
            );
        }
        if unvouched > 0 {
            say!(
                "{unvouched} stored states are named by no event, since data was dropped: whether they are what was written cannot be told"
            );
        }
    }
    Ok(())
}
