//! The state and the operations of the ledger, without HTTP.
//!
//! The ledger holds no money: only the accounts know where the money is. So an interruption of the ledger, and
//! everything it forgets by it, loses no money. A transfer that was interrupted is still open at its sender, and the
//! ledger continues it when it next asks that account. A transfer that the ledger itself could not finish is
//! remembered, and tried again at each request.

use std::collections::{BTreeMap, VecDeque};

use bank::{Books, Message, Outgoing, Statement, Status, is_name, total};
use serde::{Deserialize, Serialize};
use theater_actor::{ChildEvent, ChildEventKind};

use crate::accounts::{Accounts, NotDone};

/// How many notices are kept.
const NOTICES: usize = 100;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    accounts: BTreeMap<String, Account>,
    /// Unfinished transfers by sender; a sender can have only one open transfer.
    unfinished: BTreeMap<String, Unfinished>,
    notices: VecDeque<Notice>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    id: String,
    restarts: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    from: String,
    #[serde(flatten)]
    outgoing: Outgoing,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unfinished {
    #[serde(flatten)]
    transfer: Transfer,
    why: String,
}

/// Something unrequested that happened to an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Notice {
    account: String,
    event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// How far a transfer has come.
#[derive(Debug)]
enum Outcome {
    Done,
    /// The money is still where it was.
    Refused(String),
    Unfinished(String),
}

/// A transfer that was not refused.
#[derive(Debug)]
pub(crate) enum Transferred {
    Done(Transfer),
    Unfinished(Unfinished),
}

/// Why an operation was not carried out.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The request makes no sense.
    Invalid(String),
    Unknown(String),
    /// The rules forbid it.
    Refused(String),
    /// An account does not answer.
    Unavailable(String),
}

