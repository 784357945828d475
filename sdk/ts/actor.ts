// What an actor is: a class, whose fields are the state.
import type { HttpRequest, HttpResponse } from './http';
import { refuse } from './refusal';

/** What became of a child of this actor. `val` says why it failed. */
export interface ChildEvent {
  childId: string;
  kind: { tag: 'started' | 'stopped' | 'restarted' } | { tag: 'failed'; val: string };
}

/** The end of an actor that this one monitored. `val` says why it failed. */
export interface Down {
  reference: bigint;
  actorId: string;
  reason: { tag: 'stopped' } | { tag: 'failed'; val: string };
}

/** A message of a WebSocket client, or to one. */
export interface WebSocketMessage {
  ty: { tag: 'text' | 'binary' | 'connect' | 'close' | 'ping' | 'pong' } | { tag: 'other'; val: string };
  data?: Uint8Array | null;
  text?: string | null;
}

/**
 * An actor. Its own fields are its state: before each call they are read from JSON, and after it they are written to JSON.
 * A call that throws a `Refusal` leaves the state as it was; any other exception fails the actor.
 *
 *     class Till extends Actor {
 *       cents = 0;
 *       handleRequest(order: { charge: number }) {
 *         this.cents += order.charge;
 *         return this.cents;
 *       }
 *     }
 *     export default Till;
 */
export abstract class Actor {
  /** Runs once, when the actor is spawned. The fields hold what `init_state` of the manifest says, if it is there. */
  init(_id: string): void {}

  /** Answers a message: what it returns is the reply. */
  handleRequest(_message: any): unknown {
    return refuse('this actor takes no messages');
  }

  /** Handles a message whose sender waits for no answer. */
  handleSend(message: any): void {
    this.handleRequest(message);
  }

  /** Answers an HTTP request. Needs the handler `http-server`. */
  handleHttp(_request: HttpRequest): HttpResponse {
    return refuse('this actor answers no HTTP');
  }

  /** Is called when a timer is due. Needs the handler `timer`. */
  handleTimer(_key: string, _message: any, _due: bigint): void {
    refuse('this actor sets no timers');
  }

  /** Answers a message of a WebSocket client. Needs the handler `websocket-server`. */
  handleWebSocket(_message: WebSocketMessage): WebSocketMessage[] {
    return refuse('this actor answers no WebSocket clients');
  }

  /** Is told that a child has ended or was restarted. Needs the handler `supervisor`. */
  handleChildEvent(_event: ChildEvent): void {}

  /** Is told that an actor that it monitors has ended. Needs the handler `monitor`. */
  handleDown(_down: Down): void {}
}

/** A class of actors that can be made without arguments. */
export type ActorClass = new () => Actor;
