//! `theater doctor`: how many actors this machine has room for, and which settings limit that: kernel settings,
//! `ulimit`s, control groups, memory.

use std::path::PathBuf;

use clap::Args;
use rustix::process::{Resource, getrlimit};

use super::config::refused;
use super::show::{line, print_json};
use super::{Done, Failure, file_or_none};
use crate::base::machine::{self, Granted};
use crate::config::Settings;
use crate::theater::bounds;

#[derive(Args)]
pub(super) struct DoctorArgs {
    /// How many actors the machine should have room for
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    actors: u64,
    /// The configuration file, which says how many connections there may be [default: theater.toml, if it exists]
    #[arg(long, value_name = "FILE", env = "THEATER_CONFIG", value_parser = file_or_none())]
    config: Option<PathBuf>,
    /// Look at the database servers of a cluster instead: postgres://user@host,host/database
    #[arg(long, value_name = "URL", conflicts_with = "actors")]
    cluster: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Open files that the runtime needs whatever actors it has: the journal, the binary, the standard streams.
const RESERVED_FILES: u64 = 64;
/// Open files of one actor with a listener: the listener and two connections.
const FILES_EACH: u64 = 3;
/// Resident memory of an idle actor: 34 KiB were measured (thread, registry entry, mailbox), and its state comes to that.
const RESIDENT_EACH: u64 = 64 * 1024;
/// Resident memory of a runtime without actors.
const RESIDENT_RESERVED: u64 = 128 * 1024 * 1024;

/// One setting of the machine that limits the number of actors.
#[derive(serde::Serialize)]
struct Check {
    setting: String,
    value: u64,
    needed: u64,
    /// How many actors it allows.
    holds: u64,
    enough: bool,
    /// What to do if that is not enough.
    remedy: Option<String>,
}

impl Check {
    fn new(
        setting: &str,
        value: u64,
        (reserved, each): (u64, u64),
        wanted: u64,
        remedy: &dyn Fn(u64) -> String,
    ) -> Self {
        let needed = wanted.saturating_mul(each).saturating_add(reserved);
        let enough = value >= needed;
        let remedy = (!enough).then(|| remedy(needed));
        Self { setting: setting.into(), value, needed, holds: value.saturating_sub(reserved) / each, enough, remedy }
    }
}

pub(super) fn doctor(args: &DoctorArgs) -> Done {
    if let Some(url) = &args.cluster {
        return super::cluster::examine(url, args.config.as_deref(), args.json);
    }
    let settings = Settings::of_environment(args.config.as_deref(), &[]).map_err(refused)?;
    let checks = checks(args.actors, settings.management_limits().connections as u64);
    let holds = checks.iter().map(|check| check.holds).min().unwrap_or(0);
    let lacking: Vec<&Check> = checks.iter().filter(|check| !check.enough).collect();
    if args.json {
        let (wanted, enough) = (args.actors, lacking.is_empty());
        print_json(&serde_json::json!({ "wanted": wanted, "holds": holds, "enough": enough, "checks": checks }));
    } else {
        let width = checks.iter().map(|check| check.setting.len()).max().unwrap_or(0).max(24);
        line(&format!("{:<width$} {:>16} {:>16} {:>14}", "SETTING", "VALUE", "NEEDED", "ACTORS"));
        for Check { setting, value, needed, holds, enough, .. } in &checks {
            let (value, holds) = (or_unlimited(*value), or_unlimited(*holds));
            let lacks = if *enough { "" } else { "  too low" };
            line(&format!("{setting:<width$} {value:>16} {needed:>16} {holds:>14}{lacks}"));
        }
        let holds = or_unlimited(holds);
        line(&format!("\nthis machine holds {holds} actors that are awake; {} are wanted", args.actors));
        lacking.iter().filter_map(|check| check.remedy.as_ref()).for_each(|remedy| line(&format!("  {remedy}")));
        if !lacking.is_empty() {
            line("  or let actors sleep while they have nothing to do: \"sleep_after_ms\" (docs/manifest.md)");
        }
    }
    if lacking.is_empty() { Ok(()) } else { Err(Failure::no(format!("too small for {} actors", args.actors))) }
}

fn or_unlimited(value: u64) -> String {
    if value > u64::MAX / 4 { "unlimited".into() } else { value.to_string() }
}

/// The findings for `actors` actors and the configured number of management connections.
fn checks(wanted: u64, connections: u64) -> Vec<Check> {
    let mut checks: Vec<Check> = bounds()
        .into_iter()
        .map(|bound| {
            let remedy = |needed| remedy(&bound.setting, needed);
            Check::new(&bound.setting, bound.value, (bound.reserved, bound.each), wanted, &remedy)
        })
        .collect();
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let remedy_of_files = |needed| {
        format!("ulimit -n {needed}, as root, or LimitNOFILE={needed} in the service's unit (with a listener each)")
    };
    let reserved = RESERVED_FILES + connections;
    checks.push(Check::new("ulimit -H -n (files)", files, (reserved, FILES_EACH), wanted, &remedy_of_files));
    let costs = (RESIDENT_RESERVED, RESIDENT_EACH);
    if let Some(memory) = available_memory() {
        let remedy = |needed: u64| format!("have {} MiB of memory free", needed.div_ceil(1024 * 1024));
        checks.push(Check::new("available memory (bytes)", memory, costs, wanted, &remedy));
    }
    for Granted { file, limit, used } in machine::memory_granted() {
        let costs = (costs.0.saturating_add(used), costs.1);
        let setting = file.display().to_string();
        let remedy = |needed: u64| {
            let mib = needed.div_ceil(1024 * 1024);
            format!("MemoryMax={mib}M in the service's unit, or the container's limit of memory (--memory {mib}m)")
        };
        checks.push(Check::new(&setting, limit, costs, wanted, &remedy));
    }
    checks
}

fn remedy(setting: &str, needed: u64) -> String {
    match setting {
        "ulimit -u" => format!("ulimit -u {needed}, as root, or LimitNPROC={needed} in the service's unit"),
        "ulimit -v" => {
            let kib = needed.div_ceil(1024);
            format!("ulimit -v {kib}, as root, or LimitAS={kib}K in the service's unit (with all at work at once)")
        }
        group if group.starts_with('/') => {
            format!(
                "TasksMax={needed} in the service's unit, or the container's limit of processes (--pids-limit {needed}): {group}"
            )
        }
        sysctl => format!("sysctl -w {sysctl}={needed}, and the same line in /etc/sysctl.d to keep it"),
    }
}

/// Memory that could be used without swapping.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_low_is_named_with_what_to_do() {
        let remedy = |needed| remedy("vm.max_map_count", needed);
        let check = Check::new("vm.max_map_count", 65_530, (12_000, 6), 10_000, &remedy);
        assert_eq!((check.needed, check.holds, check.enough), (72_000, 8_921, false));
        assert!(check.remedy.expect("it is too low").starts_with("sysctl -w vm.max_map_count=72000"));
        assert!(Check::new("vm.max_map_count", 65_530, (12_000, 6), 8_921, &remedy).enough);
    }
}
