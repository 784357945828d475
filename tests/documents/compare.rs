//! Compares the output of a command with the output in a document, except for parts that differ from run to run.

/// Whether `c` may be part of a word that differs from run to run.
fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.')
}

/// What kind of changing word this is, if any; another word of the same kind may stand in its place.
fn kind(word: &str) -> Option<&'static str> {
    let bytes = word.as_bytes();
    let is_hex = |word: &str| word.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let has_form = |form: &str| {
        form.len() == word.len()
            && form
                .bytes()
                .zip(bytes)
                .all(|(form, byte)| if form == b'0' { byte.is_ascii_digit() } else { form == *byte })
    };
    if word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && is_hex(&word.replace('-', "")) {
        return Some("ID");
    }
    if matches!(word.len(), 40 | 64) && is_hex(word) {
        return Some("HASH");
    }
    if has_form("00:00:00.000Z") || has_form("0000-00-00T00:00:00.000Z") {
        return Some("TIME");
    }
    if has_form("0000000000000") {
        return Some("MILLISECONDS");
    }
    (word.len() <= 4 && word.ends_with('s') && word[..word.len() - 1].parse::<u8>().is_ok()).then_some("SECONDS")
}

/// Replaces the parts that differ from run to run, and makes all spaces single.
pub fn plain(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line.trim_end();
    while let Some(first) = rest.chars().next() {
        // A character that joins two parts of a word does not begin one.
        let is_joint = !first.is_ascii_alphanumeric();
        let end = if is_joint { 0 } else { rest.find(|c| !is_of_word(c)).unwrap_or(rest.len()) };
        let (word, after) = rest.split_at(end.max(first.len_utf8()));
        match kind(word) {
            Some(kind) => plain += kind,
            None if word == " " && plain.ends_with(' ') => {}
            None => plain += word,
        }
        rest = after;
    }
    plain.trim_start().to_owned()
}

/// Whether a line is as expected; `…` stands for any text.
pub fn is_as_expected(expected: &str, line: &str) -> bool {
    let (expected, line) = (plain(expected), plain(line));
    let mut parts = expected.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

/// Whether all lines are as expected; a line `…` stands for any number of lines.
pub fn are_as_expected(expected: &[String], lines: &[&str]) -> bool {
    match expected.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first.trim() == "…" => {
            (0..=lines.len()).any(|skipped| are_as_expected(rest, &lines[skipped..]))
        }
        Some((first, rest)) => {
            lines.split_first().is_some_and(|(line, lines)| is_as_expected(first, line) && are_as_expected(rest, lines))
        }
    }
}
