//! The HTTP interface of the ledger.

use bank::{Outgoing, Status};
use serde::{Deserialize, Serialize};
use theater_actor::{HttpRequest, HttpResponse};

use crate::accounts::Accounts;
use crate::ledger::{Ledger, Transferred, Trouble};

/// The resource that a path names.
#[derive(Clone, Copy, Debug)]
enum Resource<'a> {
    Overview,
    Accounts,
    Account(&'a str),
    Statement(&'a str),
    Deposit(&'a str),
    Withdraw(&'a str),
    Crash(&'a str),
    Transfers,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Name {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Amount {
    cents: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    from: String,
    to: String,
    cents: u64,
}

#[derive(Serialize)]
struct Balance<'a> {
    account: &'a str,
    balance: u64,
    /// A transfer that has left the account and is not finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    open: Option<Outgoing>,
}

impl<'a> Resource<'a> {
    fn at(path: &'a str) -> Option<Self> {
        let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        Some(match parts[..] {
            [""] => Self::Overview,
            ["accounts"] => Self::Accounts,
            ["accounts", name] => Self::Account(name),
            ["accounts", name, "statement"] => Self::Statement(name),
            ["accounts", name, "deposit"] => Self::Deposit(name),
            ["accounts", name, "withdraw"] => Self::Withdraw(name),
            ["accounts", name, "crash"] => Self::Crash(name),
            ["transfers"] => Self::Transfers,
            _ => return None,
        })
    }

    /// The only method that the resource accepts.
    fn method(self) -> &'static str {
        match self {
            Self::Overview | Self::Account(_) | Self::Statement(_) => "GET",
            Self::Accounts | Self::Deposit(_) | Self::Withdraw(_) | Self::Crash(_) | Self::Transfers => "POST",
        }
    }
}

pub(crate) fn answer(ledger: &mut Ledger, accounts: &impl Accounts, request: &HttpRequest) -> HttpResponse {
    let mut response = route(ledger, accounts, request);
    // End with a line feed, for people who use a terminal.
    response.body.get_or_insert_default().push(b'\n');
    response
}

fn route(ledger: &mut Ledger, accounts: &impl Accounts, request: &HttpRequest) -> HttpResponse {
    let path = request.path();
    let Some(resource) = Resource::at(path) else {
        return HttpResponse::error(404, &format!("nothing at {path}"));
    };
    if request.method != resource.method() {
        return HttpResponse::method_not_allowed(resource.method());
    }
    ledger.finish(accounts);
    serve(ledger, accounts, resource, request).unwrap_or_else(|trouble| refuse(&trouble))
}

fn serve(
    ledger: &mut Ledger,
    accounts: &impl Accounts,
    resource: Resource<'_>,
    request: &HttpRequest,
) -> Result<HttpResponse, Trouble> {
    match resource {
        Resource::Overview => json(200, &ledger.overview(accounts)),
        Resource::Accounts => {
            let Name { name } = body(request)?;
            ledger.open(accounts, &name)?;
            let opened = json(201, &Balance { account: &name, balance: 0, open: None })?;
            Ok(opened.with_header("location", &format!("/accounts/{name}")))
        }
        Resource::Account(name) => balance(name, ledger.status(accounts, name)?),
        Resource::Statement(name) => json(200, &ledger.statement(accounts, name)?),
        Resource::Deposit(name) => balance(name, ledger.deposit(accounts, name, amount(request)?)?),
        Resource::Withdraw(name) => balance(name, ledger.withdraw(accounts, name, amount(request)?)?),
        Resource::Crash(name) => {
            let why = ledger.crash(accounts, name)?;
            json(200, &serde_json::json!({ "account": name, "crashed": why }))
        }
        Resource::Transfers => {
            let Order { from, to, cents } = body(request)?;
            match ledger.transfer(accounts, &from, &to, cents)? {
                Transferred::Done(transfer) => json(201, &transfer),
                Transferred::Unfinished(unfinished) => json(202, &unfinished),
            }
        }
    }
}

fn body<T: for<'de> Deserialize<'de>>(request: &HttpRequest) -> Result<T, Trouble> {
    serde_json::from_slice(request.body.as_deref().unwrap_or_default())
        .map_err(|error| Trouble::Invalid(format!("the body is not understood: {error}")))
}

fn amount(request: &HttpRequest) -> Result<u64, Trouble> {
    body(request).map(|Amount { cents }| cents)
}

fn balance(account: &str, Status { balance, open, .. }: Status) -> Result<HttpResponse, Trouble> {
    json(200, &Balance { account, balance, open })
}

fn json(status: u16, value: &impl Serialize) -> Result<HttpResponse, Trouble> {
    HttpResponse::json(status, value).map_err(Trouble::Unavailable)
}

fn refuse(trouble: &Trouble) -> HttpResponse {
    let (status, why) = match trouble {
        Trouble::Invalid(why) => (400, why),
        Trouble::Unknown(why) => (404, why),
        Trouble::Refused(why) => (409, why),
        Trouble::Unavailable(why) => (503, why),
    };
    HttpResponse::error(status, why)
}
