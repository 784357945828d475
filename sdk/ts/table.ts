// Rows of the actor's own, sorted by key, on disk and outside of its state. Needs the handler `table` in the manifest.
//
// What a call writes is undone if the call is refused. Each function throws a `HostError` if a key or a value is too long, if the
// call has written too often, or if the disk is nearly full; then nothing has changed.
import {
  count as hostCount,
  delete as hostDelete,
  get as hostGet,
  put as hostPut,
  scan as hostScan,
} from 'ntwk:theater/table';
import { fromJson, toJson, utf8 } from './bytes';
import { called } from './host-error';

/** A key: bytes, or a text as UTF-8. */
export type Key = Uint8Array | string;

/** A row, with its bytes. */
export interface Row {
  key: Uint8Array;
  value: Uint8Array;
}

/** Rows in the order of their keys. The cursor, given to the next scan, asks for the rows after them. */
export interface Page {
  rows: Row[];
  cursor?: Uint8Array;
}

const bytes = (key: Key) => (typeof key === 'string' ? utf8(key) : key);

/** The value of a key, which was written by `put`; `undefined` if there is none. */
export function get<T>(key: Key): T | undefined {
  const value = getBytes(key);
  return value === undefined ? undefined : (fromJson(value) as T);
}

/** The value of a key as bytes. */
export function getBytes(key: Key): Uint8Array | undefined {
  return called(() => hostGet(bytes(key))) ?? undefined;
}

/** Writes a row with a value as JSON, in place of the one with this key if there is one. */
export function put(key: Key, value: unknown): void {
  putBytes(key, toJson(value));
}

/** Writes a row. */
export function putBytes(key: Key, value: Uint8Array): void {
  called(() => hostPut(bytes(key), value));
}

/** Removes a row. Tells whether there was one. */
export function remove(key: Key): boolean {
  return called(() => hostDelete(bytes(key)));
}

export { remove as delete };

/** Rows whose keys begin with `prefix`: at most `limit`, and no more than the limits of the actor allow. */
export function scan(prefix: Key = '', limit = 100, cursor?: Uint8Array): Page {
  const page = called(() => hostScan(bytes(prefix), limit, cursor));
  return { rows: Array.from(page.rows), cursor: page.cursor ?? undefined };
}

/** All rows whose keys begin with `prefix`, with their values as JSON. */
export function* entries<T>(prefix: Key = ''): Generator<[string, T]> {
  const decoder = new TextDecoder();
  let cursor: Uint8Array | undefined;
  do {
    const page = scan(prefix, 1000, cursor);
    for (const { key, value } of page.rows) yield [decoder.decode(key), fromJson(value) as T];
    cursor = page.cursor;
  } while (cursor !== undefined);
}

/** How many rows there are. */
export function count(): number {
  return hostCount();
}
