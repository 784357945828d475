//! The ledger's access to the accounts, and the possible outcomes of a message to one.

use bank::{Books, Message, Refusal, Statement, Status};
use theater_actor::{messages, runtime, supervisor};

/// The actors that are accounts, named by their ids.
pub(crate) trait Accounts {
    /// The account that has its owner's name as its label. One that is not there is spawned.
    fn get_or_spawn(&self, owner: &str) -> Result<String, String>;
    fn ask(&self, id: &str, message: &Message) -> Result<Status, NotDone>;
    fn statement(&self, id: &str) -> Result<Statement, NotDone>;
    /// The account's books, read without asking the account, so also while it does not answer.
    fn books(&self, id: &str) -> Result<Books, String>;
    fn log(&self, line: &str);
}

/// Why an account has not carried out a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotDone {
    /// The account refused, and nothing was done.
    Refused(String),
    /// The account is not running, crashed, or took too long. It may nevertheless have carried out the message.
    Unanswered(String),
}

impl From<String> for NotDone {
    fn from(error: String) -> Self {
        match Refusal::read(&error) {
            Some(refusal) => Self::Refused(refusal.why().to_owned()),
            None => Self::Unanswered(error),
        }
    }
}

/// The real accounts: the children of this actor.
pub(crate) struct Children;

/// The manifest of an account; it lies beside the ledger's own manifest.
const MANIFEST: &str = "account.toml";

impl Accounts for Children {
    fn get_or_spawn(&self, owner: &str) -> Result<String, String> {
        supervisor::get_or_spawn(MANIFEST, owner, None::<&()>)
    }

    fn ask(&self, id: &str, message: &Message) -> Result<Status, NotDone> {
        Ok(messages::request(id, message)?)
    }

    fn statement(&self, id: &str) -> Result<Statement, NotDone> {
        Ok(messages::request(id, &Message::Statement)?)
    }

    fn books(&self, id: &str) -> Result<Books, String> {
        Ok(supervisor::child_state(id)?.unwrap_or_default())
    }

    fn log(&self, line: &str) {
        runtime::log(line);
    }
}
