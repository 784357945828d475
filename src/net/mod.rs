//! Networking: listening, accepting connections, deadlines for sockets, and an HTTP/1.1 server.
//!
//! This layer knows sockets, bytes and threads. It knows no actor, no chain and no guest, and it uses only `base`.
//!
//! | file | what it holds |
//! |---|---|
//! | `acceptor` | the thread of a listener: it accepts connections, backs off, and ends them all when it closes |
//! | `connection_threads` | one thread for each connection, their names and numbers, and how many there may be |
//! | `listener` | binding an address, with a backlog long enough for a burst of clients |
//! | `inherited` | listening sockets that systemd has opened for the process |
//! | `wakeup` | waking a thread that waits for sockets |
//! | `readiness` | waiting until one of several sockets is ready |
//! | `deadline`, `timed_io` | the moment by which an operation ends; reading and writing before that moment |
//! | `linger` | closing a connection so that the client still reads what was sent to it last |
//! | `client_queue`, `client_orders`, `client_writer` | the bounded queue of what is sent to one client at any time; the thread that sends it |
//! | `answer_budget` | how many bytes of answers, not yet taken by their clients, one listener holds |
//! | `tls` | TLS for every listener: the certificate, and the session of one connection; whose certificates a client accepts |
//! | `http` | the HTTP/1.1 server |
//! | `postgres` | a client of PostgreSQL |

mod acceptor;
mod answer_budget;
mod client_orders;
mod client_queue;
mod client_writer;
mod connection_threads;
mod deadline;
pub(crate) mod http;
mod inherited;
mod linger;
mod listener;
#[cfg(feature = "cli")]
pub(crate) mod postgres;
mod readiness;
mod tls;
mod timed_io;
mod wakeup;

pub(crate) use acceptor::{Acceptor, AcceptorHandle, Admission, Attention, Listen, ListenerClosing, ThreadNames};
pub(crate) use answer_budget::{AnswerBudget, NoRoom, SMALL_BYTES, UnderWay};
pub(crate) use client_queue::{ClientQueue, ClientWriterHandle, Flushed, PieceFraming};
pub(crate) use client_writer::ClientWriter;
pub(crate) use connection_threads::ConnectionThreads;
pub(crate) use deadline::Deadline;
pub(crate) use inherited::{inherit, inherited_addresses, unused_addresses};
pub(crate) use linger::{discard_received, read_until_closed};
pub(crate) use listener::bind;
pub(crate) use readiness::wait_until_ready;
pub(crate) use timed_io::{read_within, untaken, write_within};
pub(crate) use tls::{CertificateError, ServerCertificate, TlsSession, doubt_key};
pub(crate) use tls::{client_config, roots_in, well_known_roots};
pub(crate) use wakeup::Wakeup;
