// Control over the actor's children. Needs the handler `supervisor` in the manifest.
import { getOrSpawn as hostGetOrSpawn, spawnAs as hostSpawnAs } from 'ntwk:theater/labels';
import {
  getChildEvents as hostEvents,
  getChildState as hostState,
  listChildren as hostList,
  restartChild as hostRestart,
  spawn as hostSpawn,
  stopChild as hostStop,
} from 'ntwk:theater/supervisor';
import { fromJson, toJson } from './bytes';
import { called } from './host-error';

/** One event of a child's history. */
export interface ChainEvent {
  /** 20 bytes. */
  hash: Uint8Array;
  parentHash?: Uint8Array | null;
  eventType: string;
  /** Deterministic CBOR. */
  data: Uint8Array;
  /** Milliseconds since the Unix epoch. */
  timestamp: number;
}

const initial = (state: unknown) => (state === undefined ? undefined : toJson(state));

/**
 * Starts the actor that a manifest describes, waits for its `init`, and returns its id. The path is relative to the directory
 * of this actor's own manifest. Throws a `HostError` that says why the child was not started.
 */
export function spawn(manifest: string): string {
  return called(() => hostSpawn(manifest));
}

/**
 * Like `spawn`, and gives the child a label: the actor `ledger` reaches its child `alice` by the address `ledger/alice`. The
 * child begins with `state`, or with that of its manifest.
 */
export function spawnAs(manifest: string, label: string, state?: unknown): string {
  return called(() => hostSpawnAs(manifest, label, initial(state)));
}

/** The id of the child that has this label. If it has ended, it is restarted first; if there is none, one is spawned. */
export function getOrSpawn(manifest: string, label: string, state?: unknown): string {
  return called(() => hostGetOrSpawn(manifest, label, initial(state)));
}

/** The ids of the children, in the order in which they were spawned. */
export function listChildren(): string[] {
  return Array.from(hostList());
}

/** Stops a child; the child's own children stop before it. */
export function stopChild(child: string): void {
  called(() => hostStop(child));
}

/** Stops a child if it runs, and starts it again under the same id. */
export function restartChild(child: string): void {
  called(() => hostRestart(child));
}

/** The newest state of a child, read without asking it; `undefined` if it has none. */
export function childState<T>(child: string): T | undefined {
  const state = called(() => hostState(child));
  return state.length === 0 ? undefined : (fromJson(state) as T);
}

/** The newest events of a child, oldest first. */
export function childEvents(child: string): ChainEvent[] {
  const events = called(() => hostEvents(child));
  return Array.from(events, (event) => ({ ...event, timestamp: event.timestamp }));
}
