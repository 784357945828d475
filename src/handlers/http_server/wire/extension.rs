//! Chunk extensions, byte by byte: `;name`, `;name=value` and `;name="a value"`, RFC 9112 §7.1.1 to the letter. They say
//! nothing to this end, but a reader that is looser than another about where one ends can be made to see other chunks.

use super::response::is_token_byte;

/// Where in the extensions of a chunk the last byte was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    /// White space behind the size, a name or a value: a `;` must follow, or behind a name a `=`.
    Gap {
        after_name: bool,
    },
    /// Behind the `;`, before the name.
    Semicolon,
    Name,
    /// Behind the `=`, before the value.
    Equals,
    Value,
    Quoted,
    /// Behind a `\` in quotes.
    Escape,
    QuotedEnd,
}

impl Extension {
    /// Where the extensions are with one more byte, other than the line end behind them; `None` where it may not stand.
    pub(crate) fn next(self, byte: u8) -> Option<Self> {
        let is_space = matches!(byte, b' ' | b'\t');
        let is_token = is_token_byte(byte);
        match self {
            Self::Gap { .. } | Self::Semicolon | Self::Equals if is_space => Some(self),
            Self::Name | Self::Value | Self::QuotedEnd if is_space => {
                Some(Self::Gap { after_name: self == Self::Name })
            }
            Self::Gap { .. } | Self::Name | Self::Value | Self::QuotedEnd if byte == b';' => Some(Self::Semicolon),
            Self::Gap { after_name: true } | Self::Name if byte == b'=' => Some(Self::Equals),
            Self::Semicolon | Self::Name if is_token => Some(Self::Name),
            Self::Equals if byte == b'"' => Some(Self::Quoted),
            Self::Equals | Self::Value if is_token => Some(Self::Value),
            Self::Quoted if byte == b'"' => Some(Self::QuotedEnd),
            Self::Quoted if byte == b'\\' => Some(Self::Escape),
            Self::Quoted | Self::Escape if is_space || matches!(byte, b'!'..=b'~' | 0x80..) => Some(Self::Quoted),
            _ => None,
        }
    }

    /// Whether the line may end here.
    pub(crate) fn may_end(self) -> bool {
        matches!(self, Self::Name | Self::Value | Self::QuotedEnd)
    }
}
