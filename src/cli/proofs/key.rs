//! `theater key`: makes and shows the Ed25519 keys that sign checkpoints and cosignatures; and reads them for those who sign.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::base::opened::Opened;
use crate::cli::show::{print_json, say};
use crate::cli::{Done, Failure};
use crate::config::KeyPlace;
use crate::proofs::{PrivateKey, SigningRole, is_key_name};
use crate::system::Secrets;

/// A key is not longer.
const KEY_BYTES: u64 = 4 * 1024;

#[derive(Args)]
pub(in crate::cli) struct KeyArgs {
    #[command(subcommand)]
    what: KeyCommand,
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Make a private key in a new file that only its owner can read, and print the public key
    New {
        /// The file to make; the private key is in it
        file: PathBuf,
        /// The name of the key: of a log that nobody else has, such as example.com/bank
        #[arg(long, value_name = "NAME")]
        name: String,
        #[command(flatten)]
        shown: Shown,
    },
    /// Print the public key that goes with a private key
    Show {
        /// The file with the private key
        file: PathBuf,
        #[command(flatten)]
        shown: Shown,
    },
}

/// How a public key is printed.
#[derive(Args)]
struct Shown {
    /// Print the public key by which cosignatures of a witness are checked
    #[arg(long)]
    witness: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn key(args: &KeyArgs) -> Done {
    match &args.what {
        KeyCommand::New { file, name, shown } => {
            if !is_key_name(name) {
                return Err(Failure::usage(format!(
                    "{name:?} cannot be the name of a key: it has no white space and no \"+\""
                )));
            }
            let key = PrivateKey::generate(name).map_err(Failure::no)?;
            write_new(file, &format!("{}\n", key.text()))?;
            print(&key, shown);
        }
        KeyCommand::Show { file, shown } => print(&read_file(file)?, shown),
    }
    Ok(())
}

fn print(key: &PrivateKey, shown: &Shown) {
    let [log, witness] = [SigningRole::Log, SigningRole::Witness].map(|role| key.public(role).to_string());
    if shown.json {
        print_json(&serde_json::json!({ "name": key.name(), "public": log, "witness": witness }));
    } else {
        say!("{}", if shown.witness { witness } else { log });
    }
}

/// Makes a file with mode 0600. One that is there already stays as it is.
fn write_new(path: &Path, text: &str) -> Done {
    let cannot = |error| Failure::no(format!("cannot make {}: {error}", path.display()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(cannot)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(cannot)
}

/// The private key in a file that nobody but its owner can read.
pub(in crate::cli) fn read_file(path: &Path) -> Result<PrivateKey, Failure> {
    let refused = |why: String| Failure::no(format!("the key in {}: {why}", path.display()));
    let opened = Opened::open(path).map_err(refused)?;
    let mode = opened.mode().map_err(refused)?;
    if mode & 0o077 != 0 {
        return Err(refused(format!(
            "the file has mode {:04o}, so others than its owner can open it: chmod 600 it, and make another key if others may have \
             read this one",
            mode & 0o7777
        )));
    }
    understand(&opened.read(KEY_BYTES).map_err(refused)?).map_err(refused)
}

/// The private key at the place that the configuration names.
pub(in crate::cli) fn read(place: &KeyPlace, secrets: &Secrets) -> Result<PrivateKey, Failure> {
    match place {
        KeyPlace::File(path) => read_file(path),
        KeyPlace::Descriptor(number) => {
            let refused =
                |why: String| Failure::no(format!("the key from file descriptor {number} (proofs.key_fd): {why}"));
            let mut bytes = Vec::new();
            let opened = std::fs::File::open(format!("/proc/self/fd/{number}"));
            let read = opened.and_then(|file| file.take(KEY_BYTES).read_to_end(&mut bytes));
            read.map_err(|error| refused(error.to_string()))?;
            understand(&bytes).map_err(refused)
        }
        KeyPlace::Secret(name) => {
            let value = secrets.get(name).map_err(|why| Failure::no(why.in_full()))?;
            let refused = |why: String| Failure::no(format!("the secret \"{name}\" (proofs.key_secret): {why}"));
            understand(value.reveal().as_bytes()).map_err(refused)
        }
    }
}

/// The key that a line stands for. The error quotes nothing of it.
fn understand(bytes: &[u8]) -> Result<PrivateKey, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
    PrivateKey::parse(text.trim_end()).map_err(|error| error.to_string())
}
