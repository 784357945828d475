//! What clap says of a value that it cannot read, in the words of who typed it: clap quotes Rust's own errors.

use std::io::IsTerminal;

/// What Rust says, and what it means.
const MEANINGS: [(&str, &str); 8] = [
    ("invalid digit found in string", "a whole number is expected, such as 7"),
    ("cannot parse integer from empty string", "a whole number is expected, such as 7"),
    ("number too large to fit in target type", "the number is too large"),
    ("number too small to fit in target type", "the number is too small"),
    ("invalid float literal", "a number is expected, such as 0.5"),
    ("cannot parse float from empty string", "a number is expected, such as 0.5"),
    (
        "invalid socket address syntax",
        "an address and a port are expected, such as 127.0.0.1:9001 or [::1]:9001 (a name does not do)",
    ),
    ("provided string was not `true` or `false`", "true or false is expected"),
];

/// The text for a mistake on the command line.
pub(super) fn said(error: &clap::Error) -> String {
    let text = error.render();
    let text = if std::io::stderr().is_terminal() { text.ansi().to_string() } else { text.to_string() };
    if error.kind() != clap::error::ErrorKind::ValueValidation {
        return text;
    }
    // The value itself may say anything: what Rust says comes after it.
    let (value, why) = text.split_once("': ").unwrap_or(("", &text));
    let meant = MEANINGS.iter().fold(why.to_owned(), |why, (jargon, meaning)| why.replacen(jargon, meaning, 1));
    if value.is_empty() { meant } else { format!("{value}': {meant}") }
}
