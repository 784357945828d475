//! Answers about health: 200 if all is well, else 503 with the reasons, one a line.

use crate::base::limits::LOG_LINE_CHARS;
use crate::base::text::one_line;
use crate::net::http::WireResponse;
use crate::system::TheaterHandle;
use crate::theater::HealthCheck;

/// The reasons that one answer names: a runtime may have thousands of roots.
const REASONS: usize = 100;

/// The theater whose health is asked for.
pub(super) enum Subject<'a> {
    /// There is none, because another node owns the realm; the text says which.
    Elsewhere(String),
    /// The journal is being opened, or the actors are being read.
    Nothing,
    /// Its actors are being started.
    Starting(&'a TheaterHandle),
    Started(&'a TheaterHandle),
}

/// Whether the process works. One that starts works, however long that takes.
pub(super) fn liveness(subject: &Subject<'_>, verbose: bool) -> WireResponse {
    match subject {
        Subject::Elsewhere(owner) => told(&[HealthCheck::well("realm", owner.as_str())], verbose),
        Subject::Nothing | Subject::Starting(_) => told(&[HealthCheck::well("start", STARTING)], verbose),
        Subject::Started(theater) => told(&theater.liveness(), verbose),
    }
}

/// Whether the runtime can do its work.
pub(super) fn readiness(subject: &Subject<'_>, verbose: bool) -> WireResponse {
    let starting = HealthCheck::ill("start", STARTING);
    match subject {
        Subject::Elsewhere(owner) => told(&[HealthCheck::ill("realm", owner.as_str())], verbose),
        Subject::Nothing => told(&[starting], verbose),
        Subject::Starting(theater) => told(&[vec![starting], theater.readiness()].concat(), verbose),
        Subject::Started(theater) => {
            let started = HealthCheck::well("start", "every start is done");
            told(&[vec![started], theater.readiness()].concat(), verbose)
        }
    }
}

const STARTING: &str = "the runtime is starting: its actors are not all up yet";

fn told(checks: &[HealthCheck], verbose: bool) -> WireResponse {
    let is_well = checks.iter().all(|check| check.is_well);
    let shown: Vec<&HealthCheck> = checks.iter().filter(|check| verbose || !check.is_well).collect();
    // What an actor has failed by is a text of its own, of any length.
    let line = |check: &&HealthCheck| {
        let found = one_line(&check.found, LOG_LINE_CHARS);
        match (verbose, check.is_well) {
            (true, true) => format!("[+] {}: {found}", check.name),
            (true, false) => format!("[-] {}: {found}", check.name),
            (false, _) => found,
        }
    };
    let mut lines: Vec<String> = shown.iter().take(REASONS).map(line).collect();
    if shown.len() > REASONS {
        lines.push(format!("and {} more", shown.len() - REASONS));
    }
    if is_well && !verbose {
        lines.push("ok".to_owned());
    }
    WireResponse::text(if is_well { 200 } else { 503 }, &lines.join("\n"), &[("Cache-Control", "no-store")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_and_with_verbose_every_check() {
        let checks = [HealthCheck::well("disk", "room"), HealthCheck::ill("roots", "root a has failed: x\n\u{1b}[31m")];
        let expected = WireResponse::text(503, "root a has failed: x\\n\u{fffd}[31m", &[("Cache-Control", "no-store")]);
        assert_eq!(told(&checks, false), expected);
        let all = "[+] disk: room\n[-] roots: root a has failed: x\\n\u{fffd}[31m";
        assert_eq!(told(&checks, true), WireResponse::text(503, all, &[("Cache-Control", "no-store")]));
        assert_eq!(told(&checks[..1], false), WireResponse::text(200, "ok", &[("Cache-Control", "no-store")]));
    }

    #[test]
    fn of_very_many_reasons_some_are_told_and_the_others_are_counted() {
        let checks: Vec<_> =
            (0..REASONS + 7).map(|n| HealthCheck::ill("roots", format!("root {n} has failed"))).collect();
        let lines: Vec<String> = (0..REASONS).map(|n| format!("root {n} has failed")).collect();
        let expected = format!("{}\nand 7 more", lines.join("\n"));
        assert_eq!(told(&checks, false), WireResponse::text(503, &expected, &[("Cache-Control", "no-store")]));
    }
}
