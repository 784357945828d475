//! The URL of a PostgreSQL cluster: `postgres://user@host,host:port/database?sslmode=…&sslrootcert=…`.
//!
//! The form is that of libpq's connection URIs, with what Theater uses of it. A password does not belong there: command
//! lines are read by everybody on a machine.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use url::Url;

/// PostgreSQL's port where a host names none.
const PORT: u16 = 5432;

/// Several servers of which one takes writes, the user, and the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PostgresUrl {
    pub(crate) user: String,
    pub(crate) servers: Vec<PostgresServer>,
    pub(crate) database: String,
    pub(crate) encryption: Encryption,
}

/// Where one server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PostgresServer {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Whether the connection is encrypted. There is nothing in between: an encrypted connection to whoever answers hides
/// nothing from who stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Encryption {
    None,
    /// TLS, with a certificate for the host's name, signed by an authority in this PEM file, or by one of Mozilla's.
    Verified(Option<PathBuf>),
}

impl fmt::Display for PostgresServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl PostgresServer {
    fn parse(text: &str) -> Result<Self, String> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(|| format!("{text:?} lacks its closing bracket"))?;
                (host, rest.strip_prefix(':'))
            }
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() {
            return Err("a host is empty: write postgres://user@host/database".into());
        }
        let port = match port {
            None => PORT,
            Some(port) => port.parse().map_err(|_| format!("the port {port:?} is no number from 1 to 65535"))?,
        };
        Ok(Self { host: host.to_owned(), port })
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl PostgresUrl {
    /// Reads a URL; the error says what is wrong with it, and shows none of it that could be a password.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let form = "it has the form postgres://user@host,host/database";
        let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
        let rest = rest.ok_or_else(|| form.to_owned())?;
        // Several hosts are no URL by the standard: they are taken out before the rest is read as one.
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (login, hosts) = authority.rsplit_once('@').ok_or_else(|| format!("it names no user: {form}"))?;
        if login.contains(':') {
            let why = "the password does not belong in the URL, which everybody on the machine can read: \
                       put it into a file, and name that with cluster.password_file, or set THEATER_CLUSTER_PASSWORD";
            return Err(why.into());
        }
        let url = Url::parse(&format!("postgres://{login}@host{path}")).map_err(|error| format!("{error}: {form}"))?;
        let decoded = |text: &str| percent_decoded(text).ok_or_else(|| format!("{text:?} is no text: {form}"));
        if let Some(fragment) = url.fragment() {
            return Err(format!("nothing belongs behind a # here: the realm {fragment:?} is named with --realm"));
        }
        let (user, database) = (decoded(url.username())?, decoded(url.path().trim_start_matches('/'))?);
        if user.is_empty() || database.is_empty() {
            return Err(format!("it names no user or no database: {form}"));
        }
        let servers = hosts.split(',').map(PostgresServer::parse).collect::<Result<Vec<_>, _>>()?;
        let encryption = encryption(&url, servers.iter().all(PostgresServer::is_loopback))?;
        Ok(Self { user, servers, database, encryption })
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<String> = self.servers.iter().map(ToString::to_string).collect();
        write!(f, "postgres://{}@{}/{}", self.user, servers.join(","), self.database)
    }
}

/// A connection that leaves the machine is encrypted, unless the URL says otherwise.
fn encryption(url: &Url, is_on_this_machine: bool) -> Result<Encryption, String> {
    let (mut mode, mut authorities) = (None, None);
    for (key, value) in url.query_pairs() {
        match &*key {
            "sslmode" => mode = Some(value.into_owned()),
            "sslrootcert" => authorities = Some(PathBuf::from(value.into_owned())),
            _ => return Err(format!("{key:?} is not known here: there are sslmode and sslrootcert")),
        }
    }
    match mode.as_deref() {
        Some("disable") => Ok(Encryption::None),
        Some("verify-full") => Ok(Encryption::Verified(authorities)),
        None if is_on_this_machine && authorities.is_none() => Ok(Encryption::None),
        None => Ok(Encryption::Verified(authorities)),
        Some(other) => {
            Err(format!("sslmode is \"verify-full\" or \"disable\": with {other:?} nobody would know whom it talks to"))
        }
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        match first {
            b'%' => {
                let digits = std::str::from_utf8(after.get(..2)?).ok()?;
                bytes.push(u8::from_str_radix(digits, 16).ok()?);
                rest = &after[2..];
            }
            other => {
                bytes.push(*other);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_servers_are_read_and_shown() {
        let url = PostgresUrl::parse("postgres://theater@db1,db2:6432,[::1]:7/the%61ter").expect("a URL");
        assert_eq!(url.to_string(), "postgres://theater@db1:5432,db2:6432,[::1]:7/theater");
        assert_eq!(url.encryption, Encryption::Verified(None), "some of them are on other machines");
    }

    #[test]
    fn a_connection_within_the_machine_needs_no_certificate() {
        let of = |text| PostgresUrl::parse(text).expect("a URL").encryption;
        assert_eq!(of("postgres://a@127.0.0.1,localhost/b"), Encryption::None);
        assert_eq!(of("postgres://a@localhost/b?sslmode=verify-full"), Encryption::Verified(None));
        assert_eq!(of("postgres://a@h/b?sslmode=disable"), Encryption::None);
        assert_eq!(of("postgres://a@h/b?sslrootcert=/etc/ca.pem"), Encryption::Verified(Some("/etc/ca.pem".into())));
    }

    #[test]
    fn a_wrong_url_is_refused_with_what_is_wrong_and_without_a_password() {
        for (text, why) in [
            ("mysql://a@b/c", "it has the form"),
            ("postgres://b/c", "names no user"),
            ("postgres://a@b", "no database"),
            ("postgres://a@/c", "a host is empty"),
            ("postgres://a@b:x/c", "is no number"),
            ("postgres://a@[::1/c", "bracket"),
            ("postgres://a:hunter2@b/c", "THEATER_CLUSTER_PASSWORD"),
            ("postgres://a@b/c?sslmode=require", "verify-full"),
            ("postgres://a@b/c?x=1", "is not known"),
            ("postgres://a@b/c#bank", "--realm"),
        ] {
            let refused = PostgresUrl::parse(text).expect_err(text);
            assert!(refused.contains(why) && !refused.contains("hunter2"), "{text}: {refused}");
        }
    }
}
