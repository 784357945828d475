//! Tests of the ledger, with accounts that follow the real rules and fail when told to.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use bank::{Books, Message, Reply, Statement, Status};
use serde_json::{Value, json};
use theater_actor::{ChildEvent, ChildEventKind, HttpRequest};

use crate::accounts::{Accounts, NotDone};
use crate::http;
use crate::ledger::Ledger;

/// The fate of one message to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    /// The message does not arrive.
    Lost,
    /// The message arrives, but its answer does not.
    AnswerLost,
}

type Fates = Box<dyn Fn(usize, &Message) -> Fate>;

struct Fakes {
    accounts: RefCell<Vec<bank::Account>>,
    /// The label of each account that has one.
    labels: RefCell<BTreeMap<String, usize>>,
    asked: Cell<usize>,
    fates: RefCell<Fates>,
    log: RefCell<Vec<String>>,
}

impl Fakes {
    fn new() -> Self {
        let fates: Fates = Box::new(|_, _| Fate::Answered);
        Self {
            accounts: RefCell::default(),
            labels: RefCell::default(),
            asked: Cell::new(0),
            fates: RefCell::new(fates),
            log: RefCell::default(),
        }
    }

    /// The fate of each message from now on; messages are counted from 0.
    fn fates(&self, fates: impl Fn(usize, &Message) -> Fate + 'static) {
        self.asked.set(0);
        *self.fates.borrow_mut() = Box::new(fates);
    }

    fn reply(&self, id: &str, message: &Message) -> Result<Reply, NotDone> {
        let fate = self.fates.borrow()(self.asked.replace(self.asked.get() + 1), message);
        if fate == Fate::Lost || *message == Message::Crash {
            return Err(NotDone::Unanswered("lost".into()));
        }
        let account = &mut self.accounts.borrow_mut()[id.parse::<usize>().unwrap()];
        let reply = account.apply(message.clone()).map_err(|refusal| NotDone::from(refusal.to_string()));
        if fate == Fate::AnswerLost { Err(NotDone::Unanswered("answer lost".into())) } else { reply }
    }

    /// All the money in the accounts.
    fn total(&self) -> u128 {
        let accounts = self.accounts.borrow();
        let books = accounts.iter().map(bank::Account::books);
        bank::total(&books.map(|books| (books.status.owner.clone().unwrap(), books.clone())).collect())
    }

    fn count(&self) -> usize {
        self.accounts.borrow().len()
    }

    fn balance(&self, id: usize) -> u64 {
        self.accounts.borrow()[id].books().status.balance
    }
}

impl Accounts for Fakes {
    fn get_or_spawn(&self, owner: &str) -> Result<String, String> {
        let mut accounts = self.accounts.borrow_mut();
        let id = *self.labels.borrow_mut().entry(owner.into()).or_insert_with(|| {
            accounts.push(bank::Account::default());
            accounts.len() - 1
        });
        Ok(id.to_string())
    }

    fn ask(&self, id: &str, message: &Message) -> Result<Status, NotDone> {
        let Reply::Status(status) = self.reply(id, message)? else { panic!("a statement to {message:?}") };
        Ok(status)
    }

    fn statement(&self, id: &str) -> Result<Statement, NotDone> {
        let Reply::Statement(statement) = self.reply(id, &Message::Statement)? else { panic!("no statement") };
        Ok(statement)
    }

    fn books(&self, id: &str) -> Result<Books, String> {
        let account = serde_json::to_vec(&self.accounts.borrow()[id.parse::<usize>().unwrap()]).unwrap();
        Ok(serde_json::from_slice(&account).unwrap())
    }

    fn log(&self, line: &str) {
        self.log.borrow_mut().push(line.into());
    }
}

/// A bank whose accounts hold these amounts.
fn bank(accounts: &[(&str, u64)]) -> (Ledger, Fakes) {
    let (mut ledger, fakes) = (Ledger::default(), Fakes::new());
    for (name, cents) in accounts {
        assert_eq!(post(&mut ledger, &fakes, "/accounts", &json!({ "name": name })).0, 201);
        if *cents > 0 {
            let path = format!("/accounts/{name}/deposit");
            assert_eq!(post(&mut ledger, &fakes, &path, &json!({ "cents": cents })).0, 200);
        }
    }
    (ledger, fakes)
}

