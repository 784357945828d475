// The live state of the runtime, for the views of one tab.
import { headers, key } from './api.js';
import { Known } from './known.js';
import { follow } from './stream.js';

export const known = new Known();
const listeners = new Set();

/** Calls `listener` after each update: with what has changed, or with why there is none. Returns how to end that. */
export function onUpdate(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function told(event, data) {
  const update = event === 'offline' ? { offline: data } : known.take(event, JSON.parse(data));
  for (const listener of listeners) listener(update);
}

/** Begins to follow: by the worker that all tabs share, or alone where a browser has none. */
export function begin() {
  if (typeof SharedWorker === 'undefined') {
    follow('/api/live', headers, told);
    return;
  }
  const worker = new SharedWorker('/live-worker.js', { type: 'module', name: 'theater-live' });
  worker.port.onmessage = ({ data }) => told(data.event, data.data);
  worker.onerror = () => told('offline', 'the worker of this page did not start');
  worker.port.start();
  const hello = () => worker.port.postMessage({ key: key() });
  hello();
  addEventListener('pagehide', () => worker.port.postMessage({ bye: true }));
  addEventListener('pageshow', (event) => event.persisted && hello());
}

/** The name of an actor as people know it. */
export function nameOf(id) {
  const row = known.rows.get(id);
  return row ? shownName(row) : id;
}

export function shownName(row) {
  return row.label ? (row.path ?? row.label) : row.name;
}

export function shownStatus(row) {
  if (row.status !== 'running') return row.status;
  if (row.paused) return 'paused';
  return row.asleep ? 'asleep' : row.status;
}

export function isAlive(row) {
  return row.status !== 'stopped' && row.status !== 'failed';
}

export function mayControl() {
  return known.summary?.role === 'control';
}
