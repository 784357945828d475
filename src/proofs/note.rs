//! Signed notes (C2SP `signed-note`): a text, a blank line, and signature lines by Ed25519 keys with names. Key texts are
//! those of Go's `sumdb/note`; a cosignature of a witness (C2SP `tlog-cosignature`) is a signature line with a time.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sha2::{Digest, Sha256};

/// A note is not longer.
pub(crate) const NOTE_BYTES: usize = 64 * 1024;
/// A note has not more signatures.
const MOST_SIGNATURES: usize = 100;
const PRIVATE: &str = "PRIVATE+KEY+";

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SigningRole {
    /// The text of the note itself, as a log does.
    Log,
    /// The text behind a line with the time, as a witness does.
    Witness,
}

impl SigningRole {
    /// The byte that stands before the public key.
    const fn algorithm(self) -> u8 {
        match self {
            Self::Log => 1,
            Self::Witness => 4,
        }
    }
}

/// Why a text is no note or no key, or why a note is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoteError {
    #[error("it is no signed note: {0}")]
    Form(&'static str),
    #[error("it is no key: {0}")]
    Key(&'static str),
    #[error("{0} has not signed it")]
    Unsigned(String),
    #[error("the signature of {0} is not that of this text")]
    Forged(String),
}

/// Whether a text can be the name of a key: it is not empty, and has neither white space nor `+`.
pub(crate) fn is_key_name(text: &str) -> bool {
    let is_wrong = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    !text.is_empty() && text.len() <= 255 && !text.contains(is_wrong)
}

/// A public key with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicKey {
    pub(crate) name: String,
    pub(crate) role: SigningRole,
    key: [u8; 32],
}

impl PublicKey {
    /// The key that a text of the form `NAME+HASH+BASE64` stands for.
    pub(crate) fn parse(text: &str) -> Result<Self, NoteError> {
        let form = NoteError::Key("a public key has the form NAME+HASH+BASE64");
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(_), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(form);
        };
        if !is_key_name(name) {
            return Err(NoteError::Key("its name is empty, or has white space in it"));
        }
        let bytes = BASE64.decode(encoded).map_err(|_| form.clone())?;
        let (role, key) = match bytes.split_first() {
            Some((1, key)) => (SigningRole::Log, key),
            Some((4, key)) => (SigningRole::Witness, key),
            _ => {
                return Err(NoteError::Key("it is of an algorithm that this program does not know (it knows Ed25519)"));
            }
        };
        let key = key.try_into().map_err(|_| form)?;
        let found = Self { name: name.to_owned(), role, key };
        // The hash in it says whether the rest is what was written.
        if found.to_string() == text { Ok(found) } else { Err(NoteError::Key("its hash does not fit the rest of it")) }
    }

    fn id(&self) -> [u8; 4] {
        let hash = Sha256::new().chain_update(&self.name).chain_update([b'\n', self.role.algorithm()]);
        let hash: [u8; 32] = hash.chain_update(self.key).finalize().into();
        *hash.first_chunk().expect("32 bytes begin with 4")
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[self.role.algorithm()][..], &self.key].concat();
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id()), BASE64.encode(bytes))
    }
}

