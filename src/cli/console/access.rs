//! Who may ask the console something: the checks of `Host`, `Origin` and key.
//!
//! The page shows what actors said, and may stop them. So a page of somebody else in the same browser must not be able to ask:
//!
//! - `Host` must be a name of the console. A page that has its own name lead to this address (DNS rebinding) is refused.
//! - `Origin`, where a browser sends it, must be the console's own. The page's requests have a type of content for which a browser
//!   asks first (CORS), and the console gives no page leave.
//! - The key, if there is one, comes in `Authorization`, and never in a cookie, which a browser would send by itself.

use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;

use subtle::ConstantTimeEq;

use crate::cli::{Failure, stderr};
use crate::server::open_to_others;

/// The most bytes of a file with a key.
const KEY_BYTES: u64 = 4096;

/// The parts of a request that decide whether it is answered.
#[derive(Default)]
pub(super) struct AskedHeaders<'a> {
    pub(super) host: Option<&'a str>,
    pub(super) origin: Option<&'a str>,
    /// What the browser says about where the request comes from: `Sec-Fetch-Site`.
    pub(super) site: Option<&'a str>,
    pub(super) authorization: Option<&'a str>,
}

/// Why a request is not answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// The console is not known by this name.
    Host,
    /// The request comes from another page.
    Origin,
    /// The key is missing, or wrong.
    Key,
    /// One of the headers that decide stands there twice.
    Twice,
}

impl Denied {
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Host => 421,
            Self::Origin => 403,
            Self::Key => 401,
            Self::Twice => 400,
        }
    }

    pub(super) fn text(&self) -> &'static str {
        match self {
            Self::Host => {
                "the console is not known by this name: open the address that it has printed, or name this one by --host"
            }
            Self::Origin => "the console answers its own page only",
            Self::Key => "the key is missing or wrong: open the address that the console has printed",
            Self::Twice => "a header stands there twice",
        }
    }
}

/// What the console is called, and the key that it asks for.
pub(super) struct Access {
    hosts: Vec<String>,
    key: Option<String>,
    address: SocketAddr,
    /// Whether browsers come through a proxy.
    is_behind_proxy: bool,
}

impl Access {
    /// The key is read from `key_file`, or made at random if one is needed.
    pub(super) fn new(
        address: SocketAddr,
        named: &[String],
        key_file: Option<&Path>,
        needs_key: bool,
    ) -> Result<Self, Failure> {
        let key = match key_file {
            Some(path) => Some(read_key(path)?),
            None if needs_key => Some(random_key()?),
            None => None,
        };
        if let Some(wrong) = named.iter().find(|host| !is_host(host)) {
            return Err(Failure::usage(format!(
                "--host {wrong}: a name, or a name and a port, such as console.example:8443"
            )));
        }
        let port = address.port();
        let mut hosts: Vec<String> = named.iter().map(|host| host.to_ascii_lowercase()).collect();
        if address.ip().is_loopback() {
            hosts.extend(["127.0.0.1", "localhost", "[::1]"].map(|host| format!("{host}:{port}")));
        }
        Ok(Self { hosts, key, address, is_behind_proxy: !named.is_empty() })
    }

    /// The address to open in a browser.
    pub(super) fn url(&self) -> String {
        let base = match self.hosts.first().filter(|_| self.is_behind_proxy) {
            Some(host) => format!("https://{host}/"),
            None => format!("http://{}/", self.address),
        };
        // What stands behind `#` stays in the browser: no request and no log has it.
        self.key.as_ref().map_or(base.clone(), |key| format!("{base}#key={key}"))
    }

    /// Whether a request may be answered that asks for a file of the page.
    pub(super) fn to_page(&self, asked: &AskedHeaders<'_>) -> Result<(), Denied> {
        let host = asked.host.map(str::to_ascii_lowercase).filter(|host| self.hosts.contains(host));
        host.map(drop).ok_or(Denied::Host)
    }

    /// Whether a request may be answered that asks for something of the runtime.
    pub(super) fn to_runtime(&self, asked: &AskedHeaders<'_>) -> Result<(), Denied> {
        self.to_page(asked)?;
        let is_own = |origin: &str| {
            let name = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            name.is_some_and(|name| asked.host.is_some_and(|host| host.eq_ignore_ascii_case(name)))
        };
        if asked.origin.is_some_and(|origin| !is_own(origin)) || asked.site.is_some_and(|site| site != "same-origin") {
            return Err(Denied::Origin);
        }
        let Some(key) = &self.key else { return Ok(()) };
        let given = asked.authorization.and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default();
        if bool::from(given.as_bytes().ct_eq(key.as_bytes())) { Ok(()) } else { Err(Denied::Key) }
    }
}

