// A trace: everything that came of one call, across actors, as a waterfall.
import { ask } from './api.js';
import { fill, h, say } from './dom.js';
import { brief, millis, time, visible } from './format.js';

export function traceView(id, sequence) {
  const note = h('p', { class: 'quiet', role: 'status' }, 'Reading…');
  const rows = h('ol', { class: 'waterfall' });
  const again = h('button', { type: 'button', onclick: () => read() }, 'Read again');

  async function read() {
    say(note, 'Reading…');
    try {
      const trace = await ask('trace', { actor: id, event: sequence });
      draw(trace);
    } catch (error) {
      fill(note, h('span', { class: 'bad' }, error.message));
    }
  }

  function draw(trace) {
    const lines = [];
    const waiting = [[trace.root, 0]];
    while (waiting.length > 0) {
      const [node, depth] = waiting.pop();
      lines.push({ node, depth });
      waiting.push(...(node.children ?? []).map((child) => [child, depth + 1]).reverse());
    }
    const begins = lines.reduce((least, { node }) => Math.min(least, node.began_ms), Infinity);
    const ends = lines.reduce((most, { node }) => Math.max(most, node.began_ms + (node.took_ms ?? 0)), 0);
    const whole = Math.max(1, ends - begins);
    fill(rows, lines.map(({ node, depth }) => line(node, depth, begins, whole)));
    const notes = [...trace.notes, ...(trace.left_out > 0 ? [`${trace.left_out} further steps are left out`] : [])];
    say(note, [`${time(begins)}, ${millis(ends - begins)} in all, ${lines.length} steps`, ...notes].join('; '));
  }

  function line(node, depth, begins, whole) {
    const bar = h('span', { class: `bar ${node.outcome}` });
    bar.style.left = `${((node.began_ms - begins) / whole) * 100}%`;
    bar.style.width = `${Math.max(0.4, ((node.took_ms ?? 0) / whole) * 100)}%`;
    const what = h('span', { class: 'what' }, h('b', {}, visible(node.name)), ' ', visible(whatOf(node)));
    what.style.setProperty('--depth', depth);
    return h('li', { class: `${node.outcome}${node.asked ? ' chosen' : ''}` },
      h('a', { class: 'step', href: `#/actor/${node.actor}/history/${node.sequence}`, title: `event ${node.sequence} of ${visible(node.name)}` }, what,
        h('span', { class: 'how' }, visible(howOf(node))), h('span', { class: 'took' }, node.took_ms === undefined ? '' : millis(node.took_ms))),
      h('span', { class: 'track' }, bar));
  }

  read();
  return { element: h('article', { class: 'trace' }, h('h1', {}, 'Trace'), h('div', { class: 'tools' }, note, again), rows), stop: () => {} };
}

/** `POST /transfers {"from":"alice",…}`, or the function and its parameters, and to whom. */
function whatOf(node) {
  const message = node.message === undefined ? '' : ` ${brief(node.message, 120)}`;
  if (node.http) return `${node.http.method} ${node.http.path}${message}`;
  const name = node.function.replace(/^ntwk:theater\//, '').replace(/^(actor|message-server-client|message-server-host|supervisor-handlers)\./, '');
  return `${name}${node.to_name ? ` to ${node.to_name}` : ''}${message}`;
}

/** What became of it: a status, the text of what went wrong, or the answer. */
function howOf(node) {
  const answer = node.answer === undefined ? '' : brief(node.answer, 120);
  const status = node.http?.status ? `${node.http.status} ` : '';
  if (node.detail) return `${node.outcome === 'done' ? '' : `${node.outcome}: `}${status}${node.detail}`;
  return node.outcome === 'done' ? `${status}${answer}` : `${node.outcome} ${status}${answer}`;
}
