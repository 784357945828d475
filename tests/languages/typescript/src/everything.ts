// An actor that calls every interface when it is told to: `["spawn-as", "counter.toml", "one"]`. The actor in Python beside this
// directory does the same.
import { Actor, type ChildEvent, type Down, HostError, type HttpRequest, type Reply, Router, type WebSocketMessage } from 'theater-actor';
import { config, eventStream, json, messages, redirect, refuse, runtime, textMessage, withCookie } from 'theater-actor';
import * as clock from 'theater-actor/clock';
import * as connections from 'theater-actor/connections';
import * as files from 'theater-actor/filesystem';
import * as monitors from 'theater-actor/monitors';
import * as streams from 'theater-actor/streams';
import * as supervisor from 'theater-actor/supervisor';
import * as table from 'theater-actor/table';
import * as timer from 'theater-actor/timer';

type Command = (...params: any[]) => unknown;

const page = ({ rows, cursor }: table.Page) => {
  const text = (bytes?: Uint8Array) => bytes && new TextDecoder().decode(bytes);
  return { keys: rows.map(({ key }) => text(key)), cursor: text(cursor) ?? null };
};

/** What the host answered, also if it is an error. */
const tried = async (call: () => unknown) => {
  try {
    return await call();
  } catch (error) {
    if (error instanceof HostError) return { error: error.message, reason: error.reason ?? null };
    throw error;
  }
};

const commands: Record<string, Command> = {
  spawn: supervisor.spawn,
  'spawn-as': supervisor.spawnAs,
  'get-or-spawn': supervisor.getOrSpawn,
  children: supervisor.listChildren,
  stop: (child) => supervisor.stopChild(child),
  restart: (child) => supervisor.restartChild(child),
  'child-state': (child) => supervisor.childState(child) ?? null,
  'child-events': (child) => supervisor.childEvents(child).map(({ eventType }) => eventType),
  ask: messages.request,
  send: (to, message) => messages.send(to, message),
  'ask-later': (to, message, deadline) => messages.requestAsync(to, message, deadline ?? undefined),
  monitor: monitors.monitor,
  demonitor: monitors.demonitor,
  'timer-set': (key, ms, message) => timer.set(key, ms, message),
  'timer-at': (key, ms) => timer.setAt(key, ms),
  'timer-every': (key, ms) => timer.every(key, ms),
  'timer-cron': (key, expression, zone) => timer.cron(key, expression, zone),
  'timer-cancel': timer.cancel,
  'timer-list': () => timer.list().map(({ key, round }) => [key, round]),
  put: (key, value) => table.put(key, value),
  get: (key) => table.get(key) ?? null,
  delete: table.delete,
  count: table.count,
  scan: (prefix, limit, cursor) => page(table.scan(prefix, limit, cursor == null ? undefined : new TextEncoder().encode(cursor))),
  entries: (prefix) => [...table.entries(prefix)],
  write: (path, content) => files.writeFile(path, content),
  read: files.readText,
  list: files.listFiles,
  mkdir: (path) => files.createDir(path),
  exists: files.pathExists,
  unlink: (path) => files.deleteFile(path),
  rmdir: (path) => files.deleteDir(path),
  streams: streams.streams,
  'push-stream': (stream, text) => streams.push(stream, text),
  'push-event': (stream, data, event) => streams.pushEvent(stream, { data, event }),
  'end-stream': streams.end,
  connections: connections.connections,
  push: (to, text) => connections.push(to, textMessage(text)),
  close: connections.close,
  now: clock.now,
  config: (key) => config.get(key) ?? null,
  history: () => runtime.history().map(({ type }) => type),
  fetch: async (url, options) => {
    const response = await fetch(url, options);
    return [response.status, response.headers.get('content-type'), await response.json()];
  },
};

const routes = new Router<Everything, any>()
  .get('/', () => redirect('/hello/you'))
  .get('/hello/:name', (_, { params, query, cookies }) => withCookie(json(200, { name: params.name, query, cookies }), 'seen', 'yes'))
  .post('/echo', (_, request) => json(201, request.json()))
  .get('/events', (_, request) => eventStream({ data: 'welcome', id: request.header('last-event-id') ?? '0' }));

export default class Everything extends Actor {
  told: unknown[] = [];

  async handleRequest([name, ...params]: [string, ...unknown[]]): Promise<unknown> {
    if (name === 'told') return this.told;
    const command = commands[name];
    if (command === undefined) return refuse(`no command ${name}`);
    const answer = await tried(() => command(...params));
    return answer ?? null;
  }

  handleStream(_stream: number, request: HttpRequest) {
    return routes.answer(this, request);
  }

  handleStreamClosed(stream: number): void {
    this.told.push(['stream-closed', stream]);
  }

  handleConnection(connection: number, message: WebSocketMessage): WebSocketMessage[] {
    this.told.push([message.ty.tag, connection]);
    return message.ty.tag === 'text' ? [textMessage(`heard ${message.text}`)] : [];
  }

  handleReply(token: number, reply: Reply): void {
    this.told.push(['reply', token, reply.ok ? reply.value : reply.error]);
  }

  handleTimer(key: string, message: unknown): void {
    this.told.push(['timer', key, message]);
  }

  handleChildEvent({ childId, kind }: ChildEvent): void {
    this.told.push(['child', childId, kind.tag]);
  }

  handleDown({ reference, reason }: Down): void {
    this.told.push(['down', reference, reason.tag]);
  }
}