/// Whether a text can stand in `Host`.
fn is_host(text: &str) -> bool {
    let (name, port) = text.rsplit_once(':').filter(|_| !text.ends_with(']')).unwrap_or((text, "443"));
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    !name.is_empty() && name.bytes().all(is_name) && port.parse::<u16>().is_ok()
}

fn random_key() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Failure::no(format!("no random key: {error}")))?;
    Ok(hex::encode(bytes))
}

fn read_key(path: &Path) -> Result<String, Failure> {
    let wrong = |why: String| Failure::no(format!("--key-file {}: {why}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    if let Some(doubt) = open_to_others(path) {
        stderr::tell(&format!("theater: the key in {} {doubt}", path.display()));
    }
    let mut text = String::new();
    let read = file.take(KEY_BYTES + 1).read_to_string(&mut text).map_err(|error| wrong(error.to_string()))?;
    if read as u64 > KEY_BYTES {
        return Err(wrong(format!("a key has at most {KEY_BYTES} bytes")));
    }
    let key = text.trim();
    if key.len() < 16 || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Err(wrong("a key has 16 characters or more: letters, digits, `-`, `_` and `.`".to_owned()));
    }
    Ok(key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Option<&str> = Some("127.0.0.1:9001");

    fn open() -> Access {
        Access::new("127.0.0.1:9001".parse().expect("an address"), &[], None, false).expect("no file is read")
    }

    #[test]
    fn the_console_answers_to_its_own_names_only() {
        for host in ["127.0.0.1:9001", "localhost:9001", "LOCALHOST:9001", "[::1]:9001"] {
            assert_eq!(
                open().to_runtime(&AskedHeaders { host: Some(host), ..AskedHeaders::default() }),
                Ok(()),
                "{host}"
            );
        }
        for host in ["evil.example:9001", "127.0.0.1", "127.0.0.1:9002", "127.0.0.1:9001.evil.example", ""] {
            let asked = AskedHeaders { host: Some(host), ..AskedHeaders::default() };
            assert_eq!(open().to_page(&asked), Err(Denied::Host), "{host}");
        }
        assert_eq!(open().to_page(&AskedHeaders::default()), Err(Denied::Host));
    }

    #[test]
    fn another_page_in_the_same_browser_is_refused() {
        let from = |origin, site| open().to_runtime(&AskedHeaders { host: HERE, origin, site, authorization: None });
        assert_eq!(from(Some("http://127.0.0.1:9001"), Some("same-origin")), Ok(()));
        for origin in ["http://evil.example", "null", "http://localhost:9001", "http://127.0.0.1:9002", "file://"] {
            assert_eq!(from(Some(origin), None), Err(Denied::Origin), "{origin}");
        }
        for site in ["cross-site", "same-site", "none"] {
            assert_eq!(from(None, Some(site)), Err(Denied::Origin), "{site}");
        }
    }

    #[test]
    fn a_key_that_is_asked_for_must_be_right() {
        let address = "127.0.0.1:9001".parse().expect("an address");
        let access = Access::new(address, &[], None, true).expect("a random key");
        let key = access.url().split_once("#key=").expect("the address has the key").1.to_owned();
        let ask = |authorization: Option<&str>| {
            access.to_runtime(&AskedHeaders { host: HERE, authorization, ..AskedHeaders::default() })
        };
        assert_eq!(ask(Some(&format!("Bearer {key}"))), Ok(()));
        for wrong in ["Bearer ", "Bearer x", key.as_str(), ""] {
            assert_eq!(ask(Some(wrong)), Err(Denied::Key), "{wrong}");
        }
        assert_eq!(ask(None), Err(Denied::Key));
        assert_eq!(
            access.to_page(&AskedHeaders { host: HERE, ..AskedHeaders::default() }),
            Ok(()),
            "the page itself is no secret"
        );
    }

    #[test]
    fn what_cannot_be_a_host_is_refused() {
        for host in ["console.example", "console.example:8443", "[::1]:9001", "10.0.0.5"] {
            assert!(is_host(host), "{host}");
        }
        for wrong in ["http://x/", "evil:abc", "", "a b", "x:70000", "x/y"] {
            assert!(!is_host(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_proxy_is_named() {
        let address = "0.0.0.0:9001".parse().expect("an address");
        let access = Access::new(address, &["Console.example".to_owned()], None, true).expect("a random key");
        assert!(access.url().starts_with("https://console.example/#key="));
        assert_eq!(access.to_page(&AskedHeaders { host: HERE, ..AskedHeaders::default() }), Err(Denied::Host));
    }
}
