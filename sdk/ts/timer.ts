// Timers: the actor is called later, by `handleTimer`. Needs the handler `timer` in the manifest.
//
// Of one key there is one timer at most: setting it again replaces it. Times are milliseconds since the Unix epoch. A function that
// sets a timer throws a `HostError` if it was not set.
import {
  cancel as hostCancel,
  cron as hostCron,
  every as hostEvery,
  list as hostList,
  set as hostSet,
  setAt as hostSetAt,
} from 'ntwk:theater/timer';
import { toJson } from './bytes';
import { called } from './host-error';

/** A timer that is pending. */
export interface PendingTimer {
  key: string;
  /** When it is due next. */
  due: number;
  /** Which round that will be, counted from 1. */
  round: number;
}

/** Calls the actor once, after so many milliseconds. Returns when that is. */
export function set(key: string, afterMs: number, message: unknown = null): number {
  return called(() => hostSet(key, afterMs, toJson(message)));
}

/** Calls the actor once, at a time. A time that has passed is due at once. */
export function setAt(key: string, time: number | Date, message: unknown = null): number {
  return called(() => hostSetAt(key, Number(time), toJson(message)));
}

/** Calls the actor again and again, each time after so many milliseconds. */
export function every(key: string, ms: number, message: unknown = null): number {
  return called(() => hostEvery(key, ms, toJson(message)));
}

/** Calls the actor at the times that a cron expression names: `cron('daily', '0 6 * * *', 'Europe/Berlin')`. */
export function cron(key: string, expression: string, zone = 'UTC', message: unknown = null): number {
  return called(() => hostCron(key, expression, zone, toJson(message)));
}

/** Cancels a timer. Tells whether there was one. */
export function cancel(key: string): boolean {
  return hostCancel(key);
}

/** The pending timers, in the order in which they are due. */
export function list(): PendingTimer[] {
  return Array.from(hostList(), ({ key, due, round }) => ({ key, due: due, round: round }));
}
