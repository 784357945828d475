//! Limits that the machine sets this process: addresses (`ulimit -v`), memory and tasks of its control groups (v1 and v2, the
//! process's own and all above it), and the threads of its user.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit, getuid};

/// How much of something a control group grants, and how much of that is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    /// The file that sets the limit.
    pub(crate) file: PathBuf,
    pub(crate) limit: u64,
    pub(crate) used: u64,
}

/// The kernel reports a number above this if there is no limit.
const NO_LIMIT: u64 = 1 << 60;

/// What the machine is called; empty where the system does not say.
pub(crate) fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// How many bytes of addresses this process may have (`ulimit -v`); none if that is not limited.
pub(crate) fn address_limit() -> Option<u64> {
    getrlimit(Resource::As).current
}

/// How many tasks each control group of this process may have; the process's own group comes first.
pub(crate) fn tasks_granted() -> Vec<Granted> {
    granted("pids", &[("pids.max", "pids.current")])
}

/// How many bytes of memory each control group of this process may have; the process's own group comes first.
pub(crate) fn memory_granted() -> Vec<Granted> {
    granted("memory", &[("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")])
}

/// How many threads all processes of this process's user have, this one included: what `ulimit -u` counts.
pub(crate) fn threads_of_the_user() -> u64 {
    threads_of(Path::new("/proc"), getuid().as_raw())
}

/// How many threads there are on the whole machine.
pub(crate) fn threads_of_all() -> u64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let running = load.split_whitespace().nth(3).and_then(|field| field.split_once('/'));
    running.and_then(|(_, all)| all.parse().ok()).unwrap_or(0)
}

fn threads_of(proc: &Path, user: u32) -> u64 {
    let processes = fs::read_dir(proc).into_iter().flatten().flatten();
    let statuses = processes.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|c| c.is_ascii_digit()));
    // A process may end after it was listed and before its threads are counted.
    let statuses = statuses.filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok());
    let field = |status: &str, name: &str| -> Option<u64> {
        status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
    };
    let of_the_user = statuses.filter(|status| field(status, "Uid:") == Some(u64::from(user)));
    of_the_user.filter_map(|status| field(&status, "Threads:")).sum()
}

fn granted(controller: &str, files: &[(&str, &str)]) -> Vec<Granted> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let directories = directories(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"), controller);
    directories.iter().flat_map(|directory| limits_of(directory, files)).collect()
}

fn limits_of(directory: &Path, files: &[(&str, &str)]) -> Vec<Granted> {
    let number = |file: &Path| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let limits = files.iter().filter_map(|(limit, used)| {
        let file = directory.join(limit);
        // "max" is not a number, and means that there is no limit.
        let limit = number(&file).filter(|limit| *limit < NO_LIMIT)?;
        Some(Granted { file, limit, used: number(&directory.join(used)).unwrap_or(0) })
    });
    limits.collect()
}

/// The directories of the control groups in which `controller` may limit a process: the process's own group, then each group
/// above it, as far as they are mounted here. `membership` is `/proc/self/cgroup`, `mounts` is `/proc/self/mountinfo`.
fn directories(membership: &str, mounts: &str, controller: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let is_unified = controllers.is_empty();
        if !is_unified && !controllers.split(',').any(|one| one == controller) {
            continue;
        }
        let mut mounted = mounts.lines().filter_map(mount_of_groups);
        // Of several mounts at one place, the last one is seen.
        let mount = mounted.rfind(|mount| mount.serves(is_unified, controller));
        found.extend(mount.iter().flat_map(|mount| mount.path_from(path)));
    }
    found
}

/// Where a hierarchy of control groups is mounted.
struct Mount<'a> {
    /// The group of the hierarchy that is seen at the mount point.
    root: &'a str,
    point: &'a str,
    is_unified: bool,
    options: &'a str,
}

