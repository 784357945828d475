// The time. Needs the handler `clock` in the manifest. `Date` reads the same clock.
import { now as hostNow } from 'ntwk:theater/clock';

/** Milliseconds since the Unix epoch, as the chain records them. */
export function now(): number {
  return hostNow();
}
