//! What a guest says before it traps: the message of a Rust panic, the stack trace of an exception.
//!
//! A trap itself has no message. But the panic hook of Rust, the library for TypeScript, and the interpreter of Python log
//! one before. These lines are host calls on the chain, so a replay hears them too.

/// The most bytes of a message that a failure repeats.
const LAST_WORDS_BYTES: usize = 4096;

/// The beginnings of a message: of an exception in TypeScript, and in Python.
const EXCEPTIONS: [&str; 2] = ["uncaught ", "Traceback (most recent call last)"];
/// In the first line of a Rust panic. An interpreter written in Rust panics *after* the exception that ended the actor's code.
const PANIC: &str = "panicked at ";

/// The message that the running call has logged about its own end.
#[derive(Default)]
pub(crate) struct LastWords {
    text: String,
    is_complete: bool,
}

impl LastWords {
    /// Notes that a call begins, which has said nothing.
    pub(super) fn forget(&mut self) {
        self.text.clear();
        self.is_complete = false;
    }

    /// Hears a line that the guest logs.
    pub(crate) fn hear(&mut self, line: &str) {
        if EXCEPTIONS.iter().any(|beginning| line.starts_with(beginning)) {
            self.forget();
            self.add(line);
        } else if line.contains(PANIC) {
            if self.text.is_empty() {
                self.add(line);
            }
            self.is_complete = true;
        } else if !self.text.is_empty() && !self.is_complete {
            self.add(line);
        }
    }

    fn add(&mut self, line: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(line);
        self.text.truncate(self.text.floor_char_boundary(LAST_WORDS_BYTES));
    }

    /// The detail of a failure by a trap: the message, and then the name of the trap.
    pub(super) fn before(&self, trap: String) -> String {
        if self.text.is_empty() { trap } else { format!("{} ({trap})", self.text) }
    }
}

/// Whether a failure is the recorded one. Earlier versions recorded the name of the trap alone.
pub(crate) fn is_the_recorded_detail(recorded: &str, detail: &str) -> bool {
    let trap = detail.strip_suffix(')').and_then(|said| said.strip_suffix(recorded));
    recorded == detail || trap.is_some_and(|said| said.ends_with(" ("))
}

/// The name of the trap in the detail of a failure. What the guest has said names lines of its source, and these are
/// other ones in each build.
pub(crate) fn trap_alone(detail: &str) -> &str {
    let first = detail.lines().next().unwrap_or_default();
    let is_said = first.contains(PANIC) || EXCEPTIONS.iter().any(|beginning| first.starts_with(beginning));
    let trap = detail.strip_suffix(')').and_then(|said| said.rsplit_once(" ("));
    trap.filter(|_| is_said).map_or(detail, |(_, trap)| trap)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[&str]) -> String {
        let mut words = LastWords::default();
        lines.iter().for_each(|line| words.hear(line));
        words.before("Trap".to_owned())
    }

    #[test]
    fn a_failure_says_what_the_guest_has_said_before_it_trapped() {
        assert_eq!(said(&["panicked at src/lib.rs:3:5:\nboom"]), "panicked at src/lib.rs:3:5:\nboom (Trap)");
        let exception =
            ["uncaught Error: boom", "    at charge (src/till.ts:30)", "thread '<unnamed>' panicked at x", "y"];
        assert_eq!(said(&exception), "uncaught Error: boom\n    at charge (src/till.ts:30) (Trap)");
        let chained =
            ["Traceback (most recent call last):", "KeyError", "", "Traceback (most recent call last):", "ValueError"];
        assert_eq!(said(&chained), "Traceback (most recent call last):\nValueError (Trap)");
    }

    #[test]
    fn other_lines_are_not_repeated() {
        assert_eq!(said(&["a transfer begins", "it goes on"]), "Trap");
        assert_eq!(said(&[]), "Trap");
    }

    #[test]
    fn a_long_message_is_cut_between_two_characters() {
        let long = format!("panicked at {}", "ä".repeat(LAST_WORDS_BYTES));
        assert_eq!(said(&[&long]).len(), LAST_WORDS_BYTES + " (Trap)".len());
    }

    #[test]
    fn another_build_that_traps_in_another_line_traps_alike() {
        assert_eq!(trap_alone("panicked at src/lib.rs:3:5:\nboom (Trap)"), "Trap");
        assert_eq!(trap_alone("uncaught Error: boom (Trap)"), "Trap");
        assert_eq!(trap_alone("expected a list (of numbers)"), "expected a list (of numbers)");
    }

    #[test]
    fn the_trap_alone_is_what_earlier_versions_recorded() {
        assert!(is_the_recorded_detail("Trap", "boom (Trap)"));
        assert!(is_the_recorded_detail("boom (Trap)", "boom (Trap)"));
        assert!(!is_the_recorded_detail("Trap", "boom (Other)"));
        assert!(!is_the_recorded_detail("rap", "boom (Trap)"));
        assert!(!is_the_recorded_detail("boom (Trap)", "bang (Trap)"));
    }
}
