// The log of the actor.
import { log as hostLog } from 'ntwk:theater/runtime';
import { toJsonText } from './bytes';
import { mappedStack } from './stack';

/** Writes a line to the log of the runtime, marked with the actor's name. `console.log` does the same. */
export function log(...values: unknown[]): void {
  hostLog(values.map(shown).join(' '));
}

/** A value as `console.log` shows it: text as it is, errors with their stack, anything else as JSON. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value instanceof Error) {
    const cause = value.cause === undefined ? '' : `\ncaused by ${shown(value.cause)}`;
    return `${value}\n${mappedStack(value.stack ?? '')}`.trimEnd() + cause;
  }
  if (typeof value !== 'object' || value === null) return String(value);
  try {
    return toJsonText(value);
  } catch {
    return String(value);
  }
}
