// Messages to other actors, by their ids or paths.
import { requestAsync as hostRequestAsync } from 'ntwk:theater/async-requests';
import { request as hostRequest, send as hostSend } from 'ntwk:theater/message-server-host';
import { fromJson, toJson } from './bytes';
import { called } from './host-error';

/** Puts a message into another actor's mailbox. Throws a `HostError` if it cannot be put there. */
export function send(actor: string, message: unknown): void {
  called(() => hostSend(actor, toJson(message)));
}

/** Asks another actor, and waits for its reply. Throws a `HostError` that says why there is none. */
export function request<T>(actor: string, message: unknown): T {
  return fromJson(called(() => hostRequest(actor, toJson(message)))) as T;
}

/**
 * Asks another actor, and returns a token at once. `handleReply` gets the token and the answer later. `deadlineMs` says how
 * long the answer may take; without it, the limit `request_deadline_ms` does. Throws a `HostError` if nothing was delivered.
 */
export function requestAsync(actor: string, message: unknown, deadlineMs?: number): number {
  const deadline = deadlineMs === undefined ? undefined : deadlineMs;
  return called(() => hostRequestAsync(actor, toJson(message), deadline));
}
