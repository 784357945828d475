//! An actor that runs a small bank over HTTP. Each account is a separate actor, and a child of this one: its label is its
//! owner's name, so it has an address such as `ledger/alice`.
//!
//! | HTTP | body | does |
//! |---|---|---|
//! | `GET /` | | all accounts, all the money, unfinished transfers, notices of accounts |
//! | `POST /accounts` | `{"name": "alice"}` | opens an account |
//! | `GET /accounts/alice` | | its balance |
//! | `GET /accounts/alice/statement` | | its last movements |
//! | `POST /accounts/alice/deposit`, `…/withdraw` | `{"cents": 100}` | money comes in, goes out |
//! | `POST /transfers` | `{"from": "alice", "to": "bob", "cents": 10}` | moves money from one account to the other |
//! | `POST /accounts/alice/crash` | | makes the account panic, for demonstration |
//!
//! The HTTP statuses are: 400 for a request that is not understood, 404 for an unknown account, 409 for a request that
//! breaks the rules of the bank, and 503 for an account that does not answer now. A transfer that has begun and cannot
//! be finished gets 202: it is kept, and tried again at each request until it is finished.

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
