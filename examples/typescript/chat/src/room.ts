// The front of a chat: pages and assets, a WebSocket room, a store that it spawns, and an oracle that it asks over HTTP.
//
// A WebSocket answer goes only to the client that sent the message. So clients hear others by sending: each message says up to which
// message its sender has heard, and the answer has all later messages.
import { Actor, HostError, type HttpRequest, type HttpResponse, Router, type WebSocketMessage } from 'theater-actor';
import { error, json, log, messages, refuse, runtime, textMessage } from 'theater-actor';
import * as files from 'theater-actor/filesystem';
import * as supervisor from 'theater-actor/supervisor';
import type { Line } from './store';

/** A message of a client: `{"type": "say", "name", "text", "since"}`, or `{"type": "poll", "since"}`. */
interface Said {
  type?: string;
  name?: string;
  text?: string;
  since?: number;
}

export default class Room extends Actor {
  /** The manifest of the store, and the address of the oracle: `init_state` of the manifest has them. */
  store = '';
  oracle = '';
  storeId = '';
  connected = 0;
  requests = 0;

  init(id: string): void {
    log(`chat ${id} initializing`);
    if (this.store === '') refuse("the manifest's init_state names the store and the oracle");
    log('serving', files.listFiles());
    this.storeId = supervisor.spawn(this.store);
    this.post('room', 'open');
  }

  handleHttp(request: HttpRequest): HttpResponse {
    this.requests++;
    return routes.answer(this, request) as HttpResponse;
  }

  async handleWebSocket(message: WebSocketMessage): Promise<WebSocketMessage[]> {
    switch (message.ty.tag) {
      case 'connect':
        this.connected++;
        return [shown(this.heardSince(0, 'welcome'))];
      case 'close':
        this.connected--;
        return [];
      case 'text':
        return [shown(await this.said(message.text!))];
      default:
        return [];
    }
  }

  handleSend(message: unknown): void {
    log(`heard ${JSON.stringify(message).length} bytes`);
  }

  handleRequest(message: unknown): unknown {
    if (message !== 'summary') refuse(`asked for ${JSON.stringify(message)}`);
    return { connected: this.connected, requests: this.requests, store: this.storeId };
  }

  post(name: string, text: string): { seq: number } {
    return messages.request(this.storeId, { action: 'post', name, text });
  }

  heardSince(seq: number, type: string): unknown {
    return { ...messages.request<{ messages: Line[] }>(this.storeId, { action: 'since', seq }), type };
  }

  /** A text that begins with `/ask ` is sent to the oracle, whose answer becomes a message too. */
  private async said(sent: string): Promise<unknown> {
    let said: Said;
    try {
      said = JSON.parse(sent);
    } catch (problem) {
      return { type: 'error', why: String(problem) };
    }
    const { type, name = 'nobody', text = '', since = 0 } = said;
    if (type === 'say') {
      this.post(name, text);
      if (text.startsWith('/ask ')) this.post('oracle', await this.asked(text.slice('/ask '.length)));
    }
    return this.heardSince(since, 'messages');
  }

  private async asked(question: string): Promise<string> {
    try {
      const headers = { 'Content-Type': 'application/json', Accept: 'application/json' };
      const response = await fetch(this.oracle, { method: 'POST', headers, body: JSON.stringify({ question }) });
      if (!response.ok) return `(no answer: status ${response.status})`;
      return (await response.json()).answer;
    } catch (problem) {
      if (problem instanceof HostError) return `(no answer: ${problem.message})`;
      throw problem;
    }
  }
}

const shown = (value: unknown) => textMessage(JSON.stringify(value));

const KINDS: Record<string, string> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css',
  js: 'application/javascript',
  png: 'image/png',
};

/** A file of the granted directory. */
function file(name: string): HttpResponse {
  try {
    if (!files.pathExists(name)) return error(404, 'no such asset');
  } catch (problem) {
    if (problem instanceof HostError) return error(403, problem.message);
    throw problem;
  }
  const kind = KINDS[name.split('.').at(-1)!] ?? 'application/octet-stream';
  return { status: 200, headers: [['content-type', kind]], body: files.readFile(name) };
}

/** Whether each event follows the one before it. */
function isLinked(links: { own: unknown; parent: unknown }[]): boolean {
  return links.every(({ parent }, at) => at === 0 || String(parent) === String(links[at - 1]!.own));
}

const routes = new Router<Room>()
  .get('/', () => file('index.html'))
  .get('/index.html', () => file('index.html'))
  .get('/assets/*', (_, request) => file(request.params.rest))
  .get('/api/messages', (room, request) => json(200, room.heardSince(Number(request.query['since'] ?? 0), 'messages')))
  .post('/api/messages', (room, request) => {
    const { name = 'nobody', text = '' } = request.json<Said>();
    return json(201, room.post(name, text));
  })
  .get('/api/status', (room) => {
    const events = supervisor.childEvents(room.storeId);
    const chain = runtime.history();
    return json(200, {
      children: supervisor.listChildren(),
      stored: supervisor.childState<{ messages: Line[] }>(room.storeId)?.messages.length,
      store_chain_linked: isLinked(events.map(({ hash, parentHash }) => ({ own: hash, parent: parentHash }))),
      own_chain_linked: isLinked(chain.map(({ hash, parent }) => ({ own: hash, parent }))),
    });
  });
