// What is global in an actor besides the language itself.

/** Writes to the actor's log. */
declare const console: {
  assert(condition?: unknown, ...values: unknown[]): void;
  debug(...values: unknown[]): void;
  error(...values: unknown[]): void;
  info(...values: unknown[]): void;
  log(...values: unknown[]): void;
  trace(...values: unknown[]): void;
  warn(...values: unknown[]): void;
};

/** Random bytes from the host, recorded. Needs the handler `random` in the manifest. */
declare const crypto: {
  getRandomValues<T extends ArrayBufferView>(array: T): T;
  randomUUID(): string;
};

declare class TextEncoder {
  readonly encoding: string;
  encode(text?: string): Uint8Array;
}

declare class TextDecoder {
  readonly encoding: string;
  constructor(label?: string, options?: { fatal?: boolean });
  decode(bytes?: ArrayBuffer | ArrayBufferView): string;
}

/** Addresses of http, https, ws and wss, and others with a host. */
declare class URL {
  constructor(text: string, base?: string | URL);
  static canParse(text: string, base?: string): boolean;
  protocol: string;
  username: string;
  password: string;
  hostname: string;
  port: string;
  pathname: string;
  search: string;
  hash: string;
  readonly searchParams: URLSearchParams;
  readonly host: string;
  readonly origin: string;
  readonly href: string;
  toString(): string;
  toJSON(): string;
}

declare class URLSearchParams {
  constructor(init?: string | Iterable<[string, string]> | Record<string, string>);
  readonly size: number;
  append(name: string, value: unknown): void;
  delete(name: string, value?: string): void;
  get(name: string): string | null;
  getAll(name: string): string[];
  has(name: string, value?: string): boolean;
  set(name: string, value: unknown): void;
  sort(): void;
  forEach(each: (value: string, name: string, all: URLSearchParams) => void): void;
  entries(): IterableIterator<[string, string]>;
  keys(): IterableIterator<string>;
  values(): IterableIterator<string>;
  [Symbol.iterator](): IterableIterator<[string, string]>;
  toString(): string;
}

declare class Headers {
  constructor(init?: Record<string, string> | Iterable<[string, string]>);
  append(name: string, value: unknown): void;
  set(name: string, value: unknown): void;
  delete(name: string): void;
  get(name: string): string | null;
  has(name: string): boolean;
  forEach(each: (value: string, name: string) => void): void;
  entries(): IterableIterator<[string, string]>;
  [Symbol.iterator](): IterableIterator<[string, string]>;
}

/** The response of a `fetch`. */
interface FetchResponse {
  readonly url: string;
  readonly status: number;
  readonly ok: boolean;
  readonly headers: Headers;
  readonly bodyUsed: boolean;
  bytes(): Promise<Uint8Array>;
  arrayBuffer(): Promise<ArrayBuffer>;
  text(): Promise<string>;
  json(): Promise<any>;
}

/** Sends a request by the handler `http-client`. The promise is kept when `fetch` returns. */
declare function fetch(
  address: string | URL,
  init?: {
    method?: string;
    headers?: Record<string, string> | Iterable<[string, string]>;
    body?: string | Uint8Array | ArrayBuffer | URLSearchParams | null;
  },
): Promise<FetchResponse>;

declare function queueMicrotask(step: () => void): void;
