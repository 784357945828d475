// Promises of an actor. Nothing outside settles one later: all that can happen happens before the call returns. So the queue of what
// is to run next is here, and a call runs it to its end. The build turns `async` functions into generators that use these.

type Executor = (resolve: (value: unknown) => void, reject: (why: unknown) => void) => void;
type Step = ((value: any) => any) | null | undefined;

const queue: (() => void)[] = [];
/** Rejected promises that nobody has asked. */
const unheard = new Set<ActorPromise>();

class ActorPromise {
  #state: 'open' | 'kept' | 'broken' = 'open';
  #value: unknown;
  #waiting: (() => void)[] = [];

  constructor(executor: Executor) {
    const [resolve, reject] = this.#settlers();
    try {
      executor(resolve, reject);
    } catch (error) {
      reject(error);
    }
  }

  /** The functions that settle this promise, of which the first call counts. */
  #settlers(): [(value: unknown) => void, (why: unknown) => void] {
    let isDecided = false;
    const once = (act: (value: unknown) => void) => (value: unknown) => {
      if (isDecided) return;
      isDecided = true;
      act(value);
    };
    return [once((value) => this.#follow(value)), once((why) => this.#end('broken', why))];
  }

  #follow(value: any) {
    if (value === this) return this.#end('broken', new TypeError('a promise cannot wait for itself'));
    try {
      const then = (typeof value === 'object' && value !== null) || typeof value === 'function' ? value.then : undefined;
      if (typeof then !== 'function') return this.#end('kept', value);
      const [resolve, reject] = this.#settlers();
      queue.push(() => {
        try {
          then.call(value, resolve, reject);
        } catch (error) {
          reject(error);
        }
      });
    } catch (error) {
      this.#end('broken', error);
    }
  }

  #end(state: 'kept' | 'broken', value: unknown) {
    this.#state = state;
    this.#value = value;
    if (state === 'broken' && this.#waiting.length === 0) unheard.add(this);
    queue.push(...this.#waiting);
    this.#waiting = [];
  }

  then(kept?: Step, broken?: Step): ActorPromise {
    unheard.delete(this);
    return new ActorPromise((resolve, reject) => {
      const react = () => {
        const step = this.#state === 'kept' ? kept : broken;
        if (typeof step !== 'function') return this.#state === 'kept' ? resolve(this.#value) : reject(this.#value);
        try {
          resolve(step(this.#value));
        } catch (error) {
          reject(error);
        }
      };
      if (this.#state === 'open') this.#waiting.push(react);
      else queue.push(react);
    });
  }

  catch(broken?: Step): ActorPromise {
    return this.then(undefined, broken);
  }

  finally(last?: (() => unknown) | null): ActorPromise {
    if (typeof last !== 'function') return this.then();
    const after = (then: () => unknown) => ActorPromise.resolve(last()).then(then);
    return this.then(
      (value) => after(() => value),
      (why) => after(() => { throw why; }),
    );
  }

  get [Symbol.toStringTag]() {
    return 'Promise';
  }

  static resolve(value?: unknown): ActorPromise {
    return value instanceof ActorPromise ? value : new ActorPromise((resolve) => resolve(value));
  }

  static reject(why?: unknown): ActorPromise {
    return new ActorPromise((_, reject) => reject(why));
  }

  static withResolvers() {
    let resolve, reject;
    const promise = new ActorPromise((...both) => ([resolve, reject] = both));
    return { promise, resolve, reject };
  }

  static #gathered(values: Iterable<unknown>, each: (it: ActorPromise, put: (value: unknown) => void, reject: (why: unknown) => void) => void) {
    return new ActorPromise((resolve, reject) => {
      const all = Array.from(values, (value) => ActorPromise.resolve(value));
      const results: unknown[] = new Array(all.length);
      let open = all.length;
      if (open === 0) resolve(results);
      all.forEach((it, at) => {
        const put = (value: unknown) => {
          results[at] = value;
          if (--open === 0) resolve(results);
        };
        each(it, put, reject);
      });
    });
  }

  static all(values: Iterable<unknown>): ActorPromise {
    return ActorPromise.#gathered(values, (it, put, reject) => it.then(put, reject));
  }

  static allSettled(values: Iterable<unknown>): ActorPromise {
    return ActorPromise.#gathered(values, (it, put) =>
      it.then(
        (value) => put({ status: 'fulfilled', value }),
        (reason) => put({ status: 'rejected', reason }),
      ),
    );
  }

  static race(values: Iterable<unknown>): ActorPromise {
    return new ActorPromise((resolve, reject) => {
      for (const value of values) ActorPromise.resolve(value).then(resolve, reject);
    });
  }

  static any(values: Iterable<unknown>): ActorPromise {
    return new ActorPromise((resolve, reject) => {
      const failures = ActorPromise.#gathered(values, (it, put) => it.then(resolve, put));
      failures.then((errors) => reject(new AggregateError(errors, 'all promises were rejected')));
    });
  }
}

/** Runs all that was put off, and returns what a promise has come to; anything else is returned as it is. */
export function settled<T>(value: T | Promise<T>): T {
  const isPromise = typeof (value as Promise<T> | undefined)?.then === 'function';
  let end: { value: T } | { why: unknown } | undefined;
  if (isPromise) (value as Promise<T>).then((value) => (end = { value }), (why) => (end = { why }));
  for (let step = queue.shift(); step !== undefined; step = queue.shift()) step();
  const [lost] = unheard;
  unheard.clear();
  if (end !== undefined && 'why' in end) throw (end as { why: unknown }).why;
  if (lost !== undefined) lost.then(undefined, (why) => (end = { why }));
  for (let step = queue.shift(); step !== undefined; step = queue.shift()) step();
  if (end !== undefined && 'why' in end) throw (end as { why: unknown }).why;
  if (!isPromise) return value as T;
  if (end === undefined) {
    throw new Error('the handler waits for a promise that nothing will settle: a call ends before anything else can happen');
  }
  return (end as { value: T }).value;
}

/** Forgets what an instance has put off in a call that ended in an exception. */
export function forgetPromises(): void {
  queue.length = 0;
  unheard.clear();
}

/** Puts these promises in the place of the engine's. */
export function installPromises(): void {
  const globals = globalThis as any;
  globals.Promise = ActorPromise;
  globals.queueMicrotask = (step: () => void) => void queue.push(step);
}
