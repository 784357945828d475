//! The rules of a small bank: accounts, the messages they accept, and transfers between them. These are plain values;
//! the actors `account` and `ledger` use them. All amounts are whole cents.
//!
//! A transfer consists of three messages in this order, with a number that the sending account has not used before:
//!
//! ```text
//!   ledger ── send 7 ─────▶ alice     the money leaves alice's balance and is set aside: the transfer is open
//!   ledger ── receive 7 ──▶ bob       the money is added to bob's balance
//!   ledger ── settle 7 ───▶ alice     the money is no longer set aside      (or, if bob refused it: take-back 7)
//! ```
//!
//! Each message may be repeated any number of times and has its effect once. So if the ledger does not know how far a
//! transfer has come, it begins again with the first message. At every moment the money is in exactly one place: bob
//! has it if he has received number 7 from alice; otherwise alice has it set aside. An account has one open transfer at
//! a time, so it needs to remember only the last number of each other account.

mod account;
mod message;

pub use account::Account;
pub use message::{Books, Entry, Message, Movement, Outgoing, Refusal, Reply, Statement, Status, is_name, total};
