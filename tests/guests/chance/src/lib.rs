//! Reads the clock and draws random bytes on command.

use commanded::{Commanded, More};
use serde::Deserialize;
use serde_json::{Value, json};
use theater_actor::{clock, random};

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
enum Chance {
    /// The milliseconds.
    Now,
    /// The bytes, in hexadecimal.
    Random { n: u32 },
}

impl More for Chance {
    fn obey(self) -> Result<Value, String> {
        Ok(match self {
            Chance::Now => json!(clock::now()),
            Chance::Random { n } => {
                json!(random::bytes(n).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
            }
        })
    }
}

type Gambler = Commanded<Chance>;

theater_actor::export!(Gambler: messages);
