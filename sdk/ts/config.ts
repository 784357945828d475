// The plain values that the operator wrote into the manifest, under `[config]`.
import { get as hostGet } from 'ntwk:theater/config';
import { fromJson } from './bytes';

/** The value of a key; `undefined` if the manifest does not have it. */
export function get<T>(key: string): T | undefined {
  const bytes = hostGet(key);
  return bytes == null ? undefined : (fromJson(bytes) as T);
}

/** The value of a key. Throws if the manifest does not have it. */
export function required<T>(key: string): T {
  const value = get<T>(key);
  if (value === undefined) throw new Error(`the manifest has no key "${key}" under [config]`);
  return value;
}
