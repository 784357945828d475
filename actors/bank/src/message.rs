//! The messages that accounts receive and their answers, as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A message to an account. The answer is its [`Status`] unless the comment names another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// `{"open":{"owner":"alice"}}`: sets the owner of the account.
    Open { owner: String },
    /// `"balance"`
    Balance,
    /// `"statement"`, answered with a [`Statement`].
    Statement,
    /// `{"deposit":{"cents":100}}`: money is paid in.
    Deposit { cents: u64 },
    /// `{"withdraw":{"cents":100}}`: money is paid out.
    Withdraw { cents: u64 },
    /// `{"send":{"number":7,"to":"bob","cents":100}}`: sets the money of a transfer aside.
    Send(Outgoing),
    /// `{"receive":{"number":7,"from":"alice","cents":100}}`: receives the money of a transfer.
    Receive { number: u64, from: String, cents: u64 },
    /// `{"settle":{"number":7}}`: the receiver has the money.
    Settle { number: u64 },
    /// `{"take-back":{"number":7}}`: the receiver has refused the money.
    TakeBack { number: u64 },
    /// `"crash"`: panics, for demonstration.
    Crash,
}

/// A transfer, as its sender records it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    pub number: u64,
    pub to: String,
    pub cents: u64,
}

/// The answer of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Reply {
    Status(Status),
    Statement(Statement),
}

/// The current position of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// None before the account was opened.
    pub owner: Option<String>,
    pub balance: u64,
    /// How many transfers it has sent; this is also the number of the last one.
    #[serde(default)]
    pub sent: u64,
    /// The last transfer until it is settled or taken back. Its money is not part of the balance.
    #[serde(default)]
    pub open: Option<Outgoing>,
}

/// The last movements of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    pub owner: Option<String>,
    pub balance: u64,
    /// How many earlier movements there were, which are no longer kept.
    pub earlier: u64,
    /// The movements, oldest first.
    pub entries: Vec<Entry>,
}

/// One movement, and the balance after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    #[serde(flatten)]
    pub movement: Movement,
    pub cents: u64,
    pub balance: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "movement", rename_all = "kebab-case")]
pub enum Movement {
    Deposit,
    Withdrawal,
    Sent { number: u64, to: String },
    Received { number: u64, from: String },
    TakenBack { number: u64, to: String },
}

/// The parts of an account's state that say where money is. The ledger reads them if an account does not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    #[serde(flatten)]
    pub status: Status,
    /// The number of the last transfer it received from each account.
    #[serde(default)]
    pub received: BTreeMap<String, u64>,
}

impl Books {
    pub fn has_received(&self, number: u64, from: &str) -> bool {
        self.received.get(from).is_some_and(|last| number <= *last)
    }
}

/// All the money: the balances, and the transfers that have left one account and not arrived at another.
pub fn total(accounts: &BTreeMap<String, Books>) -> u128 {
    let aside = |(name, books): (&String, &Books)| {
        let open = books.status.open.as_ref()?;
        let arrived = accounts.get(&open.to).is_some_and(|to| to.has_received(open.number, name));
        (!arrived).then_some(u128::from(open.cents))
    };
    let balances: u128 = accounts.values().map(|books| u128::from(books.status.balance)).sum();
    balances + accounts.iter().filter_map(aside).sum::<u128>()
}

/// Why an account refuses a message for good. Unlike any other error of a request, a refusal proves that nothing was
/// done; so its text must be distinguishable from the texts of other errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(String);

const MARK: &str = "declined: ";

impl Refusal {
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    /// The refusal that an error's text contains, if it is one.
    pub fn read(error: &str) -> Option<Self> {
        error.strip_prefix(MARK).map(Self::new)
    }

    pub fn why(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK}{}", self.0)
    }
}

/// Whether an account may have this name: a name that needs no escaping in a path, a message or a log.
pub fn is_name(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }

    #[test]
    fn messages_look_as_their_documentation_says() {
        assert_eq!(json(&Message::Balance), r#""balance""#);
        assert_eq!(json(&Message::Deposit { cents: 100 }), r#"{"deposit":{"cents":100}}"#);
        let send = Message::Send(Outgoing { number: 7, to: "bob".into(), cents: 100 });
        assert_eq!(json(&send), r#"{"send":{"number":7,"to":"bob","cents":100}}"#);
        assert_eq!(json(&Message::TakeBack { number: 7 }), r#"{"take-back":{"number":7}}"#);
    }

    #[test]
    fn an_entry_is_one_flat_object() {
        let movement = Movement::Sent { number: 7, to: "bob".into() };
        let entry = Entry { movement, cents: 100, balance: 20 };
        assert_eq!(json(&entry), r#"{"movement":"sent","number":7,"to":"bob","cents":100,"balance":20}"#);
        assert_eq!(serde_json::from_str::<Entry>(&json(&entry)).unwrap(), entry);
    }

    #[test]
    fn a_refusal_is_told_from_other_errors() {
        let refusal = Refusal::new("no");
        assert_eq!(Refusal::read(&refusal.to_string()), Some(refusal));
        assert_eq!(Refusal::read("outcome unknown: no answer"), None);
    }

    #[test]
    fn money_on_its_way_counts_once() {
        let mut alice = Books::default();
        alice.status.balance = 20;
        alice.status.open = Some(Outgoing { number: 7, to: "bob".into(), cents: 10 });
        let mut accounts = BTreeMap::from([("alice".to_owned(), alice), ("bob".to_owned(), Books::default())]);
        assert_eq!(total(&accounts), 30);
        let bob = accounts.get_mut("bob").unwrap();
        bob.status.balance = 10;
        bob.received.insert("alice".into(), 7);
        assert_eq!(total(&accounts), 30);
    }

    #[test]
    fn names_need_no_escaping_anywhere() {
        assert!(is_name("alice") && is_name("Account-7_b"));
        assert!(!is_name("") && !is_name("a b") && !is_name("a/b") && !is_name("ä") && !is_name(&"a".repeat(33)));
    }
}
