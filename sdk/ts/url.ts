// `URL` and `URLSearchParams`, for an engine that brings neither. Addresses are those of http, https, ws and wss, and others with
// a host, such as `redis://host/1`. Host names must be in ASCII.

const PORTS: Record<string, string> = { 'http:': '80', 'https:': '443', 'ws:': '80', 'wss:': '443' };

/** Escapes what must not stand in a part of an address; what is escaped already stays so. */
function escaped(text: string, kept: RegExp): string {
  return Array.from(text, (it) => (kept.test(it) ? it : encodeURIComponent(it))).join('');
}

const IN_PATH = /[A-Za-z0-9\-._~!$&'()*+,;=:@/%|[\]^\\]/;
const IN_QUERY = /[A-Za-z0-9\-._~!$&()*+,;=:@/?%|[\]^\\`{}]/;

const encodedParam = (text: string) =>
  encodeURIComponent(text)
    .replace(/[!'()~]/g, (it) => `%${it.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%20', '+');

function decodedParam(text: string): string {
  const spaced = text.replaceAll('+', ' ');
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced;
  }
}

type Init = string | Iterable<[string, string]> | Record<string, string> | undefined;

class SearchParams {
  #pairs: [string, string][];
  #changed: (text: string) => void;

  constructor(init?: Init, changed: (text: string) => void = () => {}) {
    this.#changed = changed;
    if (typeof init === 'string') {
      const parts = init.replace(/^\?/, '').split('&').filter((part) => part !== '');
      this.#pairs = parts.map((part) => {
        const at = part.indexOf('=');
        return at < 0 ? [decodedParam(part), ''] : [decodedParam(part.slice(0, at)), decodedParam(part.slice(at + 1))];
      });
    } else {
      const pairs = init === undefined ? [] : Symbol.iterator in init ? Array.from(init as Iterable<[string, string]>) : Object.entries(init);
      this.#pairs = pairs.map(([name, value]) => [String(name), String(value)]);
    }
  }

  #set(pairs: [string, string][]) {
    this.#pairs = pairs;
    this.#changed(this.toString());
  }

  get size(): number {
    return this.#pairs.length;
  }
  append(name: string, value: unknown): void {
    this.#set([...this.#pairs, [name, String(value)]]);
  }
  delete(name: string, value?: string): void {
    this.#set(this.#pairs.filter(([it, its]) => it !== name || (value !== undefined && its !== value)));
  }
  get(name: string): string | null {
    return this.#pairs.find(([it]) => it === name)?.[1] ?? null;
  }
  getAll(name: string): string[] {
    return this.#pairs.filter(([it]) => it === name).map(([, value]) => value);
  }
  has(name: string, value?: string): boolean {
    return this.#pairs.some(([it, its]) => it === name && (value === undefined || its === value));
  }
  set(name: string, value: unknown): void {
    const at = this.#pairs.findIndex(([it]) => it === name);
    const rest = this.#pairs.filter(([it], index) => it !== name || index === at);
    if (at < 0) rest.push([name, String(value)]);
    this.#set(rest.map((pair) => (pair[0] === name ? [name, String(value)] : pair)));
  }
  sort(): void {
    this.#set([...this.#pairs].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
  }
  forEach(each: (value: string, name: string, all: SearchParams) => void): void {
    for (const [name, value] of this.#pairs) each(value, name, this);
  }
  *entries(): Generator<[string, string]> {
    for (const [name, value] of this.#pairs) yield [name, value];
  }
  *keys(): Generator<string> {
    for (const [name] of this.#pairs) yield name;
  }
  *values(): Generator<string> {
    for (const [, value] of this.#pairs) yield value;
  }
  [Symbol.iterator]() {
    return this.entries();
  }
  toString(): string {
    return this.#pairs.map(([name, value]) => `${encodedParam(name)}=${encodedParam(value)}`).join('&');
  }
}

/** The path without `.` and `..`. */
function normal(path: string): string {
  const parts: string[] = [];
  const all = path.split('/').slice(1);
  all.forEach((part, at) => {
    const isLast = at === all.length - 1;
    const dots = part.replaceAll(/%2e/gi, '.');
    if (dots === '..') parts.pop();
    else if (dots !== '.') return void parts.push(part);
    if (isLast) parts.push('');
  });
  return `/${parts.join('/')}`;
}

const WHOLE = /^([a-zA-Z][a-zA-Z0-9+.-]*:)\/\/(?:([^/?#@:]*)(?::([^/?#@]*))?@)?(\[[0-9a-fA-F:.]+\]|[^/?#:@\s]*)(?::(\d*))?([^?#]*)(\?[^#]*)?(#.*)?$/s;

class Address {
  protocol: string;
  username: string;
  password: string;
  hostname: string;
  port: string;
  #path!: string;
  #query = '';
  #fragment = '';
  #params: SearchParams | undefined;

  constructor(text: string, base?: string | Address) {
    let given = String(text).trim();
    if (!WHOLE.test(given)) {
      if (base === undefined || /^[a-zA-Z][a-zA-Z0-9+.-]*:/.test(given)) throw new TypeError(`Invalid URL: ${text}`);
      given = resolved(given, new Address(String(base)));
    }
    const [, protocol, username = '', password = '', host, port = '', path, query = '', fragment = ''] = WHOLE.exec(given)!;
    this.protocol = protocol!.toLowerCase();
    this.username = username;
    this.password = password;
    this.hostname = this.protocol in PORTS ? host!.toLowerCase() : host!;
    if (this.protocol in PORTS && this.hostname === '') throw new TypeError(`Invalid URL: ${text}`);
    if (port !== '' && Number(port) > 65535) throw new TypeError(`Invalid URL: ${text}`);
    this.port = port === '' || PORTS[this.protocol] === String(Number(port)) ? '' : String(Number(port));
    this.pathname = path!;
    this.search = query;
    this.hash = fragment;
  }

  static canParse(text: string, base?: string): boolean {
    try {
      return Boolean(new Address(text, base));
    } catch {
      return false;
    }
  }

  get pathname(): string {
    return this.#path;
  }
  set pathname(path: string) {
    const whole = path.startsWith('/') ? path : `/${path}`;
    this.#path = path === '' && !(this.protocol in PORTS) ? '' : normal(escaped(whole, IN_PATH));
  }
  get search(): string {
    return this.#query === '' ? '' : `?${this.#query}`;
  }
  set search(query: string) {
    this.#query = escaped(query.replace(/^\?/, ''), IN_QUERY);
    this.#params = undefined;
  }
  get searchParams(): SearchParams {
    return (this.#params ??= new SearchParams(this.#query, (text) => (this.#query = text)));
  }
  get hash(): string {
    return this.#fragment === '' ? '' : `#${this.#fragment}`;
  }
  set hash(fragment: string) {
    this.#fragment = escaped(fragment.replace(/^#/, ''), IN_QUERY);
  }
  get host(): string {
    return this.port === '' ? this.hostname : `${this.hostname}:${this.port}`;
  }
  get origin(): string {
    return this.protocol in PORTS ? `${this.protocol}//${this.host}` : 'null';
  }
  get href(): string {
    const password = this.password === '' ? '' : `:${this.password}`;
    const user = this.username === '' && password === '' ? '' : `${this.username}${password}@`;
    return `${this.protocol}//${user}${this.host}${this.pathname}${this.search}${this.hash}`;
  }
  toString(): string {
    return this.href;
  }
  toJSON(): string {
    return this.href;
  }
}

/** A relative address, as a whole one. */
function resolved(given: string, base: Address): string {
  if (given.startsWith('//')) return base.protocol + given;
  const root = base.href.slice(0, base.href.length - (base.pathname + base.search + base.hash).length);
  if (given.startsWith('/')) return root + given;
  if (given === '') return root + base.pathname + base.search;
  if (given.startsWith('?')) return root + base.pathname + given;
  if (given.startsWith('#')) return root + base.pathname + base.search + given;
  return root + base.pathname.replace(/[^/]*$/, '') + given;
}

/** Puts the two in their places, unless the engine has them. */
export function installUrls(): void {
  const globals = globalThis as any;
  globals.URL ??= Address;
  globals.URLSearchParams ??= SearchParams;
}
