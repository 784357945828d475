// Shapes: what a value from outside has to look like, checked at run time, and known to the type checker.
//
//     const Message = oneOf('get', shape({ add: integer }));
//     type Message = Of<typeof Message>;    // 'get' | { add: number }
//
//     class Counter extends Actor {
//       static message = Message;
//     }
import { refuse } from './refusal';

/** What a value has to look like. */
export class Shape<T> {
  constructor(
    /** What is expected, in words: `an integer`. */
    readonly expected: string,
    /** Reads a value that is at this place of a larger one. Throws a `Mismatch`. */
    readonly read: (value: unknown, at: string) => T,
    /** Whether a field with this shape may be absent. */
    readonly isOptional = false,
  ) {}

  /** The value, if it has this shape; refuses the call otherwise. `what` is the value in the text of the refusal. */
  check(value: unknown, what = 'the value'): T {
    try {
      return this.read(value, '');
    } catch (error) {
      if (!(error instanceof Mismatch)) throw error;
      return refuse(`${what}${error.at && ` at ${error.at}`}: expected ${error.expected}, got ${error.got}`);
    }
  }

  /** Whether a value has this shape. */
  matches(value: unknown): value is T {
    try {
      this.read(value, '');
      return true;
    } catch (error) {
      if (error instanceof Mismatch) return false;
      throw error;
    }
  }
}

/** The type of the values that have a shape: `type Message = Of<typeof Message>`. */
export type Of<S> = S extends Shape<infer T> ? T : never;

/** What is not as it should be. */
export class Mismatch extends Error {
  readonly got: string;
  constructor(
    readonly expected: string,
    value: unknown,
    readonly at: string,
  ) {
    super(expected);
    this.got = typeof value === 'bigint' ? String(value) : (JSON.stringify(value) ?? 'nothing');
  }
}

function plain<T>(expected: string, is: (value: unknown) => boolean, made = (value: any): T => value): Shape<T> {
  return new Shape(expected, (value, at) => {
    if (!is(value)) throw new Mismatch(expected, value, at);
    return made(value);
  });
}

/** A text. */
export const text = plain<string>('a text', (it) => typeof it === 'string');
/** Any number. */
export const number = plain<number>('a number', (it) => typeof it === 'number' && Number.isFinite(it));
/** An integer that a number holds exactly: less than 2^53. */
export const integer = plain<number>('an integer', Number.isSafeInteger);
/** An integer of any size, as a `bigint`. */
export const bigint = plain<bigint>('an integer', (it) => typeof it === 'bigint' || Number.isSafeInteger(it), BigInt);
/** An integer from 0 to 2^64 - 1, as a `bigint`: what Rust calls a `u64`. */
export const u64 = new Shape<bigint>('an integer from 0 to 2^64 - 1', (value, at) => {
  const isInteger = typeof value === 'bigint' || Number.isSafeInteger(value);
  if (!isInteger || (value as bigint) < 0n || (value as bigint) >= 1n << 64n) throw new Mismatch(u64.expected, value, at);
  return BigInt(value as bigint);
});
/** `true` or `false`. */
export const boolean = plain<boolean>('true or false', (it) => typeof it === 'boolean');
/** Anything. */
export const anything = plain<any>('anything', () => true);

/** One of these values. */
export function literal<const V extends string | number | boolean | null>(...values: V[]): Shape<V> {
  return plain<V>(values.map((it) => JSON.stringify(it)).join(' or '), (it) => values.includes(it as V));
}

/** A list of values with one shape. */
export function list<T>(items: Shape<T>): Shape<T[]> {
  return new Shape('a list', (value, at) => {
    if (!Array.isArray(value)) throw new Mismatch('a list', value, at);
    return value.map((item, index) => items.read(item, `${at}[${index}]`));
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An object with any keys, and values of one shape. */
export function record<T>(values: Shape<T>): Shape<Record<string, T>> {
  return new Shape('an object', (value, at) => {
    if (!isObject(value)) throw new Mismatch('an object', value, at);
    return Object.fromEntries(Object.entries(value).map(([key, it]) => [key, values.read(it, field(at, key))]));
  });
}

const field = (at: string, key: string) => (at === '' ? `"${key}"` : `${at.replace(/"$/, '')}.${key}${at.endsWith('"') ? '"' : ''}`);

/** A value that may be absent. */
export function optional<T>(shape: Shape<T>): Shape<T | undefined> {
  return new Shape(shape.expected, (value, at) => (value === undefined ? undefined : shape.read(value, at)), true);
}

/** A value that may be `null`. */
export function nullable<T>(shape: Shape<T>): Shape<T | null> {
  const expected = `${shape.expected} or null`;
  return new Shape(expected, (value, at) => {
    if (value === null) return null;
    try {
      return shape.read(value, at);
    } catch (error) {
      throw error instanceof Mismatch && error.at === at ? new Mismatch(expected, value, at) : error;
    }
  });
}

type Fields = Record<string, Shape<any>>;
type OptionalKeys<F extends Fields> = { [K in keyof F]: undefined extends Of<F[K]> ? K : never }[keyof F];
type Read<F extends Fields> = { [K in Exclude<keyof F, OptionalKeys<F>>]: Of<F[K]> } & { [K in OptionalKeys<F>]?: Of<F[K]> };

/** An object with these fields. Others are left out. */
export function shape<F extends Fields>(fields: F): Shape<{ [K in keyof Read<F>]: Read<F>[K] }> {
  const expected = `an object with ${Object.keys(fields).map((key) => `"${key}"`).join(', ') || 'no fields'}`;
  return new Shape(expected, (value, at) => {
    if (!isObject(value)) throw new Mismatch(expected, value, at);
    const read: Record<string, unknown> = {};
    for (const [key, it] of Object.entries(fields)) {
      if (value[key] === undefined && !it.isOptional && !(key in value)) throw new Mismatch(it.expected, undefined, field(at, key));
      const found = it.read(value[key], field(at, key));
      if (found !== undefined) read[key] = found;
    }
    return read as any;
  });
}

type Choice = Shape<any> | string;
type Chosen<C> = C extends string ? C : Of<C>;

/** The first of these shapes that fits. A text stands for itself. */
export function oneOf<const C extends Choice[]>(...choices: C): Shape<Chosen<C[number]>> {
  const shapes = choices.map((it) => (typeof it === 'string' ? literal(it) : it)) as Shape<any>[];
  const expected = shapes.map((it) => it.expected).join(' or ');
  return new Shape(expected, (value, at) => {
    let closest: Mismatch | undefined;
    for (const it of shapes) {
      try {
        return it.read(value, at);
      } catch (error) {
        if (!(error instanceof Mismatch)) throw error;
        // The choice that fits furthest into the value says best what is wrong. An absent field fits not at all.
        if (error.at.length > (closest?.at ?? at).length && error.got !== 'nothing') closest = error;
      }
    }
    throw closest ?? new Mismatch(expected, value, at);
  });
}
