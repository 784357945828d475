//! `theater backup` and `theater restore`: a whole, verified copy of a journal, and back.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::config::refused;
use super::connect::{answered, ask, connect};
use super::realm_copy::{check_is_no_realm, readable_dir};
use super::show::{line, print_json, say};
use super::{Done, Failure, Remote, file_or_none};
use crate::actor::{Audit, audit};
use crate::base::dirs;
use crate::config::Settings;
use crate::journal::{self, DataDir};
use crate::server::protocol::{Request, Response};

#[derive(Args)]
pub(super) struct BackupArgs {
    /// The directory to make
    backup: PathBuf,
    /// The data directory to copy; a runtime may be using it [default: that of the running runtime]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args)]
pub(super) struct RestoreArgs {
    /// A directory that `theater backup` made, or any other copy of a data directory
    backup: PathBuf,
    /// The data directory to make; it may not have a journal yet [default: that of `theater run`]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The configuration file [default: theater.toml, if it exists]
    #[arg(long, value_name = "FILE", env = "THEATER_CONFIG", value_parser = file_or_none())]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn backup(args: &BackupArgs) -> Done {
    let from = match &args.data_dir {
        Some(dir) => readable_dir(dir)?,
        None => of_the_runtime(&args.remote)?,
    };
    let to = &args.backup;
    if fs::symlink_metadata(to).is_ok() {
        return Err(Failure::no(format!("{} is there already: name a directory that is not", to.display())));
    }
    // The backup gets its name when it is whole: until then it is called NAME.partial.
    let mut name = to.file_name().ok_or_else(|| Failure::usage("name the directory to make"))?.to_owned();
    name.push(".partial");
    let partial = to.with_file_name(name);
    make(&partial)?;
    let copied = copy_and_verify(&from, &partial);
    if copied.is_err() {
        remove(&partial);
    }
    let audit = copied?;
    fs::rename(&partial, to).and_then(|()| sync_parent(to)).map_err(|error| cannot_make(to, &error))?;
    report(&audit, to, "backed up", args.remote.json);
    Ok(())
}

pub(super) fn restore(args: &RestoreArgs) -> Done {
    let to = match &args.data_dir {
        Some(dir) => dir.clone(),
        None => Settings::of_environment(args.config.as_deref(), &[]).map_err(refused)?.data_dir(),
    };
    check_is_no_realm(&to)?;
    if journal::has_journal(&to) {
        let why = "has a journal already: move it away first, or name another directory with --data-dir";
        return Err(Failure::no(format!("{} {why}", to.display())));
    }
    drop(journal::open_to_read(&args.backup).map_err(Failure::no)?);
    let is_new = !to.exists();
    let held = DataDir::open(&to).map_err(Failure::no)?;
    let copied = copy_and_verify(&args.backup, held.path());
    if copied.is_err() {
        journal::remove_copied(held.path());
        if is_new {
            // The directory was made for the copy. If it cannot be removed, only the file `lock` may be left in it.
            let _ = fs::remove_file(held.path().join("lock")).and_then(|()| fs::remove_dir(held.path()));
        }
    }
    report(&copied?, &to, "restored", args.json);
    Ok(())
}

/// The data directory of the running runtime, if the runtime is on this machine.
fn of_the_runtime(remote: &Remote) -> Result<PathBuf, Failure> {
    let status = ask(&mut connect(remote)?, &Request::Status);
    let dir = PathBuf::from(answered!(status, Response::Status { data_dir, .. } => data_dir));
    match fs::metadata(dir.join("log")) {
        Ok(_) => Ok(dir),
        Err(error) => {
            let (dir, why) =
                (dir.display(), "make the backup on the machine of the runtime, as a user who may read it");
            Err(Failure::no(format!("the runtime's data directory {dir} cannot be read here ({error}): {why}")))
        }
    }
}

fn copy_and_verify(from: &Path, to: &Path) -> Result<Audit, Failure> {
    journal::copy(from, to).map_err(Failure::no)?;
    let audit = audit(to).map_err(Failure::no)?;
    if audit.findings.is_empty() {
        return Ok(audit);
    }
    audit.findings.iter().for_each(|finding| line(finding));
    let what = super::history::things_are_wrong(audit.findings.len());
    Err(Failure::no(format!("{}: {what}; no copy was kept", from.display())))
}

fn report(audit: &Audit, to: &Path, done: &str, json: bool) {
    let Audit { actors, events, .. } = audit;
    let bytes = journal::bytes_in(to);
    if json {
        let directory = to.display().to_string();
        print_json(&serde_json::json!({ "directory": directory, "actors": actors, "events": events, "bytes": bytes }));
    } else {
        say!("{done} and verified: {actors} actors, {events} events, {bytes} bytes, in {}", to.display());
    }
}

/// Creates the directory of a backup. If an earlier backup was killed, the files that it left there are removed, and no
/// others.
fn make(dir: &Path) -> Result<(), Failure> {
    remove(dir);
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    let made = parent.map_or(Ok(()), dirs::make_all);
    match made.and_then(|()| fs::DirBuilder::new().mode(0o700).create(dir)) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Failure::no(format!(
            "{} is there, and not only a backup that was broken off: move it away, or name another directory",
            dir.display()
        ))),
        made => made.map_err(|error| cannot_make(dir, &error)),
    }
}

fn remove(partial: &Path) {
    // A file that cannot be removed keeps the name NAME.partial, which says what it is.
    journal::remove_copied(partial);
    let _ = fs::remove_dir(partial);
}

fn sync_parent(dir: &Path) -> std::io::Result<()> {
    let parent = std::path::absolute(dir)?.parent().map(Path::to_owned).unwrap_or_default();
    fs::File::open(parent)?.sync_all()
}

fn cannot_make(dir: &Path, error: &std::io::Error) -> Failure {
    Failure::no(format!("cannot make {}: {error}", dir.display()))
}
