//! A test actor that has many children, and keeps no account of them: `{"from": 0, "upto": 500}` makes sure that it has
//! children with these numbers as labels, all of the manifest `child.toml`. It answers with how many it has looked for.

use serde::{Deserialize, Serialize};
use theater_actor::{Actor, MessageHandler, supervisor};

#[derive(Default, Serialize, Deserialize)]
struct Hatchery;

#[derive(Deserialize)]
struct Wanted {
    from: u64,
    upto: u64,
}

impl Actor for Hatchery {
    fn init(_: Option<Self>, _id: &str) -> Result<Self, String> {
        Ok(Self)
    }
}

impl MessageHandler for Hatchery {
    type Message = Wanted;
    type Reply = u64;

    fn handle_request(&mut self, Wanted { from, upto }: Wanted) -> Result<u64, String> {
        for number in from..upto {
            supervisor::get_or_spawn("child.toml", &number.to_string(), None::<&()>)?;
        }
        Ok(upto - from)
    }
}

theater_actor::export!(Hatchery: messages);
