// A counter, which also draws what differs from run to run. The actors beside this directory do the same in other languages.
import { Actor, type HttpRequest, type HttpResponse, error, json, methodNotAllowed, path, refuse } from 'theater-actor';

type Message = 'get' | 'chance' | 'keys' | 'fetch' | 'wait' | 'time' | 'crash' | 'text' | { add: unknown } | { sleep: number };

/** What a program takes from outside without asking the host by name. */
function chance(): Record<string, unknown> {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return {
    dateNow: Date.now(),
    date: new Date().toISOString(),
    mathRandom: [Math.random(), Math.random()],
    randomValues: Array.from(bytes),
    uuid: crypto.randomUUID(),
    set: [...new Set(['a', 'b', 'c'])],
  };
}

/** Ten thousand keys, in the orders in which the language gives them. */
function orders(): Record<string, string> {
  const keys = Array.from({ length: 10_000 }, (_, at) => `key ${(at * 7919) % 10_007}`);
  const ends = (all: Iterable<string>) => [...all].slice(0, 3).concat([...all].slice(-3)).join();
  return {
    object: ends(Object.keys(Object.fromEntries(keys.map((key) => [key, 1])))),
    map: ends(new Map(keys.map((key) => [key, 1])).keys()),
    set: ends(new Set(keys)),
  };
}

export default class Counter extends Actor {
  count = 0;
  keys: Record<string, number> = {};

  init(id: string): void {
    console.log(`counter ${id} begins at`, this.count);
  }

  handleRequest(message: Message): unknown {
    if (message === 'get') return { count: this.count };
    if (message === 'keys') {
      this.keys = Object.fromEntries(Array.from({ length: 10_000 }, (_, at) => [`key ${(at * 7919) % 10_007}`, Math.random()]));
      return orders();
    }
    if (message === 'fetch') return fetch('http://127.0.0.1/');
    if (message === 'wait') return new Promise(() => {});
    if (message === 'chance') return chance();
    if (message === 'time') return Date.now();
    if (message === 'text') return 'Grüße, 世界 🎭';
    if (message === 'crash') throw new TypeError('crashed on purpose');
    if (typeof message === 'object' && 'add' in message) return this.add(message.add);
    if (typeof message === 'object' && 'sleep' in message) return setTimeout(() => {}, message.sleep);
    return refuse(`unknown message ${JSON.stringify(message)}`);
  }

  handleHttp(request: HttpRequest): HttpResponse {
    switch (path(request)) {
      case '/':
        return request.method === 'GET' ? json(200, { count: this.count }) : methodNotAllowed('GET');
      case '/increment':
        return request.method === 'POST' ? json(200, this.add(1)) : methodNotAllowed('POST');
      default:
        return error(404, `nothing at ${path(request)}`);
    }
  }

  private add(n: unknown): { count: number } {
    this.count += typeof n === 'number' ? n : 0;
    if (!Number.isSafeInteger(n)) refuse(`${JSON.stringify(n)} cannot be added`);
    return { count: this.count };
  }
}
