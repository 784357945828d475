//! Chunk extensions, byte by byte: `;name`, `;name=value` and `;name="a value"`, exactly as RFC 9112 §7.1.1 says.
//! Nothing here uses them. But if one reader is less strict than another about where an extension ends, somebody can
//! make the two see different chunks.

use super::response::is_token_byte;

/// Which part of a chunk's extensions the last byte was read in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    /// In white space after the size, a name or a value. A `;` must follow, or, after a name, a `=`.
    Gap {
        after_name: bool,
    },
    /// After the `;`, before the name.
    Semicolon,
    Name,
    /// After the `=`, before the value.
    Equals,
    Value,
    Quoted,
    /// After a `\` in quotes.
    Escape,
    QuotedEnd,
}

impl Extension {
    /// Where the extensions are after one more byte, which is not the end of the line; `None` if the byte is not
    /// allowed there.
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
