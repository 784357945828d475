//! How often a system syncs, counted by `strace`, which stands between its processes and the kernel and makes them slow meanwhile.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::processes::{Processes, eventually};

const CALLS: &str = "trace=fsync,fdatasync,sync_file_range,syncfs,msync";

/// Counts syncs from now on; `None` without `strace`, or where it may not trace.
pub struct Counting {
    strace: Child,
    output: std::path::PathBuf,
}

impl Counting {
    pub fn begin(processes: &Processes, dir: &Path) -> io::Result<Option<Self>> {
        let output = dir.join("strace.out");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", CALLS, "-o"]).arg(&output);
        for id in processes.ids() {
            command.args(["-p", &id.to_string()]);
        }
        let Ok(mut strace) = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn() else { return Ok(None) };
        // It traces when each thread of each process says so.
        eventually("strace did not trace", || {
            !matches!(strace.try_wait(), Ok(None)) || processes.ids().all(|id| is_traced(id).unwrap_or(true))
        })?;
        let is_there = matches!(strace.try_wait(), Ok(None));
        Ok(is_there.then_some(Self { strace, output }))
    }

    /// Stops counting. How often one of the calls was made and did its work.
    pub fn end(mut self) -> io::Result<usize> {
        let id = rustix::process::Pid::from_child(&self.strace);
        rustix::process::kill_process(id, rustix::process::Signal::INT)?;
        self.strace.wait()?;
        // A call that another thread interrupts has a second line, which says "resumed".
        Ok(std::fs::read_to_string(&self.output)?.lines().filter(|line| line.trim_end().ends_with("= 0")).count())
    }
}

fn is_traced(id: u32) -> io::Result<bool> {
    for thread in std::fs::read_dir(format!("/proc/{id}/task"))? {
        let status = std::fs::read_to_string(thread?.path().join("status"))?;
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
        if tracer.is_none_or(|tracer| tracer.trim() == "0") {
            return Ok(false);
        }
    }
    Ok(true)
}