fn http(ledger: &mut Ledger, fakes: &Fakes, method: &str, path: &str, body: Option<String>) -> (u16, Value) {
    let body = body.map(String::into_bytes);
    let request = HttpRequest { method: method.into(), uri: path.into(), headers: Vec::new(), body };
    let response = http::answer(ledger, fakes, &request);
    (response.status, serde_json::from_slice(&response.body.unwrap()).unwrap())
}

fn get(ledger: &mut Ledger, fakes: &Fakes, path: &str) -> Value {
    let (status, body) = http(ledger, fakes, "GET", path, None);
    assert_eq!(status, 200, "{path}: {body}");
    body
}

fn post(ledger: &mut Ledger, fakes: &Fakes, path: &str, body: &Value) -> (u16, Value) {
    http(ledger, fakes, "POST", path, Some(body.to_string()))
}

fn transfer(ledger: &mut Ledger, fakes: &Fakes, from: &str, to: &str, cents: u64) -> (u16, Value) {
    post(ledger, fakes, "/transfers", &json!({ "from": from, "to": to, "cents": cents }))
}

/// A total as it is read from JSON: a number above the range of `u64` becomes a float.
fn approximately(total: u128) -> Value {
    json!(total as f64)
}

/// The ledger's state after it was written and read again.
fn reloaded(ledger: &Ledger) -> Ledger {
    serde_json::from_slice(&serde_json::to_vec(ledger).unwrap()).unwrap()
}

#[test]
fn accounts_are_opened_and_hold_what_was_paid_in() {
    let (mut ledger, fakes) = bank(&[("alice", 100), ("bob", 0)]);
    assert_eq!(get(&mut ledger, &fakes, "/accounts/alice"), json!({ "account": "alice", "balance": 100 }));
    let withdrawn = post(&mut ledger, &fakes, "/accounts/alice/withdraw", &json!({ "cents": 30 }));
    assert_eq!(withdrawn, (200, json!({ "account": "alice", "balance": 70 })));
    let overview = get(&mut ledger, &fakes, "/");
    let accounts = json!({ "alice": { "balance": 70, "restarts": 0 }, "bob": { "balance": 0, "restarts": 0 } });
    assert_eq!(overview, json!({ "accounts": accounts, "total": 70, "unfinished": [], "notices": [] }));
}

#[test]
fn a_transfer_moves_money_and_both_statements_say_so() {
    let (mut ledger, fakes) = bank(&[("alice", 100), ("bob", 0)]);
    let done = json!({ "from": "alice", "number": 1, "to": "bob", "cents": 30 });
    assert_eq!(transfer(&mut ledger, &fakes, "alice", "bob", 30), (201, done));
    let sent = json!({ "movement": "sent", "number": 1, "to": "bob", "cents": 30, "balance": 70 });
    assert_eq!(get(&mut ledger, &fakes, "/accounts/alice/statement")["entries"][1], sent);
    let received = json!({ "movement": "received", "number": 1, "from": "alice", "cents": 30, "balance": 30 });
    assert_eq!(get(&mut ledger, &fakes, "/accounts/bob/statement")["entries"][0], received);
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    let (mut ledger, fakes) = bank(&[("alice", 100), ("bob", 0)]);
    let mut refused = |path: &str, body: Value| {
        let (status, answer) = post(&mut ledger, &fakes, path, &body);
        (status, answer["error"].as_str().unwrap().to_owned())
    };
    assert_eq!(refused("/accounts", json!({ "name": "no name" })).0, 400);
    assert_eq!(refused("/accounts", json!({ "name": "alice" })), (409, "there is an account alice already".into()));
    let missing = "the body is not understood: missing field `name` at line 1 column 2";
    assert_eq!(refused("/accounts", json!({})), (400, missing.into()));
    assert_eq!(refused("/accounts/alice/deposit", json!({ "cents": 0 })).0, 400);
    assert_eq!(refused("/accounts/alice/deposit", json!({ "cents": -1 })).0, 400);
    assert_eq!(refused("/accounts/alice/deposit", json!({ "cents": u64::MAX })).0, 409);
    assert_eq!(refused("/accounts/carol/deposit", json!({ "cents": 1 })).0, 404);
    assert_eq!(refused("/transfers", json!({ "from": "alice", "to": "alice", "cents": 1 })).0, 400);
    assert_eq!(refused("/transfers", json!({ "from": "alice", "to": "carol", "cents": 1 })).0, 404);
    assert_eq!(refused("/transfers", json!({ "from": "carol", "to": "alice", "cents": 1 })).0, 404);
    let overdraft = refused("/transfers", json!({ "from": "alice", "to": "bob", "cents": 101 }));
    assert_eq!(overdraft, (409, "101 cents are more than the balance of 100".into()));
    assert_eq!(fakes.total(), 100);
}

