//! Checkpoints (C2SP `tlog-checkpoint`): the text that says how many leaves the tree of a log has and what its root is.

use std::fmt;

use super::note::{NoteError, PublicKey, SignedNote};
use super::tree::TreeHash;

/// How far a tree has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The name of the log, which no other log has.
    pub(crate) origin: String,
    pub(crate) size: u64,
    pub(crate) root: TreeHash,
}

/// Whether a text can name a log.
pub(crate) fn is_origin(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && !text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '+')
}

impl Checkpoint {
    /// The checkpoint that the text of a note stands for. One with further lines is not understood: they could say that it
    /// means something else.
    pub(crate) fn parse(text: &str) -> Result<Self, NoteError> {
        let form = |why| NoteError::Form(why);
        let mut lines = text.strip_suffix('\n').unwrap_or_default().split('\n');
        let (Some(origin), Some(size), Some(root), None) = (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(form("a checkpoint has three lines: origin, size and root"));
        };
        if !is_origin(origin) {
            return Err(form("the origin of a checkpoint is a text without white space"));
        }
        let size = number(size).ok_or(form("the size of a checkpoint is a number"))?;
        let root = TreeHash::parse(root).ok_or(form("the root of a checkpoint is the base64 of 32 bytes"))?;
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// The checkpoint in a note that this key has signed.
    pub(crate) fn of_note(note: &SignedNote, key: &PublicKey) -> Result<Self, NoteError> {
        note.verify(key)?;
        Self::parse(&note.text)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root)
    }
}

/// A decimal number in its one spelling.
pub(crate) fn number(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_has_one_spelling() {
        let checkpoint = Checkpoint { origin: "example.com/bank".into(), size: 20_852_163, root: TreeHash::leaf(b"") };
        let text = checkpoint.to_string();
        assert_eq!(text, "example.com/bank\n20852163\nbjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\n");
        assert_eq!(Checkpoint::parse(&text), Ok(checkpoint));
        for wrong in [
            "",
            "\n",
            &text[..text.len() - 1],
            &text.replace("20852163", "020852163"),
            &text.replace("20852163", "+20852163"),
            &text.replace("20852163", "-1"),
            &text.replace("example.com/bank", ""),
            &text.replace("example.com/bank", "a b"),
            &text.replace("B0=", "B0"),
            &text.replace("B0=", "B1="),
            &format!("{text}more\n"),
            &format!("{text}\n"),
        ] {
            assert!(Checkpoint::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
