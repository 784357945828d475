// `fetch` on the handler `http-client`. The request is sent, and its response is there, when `fetch` returns: its promises are kept
// already.
import { fromJsonText, text, utf8 } from './bytes';
import { send } from './http-client';

type HeadersInit = Record<string, string> | Iterable<[string, string]> | undefined;

class FetchHeaders {
  readonly #pairs: [string, string][] = [];
  constructor(init?: HeadersInit) {
    const pairs = init === undefined ? [] : Symbol.iterator in init ? Array.from(init as Iterable<[string, string]>) : Object.entries(init);
    for (const [name, value] of pairs) this.append(name, value);
  }
  append(name: string, value: unknown): void {
    this.#pairs.push([String(name).toLowerCase(), String(value).trim()]);
  }
  set(name: string, value: unknown): void {
    this.delete(name);
    this.append(name, value);
  }
  delete(name: string): void {
    const wanted = name.toLowerCase();
    for (let at = this.#pairs.length - 1; at >= 0; at--) if (this.#pairs[at]![0] === wanted) this.#pairs.splice(at, 1);
  }
  get(name: string): string | null {
    const found = this.#pairs.filter(([it]) => it === name.toLowerCase());
    return found.length === 0 ? null : found.map(([, value]) => value).join(', ');
  }
  has(name: string): boolean {
    return this.get(name) !== null;
  }
  forEach(each: (value: string, name: string) => void): void {
    for (const [name, value] of this.#pairs) each(value, name);
  }
  *entries(): Generator<[string, string]> {
    yield* this.#pairs;
  }
  [Symbol.iterator]() {
    return this.entries();
  }
}

class FetchResponse {
  readonly status: number;
  readonly headers: FetchHeaders;
  readonly #body: Uint8Array;
  #isUsed = false;

  constructor(
    readonly url: string,
    response: { status: number; headers?: [string, string][]; body?: Uint8Array | null },
  ) {
    this.status = response.status;
    this.headers = new FetchHeaders(response.headers);
    this.#body = response.body ?? new Uint8Array();
  }
  get ok(): boolean {
    return this.status >= 200 && this.status < 300;
  }
  get bodyUsed(): boolean {
    return this.#isUsed;
  }
  #taken(): Uint8Array {
    if (this.#isUsed) throw new TypeError('the body was read already');
    this.#isUsed = true;
    return this.#body;
  }
  async bytes(): Promise<Uint8Array> {
    return new Uint8Array(this.#taken());
  }
  async arrayBuffer(): Promise<ArrayBuffer> {
    return new Uint8Array(this.#taken()).buffer;
  }
  async text(): Promise<string> {
    return text(this.#taken());
  }
  async json(): Promise<any> {
    return fromJsonText(text(this.#taken()));
  }
}

interface FetchInit {
  method?: string;
  headers?: HeadersInit;
  body?: string | Uint8Array | ArrayBuffer | { toString(): string } | null;
}

async function fetch(address: string | { href: string }, init: FetchInit = {}) {
  const uri = typeof address === 'string' ? address : address.href;
  for (const option of Object.keys(init)) {
    if (!['method', 'headers', 'body'].includes(option)) throw new TypeError(`an actor's fetch has no option "${option}"`);
  }
  const headers = new FetchHeaders(init.headers);
  let body: Uint8Array | undefined;
  if (init.body instanceof Uint8Array) body = init.body;
  else if (init.body instanceof ArrayBuffer) body = new Uint8Array(init.body);
  else if (init.body != null) {
    const isForm = init.body instanceof URLSearchParams;
    if (!headers.has('content-type')) headers.set('content-type', isForm ? 'application/x-www-form-urlencoded;charset=UTF-8' : 'text/plain;charset=UTF-8');
    body = utf8(String(init.body));
  }
  return new FetchResponse(uri, send({ method: (init.method ?? 'GET').toUpperCase(), uri, headers: [...headers], body }));
}

/** Puts `fetch` and `Headers` in their places. */
export function installFetch(): void {
  (globalThis as any).Headers = FetchHeaders;
  (globalThis as any).fetch = fetch;
}
