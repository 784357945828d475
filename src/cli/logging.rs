//! The log of `theater run`, on standard error. One record is one line, whatever characters a guest puts into it: text for
//! people, or a JSON object.

use std::backtrace::BacktraceStatus;
use std::io::Write;

use env_logger::{Target, WriteStyle};
use log::{LevelFilter, Record};

use super::json_lines::LogObject;
use super::{show, stderr};
use crate::base::limits::LOG_LINE_CHARS;
use crate::base::text::one_line;

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

/// Logs the records that `filter` lets through: time, level, thread, the actor if a guest logged it, and the message. With
/// `as_json`, everything that this process says on standard error from now on is lines of JSON.
pub(super) fn start(filter: &str, as_json: bool) {
    if as_json {
        stderr::speak_json();
    }
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
        .format(move |to, record| {
            if as_json {
                return writeln!(to, "{}", json_of(record));
            }
            let thread = std::thread::current();
            let (time, name) = (to.timestamp_millis(), thread.name().unwrap_or("main").to_owned());
            let style = to.default_level_style(record.level());
            let from = if record.target() == "actor" { "actor " } else { "" };
            let message = one_line(&record.args().to_string(), LOG_LINE_CHARS);
            writeln!(to, "{time} {style}{:<5}{style:#} {name:<15} {from}{message}", record.level())
        })
        .init();
}

/// A record as a line of JSON. A guest's line is its message alone, and its actor is named beside it.
fn json_of(record: &Record<'_>) -> String {
    let thread = std::thread::current();
    let said = record.args().to_string();
    let actor = record.module_path().filter(|_| record.target() == "actor");
    let of_guest = actor.and_then(|name| said.strip_prefix('[')?.strip_prefix(name)?.strip_prefix("] "));
    let message = of_guest.unwrap_or(&said);
    let cut = message.char_indices().nth(LOG_LINE_CHARS).map(|(at, _)| format!("{}…", &message[..at]));
    let message = cut.as_deref().unwrap_or(message);
    let name = thread.name().unwrap_or("main");
    LogObject::new(record.level(), name, record.target(), message).of_actor(actor).line()
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
    fn a_guests_line_as_json_has_its_actor_apart_whatever_both_are_called() {
        let said = |name: &str, line: &str| {
            let mut record = Record::builder();
            record.target("actor").module_path(Some(name));
            let json = json_of(&record.args(format_args!("[{name}] {line}")).build());
            let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            (read["actor"].as_str().map(str::to_owned), read["message"].as_str().expect("a text").to_owned())
        };
        for (name, line) in [("a", "hello"), ("a] [b", "] x"), ("", ""), ("\"", "{\"actor\":\"other\"}")] {
            assert_eq!(said(name, line), (Some(name.to_owned()), line.to_owned()));
        }
        let (_, cut) = said("a", &"ä".repeat(LOG_LINE_CHARS + 1));
        assert!(cut.chars().count() == LOG_LINE_CHARS + 1 && cut.ends_with('…'));
    }
}
