//! A small bank over HTTP. Each account is an actor of its own, a child of this one.
//!
//! | HTTP | body | does |
//! |---|---|---|
//! | `GET /` | | all accounts, all the money, unfinished transfers, notices of accounts |
//! | `POST /accounts` | `{"name": "alice"}` | opens an account |
//! | `GET /accounts/alice` | | its balance |
//! | `GET /accounts/alice/statement` | | its last movements |
//! | `POST /accounts/alice/deposit`, `…/withdraw` | `{"cents": 100}` | money comes in, goes out |
//! | `POST /transfers` | `{"from": "alice", "to": "bob", "cents": 10}` | money goes from one to the other |
//! | `POST /accounts/alice/crash` | | makes the account panic, to see what comes of it |
//!
//! The statuses are the usual ones: 400 for what is not understood, 404 for who is not known, 409 for what the rules of
//! the bank are against, 503 for an account that does not answer now. A transfer that has begun and cannot be finished
//! is 202: it is kept, and tried again at each request until it is.

mod accounts;
mod http;
mod ledger;
#[cfg(test)]
mod tests;

use ledger::Ledger;
use theater_actor::{Actor, ChildEvent, ChildHandler, HttpHandler, HttpRequest, HttpResponse};

impl Actor for Ledger {
    fn init(state: Option<Self>, _id: &str) -> Result<Self, String> {
        Ok(state.unwrap_or_default())
    }
}

impl HttpHandler for Ledger {
    fn handle(&mut self, request: HttpRequest) -> Result<HttpResponse, String> {
        Ok(http::answer(self, &accounts::Children, &request))
    }
}

impl ChildHandler for Ledger {
    fn handle_child_event(&mut self, event: ChildEvent) -> Result<(), String> {
        self.hear(&accounts::Children, &event);
        Ok(())
    }
}

theater_actor::export!(Ledger: http, children);
