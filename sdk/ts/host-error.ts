// What the runtime answers when it cannot do what it was asked.

/** The runtime's answer to a call that it refused, or that failed: its text says why. */
export class HostError extends Error {
  constructor(
    text: string,
    /** What kind of error it is, where an interface names kinds: `gone`, `full` or `refused` for a stream. */
    readonly reason?: string,
  ) {
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
    if (typeof payload === 'string') throw new HostError(payload);
    const kind = payload as { tag?: unknown; val?: unknown } | null;
    if (typeof kind?.tag !== 'string') throw error;
    throw new HostError(typeof kind.val === 'string' ? kind.val : kind.tag, kind.tag);
  }
}
