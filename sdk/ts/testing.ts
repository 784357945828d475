// Tests of an actor's own logic, without Theater: a host that answers from a script, and an actor that is called as Theater calls it.
//
//     const host = new Host({ config: { greeting: 'Hello' } });
//     host.answer('message-server-host.request', { cents: 5 });    // or host.fail('…', 'no such actor')
//     const till = host.start(Till);
//     assert.equal(till.request({ charge: 5 }), 5);
//     assert.deepEqual(host.callsOf('message-server-host.request'), [['bank', 'balance']]);
//     host.end();
//
// With `node --test`, register the loader: `node --import ./.theater/sdk/ts/testing/register.mjs --test`. With vitest, use the plugin of
// `.theater/sdk/ts/testing/vitest.mjs`.
import type { Actor, ActorClass, ChildEvent, Down, Reply } from './actor';
import { fromJson, text, toJson, utf8 } from './bytes';
import { installFetch } from './fetch';
import type { HttpRequest, HttpResponse } from './http';
import { loaded, received } from './state';
import type { WebSocketMessage } from './websocket';

/** A call of the host that the actor made. JSON stands as the value that it spells, other bytes as text, numbers as numbers. */
export interface Call {
  /** The interface and the function as in `wit/`: `timer.set`. */
  function: string;
  params: unknown[];
}

export interface HostOptions {
  /** The time, in milliseconds since the Unix epoch. It stands still. */
  clock?: number;
  /** What the random numbers begin with. */
  seed?: number;
  /** The plain values of the manifest's `[config]`. */
  config?: Record<string, unknown>;
}

type Answer = unknown | ((...params: unknown[]) => unknown);

const JSON_RESULTS = ['config.get', 'message-server-host.request', 'supervisor.get-child-state'];

/** What the host answers by itself, and does not record. */
const QUIET = /^(runtime\.log|clock\.|random\.|config\.|table\.)/;

const globals = globalThis as any;
const CALL = Symbol.for('theater.call');
const kebab = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** A parameter as a test likes to see it. */
function seen(value: any): any {
  if (value instanceof Uint8Array) {
    try {
      return fromJson(value);
    } catch {
      try {
        return text(value);
      } catch {
        return value;
      }
    }
  }
  if (Array.isArray(value)) return value.map(seen);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, it]) => [key, seen(it)]));
}

/** A host that answers the calls of actors in a test. While it is there, time stands still and randomness is seeded. */
export class Host {
  /** The time, in milliseconds since the Unix epoch. */
  clock: number;
  config: Record<string, unknown>;
  /** The calls, in their order, without those of the log, the clock, random bytes, `[config]` and the table. */
  readonly calls: Call[] = [];
  /** The lines of the log. */
  readonly logs: string[] = [];
  /** The timers that are set: when each is due. None fires by itself. */
  readonly timers = new Map<string, number>();
  /** The rows of the table, by keys in hexadecimal. */
  readonly #rows = new Map<string, Uint8Array>();
  readonly #answers = new Map<string, Answer[]>();
  readonly #standing = new Map<string, Answer>();
  #random: number;
  #tokens = 0;
  readonly #before: Record<string, any> = {};

  constructor({ clock = Date.UTC(2026, 0, 1), seed = 1, config = {} }: HostOptions = {}) {
    if (globals[CALL] !== undefined) throw new Error('another Host is there: call end() on it first');
    this.clock = clock;
    this.config = config;
    this.#random = seed >>> 0;
    globals[CALL] = (name: string, fn: string, params: unknown[]) => this.#call(`${name}.${kebab(fn)}`, params);
    this.#install();
  }

  /** Gives the next call of a function this answer: a value, a function of the parameters, or an `Error`, which the host answers with. */
  answer(name: string, answer: Answer): this {
    this.#answers.set(name, [...(this.#answers.get(name) ?? []), answer]);
    return this;
  }

  /** Lets the next call of a function fail with this text. */
  fail(name: string, why: string): this {
    return this.answer(name, new Error(why));
  }

  /** Gives each call of a function this answer, when no other one is left. */
  always(name: string, answer: Answer): this {
    this.#standing.set(name, answer);
    return this;
  }

  /** The parameters of all calls of a function. */
  callsOf(name: string): unknown[][] {
    return this.calls.filter((call) => call.function === name).map((call) => call.params);
  }

