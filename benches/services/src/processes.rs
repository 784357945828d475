//! The processes of a system: what they take of memory and CPU, and their sudden end.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::PATIENCE;

/// All processes of a running system. They are killed when this is dropped.
#[derive(Default)]
pub struct Processes(Vec<Child>);

impl Processes {
    /// Starts one more, whose standard error goes to a file in `dir`, and returns the first line of its standard output for which
    /// `wanted` says something.
    pub fn start<T>(
        &mut self,
        command: &mut Command,
        dir: &Path,
        mut wanted: impl FnMut(&str) -> Option<T>,
    ) -> io::Result<T> {
        let mut child = self.spawn(command, dir, Stdio::piped())?;
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let found = lines.by_ref().map_while(Result::ok).find_map(|line| wanted(&line));
        // Whoever writes to a pipe that nobody reads gets an error or waits.
        std::thread::spawn(move || lines.for_each(drop));
        self.0.push(child);
        found.ok_or_else(|| {
            io::Error::other(format!("{command:?} ended before it was ready: see its standard error above"))
        })
    }

    /// The same for a process that says nothing.
    pub fn start_silent(&mut self, command: &mut Command, dir: &Path) -> io::Result<()> {
        let child = self.spawn(command, dir, Stdio::null())?;
        self.0.push(child);
        Ok(())
    }

    fn spawn(&self, command: &mut Command, dir: &Path, stdout: Stdio) -> io::Result<Child> {
        let child = command.current_dir(dir).stdin(Stdio::null()).stdout(stdout).spawn();
        child.map_err(|why| io::Error::new(why.kind(), format!("cannot start {:?}: {why}", command.get_program())))
    }

    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(Child::id)
    }

    /// Resident bytes, with what processes share divided among them.
    pub fn memory(&self) -> io::Result<u64> {
        self.ids().map(|id| Ok(kib(&fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?, "Pss:") * 1024)).sum()
    }

    /// CPU time that they have taken so far.
    pub fn cpu(&self) -> io::Result<Duration> {
        let ticks_of = |id: u32| {
            let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
            // The name of a process, in parentheses, may hold spaces.
            let (_, fields) = stat.rsplit_once(')').expect("a name");
            let fields: Vec<&str> = fields.split_whitespace().collect();
            let ticks = |field: usize| fields[field].parse::<u64>().expect("a number");
            io::Result::Ok(ticks(11) + ticks(12))
        };
        let ticks = self.ids().map(ticks_of).sum::<io::Result<u64>>()?;
        Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    /// `kill -9` for each of them, at once.
    pub fn kill(&mut self) {
        for child in &mut self.0 {
            // One that has ended already is as good.
            let _ = child.kill();
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
        self.0.clear();
    }

    /// Whether one has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.0.iter_mut().any(|child| !matches!(child.try_wait(), Ok(None)))
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.kill();
    }
}

fn kib(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("a field");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

/// Waits until `is_so` holds. The error says what it waited for.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) -> io::Result<()> {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("{what} within {} s", PATIENCE.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Bytes of all files below a directory, as the disk holds them.
pub fn bytes_below(dir: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        bytes += match entry.metadata() {
            Ok(data) if data.is_dir() => bytes_below(&entry.path())?,
            Ok(data) => data.blocks() * 512,
            // The system runs, and removes files.
            Err(why) if why.kind() == io::ErrorKind::NotFound => 0,
            Err(why) => return Err(why),
        };
    }
    Ok(bytes)
}
