//! A dry run of an upgrade: on a thread of its own, because guests need the stack, while the asker waits.

use std::sync::Arc;

use crate::actor::{self, OtherBuild, Recording, Spec};
use crate::base::thread;
use crate::base::wait;
use crate::guest::{GuestEngine, THREAD_STACK_BYTES};
use crate::journal::{ActorKey, JournalDown, JournalHandle};
use crate::system::{DryRun, LifecycleError};

/// Makes the newest calls of an actor again under `spec`, at most `last` of them.
pub(super) fn dry_run(
    engine: &Arc<GuestEngine>,
    journal: &JournalHandle,
    actor: ActorKey,
    spec: &Spec,
    last: u64,
) -> Result<DryRun, LifecycleError> {
    journal.flush().map_err(|JournalDown| JournalDown.to_string())?;
    let reader = journal.reader().map_err(|error| error.to_string())?;
    let from = reader.nth_last_call(actor, last).map_err(|error| error.to_string())?;
    let Some(from) = from else { return Ok(DryRun::default()) };
    // The actor goes on meanwhile: what it does from here on is not looked at.
    let head = reader.head(actor).map_err(|error| error.to_string())?;
    let upto = head.map_or(from, |head| head.sequence);
    let recording = Recording::of_journal(reader, actor);
    let component = Arc::clone(spec.program.component());
    let build =
        OtherBuild { config: Some(spec.manifest.plain_values.all()), limits: Some(Arc::clone(&spec.manifest.limits)) };
    let (engine, (to, found)) = (Arc::clone(engine), crossbeam_channel::bounded(1));
    let thread = thread::spawn_sized("dry-run", THREAD_STACK_BYTES, move || {
        let _ = to.send(actor::dry_run(&engine, &recording, (&component, build), from..=upto));
    });
    let thread = thread.map_err(|error| format!("no thread for the dry run: {error}"))?;
    thread.join().map_err(|panic| panic.to_string())?;
    let found = wait::receive(&found).map_err(|_| "the dry run was given up")?;
    found.map_err(|error| error.to_string().into())
}
