//! Starting threads: every thread of this crate is started here. Each has a name, and its panic is caught, logged with
//! that name, and handed to the thread that joins it.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle as StdJoinHandle};

use parking_lot::Mutex;

use super::fail;
use super::stack;

/// Linux keeps 15 bytes of a thread's name.
pub(crate) const NAME_BYTES: usize = 15;

/// Bytes of stack that are enough for code that runs no guest.
pub(crate) const STACK_BYTES: usize = 256 * 1024;

/// A thread that was started; to be joined.
#[derive(Debug)]
#[must_use = "a thread that nobody joins can outlive what it uses"]
pub(crate) struct JoinHandle(StdJoinHandle<Result<(), ThreadPanicked>>);

/// The thread ended by a panic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("thread {name} panicked: {message}")]
pub(crate) struct ThreadPanicked {
    pub(crate) name: String,
    pub(crate) message: String,
}

impl JoinHandle {
    /// Waits for the thread to end.
    pub(crate) fn join(self) -> Result<(), ThreadPanicked> {
        self.0.join().expect("the body catches its panics")
    }
}

/// Starts a thread called `name`, cut to [`NAME_BYTES`]. Fails where the system grants no more threads.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle> {
    spawn_sized(name, STACK_BYTES, body)
}

/// Like [`spawn`], for a thread that others cannot do without. When the thread ends, it calls `told`, with the panic if there was
/// one.
pub(crate) fn spawn_vital(
    name: &str,
    body: impl FnOnce() + Send + 'static,
    told: impl FnOnce(Option<ThreadPanicked>) + Send + 'static,
) -> io::Result<JoinHandle> {
    let called = short(name);
    spawn(name, move || {
        let end = run(called, Box::new(body));
        told(end.err());
    })
}

/// Like [`spawn`], with a stack of `stack_bytes`.
pub(crate) fn spawn_sized(
    name: &str,
    stack_bytes: usize,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle> {
    let name = short(name);
    if fail::is_refused(&name) {
        return Err(none_left(&io::ErrorKind::WouldBlock.into()));
    }
    let thread = Builder::new().name(name.clone()).stack_size(stack_bytes);
    let body = Box::new(move || {
        stack::note(stack_bytes);
        body();
    });
    thread.spawn(move || run(name, body)).map(JoinHandle).map_err(|error| none_left(&error))
}

/// Like [`spawn_sized`], for a body that needs `value`: if the system grants no thread, `value` comes back with the error. A
/// value that the body captured would be lost with the body.
pub(crate) fn spawn_with<T: Send + 'static>(
    name: &str,
    stack_bytes: usize,
    value: T,
    body: impl FnOnce(T) + Send + 'static,
) -> Result<JoinHandle, (io::Error, T)> {
    let handed_over = Arc::new(Mutex::new(Some(value)));
    let taken = Arc::clone(&handed_over);
    let body = move || {
        let value = taken.lock().take();
        drop(taken);
        body(value.expect("it is taken once, here"));
    };
    spawn_sized(name, stack_bytes, body).map_err(|error| {
        let value = handed_over.lock().take();
        (error, value.expect("there is no thread that could have taken it"))
    })
}

/// Runs the body of a thread, and catches its panic. The body is boxed and the panic is reported in a function of its own, so
/// that the frames of a thread that waits stay small.
fn run(name: String, body: Box<dyn FnOnce() + '_>) -> Result<(), ThreadPanicked> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|panic| report(name, &*panic))
}

#[cold]
#[inline(never)]
fn report(name: String, panic: &(dyn Any + Send)) -> ThreadPanicked {
    let message = panic_message(panic);
    log::error!("thread {name} panicked: {message}");
    ThreadPanicked { name, message }
}

/// The system's message says neither what was missing nor what to do about it; this adds both.
fn none_left(error: &io::Error) -> io::Error {
    let remedy = "no thread is left: raise `ulimit -u`, TasksMax or what else bounds them (`theater doctor` looks)";
    io::Error::new(error.kind(), format!("{error}: {remedy}"))
}

/// The message of a panic.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// The longest prefix of `name` that fits, cut between characters. A NUL would end the name early, so it is left out.
fn short(name: &str) -> String {
    let mut cut = name.replace('\0', "");
    cut.truncate(cut.floor_char_boundary(NAME_BYTES));
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_reaches_whoever_joins_the_thread() {
        let thread = spawn("doomed", || panic!("on purpose")).expect("a thread");
        let panicked = thread.join().expect_err("the body panicked");
        assert_eq!((panicked.name.as_str(), panicked.message.as_str()), ("doomed", "on purpose"));
    }

    #[test]
    fn the_panic_of_a_vital_thread_is_told_and_so_is_its_end_in_order() {
        for (body, expected) in [((|| panic!("on purpose")) as fn(), Some("on purpose")), (|| (), None)] {
            let (tell, told) = std::sync::mpsc::channel();
            let thread = spawn_vital("vital", body, move |end| tell.send(end).expect("it is heard"));
            thread.expect("a thread").join().expect("it was told");
            let panicked = told.recv().expect("it was told");
            assert_eq!(panicked.as_ref().map(|it| (&*it.name, &*it.message)), expected.map(|what| ("vital", what)));
        }
    }

    #[test]
    fn a_value_comes_back_where_there_is_no_thread_for_it() {
        let taken = spawn_with("small", STACK_BYTES, 7, |value| assert_eq!(value, 7)).expect("a thread");
        taken.join().expect("it was given the value");
        let (error, value) = spawn_with("huge", 1 << 46, 7, |_| unreachable!()).expect_err("no stack is so large");
        assert_eq!(value, 7);
        assert!(error.to_string().contains("no thread is left"), "{error}");
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(short("a-äääääääääää"), "a-ääääää");
        assert_eq!(short("journal"), "journal");
    }
}
