//! The value of a secret, which no text of this program shows.

use std::fmt;
use std::sync::Arc;

use crate::base::limits::SECRET_BYTES;

/// One line of printable ASCII, so that it can stand in a header.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretValue(Arc<str>);

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

impl SecretValue {
    /// The value that a source gave, without the line end after it. The error says what is wrong, and quotes nothing.
    pub(super) fn of(given: &[u8]) -> Result<Self, String> {
        let line = given.strip_suffix(b"\n").unwrap_or(given);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Err("it is empty".into());
        }
        if line.len() as u64 > SECRET_BYTES {
            return Err(format!("it is longer than {SECRET_BYTES} bytes"));
        }
        let is_printable = |byte: &u8| matches!(byte, b' '..=b'~');
        match std::str::from_utf8(line) {
            Ok(text) if line.iter().all(is_printable) => {
                if text.trim().len() == text.len() {
                    Ok(Self(text.into()))
                } else {
                    Err("it begins or ends with a space, which a header cannot carry".into())
                }
            }
            Ok(_) | Err(_) => Err("it has a character that a header cannot carry: a line break, another control \
                                   character, or one outside of ASCII"
                .into()),
        }
    }

    /// The value itself, for the one place that sends it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_end_after_a_value_is_no_part_of_it() {
        for given in ["a b", "a b\n", "a b\r\n"] {
            assert_eq!(SecretValue::of(given.as_bytes()).expect(given).reveal(), "a b");
        }
    }

    #[test]
    fn what_no_header_can_carry_is_refused_without_being_quoted() {
        let long = vec![b'x'; 16 * 1024 + 1];
        for (given, why) in [
            (&b""[..], "it is empty"),
            (b"\r\n", "it is empty"),
            (&long, "it is longer than 16384 bytes"),
            (b"hunter\n\n", "it has a character that a header cannot carry"),
            (b"hunter\r\nX-Evil: 1", "it has a character that a header cannot carry"),
            (b"hunter\t2", "it has a character that a header cannot carry"),
            (b"hunter\0", "it has a character that a header cannot carry"),
            ("h\u{fc}nter".as_bytes(), "it has a character that a header cannot carry"),
            (b"hunter\xff", "it has a character that a header cannot carry"),
            (b" hunter", "it begins or ends with a space"),
            (b"hunter \n", "it begins or ends with a space"),
        ] {
            let refused = SecretValue::of(given).expect_err(why);
            assert!(refused.starts_with(why) && !refused.contains("hunter"), "{refused}");
        }
        SecretValue::of(&long[1..]).expect("it is just short enough");
    }

    #[test]
    fn a_value_is_not_shown() {
        let value = SecretValue::of(b"hunter2").expect("a value");
        assert_eq!(format!("{value:?} {:?}", Some(&value)), "SecretValue(…) Some(SecretValue(…))");
    }
}
