//! Opening a connection to one PostgreSQL server: TCP, TLS, and SCRAM-SHA-256.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use rustix::net::sockopt;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::url::{Encryption, PostgresServer, PostgresUrl};
use super::wire::{PostgresStream, TimedSocket, Wire};
use super::{PostgresFault, server_fault};
use crate::base::opened::Opened;
use crate::net::deadline::Deadline;
use crate::net::tls::{client_config, roots_in, well_known_roots};

/// A connection on which nothing comes is asked after so many seconds whether its other end is there.
const KEEP_ALIVE_SECONDS: u64 = 5;
/// A file of authorities is not longer.
const PEM_BYTES: u64 = 1024 * 1024;

/// Opens a connection, and waits until the server takes statements.
pub(super) fn open(
    url: &PostgresUrl,
    server: &PostgresServer,
    password: Option<&str>,
    deadline: Deadline,
) -> Result<Wire, PostgresFault> {
    let tcp = connect(server, deadline)?;
    let mut socket = TimedSocket { tcp, deadline };
    let stream = match &url.encryption {
        Encryption::None => PostgresStream::Plain(socket),
        Encryption::Verified(authorities) => {
            let mut ask = BytesMut::new();
            frontend::ssl_request(&mut ask);
            socket.write_all(&ask)?;
            let mut agrees = [0];
            socket.read_exact(&mut agrees)?;
            if agrees != *b"S" {
                return Err(PostgresFault::Login(
                    "it offers no TLS: set ssl = on there, or add ?sslmode=disable".into(),
                ));
            }
            let session = session(server, authorities.as_deref()).map_err(PostgresFault::Login)?;
            PostgresStream::Tls(Box::new(StreamOwned::new(session, socket)))
        }
    };
    let mut wire = Wire::over(stream);
    log_in(&mut wire, url, password).map_err(|fault| match fault {
        PostgresFault::Lost(error) if error.to_string().contains("UnknownIssuer") => {
            let remedy = "name the authority that has signed it with ?sslrootcert=FILE";
            PostgresFault::Login(format!("{error}; {remedy}"))
        }
        other => other,
    })?;
    Ok(wire)
}

fn connect(server: &PostgresServer, deadline: Deadline) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "its name stands for no address");
    for address in (server.host.as_str(), server.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, deadline.left()?) {
            Ok(tcp) => {
                tcp.set_nodelay(true)?;
                sockopt::set_socket_keepalive(&tcp, true)?;
                let after = std::time::Duration::from_secs(KEEP_ALIVE_SECONDS);
                sockopt::set_tcp_keepidle(&tcp, after)?;
                sockopt::set_tcp_keepintvl(&tcp, after)?;
                return Ok(tcp);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn session(server: &PostgresServer, authorities: Option<&Path>) -> Result<ClientConnection, String> {
    let roots = match authorities {
        None => well_known_roots(),
        Some(path) => {
            let pem = Opened::open(path).and_then(|file| file.read(PEM_BYTES));
            pem.and_then(|pem| roots_in(&pem)).map_err(|why| format!("sslrootcert {}: {why}", path.display()))?
        }
    };
    let name = ServerName::try_from(server.host.clone()).map_err(|error| error.to_string())?;
    ClientConnection::new(client_config(roots), name).map_err(|error| error.to_string())
}

fn log_in(wire: &mut Wire, url: &PostgresUrl, password: Option<&str>) -> Result<(), PostgresFault> {
    let parameters = [
        ("user", url.user.as_str()),
        ("database", &url.database),
        ("application_name", "theater"),
        ("client_encoding", "UTF8"),
        // A fence compares what is there when it has waited for the row, not when it began.
        ("default_transaction_isolation", "read committed"),
    ];
    frontend::startup_message(parameters, &mut wire.out)?;
    wire.flush()?;
    let mut scram = None;
    loop {
        match wire.next()? {
            Message::AuthenticationSasl(body) => {
                let mut mechanisms = body.mechanisms();
                let mut offered = false;
                while let Some(mechanism) = mechanisms.next()? {
                    offered |= mechanism == SCRAM_SHA_256;
                }
                let password = password.ok_or_else(|| PostgresFault::Login(NO_PASSWORD.into()))?;
                if !offered {
                    return Err(PostgresFault::Login("it does not offer SCRAM-SHA-256".into()));
                }
                let begun = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
                frontend::sasl_initial_response(SCRAM_SHA_256, begun.message(), &mut wire.out)?;
                wire.flush()?;
                scram = Some(begun);
            }
            Message::AuthenticationSaslContinue(body) => {
                let scram = scram.as_mut().ok_or_else(out_of_turn)?;
                scram.update(body.data()).map_err(|error| PostgresFault::Login(error.to_string()))?;
                frontend::sasl_response(scram.message(), &mut wire.out)?;
                wire.flush()?;
            }
            // The server shows here that it knows the password, too.
            Message::AuthenticationSaslFinal(body) => {
                let scram = scram.as_mut().ok_or_else(out_of_turn)?;
                scram.finish(body.data()).map_err(|error| PostgresFault::Login(error.to_string()))?;
            }
            Message::AuthenticationMd5Password(_) | Message::AuthenticationCleartextPassword => {
                return Err(PostgresFault::Login(WEAK.into()));
            }
            Message::ErrorResponse(body) => return Err(server_fault(&body)?),
            Message::ReadyForQuery(_) => return Ok(()),
            _ => {}
        }
    }
}

const NO_PASSWORD: &str =
    "it wants a password: name a file with cluster.password_file, or set THEATER_CLUSTER_PASSWORD";
const WEAK: &str = "it wants the password in a form that others could use: \
                    set password_encryption = 'scram-sha-256' there, set the password again, and say scram-sha-256 in pg_hba.conf";

fn out_of_turn() -> PostgresFault {
    PostgresFault::Lost(io::Error::new(ErrorKind::InvalidData, "the server answers out of turn"))
}
