//! `theater repair`, and `theater run --accept-loss`: going on with a journal whose end or mark is lost.

use std::path::{Path, PathBuf};

use clap::Args;

use super::config::refused;
use super::show::{print_json, say};
use super::{Done, Failure, file_or_none};
use crate::actor::audit;
use crate::config::Settings;
use crate::theater::{Damage, accept_loss, assess_loss};

#[derive(Args)]
pub(super) struct RepairArgs {
    /// Accept the loss; without this, the loss is only shown
    #[arg(long)]
    accept_loss: bool,
    /// The data directory; no runtime may be using it [default: that of `theater run`]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The configuration file [default: theater.toml, if it exists]
    #[arg(long, value_name = "FILE", env = "THEATER_CONFIG", value_parser = file_or_none())]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn repair(args: &RepairArgs) -> Done {
    let dir = match &args.data_dir {
        Some(dir) => dir.clone(),
        None => Settings::of_environment(args.config.as_deref(), &[]).map_err(refused)?.data_dir(),
    };
    let Some(damage) = assess_loss(&dir).map_err(Failure::no)? else {
        refuse_other_damage(&dir)?;
        if args.json {
            print_json(&serde_json::json!({ "lost": null, "given_up": null, "accepted": false, "concerned": [] }));
        } else {
            say!("nothing is lost: the journal in {} has all that its mark vouches for", dir.display());
        }
        return Ok(());
    };
    if args.accept_loss {
        accept_loss(&dir, damage.loss).map_err(Failure::no)?;
    }
    if args.json {
        let concerned: Vec<_> = damage
            .concerned
            .iter()
            .map(|it| serde_json::json!({ "name": it.name, "id": it.id, "last_event": it.last, "open": it.open }))
            .collect();
        let (lost, accepted) = (damage.loss.to_string(), args.accept_loss);
        let given_up = damage.unsound.as_ref();
        let given_up =
            given_up.map(|end| serde_json::json!({ "file": end.file, "byte": end.byte, "bytes": end.bytes }));
        print_json(&serde_json::json!({
            "lost": lost, "given_up": given_up, "accepted": accepted, "concerned": concerned
        }));
    } else {
        in_words(&damage).iter().for_each(|text| say!("{text}"));
    }
    if args.accept_loss {
        if !args.json {
            say!("accepted: it is recorded on each of these chains, and the next start goes on from there");
        }
        return Ok(());
    }
    Err(Failure::no(format!("{}: nothing was changed; accept it with --accept-loss", dir.display())))
}

/// Checks a journal that has lost nothing of its end. Any other damage is an error, because it cannot be accepted.
fn refuse_other_damage(dir: &Path) -> Done {
    let findings = audit(dir).map_err(Failure::no)?.findings;
    let Some(first) = findings.first() else { return Ok(()) };
    let what = super::history::things_are_wrong(findings.len());
    Err(Failure::no(format!(
        "{}: the journal's end is not lost, but {what}, and that cannot be accepted: {first}. `theater verify --journal` names \
         all; restore the directory from a backup",
        dir.display()
    )))
}

/// Accepts every loss of the journal and logs it, for a runtime that is to start even if something was lost.
pub(super) fn accept_what_is_lost(dir: &Path) -> Done {
    if !crate::journal::has_journal(dir) {
        return Ok(());
    }
    let Some(damage) = assess_loss(dir).map_err(Failure::no)? else { return Ok(()) };
    in_words(&damage).iter().for_each(|text| log::warn!("{text}"));
    accept_loss(dir, damage.loss).map_err(Failure::no)
}

fn in_words(damage: &Damage) -> Vec<String> {
    let mut said = vec![format!("lost: {}", damage.loss)];
    said.extend(damage.unsound.iter().map(|end| format!("given up: {end}, even what is sound")));
    said.extend(damage.concerned.iter().map(|it| {
        let open = it
            .open
            .as_ref()
            .map_or(String::new(), |call| format!(", within a call of {call}, which is not made again"));
        format!("actor {} ({}): what is left of its chain ends with event {}{open}", it.name, it.id, it.last)
    }));
    said
}
