//! Text that others wrote, made fit for one line of a log or of an answer.

/// The text as one line of at most `most` characters: line ends are spelled out, other control characters are replaced, and a
/// long line is cut.
pub(crate) fn one_line(text: &str, most: usize) -> String {
    let mut line = String::with_capacity(text.len().min(most));
    for (count, character) in text.chars().enumerate() {
        if count == most {
            line.push('…');
            break;
        }
        match character {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            other if other.is_control() => line.push('\u{fffd}'),
            other => line.push(other),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_others_is_one_line_of_bounded_length() {
        assert_eq!(one_line("a\nb\rc\x1b[31md\te", 100), "a\\nb\\rc\u{fffd}[31md\u{fffd}e");
        let cut = one_line(&"ä".repeat(101), 100);
        assert_eq!(cut.chars().count(), 101);
        assert!(cut.ends_with('…'));
    }
}