impl From<NotDone> for Trouble {
    fn from(not_done: NotDone) -> Self {
        match not_done {
            NotDone::Refused(why) => Self::Refused(why),
            NotDone::Unanswered(why) => Self::Unavailable(why),
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Overview<'a> {
    accounts: BTreeMap<&'a str, Standing>,
    /// All the money; none if an account's books cannot be read.
    total: Option<u128>,
    unfinished: Vec<&'a Unfinished>,
    notices: &'a VecDeque<Notice>,
}

#[derive(Debug, Serialize)]
struct Standing {
    balance: Option<u64>,
    restarts: u64,
    /// Why the account does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    unavailable: Option<String>,
}

impl Ledger {
    pub(crate) fn open(&mut self, accounts: &impl Accounts, name: &str) -> Result<(), Trouble> {
        if !is_name(name) {
            return Err(Trouble::Invalid("a name has 1 to 32 letters, digits, - and _".into()));
        }
        if self.accounts.contains_key(name) {
            return Err(Trouble::Refused(format!("there is an account {name} already")));
        }
        // An interrupted opening may have left the account behind: its label finds it again.
        let id = accounts.get_or_spawn(name).map_err(Trouble::Unavailable)?;
        accounts.ask(&id, &Message::Open { owner: name.into() })?;
        self.accounts.insert(name.into(), Account { id, restarts: 0 });
        Ok(())
    }

    pub(crate) fn deposit(&self, accounts: &impl Accounts, name: &str, cents: u64) -> Result<Status, Trouble> {
        check_amount(cents)?;
        Ok(accounts.ask(self.id(name)?, &Message::Deposit { cents })?)
    }

    pub(crate) fn withdraw(&self, accounts: &impl Accounts, name: &str, cents: u64) -> Result<Status, Trouble> {
        check_amount(cents)?;
        Ok(accounts.ask(self.id(name)?, &Message::Withdraw { cents })?)
    }

    pub(crate) fn statement(&self, accounts: &impl Accounts, name: &str) -> Result<Statement, Trouble> {
        Ok(accounts.statement(self.id(name)?)?)
    }

    /// Makes an account crash, and returns why it is down.
    pub(crate) fn crash(&self, accounts: &impl Accounts, name: &str) -> Result<String, Trouble> {
        match accounts.ask(self.id(name)?, &Message::Crash) {
            Ok(_) => Err(Trouble::Unavailable("it is still up".into())),
            Err(NotDone::Unanswered(why) | NotDone::Refused(why)) => Ok(why),
        }
    }

    /// The status of an account. If an interruption has left a transfer open there, it is continued first.
    pub(crate) fn status(&mut self, accounts: &impl Accounts, name: &str) -> Result<Status, Trouble> {
        let status = accounts.ask(self.id(name)?, &Message::Balance)?;
        let Some(outgoing) = status.open else { return Ok(status) };
        self.carry_on(accounts, Transfer { from: name.into(), outgoing });
        Ok(accounts.ask(self.id(name)?, &Message::Balance)?)
    }

    pub(crate) fn transfer(
        &mut self,
        accounts: &impl Accounts,
        from: &str,
        to: &str,
        cents: u64,
    ) -> Result<Transferred, Trouble> {
        check_amount(cents)?;
        if from == to {
            return Err(Trouble::Invalid("a transfer is from one account to another".into()));
        }
        // Ask both accounts before money moves, so that no money must be returned because an account is down.
        let sender = self.status(accounts, from)?;
        self.status(accounts, to)?;
        if let Some(Unfinished { transfer, why }) = self.unfinished.get(from) {
            let Outgoing { number, to, .. } = &transfer.outgoing;
            return Err(Trouble::Refused(format!("transfer {number} of {from} to {to} is not finished: {why}")));
        }
        let outgoing = Outgoing { number: sender.sent + 1, to: to.into(), cents };
        let transfer = Transfer { from: from.into(), outgoing };
        match self.carry_out(accounts, transfer.clone()) {
            Outcome::Done => Ok(Transferred::Done(transfer)),
            Outcome::Refused(why) => Err(Trouble::Refused(why)),
            Outcome::Unfinished(why) => Ok(Transferred::Unfinished(Unfinished { transfer, why })),
        }
    }

    /// Tries again to finish transfers that could not be finished before.
    pub(crate) fn finish(&mut self, accounts: &impl Accounts) {
        for Unfinished { transfer, .. } in self.unfinished.clone().into_values() {
            self.carry_on(accounts, transfer);
        }
    }

    /// Carries out a transfer that nobody waits for. If it is refused, a notice records this.
    fn carry_on(&mut self, accounts: &impl Accounts, transfer: Transfer) {
        let Transfer { from, outgoing: Outgoing { number, to, .. } } = transfer.clone();
        if let Outcome::Refused(why) = self.carry_out(accounts, transfer) {
            self.note(accounts, from, &format!("transfer {number} to {to} refused"), Some(why));
        }
    }

    /// Does the remaining steps of a transfer, and remembers the transfer if some could not be done.
    fn carry_out(&mut self, accounts: &impl Accounts, transfer: Transfer) -> Outcome {
        let outcome = self.attempt(accounts, &transfer);
        match &outcome {
            Outcome::Done | Outcome::Refused(_) => _ = self.unfinished.remove(&transfer.from),
            Outcome::Unfinished(why) => {
                let unfinished = Unfinished { why: why.clone(), transfer };
                self.unfinished.insert(unfinished.transfer.from.clone(), unfinished);
            }
        }
        outcome
    }

    /// Does all steps of a transfer from the first one, whatever was done before. Each step has its effect only once.
    fn attempt(&self, accounts: &impl Accounts, transfer: &Transfer) -> Outcome {
        let Transfer { from, outgoing } = transfer;
        let Outgoing { number, to, cents } = outgoing.clone();
        match self.ask(accounts, from, &Message::Send(outgoing.clone())) {
            Ok(sender) if sender.open.as_ref() == Some(outgoing) => {}
            Ok(_) => return Outcome::Done,
            Err(NotDone::Refused(why)) => return Outcome::Refused(why),
            Err(NotDone::Unanswered(why)) => return Outcome::Unfinished(why),
        }
        let (last, outcome) = match self.ask(accounts, &to, &Message::Receive { number, from: from.clone(), cents }) {
            Ok(_) => (Message::Settle { number }, Outcome::Done),
            Err(NotDone::Refused(why)) => (Message::TakeBack { number }, Outcome::Refused(why)),
            // The receiver may have the money, so it cannot be given back before that is known.
            Err(NotDone::Unanswered(why)) => return Outcome::Unfinished(why),
        };
        match self.ask(accounts, from, &last) {
            Ok(_) => outcome,
            Err(NotDone::Refused(why) | NotDone::Unanswered(why)) => Outcome::Unfinished(why),
        }
    }

    /// Sends a message of a transfer to an account. An unknown account will never take part in the transfer.
    fn ask(&self, accounts: &impl Accounts, name: &str, message: &Message) -> Result<Status, NotDone> {
        let account = self.accounts.get(name).ok_or_else(|| NotDone::Refused(no_account(name)))?;
        accounts.ask(&account.id, message)
    }

    fn id(&self, name: &str) -> Result<&str, Trouble> {
        let account = self.accounts.get(name);
        account.map(|account| account.id.as_str()).ok_or_else(|| Trouble::Unknown(no_account(name)))
    }

    /// Everything that the ledger can show.
    pub(crate) fn overview(&mut self, accounts: &impl Accounts) -> Overview<'_> {
        let mut standings = self.standings(accounts);
        if standings.values().any(|standing| standing.as_ref().is_ok_and(|status| status.open.is_some())) {
            for name in self.accounts.keys().cloned().collect::<Vec<_>>() {
                // The account does not answer; the list of accounts says so.
                let _ = self.status(accounts, &name);
            }
            standings = self.standings(accounts);
        }
        let books = self.books(accounts, &standings);
        let total = books.as_ref().map(total);
        let shown = |(name, account): (&String, &Account)| {
            let (balance, unavailable) = match &standings[name] {
                Ok(status) => (Some(status.balance), None),
                Err(why) => (books.as_ref().map(|books| books[name].status.balance), Some(why.clone())),
            };
            Standing { balance, restarts: account.restarts, unavailable }
        };
        Overview {
            accounts: self.accounts.iter().map(|entry| (entry.0.as_str(), shown(entry))).collect(),
            total,
            unfinished: self.unfinished.values().collect(),
            notices: &self.notices,
        }
    }

    fn standings(&self, accounts: &impl Accounts) -> BTreeMap<String, Result<Status, String>> {
        let ask = |account: &Account| match accounts.ask(&account.id, &Message::Balance) {
            Ok(status) => Ok(status),
            Err(NotDone::Refused(why) | NotDone::Unanswered(why)) => Err(why),
        };
        self.accounts.iter().map(|(name, account)| (name.clone(), ask(account))).collect()
    }

    /// The total of the money. If all accounts have answered and no transfer is open, it is the sum of their answers;
    /// otherwise the books are read.
    fn books(
        &self,
        accounts: &impl Accounts,
        standings: &BTreeMap<String, Result<Status, String>>,
    ) -> Option<BTreeMap<String, Books>> {
        let plain = |standing: &Result<Status, String>| {
            let status = standing.as_ref().ok().filter(|status| status.open.is_none())?;
            Some(Books { status: status.clone(), ..Books::default() })
        };
        let answered: Option<BTreeMap<String, Books>> =
            standings.iter().map(|(name, standing)| Some((name.clone(), plain(standing)?))).collect();
        answered.or_else(|| {
            let read = |(name, account): (&String, &Account)| Some((name.clone(), accounts.books(&account.id).ok()?));
            self.accounts.iter().map(read).collect()
        })
    }

    /// Takes a notice about a child.
    pub(crate) fn hear(&mut self, accounts: &impl Accounts, event: &ChildEvent) {
        let found = self.accounts.iter_mut().find(|(_, account)| account.id == event.child_id);
        // A child that is being opened is reported by the opening itself.
        let Some((name, account)) = found else { return };
        let name = name.clone();
        match &event.kind {
            ChildEventKind::Started => {}
            ChildEventKind::Stopped => self.note(accounts, name, "stopped", None),
            ChildEventKind::Failed(why) => self.note(accounts, name, "failed", Some(why.clone())),
            ChildEventKind::Restarted => {
                account.restarts += 1;
                self.note(accounts, name, "restarted", None);
                self.finish(accounts);
            }
        }
    }

    fn note(&mut self, accounts: &impl Accounts, account: String, event: &str, why: Option<String>) {
        let because = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        accounts.log(&format!("account {account}: {event}{because}"));
        self.notices.push_back(Notice { account, event: event.into(), why });
        while self.notices.len() > NOTICES {
            self.notices.pop_front();
        }
    }
}

fn check_amount(cents: u64) -> Result<(), Trouble> {
    if cents == 0 { Err(Trouble::Invalid("an amount is at least one cent".into())) } else { Ok(()) }
}

fn no_account(name: &str) -> String {
    format!("there is no account {name:?}")
}
