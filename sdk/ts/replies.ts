// Answers that the actor gives later than in the call that asks.
import { defer as hostDefer, reply as hostReply, replyHttp as hostReplyHttp } from 'ntwk:theater/deferred-replies';
import { toJson } from './bytes';
import { called } from './host-error';
import { wholeResponse, type HttpResponse } from './http';

/**
 * Puts off the answer to the call that the actor is in, and returns the token with which it is given later. Nobody gets what
 * the call returns. Throws a `HostError` if nobody waits for the answer.
 */
export function defer(): number {
  return called(hostDefer);
}

/** Gives an answer that was put off. Throws a `HostError` if nobody waits for it any more. */
export function reply(token: number, answer: unknown): void {
  called(() => hostReply(token, { tag: 'ok', val: toJson(answer) }));
}

/** Refuses, later than in the call: whoever asked gets the text as an error. */
export function refuseLater(token: number, why: string): void {
  called(() => hostReply(token, { tag: 'err', val: why }));
}

/** Gives an HTTP client the answer that was put off. */
export function replyHttp(token: number, response: HttpResponse): void {
  called(() => hostReplyHttp(token, wholeResponse(response)));
}
