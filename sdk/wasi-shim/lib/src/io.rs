//! `wasi:io`: output goes to the actor's log, line by line; input is at its end; waiting is refused.

use std::cell::RefCell;
use std::thread::LocalKey;

use crate::bindings::exports::wasi::io::{error, poll, streams};
use crate::bindings::ntwk::theater::runtime;
use crate::{Clock, Random, Shim, fail};
use streams::StreamError;

/// An error of a stream. There is none.
pub enum IoError {}

impl error::GuestError for IoError {
    fn to_debug_string(&self) -> String {
        match *self {}
    }
}

impl<C: Clock, R: Random> error::Guest for Shim<C, R> {
    type Error = IoError;
}

/// Something that a program may wait for.
pub enum Pollable {
    Ready,
    /// A time that has not come. Nothing lets it pass while the actor works.
    Later,
}

impl Pollable {
    pub(crate) fn ready() -> poll::Pollable {
        poll::Pollable::new(Self::Ready)
    }
}

fn refuse_to_sleep() -> ! {
    fail("an actor cannot sleep: it works on one call, and then on the next. Set a timer (the handler `timer`) instead")
}

impl poll::GuestPollable for Pollable {
    fn ready(&self) -> bool {
        matches!(self, Self::Ready)
    }

    fn block(&self) {
        if !poll::GuestPollable::ready(self) {
            refuse_to_sleep()
        }
    }
}

impl<C: Clock, R: Random> poll::Guest for Shim<C, R> {
    type Pollable = Pollable;

    fn poll(pollables: Vec<poll::PollableBorrow<'_>>) -> Vec<u32> {
        let is_ready = |it: &poll::PollableBorrow<'_>| matches!(it.get::<Pollable>(), Pollable::Ready);
        let ready: Vec<u32> = (0..).zip(&pollables).filter(|(_, it)| is_ready(it)).map(|(at, _)| at).collect();
        if ready.is_empty() {
            refuse_to_sleep()
        }
        ready
    }
}

/// A line that is longer goes to the log in pieces of this length.
const LONGEST_LINE: usize = 8192;

/// The part of a line that has been written.
type Line = RefCell<Vec<u8>>;

thread_local! {
    static OUTPUT: Line = const { RefCell::new(Vec::new()) };
    static ERRORS: Line = const { RefCell::new(Vec::new()) };
}

/// Standard output or standard error.
pub struct Output(&'static LocalKey<Line>);

impl Output {
    pub(crate) fn standard() -> streams::OutputStream {
        streams::OutputStream::new(Self(&OUTPUT))
    }

    pub(crate) fn errors() -> streams::OutputStream {
        streams::OutputStream::new(Self(&ERRORS))
    }

    fn put(&self, bytes: &[u8]) {
        self.0.with_borrow_mut(|line| each_line(line, bytes, runtime::log));
    }
}

/// Adds `bytes` to what is written of a line, and logs each line that is complete.
fn each_line(line: &mut Vec<u8>, bytes: &[u8], log: impl Fn(&str)) {
    for &byte in bytes {
        if byte != b'\n' {
            line.push(byte);
        }
        if byte == b'\n' || line.len() == LONGEST_LINE {
            log(&String::from_utf8_lossy(line));
            line.clear();
        }
    }
}

impl streams::GuestOutputStream for Output {
    fn check_write(&self) -> Result<u64, StreamError> {
        Ok(1 << 16)
    }

    fn write(&self, contents: Vec<u8>) -> Result<(), StreamError> {
        self.put(&contents);
        Ok(())
    }

    fn blocking_write_and_flush(&self, contents: Vec<u8>) -> Result<(), StreamError> {
        self.write(contents)
    }

    /// A part of a line waits for its end: libraries flush after each piece that they write.
    fn flush(&self) -> Result<(), StreamError> {
        Ok(())
    }

    fn blocking_flush(&self) -> Result<(), StreamError> {
        Ok(())
    }

    fn subscribe(&self) -> streams::Pollable {
        Pollable::ready()
    }

    fn write_zeroes(&self, len: u64) -> Result<(), StreamError> {
        (0..len).for_each(|_| self.put(&[0]));
        Ok(())
    }

    fn blocking_write_zeroes_and_flush(&self, len: u64) -> Result<(), StreamError> {
        self.write_zeroes(len)
    }

    fn splice(&self, _: streams::InputStreamBorrow<'_>, _: u64) -> Result<u64, StreamError> {
        Err(StreamError::Closed)
    }

    fn blocking_splice(&self, _: streams::InputStreamBorrow<'_>, _: u64) -> Result<u64, StreamError> {
        Err(StreamError::Closed)
    }
}

/// Standard input, which is at its end.
pub struct Input;

impl streams::GuestInputStream for Input {
    fn read(&self, _: u64) -> Result<Vec<u8>, StreamError> {
        Err(StreamError::Closed)
    }

    fn blocking_read(&self, _: u64) -> Result<Vec<u8>, StreamError> {
        Err(StreamError::Closed)
    }

    fn skip(&self, _: u64) -> Result<u64, StreamError> {
        Err(StreamError::Closed)
    }

    fn blocking_skip(&self, _: u64) -> Result<u64, StreamError> {
        Err(StreamError::Closed)
    }

    fn subscribe(&self) -> streams::Pollable {
        Pollable::ready()
    }
}

impl<C: Clock, R: Random> streams::Guest for Shim<C, R> {
    type InputStream = Input;
    type OutputStream = Output;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_becomes_lines_wherever_it_is_cut_and_a_part_of_a_line_waits() {
        let (mut line, lines) = (Vec::new(), RefCell::new(Vec::new()));
        let mut put = |text: &[u8]| each_line(&mut line, text, |it| lines.borrow_mut().push(it.to_owned()));
        put(b"one\ntw");
        put("o \u{e9}".as_bytes().split_at(3).0);
        put("o \u{e9}".as_bytes().split_at(3).1);
        put(b"\n\nrest");
        assert_eq!(*lines.borrow(), ["one", "two \u{e9}", ""]);
        assert_eq!(line, b"rest");
    }

    #[test]
    fn a_line_without_an_end_goes_to_the_log_in_pieces_and_bytes_that_are_no_text_are_replaced() {
        let (mut line, lines) = (Vec::new(), RefCell::new(Vec::new()));
        each_line(&mut line, &[b'x'; 2 * LONGEST_LINE + 1], |it| lines.borrow_mut().push(it.len()));
        assert_eq!((&*lines.borrow(), line.len()), (&vec![LONGEST_LINE; 2], 1));
        let text = RefCell::new(String::new());
        each_line(&mut Vec::new(), b"a\xffb\n", |it| text.borrow_mut().push_str(it));
        assert_eq!(*text.borrow(), "a\u{fffd}b");
    }
}
