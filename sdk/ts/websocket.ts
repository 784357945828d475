// Messages of WebSocket clients, and to them.

/** A message of a WebSocket client, or to one. */
export interface WebSocketMessage {
  ty: { tag: 'text' | 'binary' | 'connect' | 'close' | 'ping' | 'pong' } | { tag: 'other'; val: string };
  /** The payload of `binary`, `ping` and `pong`. */
  data?: Uint8Array | null;
  /** The payload of `text`. */
  text?: string | null;
}

/** A text for a client. */
export function textMessage(text: string): WebSocketMessage {
  return { ty: { tag: 'text' }, text };
}

/** Bytes for a client. */
export function binaryMessage(data: Uint8Array): WebSocketMessage {
  return { ty: { tag: 'binary' }, data };
}

/** Closes the connection, after the messages before it. */
export function closeMessage(): WebSocketMessage {
  return { ty: { tag: 'close' } };
}

/** A message with all the fields that the interface has. */
export function wholeMessage(message: WebSocketMessage): WebSocketMessage {
  return { data: undefined, text: undefined, ...message };
}
