//! The functions that an actor can call, with Rust types. The interfaces are documented in `wit/`.
//!
//! A component imports what it calls. So the actor's manifest must grant a module's handler only if the code uses the
//! module.

/// The runtime's log, and the actor's own history. Needs no handler.
pub mod runtime {
    pub use crate::bindings::host::ntwk::theater::types::{Chain, Event, MetaEvent};
    use crate::wit::runtime as wit;

    /// Writes a line to the runtime's log.
    pub fn log(line: &str) {
        wit::log(line);
    }

    /// The function that [`log!`](crate::log!), [`println!`](crate::println!) and [`eprintln!`](crate::eprintln!) call.
    /// Outside a component, in a test, it prints, unless a [`Host`](crate::testing::Host) collects the lines.
    #[doc(hidden)]
    pub fn print(line: std::fmt::Arguments<'_>) {
        log(&line.to_string());
    }

    /// Returns the actor's own history up to this call: its newest events, oldest first.
    pub fn chain() -> Chain {
        wit::get_chain()
    }
}

/// Plain values that the operator has written into the manifest, under `[config]`. Needs no handler.
///
/// With this in the manifest,
///
/// ```toml
/// [config]
/// greeting = "Good morning"
/// retries = 3
/// ```
///
/// an actor reads
///
/// ```no_run
/// use theater_actor::config;
///
/// fn greeting() -> Result<String, String> {
///     Ok(config::get("greeting")?.unwrap_or_else(|| "Hello".to_owned()))
/// }
///
/// fn retries() -> Result<u32, String> {
///     config::required("retries")
/// }
/// ```
///
/// The chain holds the manifest and each value that is read: nothing here is secret.
pub mod config {
    use serde::de::DeserializeOwned;

    use crate::json;
    use crate::wit::config as wit;

    /// Returns the value of a key, or `None` if the manifest has no such key. A table is one value, with all that is in it.
    ///
    /// # Errors
    /// The value is not a `V`.
    pub fn get<V: DeserializeOwned>(key: &str) -> Result<Option<V>, String> {
        wit::get(key).map(|value| json::read(&format!("value of \"{key}\" in [config]"), &value)).transpose()
    }

    /// Like [`get`], for a key that the manifest has to have.
    ///
    /// # Errors
    /// The manifest has no such key, or the value is not a `V`.
    pub fn required<V: DeserializeOwned>(key: &str) -> Result<V, String> {
        get(key)?.ok_or_else(|| format!("the manifest lacks \"{key}\" in [config]"))
    }
}

/// Messages to other actors. Needs no handler.
pub mod messages {
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use crate::json;
    use crate::wit::async_requests as later;
    use crate::wit::message_server_host as wit;

    /// Puts a message into the mailbox of `actor`.
    ///
    /// # Errors
    /// Nothing was delivered: there is no such actor, or it takes no messages now.
    pub fn send<M: Serialize + ?Sized>(actor: &str, message: &M) -> Result<(), String> {
        wit::send(actor, &json::write("message", message)?)
    }

    /// Puts a message into the mailbox of `actor` and waits for the reply.
    ///
    /// # Errors
    /// There is no reply: the message was not delivered, the other actor refused it, the deadline passed, or the wait
    /// would close a circle of waiting actors. Or the reply is not an `R`.
    pub fn request<M, R>(actor: &str, message: &M) -> Result<R, String>
    where
        M: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let reply = wit::request(actor, &json::write("message", message)?)?;
        json::read("reply", &reply)
    }

    /// Puts a message into the mailbox of `actor`, and returns a token at once. [`ReplyHandler`](crate::ReplyHandler) gets the
    /// reply with the token later, within the limit `request_deadline_ms`.
    ///
    /// ```no_run
    /// use theater_actor::{Actor, ReplyHandler, messages};
    ///
    /// #[derive(Default, serde::Serialize, serde::Deserialize)]
    /// struct Poll {
    ///     open: Vec<u64>,
    ///     sum: u64,
    /// }
    ///
    /// impl Poll {
    ///     fn ask(&mut self, voters: &[String]) -> Result<(), String> {
    ///         for voter in voters {
    ///             self.open.push(messages::request_async(voter, "vote")?);
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// impl ReplyHandler for Poll {
    ///     type Answer = u64;
    ///
    ///     fn handle_reply(&mut self, token: u64, answer: Result<u64, String>) -> Result<(), String> {
    ///         self.open.retain(|open| *open != token);
    ///         self.sum += answer.unwrap_or(0);
    ///         Ok(())
    ///     }
    /// }
    /// # impl Actor for Poll {
    /// #     fn init(state: Option<Self>, _: &str) -> Result<Self, String> { Ok(state.unwrap_or_default()) }
    /// # }
    /// ```
    ///
    /// # Errors
    /// Nothing was delivered, and no reply comes: there is no such actor, or it takes no messages now; this actor does not export
    /// `replies`; or too many requests have no reply yet.
    pub fn request_async<M: Serialize + ?Sized>(actor: &str, message: &M) -> Result<u64, String> {
        later::request_async(actor, &json::write("message", message)?, None)
    }

    /// Like [`request_async`], with a deadline of its own, in milliseconds.
    ///
    /// # Errors
    /// As with [`request_async`].
    pub fn request_async_within<M>(actor: &str, message: &M, deadline_ms: u64) -> Result<u64, String>
    where
        M: Serialize + ?Sized,
    {
        later::request_async(actor, &json::write("message", message)?, Some(deadline_ms))
    }
}

