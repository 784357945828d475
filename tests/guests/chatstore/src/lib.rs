//! A store that keeps the messages of a chat in order, and returns those after a number. Written from the interfaces
//! alone.

use exports::ntwk::theater::actor::Guest as ActorGuest;
use exports::ntwk::theater::message_server_client::Guest as MessageServerClient;
use ntwk::theater::runtime::log;
use serde::{Deserialize, Serialize};
use serde_json::json;

wit_bindgen::generate!({ path: "../chatroom/wit", world: "chatstore" });

#[derive(Default, Serialize, Deserialize)]
struct Store {
    messages: Vec<Message>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Message {
    seq: u64,
    name: String,
    text: String,
}

#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "lowercase")]
enum Action {
    Post { name: String, text: String },
    Since { seq: u64 },
}

struct Component;

impl ActorGuest for Component {
    fn init(data: Option<Vec<u8>>, params: (String,)) -> Result<(Option<Vec<u8>>,), String> {
        log(&format!("store {} initialized", params.0));
        let store = Store::load(data)?;
        Ok((store.save()?,))
    }
}

impl MessageServerClient for Component {
    fn handle_send(data: Option<Vec<u8>>, params: (Vec<u8>,)) -> Result<(Option<Vec<u8>>,), String> {
        let (data, _) = Self::handle_request(data, params)?;
        Ok((data,))
    }

    fn handle_request(data: Option<Vec<u8>>, params: (Vec<u8>,)) -> Result<(Option<Vec<u8>>, (Vec<u8>,)), String> {
        let mut store = Store::load(data)?;
        let answer = match serde_json::from_slice(&params.0).map_err(|error| error.to_string())? {
            Action::Post { name, text } => {
                let seq = store.messages.len() as u64 + 1;
                store.messages.push(Message { seq, name, text });
                json!({ "seq": seq })
            }
            Action::Since { seq } => {
                let after: Vec<&Message> = store.messages.iter().filter(|message| message.seq > seq).collect();
                json!({ "messages": after })
            }
        };
        Ok((store.save()?, (answer.to_string().into_bytes(),)))
    }
}

impl Store {
    fn load(data: Option<Vec<u8>>) -> Result<Self, String> {
        data.map_or_else(|| Ok(Self::default()), |data| serde_json::from_slice(&data).map_err(|e| e.to_string()))
    }

    fn save(&self) -> Result<Option<Vec<u8>>, String> {
        serde_json::to_vec(self).map(Some).map_err(|error| error.to_string())
    }
}

export!(Component);
