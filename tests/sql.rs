//! Tests of `theater sql`: what statements say about a journal, on a running runtime's directory and on a dead one.

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};
use support::{Http, Management, Over, Stage, THEATER, Theater, component, eventually, text, theater};

/// Runs a statement on a data directory.
fn sql(directory: &Path, statement: &str, more: &[&str]) -> Output {
    let directory = directory.to_str().expect("a path");
    theater(&[&["sql", statement, "--data-dir", directory], more].concat(), None)
}

/// The rows of a statement; it must succeed.
fn rows(directory: &Path, statement: &str) -> Vec<Value> {
    let output = sql(directory, statement, &["--format", "json", "--limit", "0"]);
    assert!(output.status.success(), "{statement}: {}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The one number that a statement asks for.
fn number(directory: &Path, statement: &str) -> i64 {
    let rows = rows(directory, statement);
    let [row] = &rows[..] else { panic!("{statement}: {rows:?}") };
    let value = row.as_object().and_then(|row| row.values().next()).expect("a column");
    value.as_i64().unwrap_or_else(|| panic!("{statement}: {value}"))
}

/// What a statement is refused with.
fn refusal(directory: &Path, statement: &str) -> String {
    let output = sql(directory, statement, &[]);
    assert_eq!(output.status.code(), Some(1), "{statement}: {}", text(&output.stdout));
    assert_eq!(text(&output.stdout), "", "{statement}");
    text(&output.stderr).trim_end().to_owned()
}

/// How SQLite reads the rows of a statement.
fn plan(directory: &Path, statement: &str) -> String {
    let steps = rows(directory, &format!("EXPLAIN QUERY PLAN {statement}"));
    steps.iter().map(|step| step["detail"].as_str().expect("a step").to_owned()).collect::<Vec<_>>().join("; ")
}

fn open_bank(stage: &Stage) -> Theater {
    let dist = component("ledger").parent().expect("a directory").display().to_string();
    let shipped = |name: &str| -> PathBuf {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests").join(name);
        let text = std::fs::read_to_string(path).expect("a manifest");
        stage.file(name, text.replace("../actors/dist", &dist).replace("port = 8082", "port = 0"))
    };
    shipped("account.toml");
    stage.run(&[&shipped("ledger.toml")])
}

/// A bank with three customers, of whom one has failed once and one was refused once.
fn bank_with_a_history(stage: &Stage) -> Theater {
    let bank = open_bank(stage);
    let mut http = Http::connect(bank.http("ledger"));
    let mut post = |path: &str, body: Value| http.ask("POST", path, Some(&body.to_string())).status;
    for name in ["alice", "bob", "carol"] {
        assert_eq!(post("/accounts", json!({ "name": name })), 201);
        assert_eq!(post(&format!("/accounts/{name}/deposit"), json!({ "cents": 100 })), 200);
    }
    assert_eq!(post("/transfers?by=hand", json!({ "from": "alice", "to": "bob", "cents": 40 })), 201);
    assert_eq!(post("/transfers", json!({ "from": "alice", "to": "bob", "cents": 4_000 })), 409);
    assert_eq!(post("/accounts/carol/crash", json!({})), 200);
    eventually("carol's account is back", || {
        let restarted = bank.json(&["list"]);
        let all = restarted.as_array().expect("actors");
        all.iter().all(|actor| actor["status"] == "running").then_some(())
    });
    bank
}

/// Probes, which do what they are told by HTTP.
fn probes(stage: &Stage, names: &[&str], more: &str) -> Theater {
    let manifests: Vec<PathBuf> = names.iter().map(|name| stage.http_manifest(name, "probe", more)).collect();
    stage.run(&manifests.iter().map(PathBuf::as_path).collect::<Vec<_>>())
}

#[test]
fn every_event_has_a_row_that_says_what_the_command_events_says() {
    let stage = Stage::new();
    let bank = bank_with_a_history(&stage);
    let directory = stage.data_dir();
    let actors = rows(&directory, "SELECT * FROM actors");
    assert_eq!(actors.len(), 4);
    for actor in &actors {
        let id = actor["id"].as_str().expect("an id");
        let events = bank.events(id);
        assert_eq!(actor["events"], events.len());
        assert_eq!(actor["head"], events.last().expect("events")["hash"]);
        assert_eq!(actor["last_type"], events.last().expect("events")["event_type"]);
        assert_eq!((&actor["alive"], &actor["listed"]), (&json!(1), &json!(1)));
        let stored = rows(&directory, &format!("SELECT * FROM events WHERE actor = '{id}' ORDER BY sequence"));
        assert_eq!(stored.len(), events.len());
        for (row, event) in stored.iter().zip(&events) {
            let data: Value = serde_json::from_str(row["data"].as_str().expect("data")).expect("JSON");
            let shown = [&row["sequence"], &row["unix_ms"], &row["type"], &row["hash"], &row["parent_hash"], &data];
            let keys = ["sequence", "timestamp", "event_type", "hash", "parent_hash", "data"];
            assert_eq!(shown, keys.map(|key| &event[key]));
            let (kind, function) = (row["kind"].as_str().expect("a kind"), row["function"].as_str());
            assert_eq!(row["type"], function.map_or(kind.to_owned(), |function| format!("{kind} {function}")));
            assert_eq!((&row["name"], &row["dropped"]), (&actor["name"], &json!(0)));
        }
    }
    let positions = rows(&directory, "SELECT position FROM events");
    let expected: Vec<Value> = (1..=positions.len()).map(|position| json!({ "position": position })).collect();
    assert_eq!(positions, expected, "in the order of the journal");
    let wrong =
        "SELECT count(*) FROM events WHERE time <> strftime('%Y-%m-%d %H:%M:%f', unix_ms / 1000.0, 'unixepoch')";
    assert_eq!(number(&directory, wrong), 0, "times can be compared with those of SQLite");
    let now =
        "SELECT count(*) FROM events WHERE time BETWEEN datetime('now', '-1 hour') AND datetime('now', '+1 hour')";
    assert_eq!(number(&directory, now), i64::try_from(positions.len()).expect("few"));
}

#[test]
fn what_the_bank_did_is_told_while_it_runs_and_after_it_was_killed() {
    let stage = Stage::new();
    let bank = bank_with_a_history(&stage);
    let directory = stage.data_dir();
    let (over, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let transfers = "SELECT count(*) FROM http WHERE path = '/transfers' AND status = 201 AND query IS NULL";
    std::thread::scope(|scope| {
        let end = Over(&over);
        scope.spawn(|| {
            let mut http = Http::connect(bank.http("ledger"));
            while !over.load(Ordering::Relaxed) {
                let transfer = json!({ "from": "bob", "to": "alice", "cents": 0 });
                let status = http.ask("POST", "/transfers", Some(&transfer.to_string())).status;
                let transfer = json!({ "from": "bob", "to": "carol", "cents": 1 });
                let other = http.ask("POST", "/transfers", Some(&transfer.to_string())).status;
                let done = [status, other].into_iter().filter(|status| *status == 201).count();
                acknowledged.fetch_add(done as u64, Ordering::Relaxed);
            }
        });
        let mut seen = 0;
        while seen < 30 {
            let before = i64::try_from(acknowledged.load(Ordering::Relaxed)).expect("few");
            let told = number(&directory, transfers);
            assert!(told >= before, "{told} rows, and {before} were acknowledged");
            // One statement reads one moment: what was sent there is closed there, or under way.
            let moment = "SELECT (SELECT count(*) FROM messages WHERE sender IS NOT NULL) -
                          (SELECT count(*) FROM events WHERE type = 'intent ntwk:theater/message-server-host.request')";
            assert_eq!(number(&directory, moment), 0);
            seen = told;
        }
        drop(end);
    });
    bank.kill();
    assert_eq!(number(&directory, transfers), i64::try_from(acknowledged.load(Ordering::Relaxed)).expect("few"));

    let requests = "SELECT method, path, query, status, outcome FROM http ORDER BY position LIMIT 9";
    let requests = rows(&directory, requests);
    assert_eq!(requests.len(), 9);
    let transfer =
        json!({ "method": "POST", "path": "/transfers", "query": "by=hand", "status": 201, "outcome": "return" });
    assert_eq!(requests[6], transfer);
    assert_eq!(requests[7]["status"], 409);
    let body = "SELECT json_extract(request, '$.body.cents') FROM http WHERE query = 'by=hand'";
    assert_eq!(number(&directory, body), 40);

    let failures = rows(&directory, "SELECT name, reason, function, lost FROM failures");
    let handle = "ntwk:theater/message-server-client.handle-request";
    let failure = json!({ "name": "account", "reason": "trap", "function": handle, "lost": 0 });
    assert_eq!(failures, [failure]);
    let failed = rows(&directory, "SELECT sender_name, receiver_name, kind FROM messages WHERE outcome = 'failed'");
    assert_eq!(failed, [json!({ "sender_name": "ledger", "receiver_name": "account", "kind": "request" })]);

    let states = rows(&directory, "SELECT name, json_extract(state, '$.balance') AS balance FROM states WHERE newest");
    assert_eq!(states.len(), 4, "{states:?}");
    let balances: i64 = states.iter().filter_map(|row| row["balance"].as_i64()).sum();
    assert_eq!(balances, 300, "no money is lost: {states:?}");
}

#[test]
fn a_message_is_told_from_its_sending_to_its_answer() {
    let stage = Stage::new();
    let limits = "[limits]\nrequest_deadline_ms = 300\ncpu_ms_per_call = 60000\nstop_grace_ms = 0\n";
    let running = probes(&stage, &["asker", "asked", "late"], limits);
    let (asker, asked) = (running.id("asker"), running.id("asked"));
    let mut http = Http::connect(running.http("asker"));
    for (op, msg) in
        [("request", json!("count")), ("send", json!("count")), ("request", json!({ "op": "refuse", "message": "no" }))]
    {
        http.op(&json!({ "op": op, "to": asked, "msg": msg }));
    }
    running.request("asked", &json!("count")).expect("it counts");
    let directory = stage.data_dir();
    let told = rows(&directory, "SELECT sender, receiver, kind, outcome, message, answer FROM messages ORDER BY call");
    let message = |sender: Value, kind: &str, outcome: &str, message: &str, answer: &str| json!({ "sender": sender, "receiver": asked, "kind": kind, "outcome": outcome, "message": message, "answer": answer });
    let expected = [
        message(json!(asker), "request", "return", "\"count\"", "1"),
        message(json!(asker), "send", "return", "\"count\"", "null"),
        message(json!(asker), "request", "refused", "{\"message\":\"no\",\"op\":\"refuse\"}", "\"no\""),
        message(Value::Null, "request", "return", "\"count\"", "3"),
    ];
    assert_eq!(told, expected);
    // The places and times are those of the events.
    let events = rows(
        &directory,
        "SELECT sent.type AS sent, call.type AS call, closing.type AS closing,
                closing.unix_ms - sent.unix_ms = took_ms AND call.unix_ms - sent.unix_ms = waited_ms AS times
         FROM messages
         JOIN events sent ON sent.actor = sender AND sent.sequence = messages.sequence AND sent.position = messages.position
         JOIN events call ON call.actor = receiver AND call.sequence = messages.call
         JOIN events closing ON closing.actor = receiver AND closing.sequence = messages.closing
         WHERE messages.kind = 'send'",
    );
    let on_host = "host-call ntwk:theater/message-server-host.send";
    let on_client = |kind: &str| format!("{kind} ntwk:theater/message-server-client.handle-send");
    assert_eq!(
        events,
        [json!({ "sent": on_host, "call": on_client("call"), "closing": on_client("return"), "times": 1 })]
    );

    // A receiver that is busy for ever: one message is taken, the next are withdrawn, wait, or are dropped.
    let mut outside = Management::connect(running.management());
    outside.send_request(&asked, &json!("spin"));
    eventually("it is busy", || running.event_types("asked").last()?.starts_with("call ").then_some(()));
    let mut late = Http::connect(running.http("late"));
    late.op(&json!({ "op": "request", "to": asked, "msg": "count" }));
    late.op(&json!({ "op": "send", "to": asked, "msg": "count" }));
    let outcomes = |more: &str| -> Vec<String> {
        let statement = format!("SELECT outcome FROM messages WHERE receiver_name = 'asked' {more}");
        let mut outcomes: Vec<String> = rows(&directory, &statement)
            .iter()
            .map(|row| row["outcome"].as_str().expect("an outcome").into())
            .collect();
        outcomes.sort();
        outcomes
    };
    let of_late = "AND sender_name = 'late'";
    assert_eq!(outcomes(of_late), ["waiting", "withdrawn"]);
    assert_eq!(outcomes("AND sender IS NULL"), ["return", "taken"]);
    running.say(&["stop", "asked"]);
    assert_eq!(outcomes(of_late), ["dropped", "withdrawn"]);
    assert_eq!(outcomes("AND sender IS NULL"), ["return", "stopped"]);
}

/// Conditions on the columns that narrow down what is read.
const CONDITIONS: [&str; 22] = [
    "{A} = '{id}'",
    "{A} = 'nobody'",
    "{N} = 'account'",
    "{N} = 'ACCOUNT' COLLATE NOCASE",
    "{N} IN ('account', 'ledger')",
    "{N} = NULL",
    "{N} IS NULL",
    "{S} = 5",
    "{S} = -1",
    "{S} = 5.0",
    "{S} > 2.5",
    "{S} >= 3 AND {S} < 9",
    "{A} = '{id}' AND {S} = 4",
    "{A} = '{id}' AND {S} > 4",
    "{A} = '{id}' AND {S} <= 4",
    "{N} = 'account' AND {S} BETWEEN 2 AND 6",
    "{A} = '{id}' AND {P} > 30",
    "{P} = 20",
    "{P} > 20 AND {P} <= 60",
    "{P} < 20",
    "{P} > 5 AND {N} = 'ledger'",
    "{A} = '{id}' AND {N} = 'ledger' AND {S} > 7",
];

#[test]
fn a_condition_that_narrows_the_reading_changes_no_answer() {
    let stage = Stage::new();
    bank_with_a_history(&stage).shut_down();
    let directory = stage.data_dir();
    let id =
        rows(&directory, "SELECT id FROM actors WHERE name = 'ledger'")[0]["id"].as_str().expect("an id").to_owned();
    // The id, the name, the sequence and the position in each table; whether it has the last.
    let tables: [(&str, [&str; 4]); 6] = [
        ("events", ["actor", "name", "sequence", "position"]),
        ("messages", ["sender", "sender_name", "sequence", "position"]),
        ("messages", ["receiver", "receiver_name", "sequence", "position"]),
        ("http", ["actor", "name", "sequence", "position"]),
        ("states", ["actor", "name", "sequence", "sequence"]),
        ("failures", ["actor", "name", "sequence", "position"]),
    ];
    let mut statements = Vec::new();
    for (table, names) in tables {
        for condition in CONDITIONS {
            // A plus before a column keeps SQLite from asking the table for it.
            let of = |plus: &str| {
                let mut condition = condition.replace("{id}", &id);
                for (letter, name) in ["{A}", "{N}", "{S}", "{P}"].into_iter().zip(names) {
                    condition = condition.replace(letter, &format!("{plus}t.{name}"));
                }
                let [id, _, sequence, position] = names;
                let row = format!("t.{id} || ' ' || t.{sequence} || ' ' || t.{position}");
                format!("SELECT json_group_array(DISTINCT {row}) FROM {table} t WHERE {condition}")
            };
            statements.push((format!("{table}: {condition}"), of(""), of("+")));
        }
    }
    // All in one statement: a process for each would be most of the time.
    let columns = statements.iter().map(|(_, pushed, whole)| format!("({pushed}), ({whole})")).collect::<Vec<_>>();
    let mut answers = Vec::new();
    for columns in columns.chunks(20) {
        let output = sql(&directory, &format!("SELECT {}", columns.join(", ")), &["--format", "csv"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let printed = text(&output.stdout);
        let mut fields = fields_of_csv(&printed);
        answers.extend(fields.split_off(fields.len() / 2));
    }
    assert_eq!(answers.len(), 2 * statements.len());
    let sorted = |list: &str| {
        let mut list: Vec<String> =
            serde_json::from_str::<Vec<Value>>(list).expect("a list").iter().map(Value::to_string).collect();
        list.sort();
        list
    };
    let mut found = 0;
    for ((what, ..), answers) in statements.iter().zip(answers.chunks(2)) {
        assert_eq!(sorted(&answers[0]), sorted(&answers[1]), "{what}");
        found += sorted(&answers[0]).len();
    }
    assert!(found > 200, "the conditions are those of rows that are there: {found}");
}

/// The fields of CSV, of all lines.
fn fields_of_csv(text: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '"' if quoted && rest.peek() == Some(&'"') => field.extend(rest.next()),
            '"' => quoted = !quoted,
            ',' | '\n' if !quoted => fields.push(std::mem::take(&mut field)),
            '\r' if !quoted => {}
            other => field.push(other),
        }
    }
    fields
}

#[test]
fn a_plan_says_what_is_read_and_the_newest_events_come_without_the_others() {
    let stage = Stage::new();
    bank_with_a_history(&stage).shut_down();
    let directory = stage.data_dir();
    let id =
        rows(&directory, "SELECT id FROM actors WHERE name = 'ledger'")[0]["id"].as_str().expect("an id").to_owned();
    for (statement, expected) in [
        ("SELECT * FROM events", "journal"),
        ("SELECT * FROM events WHERE position = 7", "journal position="),
        ("SELECT * FROM events WHERE position > 7 AND time > '2026'", "journal position>"),
        ("SELECT * FROM events ORDER BY position DESC LIMIT 20", "journal backwards"),
        ("SELECT * FROM events WHERE actor = 'ID' AND sequence = 3", "chains actor= sequence="),
        ("SELECT * FROM messages WHERE receiver_name = 'account'", "journal receiver_name="),
        ("SELECT * FROM states WHERE name = 'ledger'", "chains name="),
    ] {
        let plan = plan(&directory, &statement.replace("ID", &id));
        assert!(plan.ends_with(&format!(":{expected}")), "{statement}: {plan}");
        assert!(!plan.contains("TEMP B-TREE"), "nothing is sorted: {plan}");
    }
    let newest = rows(&directory, "SELECT position FROM events ORDER BY position DESC LIMIT 3");
    let end = number(&directory, "SELECT max(position) FROM events");
    assert_eq!(newest, [end, end - 1, end - 2].map(|position| json!({ "position": position })));
    let backwards =
        rows(&directory, &format!("SELECT sequence FROM events WHERE actor = '{id}' ORDER BY sequence DESC"));
    let mut forwards =
        rows(&directory, &format!("SELECT sequence FROM events WHERE +actor = '{id}' ORDER BY +sequence"));
    forwards.reverse();
    assert_eq!(backwards, forwards);
}

#[test]
fn no_more_rows_are_printed_than_were_asked_for_and_the_cut_is_said() {
    let stage = Stage::new();
    bank_with_a_history(&stage).shut_down();
    let directory = stage.data_dir();
    let all = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) SELECT i FROM n";
    for (format, head) in [("json", 0), ("csv", 1), ("table", 1)] {
        for (limit, lines) in [(None, 1_000), (Some("3"), 3), (Some("2500"), 2_500), (Some("0"), 2_500)] {
            let more = limit.map_or(vec![], |limit| vec!["--limit", limit]);
            let output = sql(&directory, all, &[&["--format", format], &more[..]].concat());
            assert!(output.status.success());
            assert_eq!(text(&output.stdout).lines().count(), lines + head, "{format} {limit:?}");
            let said = format!("theater: cut after {lines} rows: --limit ROWS prints more, and --limit 0 all\n");
            assert_eq!(text(&output.stderr), if lines < 2_500 { said } else { String::new() });
        }
    }
    // A reader that goes ends the command quietly.
    let mut command = Command::new(THEATER);
    command.args(["sql", &all.replace("2500", "100000000"), "--limit", "0", "--data-dir"]).arg(&directory);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary");
    let mut first = String::new();
    let mut lines = BufReader::new(child.stdout.take().expect("piped"));
    lines.read_line(&mut first).expect("a line");
    drop(lines);
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    assert_eq!((child.wait().expect("an end").code(), said.as_str()), (Some(0), ""));
}

#[test]
fn what_an_actor_said_controls_no_terminal_and_arrives_whole() {
    let stage = Stage::new();
    let running = probes(&stage, &["probe"], "");
    let hostile = "\u{1b}[2J\u{9b}31m\r\n\u{7}, \"quoted\"";
    running.request("probe", &json!({ "op": "echo", "value": hostile })).expect("an echo");
    let directory = stage.data_dir();
    let statement = "SELECT json_extract(message, '$.value') AS \"said\u{1b}[0m\" FROM messages WHERE sender IS NULL";
    let output = sql(&directory, statement, &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    assert!(table.chars().all(|c| c == '\n' || !c.is_control()), "{table:?}");
    assert_eq!(table.lines().count(), 2, "a name and a row: {table}");
    let json = rows(&directory, statement);
    assert_eq!(json[0]["said\u{1b}[0m"], hostile);
    assert!(!text(&sql(&directory, statement, &["--json"]).stdout).contains('\u{1b}'));
    let csv = text(&sql(&directory, statement, &["--format", "csv"]).stdout);
    assert_eq!(fields_of_csv(&csv), ["said\u{1b}[0m", hostile]);
    running.shut_down();
}

#[test]
fn a_wrong_statement_is_refused_with_what_is_wrong() {
    let stage = Stage::new();
    bank_with_a_history(&stage).shut_down();
    let directory = stage.data_dir();
    let tables = "actors, events, messages, http, states, failures, timers, monitors, async_requests, table_rows, \
                  dead_letters";
    for (statement, expected) in [
        ("SELECT * FROM event", format!("no such table: event; the tables are {tables}")),
        ("SELECT nam FROM actors", "no such column: nam".into()),
        ("SELEKT 1", "near \"SELEKT\": syntax error".into()),
        ("SELECT 1; SELECT 2", "there is more than one statement".into()),
        ("/* nothing */", "there is no statement that reads anything".into()),
        ("", "there is no statement that reads anything".into()),
        ("SELECT nonesuch(1)", "no such function: nonesuch".into()),
        ("SELECT ?1", "the statement has parameters such as ?1: write their values into it".into()),
    ] {
        assert_eq!(refusal(&directory, statement), format!("theater: {expected}"), "{statement}");
    }
    let absent = stage.path().join("nothing");
    assert!(refusal(&absent, "SELECT 1").contains("there is no journal in"));
    let wrong = theater(&["sql", "SELECT 1", "--format", "xml"], None);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn a_statement_reads_and_does_nothing_else() {
    let stage = Stage::new();
    bank_with_a_history(&stage).shut_down();
    let directory = stage.data_dir();
    let elsewhere = stage.path().join("elsewhere.db");
    let there = elsewhere.to_str().expect("a path");
    for (statement, what) in [
        ("DELETE FROM events".to_owned(), "refused: table events may not be modified: `theater sql` only reads"),
        ("UPDATE actors SET name = 'x'".into(), "refused: table actors may not be modified: `theater sql` only reads"),
        ("INSERT INTO events (actor) VALUES ('x')".into(), "refused: INSERT:"),
        ("CREATE TABLE mine (x)".into(), "refused: a change of the schema:"),
        ("CREATE TEMP TABLE mine (x)".into(), "refused: a change of the schema:"),
        ("CREATE VIRTUAL TABLE mine USING events".into(), "refused: a change of the schema:"),
        ("DROP TABLE events".into(), "refused: a change of the schema:"),
        (format!("ATTACH '{there}' AS other"), "refused: ATTACH:"),
        (format!("VACUUM INTO '{there}'"), "refused: VACUUM:"),
        (format!("SELECT load_extension('{there}')"), "refused: the function load_extension:"),
        (format!("SELECT LOAD_Extension('{there}', 'main')"), "refused: the function load_extension:"),
        ("SELECT fts3_tokenizer('simple')".into(), "refused: the function fts3_tokenizer:"),
        (
            "SELECT hex(\"fts3_tokenizer\"('simple', x'0011223344556677'))".into(),
            "refused: the function fts3_tokenizer:",
        ),
        ("SELECT name FROM actors WHERE sqlite_log(1, name) IS NULL".into(), "refused: the function sqlite_log:"),
        (
            "WITH it AS (SELECT load_extension('x') AS one) SELECT one FROM it".into(),
            "refused: the function load_extension:",
        ),
        ("SELECT name FROM actors ORDER BY rtreecheck(name)".into(), "refused: the function rtreecheck:"),
        ("SELECT (SELECT total_changes() FROM events)".into(), "refused: the function total_changes:"),
        ("EXPLAIN SELECT load_extension('x')".into(), "refused: the function load_extension:"),
        ("EXPLAIN DELETE FROM events".into(), "refused: table events may not be modified:"),
        ("DELETE FROM http RETURNING *".into(), "refused: table http may not be modified:"),
        ("INSERT INTO states SELECT * FROM states RETURNING *".into(), "refused: INSERT:"),
        ("REPLACE INTO actors (name) VALUES ('x')".into(), "refused: INSERT:"),
        ("UPDATE sqlite_master SET sql = ''".into(), "refused: "),
        ("ALTER TABLE events RENAME TO mine".into(), "refused: table events may not be altered:"),
        ("CREATE INDEX mine ON events (name)".into(), "refused: "),
        ("CREATE VIEW mine AS SELECT * FROM events".into(), "refused: a change of the schema:"),
        ("CREATE VIRTUAL TABLE mine USING fts4 (x, tokenize = simple)".into(), "refused: a change of the schema:"),
        ("CREATE TEMP TRIGGER mine AFTER DELETE ON events BEGIN SELECT 1; END".into(), "refused: "),
        ("SELECT name FROM dbstat".into(), "refused: the table dbstat:"),
        ("SELECT count(*) FROM dbstat".into(), "refused: the table dbstat:"),
        ("SELECT token FROM fts3tokenize WHERE input = 'x'".into(), "refused: the table fts3tokenize:"),
        ("SELECT * FROM pragma_function_list".into(), "refused: "),
        ("SELECT * FROM pragma_database_list".into(), "refused: "),
        ("ATTACH ':memory:' AS other".into(), "refused: ATTACH:"),
        ("ATTACH 'file:x?mode=memory' AS other".into(), "refused: ATTACH:"),
        ("DETACH main".into(), "refused: DETACH:"),
        ("ANALYZE".into(), "refused: "),
        ("REINDEX".into(), "refused: REINDEX:"),
        ("WITH dbstat AS (SELECT 1) SELECT count(*) FROM pragma_database_list".into(), "refused: "),
        ("PRAGMA temp_store_directory = '/tmp'".into(), "refused: PRAGMA temp_store_directory:"),
        ("SAVEPOINT here".into(), "refused: a transaction:"),
        ("COMMIT".into(), "refused: a transaction:"),
        ("PRAGMA journal_mode".into(), "refused: PRAGMA journal_mode:"),
        ("PRAGMA writable_schema = 1".into(), "refused: PRAGMA writable_schema:"),
        ("BEGIN".into(), "refused: a transaction:"),
    ] {
        let why = refusal(&directory, &statement);
        assert!(why.starts_with(&format!("theater: {what}")), "{statement}: {why}");
    }
    assert!(!elsewhere.exists(), "no file was written");
    for function in ["readfile('/etc/passwd')", "writefile('x', 'y')", "edit('x')", "eval('SELECT 1')", "fsdir('/')"] {
        assert!(refusal(&directory, &format!("SELECT {function}")).contains("no such function: "), "{function}");
    }
    let remedy = refusal(&directory, "DELETE FROM events");
    assert!(["`theater prune`", "--format csv"].iter().all(|use_instead| remedy.contains(use_instead)), "{remedy}");
    for counted in [
        "WITH two AS (SELECT 1 UNION SELECT 2) SELECT count(*) AS n FROM two",
        "WITH two AS MATERIALIZED (SELECT 1 UNION SELECT 2) SELECT count(*) AS n FROM two AS other",
        "WITH RECURSIVE two (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM two WHERE n < 2) SELECT count(*) AS n FROM two",
        "SELECT count(*) AS n FROM (SELECT 1 UNION SELECT 2) AS two",
    ] {
        assert_eq!(rows(&directory, counted), [json!({ "n": 2 })], "{counted}");
    }
    let parts = rows(&directory, "SELECT value FROM json_each('[1, 2]') WHERE value LIKE '2' OR iif(value = 1, 0, 0)");
    assert_eq!(parts, [json!({ "value": 2 })]);
    let columns = rows(&directory, "SELECT name FROM pragma_table_info('failures')");
    assert_eq!(columns[0], json!({ "name": "position" }), "what a table is made of can be asked");
    let directory = directory.to_str().expect("a path");
    let verified = theater(&["verify", "--journal", directory], None);
    assert!(verified.status.success(), "{}", text(&verified.stdout));
}

#[test]
fn dropped_data_is_null_and_the_command_says_so() {
    let stage = Stage::new();
    let running = probes(&stage, &["probe"], "");
    for _ in 0..3 {
        running.request("probe", &json!({ "op": "echo", "value": "secret" })).expect("an echo");
    }
    let call = running.events("probe").iter().rposition(|event| event["data"].to_string().contains("caller"));
    let call = call.expect("a call");
    running.say(&["redact", "probe", "--event", &(call - 2).to_string()]);
    running.shut_down();
    let directory = stage.data_dir();
    let statement =
        format!("SELECT data, bytes > 20 AS bytes, dropped, kind FROM events WHERE sequence = {}", call - 2);
    let output = sql(&directory, &statement, &["--json"]);
    let row: Value = serde_json::from_slice(&output.stdout).expect("a row");
    assert_eq!(row, json!({ "data": null, "bytes": 1, "dropped": 1, "kind": "call" }));
    let said = "theater: the data of some events was dropped (prune, redact): NULL stands for what they said\n";
    assert_eq!(text(&output.stderr), said);
    let unasked = sql(&directory, "SELECT type FROM events", &[]);
    assert_eq!(text(&unasked.stderr), "", "nothing is said where nothing is missing");
    assert_eq!(
        number(&directory, "SELECT count(*) FROM messages WHERE message = '{\"op\":\"echo\",\"value\":\"secret\"}'"),
        2
    );
}

#[test]
fn a_hundred_thousand_events_are_read_in_little_memory() {
    const EVENTS: i64 = 100_000;
    const MOST_KIB: u64 = 96 * 1024;
    let stage = Stage::new();
    let running = probes(&stage, &["probe"], "[limits]\ncpu_ms_per_call = 60000\nlog_lines_per_second = 1\n");
    let mut http = Http::connect(running.http("probe"));
    for _ in 0..50 {
        // Each line is an event of some 300 bytes.
        let log = json!({ "op": "log", "text": "x".repeat(250), "times": 2_000 });
        assert_eq!(http.op(&log).status, 200);
    }
    running.shut_down();
    let directory = stage.data_dir();
    assert!(number(&directory, "SELECT count(*) FROM events") >= EVENTS);
    for statement in [
        "SELECT * FROM events",
        "SELECT * FROM events WHERE name = 'probe' ORDER BY sequence DESC",
        "SELECT * FROM events ORDER BY position DESC",
    ] {
        let mut command = Command::new(THEATER);
        command.args(["sql", statement, "--json", "--limit", "0", "--data-dir"]).arg(&directory);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        // It waits for its reader here, with all but some thousand rows behind it.
        let read = (0..EVENTS - 3_000).filter(|_| lines.next().is_some_and(|line| line.is_ok())).count();
        assert_eq!(read as i64, EVENTS - 3_000);
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
        let most =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        let most: u64 = most.expect("a number");
        assert!(most < MOST_KIB, "{statement}: {most} KiB");
        assert!(lines.count() >= 3_000);
        assert!(child.wait().expect("an end").success());
    }
}

#[test]
fn every_column_stands_in_the_page_about_the_command_line() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let output = theater(&["sql", "--json"], None);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut tables: BTreeMap<String, usize> = BTreeMap::new();
    for line in text(&output.stdout).lines() {
        let row: Value = serde_json::from_str(line).expect("JSON");
        let word = |key: &str| row[key].as_str().expect("text").to_owned();
        *tables.entry(word("table")).or_default() += 1;
        let (_, section) = page.split_once(&format!("\n**`{}`**", word("table"))).expect("a section about the table");
        let section = section.split("\n**`").next().expect("a first part");
        let expected = format!("\n| `{}` | {} | {} |\n", word("column"), word("type"), word("meaning"));
        assert!(section.contains(&expected), "not in docs/cli.md: {expected}");
    }
    assert_eq!(tables.len(), 11, "{tables:?}");
    let shown = text(&theater(&["sql"], None).stdout);
    assert!(shown.contains("\n  sequence      INTEGER its place on its actor's chain, from 0\n"), "{shown}");
}