/// Answers that this actor gives later than in the call that asks. Needs no handler.
///
/// ```no_run
/// use theater_actor::{Actor, MessageHandler, replies};
///
/// #[derive(Default, serde::Serialize, serde::Deserialize)]
/// struct Desk {
///     waiting: Vec<u64>,
/// }
///
/// impl MessageHandler for Desk {
///     type Message = Option<String>;
///     type Reply = String;
///
///     // Nobody gets what this returns after `defer`.
///     fn handle_request(&mut self, _question: Option<String>) -> Result<String, String> {
///         self.waiting.push(replies::defer()?);
///         Ok(String::new())
///     }
///
///     fn handle_send(&mut self, answer: Option<String>) -> Result<(), String> {
///         for token in self.waiting.drain(..) {
///             // An error says that nobody waits any more.
///             if let Err(why) = replies::reply(token, Ok(&answer)) {
///                 theater_actor::log!("{why}");
///             }
///         }
///         Ok(())
///     }
/// }
/// # impl Actor for Desk {
/// #     fn init(state: Option<Self>, _: &str) -> Result<Self, String> { Ok(state.unwrap_or_default()) }
/// # }
/// ```
pub mod replies {
    use serde::Serialize;

    use crate::HttpResponse;
    use crate::json;
    use crate::wit::deferred_replies as wit;

    /// Puts off the answer to the call that this actor is in, and returns the token with which it is given later. If this call
    /// returns `Ok`, nobody gets the value; `Err` is the answer, and ends the token.
    ///
    /// # Errors
    /// Nobody waits for the answer to this call; or the answer was put off already; or too many answers are put off.
    pub fn defer() -> Result<u64, String> {
        wit::defer()
    }

    /// Gives an answer that was put off. `Err` is what the caller gets as its own error.
    ///
    /// # Errors
    /// There is no such token; or the answer was given; or nobody waits for it any more.
    pub fn reply<R: Serialize + ?Sized>(token: u64, answer: Result<&R, String>) -> Result<(), String> {
        match answer {
            Ok(answer) => wit::reply(token, Ok(&json::write("reply", answer)?)),
            Err(why) => wit::reply(token, Err(&why)),
        }
    }

    /// Gives the answer to an HTTP client.
    ///
    /// # Errors
    /// As with [`reply`]. The client goes with the process that took its request.
    pub fn reply_http(token: u64, response: &HttpResponse) -> Result<(), String> {
        wit::reply_http(token, response)
    }
}

/// Control over the actor's children. Needs the handler `supervisor`.
pub mod supervisor {
    use serde::de::DeserializeOwned;

    use crate::json;
    use crate::wit::{labels, supervisor as wit};
    pub use wit::ChainEvent;

    /// Starts the actor that the manifest at `manifest` describes, waits for its `init`, and returns its id. The path
    /// is relative to the directory of this actor's own manifest.
    ///
    /// # Errors
    /// The text says why the child was not started.
    pub fn spawn(manifest: &str) -> Result<String, String> {
        wit::spawn(manifest)
    }

    /// Like [`spawn`], and gives the child a label: the actor `ledger` reaches its child `alice` by the address
    /// `ledger/alice`. `state` is the state that the child begins with, in place of that of its manifest.
    ///
    /// # Errors
    /// The text says why the child was not started: as for [`spawn`]; or `label` is no label, or a living child has it; or
    /// `state` cannot be written as JSON.
    pub fn spawn_as(manifest: &str, label: &str, state: Option<&impl serde::Serialize>) -> Result<String, String> {
        labels::spawn_as(manifest, label, initial(state)?.as_deref())
    }