/// Reads a line of the form `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS … - TYPE SOURCE SUPEROPTIONS`.
fn mount_of_groups(line: &str) -> Option<Mount<'_>> {
    let (before, behind) = line.split_once(" - ")?;
    let (before, behind): (Vec<&str>, Vec<&str>) = (before.split(' ').collect(), behind.split(' ').collect());
    let is_unified = match *behind.first()? {
        "cgroup2" => true,
        "cgroup" => false,
        _ => return None,
    };
    Some(Mount { root: before.get(3)?, point: before.get(4)?, is_unified, options: behind.get(2).copied()? })
}

impl Mount<'_> {
    fn serves(&self, is_unified: bool, controller: &str) -> bool {
        self.is_unified == is_unified && (is_unified || self.options.split(',').any(|option| option == controller))
    }

    /// The directory of the group `path`, and each directory above it up to the mount point. In a container, the path
    /// may lead out of the mounted directory: then the mount point itself is taken.
    fn path_from(&self, path: &str) -> Vec<PathBuf> {
        let below = match path.strip_prefix(self.root.trim_end_matches('/')) {
            Some(below) if !below.split('/').any(|part| part == "..") => below.trim_start_matches('/'),
            Some(_) | None => "",
        };
        let point = Path::new(self.point);
        let own = if below.is_empty() { point.to_owned() } else { point.join(below) };
        own.ancestors().take_while(|directory| directory.starts_with(point)).map(Path::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIFIED: &str = "25 23 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    const SPLIT: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        39 31 0:36 /docker/abc /sys/fs/cgroup/pids rw shared:3 - cgroup cgroup rw,pids\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    fn paths(membership: &str, mounts: &str, controller: &str) -> Vec<String> {
        directories(membership, mounts, controller).iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn every_group_on_the_way_up_limits_the_process() {
        let found = paths("0::/system.slice/theater.service\n", UNIFIED, "pids");
        let root = "/sys/fs/cgroup";
        assert_eq!(
            found,
            [format!("{root}/system.slice/theater.service"), format!("{root}/system.slice"), root.into()]
        );
    }

    #[test]
    fn groups_of_version_1_have_a_hierarchy_for_each_controller() {
        let membership = "9:name=systemd:/\n8:pids:/docker/abc/inner\n4:memory,cpu:/user\n0::/\n";
        let pids = paths(membership, SPLIT, "pids");
        assert_eq!(pids, ["/sys/fs/cgroup/pids/inner", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified"]);
        let memory = paths(membership, SPLIT, "memory");
        assert_eq!(memory[..2], ["/sys/fs/cgroup/memory/user", "/sys/fs/cgroup/memory"]);
    }

    #[test]
    fn a_container_that_sees_only_its_own_group_finds_it_at_the_mount_point() {
        assert_eq!(paths("0::/../../elsewhere\n", UNIFIED, "pids"), ["/sys/fs/cgroup"]);
        assert!(paths("nonsense\n0::\n", "nonsense", "pids").is_empty());
    }

    #[test]
    fn a_limit_is_read_with_what_is_used_and_max_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("a file");
        write("pids.max", "4915\n");
        write("pids.current", "17\n");
        write("memory.max", "max\n");
        write("memory.limit_in_bytes", "9223372036854771712\n");
        let of = |files: &[(&str, &str)]| limits_of(dir.path(), files);
        let pids = Granted { file: dir.path().join("pids.max"), limit: 4_915, used: 17 };
        assert_eq!(of(&[("pids.max", "pids.current")]), [pids]);
        assert!(of(&[("memory.max", "memory.current"), ("memory.limit_in_bytes", "x")]).is_empty());
    }

    #[test]
    fn threads_are_counted_of_one_user_alone() {
        let proc = tempfile::tempdir().expect("a directory");
        for (pid, uid, threads) in [("1", 0, 3), ("20", 7, 5), ("21", 7, 6), ("self", 7, 100)] {
            std::fs::create_dir(proc.path().join(pid)).expect("a directory");
            let status = format!("Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nThreads:\t{threads}\n");
            std::fs::write(proc.path().join(pid).join("status"), status).expect("a file");
        }
        assert_eq!((threads_of(proc.path(), 7), threads_of(proc.path(), 0)), (11, 3));
        assert!(threads_of_the_user() >= 1);
    }
}
