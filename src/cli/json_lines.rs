//! A line of the log as one JSON object: `{"time":…,"level":…,"thread":…,"target":…,"actor":…,"message":…}`.

use log::Level;
use serde::Serialize;

use crate::base::clock;

/// What a line says.
#[derive(Serialize)]
pub(super) struct LogObject<'a> {
    /// RFC 3339, in UTC, with milliseconds.
    time: String,
    level: &'static str,
    thread: &'a str,
    target: &'a str,
    /// The name of the actor, if a guest has written the line.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    message: &'a str,
}

impl<'a> LogObject<'a> {
    /// What `thread` says now.
    pub(super) fn new(level: Level, thread: &'a str, target: &'a str, message: &'a str) -> Self {
        Self { time: time_now(), level: level.as_str(), thread, target, actor: None, message }
    }

    /// The same, said by a guest.
    pub(super) fn of_actor(self, actor: Option<&'a str>) -> Self {
        Self { actor, ..self }
    }

    /// The object as one line, without its end. Every control character stands in its escaped form, those too that JSON allows
    /// as they are: a terminal might obey them.
    pub(super) fn line(&self) -> String {
        let json = serde_json::to_string(self).expect("texts serialise");
        if !json.contains(char::is_control) {
            return json;
        }
        let mut line = String::with_capacity(json.len() + 16);
        for character in json.chars() {
            if character.is_control() {
                line.push_str(&format!("\\u{:04x}", u32::from(character)));
            } else {
                line.push(character);
            }
        }
        line
    }
}

fn time_now() -> String {
    let now = i64::try_from(clock::unix_ms()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(now).map(|time| format!("{time:.3}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn whatever_a_guest_says_is_a_text_of_the_object() {
        let hostile = "\"}\n{\"level\":\"ERROR\"\u{1b}[31m \u{9b}31m \u{7f} \u{2028} \\ é";
        let line = LogObject::new(Level::Info, "a-x", "actor", hostile).of_actor(Some("a\"b\n")).line();
        assert!(!line.contains(char::is_control), "{line:?}");
        let read: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&read["message"], &read["actor"]), (&hostile.into(), &"a\"b\n".into()));
        let keys: Vec<&String> = read.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["actor", "level", "message", "target", "thread", "time"]);
        let time = read["time"].as_str().expect("a text");
        assert!(time.len() == 24 && time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    }

    #[test]
    fn only_a_guests_line_names_an_actor() {
        let line = LogObject::new(Level::Warn, "theater", "theater::x", "m").line();
        assert!(line.contains("\"level\":\"WARN\"") && !line.contains("\"actor\""), "{line}");
    }
}
