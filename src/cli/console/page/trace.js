// A trace: everything that came of one call, across actors, as a waterfall.
import { ask } from './api.js';
import { fill, h, say } from './dom.js';
import { millis, time, visible } from './format.js';

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
    const add = (node, depth) => {
      lines.push({ node, depth });
      for (const child of node.children ?? []) add(child, depth + 1);
    };
    add(trace.root, 0);
    const begins = Math.min(...lines.map(({ node }) => node.at));
    const ends = Math.max(...lines.map(({ node }) => node.at + (node.took_ms ?? 0)));
    const whole = Math.max(1, ends - begins);
    fill(rows, lines.map(({ node, depth }) => line(node, depth, begins, whole)));
    say(note, `${time(begins)}, ${millis(ends - begins)} in all, ${lines.length} steps${trace.left_out ? `; ${trace.left_out}` : ''}`);
  }

  function line(node, depth, begins, whole) {
    const bar = h('span', { class: `bar ${node.outcome ?? ''}` });
    bar.style.left = `${((node.at - begins) / whole) * 100}%`;
    bar.style.width = `${Math.max(0.4, ((node.took_ms ?? 0) / whole) * 100)}%`;
    const what = h('span', { class: 'what' }, h('b', {}, visible(node.actor_name)), ' ', visible(node.what));
    what.style.setProperty('--depth', depth);
    const is = node.actor === id && node.sequence === sequence;
    return h('li', { class: `${node.outcome ?? ''}${is ? ' chosen' : ''}` },
      h('a', { class: 'step', href: `#/actor/${node.actor}/history/${node.sequence}`, title: `event ${node.sequence} of ${node.actor}` }, what,
        h('span', { class: 'how' }, visible(node.result ?? '')), h('span', { class: 'took' }, node.took_ms === null || node.took_ms === undefined ? '' : millis(node.took_ms))),
      h('span', { class: 'track' }, bar));
  }

  read();
  return { element: h('article', { class: 'trace' }, h('h1', {}, 'Trace'), h('div', { class: 'tools' }, note, again), rows), stop: () => {} };
}
