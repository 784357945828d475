//! Tests that the commands in README.md and docs/ work as printed. Every block of commands is run as a reader would run
//! it, in a separate shell with the real binary and the demo's actors, and the output is compared with the document. A
//! block that is not run gives the reason in a comment that the rendered page does not show (`documents/blocks.rs`).

mod support;

#[path = "documents/blocks.rs"]
mod blocks;
#[path = "documents/compare.rs"]
mod compare;
#[path = "documents/terminal.rs"]
mod terminal;

use std::path::{Path, PathBuf};

use blocks::{Block, Marker, Step, blocks, steps};
use compare::{are_as_expected, plain};
use terminal::{Printed, Terminal};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(root().join("docs")).expect("docs").map(|entry| entry.expect("an entry").path());
    let mut documents: Vec<_> =
        docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect();
    documents.push(root().join("README.md"));
    documents.sort();
    documents
}

fn read(path: &Path) -> Vec<Block> {
    blocks(&std::fs::read_to_string(path).expect("a document"))
}

/// Follows a document: runs its blocks one after the other.
struct Reader {
    document: PathBuf,
    terminal: Terminal,
}

impl Reader {
    fn follow(&mut self) {
        for block in read(&self.document) {
            self.block(&block);
        }
    }

    fn at(&self, block: &Block) -> String {
        format!("{}:{}", self.document.strip_prefix(root()).expect("one of ours").display(), block.line)
    }

    fn block(&mut self, block: &Block) {
        let at = self.at(block);
        let mut printed = String::new();
        for marker in &block.markers {
            match marker {
                Marker::Before(command) => {
                    let step = steps(&format!("$ {command}")).remove(0);
                    self.step(&at, &step, false);
                }
                Marker::AppendedTo(path) => self.write(path, &block.text, ">>"),
                Marker::Run(command) => {
                    self.write("$SCRATCH/out/block", &block.text, ">");
                    let command = command.replace("BLOCK", "$SCRATCH/out/block");
                    printed += &self.step(&at, &Step::Ask { command, expected: vec!["…".into()] }, false);
                }
                Marker::NotRun(_) | Marker::Prints(_) | Marker::Fails => {}
            }
        }
        if block.not_run().is_none() && block.language == "sh" {
            let steps = steps(&block.text);
            for (nth, step) in steps.iter().enumerate() {
                let fails = block.markers.contains(&Marker::Fails) && nth + 1 == steps.len();
                printed += &self.step(&at, step, fails);
            }
        }
        if let (Some(path), true) = (&block.file, matches!(block.language.as_str(), "toml" | "rust"))
            && !root().join(path).exists()
        {
            self.write(path, &block.text, ">");
        }
        for marker in &block.markers {
            if let Marker::Prints(text) = marker {
                assert!(plain(&printed).contains(&plain(text)), "{at}: not {text}: {printed}");
            }
        }
    }

    fn write(&mut self, path: &str, text: &str, how: &str) {
        let Printed { status, text, .. } = self
            .terminal
            .ask(&format!("mkdir -p \"$(dirname {path})\"; cat {how} {path} <<'THE_END'\n{text}\nTHE_END"));
        assert_eq!(status, 0, "{path}: {text}");
    }

    /// Runs a step, checks its output, and returns the output.
    fn step(&mut self, at: &str, step: &Step, fails: bool) -> String {
        let (command, expected, Printed { status, text, failed }) = match step {
            Step::Serve { command, expected } => (command, expected, self.terminal.serve(command)),
            Step::Ask { command, expected } => (command, expected, self.terminal.ask(command)),
            Step::Paste(lines) => {
                let Printed { status, text, mut failed } = self.terminal.ask(lines);
                let last = if fails { failed.pop() } else { None };
                assert!(!fails || (last.is_some() && status != 0), "{at}: it is said to be refused: {text}");
                assert!(failed.is_empty(), "{at}: failed: {failed:?}\n{text}");
                return text + "\n";
            }
        };
        let lines: Vec<&str> = text.lines().collect();
        let is_refused = expected.iter().any(|line| line.starts_with("theater: "));
        assert_eq!(is_refused, status != 0, "{at}: {command}: exit status {status} {failed:?}\n{text}");
        let is_said = is_refused || !expected.is_empty();
        assert!(
            !is_said || are_as_expected(expected, &lines),
            "{at}: {command}\nprints\n{text}\nwhere the document has\n{}",
            expected.join("\n")
        );
        text + "\n"
    }
}

fn follow(document: &str, has_program: bool) {
    let terminal = match Terminal::open(has_program) {
        Ok(terminal) => terminal,
        Err(why) => {
            return support::skipped(document, &format!("no checkout and network of its own to run it in: {why}"));
        }
    };
    Reader { document: root().join(document), terminal }.follow();
}

