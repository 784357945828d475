// Server-sent events: pieces of a stream that a browser reads by `EventSource`.
import { utf8 } from './bytes';
import type { StreamHead } from './streams';

/** One server-sent event. */
export interface ServerSentEvent {
  /** What the event says. Each line of it is a line of data. */
  data: string;
  /** The type of the event; `message` if there is none. */
  event?: string;
  /** The client names the last id that it has got when it connects again (`Last-Event-ID`). */
  id?: string;
  /** After how many milliseconds the client is to connect again, from now on. */
  retry?: number;
}

const lines = (text: string) => text.split(/\r\n|\r|\n/);

/** An event as it is sent. */
export function eventText({ data, event, id, retry }: ServerSentEvent): string {
  // A field is one line: what comes after it would be another field.
  const field = (name: string, value?: string) => (value === undefined ? '' : `${name}: ${lines(value)[0]}\n`);
  const all = lines(data).map((line) => `data: ${line}\n`);
  return `${field('event', event)}${field('id', id)}${field('retry', retry?.toFixed())}${all.join('')}\n`;
}

/** An answer that is a stream, for `handleStream`. */
export function stream(status: number, headers: [string, string][], first?: Uint8Array | string): { stream: StreamHead } {
  return { stream: { status, headers, first: typeof first === 'string' ? utf8(first) : first } };
}

/** An answer that is a stream of server-sent events, which begins with `first`. */
export function eventStream(...first: ServerSentEvent[]): { stream: StreamHead } {
  const headers: [string, string][] = [['content-type', 'text/event-stream'], ['cache-control', 'no-store']];
  return stream(200, headers, first.map(eventText).join(''));
}
