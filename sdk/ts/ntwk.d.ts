// The interfaces of `wit/` as TypeScript sees them. scripts/wit-types.py writes this file.

/** A result inside of a value. As what a function returns, the error is thrown instead. */
type Result<T, E> = { tag: 'ok'; val: T } | { tag: 'err'; val: E };

declare module 'ntwk:theater/actor' {
  import type { State } from 'ntwk:theater/types';
  export function init(state: State, params: [string]): [State];
}

declare module 'ntwk:theater/async-requests' {
  import type { Json, ActorId } from 'ntwk:theater/types';
  export function requestAsync(actorId: ActorId, msg: Json, deadlineMs: number | null | undefined): number;
}

declare module 'ntwk:theater/clock' {
  export function now(): number;
}

declare module 'ntwk:theater/config' {
  import type { Json } from 'ntwk:theater/types';
  export function get(key: string): Json | null | undefined;
}

declare module 'ntwk:theater/connection-handlers' {
  import type { State } from 'ntwk:theater/types';
  import type { WebsocketMessage, WebsocketResponse } from 'ntwk:theater/websocket-types';
  export function handleConnectionMessage(state: State, params: [number, WebsocketMessage]): [State, [WebsocketResponse]];
}

declare module 'ntwk:theater/connections' {
  import type { WebsocketMessage } from 'ntwk:theater/websocket-types';
  export type ConnectionId = number;
  export type NotQueuedReason = 'gone' | 'full';
  export interface NotQueued {
    connection: ConnectionId;
    reason: NotQueuedReason;
  }
  export function push(to: ConnectionId[], message: WebsocketMessage): NotQueued[];
  export function close(connection: ConnectionId, code: number): boolean;
  export function connections(): ConnectionId[];
}

declare module 'ntwk:theater/deferred-replies' {
  import type { Json } from 'ntwk:theater/types';
  import type { HttpResponse } from 'ntwk:theater/http-types';
  export function defer(): number;
  export function reply(token: number, answer: Result<Json, string>): void;
  export function replyHttp(token: number, response: HttpResponse): void;
}

declare module 'ntwk:theater/filesystem' {
  export function readFile(path: string): Uint8Array;
  export function writeFile(path: string, content: string): void;
  export function listFiles(path: string): string[];
  export function deleteFile(path: string): void;
  export function createDir(path: string): void;
  export function deleteDir(path: string): void;
  export function pathExists(path: string): boolean;
}

declare module 'ntwk:theater/http-client' {
  import type { HttpRequest, HttpResponse } from 'ntwk:theater/http-types';
  export function sendHttp(req: HttpRequest): HttpResponse;
}

declare module 'ntwk:theater/http-server' {
  import type { State } from 'ntwk:theater/types';
  import type { HttpRequest, HttpResponse } from 'ntwk:theater/http-types';
  export function handleRequest(state: State, params: [HttpRequest]): [State, [HttpResponse]];
}

declare module 'ntwk:theater/http-types' {
  export type Bytes = Uint8Array;
  export interface HttpRequest {
    method: string;
    uri: string;
    headers: ([string, string])[];
    body?: Bytes | null | undefined;
  }
  export interface HttpResponse {
    status: number;
    headers: ([string, string])[];
    body?: Bytes | null | undefined;
  }
}

declare module 'ntwk:theater/labels' {
  import type { Json, ActorId } from 'ntwk:theater/types';
  export function spawnAs(manifest: string, label: string, initState: Json | null | undefined): ActorId;
  export function getOrSpawn(manifest: string, label: string, initState: Json | null | undefined): ActorId;
}

declare module 'ntwk:theater/message-server-client' {
  import type { Json } from 'ntwk:theater/types';
  export function handleSend(state: Json | null | undefined, params: [Json]): [Json | null | undefined];
  export function handleRequest(state: Json | null | undefined, params: [Json]): [Json | null | undefined, [Json]];
}

declare module 'ntwk:theater/message-server-host' {
  import type { Json, ActorId } from 'ntwk:theater/types';
  export function send(actorId: ActorId, msg: Json): void;
  export function request(actorId: ActorId, msg: Json): Json;
}

declare module 'ntwk:theater/migration' {
  import type { State } from 'ntwk:theater/types';
  export function migrate(state: State, params: [string]): [State];
}

declare module 'ntwk:theater/monitor-handlers' {
  import type { State, ActorId } from 'ntwk:theater/types';
  export type EndReason =
    | { tag: 'stopped' }
    | { tag: 'failed'; val: string };
  export interface Down {
    reference: number;
    actorId: ActorId;
    reason: EndReason;
  }
  export function handleDown(state: State, params: [Down]): [State];
}

declare module 'ntwk:theater/monitors' {
  import type { ActorId } from 'ntwk:theater/types';
  export function monitor(actorId: ActorId): number;
  export function demonitor(reference: number): boolean;
}

declare module 'ntwk:theater/random' {
  export function bytes(n: number): Uint8Array;
}

declare module 'ntwk:theater/reply-handlers' {
  import type { State, Json } from 'ntwk:theater/types';
  export function handleReply(state: State, params: [number, Result<Json, string>]): [State];
}

