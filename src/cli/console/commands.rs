//! Commands of the management protocol that the page sends: those that show something, and, for the role `control`, those that
//! change something.

use super::answer::ConsoleAnswer;
use super::runtime::Runtime;
use crate::server::protocol::Request;

/// What a command is to the page.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Shows,
    Changes,
    /// The page has no use for it.
    IsForOthers,
}

fn kind(request: &Request) -> Kind {
    match request {
        Request::GetDeadLetters { .. } | Request::ForeseePrune { .. } => Kind::Shows,
        Request::StopActor { .. }
        | Request::RestartActor { .. }
        | Request::PauseActor { .. }
        | Request::ResumeActor { .. }
        | Request::UpgradeActor { .. }
        | Request::DryRunUpgrade { .. }
        | Request::ForkActor { .. }
        | Request::ForkChangedActor { .. }
        | Request::ForgetActor { .. }
        | Request::PruneActor { .. }
        | Request::SendMessage { .. }
        | Request::RequestMessage { .. }
        | Request::SendDeadLetter { .. } => Kind::Changes,
        _ => Kind::IsForOthers,
    }
}

pub(super) fn answer(runtime: &Runtime, body: &[u8]) -> ConsoleAnswer {
    let request: Request = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(error) => return ConsoleAnswer::error(400, format!("not a command: {error}")),
    };
    let answer = match kind(&request) {
        Kind::Shows => runtime.ask(&request),
        Kind::Changes => match runtime.role() {
            Ok("control") => runtime.tell(&request),
            Ok(_) => {
                return ConsoleAnswer::error(
                    403,
                    "this console only shows: its token is for read, or it was started with --read-only",
                );
            }
            Err(why) => Err(why),
        },
        Kind::IsForOthers => return ConsoleAnswer::error(403, "the console does not send this command"),
    };
    match answer.map(|answer| serde_json::to_value(answer).expect("an answer serialises")) {
        Ok(json) => ConsoleAnswer::ok(json),
        Err(why) => ConsoleAnswer::refused(&why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_cannot_end_the_runtime_start_actors_or_redact() {
        let id = || "a".to_owned();
        for request in [
            Request::Shutdown,
            Request::StartActor { manifest: id(), initial_state: None },
            Request::RedactEvent { id: id(), sequence: 1, despite_get_chain: false },
            Request::Authenticate { token: id() },
        ] {
            assert_eq!(kind(&request), Kind::IsForOthers, "{request:?}");
        }
        assert_eq!(kind(&Request::StopActor { id: id() }), Kind::Changes);
        assert_eq!(kind(&Request::DryRunUpgrade { id: id(), manifest: None, last: None }), Kind::Changes);
    }
}
