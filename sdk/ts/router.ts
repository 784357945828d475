// A router: which function answers which method and path.
//
//     const routes = new Router<Shop>()
//       .get('/items/:id', (shop, request) => json(200, shop.items[request.params.id]))
//       .post('/items', (shop, request) => json(201, shop.add(request.json(Item))));
//
//     handleHttp(request: HttpRequest) { return routes.answer(this, request); }
import { BadRequest, bodyJson, bodyText, cookies, error, header, methodNotAllowed, path, query } from './http';
import type { HttpRequest, HttpResponse } from './http';
import type { Shape } from './shape';

/** The parameters that a pattern has: `/items/:id` has `id`. */
export type Params<P extends string> = P extends `${infer A}/${infer B}` ? Params<A> & Params<B> : P extends `:${infer N}` ? { [K in N]: string } : P extends '*' ? { rest: string } : unknown;

/** A request whose path fits a pattern. */
export class Routed<P = Record<string, string>> implements HttpRequest {
  readonly method: string;
  readonly uri: string;
  readonly headers: [string, string][];
  readonly body?: Uint8Array | null;

  constructor(
    request: HttpRequest,
    /** What stands in the path in place of `:name`, decoded. */
    readonly params: P,
  ) {
    this.method = request.method;
    this.uri = request.uri;
    this.headers = request.headers;
    this.body = request.body;
  }

  /** The path, without the query. */
  get path(): string {
    return path(this);
  }

  /** The parameters of the query. */
  get query(): Record<string, string> {
    return query(this);
  }

  /** The cookies. */
  get cookies(): Record<string, string> {
    return cookies(this);
  }

  /** The value of a header. */
  header(name: string): string | undefined {
    return header(this, name);
  }

  /** The body as text. */
  text(): string {
    return bodyText(this);
  }

  /** The value that the body spells in JSON, with this shape if there is one. The client gets status 400 otherwise. */
  json<T = any>(shape?: Shape<T>): T {
    return bodyJson(this, shape);
  }
}

type Answerer<A, P, R> = (actor: A, request: Routed<P>) => R | Promise<R>;

interface Route {
  method: string;
  parts: string[];
  answer: Answerer<any, any, any>;
}

/**
 * Which function answers which method and path. Of two patterns that fit, the one that was added first counts. A path that no
 * pattern fits is answered with 404, a method that a path does not have with 405, and a body that is not understood with 400. HEAD
 * is answered as GET, without the body.
 *
 * `R` is what the functions return: responses, or also streams.
 */
export class Router<A, R = HttpResponse> {
  readonly #routes: Route[] = [];

  /** Adds a route. In a pattern, `:name` stands for one part of a path, and `*` at the end for all that follows, as `rest`. */
  on<P extends string>(method: string, pattern: P, answer: Answerer<A, Params<P>, R>): this {
    if (!pattern.startsWith('/')) throw new TypeError(`the pattern ${pattern} does not begin with a slash`);
    this.#routes.push({ method, parts: pattern.slice(1).split('/'), answer });
    return this;
  }

  get<P extends string>(pattern: P, answer: Answerer<A, Params<P>, R>): this {
    return this.on('GET', pattern, answer);
  }

  post<P extends string>(pattern: P, answer: Answerer<A, Params<P>, R>): this {
    return this.on('POST', pattern, answer);
  }

  put<P extends string>(pattern: P, answer: Answerer<A, Params<P>, R>): this {
    return this.on('PUT', pattern, answer);
  }

  patch<P extends string>(pattern: P, answer: Answerer<A, Params<P>, R>): this {
    return this.on('PATCH', pattern, answer);
  }

  delete<P extends string>(pattern: P, answer: Answerer<A, Params<P>, R>): this {
    return this.on('DELETE', pattern, answer);
  }

  /** Answers a request. */
  answer(actor: A, request: HttpRequest): R | HttpResponse | Promise<R | HttpResponse> {
    const isHead = request.method === 'HEAD';
    const method = isHead ? 'GET' : request.method;
    const parts = path(request).slice(1).split('/');
    const allowed = new Set<string>();
    for (const route of this.#routes) {
      const params = fitting(route.parts, parts);
      if (params === undefined) continue;
      if (route.method !== method && route.method !== request.method) {
        allowed.add(route.method);
        continue;
      }
      const finish = (answer: R) => (isHead ? withoutBody(answer) : answer);
      try {
        const answer = route.answer(actor, new Routed(request, params));
        const isPromise = typeof (answer as Promise<R> | undefined)?.then === 'function';
        return isPromise ? (answer as Promise<R>).then(finish, badRequest) : finish(answer as R);
      } catch (problem) {
        return badRequest(problem);
      }
    }
    return allowed.size > 0 ? methodNotAllowed([...allowed].join(', ')) : error(404, `nothing at ${path(request)}`);
  }
}

function badRequest(problem: unknown): HttpResponse {
  if (problem instanceof BadRequest) return error(400, problem.message);
  throw problem;
}

function withoutBody<R>(answer: R): R {
  return typeof answer === 'object' && answer !== null && 'body' in answer ? { ...answer, body: undefined } : answer;
}

/** The parameters of a path that fits a pattern; `undefined` if it does not. */
function fitting(pattern: string[], parts: string[]): Record<string, string> | undefined {
  const params: Record<string, string> = {};
  try {
    for (const [at, wanted] of pattern.entries()) {
      if (wanted === '*' && at === pattern.length - 1) {
        params['rest'] = parts.slice(at).map(decodeURIComponent).join('/');
        return params;
      }
      const part = parts[at];
      if (part === undefined) return undefined;
      if (wanted.startsWith(':')) {
        if (part === '') return undefined;
        params[wanted.slice(1)] = decodeURIComponent(part);
      } else if (wanted !== decodeURIComponent(part)) return undefined;
    }
  } catch {
    // A part that decodes to no text fits nothing.
    return undefined;
  }
  return pattern.length === parts.length ? params : undefined;
}
