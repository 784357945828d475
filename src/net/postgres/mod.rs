//! A client of PostgreSQL that blocks: one connection, statements with parameters, answers in order.
//!
//! The messages are those of `postgres-protocol`; the bytes go over the sockets of this layer, each operation before a
//! deadline. Values go in binary form in both directions.

mod login;
mod url;
mod wire;

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::time::Duration;

use bytes::Bytes;
use fallible_iterator::FallibleIterator;
use postgres_protocol::IsNull;
use postgres_protocol::message::backend::{DataRowBody, ErrorFields, ErrorResponseBody, Message};
use postgres_protocol::message::frontend;

pub(crate) use self::url::{PostgresServer, PostgresUrl};
use self::wire::Wire;
use super::deadline::Deadline;

/// What went wrong with a server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostgresFault {
    /// The connection is gone, or does not answer: whether the last statement was executed is unknown.
    #[error("{0}")]
    Lost(#[from] io::Error),
    /// The server has refused a statement, and the connection goes on.
    #[error("{message} (SQLSTATE {code})")]
    Refused { code: String, message: String },
    /// There is no connection, and there will be none until somebody changes something.
    #[error("{0}")]
    Login(String),
    /// The server has answered something that this version does not expect.
    #[error("unexpected answer: {0}")]
    Unexpected(String),
}

impl PostgresFault {
    /// Whether the connection can be used again.
    pub(crate) fn leaves_the_connection(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

/// A parameter of a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SqlValue<'a> {
    Number(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Uuid(&'a [u8; 16]),
    /// No text.
    NoText,
}

impl SqlValue<'_> {
    /// The number by which PostgreSQL knows the type: from `pg_type.dat`.
    fn oid(self) -> u32 {
        match self {
            Self::Number(_) => 20,
            Self::Text(_) | Self::NoText => 25,
            Self::Bytes(_) => 17,
            Self::Uuid(_) => 2950,
        }
    }
}

/// A row of an answer.
#[derive(Debug)]
pub(crate) struct SqlRow(Vec<Option<Bytes>>);

impl SqlRow {
    /// A `bigint`.
    pub(crate) fn number(&self, column: usize) -> Result<i64, PostgresFault> {
        let bytes = self.bytes(column)?;
        let number = bytes.as_ref().try_into().map(i64::from_be_bytes);
        number.map_err(|_| PostgresFault::Unexpected(format!("column {column} is no bigint")))
    }

    /// A `bigint` that counts something.
    pub(crate) fn count(&self, column: usize) -> Result<u64, PostgresFault> {
        u64::try_from(self.number(column)?)
            .map_err(|_| PostgresFault::Unexpected(format!("column {column} is negative")))
    }

    pub(crate) fn text(&self, column: usize) -> Result<String, PostgresFault> {
        self.optional_text(column)?.ok_or_else(|| PostgresFault::Unexpected(format!("column {column} is null")))
    }

    pub(crate) fn optional_text(&self, column: usize) -> Result<Option<String>, PostgresFault> {
        let Some(bytes) = self.optional_bytes(column)? else { return Ok(None) };
        let text = String::from_utf8(bytes.to_vec());
        text.map(Some).map_err(|_| PostgresFault::Unexpected(format!("column {column} is no text")))
    }

    pub(crate) fn bytes(&self, column: usize) -> Result<Bytes, PostgresFault> {
        self.optional_bytes(column)?.ok_or_else(|| PostgresFault::Unexpected(format!("column {column} is null")))
    }

    pub(crate) fn optional_bytes(&self, column: usize) -> Result<Option<Bytes>, PostgresFault> {
        self.0.get(column).cloned().ok_or_else(|| PostgresFault::Unexpected(format!("there is no column {column}")))
    }

    /// Bytes of a known number, such as a `uuid`.
    pub(crate) fn array<const N: usize>(&self, column: usize) -> Result<[u8; N], PostgresFault> {
        let bytes = self.bytes(column)?;
        bytes.as_ref().try_into().map_err(|_| PostgresFault::Unexpected(format!("column {column} has not {N} bytes")))
    }
}

/// What a statement has come to.
#[derive(Debug, Default)]
pub(crate) struct SqlAnswer {
    pub(crate) rows: Vec<SqlRow>,
    /// How many rows it has changed or shown.
    pub(crate) affected: u64,
    /// What the server has said beside it.
    pub(crate) notices: Vec<String>,
}

/// A connection. After a fault that does not leave it usable, another one has to be opened.
pub(crate) struct Connection {
    wire: Wire,
    server: PostgresServer,
    /// The statements that the server knows already, by their text.
    prepared: HashMap<&'static str, String>,
    /// How many names were given to statements; one that was refused may keep its own.
    named: usize,
    /// How long one statement may take.
    pub(crate) patience: Duration,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.server)
    }
}

impl Connection {
    /// Opens a connection to one server.
    pub(crate) fn open(
        url: &PostgresUrl,
        server: &PostgresServer,
        password: Option<&str>,
        patience: Duration,
    ) -> Result<Self, PostgresFault> {
        let wire = login::open(url, server, password, Deadline::after(patience))?;
        Ok(Self { wire, server: server.clone(), prepared: HashMap::new(), named: 0, patience })
    }

