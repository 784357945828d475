// HTTP requests and responses.
import { fromJson, text, toJson, utf8 } from './bytes';
import { Refusal } from './refusal';
import type { Shape } from './shape';

/** A request, as a server gets it or a client sends it. */
export interface HttpRequest {
  /** `GET`, `POST`, … in capital letters. */
  method: string;
  /** For a server, the path and the query: `/items?page=2`. For a client, the whole address. */
  uri: string;
  headers: [string, string][];
  body?: Uint8Array | null;
}

/** A response. */
export interface HttpResponse {
  status: number;
  headers?: [string, string][];
  body?: Uint8Array | null;
}

/** The path of a request, without the query. */
export function path(request: HttpRequest): string {
  return request.uri.split('?', 1)[0]!;
}

/** Text of a query, decoded. What is no UTF-8 stays as it is. */
function decoded(part: string): string {
  const spaced = part.replaceAll('+', ' ');
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced;
  }
}

/** The parameters of the query, decoded. Of a name that is there twice, the last one counts. */
export function query(request: HttpRequest): Record<string, string> {
  const at = request.uri.indexOf('?');
  const parts = at < 0 ? [] : request.uri.slice(at + 1).split('&').filter((part) => part !== '');
  const pairs = parts.map((part): [string, string] => {
    const equals = part.indexOf('=');
    return equals < 0 ? [decoded(part), ''] : [decoded(part.slice(0, equals)), decoded(part.slice(equals + 1))];
  });
  return Object.fromEntries(pairs);
}

/** The value of a header, whatever the case of its name; the first one if there are several. */
export function header(message: HttpRequest | HttpResponse, name: string): string | undefined {
  const wanted = name.toLowerCase();
  return message.headers?.find(([it]) => it.toLowerCase() === wanted)?.[1];
}

/** The cookies of a request, by their names. */
export function cookies(request: HttpRequest): Record<string, string> {
  const all = request.headers.filter(([name]) => name.toLowerCase() === 'cookie').flatMap(([, value]) => value.split(';'));
  const pairs = all.map((pair) => pair.trim()).filter((pair) => pair.includes('='));
  return Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]));
}

/** How a client keeps a cookie. */
export interface CookieOptions {
  /** Seconds until the client forgets it; until it ends, if this is absent. */
  maxAge?: number;
  path?: string;
  domain?: string;
  secure?: boolean;
  httpOnly?: boolean;
  sameSite?: 'Strict' | 'Lax' | 'None';
}

const COOKIE_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const COOKIE_VALUE = /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*$/;

/** The response, which also sets a cookie: for the path `/`, out of reach of scripts, unless the options say otherwise. */
export function withCookie(response: HttpResponse, name: string, value: string, options: CookieOptions = {}): HttpResponse {
  if (!COOKIE_NAME.test(name)) throw new TypeError(`${JSON.stringify(name)} is no name of a cookie`);
  if (!COOKIE_VALUE.test(value)) throw new TypeError(`the value of the cookie ${name} has characters that it must not have: encode it`);
  const { maxAge, path = '/', domain, secure, httpOnly = true, sameSite = 'Lax' } = options;
  const parts = [`${name}=${value}`, `Path=${path}`];
  if (maxAge !== undefined) parts.push(`Max-Age=${Math.trunc(maxAge)}`);
  if (domain !== undefined) parts.push(`Domain=${domain}`);
  if (secure === true) parts.push('Secure');
  if (httpOnly) parts.push('HttpOnly');
  parts.push(`SameSite=${sameSite}`);
  return withHeader(response, 'set-cookie', parts.join('; '));
}

/** The response with one more header. */
export function withHeader(response: HttpResponse, name: string, value: string): HttpResponse {
  return { ...response, headers: [...(response.headers ?? []), [name, value]] };
}

/** The body of a message as text; the empty text if there is none. */
export function bodyText(message: HttpRequest | HttpResponse): string {
  return message.body ? text(message.body) : '';
}

/**
 * The value that the body of a message spells in JSON, with this shape if there is one. Refuses the call if it spells none; a
 * `Router` answers that with status 400.
 */
export function bodyJson<T = any>(message: HttpRequest | HttpResponse, shape?: Shape<T>): T {
  let value: unknown;
  try {
    value = fromJson(message.body ?? new Uint8Array());
  } catch (error) {
    throw new BadRequest(`the body is no JSON: ${error instanceof Error ? error.message : error}`);
  }
  try {
    return shape === undefined ? (value as T) : shape.check(value, 'the body');
  } catch (error) {
    throw error instanceof Refusal ? new BadRequest(error.message) : error;
  }
}

/** Refuses a request that is not understood: `bodyJson` throws it, and a `Router` answers it with status 400. */
export class BadRequest extends Refusal {
  override name = 'BadRequest';
}

/** A response with a value as JSON. */
export function json(status: number, value: unknown): HttpResponse {
  return { status, headers: [['content-type', 'application/json']], body: toJson(value) };
}

/** A response with plain text. */
export function plain(status: number, text: string): HttpResponse {
  return { status, headers: [['content-type', 'text/plain; charset=utf-8']], body: utf8(text) };
}

/** A response with a page. */
export function html(status: number, page: string): HttpResponse {
  return { status, headers: [['content-type', 'text/html; charset=utf-8']], body: utf8(page) };
}

/** A response that tells what is wrong, as `{"error": text}`. */
export function error(status: number, text: string): HttpResponse {
  return json(status, { error: text });
}

/** A response that says which methods a path has: `methodNotAllowed('GET, POST')`. */
export function methodNotAllowed(allowed: string): HttpResponse {
  return withHeader(error(405, `this path takes ${allowed}`), 'allow', allowed);
}

/** A response that sends the client to another address. */
export function redirect(location: string, status = 303): HttpResponse {
  return { status, headers: [['location', location]] };
}

/** A response with all the fields that the interface has. */
export function wholeResponse(response: HttpResponse) {
  if (typeof response?.status !== 'number') throw new TypeError('the handler returned no response: it has no status');
  return { body: undefined, ...response, headers: response.headers ?? [] };
}

