// Text and JSON as the bytes that cross the boundary of an actor.

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

/** The UTF-8 of a text. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** The text that UTF-8 spells. Throws if the bytes are no UTF-8. */
export function text(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** A value as JSON. `undefined` is written as `null`. */
export function toJson(value: unknown): Uint8Array {
  return utf8(JSON.stringify(value) ?? 'null');
}

/** The value that JSON spells. */
export function fromJson(bytes: Uint8Array): unknown {
  return JSON.parse(text(bytes));
}
