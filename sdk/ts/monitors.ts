// Monitors: the actor is told of the end of another one, by `handleDown`. Needs the handler `monitor` in the manifest.
import { demonitor as hostDemonitor, monitor as hostMonitor } from 'ntwk:theater/monitors';
import { called } from './host-error';

/** Asks to be told when this actor ends. Returns the reference by which `handleDown` names it. */
export function monitor(actor: string): number {
  return called(() => hostMonitor(actor));
}

/** Asks no more. Tells whether there was such a monitor. */
export function demonitor(reference: number): boolean {
  return hostDemonitor(reference);
}
