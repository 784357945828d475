//! `theater witness`: a process of its own that sees checkpoints of logs, and cosigns each that goes on from the one before (C2SP
//! `tlog-witness`).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::key::read_file;
use super::verify::read_trusted;
use crate::base::{clock, wait};
use crate::cli::show::{print_json, say};
use crate::cli::{Done, Failure, stderr};
use crate::net::http::{HttpLimits, HttpListener, WireAnswer, WireRequest, WireResponse};
use crate::proofs::{AddCheckpoint, NotCosigned, SigningRole, WitnessBook};

/// A request is not longer: a checkpoint, its signatures, and 63 hashes.
const BODY_BYTES: usize = 128 * 1024;

#[derive(Args)]
pub(in crate::cli) struct WitnessArgs {
    /// The file of the private key that cosigns; `theater key new` makes one
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// The file that names the logs: a line "log KEY [ORIGIN]" for each
    #[arg(long, value_name = "FILE")]
    logs: PathBuf,
    /// The directory that holds the last checkpoint of each log; it must not be lost
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Where it is asked: an address of this machine; port 0 takes any free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9002")]
    listen: SocketAddr,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Cosigns until the process is ended.
pub(in crate::cli) fn witness(args: &WitnessArgs) -> Done {
    let key = read_file(&args.key_file)?;
    let logs = read_trusted(&args.logs)?.logs;
    if logs.is_empty() {
        return Err(Failure::no(format!(
            "{} names no log: a line has the form \"log KEY [ORIGIN]\"",
            args.logs.display()
        )));
    }
    let public = key.public(SigningRole::Witness);
    let cannot = |error: &dyn std::fmt::Display| Failure::no(format!("{}: {error}", args.dir.display()));
    let book = WitnessBook::new(&args.dir, logs, key).map_err(|error| cannot(&error))?;
    let refused =
        |error| Failure::no(format!("cannot listen on {}: {error}; name another address with --listen", args.listen));
    let listener = HttpListener::bind(args.listen).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let limits = HttpLimits {
        body_bytes: BODY_BYTES,
        head_bytes: 16 * 1024,
        idle_timeout: Duration::from_secs(30),
        write_timeout: Duration::from_secs(30),
        ..HttpLimits::default()
    };
    let service = Arc::new(move |request: WireRequest| WireAnswer::from(answer(&book, &request)));
    let _serving = listener.serve("witness", limits, service, false).map_err(Failure::no)?;
    let url = format!("http://{address}");
    if args.json {
        print_json(&serde_json::json!({ "url": url, "public": public.to_string() }));
    } else {
        say!("witness  {public} {url}");
    }
    // A signal ends the process. What was cosigned is on disk.
    loop {
        wait::park();
    }
}

fn answer(book: &WitnessBook, request: &WireRequest) -> WireResponse {
    if request.uri != "/add-checkpoint" {
        return WireResponse::text(404, "checkpoints are sent by POST to /add-checkpoint", &[]);
    }
    if request.method != "POST" {
        return WireResponse::text(405, "checkpoints are sent by POST", &[("Allow", "POST")]);
    }
    let body = std::str::from_utf8(request.body.as_deref().unwrap_or_default()).map_err(|_| "it is no text".to_owned());
    let asked = match body.and_then(AddCheckpoint::parse) {
        Ok(asked) => asked,
        Err(why) => return WireResponse::text(400, &why, &[]),
    };
    match book.cosign(&asked, clock::unix_ms() / 1_000) {
        Ok(line) => WireResponse::text(200, &line.to_string(), &[]),
        Err(why) => {
            let said = why.to_string();
            match why {
                NotCosigned::Malformed(_) | NotCosigned::OldIsLarger => WireResponse::text(400, &said, &[]),
                NotCosigned::UnknownOrigin(_) => WireResponse::text(404, &said, &[]),
                NotCosigned::Unsigned => WireResponse::text(403, &said, &[]),
                NotCosigned::OtherSize(size) => conflict(size),
                NotCosigned::OtherTree(size) => {
                    stderr::tell(&format!(
                        "theater: a log shows two trees of the size {size}: {}",
                        asked.note.text.replace('\n', " ")
                    ));
                    conflict(size)
                }
                NotCosigned::Inconsistent => {
                    stderr::tell(&format!(
                        "theater: a log does not go on from what was cosigned: {}",
                        asked.note.text.replace('\n', " ")
                    ));
                    WireResponse::text(422, &said, &[])
                }
                NotCosigned::Io(_) => {
                    stderr::tell(&format!("theater: {said}"));
                    WireResponse::text(500, "the witness cannot keep the checkpoint", &[])
                }
            }
        }
    }
}

/// Says which size the witness has.
fn conflict(size: u64) -> WireResponse {
    WireResponse::text(409, &size.to_string(), &[]).with_header("Content-Type", "text/x.tlog.size")
}
