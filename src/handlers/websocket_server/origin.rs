//! Origins: from which web pages a browser may connect. A browser names the origin of the page, and a page cannot make
//! it name another one. So a listener that is only for its own pages can tell them from all other pages. A program that
//! is no browser can name any origin, so an origin does not tell who a client is.

/// The origins that are let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Origins {
    Any,
    Only(Vec<String>),
}

impl Origins {
    pub(super) fn new(given: Option<&[String]>) -> Result<Self, String> {
        let Some(given) = given else { return Ok(Self::Any) };
        given.iter().map(|text| parse(text)).collect::<Result<_, _>>().map(Self::Only)
    }

    /// Whether a client that names this origin is let in. A client that names no origin is not a web page, and is
    /// accepted.
    pub(super) fn admit(&self, named: Option<&[u8]>) -> bool {
        match (self, named) {
            (Self::Any, _) | (Self::Only(_), None) => true,
            (Self::Only(origins), Some(named)) => {
                let named = std::str::from_utf8(named).ok().and_then(|named| parse(named).ok());
                named.is_some_and(|named| origins.contains(&named))
            }
        }
    }
}

/// The one form of `scheme://host[:port]`: in lower case, without the port that the scheme has anyway.
fn parse(text: &str) -> Result<String, String> {
    let bad = || {
        format!(
            "{text:?} in \"origins\" is no origin; expected one such as https://example.org or http://localhost:8080"
        )
    };
    let origin = text.to_ascii_lowercase();
    let (scheme, place) = origin.split_once("://").ok_or_else(bad)?;
    let is_place = !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@*".contains(&byte));
    let is_scheme =
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !is_place || !is_scheme {
        return Err(bad());
    }
    let own_port = match scheme {
        "http" | "ws" => ":80",
        "https" | "wss" => ":443",
        _ => return Ok(origin),
    };
    Ok(origin.strip_suffix(own_port).map_or(origin.clone(), str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(given: &[&str]) -> Origins {
        let given: Vec<String> = given.iter().map(|text| (*text).to_owned()).collect();
        Origins::new(Some(&given)).expect("origins")
    }

    #[test]
    fn without_a_list_any_page_is_let_in_and_with_one_those_of_it_alone() {
        assert!(Origins::new(None).expect("none").admit(Some(b"https://evil.example")));
        let origins = only(&["https://Chat.example:443", "http://localhost:8080"]);
        for named in
            ["https://chat.example", "HTTPS://CHAT.EXAMPLE", "https://chat.example:443", "http://localhost:8080"]
        {
            assert!(origins.admit(Some(named.as_bytes())), "{named}");
        }
        for named in [
            "http://chat.example",
            "https://chat.example:444",
            "https://chat.example.evil",
            "https://evil/chat.example",
            "null",
            "",
        ] {
            assert!(!origins.admit(Some(named.as_bytes())), "{named}");
        }
        assert!(!origins.admit(Some(b"\xff")) && origins.admit(None) && !only(&[]).admit(Some(b"http://a")));
    }

    #[test]
    fn what_is_no_origin_is_refused_in_a_list() {
        for text in ["", "*", "example.org", "https://", "https://example.org/", "https://*.example.org", "https://a b"]
        {
            let why = Origins::new(Some(&[text.to_owned()])).expect_err(text);
            assert!(why.starts_with(&format!("{text:?} in \"origins\" is no origin")), "{why}");
        }
    }
}
