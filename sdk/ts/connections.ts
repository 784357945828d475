// WebSocket clients that the actor can send to at any time, by their ids. Needs the handler `websocket-server`, and the method
// `handleConnection`.
import { close as hostClose, connections as hostConnections, push as hostPush } from 'ntwk:theater/connections';
import { called } from './host-error';
import { wholeMessage, type WebSocketMessage } from './websocket';

/** A connection for which a message was not queued: it is gone, or its client reads too slowly. */
export interface NotQueued {
  connection: number;
  reason: 'gone' | 'full';
}

/** Sends a message to each of these connections. Returns those that do not get it. Throws a `HostError` if nobody can get it. */
export function push(to: Iterable<number>, message: WebSocketMessage): NotQueued[] {
  const missed = called(() => hostPush(Array.from(to), wholeMessage(message)));
  return Array.from(missed, ({ connection, reason }) => ({ connection: connection, reason }));
}

/** Closes a connection, after everything that was sent to it before. Tells whether it was open. */
export function close(connection: number, code = 1000): boolean {
  return called(() => hostClose(connection, code));
}

/** The ids of all open connections, in ascending order. */
export function connections(): number[] {
  return Array.from(hostConnections());
}
