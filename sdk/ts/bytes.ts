// Text and JSON as the bytes that cross the boundary of an actor.
//
// Integers that a number cannot hold exactly, beyond 2^53, are read as BigInt, and a BigInt is written as the digits that it has.

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

/** What stands for an integer, or for a text that would look like one, while JSON is read or written. */
const INTEGER = '\0n';
const TEXT = '\0t';

/** A key with its colon, a text, or a number. */
const TOKEN = /"(?:[^"\\]|\\.)*"(\s*:)?|-?\d[\d.eE+-]*/g;

/** A value as JSON. `undefined` is written as `null`. */
export function toJson(value: unknown): Uint8Array {
  return utf8(toJsonText(value));
}

/** The value that JSON spells. */
export function fromJson(bytes: Uint8Array): unknown {
  return fromJsonText(text(bytes));
}

let sawBigInt = false;

(BigInt.prototype as any).toJSON = function (this: bigint) {
  sawBigInt = true;
  return String(this);
};

export function toJsonText(value: unknown): string {
  sawBigInt = false;
  const written = JSON.stringify(value) ?? 'null';
  if (!sawBigInt) return written;
  const marked = JSON.stringify(value, function (this: any, key, it) {
    if (typeof this[key] === 'bigint') return INTEGER + this[key];
    return typeof it === 'string' && it[0] === '\0' ? TEXT + it : it;
  });
  return marked.replace(TOKEN, (token, colon) => {
    if (colon !== undefined || !token.startsWith('"\\u0000')) return token;
    return token[7] === 'n' ? token.slice(8, -1) : `"${token.slice(8)}`;
  });
}

export function fromJsonText(source: string): unknown {
  const value = JSON.parse(source);
  if (!/\d{16}/.test(source)) return value;
  const marked = source.replace(TOKEN, (token, colon) => {
    if (colon !== undefined) return token;
    if (token.startsWith('"\\u0000')) return `"\\u0000t${token.slice(1)}`;
    return /^-?\d+$/.test(token) && !Number.isSafeInteger(Number(token)) ? `"\\u0000n${token}"` : token;
  });
  return JSON.parse(marked, (_key, it) => {
    if (typeof it !== 'string' || it[0] !== '\0') return it;
    return it[1] === 'n' ? BigInt(it.slice(2)) : it.slice(2);
  });
}
