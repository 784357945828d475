//! The file that names whom somebody trusts: the logs whose checkpoints a witness cosigns, and the witnesses whose cosignatures a
//! runtime collects or a verifier demands.
//!
//! ```text
//! # a comment
//! log     example.com/bank+0a1b2c3d+AX…  example.com/bank
//! witness witness.example+4e5f6071+BX…   https://witness.example
//! ```

use super::checkpoint::is_origin;
use super::note::{PublicKey, SigningRole};

/// A log, and the origin of its checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrustedLog {
    pub(crate) key: PublicKey,
    pub(crate) origin: String,
}

/// A witness, and where it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrustedWitness {
    pub(crate) key: PublicKey,
    pub(crate) url: Option<String>,
}

/// What such a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trusted {
    pub(crate) logs: Vec<TrustedLog>,
    pub(crate) witnesses: Vec<TrustedWitness>,
}

impl Trusted {
    /// Reads a file. The error names the line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut found = Self::default();
        for (line, text) in (1..).zip(text.lines()) {
            let refused = |why: String| format!("line {line}: {why}");
            let words: Vec<&str> = text.split_whitespace().collect();
            match words[..] {
                [] => {}
                [first, ..] if first.starts_with('#') => {}
                ["log", key] | ["log", key, _] => {
                    let key = key_of(key, SigningRole::Log).map_err(refused)?;
                    let origin = words.get(2).map_or_else(|| key.name.clone(), |origin| (*origin).to_owned());
                    if !is_origin(&origin) {
                        return Err(refused(format!("{origin:?} is no origin of a log")));
                    }
                    if found.logs.iter().any(|log| log.origin == origin && log.key == key) {
                        return Err(refused(format!("the log {origin} is named twice")));
                    }
                    found.logs.push(TrustedLog { key, origin });
                }
                ["witness", key] | ["witness", key, _] => {
                    let key = key_of(key, SigningRole::Witness).map_err(refused)?;
                    if found.witnesses.iter().any(|witness| witness.key == key) {
                        return Err(refused(format!("the witness {} is named twice", key.name)));
                    }
                    let url = words.get(2).map(|url| (*url).to_owned());
                    found.witnesses.push(TrustedWitness { key, url });
                }
                _ => return Err(refused("it is neither \"log KEY [ORIGIN]\" nor \"witness KEY [URL]\"".into())),
            }
        }
        Ok(found)
    }

    pub(crate) fn witness_keys(&self) -> Vec<PublicKey> {
        self.witnesses.iter().map(|witness| witness.key.clone()).collect()
    }
}

fn key_of(text: &str, role: SigningRole) -> Result<PublicKey, String> {
    let key = PublicKey::parse(text).map_err(|error| error.to_string())?;
    match (key.role == role, role) {
        (true, _) => Ok(key),
        (false, SigningRole::Log) => Err(format!("{text} is the key of a witness, and that of a log is expected")),
        (false, SigningRole::Witness) => {
            Err(format!("{text} is the key of a log; `theater key show --witness` prints the one of a witness"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::note::PrivateKey;
    use super::*;

    #[test]
    fn logs_and_witnesses_are_read_and_mistakes_named_by_their_lines() {
        let key = PrivateKey::generate("example.com/a").expect("randomness");
        let (log, witness) = (key.public(SigningRole::Log), key.public(SigningRole::Witness));
        let text = format!("# trusted\n\nlog {log}\nlog {log} other\n  witness {witness} http://localhost:1\n");
        let found = Trusted::parse(&text).expect("a file");
        assert_eq!(found.logs.iter().map(|log| &*log.origin).collect::<Vec<_>>(), ["example.com/a", "other"]);
        assert_eq!(found.witness_keys(), std::slice::from_ref(&witness));
        assert_eq!(found.witnesses[0].url.as_deref(), Some("http://localhost:1"));
        for (wrong, why) in [
            (format!("\nlog {witness}\n"), "line 2: "),
            (format!("witness {log}\n"), "theater key show --witness"),
            ("log\n".into(), "line 1: it is neither"),
            (format!("log {log}\nlog {log}\n"), "line 2: the log example.com/a is named twice"),
            (format!("witness {witness}\nwitness {witness}\n"), "named twice"),
            (format!("log {log} a+b\n"), "no origin"),
        ] {
            let error = Trusted::parse(&wrong).expect_err(&wrong);
            assert!(error.contains(why), "{error}");
        }
    }
}
