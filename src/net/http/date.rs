//! The `Date` header: the wall clock as HTTP writes it, formatted once a second.

use std::time::{Duration, UNIX_EPOCH};

use crate::base::clock;

/// The last second that has a date in HTTP: the end of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// The text of one second, which is kept until the next.
#[derive(Debug, Default)]
pub(crate) struct DateText {
    second: u64,
    text: String,
}

impl DateText {
    /// The present moment, such as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
    pub(crate) fn now(&mut self) -> &str {
        self.at((clock::unix_ms() / 1_000).min(LAST_SECOND))
    }

    fn at(&mut self, second: u64) -> &str {
        if self.second != second || self.text.is_empty() {
            self.second = second;
            self.text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_http_wants_it() {
        let mut date = DateText::default();
        for (second, text) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (LAST_SECOND, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(date.at(second), text);
            assert_eq!(date.at(second), text, "the text is kept");
        }
        assert_eq!(date.now().len(), 29);
    }
}