    /// Returns the id of the child that has this label. If it has ended, it is restarted first, and goes on from its state. If no
    /// child has the label, one is spawned as [`spawn_as`] does.
    ///
    /// # Errors
    /// As [`spawn_as`] and [`restart_child`], except that a living child with the label is the answer.
    pub fn get_or_spawn(manifest: &str, label: &str, state: Option<&impl serde::Serialize>) -> Result<String, String> {
        labels::get_or_spawn(manifest, label, initial(state)?.as_deref())
    }

    fn initial(state: Option<&impl serde::Serialize>) -> Result<Option<Vec<u8>>, String> {
        state.map(|state| json::write("state", state)).transpose()
    }

    /// Returns the ids of the children, in the order in which they were spawned.
    pub fn list_children() -> Vec<String> {
        wit::list_children()
    }

    /// Stops a child; the child's own children stop before it.
    ///
    /// # Errors
    /// It is not a child of this actor.
    pub fn stop_child(child: &str) -> Result<(), String> {
        wit::stop_child(child)
    }

    /// Stops a child if it runs, and starts it again under the same id.
    ///
    /// # Errors
    /// It is not a child of this actor, or cannot be started.
    pub fn restart_child(child: &str) -> Result<(), String> {
        wit::restart_child(child)
    }

    /// Returns the newest state of a child, or `None` if it has none.
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

    /// Returns the newest events of a child, oldest first.
    ///
    /// # Errors
    /// It is not a child of this actor.
    pub fn child_events(child: &str) -> Result<Vec<ChainEvent>, String> {
        wit::get_child_events(child)
    }
}

/// HTTP requests to other servers. Needs the handler `http-client`.
pub mod http_client {
    use crate::wit::http_client as wit;
    use crate::{HttpRequest, HttpResponse};

    /// Sends a request and waits for the response, which may have any status.
    ///
    /// # Errors
    /// The address is not allowed, or no response arrived.
    pub fn send(request: &HttpRequest) -> Result<HttpResponse, String> {
        wit::send_http(request)
    }
}

/// Files in the directory that the manifest grants. Needs the handler `filesystem`.
///
/// Paths are relative to that directory. Every function returns `Err` if the path would leave the directory, or if the
/// operating system refuses.
#[allow(clippy::missing_errors_doc, reason = "said once, above")]
pub mod filesystem {
    use crate::wit::filesystem as wit;

    /// Returns the content of a file.
    pub fn read_file(path: &str) -> Result<Vec<u8>, String> {
        wit::read_file(path)
    }

    /// Creates a file or replaces its content.
    pub fn write_file(path: &str, content: &str) -> Result<(), String> {
        wit::write_file(path, content)
    }

    /// Returns the names in a directory, sorted.
    pub fn list_files(path: &str) -> Result<Vec<String>, String> {
        wit::list_files(path)
    }

    /// Deletes a file.
    pub fn delete_file(path: &str) -> Result<(), String> {
        wit::delete_file(path)
    }

    /// Creates a directory inside an existing one.
    pub fn create_dir(path: &str) -> Result<(), String> {
        wit::create_dir(path)
    }

    /// Deletes a directory and everything in it.
    pub fn delete_dir(path: &str) -> Result<(), String> {
        wit::delete_dir(path)
    }

    /// Says whether a file or directory with this path exists.
    pub fn path_exists(path: &str) -> Result<bool, String> {
        wit::path_exists(path)
    }
}

/// The current time. Needs the handler `clock`.
pub mod clock {
    use crate::wit::clock as wit;

    /// Milliseconds since the Unix epoch.
    pub fn now() -> u64 {
        wit::now()
    }
}

/// Random bytes. The chain records them, so everyone who reads the chain knows them. Needs the handler `random`.
pub mod random {
    use crate::wit::random as wit;

    /// Returns `n` bytes, at most 65,536.
    pub fn bytes(n: u32) -> Vec<u8> {
        wit::bytes(n)
    }
}

/// Calls of this actor at a later time, which [`TimerHandler`](crate::TimerHandler) takes. Needs the handler `timer`.
///
/// Of one key there is one timer at most: setting it again replaces it. A function that sets a timer returns the time at
/// which it is due (first), in milliseconds since the Unix epoch, and `Err` if the timer was not set: a limit is reached, the
/// actor does not export `timers`, or the disk is nearly full.
#[allow(clippy::missing_errors_doc, reason = "said once, above")]
pub mod timer {
    use serde::Serialize;

    use crate::json;
    use crate::wit::timer as wit;
    pub use wit::PendingTimer;

    /// Sets a timer that is due after this many milliseconds.
    pub fn set<M: Serialize + ?Sized>(key: &str, after_ms: u64, message: &M) -> Result<u64, String> {
        wit::set(key, after_ms, &json::write("message", message)?)
    }

