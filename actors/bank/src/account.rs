//! The rules of an account, as a plain value without a runtime.
//!
//! Money never appears or disappears: each step either moves a whole amount and records it, or is refused and changes
//! nothing. The balance and the open transfer together always fit into a `u64`, so taking a transfer back cannot fail.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::message::{Books, Entry, Message, Movement, Outgoing, Refusal, Reply, Statement, Status, is_name};

/// How many entries are kept; older ones are only counted.
const ENTRIES: usize = 100;

/// The state of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    #[serde(flatten)]
    books: Books,
    #[serde(default)]
    entries: VecDeque<Entry>,
    #[serde(default)]
    earlier: u64,
}

impl Account {
    /// Carries out a message, or refuses it and changes nothing.
    ///
    /// # Errors
    /// The message breaks the rules.
    ///
    /// # Panics
    /// If the message is [`Message::Crash`].
    pub fn apply(&mut self, message: Message) -> Result<Reply, Refusal> {
        match message {
            Message::Balance => Ok(()),
            Message::Statement => return Ok(Reply::Statement(self.statement())),
            Message::Open { owner } => self.open(owner),
            Message::Deposit { cents } => self.deposit(cents),
            Message::Withdraw { cents } => self.withdraw(cents),
            Message::Send(transfer) => self.send(transfer),
            Message::Receive { number, from, cents } => self.receive(number, from, cents),
            Message::Settle { number } => self.settle(number),
            Message::TakeBack { number } => self.take_back(number),
            Message::Crash => panic!("the account was asked to crash"),
        }?;
        Ok(Reply::Status(self.status().clone()))
    }

    /// The parts of the state that say where money is.
    pub fn books(&self) -> &Books {
        &self.books
    }

    fn status(&self) -> &Status {
        &self.books.status
    }

    fn statement(&self) -> Statement {
        let Status { owner, balance, .. } = self.status().clone();
        Statement { owner, balance, earlier: self.earlier, entries: self.entries.iter().cloned().collect() }
    }

    fn open(&mut self, owner: String) -> Result<(), Refusal> {
        match &self.books.status.owner {
            Some(other) if *other != owner => Err(Refusal::new(format!("this is the account of {other}"))),
            _ if !is_name(&owner) => Err(Refusal::new(format!("{owner:?} is no name for an account"))),
            _ => {
                self.books.status.owner = Some(owner);
                Ok(())
            }
        }
    }

    fn deposit(&mut self, cents: u64) -> Result<(), Refusal> {
        self.take_in(cents, Movement::Deposit)
    }

    fn withdraw(&mut self, cents: u64) -> Result<(), Refusal> {
        self.give_out(cents, Movement::Withdrawal)
    }

    /// Sets the money of a new transfer aside. Does nothing if that was done before.
    fn send(&mut self, transfer: Outgoing) -> Result<(), Refusal> {
        let Status { sent, open, .. } = &self.books.status;
        match open {
            Some(open) if *open == transfer => return Ok(()),
            Some(Outgoing { number, to, .. }) => {
                return Err(Refusal::new(format!("transfer {number} to {to} is still open")));
            }
            None if transfer.number <= *sent => return Ok(()),
            None if transfer.number > sent + 1 => {
                return Err(Refusal::new(format!(
                    "the next transfer has number {}, not {}",
                    sent + 1,
                    transfer.number
                )));
            }
            None => {}
        }
        let Outgoing { number, to, cents } = transfer.clone();
        self.give_out(cents, Movement::Sent { number, to })?;
        self.books.status.sent = number;
        self.books.status.open = Some(transfer);
        Ok(())
    }

    /// Receives the money of a transfer. Does nothing if that was done before.
    fn receive(&mut self, number: u64, from: String, cents: u64) -> Result<(), Refusal> {
        if self.books.has_received(number, &from) {
            return Ok(());
        }
        self.take_in(cents, Movement::Received { number, from: from.clone() })?;
        self.books.received.insert(from, number);
        Ok(())
    }

    /// Closes a transfer whose money was received. Does nothing if the transfer is already closed.
    fn settle(&mut self, number: u64) -> Result<(), Refusal> {
        self.close(number).map(drop)
    }

    /// Takes back the money of a transfer that was refused. Does nothing if the transfer is already closed.
    fn take_back(&mut self, number: u64) -> Result<(), Refusal> {
        let Some(Outgoing { number, to, cents }) = self.close(number)? else { return Ok(()) };
        self.take_in(cents, Movement::TakenBack { number, to })
    }

    fn close(&mut self, number: u64) -> Result<Option<Outgoing>, Refusal> {
        let Status { sent, open, .. } = &mut self.books.status;
        if number > *sent {
            return Err(Refusal::new(format!("there is no transfer {number} yet")));
        }
        Ok(open.take_if(|open| open.number == number))
    }

    fn take_in(&mut self, cents: u64, movement: Movement) -> Result<(), Refusal> {
        self.check(cents)?;
        let Status { balance, open, .. } = &self.books.status;
        let aside = open.as_ref().map_or(0, |open| open.cents);
        if balance.checked_add(aside).and_then(|all| all.checked_add(cents)).is_none() {
            return Err(Refusal::new(format!("{cents} cents are more than an account of {balance} can take in")));
        }
        self.enter(balance + cents, cents, movement);
        Ok(())
    }

    fn give_out(&mut self, cents: u64, movement: Movement) -> Result<(), Refusal> {
        self.check(cents)?;
        let balance = self.books.status.balance;
        let left = balance.checked_sub(cents);
        let left = left.ok_or_else(|| Refusal::new(format!("{cents} cents are more than the balance of {balance}")))?;
        self.enter(left, cents, movement);
        Ok(())
    }