    /// Opens a connection to that one of the servers that takes writes.
    pub(crate) fn to_primary(
        url: &PostgresUrl,
        password: Option<&str>,
        patience: Duration,
    ) -> Result<Self, PostgresFault> {
        let mut why = Vec::new();
        let mut is_for_good = true;
        for server in &url.servers {
            let opened = Self::open(url, server, password, patience).and_then(|mut connection| {
                let answer = connection.ask("select pg_is_in_recovery()::text", &[])?;
                let is_standby = answer.rows.first().map(|row| row.text(0)).transpose()?.is_none_or(|is| is != "false");
                Ok((connection, is_standby))
            });
            match opened {
                Ok((connection, false)) => return Ok(connection),
                Ok((_, true)) => {
                    is_for_good = false;
                    why.push(format!("{server} is a standby"));
                }
                Err(fault) => {
                    is_for_good &= matches!(fault, PostgresFault::Login(_));
                    why.push(format!("{server}: {fault}"));
                }
            }
        }
        let why = why.join("; ");
        Err(if is_for_good {
            PostgresFault::Login(why)
        } else {
            PostgresFault::Lost(io::Error::new(ErrorKind::NotConnected, why))
        })
    }

    pub(crate) fn server(&self) -> &PostgresServer {
        &self.server
    }

    /// Has a statement executed, and waits for what it comes to. It is a transaction of its own, unless one was begun.
    pub(crate) fn ask(&mut self, sql: &'static str, values: &[SqlValue<'_>]) -> Result<SqlAnswer, PostgresFault> {
        self.wire.until(Deadline::after(self.patience));
        let name = self.prepared.get(sql).cloned();
        let is_new = name.is_none();
        let name = name.unwrap_or_else(|| format!("s{}", self.named));
        if is_new {
            self.named += 1;
            frontend::parse(&name, sql, values.iter().map(|value| value.oid()), &mut self.wire.out)?;
        }
        let put = |value: &SqlValue<'_>, room: &mut bytes::BytesMut| {
            match value {
                SqlValue::Number(number) => room.extend_from_slice(&number.to_be_bytes()),
                SqlValue::Text(text) => room.extend_from_slice(text.as_bytes()),
                SqlValue::Bytes(bytes) => room.extend_from_slice(bytes),
                SqlValue::Uuid(uuid) => room.extend_from_slice(&uuid[..]),
                SqlValue::NoText => return Ok(IsNull::Yes),
            }
            Ok(IsNull::No)
        };
        let bound = frontend::bind("", &name, [1], values, put, [1], &mut self.wire.out);
        bound.map_err(|_| io::Error::new(ErrorKind::InvalidInput, "a statement is longer than the protocol allows"))?;
        frontend::execute("", 0, &mut self.wire.out)?;
        frontend::sync(&mut self.wire.out);
        self.wire.flush()?;
        let answer = self.answer()?;
        if is_new {
            self.prepared.insert(sql, name);
        }
        Ok(answer)
    }

    /// Has several statements without parameters executed, in one transaction.
    pub(crate) fn run(&mut self, sql: &str) -> Result<SqlAnswer, PostgresFault> {
        self.wire.until(Deadline::after(self.patience));
        frontend::query(sql, &mut self.wire.out)?;
        self.wire.flush()?;
        self.answer()
    }

    /// Reads up to the place where the server takes the next statement.
    fn answer(&mut self) -> Result<SqlAnswer, PostgresFault> {
        let patience = self.patience.as_secs();
        self.answer_in_time().map_err(|fault| match fault {
            PostgresFault::Lost(error) if error.kind() == ErrorKind::TimedOut => {
                let why = format!("no answer within {patience} s (a commit may be waiting for a synchronous standby that is not there)");
                PostgresFault::Lost(io::Error::new(ErrorKind::TimedOut, why))
            }
            other => other,
        })
    }

    fn answer_in_time(&mut self) -> Result<SqlAnswer, PostgresFault> {
        let (mut answer, mut refused) = (SqlAnswer::default(), None);
        loop {
            match self.wire.next()? {
                Message::DataRow(body) => answer.rows.push(row(&body)?),
                Message::CommandComplete(body) => {
                    let count = body.tag()?.rsplit(' ').next().and_then(|count| count.parse().ok());
                    answer.affected = count.unwrap_or(0);
                }
                Message::NoticeResponse(body) => answer.notices.push(fields(body.fields())?.1),
                Message::ErrorResponse(body) => refused = Some(server_fault(&body)?),
                Message::ReadyForQuery(_) => return refused.map_or(Ok(answer), Err),
                _ => {}
            }
        }
    }
}

fn row(body: &DataRowBody) -> io::Result<SqlRow> {
    let buffer = body.buffer_bytes();
    let columns = body.ranges().map(|range| Ok(range.map(|range| buffer.slice(range)))).collect()?;
    Ok(SqlRow(columns))
}

/// The code and the text of what a server says.
fn fields(mut fields: ErrorFields<'_>) -> io::Result<(String, String)> {
    let (mut code, mut message) = (String::new(), String::new());
    while let Some(field) = fields.next()? {
        let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => code = value,
            b'M' => message = value,
            _ => {}
        }
    }
    Ok((code, message))
}

/// SQLSTATE classes after which the server is not there any more: from PostgreSQL's appendix A.
fn server_fault(body: &ErrorResponseBody) -> io::Result<PostgresFault> {
    let (code, message) = fields(body.fields())?;
    let ends = code.starts_with("57P") || code.starts_with("08");
    let refuses_the_login = code.starts_with("28") || code == "3D000";
    Ok(match (ends, refuses_the_login) {
        (true, _) => PostgresFault::Lost(io::Error::new(ErrorKind::ConnectionAborted, message)),
        (_, true) if message.contains("no encryption") => {
            PostgresFault::Login(format!("{message}; add ?sslmode=verify-full to the URL, or let it in without TLS"))
        }
        (_, true) => PostgresFault::Login(message),
        _ => PostgresFault::Refused { code, message },
    })
}