#[test]
fn a_wrong_method_is_told_from_a_wrong_path() {
    let (mut ledger, fakes) = bank(&[]);
    for path in ["/", "/accounts/alice", "/accounts/alice/statement"] {
        assert_eq!(http(&mut ledger, &fakes, "DELETE", path, None).0, 405, "{path}");
    }
    for path in ["/accounts", "/accounts/alice/deposit", "/accounts/alice/crash", "/transfers"] {
        assert_eq!(http(&mut ledger, &fakes, "GET", path, None).0, 405, "{path}");
    }
    for path in ["/nothing", "/accounts/alice/", "/accounts/alice/close", "/accounts/alice"] {
        assert_eq!(http(&mut ledger, &fakes, "GET", path, None).0, 404, "{path}");
    }
}

#[test]
fn what_the_receiver_refuses_is_given_back() {
    let (mut ledger, fakes) = bank(&[("alice", 100), ("bob", u64::MAX)]);
    assert_eq!(transfer(&mut ledger, &fakes, "alice", "bob", 30).0, 409);
    assert_eq!((fakes.balance(0), fakes.balance(1)), (100, u64::MAX));
    let statement = get(&mut ledger, &fakes, "/accounts/alice/statement");
    assert_eq!(statement["entries"][2]["movement"], "taken-back");
    assert_eq!(get(&mut ledger, &fakes, "/")["total"], approximately(u128::from(u64::MAX) + 100));
}

#[test]
fn where_giving_back_fails_it_is_tried_again_at_the_next_request() {
    let (mut ledger, fakes) = bank(&[("alice", 100), ("bob", u64::MAX)]);
    fakes.fates(|_, message| match message {
        Message::TakeBack { .. } => Fate::Lost,
        _ => Fate::Answered,
    });
    assert_eq!(transfer(&mut ledger, &fakes, "alice", "bob", 30).0, 202);
    let unfinished = json!([{ "from": "alice", "number": 1, "to": "bob", "cents": 30, "why": "lost" }]);
    let overview = get(&mut ledger, &fakes, "/");
    assert_eq!(
        (&overview["unfinished"], &overview["total"]),
        (&unfinished, &approximately(u128::from(u64::MAX) + 100))
    );
    assert_eq!(transfer(&mut ledger, &fakes, "alice", "bob", 30).0, 409, "one after the other");
    ledger = reloaded(&ledger);
    fakes.fates(|_, _| Fate::Answered);
    assert_eq!(get(&mut ledger, &fakes, "/accounts/alice"), json!({ "account": "alice", "balance": 100 }));
    let overview = get(&mut ledger, &fakes, "/");
    assert_eq!(overview["unfinished"], json!([]));
    assert_eq!(overview["notices"][0]["event"], "transfer 1 to bob refused");
}

#[test]
fn what_was_taken_back_never_arrives_later() {
    let (mut ledger, fakes) = bank(&[("alice", 100), ("bob", u64::MAX)]);
    fakes.fates(|_, message| match message {
        Message::TakeBack { .. } => Fate::AnswerLost,
        _ => Fate::Answered,
    });
    assert_eq!(transfer(&mut ledger, &fakes, "alice", "bob", 30).0, 202);
    fakes.accounts.borrow_mut()[1].apply(Message::Withdraw { cents: 1_000 }).unwrap();
    assert_eq!(get(&mut ledger, &fakes, "/")["unfinished"], json!([]));
    assert_eq!((fakes.balance(0), fakes.balance(1)), (100, u64::MAX - 1_000));
}

