//! A later build of `chance`, which first draws random bytes, reads the clock and logs once more. What comes of each command
//! is the same: a comparison of outcomes must find no difference.

use commanded::{Chance, Commanded};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use theater_actor::{Actor, MessageHandler, clock, log, random};

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Chattier(Commanded<Chance>);

impl Actor for Chattier {
    fn init(state: Option<Self>, id: &str) -> Result<Self, String> {
        Commanded::init(state.map(|state| state.0), id).map(Self)
    }

    fn load(state: Option<Vec<u8>>) -> Result<Option<Self>, String> {
        Ok(Commanded::load(state)?.map(Self))
    }

    fn save(&self) -> Result<Option<Vec<u8>>, String> {
        self.0.save()
    }
}

impl MessageHandler for Chattier {
    type Message = Value;
    type Reply = Value;

    fn handle_request(&mut self, command: Value) -> Result<Value, String> {
        log!("a further line at {}: {:?}", clock::now(), random::bytes(4));
        self.0.handle_request(command)
    }
}

theater_actor::export!(Chattier: messages);
