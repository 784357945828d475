//! Health: whether a runtime works, and whether it is ready for work. Nothing here waits for a disk.

use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::base::wait;
use crate::system::{ActorInfo, ActorStatus, TheaterHandle};

/// How long the supervisor may take to answer. It waits for nobody, so it answers at once unless it hangs.
const SUPERVISOR_PATIENCE: Duration = Duration::from_secs(5);
/// A node beats twice a second; the shortest lease is one second.
const REALM_PATIENCE: Duration = Duration::from_millis(1_500);
/// A commit that takes longer than this is one of a disk that hangs.
const COMMIT_PATIENCE: Duration = Duration::from_secs(10);

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthCheck {
    pub(crate) name: &'static str,
    /// What was found.
    pub(crate) found: String,
    pub(crate) is_well: bool,
}

impl HealthCheck {
    pub(crate) fn well(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, found: found.into(), is_well: true }
    }

    pub(crate) fn ill(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, found: found.into(), is_well: false }
    }
}

impl TheaterHandle {
    /// Whether the process works: if it does not, only a new process helps. A disk that hangs is no reason.
    pub(crate) fn liveness(&self) -> Vec<HealthCheck> {
        let supervisor = supervisor(&self.control.ping(), SUPERVISOR_PATIENCE);
        let writer = if self.journal.is_up() {
            HealthCheck::well("journal", "the writer of the journal lives")
        } else {
            HealthCheck::ill("journal", "the journal takes no more events: the log says why")
        };
        vec![supervisor, writer]
    }

    /// Whether the runtime can do its work.
    pub(crate) fn readiness(&self) -> Vec<HealthCheck> {
        let mut checks = vec![self.going_on(), self.journal_at_work(), self.disk()];
        let roots = self.registry.roots();
        let failed = roots.iter().filter_map(failure_of_root);
        let failed: Vec<_> = failed.map(|found| HealthCheck::ill("roots", found)).collect();
        if failed.is_empty() {
            let alive = roots.iter().filter(|root| root.status.is_alive()).count();
            let found = format!("{alive} of {} root actors are alive, and none has failed", roots.len());
            checks.push(HealthCheck::well("roots", found));
        }
        checks.extend(failed);
        checks.extend(self.realm());
        checks
    }

    /// Whether the database of the realm was heard lately: while it is not, another node may take the realm.
    fn realm(&self) -> Option<HealthCheck> {
        let silent = self.journal.shared_log_silent_for()?;
        Some(if silent < REALM_PATIENCE {
            HealthCheck::well("realm", "this node owns the realm")
        } else {
            let why = format!(
                "the database of the realm was not heard for {} s: another node may own the realm",
                silent.as_secs()
            );
            HealthCheck::ill("realm", why)
        })
    }

    fn going_on(&self) -> HealthCheck {
        if self.registry.is_suspending() {
            HealthCheck::ill("runtime", "the runtime is shutting down")
        } else {
            HealthCheck::well("runtime", "the runtime takes work")
        }
    }

    fn journal_at_work(&self) -> HealthCheck {
        if !self.journal.is_up() {
            return HealthCheck::ill("journal", "the journal takes no more events: the log says why");
        }
        match self.journal.commit_under_way().filter(|taken| *taken > COMMIT_PATIENCE) {
            Some(taken) => {
                let why = format!("a commit has taken {} s so far: the disk is slow, or hangs", taken.as_secs());
                HealthCheck::ill("journal", why)
            }
            None => HealthCheck::well("journal", "the journal commits"),
        }
    }

    fn disk(&self) -> HealthCheck {
        match self.journal.has_room() {
            Ok(()) => HealthCheck::well("disk", "the disk has room"),
            Err(low) => HealthCheck::ill("disk", low.to_string()),
        }
    }
}

fn supervisor(answer: &Receiver<()>, patience: Duration) -> HealthCheck {
    match wait::receive_within(answer, patience) {
        Ok(()) => HealthCheck::well("supervisor", "the supervisor answers"),
        Err(_) => {
            let why = format!("the supervisor has not answered within {} ms", patience.as_millis());
            HealthCheck::ill("supervisor", why)
        }
    }
}

/// What a root has failed by, if it has. One that is about to be restarted has not.
fn failure_of_root(root: &ActorInfo) -> Option<String> {
    match &root.status {
        ActorStatus::Failed { reason, detail } => Some(format!("root {} has failed: {reason}: {detail}", root.name)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_that_does_not_answer_is_waited_for_no_longer_than_its_time() {
        let (reply, answer) = crossbeam_channel::bounded(1);
        let ill = supervisor(&answer, Duration::from_millis(1));
        assert_eq!((ill.is_well, &*ill.found), (false, "the supervisor has not answered within 1 ms"));
        reply.send(()).expect("room");
        assert!(supervisor(&answer, Duration::from_millis(1)).is_well);
        drop(reply);
        assert!(!supervisor(&answer, Duration::MAX).is_well, "it is gone");
    }
}
