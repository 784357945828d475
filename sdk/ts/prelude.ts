// What programs in JavaScript expect to be there, made for an actor. A build imports this before the actor.
// Before all else: what is imported next encodes text.
import './encoding';
import { log, shown } from './log';
import { installPromises } from './promise';
import { installUrls } from './url';

const globals = globalThis as any;

/** `console` writes to the actor's log. */
const write = (...values: unknown[]) => log(...values);
globals.console = {
  ...globals.console,
  debug: write,
  error: write,
  info: write,
  log: write,
  trace: write,
  warn: write,
  assert(condition: unknown, ...values: unknown[]) {
    if (!condition) write('assertion failed:', ...values.map(shown));
  },
};

/** Refuses by name what an actor cannot have. */
function refusing(name: string, why: string) {
  globals[name] = () => {
    throw new Error(`an actor has no ${name}: ${why}`);
  };
}

const TIMERS = 'it works on one call, and then on the next. Set a timer with theater-actor/timer';
for (const name of ['setTimeout', 'setInterval', 'setImmediate']) refusing(name, TIMERS);
// What was never set is cleared without ado.
for (const name of ['clearTimeout', 'clearInterval', 'clearImmediate']) globals[name] = () => {};

installPromises();
installUrls();
