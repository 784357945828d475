//! Conditions and ranges of a request for a file: RFC 9110, sections 13 and 14.

use super::date;
use crate::HttpRequest;

/// What the conditions are compared with.
pub(super) struct Conditions<'a> {
    pub(super) etag: &'a str,
    /// In seconds since the Unix epoch.
    pub(super) modified: Option<u64>,
    pub(super) length: usize,
}

/// What is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Whole,
    Part {
        first: usize,
        last: usize,
    },
    NotModified,
    /// A condition does not hold.
    Failed,
    /// The range lies behind the end.
    Unsatisfiable,
}

impl Conditions<'_> {
    /// In the order of RFC 9110 §13.2.2.
    pub(super) fn judge(&self, request: &HttpRequest, may_be_part: bool) -> Verdict {
        let header = |name: &str| header(request, name);
        let date = |name: &str| header(name).and_then(date::read);
        match (header("if-match"), date("if-unmodified-since"), self.modified) {
            (Some(tags), ..) if !self.matches(tags, false) => return Verdict::Failed,
            (None, Some(date), Some(modified)) if modified > date => return Verdict::Failed,
            _ => {}
        }
        match (header("if-none-match"), date("if-modified-since"), self.modified) {
            (Some(tags), ..) if self.matches(tags, true) => return Verdict::NotModified,
            (None, Some(date), Some(modified)) if modified <= date => return Verdict::NotModified,
            _ => {}
        }
        match header("range").filter(|_| may_be_part && self.is_the_file_of(header("if-range"))) {
            Some(range) => self.part(range),
            None => Verdict::Whole,
        }
    }

    /// Whether one of the tags is the file's. A weak comparison takes a weak tag for the strong one.
    fn matches(&self, tags: &str, is_weak: bool) -> bool {
        tags.split(',').map(str::trim).any(|tag| {
            let strong = tag.strip_prefix("W/").filter(|_| is_weak).unwrap_or(tag);
            tag == "*" || strong == self.etag
        })
    }

    /// Whether a range may be sent to a client that has a part of what `If-Range` names.
    fn is_the_file_of(&self, if_range: Option<&str>) -> bool {
        match if_range {
            None => true,
            Some(tag) if tag.contains('"') => tag == self.etag,
            Some(when) => date::read(when).is_some_and(|date| self.modified == Some(date)),
        }
    }

    /// One range of bytes; of anything else the whole file is sent.
    fn part(&self, range: &str) -> Verdict {
        let set = range.split_once('=').filter(|(unit, _)| unit.trim().eq_ignore_ascii_case("bytes"));
        let Some((first, last)) = set.and_then(|(_, set)| set.trim().split_once('-')) else { return Verdict::Whole };
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(first) || !is_number(last) || (first.is_empty() && last.is_empty()) {
            return Verdict::Whole;
        }
        // A number that is too large for us lies behind the end.
        let number = |text: &str| text.parse().unwrap_or(usize::MAX);
        let (first, last) = match (first, last) {
            ("", count) => match number(count) {
                0 => return Verdict::Unsatisfiable,
                count => (self.length.saturating_sub(count), usize::MAX),
            },
            (first, "") => (number(first), usize::MAX),
            (first, last) => (number(first), number(last)),
        };
        match self.length.checked_sub(1) {
            _ if first > last => Verdict::Whole,
            Some(end) if first <= end => Verdict::Part { first, last: last.min(end) },
            Some(_) | None => Verdict::Unsatisfiable,
        }
    }
}

/// The value of the only header of this name; of several, it is as if there were none.
fn header<'r>(request: &'r HttpRequest, name: &str) -> Option<&'r str> {
    let mut all = request.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
    let first = all.next().map(|(_, value)| value.trim());
    first.filter(|_| all.next().is_none())
}