    /// Sets a timer that is due at a time, in milliseconds since the Unix epoch.
    pub fn set_at<M: Serialize + ?Sized>(key: &str, unix_ms: u64, message: &M) -> Result<u64, String> {
        wit::set_at(key, unix_ms, &json::write("message", message)?)
    }

    /// Sets a timer that is due again and again, every so many milliseconds; at least 1.
    pub fn every<M: Serialize + ?Sized>(key: &str, ms: u64, message: &M) -> Result<u64, String> {
        wit::every(key, ms, &json::write("message", message)?)
    }

    /// Sets a timer that is due whenever a cron expression of five fields matches in a time zone: `UTC`, an offset such as
    /// `+02:00`, or a name such as `Europe/Berlin`.
    pub fn cron<M: Serialize + ?Sized>(key: &str, expression: &str, zone: &str, message: &M) -> Result<u64, String> {
        wit::cron(key, expression, zone, &json::write("message", message)?)
    }

    /// Cancels a timer, and says whether one was pending.
    pub fn cancel(key: &str) -> bool {
        wit::cancel(key)
    }

    /// Returns the pending timers, in the order in which they are due.
    pub fn list() -> Vec<PendingTimer> {
        wit::list()
    }
}

/// Rows of this actor's own, sorted by key, on disk and outside of its state. Needs the handler `table`.
///
/// A state is read and written as a whole in each call; a table costs what the rows cost that a call touches. What a call writes is
/// undone if it returns an error, and a call sees what it has written itself. Keys and values are bytes; [`put`](table::put) and
/// [`get`](table::get) have values as JSON. Let the keys of different things begin with different prefixes.
///
/// ```no_run
/// use theater_actor::{HttpResponse, table};
///
/// fn shorten(name: &str, url: &str) -> Result<HttpResponse, String> {
///     let key = format!("link/{name}");
///     if table::get_bytes(&key)?.is_some() {
///         return Ok(HttpResponse::error(409, "there is such a link"));
///     }
///     table::put_bytes(&key, url)?;
///     Ok(HttpResponse::text(201, url))
/// }
/// ```
///
/// # Errors
/// A function returns `Err` if a key or a value is too long, if the call has written too often, or if the disk is nearly full.
/// Then nothing has changed.
#[allow(clippy::missing_errors_doc, reason = "said once, above")]
pub mod table {
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use crate::json;
    use crate::wit::table as wit;
    pub use wit::{Page, Row};

    /// Returns the value of a key, which was written by [`put`].
    pub fn get<T: DeserializeOwned>(key: impl AsRef<[u8]>) -> Result<Option<T>, String> {
        get_bytes(key)?.map(|value| json::read("row's value", &value)).transpose()
    }

    /// Returns the value of a key.
    pub fn get_bytes(key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, String> {
        wit::get(key.as_ref())
    }

    /// Writes a row with a value as JSON, in place of the one with this key if there is one.
    pub fn put<T: Serialize + ?Sized>(key: impl AsRef<[u8]>, value: &T) -> Result<(), String> {
        put_bytes(key, json::write("row's value", value)?)
    }

    /// Writes a row, in place of the one with this key if there is one.
    pub fn put_bytes(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), String> {
        wit::put(key.as_ref(), value.as_ref())
    }

    /// Removes a row, and says whether there was one.
    pub fn delete(key: impl AsRef<[u8]>) -> Result<bool, String> {
        wit::delete(key.as_ref())
    }

    /// Returns rows whose keys begin with `prefix`, in the order of the keys: at most `limit`, and no more than the limits of
    /// the actor allow. The page's `cursor`, given to the next scan, asks for the rows behind them.
    pub fn scan(prefix: impl AsRef<[u8]>, limit: u32, cursor: Option<&[u8]>) -> Result<Page, String> {
        wit::scan(prefix.as_ref(), limit, cursor)
    }

    /// Returns how many rows there are.
    pub fn count() -> u64 {
        wit::count()
    }
}

/// Being told of the end of other actors, which [`MonitorHandler`](crate::MonitorHandler) is. Needs the handler `monitor`.
///
/// ```no_run
/// use theater_actor::{Actor, Down, MonitorHandler, monitors};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Pool {
///     workers: std::collections::BTreeMap<u64, String>,
/// }
///
/// impl Pool {
///     fn hire(&mut self, worker: &str) -> Result<(), String> {
///         let reference = monitors::monitor(worker)?;
///         self.workers.insert(reference, worker.to_owned());
///         Ok(())
///     }
/// }
///
/// impl MonitorHandler for Pool {
///     fn handle_down(&mut self, down: Down) -> Result<(), String> {
///         self.workers.remove(&down.reference);
///         Ok(())
///     }
/// }
/// # impl Actor for Pool {
/// #     fn init(_: Option<Self>, _: &str) -> Result<Self, String> {
/// #         Ok(Self { workers: std::collections::BTreeMap::new() })
/// #     }
/// # }
/// ```
pub mod monitors {
    use crate::wit::monitors as wit;