declare module 'ntwk:theater/runtime' {
  import type { Chain } from 'ntwk:theater/types';
  export function log(msg: string): void;
  export function getChain(): Chain;
}

declare module 'ntwk:theater/stream-handlers' {
  import type { State } from 'ntwk:theater/types';
  import type { HttpRequest, HttpResponse } from 'ntwk:theater/http-types';
  export interface StreamHead {
    status: number;
    headers: ([string, string])[];
    first?: Uint8Array | null | undefined;
  }
  export type HttpAnswer =
    | { tag: 'response'; val: HttpResponse }
    | { tag: 'stream'; val: StreamHead };
  export function handleRequest(state: State, params: [number, HttpRequest]): [State, [HttpAnswer]];
  export function handleStreamClosed(state: State, params: [number]): [State];
}

declare module 'ntwk:theater/streams' {
  export type StreamId = number;
  export type NotPushed =
    | { tag: 'gone' }
    | { tag: 'full' }
    | { tag: 'refused'; val: string };
  export function pushChunk(stream: StreamId, bytes: Uint8Array): void;
  export function end(stream: StreamId): boolean;
  export function streams(): StreamId[];
}

declare module 'ntwk:theater/supervisor-handlers' {
  import type { State } from 'ntwk:theater/types';
  export type ChildEventKind =
    | { tag: 'started' }
    | { tag: 'stopped' }
    | { tag: 'failed'; val: string }
    | { tag: 'restarted' };
  export interface ChildEvent {
    childId: string;
    kind: ChildEventKind;
  }
  export function handleChildEvent(state: State, params: [ChildEvent]): [State];
}

declare module 'ntwk:theater/supervisor' {
  export interface ChainEvent {
    hash: Uint8Array;
    parentHash?: Uint8Array | null | undefined;
    eventType: string;
    data: Uint8Array;
    timestamp: number;
  }
  export function spawn(manifest: string): string;
  export function listChildren(): string[];
  export function stopChild(childId: string): void;
  export function restartChild(childId: string): void;
  export function getChildState(childId: string): Uint8Array;
  export function getChildEvents(childId: string): ChainEvent[];
}

declare module 'ntwk:theater/table' {
  export interface Row {
    key: Uint8Array;
    value: Uint8Array;
  }
  export interface Page {
    rows: Row[];
    cursor?: Uint8Array | null | undefined;
  }
  export function get(key: Uint8Array): Uint8Array | null | undefined;
  export function put(key: Uint8Array, value: Uint8Array): void;
  const delete_: (key: Uint8Array) => boolean;
  export { delete_ as delete };
  export function scan(prefix: Uint8Array, limit: number, cursor: Uint8Array | null | undefined): Page;
  export function count(): number;
}

declare module 'ntwk:theater/timer-handlers' {
  import type { Json, State } from 'ntwk:theater/types';
  export function handleTimer(state: State, params: [string, number, Json]): [State];
}

declare module 'ntwk:theater/timer' {
  import type { Json } from 'ntwk:theater/types';
  export interface PendingTimer {
    key: string;
    due: number;
    round: number;
  }
  export function set(key: string, afterMs: number, msg: Json): number;
  export function setAt(key: string, unixMs: number, msg: Json): number;
  export function every(key: string, ms: number, msg: Json): number;
  export function cron(key: string, expression: string, zone: string, msg: Json): number;
  export function cancel(key: string): boolean;
  export function list(): PendingTimer[];
}

declare module 'ntwk:theater/types' {
  export type Json = Uint8Array;
  export type State = Uint8Array | null | undefined;
  export type ActorId = string;
  export interface Event {
    eventType: string;
    parent?: number | null | undefined;
    data: Json;
  }
  export interface MetaEvent {
    hash: number;
    event: Event;
  }
  export interface Chain {
    events: MetaEvent[];
  }
}

declare module 'ntwk:theater/websocket-server' {
  import type { State } from 'ntwk:theater/types';
  export type MessageType =
    | { tag: 'text' }
    | { tag: 'binary' }
    | { tag: 'connect' }
    | { tag: 'close' }
    | { tag: 'ping' }
    | { tag: 'pong' }
    | { tag: 'other'; val: string };
  export interface WebsocketMessage {
    ty: MessageType;
    data?: Uint8Array | null | undefined;
    text?: string | null | undefined;
  }
  export interface WebsocketResponse {
    messages: WebsocketMessage[];
  }
  export function handleMessage(state: State, params: [WebsocketMessage]): [State, [WebsocketResponse]];
}

declare module 'ntwk:theater/websocket-types' {
  export type MessageType =
    | { tag: 'text' }
    | { tag: 'binary' }
    | { tag: 'connect' }
    | { tag: 'close' }
    | { tag: 'ping' }
    | { tag: 'pong' }
    | { tag: 'other'; val: string };
  export interface WebsocketMessage {
    ty: MessageType;
    data?: Uint8Array | null | undefined;
    text?: string | null | undefined;
  }
  export interface WebsocketResponse {
    messages: WebsocketMessage[];
  }
}
