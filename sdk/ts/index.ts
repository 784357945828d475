// The library for Theater actors in TypeScript and JavaScript.
//
// What needs a grant in the manifest has a module of its own: `theater-actor/clock`, `theater-actor/random`,
// `theater-actor/http-client`, `theater-actor/timer`, `theater-actor/monitors`.
export { Actor } from './actor';
export type { ChildEvent, Down, WebSocketMessage } from './actor';
export * as config from './config';
export {
  bodyJson,
  bodyText,
  error,
  header,
  json,
  methodNotAllowed,
  path,
  plain,
  query,
  redirect,
} from './http';
export type { HttpRequest, HttpResponse } from './http';
export { log } from './log';
export * as messages from './messages';
export { Refusal, refuse } from './refusal';
