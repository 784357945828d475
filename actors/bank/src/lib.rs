//! The rules of a small bank: what an account is, what it can be asked, and how money gets from one to another. Plain
//! values; the actors `account` and `ledger` put them to work. All amounts are whole cents.
//!
//! A transfer is three messages, in this order, with a number that the sending account has not used yet:
//!
//! ```text
//!   ledger ── send 7 ─────▶ alice     the money leaves alice's balance and lies aside, open
//!   ledger ── receive 7 ──▶ bob       it is added to bob's balance
//!   ledger ── settle 7 ───▶ alice     it no longer lies aside      (or, where bob refused it: take-back 7)
//! ```
//!
//! Each may be repeated any number of times and is done once, so whoever does not know how far a transfer came begins
//! it again from the top. At every moment the money is in exactly one place: bob has it if he has received number 7
//! of alice, else it lies aside at alice. An account has one open transfer at a time; so of each other account it need
//! remember only the last number.

mod account;
mod message;

pub use account::Account;
pub use message::{Books, Entry, Message, Movement, Outgoing, Refusal, Reply, Statement, Status, is_name, total};
