//! The log of `theater run`, on standard error. One record is one line, whatever characters a guest puts into it.

use std::backtrace::BacktraceStatus;
use std::io::Write;

use env_logger::{Target, WriteStyle};
use log::LevelFilter;

use super::{show, stderr};
use crate::base::limits::LOG_LINE_CHARS;

/// Whether a filter lets no record of Theater through although it does not say `off`. A misspelt level is read as the name
/// of a module, and silences everything.
fn lets_nothing_through(filter: &str) -> bool {
    let directives = filter.split('/').next().unwrap_or_default().split(',').map(str::trim);
    let mut directives = directives.filter(|directive| !directive.is_empty()).peekable();
    let is_strange = |directive: &str| {
        let target = directive.split('=').next().unwrap_or_default();
        let is_ours = ["theater", "actor"].iter().any(|ours| target.starts_with(ours));
        target.parse::<LevelFilter>().is_err() && !is_ours
    };
    directives.peek().is_some() && directives.all(is_strange)
}

/// Logs the records that `filter` lets through: time, level, thread, the actor if a guest logged it, and the message.
pub(super) fn start(filter: &str) {
    if lets_nothing_through(filter) {
        stderr::tell(&format!(
            "warning: the log filter \"{filter}\" names no level (off, error, warn, info, debug, trace) and no module of \
             theater: nothing is logged"
        ));
    }
    let style = if show::shows_colours(&std::io::stderr()) { WriteStyle::Always } else { WriteStyle::Never };
    // A thread that panics logs that first, and it may be a thread that still has work to do.
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let (name, trace) = (thread.name().unwrap_or("main").to_owned(), std::backtrace::Backtrace::capture());
        let trace = if trace.status() == BacktraceStatus::Captured { format!("\n{trace}") } else { String::new() };
        stderr::last_words(&format!("thread {name}: {panic}{trace}"));
    }));
    env_logger::Builder::new()
        .parse_filters(filter)
        .target(Target::Pipe(Box::new(stderr::Log::new())))
        .write_style(style)
        .format(|to, record| {
            let thread = std::thread::current();
            let (time, name) = (to.timestamp_millis(), thread.name().unwrap_or("main").to_owned());
            let style = to.default_level_style(record.level());
            let from = if record.target() == "actor" { "actor " } else { "" };
            let message = one_line(&record.args().to_string());
            writeln!(to, "{time} {style}{:<5}{style:#} {name:<15} {from}{message}", record.level())
        })
        .init();
}

/// The message as one line: line ends are spelled out, other control characters are replaced, and a long line is cut.
fn one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for (count, character) in message.chars().enumerate() {
        if count == LOG_LINE_CHARS {
            line.push('…');
            break;
        }
        match character {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            other if other.is_control() => line.push('\u{fffd}'),
            other => line.push(other),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_in_a_level_is_told_from_a_filter() {
        for silent in ["nope", "infoo", "other=debug", "hyper,tokio=info", "nope/x"] {
            assert!(lets_nothing_through(silent), "{silent}");
        }
        for heard in ["", "off", "info", "INFO", "other=debug,warn", "theater::server=debug", "actor", "warn/x"] {
            assert!(!lets_nothing_through(heard), "{heard}");
        }
    }

    #[test]
    fn a_record_is_one_line_of_bounded_length() {
        assert_eq!(one_line("a\nb\rc\x1b[31md\te"), "a\\nb\\rc\u{fffd}[31md\u{fffd}e");
        let cut = one_line(&"ä".repeat(LOG_LINE_CHARS + 1));
        assert_eq!(cut.chars().count(), LOG_LINE_CHARS + 1);
        assert!(cut.ends_with('…'));
    }
}
