// HTTP requests and responses.
import { fromJson, text, toJson, utf8 } from './bytes';
import { refuse } from './refusal';

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

/** The parameters of a request's query, decoded. Of a name that is there twice, the last one counts. */
export function query(request: HttpRequest): Record<string, string> {
  const at = request.uri.indexOf('?');
  const parts = at < 0 ? [] : request.uri.slice(at + 1).split('&').filter((part) => part !== '');
  const decode = (part: string) => decodeURIComponent(part.replaceAll('+', ' '));
  const pairs = parts.map((part): [string, string] => {
    const equals = part.indexOf('=');
    return equals < 0 ? [decode(part), ''] : [decode(part.slice(0, equals)), decode(part.slice(equals + 1))];
  });
  return Object.fromEntries(pairs);
}

/** The value of a header, whatever the case of its name; the first one if there are several. */
export function header(message: HttpRequest | HttpResponse, name: string): string | undefined {
  const wanted = name.toLowerCase();
  return message.headers?.find(([it]) => it.toLowerCase() === wanted)?.[1];
}

/** The body of a message as text; the empty text if there is none. */
export function bodyText(message: HttpRequest | HttpResponse): string {
  return message.body ? text(message.body) : '';
}

/** The value that the body of a message spells in JSON. Refuses the call if it spells none. */
export function bodyJson<T>(message: HttpRequest | HttpResponse): T {
  try {
    return fromJson(message.body ?? new Uint8Array()) as T;
  } catch (error) {
    return refuse(`the body is no JSON: ${error instanceof Error ? error.message : error}`);
  }
}

/** A response with a value as JSON. */
export function json(status: number, value: unknown): HttpResponse {
  return { status, headers: [['content-type', 'application/json']], body: toJson(value) };
}

/** A response with plain text. */
export function plain(status: number, text: string): HttpResponse {
  return { status, headers: [['content-type', 'text/plain; charset=utf-8']], body: utf8(text) };
}

/** A response that tells what is wrong, as `{"error": text}`. */
export function error(status: number, text: string): HttpResponse {
  return json(status, { error: text });
}

/** A response that says which methods a path has: `methodNotAllowed('GET, POST')`. */
export function methodNotAllowed(allowed: string): HttpResponse {
  const response = error(405, `this path takes ${allowed}`);
  return { ...response, headers: [...response.headers!, ['allow', allowed]] };
}

/** A response that sends the client to another address. */
export function redirect(location: string, status = 303): HttpResponse {
  return { status, headers: [['location', location]] };
}