/// A private key with a name. Nothing shows it but [`PrivateKey::text`].
pub(crate) struct PrivateKey {
    name: String,
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl PrivateKey {
    /// A new key; the name fits [`is_key_name`].
    pub(crate) fn generate(name: &str) -> Result<Self, getrandom::Error> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)?;
        Ok(Self::of(name, seed))
    }

    fn of(name: &str, seed: [u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("a seed is 32 bytes, whatever they are");
        Self { name: name.to_owned(), seed, pair }
    }

    /// The key that a text of the form `PRIVATE+KEY+NAME+HASH+BASE64` stands for. An error quotes nothing of it.
    pub(crate) fn parse(text: &str) -> Result<Self, NoteError> {
        let form = NoteError::Key("a private key has the form PRIVATE+KEY+NAME+HASH+BASE64");
        let mut parts = text.strip_prefix(PRIVATE).unwrap_or_default().splitn(3, '+');
        let (Some(name), Some(_), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(form);
        };
        let bytes = BASE64.decode(encoded).map_err(|_| form.clone())?;
        let Some((1, seed)) = bytes.split_first() else {
            return Err(NoteError::Key("it is of an algorithm that this program does not know (it knows Ed25519)"));
        };
        if !is_key_name(name) {
            return Err(NoteError::Key("its name is empty, or has white space in it"));
        }
        let found = Self::of(name, seed.try_into().map_err(|_| form)?);
        if found.text() == text { Ok(found) } else { Err(NoteError::Key("its hash does not fit the rest of it")) }
    }

    /// The key as text, which is secret.
    pub(crate) fn text(&self) -> String {
        let bytes = [&[SigningRole::Log.algorithm()][..], &self.seed].concat();
        let id = hex::encode(self.public(SigningRole::Log).id());
        format!("{PRIVATE}{}+{id}+{}", self.name, BASE64.encode(bytes))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The public key that goes with it, in this role.
    pub(crate) fn public(&self, role: SigningRole) -> PublicKey {
        let key = self.pair.public_key().as_ref().try_into().expect("a public key is 32 bytes");
        PublicKey { name: self.name.clone(), role, key }
    }

    /// The signature line of the log for a note with this text.
    pub(crate) fn sign(&self, text: &str) -> SignatureLine {
        let public = self.public(SigningRole::Log);
        let signature = self.pair.sign(text.as_bytes());
        SignatureLine { name: public.name.clone(), id: public.id(), signature: signature.as_ref().to_vec() }
    }

    /// The signature line of a witness at a time, in seconds since the Unix epoch.
    pub(crate) fn cosign(&self, text: &str, time: u64) -> SignatureLine {
        let public = self.public(SigningRole::Witness);
        let signature = self.pair.sign(cosigned(text, time).as_bytes());
        let signature = [&time.to_be_bytes()[..], signature.as_ref()].concat();
        SignatureLine { name: public.name.clone(), id: public.id(), signature }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a witness signs.
fn cosigned(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// One signature of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignatureLine {
    pub(crate) name: String,
    id: [u8; 4],
    signature: Vec<u8>,
}

impl SignatureLine {
    /// The signature that a line, without its line feed, stands for.
    pub(crate) fn parse(line: &str) -> Result<Self, NoteError> {
        let form = NoteError::Form("a signature line has the form \"— NAME BASE64\"");
        let (name, encoded) = line.strip_prefix("— ").and_then(|rest| rest.split_once(' ')).ok_or(form.clone())?;
        let bytes = BASE64.decode(encoded).map_err(|_| form.clone())?;
        let (id, signature) = bytes.split_first_chunk().ok_or(form.clone())?;
        if !is_key_name(name) || signature.is_empty() {
            return Err(form);
        }
        Ok(Self { name: name.to_owned(), id: *id, signature: signature.to_vec() })
    }

    pub(crate) fn is_of(&self, key: &PublicKey) -> bool {
        self.name == key.name && self.id == key.id()
    }
}

impl fmt::Display for SignatureLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "— {} {}", self.name, BASE64.encode([&self.id[..], &self.signature].concat()))
    }
}

/// A text with signatures, which were not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignedNote {
    /// Ends with a line feed.
    pub(crate) text: String,
    pub(crate) signatures: Vec<SignatureLine>,
}

