// Time travel: the state of an actor after any of its events, and what changed between two of them.
import { ask } from './api.js';
import { fill, h, say, showText } from './dom.js';
import { chip, functionOf, summary } from './events.js';
import { bytes, fromJson, pretty, time, visible } from './format.js';
import { known, mayControl, onUpdate } from './live.js';
import { forkFrom } from './actions.js';

export function travelOf(id, chosen) {
  const last = () => Math.max(0, (known.rows.get(id)?.events ?? 1) - 1);
  let at = Math.min(chosen ?? last(), last());
  let base = null;
  let asked = 0;
  const slider = h('input', { type: 'range', min: 0, 'aria-label': 'Event', oninput: () => go(Number(slider.value)) });
  const number = h('input', { type: 'number', min: 0, 'aria-label': 'Event', onchange: () => go(Number(number.value)) });
  const from = h('input', { type: 'number', min: 0, 'aria-label': 'Compared with event', placeholder: 'the one before', onchange: () => {
    base = from.value === '' ? null : Number(from.value);
    show();
  } });
  const what = h('p', { class: 'what' });
  const state = h('pre', { id: 'state' });
  const size = h('span', { class: 'quiet' });
  const changes = h('div', { id: 'changes' });

  function go(event) {
    at = Math.max(0, Math.min(last(), Math.floor(event) || 0));
    history.replaceState(null, '', `#/actor/${id}/travel/${at}`);
    show();
  }

  /** Only the newest question is answered: a slider that is drawn asks often. */
  async function show() {
    slider.max = last();
    slider.value = at;
    number.value = at;
    const mine = (asked += 1);
    await new Promise((resolve) => setTimeout(resolve, 60));
    if (mine !== asked) return;
    const before = base ?? Math.max(0, at - 1);
    const quietly = (question, parameters) => ask(question, parameters).catch((error) => ({ error: error.message }));
    const [now, difference, { events: [event] = [] }] = await Promise.all([
      quietly('state', { actor: id, at }),
      before === at ? { changes: [] } : quietly('diff', { actor: id, from: before, to: at }),
      quietly('events', { actor: id, from: at, limit: 1 }),
    ]);
    if (mine !== asked) return;
    if (event) fill(what, h('time', {}, time(event.timestamp)), ' ', chip(event), ' ', visible(functionOf(event)), ' ', visible(summary(event)));
    showText(state, now.error ?? shown(now));
    say(size, now.error || now.size === null ? '' : bytes(now.size));
    fill(changes, difference.error ? h('p', { class: 'bad' }, difference.error) : table(difference, before));
  }

  function table({ changes: found, left_out: leftOut, note }, before) {
    if (note) return h('p', {}, note);
    if (found.length === 0) return h('p', { class: 'quiet' }, `The state is that after event ${before}.`);
    return [h('table', {}, h('thead', {}, h('tr', {}, h('th', {}, 'Where'), h('th', {}, `After event ${before}`), h('th', {}, `After event ${at}`))),
      h('tbody', {}, found.map(({ pointer, before: was, after: is }) => h('tr', {}, h('td', {}, visible(pointer || '(all)')),
        h('td', { class: 'was' }, was === undefined || was === null ? '' : visible(JSON.stringify(was))),
        h('td', { class: 'is' }, is === undefined || is === null ? '' : visible(JSON.stringify(is))))))),
      leftOut ? h('p', { class: 'quiet' }, `and ${leftOut} more`) : null];
  }

  const stop = onUpdate((update) => {
    if (!update.offline) slider.max = last();
  });
  show();
  return {
    element: h('section', {},
      h('div', { class: 'tools travel' }, h('button', { type: 'button', 'aria-label': 'The event before', onclick: () => go(at - 1) }, '◂'), slider,
        h('button', { type: 'button', 'aria-label': 'The event after', onclick: () => go(at + 1) }, '▸'), number,
        h('label', {}, 'compared with ', from),
        mayControl() && h('button', { type: 'button', onclick: () => forkFrom(id, at) }, 'Fork from here…')),
      what, h('div', { class: 'columns' }, h('div', {}, h('h3', {}, 'State ', size), state), h('div', {}, h('h3', {}, 'Changed'), changes))),
    stop,
  };
}

/** The text of a state as the console answers it: JSON on several lines, anything else as it is. */
export function shown({ text, size, is_cut: isCut }) {
  if (size === null) return '(no state)';
  if (isCut) return `${visible(text)}\n\n… the beginning of ${bytes(size)}: \`theater state\` prints all of it`;
  try {
    return visible(pretty(fromJson(text)));
  } catch {
    return visible(text);
  }
}
