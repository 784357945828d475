//! A test actor that reads the plain values of its manifest on command.

use commanded::{Commanded, More, outcome};
use serde::Deserialize;
use serde_json::{Value, json};
use theater_actor::config;

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
enum Read {
    /// Answers with `{"ok": value}`; the value is null if there is none.
    Config { key: String },
    /// Asks for a key of this many bytes.
    LongKey { n: usize },
    /// Answers with the value as a whole number, or with why it is none.
    Number { key: String },
}

impl More for Read {
    fn obey(self) -> Result<Value, String> {
        Ok(match self {
            Self::Config { key } => outcome(config::get::<Value>(&key)),
            Self::LongKey { n } => json!(config::get::<Value>(&"k".repeat(n))?),
            Self::Number { key } => outcome(config::get::<u32>(&key)),
        })
    }
}

type Configured = Commanded<Read>;

theater_actor::export!(Configured: messages);
