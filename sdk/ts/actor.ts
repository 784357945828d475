// What an actor is: a class, whose fields are the state.
import type { HttpRequest, HttpResponse } from './http';
import type { StreamHead } from './streams';
import { refuse } from './refusal';
import type { WebSocketMessage } from './websocket';

/** What became of a child of this actor. `val` says why it failed. */
export interface ChildEvent {
  childId: string;
  kind: { tag: 'started' | 'stopped' | 'restarted' } | { tag: 'failed'; val: string };
}

/** The end of an actor that this one monitored. `val` says why it failed. */
export interface Down {
  /** What `monitors.monitor` has returned. */
  reference: number;
  actorId: string;
  reason: { tag: 'stopped' } | { tag: 'failed'; val: string };
}

/** The answer to a `messages.requestAsync`, or why there is none. */
export type Reply<T = any> = { ok: true; value: T } | { ok: false; error: string };

/** What a handler returns: the value, or a promise of it that nothing outside of the actor has to keep. */
export type Soon<T> = T | Promise<T>;

/**
 * An actor. Its own fields are its state: before each call they are read from JSON, and after it they are written to JSON.
 * A call that throws a `Refusal` leaves the state as it was; any other exception fails the actor.
 *
 *     class Till extends Actor {
 *       static message = shape({ charge: integer });
 *       cents = 0;
 *       handleRequest(order: { charge: number }) {
 *         this.cents += order.charge;
 *         return this.cents;
 *       }
 *     }
 *     export default Till;
 *
 * A static field `message` with a shape has every message checked before a handler gets it; a static field `state` does the
 * same for the state.
 *
 * A handler may be `async`. It can await `fetch`, and whatever settles without waiting for anything outside of the actor.
 */
export abstract class Actor {
  /** Runs once, when the actor is spawned. The fields hold what `init_state` of the manifest says, if it is there. */
  init(_id: string): Soon<void> {}

  /** Answers a message: what it returns is the reply. */
  handleRequest(_message: any): unknown {
    return refuse('this actor takes no messages');
  }

  /** Handles a message whose sender waits for no answer. */
  handleSend(message: any): Soon<void> {
    const reply = this.handleRequest(message);
    if (typeof (reply as Promise<unknown> | undefined)?.then === 'function') return (reply as Promise<unknown>).then(() => {});
  }

  /** Answers an HTTP request. Needs the handler `http-server`. */
  handleHttp(_request: HttpRequest): Soon<HttpResponse> {
    return refuse('this actor answers no HTTP');
  }

  /**
   * Answers an HTTP request by a stream, or by a response like `handleHttp`, which is not called if the actor has this method.
   * If the answer is a stream, it has the id `stream`. Needs the handler `http-server`.
   */
  handleStream(_stream: number, request: HttpRequest): Soon<HttpResponse | { stream: StreamHead }> {
    return this.handleHttp(request);
  }

  /** Is told that a stream is over which the actor has not ended itself. */
  handleStreamClosed(_stream: number): Soon<void> {}

  /** Is called when a timer is due. `due` is in milliseconds since the Unix epoch. Needs the handler `timer`. */
  handleTimer(_key: string, _message: any, _due: number): Soon<void> {
    refuse('this actor sets no timers');
  }

  /** Answers a message of a WebSocket client. Needs the handler `websocket-server`. */
  handleWebSocket(_message: WebSocketMessage): Soon<WebSocketMessage[] | void> {
    return refuse('this actor answers no WebSocket clients');
  }

  /**
   * Answers a message of the WebSocket client with this id. If the actor has this method, `handleWebSocket` is not called. The
   * first message of a connection is `connect`, and the last one `close`. Needs the handler `websocket-server`.
   */
  handleConnection(_connection: number, message: WebSocketMessage): Soon<WebSocketMessage[] | void> {
    return this.handleWebSocket(message);
  }

  /** Is told of the answer to a `messages.requestAsync` with this token. */
  handleReply(_token: number, _reply: Reply): Soon<void> {
    refuse('this actor has no handleReply');
  }

  /** Is told that a child has ended or was restarted. Needs the handler `supervisor`. */
  handleChildEvent(_event: ChildEvent): Soon<void> {}

  /** Is told that an actor that it monitors has ended. Needs the handler `monitor`. */
  handleDown(_down: Down): Soon<void> {}

  /**
   * Sets the fields of this new actor from the state that an earlier build has left; `from` is the digest of that build's
   * component. It is called once, after an upgrade. A refusal or another exception takes the upgrade back.
   */
  migrate(before: any, _from: string): Soon<void> {
    Object.assign(this, before);
  }
}

/** A class of actors that can be made without arguments. */
export type ActorClass<A extends Actor = Actor> = new () => A;
