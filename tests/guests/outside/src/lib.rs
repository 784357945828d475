//! A test actor that uses all handlers for the outside on command: HTTP, files, the clock and random bytes.

use commanded::{Chance, Commanded, Fetch, Files, More};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(untagged)]
enum Call {
    Fetch(Fetch),
    Files(Files),
    Chance(Chance),
}

impl More for Call {
    fn obey(self) -> Result<Value, String> {
        match self {
            Self::Fetch(call) => call.obey(),
            Self::Files(call) => call.obey(),
            Self::Chance(call) => call.obey(),
        }
    }
}

type Outside = Commanded<Call>;

theater_actor::export!(Outside: messages);
