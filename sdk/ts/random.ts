// Random bytes. Needs the handler `random` in the manifest. The chain records them, so they are no secret for its readers.
import { bytes as hostBytes } from 'ntwk:theater/random';

/** `n` bytes from the operating system's generator. */
export function bytes(n: number): Uint8Array {
  return new Uint8Array(hostBytes(n));
}
