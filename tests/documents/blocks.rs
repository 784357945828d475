//! Reads the blocks of a Markdown document, and the hidden comments about each block.
//!
//! A comment that stands alone before a block is meant for the test. A reader of the rendered page does not see it:
//!
//! ```text
//!   <!-- not run: REASON -->       the block is an illustration, or cannot be run here
//!   <!-- before: COMMAND -->       this command is run before the block, and is not shown
//!   <!-- prints: TEXT -->          the output of the block contains this text
//!   <!-- fails -->                 the block's last command fails, as the text around it says
//!   <!-- run: COMMAND -->          the block is a file, called BLOCK in this command
//!   <!-- appended to: PATH -->     the block is appended to this file
//! ```

/// A hidden comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marker {
    NotRun(String),
    Before(String),
    Prints(String),
    Fails,
    Run(String),
    AppendedTo(String),
}

/// A block of code.
#[derive(Debug)]
pub struct Block {
    /// The line on which it begins, counted from 1.
    pub line: usize,
    /// The language that a fenced block names; `sh` for an indented block.
    pub language: String,
    pub text: String,
    pub markers: Vec<Marker>,
    /// The file that the line before the block names, as `` `path`: ``.
    pub file: Option<String>,
}

impl Block {
    /// The reason why the block is not run, if there is one.
    pub fn not_run(&self) -> Option<&str> {
        self.markers.iter().find_map(|marker| match marker {
            Marker::NotRun(why) => Some(why.as_str()),
            _ => None,
        })
    }

    /// Whether the block is in a language that is run. It must then be run, or give a reason.
    pub fn is_command(&self) -> bool {
        matches!(self.language.as_str(), "sh" | "console" | "python" | "sql")
    }
}

/// A comment that separates an indented block from the list before it, and has no other meaning.
const SEPARATOR: &str = "<!-- -->";

/// The marker on `line`, if the line is one of these comments and nothing else.
fn marker(line: &str) -> Option<Marker> {
    let comment = line.strip_prefix("<!--")?.strip_suffix("-->")?.trim();
    if comment == "fails" {
        return Some(Marker::Fails);
    }
    if line == SEPARATOR {
        return None;
    }
    let (kind, said) = comment.split_once(": ").unwrap_or_else(|| panic!("a comment that says nothing: {line}"));
    let said = said.trim().to_owned();
    Some(match kind {
        "not run" => Marker::NotRun(said),
        "before" => Marker::Before(said),
        "prints" => Marker::Prints(said),
        "run" => Marker::Run(said),
        "appended to" => Marker::AppendedTo(said),
        other => panic!("no such comment: {other}"),
    })
}

/// Reads all blocks of a document.
pub fn blocks(text: &str) -> Vec<Block> {
    let lines: Vec<&str> = text.lines().collect();
    let (mut found, mut markers) = (Vec::new(), Vec::new());
    let (mut at, mut paragraph) = (0, "");
    while at < lines.len() {
        let line = lines[at];
        let is_indented = |line: &str| line.starts_with("    ");
        let (language, body, end) = if let Some(language) = line.strip_prefix("```") {
            let length = lines[at + 1..].iter().position(|line| line.starts_with("```")).expect("a fence that ends");
            (language.trim(), &lines[at + 1..at + 1 + length], at + length + 2)
        } else if is_indented(line) && (at == 0 || lines[at - 1].is_empty()) {
            let goes_on = |at: usize| {
                is_indented(lines[at])
                    || (lines[at].is_empty() && lines.get(at + 1).is_some_and(|next| is_indented(next)))
            };
            let end = (at..lines.len()).find(|at| !goes_on(*at)).unwrap_or(lines.len());
            ("sh", &lines[at..end], end)
        } else {
            if let Some(marker) = marker(line) {
                markers.push(marker);
            } else if !line.is_empty() && line != SEPARATOR {
                assert!(markers.is_empty(), "line {}: {markers:?} stand before no block", at + 1);
                paragraph = line;
            }
            at += 1;
            continue;
        };
        let unindented = body.iter().map(|line| if language == "sh" { line.get(4..).unwrap_or("") } else { line });
        let text = unindented.collect::<Vec<_>>().join("\n");
        let file = paragraph.strip_suffix("`:").and_then(|path| path.rsplit('`').next()).map(str::to_owned);
        let markers = std::mem::take(&mut markers);
        found.push(Block { line: at + 1, language: language.to_owned(), text, markers, file });
        (at, paragraph) = (end, "");
    }
    assert!(markers.is_empty(), "{markers:?} stand before no block");
    found
}

/// A part of a block that is run separately.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A command for the other terminal, which runs until it is told to end.
    Serve { command: String, expected: Vec<String> },
    /// One command after a `$`, and its expected output.
    Ask { command: String, expected: Vec<String> },
    /// Lines that are run as if they were pasted.
    Paste(String),
}

fn serves(command: &str) -> bool {
    (command == "make run" || command.starts_with("theater run ")) && !command.contains('&')
}

/// The steps of a block of shell commands.
pub fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    if !text.starts_with("$ ") {
        for line in text.lines() {
            let command = line.split(" #").next().unwrap_or(line).trim_end();
            match steps.last_mut() {
                _ if serves(command) => steps.push(Step::Serve { command: command.to_owned(), expected: Vec::new() }),
                Some(Step::Paste(pasted)) => *pasted += &format!("\n{line}"),
                _ => steps.push(Step::Paste(line.to_owned())),
            }
        }
        return steps;
    }
    for line in text.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) if serves(command) => {
                steps.push(Step::Serve { command: command.to_owned(), expected: Vec::new() });
            }
            (Some(command), _) => steps.push(Step::Ask { command: command.to_owned(), expected: Vec::new() }),
            (None, Some(Step::Serve { expected, .. } | Step::Ask { expected, .. })) => expected.push(line.to_owned()),
            (None, _) => unreachable!("it begins with a command"),
        }
    }
    for step in &mut steps {
        if let Step::Serve { expected, .. } | Step::Ask { expected, .. } = step {
            // The empty line that separates two commands is not output.
            while expected.last().is_some_and(String::is_empty) {
                expected.pop();
            }
        }
    }
    steps
}
