// The one kind of exception that refuses a call.

/**
 * Refuses a call: its sender gets the text, and the state stays as it was before the call. Any other exception fails the
 * actor, as a panic does in Rust.
 */
export class Refusal extends Error {
  constructor(text: string) {
    super(text);
    this.name = 'Refusal';
  }
}

/** Refuses the call with this text: `refuse('the till is full')`. */
export function refuse(text: string): never {
  throw new Refusal(text);
}