    fn check(&self, cents: u64) -> Result<(), Refusal> {
        match (&self.books.status.owner, cents) {
            (None, _) => Err(Refusal::new("the account was not opened")),
            (Some(_), 0) => Err(Refusal::new("an amount is at least one cent")),
            (Some(_), _) => Ok(()),
        }
    }

    fn enter(&mut self, balance: u64, cents: u64, movement: Movement) {
        self.books.status.balance = balance;
        self.entries.push_back(Entry { movement, cents, balance });
        while self.entries.len() > ENTRIES {
            self.entries.pop_front();
            self.earlier += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice(balance: u64) -> Account {
        let mut account = Account::default();
        account.open("alice".into()).unwrap();
        if balance > 0 {
            account.deposit(balance).unwrap();
        }
        account
    }

    fn to_bob(number: u64, cents: u64) -> Outgoing {
        Outgoing { number, to: "bob".into(), cents }
    }

    /// The reason for which `step` is refused; checks that it has changed nothing.
    fn refused(account: &Account, step: impl FnOnce(&mut Account) -> Result<(), Refusal>) -> String {
        let mut tried = account.clone();
        let refusal = step(&mut tried).unwrap_err();
        assert_eq!(tried, *account, "a refusal changes nothing");
        refusal.why().to_owned()
    }

    /// Does `step` twice, and checks that the second time changes nothing.
    fn twice(account: &mut Account, step: impl Fn(&mut Account) -> Result<(), Refusal>) {
        step(account).unwrap();
        let once = account.clone();
        step(account).unwrap();
        assert_eq!(*account, once, "the second time changes nothing");
    }

    #[test]
    fn deposits_and_withdrawals_change_the_balance_and_are_entered() {
        let mut account = alice(100);
        account.withdraw(30).unwrap();
        let statement = account.statement();
        assert_eq!((statement.balance, statement.entries.len()), (70, 2));
        assert_eq!(statement.entries[1], Entry { movement: Movement::Withdrawal, cents: 30, balance: 70 });
    }

    #[test]
    fn more_than_there_is_cannot_be_withdrawn_or_sent() {
        let account = alice(100);
        assert_eq!(refused(&account, |a| a.withdraw(101)), "101 cents are more than the balance of 100");
        assert_eq!(refused(&account, |a| a.send(to_bob(1, 101))), "101 cents are more than the balance of 100");
    }

    #[test]
    fn an_amount_is_at_least_one_cent_and_no_more_than_fits() {
        let account = alice(1);
        assert_eq!(refused(&account, |a| a.deposit(0)), "an amount is at least one cent");
        refused(&account, |a| a.deposit(u64::MAX));
        refused(&account, |a| a.receive(1, "bob".into(), u64::MAX));
    }

    #[test]
    fn an_account_is_opened_once_and_for_one_owner() {
        let mut account = Account::default();
        assert_eq!(refused(&account, |a| a.deposit(1)), "the account was not opened");
        refused(&account, |a| a.open("no name".into()));
        twice(&mut account, |a| a.open("alice".into()));
        assert_eq!(refused(&account, |a| a.open("bob".into())), "this is the account of alice");
    }

    #[test]
    fn sending_settling_and_taking_back_are_done_once_however_often_they_are_asked() {
        let mut account = alice(100);
        twice(&mut account, |a| a.send(to_bob(1, 40)));
        assert_eq!((account.status().balance, &account.status().open), (60, &Some(to_bob(1, 40))));
        twice(&mut account, |a| a.settle(1));
        twice(&mut account, |a| a.take_back(1));
        twice(&mut account, |a| a.send(to_bob(1, 40)));
        assert_eq!((account.status().balance, &account.status().open), (60, &None));

        twice(&mut account, |a| a.send(to_bob(2, 40)));
        twice(&mut account, |a| a.take_back(2));
        twice(&mut account, |a| a.settle(2));
        assert_eq!(account.status().balance, 60);
    }

    #[test]
    fn receiving_is_done_once_and_an_older_number_never_again() {
        let mut account = alice(0);
        twice(&mut account, |a| a.receive(1, "bob".into(), 10));
        twice(&mut account, |a| a.receive(3, "bob".into(), 10));
        twice(&mut account, |a| a.receive(1, "carol".into(), 10));
        account.receive(2, "bob".into(), 10).unwrap();
        assert_eq!(account.status().balance, 30);
    }

    #[test]
    fn one_transfer_is_open_at_a_time_and_numbers_leave_no_gap() {
        let mut account = alice(100);
        assert_eq!(refused(&account, |a| a.send(to_bob(2, 10))), "the next transfer has number 1, not 2");
        account.send(to_bob(1, 10)).unwrap();
        assert_eq!(refused(&account, |a| a.send(to_bob(2, 10))), "transfer 1 to bob is still open");
        assert_eq!(refused(&account, |a| a.send(to_bob(1, 11))), "transfer 1 to bob is still open");
        assert_eq!(refused(&account, |a| a.settle(2)), "there is no transfer 2 yet");
    }

    #[test]
    fn what_was_put_aside_can_always_be_taken_back() {
        let mut account = alice(u64::MAX);
        account.send(to_bob(1, 10)).unwrap();
        refused(&account, |a| a.deposit(1));
        account.take_back(1).unwrap();
        assert_eq!(account.status().balance, u64::MAX);
    }

    #[test]
    fn the_last_hundred_entries_are_kept_and_the_others_counted() {
        let mut account = alice(0);
        (0..130).for_each(|_| account.deposit(1).unwrap());
        let statement = account.statement();
        assert_eq!((statement.entries.len(), statement.earlier, statement.balance), (100, 30, 130));
        assert_eq!((statement.entries[0].balance, statement.entries[99].balance), (31, 130));
    }
}
