// The library for Theater actors in TypeScript and JavaScript.
//
// What needs a grant in the manifest has a module of its own: `theater-actor/clock`, `connections`, `filesystem`, `http-client`,
// `monitors`, `random`, `streams`, `supervisor`, `table`, `timer`. Tests of an actor's own logic use `theater-actor/testing`.
export { Actor } from './actor';
export type { ChildEvent, Down, Reply } from './actor';
export * as config from './config';
export { HostError } from './host-error';
export {
  BadRequest,
  bodyJson,
  bodyText,
  cookies,
  error,
  header,
  html,
  json,
  methodNotAllowed,
  path,
  plain,
  query,
  redirect,
  withCookie,
  withHeader,
} from './http';
export type { CookieOptions, HttpRequest, HttpResponse } from './http';
export { log } from './log';
export * as messages from './messages';
export { Refusal, refuse } from './refusal';
export * as replies from './replies';
export { Routed, Router } from './router';
export * as runtime from './runtime';
export {
  Shape,
  anything,
  bigint,
  boolean,
  integer,
  list,
  literal,
  nullable,
  number,
  oneOf,
  optional,
  record,
  shape,
  text,
  u64,
} from './shape';
export type { Of } from './shape';
export { eventStream, eventText, stream } from './sse';
export type { ServerSentEvent } from './sse';
export type { StreamHead } from './streams';
export { binaryMessage, closeMessage, textMessage } from './websocket';
export type { WebSocketMessage } from './websocket';
