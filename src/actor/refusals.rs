//! Refusals of exports in the log: the first `Err`s of each export in an incarnation are logged with their text,
//! because an actor that refuses every message runs on and never fails. Further refusals are only counted.

use crate::chain::Function;

/// How many refusals of each export are logged.
const TOLD: u32 = 3;
/// How many bytes of a refusal's text are logged.
const SHOWN_BYTES: usize = 500;

/// How often each export has refused in this incarnation.
pub(super) struct Refusals {
    actor: String,
    counts: Vec<(&'static str, u32)>,
}

impl Refusals {
    pub(super) fn of(actor: &str) -> Self {
        Self { actor: actor.to_owned(), counts: Vec::new() }
    }

    /// Counts a refusal of an export, and returns the line to log, if this refusal is to be logged.
    pub(super) fn told(&mut self, function: &'static Function, message: &str) -> Option<String> {
        let at = self.counts.iter().position(|(name, _)| *name == function.full).unwrap_or_else(|| {
            self.counts.push((function.full, 0));
            self.counts.len() - 1
        });
        let count = &mut self.counts[at].1;
        *count = count.saturating_add(1);
        let more = match *count {
            ..TOLD => "",
            TOLD => " (its further refusals are only counted: see \"theater top\")",
            _ => return None,
        };
        let shown = &message[..message.floor_char_boundary(SHOWN_BYTES)];
        let cut = if shown.len() < message.len() { "…" } else { "" };
        Some(format!("actor {} refused {}: {shown}{cut}{more}", self.actor, function.full))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::function;

    const ONE: &Function = function!("ntwk:theater/http-server", "handle-request");
    const OTHER: &Function = function!("ntwk:theater/message-server-client", "handle-send");

    #[test]
    fn the_first_refusals_of_each_export_are_told_and_no_flood_of_them() {
        let mut refusals = Refusals::of("tally");
        let first = refusals.told(ONE, "the state is not of type Tally").expect("it is told");
        let expected = "actor tally refused ntwk:theater/http-server.handle-request: the state is not of type Tally";
        assert_eq!(first, expected);
        assert!(refusals.told(ONE, "no").is_some());
        assert!(refusals.told(ONE, "no").is_some_and(|told| told.contains("only counted")));
        assert!((0..1_000).all(|_| refusals.told(ONE, "no").is_none()));
        assert!(refusals.told(OTHER, "no").is_some(), "another export is told of anew");
        let long = Refusals::of("tally").told(ONE, &"ä".repeat(10_000)).expect("it is told");
        assert!(long.len() < 700 && long.ends_with('…'), "{} bytes", long.len());
    }
}
