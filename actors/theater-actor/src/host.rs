//! What an actor can call. The documentation of each interface is in `wit/`; here its functions meet Rust's types.
//!
//! A component imports what it calls. So the use of a module, and it alone, decides whether the actor's manifest must
//! grant the handler behind it.

/// The log, and the actor's own history. Needs no handler.
pub mod runtime {
    use crate::bindings::host::ntwk::theater::runtime as wit;
    pub use crate::bindings::host::ntwk::theater::types::{Chain, Event, MetaEvent};

    /// Writes a line to the runtime's log.
    pub fn log(line: &str) {
        wit::log(line);
    }

    /// What [`log!`](crate::log!), [`println!`](crate::println!) and [`eprintln!`](crate::eprintln!) call. Outside a
    /// component, in a test, it prints.
    #[doc(hidden)]
    pub fn print(line: std::fmt::Arguments<'_>) {
        if cfg!(target_family = "wasm") {
            log(&line.to_string());
        } else {
            std::println!("{line}");
        }
    }

    /// The actor's own history up to this call: its newest events, oldest first.
    pub fn chain() -> Chain {
        wit::get_chain()
    }
}

/// Messages to other actors. Needs no handler.
pub mod messages {
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use crate::bindings::host::ntwk::theater::message_server_host as wit;
    use crate::json;

    /// Puts a message into the mailbox of `actor`.
    ///
    /// # Errors
    /// Nothing was delivered: there is no such actor, or it takes no message now.
    pub fn send<M: Serialize + ?Sized>(actor: &str, message: &M) -> Result<(), String> {
        wit::send(actor, &json::write("message", message)?)
    }

    /// Puts a message into the mailbox of `actor` and waits for the reply.
    ///
    /// # Errors
    /// There is no reply: not delivered, refused by the other actor, too late, or in a circle of
    /// actors waiting for each other. Or it is not an `R`.
    pub fn request<M, R>(actor: &str, message: &M) -> Result<R, String>
    where
        M: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let reply = wit::request(actor, &json::write("message", message)?)?;
        json::read("reply", &reply)
    }
}

/// The actor's children. Needs the handler `supervisor`.
pub mod supervisor {
    use serde::de::DeserializeOwned;

    use crate::bindings::host::ntwk::theater::supervisor as wit;
    use crate::json;
    pub use wit::ChainEvent;

    /// Starts the actor that the manifest at this path describes, relative to the directory of this
    /// actor's own, and waits for its `init`. Answers with its id.
    ///
    /// # Errors
    /// Says why there is no such child.
    pub fn spawn(manifest: &str) -> Result<String, String> {
        wit::spawn(manifest)
    }

    /// The ids of the children, in the order in which they were spawned.
    pub fn list_children() -> Vec<String> {
        wit::list_children()
    }

    /// Stops a child, its own children first.
    ///
    /// # Errors
    /// It is not a child of this actor.
    pub fn stop_child(child: &str) -> Result<(), String> {
        wit::stop_child(child)
    }

    /// Starts a child anew, under its old id.
    ///
    /// # Errors
    /// It is not a child of this actor, or cannot be started.
    pub fn restart_child(child: &str) -> Result<(), String> {
        wit::restart_child(child)
    }

    /// The newest state of a child, `None` where it has none.
    ///
    /// # Errors
    /// It is not a child of this actor, or its state is not an `S`.
    pub fn child_state<S: DeserializeOwned>(child: &str) -> Result<Option<S>, String> {
        let state = wit::get_child_state(child)?;
        if state.is_empty() {
            return Ok(None);
        }
        json::read("child's state", &state).map(Some)
    }

    /// The newest events of a child, oldest first.
    ///
    /// # Errors
    /// It is not a child of this actor.
    pub fn child_events(child: &str) -> Result<Vec<ChainEvent>, String> {
        wit::get_child_events(child)
    }
}

/// HTTP requests to elsewhere. Needs the handler `http-client`.
pub mod http_client {
    use crate::bindings::host::ntwk::theater::http_client as wit;
    use crate::{HttpRequest, HttpResponse};

    /// Sends a request and waits for the response, of whatever status.
    ///
    /// # Errors
    /// The address is not allowed, or no response came.
    pub fn send(request: &HttpRequest) -> Result<HttpResponse, String> {
        wit::send_http(request)
    }
}

/// Files in the directory that the manifest grants. Needs the handler `filesystem`.
///
/// Paths are relative to that directory, and every function is an `Err` where the path would leave
/// it or the operating system refuses.
#[allow(clippy::missing_errors_doc, reason = "said once, above")]
pub mod filesystem {
    use crate::bindings::host::ntwk::theater::filesystem as wit;

    /// The content of a file.
    pub fn read_file(path: &str) -> Result<Vec<u8>, String> {
        wit::read_file(path)
    }

    /// Creates a file or replaces its content.
    pub fn write_file(path: &str, content: &str) -> Result<(), String> {
        wit::write_file(path, content)
    }

    /// The names in a directory, sorted.
    pub fn list_files(path: &str) -> Result<Vec<String>, String> {
        wit::list_files(path)
    }

    /// Deletes a file.
    pub fn delete_file(path: &str) -> Result<(), String> {
        wit::delete_file(path)
    }

    /// Makes a directory, in one that exists.
    pub fn create_dir(path: &str) -> Result<(), String> {
        wit::create_dir(path)
    }

    /// Deletes a directory and what is in it.
    pub fn delete_dir(path: &str) -> Result<(), String> {
        wit::delete_dir(path)
    }

    /// Whether there is a file or a directory of that path.
    pub fn path_exists(path: &str) -> Result<bool, String> {
        wit::path_exists(path)
    }
}

/// The time. Needs the handler `clock`.
pub mod clock {
    use crate::bindings::host::ntwk::theater::clock as wit;

    /// Milliseconds since the Unix epoch.
    pub fn now() -> u64 {
        wit::now()
    }
}

/// Randomness, which the chain records and so tells everyone who reads it. Needs the handler `random`.
pub mod random {
    use crate::bindings::host::ntwk::theater::random as wit;

    /// `n` bytes, at most 65,536.
    pub fn bytes(n: u32) -> Vec<u8> {
        wit::bytes(n)
    }
}
