//! Proofs: a Merkle tree over all events of a journal, signed checkpoints of it, and proofs that an event is in it.
//!
//! | file | what it holds |
//! |---|---|
//! | `tree` | hashing by RFC 6962; inclusion and consistency proofs, made and checked |
//! | `leaf` | the entry of a leaf, which stands for an event |
//! | `note`, `checkpoint` | signed notes, keys, cosignatures; the text of a checkpoint |
//! | `proof_file` | a proof for one event, with its checkpoint |
//! | `tiles`, `growing`, `shelf` | the hashes in files; the right edge of a tree that grows; the directory of both |
//! | `keeper` | the tree of a journal: compared with the log at a start, grown, signed |
//! | `prover` | proofs from the files |
//! | `service` | the thread of a running runtime, and what others ask of it |
//! | `trusted` | the file that names logs and witnesses |
//! | `add_checkpoint`, `witness_book` | what a witness is asked, and what it remembers |
//! | `fault` | why there is no tree, or no proof |
//!
//! `docs/proofs.md` specifies the formats, and says what is proved against whom.
//!
//! Realms, when there are some, belong in `keeper`: a checkpoint is shown only after the fenced record that holds it, so that a
//! former owner of a realm shows none. `TreeKeeper::sign` is the one place where that record is waited for.

mod add_checkpoint;
mod checkpoint;
mod fault;
mod growing;
mod keeper;
mod leaf;
mod note;
mod proof_file;
mod prover;
mod service;
mod shelf;
mod tiles;
mod tree;
mod trusted;
mod witness_book;

pub(crate) use add_checkpoint::AddCheckpoint;
pub(crate) use checkpoint::{Checkpoint, is_origin, number};
pub(crate) use fault::NotProved;
pub(crate) use keeper::{Compared, Signed, compare_with_log};
pub(crate) use note::{PrivateKey, PublicKey, SignatureLine, SignedNote, SigningRole, is_key_name};
pub(crate) use proof_file::{Demands, ProofFile, Proven};
pub(crate) use prover::{InclusionPath, consistency_in, event_at, path_in};
pub(crate) use service::{ProofOptions, ProofThread, Proofs, start};
pub(crate) use shelf::{Shelf, read_note};
pub(crate) use tiles::width_in;
pub(crate) use tree::TreeHash;
pub(crate) use trusted::{Trusted, TrustedWitness};
pub(crate) use witness_book::{NotCosigned, WitnessBook};
