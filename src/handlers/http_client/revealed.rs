//! Headers with the values of their secrets: how they are sent, and how they are kept out of what comes back.

use std::fmt;

use crate::base::limits::SECRET_MASKED_BYTES;
use crate::guest::wit::HttpResponse;
use crate::system::SecretValue;

/// Headers with their values, for one exchange.
#[derive(Default)]
pub(super) struct Revealed(pub(super) Vec<RevealedHeader>);

pub(super) struct RevealedHeader {
    pub(super) name: String,
    pub(super) prefix: String,
    pub(super) value: SecretValue,
}

/// Only the names are shown.
impl fmt::Debug for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|header| &header.name)).finish()
    }
}

impl Revealed {
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|header| header.name.eq_ignore_ascii_case(name))
    }

    /// The lines of a head, as they are sent.
    pub(super) fn lines(&self) -> String {
        let line =
            |RevealedHeader { name, prefix, value }: &RevealedHeader| format!("{name}: {prefix}{}\r\n", value.reveal());
        self.0.iter().map(line).collect()
    }

    /// The values that are looked for in what comes back. A shorter one may stand there by chance.
    fn looked_for(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|header| header.value.reveal()).filter(|value| value.len() >= SECRET_MASKED_BYTES)
    }

    /// Whether a text holds one of the secrets, in whatever case its letters are.
    pub(super) fn are_in(&self, text: &str) -> bool {
        self.looked_for().any(|value| !find_in_any_case(text, value).is_empty())
    }

    /// Puts an asterisk in the place of each byte of a secret that a server has sent back, in headers and body. In the text
    /// of an error too, there in whatever case the letters are: a host in it has small letters.
    pub(super) fn masked(&self, mut answered: Result<HttpResponse, String>) -> Result<HttpResponse, String> {
        let mut values: Vec<&str> = self.looked_for().collect();
        // A secret that contains another one is masked as a whole.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        for value in values {
            let mask = "*".repeat(value.len());
            let mask_text = |text: &mut String| {
                if text.contains(value) {
                    *text = text.replace(value, &mask);
                }
            };
            match &mut answered {
                Ok(HttpResponse { headers, body, .. }) => {
                    headers.iter_mut().for_each(|(name, value)| {
                        mask_text(name);
                        mask_text(value);
                    });
                    body.iter_mut().for_each(|body| mask_bytes(body, value.as_bytes()));
                }
                Err(why) => {
                    let places = find_in_any_case(why, value);
                    places.into_iter().for_each(|at| why.replace_range(at..at + value.len(), &mask));
                }
            }
        }
        answered
    }
}

/// Where `value`, which is ASCII, stands in a text.
fn find_in_any_case(text: &str, value: &str) -> Vec<usize> {
    let (text, value) = (text.to_ascii_lowercase(), value.to_ascii_lowercase());
    memchr::memmem::find_iter(text.as_bytes(), value.as_bytes()).collect()
}

fn mask_bytes(body: &mut [u8], value: &[u8]) {
    let places: Vec<usize> = memchr::memmem::find_iter(body, value).collect();
    places.into_iter().for_each(|at| body[at..at + value.len()].fill(b'*'));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{SecretSource, Secrets};

    fn revealed(values: &[&str]) -> Revealed {
        let header = |value: &&str| {
            let mut secrets = Secrets::new();
            secrets.add("key", SecretSource::command("/bin/echo", [*value]));
            let value = secrets.get("key").expect("a value");
            RevealedHeader { name: "Authorization".into(), prefix: "Bearer ".into(), value }
        };
        Revealed(values.iter().map(header).collect())
    }

    #[test]
    fn a_value_is_sent_behind_its_prefix_and_is_not_shown() {
        let revealed = revealed(&["hunter2-hunter2"]);
        assert_eq!(revealed.lines(), "Authorization: Bearer hunter2-hunter2\r\n");
        assert!(revealed.has("authorization") && !revealed.has("user-agent"));
        assert_eq!(format!("{revealed:?}"), "[\"Authorization\"]");
    }

    #[test]
    fn a_value_that_a_server_sends_back_is_masked_wherever_it_stands() {
        let text = |text: &str| text.to_owned();
        let response = |masked: &str| HttpResponse {
            status: 200,
            headers: vec![(format!("X-{masked}"), text("1")), (text("Echo"), format!("Bearer {masked};{masked}"))],
            body: Some(format!("\u{e4}{masked}{masked} hunter2").into_bytes()),
        };
        let masked = revealed(&["hunter2-hunter2"]).masked(Ok(response("hunter2-hunter2")));
        assert_eq!(masked, Ok(response("***************")));
        let masked = revealed(&["hunter2-hunter2"]).masked(Err(text("bad URL \"x:hunter2-hunter2\"")));
        assert_eq!(masked, Err(text("bad URL \"x:***************\"")));
        let masked = revealed(&["Hunter2-Hunter2"]).masked(Err(text("\u{e4} hunter2-hunter2HUNTER2-HUNTER2:443")));
        assert_eq!(masked, Err(text("\u{e4} ******************************:443")), "a host has small letters");
        let masked = revealed(&["hunter22", "hunter22-hunter22"]).masked(Err(text("hunter22-hunter22 hunter22")));
        assert_eq!(masked, Err(text("***************** ********")), "the longer one is masked first");
        let masked = revealed(&["hunter2"]).masked(Err(text("hunter2")));
        assert_eq!(masked, Err(text("hunter2")), "so short a text may stand there by chance");
    }
}