impl SignedNote {
    pub(crate) fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > NOTE_BYTES {
            return Err(NoteError::Form("it is too long"));
        }
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(NoteError::Form("it has a control character in it"));
        }
        let without = NoteError::Form("it has no signature lines behind a blank line");
        let (text, lines) = note.rsplit_once("\n\n").ok_or(without.clone())?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Form("it ends without a line feed"))?;
        let signatures = lines.split('\n').map(SignatureLine::parse).collect::<Result<Vec<_>, _>>()?;
        if signatures.len() > MOST_SIGNATURES {
            return Err(NoteError::Form("it has too many signatures"));
        }
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// Checks that a key has signed it. The time at which it did, in seconds since the Unix epoch, if the key is of a witness.
    pub(crate) fn verify(&self, key: &PublicKey) -> Result<Option<u64>, NoteError> {
        let mut of_key = self.signatures.iter().filter(|line| line.is_of(key)).peekable();
        if of_key.peek().is_none() {
            return Err(NoteError::Unsigned(key.name.clone()));
        }
        let forged = || NoteError::Forged(key.name.clone());
        let mut when = None;
        for line in of_key {
            let is_right = |signed: &str, signature: &[u8]| {
                UnparsedPublicKey::new(&ED25519, &key.key).verify(signed.as_bytes(), signature).is_ok()
            };
            let found = match key.role {
                SigningRole::Log => is_right(&self.text, &line.signature).then_some(None),
                SigningRole::Witness => line.signature.split_first_chunk().and_then(|(time, signature)| {
                    let time = u64::from_be_bytes(*time);
                    is_right(&cosigned(&self.text, time), signature).then_some(Some(time))
                }),
            };
            when = when.max(found.ok_or_else(forged)?);
        }
        Ok(when)
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys and the note of the documentation of Go's `sumdb/note`.
    const SKEY: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const TEXT: &str =
        "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const SIGNATURE: &str =
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";

    #[test]
    fn a_note_is_signed_as_the_documentation_of_go_has_it() {
        let key = PrivateKey::parse(SKEY).expect("a key");
        assert_eq!(key.public(SigningRole::Log).to_string(), VKEY);
        let note = SignedNote { text: TEXT.into(), signatures: vec![key.sign(TEXT)] };
        assert_eq!(note.to_string(), format!("{TEXT}\n{SIGNATURE}\n"));
        let read = SignedNote::parse(&note.to_string()).expect("a note");
        assert_eq!((&read, read.verify(&PublicKey::parse(VKEY).expect("a key"))), (&note, Ok(None)));
    }

    #[test]
    fn keys_have_one_spelling_and_come_back_from_their_texts() {
        let key = PrivateKey::generate("example.com/bank").expect("randomness");
        let text = key.text();
        assert_eq!(PrivateKey::parse(&text).expect("a key").text(), text);
        for role in [SigningRole::Log, SigningRole::Witness] {
            let public = key.public(role);
            assert_eq!(PublicKey::parse(&public.to_string()), Ok(public.clone()));
            let text = public.to_string();
            for at in 0..text.len() {
                let mut wrong = text.clone().into_bytes();
                wrong[at] ^= 1;
                let wrong = String::from_utf8(wrong).expect("ASCII");
                assert!(PublicKey::parse(&wrong).is_err(), "{wrong}");
            }
        }
        for wrong in ["", "a+b", "a b+00000000+AQ==", "PRIVATE+KEY+a", "a+00000000+"] {
            assert!(PublicKey::parse(wrong).is_err() && PrivateKey::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(format!("{key:?}"), "PrivateKey { name: \"example.com/bank\", .. }");
    }

    #[test]
    fn a_signature_is_of_one_text_one_key_and_one_role() {
        let [key, other] = ["log", "log"].map(|name| PrivateKey::generate(name).expect("randomness"));
        let text = "origin\n1\nroot\n";
        let note = SignedNote { text: text.into(), signatures: vec![key.sign(text), key.cosign(text, 1_700_000_000)] };
        assert_eq!(note.verify(&key.public(SigningRole::Log)), Ok(None));
        assert_eq!(note.verify(&key.public(SigningRole::Witness)), Ok(Some(1_700_000_000)));
        let unsigned = Err(NoteError::Unsigned("log".into()));
        assert_eq!(note.verify(&other.public(SigningRole::Log)), unsigned);
        assert_eq!(note.verify(&other.public(SigningRole::Witness)), unsigned);
        let forged = Err(NoteError::Forged("log".into()));
        let changed = SignedNote { text: "origin\n2\nroot\n".into(), ..note.clone() };
        assert_eq!(changed.verify(&key.public(SigningRole::Log)), forged);
        assert_eq!(changed.verify(&key.public(SigningRole::Witness)), forged);
        let mut earlier = note;
        earlier.signatures[1].signature[7] ^= 1;
        assert_eq!(earlier.verify(&key.public(SigningRole::Witness)), forged, "the time is signed");
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let line = SIGNATURE;
        for wrong in [
            String::new(),
            TEXT.into(),
            format!("{TEXT}\n"),
            format!("{TEXT}\n{line}"),
            format!("{TEXT}{line}\n"),
            format!("{TEXT}\n{line}\n\n"),
            format!("{TEXT}\n{}\n", line.replace('—', "-")),
            format!("{TEXT}\n{}\n", line.replace("PeterNeumann ", "Peter+Neumann ")),
            format!("{TEXT}\n{}\n", &line[..line.len() - 1]),
            format!("{TEXT}\r\n\n{line}\n"),
            format!("{TEXT}\n{}", format!("{line}\n").repeat(101)),
        ] {
            assert!(matches!(SignedNote::parse(&wrong), Err(NoteError::Form(_))), "{wrong}");
        }
    }
}