/// For each message of a transfer in turn: the message is lost, or its answer, or all messages from there on. The
/// ledger either sees this, or is itself interrupted and forgets.
#[test]
fn a_transfer_happens_once_or_not_at_all_wherever_it_breaks() {
    let first_broken = |broken: usize, fate: Fate, for_good: bool, interrupted: bool| {
        let (mut ledger, fakes) = bank(&[("alice", 100), ("bob", 10)]);
        fakes.fates(move |at, _| match at.cmp(&broken) {
            std::cmp::Ordering::Less => Fate::Answered,
            std::cmp::Ordering::Equal => fate,
            std::cmp::Ordering::Greater => [Fate::Answered, Fate::Lost][usize::from(for_good)],
        });
        let before = ledger.clone();
        let (status, answer) = transfer(&mut ledger, &fakes, "alice", "bob", 30);
        let case = format!("{fate:?} at {broken}, for good {for_good}, interrupted {interrupted}: {status} {answer}");
        assert_eq!(fakes.total(), 110, "{case}");
        if interrupted {
            ledger = before;
        }
        assert_eq!(get(&mut ledger, &fakes, "/")["total"], 110, "{case}");
        fakes.fates(|_, _| Fate::Answered);
        let overview = get(&mut ledger, &fakes, "/");
        assert_eq!((&overview["total"], &overview["unfinished"]), (&json!(110), &json!([])), "{case}");
        let moved = match (fakes.balance(0), fakes.balance(1)) {
            (100, 10) => false,
            (70, 40) => true,
            other => panic!("{case}: {other:?}"),
        };
        if !interrupted {
            assert_eq!(moved, status == 201 || status == 202, "{case}");
        }
        assert_eq!(transfer(&mut ledger, &fakes, "alice", "bob", 5).0, 201, "{case}");
        assert_eq!(fakes.total(), 110, "{case}");
        status
    };
    let mut statuses = BTreeMap::new();
    for broken in 0..6 {
        for fate in [Fate::Lost, Fate::AnswerLost] {
            for (for_good, interrupted) in [(false, false), (false, true), (true, false), (true, true)] {
                *statuses.entry(first_broken(broken, fate, for_good, interrupted)).or_insert(0) += 1;
            }
        }
    }
    assert_eq!(statuses.keys().copied().collect::<Vec<_>>(), [201, 202, 503], "every kind of end was seen");
}

#[test]
fn money_is_conserved_through_ten_thousand_transfers_of_which_many_fail() {
    let all = [("alice", 1_000), ("bob", 1_000), ("carol", 0), ("dave", u64::MAX - 500)];
    let total = all.iter().map(|(_, cents)| u128::from(*cents)).sum::<u128>();
    let (mut ledger, fakes) = bank(&all);
    let mut seed = 1u64;
    let mut draw = move |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    for _ in 0..10_000 {
        let salt = draw(u64::MAX);
        fakes.fates(move |at, _| match (salt >> (4 * (at % 8))) % 16 {
            0 => Fate::Lost,
            1 => Fate::AnswerLost,
            _ => Fate::Answered,
        });
        let mut name = || all[usize::try_from(draw(4)).unwrap()].0;
        let (from, to) = (name(), name());
        let before = ledger.clone();
        transfer(&mut ledger, &fakes, from, to, 1 + draw(700));
        assert_eq!(fakes.total(), total);
        if draw(10) == 0 {
            ledger = before;
        }
    }
    fakes.fates(|_, _| Fate::Answered);
    let overview = get(&mut ledger, &fakes, "/");
    assert_eq!((&overview["total"], &overview["unfinished"]), (&approximately(total), &json!([])));
}

#[test]
fn an_account_that_does_not_answer_is_shown_by_its_books() {
    let (mut ledger, fakes) = bank(&[("alice", 100)]);
    fakes.fates(|_, _| Fate::Lost);
    let overview = get(&mut ledger, &fakes, "/");
    assert_eq!(overview["accounts"]["alice"], json!({ "balance": 100, "restarts": 0, "unavailable": "lost" }));
    assert_eq!(overview["total"], 100);
    assert_eq!(http(&mut ledger, &fakes, "GET", "/accounts/alice", None).0, 503);
    assert_eq!(post(&mut ledger, &fakes, "/accounts/alice/deposit", &json!({ "cents": 1 })).0, 503);
}

