//! Text that others wrote, made fit for one line of a log or of an answer, or for a terminal.

/// Whether a character changes how the text around it is shown: it controls a terminal, or the direction of writing, or ends a
/// line where no line feed stands.
pub(crate) fn is_treacherous(character: char) -> bool {
    let changes_direction =
        matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || changes_direction || matches!(character, '\u{2028}' | '\u{2029}')
}

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
            other if is_treacherous(other) => line.push('\u{fffd}'),
            other => line.push(other),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_how_others_are_shown_is_replaced() {
        assert_eq!(
            one_line("\u{202e}a\u{2066}b\u{9b}c\u{2028}d\u{61c}ü", 100),
            "\u{fffd}a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}ü"
        );
    }

    #[test]
    fn a_text_of_others_is_one_line_of_bounded_length() {
        assert_eq!(one_line("a\nb\rc\x1b[31md\te", 100), "a\\nb\\rc\u{fffd}[31md\u{fffd}e");
        let cut = one_line(&"ä".repeat(101), 100);
        assert_eq!(cut.chars().count(), 101);
        assert!(cut.ends_with('…'));
    }
}
