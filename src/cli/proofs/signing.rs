//! The checkpoints of a running runtime: what the configuration says becomes a key, a thread that signs, and a thread that asks
//! witnesses.

use std::sync::Arc;

use super::cosigning::{self, AskedWitness, Cosigning};
use super::key;
use super::verify::read_trusted;
use crate::cli::Failure;
use crate::config::ProofSettings;
use crate::proofs::{self, ProofOptions, ProofThread, TrustedWitness, is_origin};
use crate::system::{Secrets, TheaterHandle};

/// A key and witnesses that were read, before there is a theater.
pub(in crate::cli) struct PreparedSigning {
    options: ProofOptions,
    witnesses: Vec<AskedWitness>,
}

/// What signs, until it is ended.
pub(in crate::cli) struct Signing {
    thread: ProofThread,
    cosigning: Option<Cosigning>,
}

impl PreparedSigning {
    pub(in crate::cli) fn new(settings: ProofSettings, secrets: &Secrets) -> Result<Self, Failure> {
        let ProofSettings { key, origin, interval, witnesses, quorum } = settings;
        let key = key::read(&key, secrets)?;
        let origin = origin.unwrap_or_else(|| key.name().to_owned());
        // It stands in a header of HTTP answers, in quotes.
        if !is_origin(&origin) || !origin.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte)) {
            let why = "it is 1 to 255 visible ASCII characters other than \", \\ and +, such as example.com/bank";
            return Err(Failure::no(format!("\"proofs.origin\" is {origin:?}: {why}")));
        }
        let trusted = witnesses.as_deref().map(read_trusted).transpose()?.unwrap_or_default();
        if trusted.witnesses.len() < quorum {
            let count = trusted.witnesses.len();
            return Err(Failure::no(format!("\"proofs.quorum\" is {quorum}, and the file of witnesses names {count}")));
        }
        let of_url = |TrustedWitness { key, url }: &TrustedWitness| {
            url.clone().map(|url| AskedWitness { key: key.clone(), url }).ok_or_else(|| {
                Failure::no(format!(
                    "the witness {} has no URL: the line ends with one, such as http://127.0.0.1:9002",
                    key.name
                ))
            })
        };
        let asked = trusted.witnesses.iter().map(of_url).collect::<Result<Vec<_>, _>>()?;
        let options = ProofOptions { key, origin, interval, witnesses: trusted.witness_keys(), quorum };
        Ok(Self { options, witnesses: asked })
    }

    /// Compares what was signed before with the log, and signs from now on. The error is for the operator.
    pub(in crate::cli) fn start(self, theater: &TheaterHandle) -> Result<Signing, String> {
        let (known, thread) = proofs::start(&theater.journal, self.options)?;
        // It is set once, at the start.
        let _ = theater.proofs.set(Arc::clone(&known));
        let cosigning = (!self.witnesses.is_empty()).then(|| cosigning::start(known, self.witnesses)).transpose()?;
        Ok(Signing { thread, cosigning })
    }
}

impl Signing {
    /// Signs what is committed, and ends.
    pub(in crate::cli) fn end(self) {
        self.thread.end();
        self.cosigning.into_iter().for_each(Cosigning::end);
    }
}
