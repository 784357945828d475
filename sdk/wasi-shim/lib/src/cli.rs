//! `wasi:cli`: no arguments and no environment, output that is logged, no terminal, and an exit that fails the call.

use crate::bindings::exports::wasi::cli;
use crate::io::{Input, Output};
use crate::{Clock, Random, Shim, fail};

impl<C: Clock, R: Random> cli::environment::Guest for Shim<C, R> {
    fn get_environment() -> Vec<(String, String)> {
        Vec::new()
    }

    fn get_arguments() -> Vec<String> {
        Vec::new()
    }

    fn initial_cwd() -> Option<String> {
        None
    }
}

fn refuse_to_exit(how: &str) -> ! {
    fail(&format!("an actor cannot exit: the program asked to end with {how}. Return from the handler instead"))
}

impl<C: Clock, R: Random> cli::exit::Guest for Shim<C, R> {
    fn exit(status: Result<(), ()>) {
        let how = if status.is_ok() { "success" } else { "a failure" };
        refuse_to_exit(how)
    }

    fn exit_with_code(code: u8) {
        refuse_to_exit(&format!("the code {code}"))
    }
}

impl<C: Clock, R: Random> cli::stdin::Guest for Shim<C, R> {
    fn get_stdin() -> cli::stdin::InputStream {
        cli::stdin::InputStream::new(Input)
    }
}

impl<C: Clock, R: Random> cli::stdout::Guest for Shim<C, R> {
    fn get_stdout() -> cli::stdout::OutputStream {
        Output::standard()
    }
}

impl<C: Clock, R: Random> cli::stderr::Guest for Shim<C, R> {
    fn get_stderr() -> cli::stderr::OutputStream {
        Output::errors()
    }
}

/// A terminal. There is none.
pub enum Terminal {}

impl cli::terminal_input::GuestTerminalInput for Terminal {}
impl cli::terminal_output::GuestTerminalOutput for Terminal {}

impl<C: Clock, R: Random> cli::terminal_input::Guest for Shim<C, R> {
    type TerminalInput = Terminal;
}

impl<C: Clock, R: Random> cli::terminal_output::Guest for Shim<C, R> {
    type TerminalOutput = Terminal;
}

impl<C: Clock, R: Random> cli::terminal_stdin::Guest for Shim<C, R> {
    fn get_terminal_stdin() -> Option<cli::terminal_stdin::TerminalInput> {
        None
    }
}

impl<C: Clock, R: Random> cli::terminal_stdout::Guest for Shim<C, R> {
    fn get_terminal_stdout() -> Option<cli::terminal_stdout::TerminalOutput> {
        None
    }
}

impl<C: Clock, R: Random> cli::terminal_stderr::Guest for Shim<C, R> {
    fn get_terminal_stderr() -> Option<cli::terminal_stderr::TerminalOutput> {
        None
    }
}
