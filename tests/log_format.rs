//! Tests of the log's format: it is read and written again by the document alone.

mod support;

use serde_json::json;
use support::log_file::{Footer, LogFile, LogRecord, segment_files};
use support::{Http, Stage};

/// A journal with all kinds of records, in several segments.
#[test]
fn a_reader_without_the_crate_reads_the_log_and_writes_it_again_byte_for_byte() {
    let stage = Stage::new();
    let manifests = [
        stage.http_manifest("asker", "probe", "restart = \"permanent\"\nmax_restarts = 9\n"),
        stage.manifest("asked", "probe", "reuse = 3\n"),
        stage.manifest("gone", "probe", ""),
        stage.manifest("scribe", "scribe", "[[handlers]]\ntype = \"table\"\n"),
    ];
    for life in 0..3 {
        let running = stage.run(&[&manifests[0], &manifests[1], &manifests[2], &manifests[3]]);
        let put = json!({ "op": "put", "key": format!("life {life}"), "value": "x" });
        running.request("scribe", &put).expect("an answer");
        let mut http = Http::connect(running.http("asker"));
        let large = json!({ "op": "echo", "value": "x".repeat(20_000) });
        for message in [&json!("count"), &large] {
            let request = json!({ "op": "request", "to": running.id("asked"), "msg": message });
            assert_eq!(http.op(&json!({ "op": "many", "ops": ["count", request] })).status, 200);
            let send = json!({ "op": "send", "to": running.id("asked"), "msg": message });
            assert_eq!(http.op(&send).status, 200);
        }
        assert_eq!(http.op(&json!({ "op": "state-bytes", "n": 9_000 })).status, 200);
        let _ = running.request("asker", &json!("trap"));
        running.until("asker", "running");
        if life == 0 {
            running.say(&["stop", "gone"]);
            running.say(&["forget", "gone"]);
            running.json(&["redact", "asker", "--event", "3"]);
        }
        if life == 1 {
            running.json(&["prune", "asked", "--before", "1000"]);
            running.json(&["prune", "scribe", "--before", "1000"]);
            running.kill();
        } else {
            running.shut_down();
        }
    }
    let data = stage.data_dir();
    let bytes = || segment_files(&data).iter().map(|file| std::fs::read(file).expect("a segment")).collect::<Vec<_>>();
    let (written, log) = (bytes(), LogFile::read(&data));
    assert!(log.encoded().0 == written, "the same records are the same bytes");
    assert!(log.segments.len() >= 2, "what was dropped from was sealed");
    let has = |wanted: fn(&LogRecord) -> bool| log.records().any(wanted);
    assert!(has(|record| matches!(record, LogRecord::Blob { is_state: false, .. })));
    assert!(has(|record| matches!(record, LogRecord::State { .. })));
    assert!(has(|record| matches!(record, LogRecord::Dropped { .. })));
    assert!(has(|record| matches!(record, LogRecord::Forgotten(_))));
    assert!(has(|record| matches!(record, LogRecord::Row { .. })));
    assert!(log.events().any(|event| event.data.kept().is_none()), "data was dropped");
    assert!(log.events().any(|event| event.owes.is_some()) && log.events().any(|event| !event.settles.is_empty()));
    assert!(log.segments.iter().any(|segment| matches!(segment.footer, Footer::Right { generation: 1.. })));

    let mut again = log.clone();
    again.link();
    again.sum_up();
    assert_eq!(again, log, "places and standing sums are what the document says");
    let mark = || std::fs::read_to_string(data.join("journal.mark")).expect("the mark");
    let newest =
        |mark: String| mark.lines().max_by_key(|line| line.split(' ').nth(3)?.parse::<u64>().ok()).map(str::to_owned);
    let before = newest(mark());
    log.mark(&data);
    assert_eq!(newest(mark()), before, "the mark vouches for the end of the log");
}
