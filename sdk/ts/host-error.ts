// What the runtime answers when it cannot do what it was asked.

/** The runtime's answer to a call that it refused, or that failed: its text says why. */
export class HostError extends Error {
  constructor(text: string) {
    super(text);
    this.name = 'HostError';
  }
}

/** Calls the host, and throws its error as a `HostError`. */
export function called<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    const payload = (error as { payload?: unknown } | null)?.payload ?? error;
    throw typeof payload === 'string' ? new HostError(payload) : error;
  }
}
