// The exports of a component, made from the class of an actor. A build calls this; an actor does not.
import type { Actor, ActorClass, ChildEvent, Down, WebSocketMessage } from './actor';
import { fromJson, toJson } from './bytes';
import type { HttpRequest, HttpResponse } from './http';
import { shown } from './log';
import { log as hostLog } from 'ntwk:theater/runtime';
import { Refusal } from './refusal';

type Bytes = Uint8Array;
type State = Bytes | null | undefined;

/** Logs why a call fails. The caller then returns nothing: that is no result, so the call ends with a trap, as at a panic. */
function failing(error: unknown): undefined {
  for (const line of shown(error).split('\n')) hostLog(line);
  return undefined;
}

/** Runs an exported function: a refusal is its error, and any other exception fails the actor. */
function exported<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof Refusal) throw error.message;
    return failing(error) as T;
  }
}

/** The exports by their names in JavaScript. */
export function exportsOf(actorClass: unknown) {
  if (typeof actorClass !== 'function') {
    throw new TypeError('the entry has no class as its default export: write `export default MyActor`');
  }
  const Class = actorClass as ActorClass;

  /** Runs a method on the state, and returns the next state and what the method returned. */
  function call<T>(bytes: State, method: (actor: Actor) => T): [Bytes, T] {
    const actor = new Class();
    if (bytes != null) Object.assign(actor, fieldsOf(fromJson(bytes)));
    const result = method(actor);
    if (typeof (result as { then?: unknown } | undefined)?.then === 'function') {
      throw new TypeError('the handler returned a promise: a handler is a plain function, and nothing is waited for');
    }
    return [toJson(actor), result];
  }

  /** A function whose result is the next state. */
  function stateOf(bytes: State, method: (actor: Actor) => void): [Bytes] {
    return exported(() => [call(bytes, method)[0]]);
  }

  /** A function that also returns an answer, which `shape` brings into the form of the interface. */
  function answer<T, A>(bytes: State, method: (actor: Actor) => T, shape: (result: T) => A): [Bytes, [A]] {
    return exported(() => {
      const [next, result] = call(bytes, method);
      return [next, [shape(result)]];
    });
  }

  return {
    actor: {
      init: (state: State, [id]: [string]) => stateOf(state, (actor) => actor.init(id)),
    },
    messageServerClient: {
      handleRequest: (state: State, [message]: [Bytes]) =>
        answer(state, (actor) => actor.handleRequest(received(message)), toJson),
      handleSend: (state: State, [message]: [Bytes]) => stateOf(state, (actor) => actor.handleSend(received(message))),
    },
    httpServer: {
      handleRequest: (state: State, [request]: [HttpRequest]) =>
        answer(state, (actor) => actor.handleHttp(request), responseOf),
    },
    websocketServer: {
      handleMessage: (state: State, [message]: [WebSocketMessage]) =>
        answer(state, (actor) => actor.handleWebSocket(message), (messages) => ({
          messages: messages.map((it) => ({ data: undefined, text: undefined, ...it })),
        })),
    },
    timerHandlers: {
      handleTimer: (state: State, [key, due, message]: [string, bigint, Bytes]) =>
        stateOf(state, (actor) => actor.handleTimer(key, fromJson(message), due)),
    },
    supervisorHandlers: {
      handleChildEvent: (state: State, [event]: [ChildEvent]) => stateOf(state, (actor) => actor.handleChildEvent(event)),
    },
    monitorHandlers: {
      handleDown: (state: State, [down]: [Down]) => stateOf(state, (actor) => actor.handleDown(down)),
    },
  };
}

/** The fields that a state holds. */
function fieldsOf(state: unknown): object {
  if (typeof state !== 'object' || state === null || Array.isArray(state)) {
    throw new TypeError('the state is no JSON object, whose keys would be the fields of the actor');
  }
  return state;
}

/** A response with all the fields that the interface has. */
function responseOf(response: HttpResponse) {
  if (typeof response?.status !== 'number') throw new TypeError('handleHttp returned no response');
  return { headers: [], body: undefined, ...response };
}

/** The message that another actor sent. What is no JSON is refused. */
function received(message: Bytes): unknown {
  try {
    return fromJson(message);
  } catch (error) {
    throw new Refusal(`the message is no JSON: ${error instanceof Error ? error.message : error}`);
  }
}
