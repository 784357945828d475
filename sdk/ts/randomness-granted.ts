// `Math.random` and `crypto` for an actor whose manifest grants the handler `random`. A build imports this before the actor.
//
// QuickJS would seed `Math.random` when the component is built: every instance would draw the same numbers.
import { bytes } from './random';

/** The most bytes that one call of `getRandomValues` gives, as browsers have it. */
const MOST_BYTES = 65536;

/** xoshiro128**, from one recorded draw for each instance: the numbers are for simulations and samples, and for no secrets. */
let words: Uint32Array | undefined;

function next(): number {
  if (words === undefined) {
    const drawn = bytes(16);
    words = new Uint32Array(drawn.buffer, drawn.byteOffset, 4).slice();
    // The one state from which the generator does not move.
    if (words.every((word) => word === 0)) words[0] = 1;
  }
  const turned = (word: number, by: number) => (word << by) | (word >>> (32 - by));
  const [a, b, c, d] = words as unknown as [number, number, number, number];
  const result = Math.imul(turned(Math.imul(b, 5), 7), 9) >>> 0;
  const third = c ^ a;
  const fourth = d ^ b;
  words[1] = b ^ third;
  words[0] = a ^ fourth;
  words[2] = third ^ (b << 9);
  words[3] = turned(fourth, 11);
  return result;
}

Math.random = () => ((next() >>> 5) * 67108864 + (next() >>> 6)) / 9007199254740992;

(globalThis as any).crypto = {
  getRandomValues<T extends ArrayBufferView>(array: T): T {
    if (array.byteLength > MOST_BYTES) {
      throw new RangeError(`getRandomValues gives at most ${MOST_BYTES} bytes, and ${array.byteLength} were asked for`);
    }
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength).set(bytes(array.byteLength));
    return array;
  },
  randomUUID(): string {
    const drawn = bytes(16);
    drawn[6] = (drawn[6]! & 0x0f) | 0x40;
    drawn[8] = (drawn[8]! & 0x3f) | 0x80;
    const hex = Array.from(drawn, (byte) => byte.toString(16).padStart(2, '0')).join('');
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
  },
};
