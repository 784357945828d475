// Timers: the actor is called later, by `handleTimer`. Needs the handler `timer` in the manifest.
import { cancel as hostCancel, cron as hostCron, every as hostEvery, set as hostSet } from 'ntwk:theater/timer';
import { toJson } from './bytes';
import { called } from './host-error';

/** Calls the actor once, after so many milliseconds. Returns when that is, in milliseconds since the Unix epoch. */
export function set(key: string, afterMs: number, message: unknown = null): number {
  return Number(called(() => hostSet(key, BigInt(afterMs), toJson(message))));
}

/** Calls the actor again and again, each time after so many milliseconds. */
export function every(key: string, ms: number, message: unknown = null): number {
  return Number(called(() => hostEvery(key, BigInt(ms), toJson(message))));
}

/** Calls the actor at the times that a cron expression names: `cron('daily', '0 6 * * *', 'Europe/Berlin')`. */
export function cron(key: string, expression: string, zone = 'UTC', message: unknown = null): number {
  return Number(called(() => hostCron(key, expression, zone, toJson(message))));
}

/** Cancels a timer. Tells whether there was one. */
export function cancel(key: string): boolean {
  return hostCancel(key);
}
