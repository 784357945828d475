//! Which host functions someone outside of the actor notices. Comparisons and tests look at these calls; the others only
//! read, or concern the actor alone.

/// The functions of Theater's own interfaces that nobody notices.
const UNNOTICED: [&str; 20] = [
    "ntwk:theater/clock.now",
    "ntwk:theater/config.get",
    "ntwk:theater/connections.connections",
    "ntwk:theater/deferred-replies.defer",
    "ntwk:theater/filesystem.list-files",
    "ntwk:theater/filesystem.path-exists",
    "ntwk:theater/filesystem.read-file",
    "ntwk:theater/random.bytes",
    "ntwk:theater/runtime.get-chain",
    "ntwk:theater/runtime.log",
    "ntwk:theater/streams.streams",
    "ntwk:theater/supervisor.get-child-events",
    "ntwk:theater/supervisor.get-child-state",
    "ntwk:theater/supervisor.list-children",
    "ntwk:theater/table.count",
    "ntwk:theater/table.delete",
    "ntwk:theater/table.get",
    "ntwk:theater/table.put",
    "ntwk:theater/table.scan",
    "ntwk:theater/timer.list",
];

/// Whether someone outside of the actor notices a call of this host function. That of an embedder's own handler may be noticed.
pub(crate) fn is_noticed(full: &str) -> bool {
    !UNNOTICED.contains(&full)
}