#[test]
fn every_block_of_commands_is_run_or_says_why_it_is_not() {
    for path in documents() {
        let name = path.strip_prefix(root()).expect("one of ours").display().to_string();
        let (mut run, mut not_run) = (0, 0);
        for block in read(&path).iter().filter(|block| block.is_command()) {
            let has_a_way =
                block.language == "sh" || block.markers.iter().any(|marker| matches!(marker, Marker::Run(_)));
            match block.not_run() {
                Some(why) => assert!(why.len() > 5, "{name}:{}: no reason", block.line),
                None => assert!(has_a_way, "{name}:{}: neither run nor marked", block.line),
            }
            if block.not_run().is_some() { not_run += 1 } else { run += 1 }
        }
        assert!(run == 0 || FOLLOWED.contains(&name.as_str()), "{name} has {run} blocks to run, and no test that does");
        println!("{name}: {run} blocks are run, {not_run} are not");
    }
}

/// The documents that tests below follow.
const FOLLOWED: [&str; 9] = [
    "README.md",
    "docs/cli.md",
    "docs/configuration.md",
    "docs/handlers.md",
    "docs/journal.md",
    "docs/management.md",
    "docs/observing.md",
    "docs/proofs.md",
    "docs/writing-actors.md",
];

#[test]
fn the_tour_of_the_readme_works_when_it_is_pasted() {
    follow("README.md", false);
}

#[test]
fn the_examples_of_the_command_line_work_as_printed() {
    follow("docs/cli.md", true);
}

#[test]
fn the_examples_of_configuration_and_handlers_work_as_printed() {
    follow("docs/configuration.md", true);
    follow("docs/handlers.md", true);
}

#[test]
fn the_queries_and_commands_about_the_journal_work_as_printed() {
    follow("docs/journal.md", true);
}

#[test]
fn the_client_on_the_page_about_the_protocol_works_as_printed() {
    follow("docs/management.md", true);
}

#[test]
fn the_health_that_is_asked_for_is_as_printed() {
    follow("docs/observing.md", true);
}

#[test]
fn a_proof_is_made_and_checked_as_printed() {
    follow("docs/proofs.md", true);
}

#[test]
fn the_actor_that_a_newcomer_writes_works_as_printed() {
    follow("docs/writing-actors.md", true);
}

#[test]
fn every_block_of_toml_can_be_read() {
    for path in documents() {
        for block in read(&path).iter().filter(|block| block.language == "toml") {
            let read = toml::from_str::<toml::Table>(&block.text);
            assert!(read.is_ok(), "{}:{}: {read:?}", path.display(), block.line);
        }
    }
}

/// Paths in documents that the reader, or a run, creates.
const NOT_THERE: [&str; 7] = [
    "NAME",
    "actors/tally/",
    "manifests/tally.toml",
    "benches/system/target",
    "benches/services/target",
    "fuzz/regressions/",
    "src/main.",
];

/// The anchor of a heading, as links name it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_and_every_path_in_the_documents_leads_somewhere() {
    let mut all = documents();
    all.push(root().join("ARCHITECTURE.md"));
    for path in all {
        let text = std::fs::read_to_string(&path).expect("a document");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().expect("a directory").join(file) };
            assert!(target.exists(), "{}: no {link}", path.display());
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&target).expect("a document");
                let headings = text.lines().filter(|line| line.starts_with('#'));
                let has_it = headings.map(|line| anchor(line.trim_start_matches('#'))).any(|it| it == heading);
                assert!(has_it, "{}: {link}: there is no such heading", path.display());
            }
        }
        let is_path = |word: &&str| {
            let first = word.split('/').next().unwrap_or_default();
            let is_ours = ["src", "tests", "docs", "wit", "actors", "benches", "fuzz", "scripts", "manifests"];
            is_ours.contains(&first) && word.contains('/') && !word.contains([' ', '…', '*', '$'])
        };
        for word in text.split('`').skip(1).step_by(2).filter(is_path) {
            let is_known = NOT_THERE.iter().any(|known| word.contains(known)) || root().join(word).exists();
            assert!(is_known, "{}: there is no {word}", path.display());
        }
    }
}

#[test]
fn what_differs_from_run_to_run_is_not_compared_and_all_else_is() {
    for (expected, line, is_so) in [
        ("stopped 18f807a3-a78f-4490-908f-fe22fa4be691", "stopped 00000000-a78f-4490-908f-fe22fa4be690", true),
        ("stopped 18f807a3-a78f-4490-908f-fe22fa4be691", "stopped x", false),
        ("     1  21:59:19.015Z  call  {\"a\":1}", "   1  00:00:00.000Z  call  {\"a\":1}", true),
        ("     1  21:59:19.015Z  call  {\"a\":1}", "   1  00:00:00.000Z  call  {\"a\":2}", false),
        ("a … c", "a b c", true),
        ("a … c", "a b", false),
        ("15 events", "16 events", false),
    ] {
        assert_eq!(are_as_expected(&[expected.to_owned()], &[line]), is_so, "{expected}: {line}");
    }
    let expected = ["a", "…", "z"].map(str::to_owned);
    assert!(are_as_expected(&expected, &["a", "b", "c", "z"]) && are_as_expected(&expected, &["a", "z"]));
    assert!(!are_as_expected(&expected, &["a", "b"]));
}