    /// Asks to be told once when `actor`, an id or a path, has ended for good; at once if it has. Returns the reference that
    /// the [`Down`](crate::Down) will name.
    ///
    /// # Errors
    /// There is no such actor, or it is this one; it does not let this actor's messages in; a limit is reached; this actor does
    /// not export `monitors`; or the disk is nearly full.
    pub fn monitor(actor: &str) -> Result<u64, String> {
        wit::monitor(actor)
    }

    /// Gives up a monitor, and says whether it was open. After `true`, this actor is not told, even if the other one had ended
    /// before.
    pub fn demonitor(reference: u64) -> bool {
        wit::demonitor(reference)
    }
}

/// WebSocket clients that the actor can send to at any time, which [`ConnectionHandler`](crate::ConnectionHandler) knows by
/// their ids. Needs the handler `websocket-server`.
///
/// ```no_run
/// use std::collections::BTreeMap;
/// use theater_actor::{Actor, ConnectionHandler, MessageType, WebSocketMessage, connections};
///
/// #[derive(Default, serde::Serialize, serde::Deserialize)]
/// struct Room {
///     present: BTreeMap<u64, String>,
/// }
///
/// impl ConnectionHandler for Room {
///     fn handle_connection_message(
///         &mut self,
///         connection: u64,
///         message: WebSocketMessage,
///     ) -> Result<Vec<WebSocketMessage>, String> {
///         match message.ty {
///             MessageType::Connect => _ = self.present.insert(connection, "somebody".into()),
///             MessageType::Close => _ = self.present.remove(&connection),
///             MessageType::Text => {
///                 let everybody: Vec<u64> = self.present.keys().copied().collect();
///                 connections::push(&everybody, &message)?;
///             }
///             _ => {}
///         }
///         Ok(Vec::new())
///     }
/// }
/// # impl Actor for Room {
/// #     fn init(state: Option<Self>, _: &str) -> Result<Self, String> { Ok(state.unwrap_or_default()) }
/// # }
/// ```
pub mod connections {
    use crate::WebSocketMessage;
    use crate::wit::connections as wit;
    pub use wit::{NotQueued, NotQueuedReason};

    /// Sends a message to each of these connections, once this call is on disk. Returns those that do not get it.
    ///
    /// # Errors
    /// Nobody can get it: it is of a wrong type or too long, there are too many connections, or the disk is nearly full.
    pub fn push(to: &[u64], message: &WebSocketMessage) -> Result<Vec<NotQueued>, String> {
        wit::push(to, message)
    }

    /// Closes a connection with this status code, after everything that was sent to it before. Returns whether it was open.
    ///
    /// # Errors
    /// It is no code that may be sent.
    pub fn close(connection: u64, code: u16) -> Result<bool, String> {
        wit::close(connection, code)
    }

    /// Returns the ids of all open connections, in ascending order.
    pub fn connections() -> Vec<u64> {
        wit::connections()
    }
}

/// The bodies of HTTP answers that are sent piece by piece, which [`StreamHandler`](crate::StreamHandler) opens. Needs the
/// handler `http-server`.
pub mod streams {
    use crate::ServerSentEvent;
    use crate::wit::streams as wit;
    pub use wit::NotPushed;

    /// Sends the next piece of a stream, once this call is on disk.
    ///
    /// # Errors
    /// The client does not get it: the stream is over, the client reads too slowly, or the piece is refused.
    pub fn push_chunk(stream: u64, bytes: &[u8]) -> Result<(), NotPushed> {
        wit::push_chunk(stream, bytes)
    }

    /// Sends a server-sent event.
    ///
    /// # Errors
    /// As of [`push_chunk`].
    pub fn push_event(stream: u64, event: &ServerSentEvent<'_>) -> Result<(), NotPushed> {
        push_chunk(stream, event.to_string().as_bytes())
    }

    /// Ends a stream after all its pieces. Returns whether it was open. The actor is not told of this end.
    pub fn end(stream: u64) -> bool {
        wit::end(stream)
    }

    /// Returns the ids of all open streams, in ascending order.
    pub fn streams() -> Vec<u64> {
        wit::streams()
    }
}
