// The exports of a component, made from the class of an actor. A build calls this; an actor does not.
import { Actor, type ActorClass, type ChildEvent, type Down } from './actor';
import { fromJson, toJson } from './bytes';
import { wholeResponse, type HttpRequest, type HttpResponse } from './http';
import { shown } from './log';
import { log as hostLog } from 'ntwk:theater/runtime';
import { forgetPromises, settled } from './promise';
import { Refusal } from './refusal';
import { loaded, received } from './state';
import type { StreamHead } from './streams';
import { wholeMessage, type WebSocketMessage } from './websocket';

type Bytes = Uint8Array;
type State = Bytes | null | undefined;
type Result<T> = { tag: 'ok'; val: T } | { tag: 'err'; val: string };
type Messages = { messages: WebSocketMessage[] };

/** Logs why a call fails. The caller then returns nothing: that is no result, so the call ends with a trap, as at a panic. */
function failing(error: unknown): undefined {
  for (const line of `uncaught ${shown(error)}`.split('\n')) hostLog(line);
  return undefined;
}

/** Runs an exported function: a refusal is its error, and any other exception fails the actor. */
function exported<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    forgetPromises();
    if (error instanceof Refusal) throw error.message;
    return failing(error) as T;
  }
}

/** The exports by their names in JavaScript. */
export function exportsOf(actorClass: unknown) {
  if (typeof actorClass !== 'function') {
    throw new TypeError('the entry has no class as its default export: write `export default MyActor`');
  }
  if (!(actorClass.prototype instanceof Actor)) {
    throw new TypeError(`the class ${actorClass.name} is no actor: write \`class ${actorClass.name} extends Actor\``);
  }
  const Class = actorClass as ActorClass;

  /** A function whose result is the next state. */
  function stateOf(bytes: State, method: (actor: Actor) => unknown): [Bytes] {
    return exported(() => {
      const actor = loaded(Class, bytes);
      settled(method(actor));
      return [toJson(actor)];
    });
  }

  /** A function that also returns an answer, which `form` brings into the form of the interface. */
  function answer<T, A>(bytes: State, method: (actor: Actor) => T | Promise<T>, form: (result: T) => A): [Bytes, [A]] {
    return exported(() => {
      const actor = loaded(Class, bytes);
      const result = settled(method(actor));
      return [toJson(actor), [form(result)]];
    });
  }

  return {
    actor: {
      init: (state: State, [id]: [string]) => stateOf(state, (actor) => actor.init(id)),
    },
    messageServerClient: {
      handleRequest: (state: State, [message]: [Bytes]) =>
        answer(state, (actor) => actor.handleRequest(received(Class, message)), toJson),
      handleSend: (state: State, [message]: [Bytes]) => stateOf(state, (actor) => actor.handleSend(received(Class, message))),
    },
    httpServer: {
      handleRequest: (state: State, [request]: [HttpRequest]) =>
        answer(state, (actor) => actor.handleHttp(request), wholeResponse),
    },
    streamHandlers: {
      handleRequest: (state: State, [stream, request]: [number, HttpRequest]) =>
        answer(state, (actor) => actor.handleStream(stream, request), wholeAnswer),
      handleStreamClosed: (state: State, [stream]: [number]) =>
        stateOf(state, (actor) => actor.handleStreamClosed(stream)),
    },
    websocketServer: {
      handleMessage: (state: State, [message]: [WebSocketMessage]) =>
        answer(state, (actor) => actor.handleWebSocket(message), wholeMessages),
    },
    connectionHandlers: {
      handleConnectionMessage: (state: State, [connection, message]: [number, WebSocketMessage]) =>
        answer(state, (actor) => actor.handleConnection(connection, message), wholeMessages),
    },
    timerHandlers: {
      handleTimer: (state: State, [key, due, message]: [string, number, Bytes]) =>
        stateOf(state, (actor) => actor.handleTimer(key, fromJson(message), due)),
    },
    replyHandlers: {
      handleReply: (state: State, [token, answer]: [number, Result<Bytes>]) =>
        stateOf(state, (actor) =>
          actor.handleReply(
            token,
            answer.tag === 'ok' ? { ok: true, value: fromJson(answer.val) } : { ok: false, error: answer.val },
          ),
        ),
    },
    supervisorHandlers: {
      handleChildEvent: (state: State, [event]: [ChildEvent]) => stateOf(state, (actor) => actor.handleChildEvent(event)),
    },
    monitorHandlers: {
      handleDown: (state: State, [down]: [Down]) =>
        stateOf(state, (actor) => actor.handleDown(down)),
    },
    migration: {
      migrate: (state: State, [from]: [string]) =>
        stateOf(null, (actor) => actor.migrate(state == null ? null : fromJson(state), from)),
    },
  };
}

function wholeAnswer(answer: HttpResponse | { stream: StreamHead }) {
  if (typeof answer === 'object' && answer !== null && 'stream' in answer) {
    const { status, headers = [], first } = answer.stream;
    return { tag: 'stream', val: { status, headers, first: first ?? undefined } };
  }
  return { tag: 'response', val: wholeResponse(answer) };
}

function wholeMessages(messages: WebSocketMessage[] | void): Messages {
  return { messages: (messages ?? []).map(wholeMessage) };
}