#[test]
fn what_an_interrupted_opening_left_behind_is_used_again() {
    let (mut ledger, fakes) = bank(&[("alice", 1)]);
    let before = ledger.clone();
    assert_eq!(post(&mut ledger, &fakes, "/accounts", &json!({ "name": "bob" })).0, 201);
    ledger = before.clone();
    assert_eq!(post(&mut ledger, &fakes, "/accounts", &json!({ "name": "bob" })).0, 201);
    assert_eq!(fakes.count(), 2, "the same name finds it");
    ledger = before;
    assert_eq!(post(&mut ledger, &fakes, "/accounts", &json!({ "name": "carol" })).0, 201);
    assert_eq!(fakes.count(), 3, "another one's account is not given to carol");
    for fate in [Fate::Lost, Fate::AnswerLost] {
        let name = json!({ "name": format!("{fate:?}") });
        let count = fakes.count();
        fakes.fates(move |_, _| fate);
        assert_eq!(post(&mut ledger, &fakes, "/accounts", &name).0, 503);
        fakes.fates(|_, _| Fate::Answered);
        assert_eq!(post(&mut ledger, &fakes, "/accounts", &name).0, 201);
        assert_eq!(fakes.count(), count + 1, "{fate:?}: the spawned account is opened after all");
    }
    assert_eq!(get(&mut ledger, &fakes, "/")["total"], 1);
}

#[test]
fn accounts_of_a_ledger_that_gave_no_labels_are_kept() {
    let (ledger, fakes) = bank(&[("alice", 100), ("bob", 0)]);
    fakes.labels.borrow_mut().clear();
    let mut ledger = reloaded(&ledger);
    assert_eq!(post(&mut ledger, &fakes, "/accounts", &json!({ "name": "alice" })).0, 409);
    assert_eq!(post(&mut ledger, &fakes, "/accounts", &json!({ "name": "carol" })).0, 201);
    assert_eq!(transfer(&mut ledger, &fakes, "alice", "bob", 30).0, 201);
    assert_eq!(transfer(&mut ledger, &fakes, "bob", "carol", 10).0, 201);
    assert_eq!((fakes.balance(0), fakes.balance(1), fakes.balance(2)), (70, 20, 10));
    assert_eq!(fakes.count(), 3);
}

#[test]
fn failures_and_restarts_of_accounts_are_noted_and_logged() {
    let (mut ledger, fakes) = bank(&[("alice", 100)]);
    let (status, crashed) = post(&mut ledger, &fakes, "/accounts/alice/crash", &json!({}));
    assert_eq!((status, crashed), (200, json!({ "account": "alice", "crashed": "lost" })));
    let mut hear = |id: &str, kind| ledger.hear(&fakes, &ChildEvent { child_id: id.into(), kind });
    hear("0", ChildEventKind::Failed("trap".into()));
    hear("0", ChildEventKind::Restarted);
    hear("unknown", ChildEventKind::Started);
    assert_eq!(*fakes.log.borrow(), ["account alice: failed: trap", "account alice: restarted"]);
    let failed = json!({ "account": "alice", "event": "failed", "why": "trap" });
    let restarted = json!({ "account": "alice", "event": "restarted" });
    let overview = get(&mut ledger, &fakes, "/");
    assert_eq!(overview["notices"], json!([failed, restarted]));
    assert_eq!(overview["accounts"]["alice"], json!({ "balance": 100, "restarts": 1 }));
    for _ in 0..200 {
        ledger.hear(&fakes, &ChildEvent { child_id: "0".into(), kind: ChildEventKind::Stopped });
    }
    assert_eq!(get(&mut ledger, &fakes, "/")["notices"].as_array().unwrap().len(), 100);
}

#[test]
fn a_restart_finishes_what_waited_for_the_account() {
    let (mut ledger, fakes) = bank(&[("alice", 100), ("bob", 0)]);
    fakes.fates(|_, message| match message {
        Message::Receive { .. } => Fate::Lost,
        _ => Fate::Answered,
    });
    assert_eq!(transfer(&mut ledger, &fakes, "alice", "bob", 30).0, 202);
    fakes.fates(|_, _| Fate::Answered);
    ledger.hear(&fakes, &ChildEvent { child_id: "1".into(), kind: ChildEventKind::Restarted });
    assert_eq!((fakes.balance(0), fakes.balance(1)), (70, 30));
}