  /** Starts an actor, as Theater does it. */
  start<A extends Actor>(Class: ActorClass<A>, { id = 'tested', state }: { id?: string; state?: unknown } = {}): Tested<A> {
    return new Tested(Class, id, state);
  }

  /** Puts the clock, randomness and `fetch` back. Throws if an answer was never asked for. */
  end(): void {
    delete globals[CALL];
    for (const [name, value] of Object.entries(this.#before)) {
      if (name === 'Math.random') Math.random = value;
      else Object.defineProperty(globals, name, value);
    }
    const left = [...this.#answers].filter(([, answers]) => answers.length > 0).map(([name]) => name);
    if (left.length > 0) throw new Error(`answers were left over: ${left.join(', ')}`);
  }

  [Symbol.for('Symbol.dispose')](): void {
    this.end();
  }

  #install() {
    const host = this;
    for (const name of ['Date', 'crypto', 'fetch', 'Headers']) {
      this.#before[name] = Object.getOwnPropertyDescriptor(globals, name);
    }
    this.#before['Math.random'] = Math.random;
    installFetch();
    const RealDate = globals.Date;
    globals.Date = class extends RealDate {
      constructor(...params: any[]) {
        super(...(params.length === 0 ? [host.clock] : params));
      }
      static now() {
        return host.clock;
      }
    };
    Math.random = () => this.#next() / 2 ** 32;
    const crypto = {
      getRandomValues: (array: Uint8Array) => {
        const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
        bytes.forEach((_, at) => (bytes[at] = this.#next() & 255));
        return array;
      },
      randomUUID: () => {
        const hex = Array.from({ length: 32 }, () => (this.#next() & 15).toString(16)).join('');
        return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20)}`;
      },
    };
    Object.defineProperty(globals, 'crypto', { value: crypto, configurable: true, writable: true });
  }

  /** mulberry32. */
  #next(): number {
    this.#random = (this.#random + 0x6d2b79f5) >>> 0;
    let mixed = this.#random;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  #call(name: string, params: unknown[]): unknown {
    const shown = seen(params);
    if (!QUIET.test(name)) this.calls.push({ function: name, params: shown });
    const queued = this.#answers.get(name)?.shift();
    const answer = queued !== undefined ? queued : this.#standing.get(name);
    if (answer === undefined) return this.#own(name, params as any[], shown);
    const value = typeof answer === 'function' ? answer(...shown) : answer;
    if (value instanceof Error) throw { payload: value.message };
    return given(name, value);
  }

  #timer(key: string, due: number): number {
    this.timers.set(key, due);
    return due;
  }

  /** What the host answers by itself. */
  #own(name: string, params: any[], shown: any[]): unknown {
    const hex = (key: Uint8Array) => Array.from(key, (byte) => byte.toString(16).padStart(2, '0')).join('');
    switch (name) {
      case 'runtime.log':
        return void this.logs.push(params[0]);
      case 'clock.now':
        return this.clock;
      case 'random.bytes':
        return Uint8Array.from({ length: params[0] }, () => this.#next() & 255);
      case 'config.get':
        return params[0] in this.config ? toJson(this.config[params[0]]) : undefined;
      case 'timer.set':
      case 'timer.every':
        return this.#timer(params[0], this.clock + params[1]);
      case 'timer.set-at':
        return this.#timer(params[0], params[1]);
      case 'timer.cancel':
        return this.timers.delete(params[0]);
      case 'timer.list':
        return [...this.timers].sort(([, a], [, b]) => a - b).map(([key, due]) => ({ key, due, round: 1 }));
      case 'deferred-replies.defer':
        return ++this.#tokens;
      case 'table.get':
        return this.#rows.get(hex(params[0]));
      case 'table.put':
        return void this.#rows.set(hex(params[0]), params[1]);
      case 'table.delete':
        return this.#rows.delete(hex(params[0]));
      case 'table.count':
        return this.#rows.size;
      case 'table.scan': {
        const [prefix, limit, cursor] = [hex(params[0]), params[1], params[2] && hex(params[2])];
        const keys = [...this.#rows.keys()].sort().filter((key) => key.startsWith(prefix) && (!cursor || key > cursor));
        const bytes = (key: string) => Uint8Array.from(key.match(/../g) ?? [], (it) => parseInt(it, 16));
        const rows = keys.slice(0, limit).map((key) => ({ key: bytes(key), value: this.#rows.get(key) }));
        return { rows, cursor: keys.length > limit ? rows.at(-1)!.key : undefined };
      }
    }
    const said = shown.map((it) => JSON.stringify(it) ?? 'nothing').join(', ');
    throw new Error(`${name} has no answer; it was called with (${said}); add host.answer('${name}', …) or host.fail('${name}', …) before the call`);
  }
}

/** An answer as the host gives it. */
function given(name: string, value: any): unknown {
  if (JSON_RESULTS.includes(name)) return value === undefined ? undefined : toJson(value);
  if (name === 'filesystem.read-file' && typeof value === 'string') return utf8(value);
  if (name === 'http-client.send-http') {
    const { status = 200, headers = [], body } = value;
    const isPlain = body === undefined || body instanceof Uint8Array;
    return { status, headers, body: isPlain ? body : typeof body === 'string' ? utf8(body) : toJson(body) };
  }
  if (name === 'connections.push') return value ?? [];
  return value;
}

/** A value as it is after it has been JSON. */
const passed = (value: unknown) => fromJson(toJson(value));

/**
 * An actor in a test. Each method calls the actor as Theater does: with the state that the call before has left, read from JSON, and
 * with what it is sent as JSON. A refusal is thrown, and leaves the state as it was. If the handler is `async`, so is the method.
 */
export class Tested<A extends Actor> {
  #state: Uint8Array | undefined;
  readonly #Class: ActorClass<A>;

  constructor(Class: ActorClass<A>, id: string, state: unknown) {
    this.#Class = Class;
    this.#state = state === undefined ? undefined : toJson(state);
    this.#call((actor) => actor.init(id));
  }

  /** The actor with its newest state. Changes of it are forgotten. */
  get state(): A {
    return loaded(this.#Class, this.#state);
  }

  #call(method: (actor: A) => any, form: (result: any) => any = (result) => result): any {
    const actor = loaded(this.#Class, this.#state);
    const end = (result: unknown) => {
      this.#state = toJson(actor);
      return form(result);
    };
    const result = method(actor);
    return typeof result?.then === 'function' ? result.then(end) : end(result);
  }

  request(message: unknown): any {
    return this.#call((actor) => actor.handleRequest(received(this.#Class, toJson(message))), passed);
  }
  send(message: unknown): any {
    return this.#call((actor) => actor.handleSend(received(this.#Class, toJson(message))));
  }
  /** Sends an HTTP request. A body that is neither text nor bytes is sent as JSON. */
  http(method: string, uri: string, { headers = [], body }: { headers?: [string, string][]; body?: unknown } = {}): HttpResponse & any {
    return this.#call((actor) => actor.handleHttp(requestOf(method, uri, headers, body)));
  }
  /** Like `http`, for an actor that answers by streams. */
  stream(stream: number, method: string, uri: string, { headers = [], body }: { headers?: [string, string][]; body?: unknown } = {}): any {
    return this.#call((actor) => actor.handleStream(stream, requestOf(method, uri, headers, body)));
  }
  streamClosed(stream: number): any {
    return this.#call((actor) => actor.handleStreamClosed(stream));
  }
  timer(key: string, message: unknown = null, due = 0): any {
    return this.#call((actor) => actor.handleTimer(key, passed(message), due));
  }
  webSocket(message: WebSocketMessage): WebSocketMessage[] & any {
    return this.#call((actor) => actor.handleWebSocket(message), (messages) => messages ?? []);
  }
  connection(connection: number, message: WebSocketMessage): WebSocketMessage[] & any {
    return this.#call((actor) => actor.handleConnection(connection, message), (messages) => messages ?? []);
  }
  reply(token: number, reply: Reply): any {
    return this.#call((actor) => actor.handleReply(token, reply));
  }
  childEvent(event: ChildEvent): any {
    return this.#call((actor) => actor.handleChildEvent(event));
  }
  down(down: Down): any {
    return this.#call((actor) => actor.handleDown(down));
  }
}

function requestOf(method: string, uri: string, headers: [string, string][], body: unknown): HttpRequest {
  const isPlain = body === undefined || body instanceof Uint8Array;
  return { method, uri, headers, body: isPlain ? body : typeof body === 'string' ? utf8(body) : toJson(body) } as HttpRequest;
}
