// HTTP requests to other servers. Needs the handler `http-client` in the manifest, which may also name headers with secrets that
// the runtime adds. `fetch` sends its requests the same way.
import { sendHttp } from 'ntwk:theater/http-client';
import { called } from './host-error';
import type { HttpRequest, HttpResponse } from './http';

/** Sends a request, and returns the response. Throws a `HostError` if there is none. */
export function send(request: Partial<HttpRequest> & { uri: string }): HttpResponse {
  return called(() => sendHttp({ method: 'GET', headers: [], body: undefined, ...request }));
}
