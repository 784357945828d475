// The log, and the actor's own history.
import { getChain } from 'ntwk:theater/runtime';
import { fromJson } from './bytes';
export { log } from './log';

/** An event of the actor's own history. */
export interface HistoryEvent {
  /** The first 8 bytes of the event's hash, rounded to what a number holds: 53 bits. It tells the events of a chain apart. */
  hash: number;
  /** The same of the event before it; `undefined` for the first event. */
  parent?: number;
  type: string;
  data: unknown;
}

/** The actor's own history up to this call: its newest events, oldest first. */
export function history(): HistoryEvent[] {
  return Array.from(getChain().events, ({ hash, event }) => ({
    hash,
    parent: event.parent ?? undefined,
    type: event.eventType,
    data: event.data.length === 0 ? undefined : fromJson(event.data),
  }));
}
