//! An actor that is one account of a bank: it holds money and sends it to other accounts.
//!
//! [`bank::Message`] lists the messages it accepts, and [`bank::Account`] has its rules. A message that breaks the
//! rules gets an `Err` and changes nothing. A manifest may give an account money to begin with: `init_state =
//! '{"owner": "alice", "balance": 100}'`.

use bank::{Message, Reply};
use serde::{Deserialize, Serialize};
use theater_actor::{Actor, MessageHandler};

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Account(bank::Account);

impl Actor for Account {
    fn init(state: Option<Self>, _id: &str) -> Result<Self, String> {
        Ok(state.unwrap_or_else(|| Self(bank::Account::default())))
    }
}

impl MessageHandler for Account {
    type Message = Message;
    type Reply = Reply;

    fn handle_request(&mut self, message: Message) -> Result<Reply, String> {
        self.0.apply(message).map_err(|refusal| refusal.to_string())
    }
}

theater_actor::export!(Account: messages);

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(account: &mut Account, message: &str) -> Result<String, String> {
        let reply = account.handle_request(serde_json::from_str(message).unwrap())?;
        Ok(serde_json::to_string(&reply).unwrap())
    }

    #[test]
    fn it_begins_empty_or_with_what_the_manifest_says() {
        let begin = |state: Option<&str>| {
            let state = Account::load(state.map(|json| json.as_bytes().to_vec())).unwrap();
            ask(&mut Account::init(state, "id").unwrap(), r#""balance""#)
        };
        assert_eq!(begin(None), Ok(r#"{"owner":null,"balance":0,"sent":0,"open":null}"#.into()));
        let alice = Some(r#"{"owner": "alice", "balance": 100}"#);
        assert_eq!(begin(alice), Ok(r#"{"owner":"alice","balance":100,"sent":0,"open":null}"#.into()));
    }

    #[test]
    fn what_it_remembers_comes_back_as_it_was() {
        let mut account = Account::init(None, "id").unwrap();
        ask(&mut account, r#"{"open":{"owner":"alice"}}"#).unwrap();
        ask(&mut account, r#"{"receive":{"number":1,"from":"bob","cents":18446744073709551615}}"#).unwrap();
        ask(&mut account, r#"{"send":{"number":1,"to":"bob","cents":5}}"#).unwrap();
        let again = Account::load(account.save().unwrap()).unwrap().unwrap();
        assert_eq!(again.0, account.0);
    }

    #[test]
    fn an_overdraft_is_an_error_that_says_so() {
        let mut account = Account::init(None, "id").unwrap();
        ask(&mut account, r#"{"open":{"owner":"alice"}}"#).unwrap();
        let overdraft = ask(&mut account, r#"{"withdraw":{"cents":1}}"#);
        assert_eq!(overdraft, Err("declined: 1 cents are more than the balance of 0".into()));
    }

    #[test]
    #[should_panic(expected = "asked to crash")]
    fn it_crashes_when_it_is_asked_to() {
        let _ = ask(&mut Account::init(None, "id").unwrap(), r#""crash""#);
    }
}
