// Answers to HTTP requests that are sent piece by piece. Needs the handler `http-server`, and the method `handleStream`.
import { end as hostEnd, pushChunk as hostPush, streams as hostStreams } from 'ntwk:theater/streams';
import { utf8 } from './bytes';
import { called } from './host-error';
import { eventText, type ServerSentEvent } from './sse';

/** The beginning of an answer whose body comes later. */
export interface StreamHead {
  status: number;
  headers?: [string, string][];
  /** The first piece, which is sent with the head. */
  first?: Uint8Array | null;
}

/** Sends the next piece of a stream. Throws a `HostError` if the client does not get it; its `reason` is `gone`, `full` or `refused`. */
export function push(stream: number, piece: Uint8Array | string): void {
  const bytes = typeof piece === 'string' ? utf8(piece) : piece;
  called(() => hostPush(stream, bytes));
}

/** Sends a server-sent event. Throws as `push` does. */
export function pushEvent(stream: number, event: ServerSentEvent): void {
  push(stream, eventText(event));
}

/** Ends a stream after all its pieces. Tells whether it was open. */
export function end(stream: number): boolean {
  return hostEnd(stream);
}

/** The ids of all open streams, in ascending order. */
export function streams(): number[] {
  return Array.from(hostStreams());
}
