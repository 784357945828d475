//! The thread `witnesses` of a running runtime: it shows each newest checkpoint to the witnesses, and collects their cosignatures.
//!
//! Each round is about one checkpoint: all witnesses are asked at the same time, and the next round begins when they have answered. So
//! their cosignatures are under the same checkpoint, however slow one of them is.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::base::seldom::Seldom;
use crate::base::thread::{self, JoinHandle};
use crate::base::wait;
use crate::handlers::{OwnAnswer, OwnServer};
use crate::net::Wakeup;
use crate::proofs::{AddCheckpoint, Proofs, PublicKey, SignatureLine, Signed, consistency_in, number};

/// How long a witness may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How often the thread looks for a newer checkpoint.
const STEP: Duration = Duration::from_millis(100);
/// How long it waits before it asks again after something went wrong.
const PAUSE: Duration = Duration::from_secs(1);
/// A TLS handshake and the system's resolver need a larger stack than other threads do.
const STACK_BYTES: usize = 1024 * 1024;

/// A witness, and where it is asked.
pub(super) struct AskedWitness {
    pub(super) key: PublicKey,
    pub(super) url: String,
}

/// The thread, until it is ended.
pub(super) struct Cosigning {
    going_on: Sender<()>,
    give_up: Arc<Wakeup>,
    thread: JoinHandle,
}

/// Asks these witnesses from now on. The error is for the operator.
pub(super) fn start(proofs: Arc<Proofs>, witnesses: Vec<AskedWitness>) -> Result<Cosigning, String> {
    let give_up = Wakeup::new().map_err(|error| format!("no witness can be asked: {error}"))?;
    let asked = |AskedWitness { key, url }: AskedWitness| {
        let server = OwnServer::new(&url, ANSWER).map_err(|why| format!("the witness {}: {why}", key.name))?;
        Ok(Line { key, server, known: 0, trouble: Seldom::default() })
    };
    let lines = witnesses.into_iter().map(asked).collect::<Result<Vec<_>, String>>()?;
    let (going_on, ending) = bounded(0);
    let rounds = Rounds { proofs, lines, give_up: Arc::clone(&give_up), ending };
    let thread = thread::spawn("witnesses", move || rounds.run());
    let thread = thread.map_err(|error| format!("cannot start the thread of the witnesses: {error}"))?;
    Ok(Cosigning { going_on, give_up, thread })
}

impl Cosigning {
    /// Shows the last checkpoint, as far as that does not take long, and ends.
    pub(super) fn end(self) {
        drop(self.going_on);
        // A panic was logged.
        let _ = self.thread.join();
        drop(self.give_up);
    }
}

/// One witness.
struct Line {
    key: PublicKey,
    server: OwnServer,
    /// The size that it has cosigned last, as far as is known.
    known: u64,
    trouble: Seldom,
}

struct Rounds {
    proofs: Arc<Proofs>,
    lines: Vec<Line>,
    give_up: Arc<Wakeup>,
    ending: Receiver<()>,
}

impl Rounds {
    fn run(mut self) {
        let mut shown = 0;
        loop {
            let ends = wait::receive_within(&self.ending, STEP) == Err(RecvTimeoutError::Disconnected);
            if let Some(signed) = self.proofs.newest().filter(|newest| newest.checkpoint.size > shown) {
                if self.round(&signed) {
                    shown = signed.checkpoint.size;
                } else if !ends {
                    let _ = wait::receive_within(&self.ending, PAUSE);
                }
            }
            if ends {
                return;
            }
        }
    }

    /// Shows a checkpoint to all witnesses; whether enough have cosigned it.
    fn round(&mut self, signed: &Arc<Signed>) -> bool {
        let lines = std::mem::take(&mut self.lines);
        let mut threads = Vec::new();
        let (done, answers) = bounded(lines.len());
        for mut line in lines {
            let (signed, proofs, give_up, done) =
                (Arc::clone(signed), Arc::clone(&self.proofs), Arc::clone(&self.give_up), done.clone());
            let name = format!("witness-{}", threads.len() + 1);
            let asking = thread::spawn_sized(&name, STACK_BYTES, move || {
                let cosigned = line.ask(&signed, &proofs, &give_up);
                let _ = done.try_send((line, cosigned));
            });
            match asking {
                Ok(thread) => threads.push(thread),
                Err(error) => log::warn!("a witness is asked no longer: no thread for it: {error}"),
            }
        }
        drop(done);
        let (mut cosignatures, mut is_enough) = (Vec::new(), false);
        // Each thread ends within the time that a witness may take. What is enough counts before the last one has answered.
        while let Ok((line, cosigned)) = wait::receive(&answers) {
            self.lines.push(line);
            if cosigned.is_empty() {
                continue;
            }
            cosignatures.extend(cosigned);
            match self.proofs.cosigned(signed, cosignatures.clone()) {
                Ok(enough) => is_enough |= enough,
                Err(why) => log::warn!("cosignatures cannot be kept: {why}"),
            }
        }
        threads.into_iter().for_each(|thread| _ = thread.join());
        is_enough
    }
}

impl Line {
    /// The cosignatures of this witness. What goes wrong is logged.
    fn ask(&mut self, signed: &Signed, proofs: &Proofs, give_up: &Arc<Wakeup>) -> Vec<SignatureLine> {
        let asked = self.asked(signed, proofs, give_up);
        asked.unwrap_or_else(|why| {
            self.trouble.warn(format!("the witness {} has not cosigned: {why}", self.key.name));
            Vec::new()
        })
    }

    fn asked(&mut self, signed: &Signed, proofs: &Proofs, give_up: &Arc<Wakeup>) -> Result<Vec<SignatureLine>, String> {
        let size = signed.checkpoint.size;
        // If the witness has another size, it says so once.
        for _ in 0..2 {
            let proof = consistency_in(&proofs.shelf().tiles(), self.known, size).map_err(|error| error.to_string())?;
            let body = AddCheckpoint { old: self.known, proof, note: signed.note.clone() }.to_string();
            let headers = vec![("Content-Type".into(), "text/plain; charset=utf-8".into())];
            let OwnAnswer { status, body } =
                self.server.post("/add-checkpoint", headers, body.into_bytes(), give_up)?;
            let said = String::from_utf8_lossy(&body).trim_end().to_owned();
            match status {
                200 => {
                    self.known = size;
                    return said
                        .lines()
                        .map(|line| SignatureLine::parse(line).map_err(|error| error.to_string()))
                        .collect();
                }
                409 => {
                    let has = number(&said).ok_or("it answers with 409 and no size")?;
                    if has > size {
                        return Err(format!(
                            "it has seen a tree of {has} events under the name {}, and this one has {size}: the journal was rolled back, \
                             or another one has the same origin",
                            signed.checkpoint.origin
                        ));
                    }
                    if has == self.known {
                        return Err(format!(
                            "it has seen another tree of {has} events under the name {}",
                            signed.checkpoint.origin
                        ));
                    }
                    self.known = has;
                }
                422 => {
                    return Err(format!(
                        "the tree does not begin with the one that it has seen under the name {}: the history was rewritten, or another \
                         journal has the same origin",
                        signed.checkpoint.origin
                    ));
                }
                other => return Err(format!("it answers with {other}: {said}")),
            }
        }
        Err("it does not say which tree it has seen last".into())
    }
}
