// The history of an actor: its chain, the newest events first, back to the first one.
import { ask } from './api.js';
import { fill, h, say, showText } from './dom.js';
import { KINDS, chip, closings, functionOf, severity, summary } from './events.js';
import { pretty, time, visible } from './format.js';
import { known, mayControl, onUpdate } from './live.js';
import { forkFrom } from './actions.js';

const PAGE = 200;

/** The times that a person asks for. */
const SPANS = [['', 'Any time'], ['between', 'From … to …'], [10 * 60e3, 'Last 10 minutes'], [3600e3, 'Last hour'], [24 * 3600e3, 'Last 24 hours'], [7 * 24 * 3600e3, 'Last 7 days']];

export function historyOf(id, chosen) {
  const events = new Map();
  let oldest = null;
  let next = null;
  let turn = 0;
  let waiting = 0;
  let working = Promise.resolve();
  let isBroken = false;
  let isAtBeginning = false;
  const lines = new Map();
  const list = h('ol', { class: 'events', reversed: true });
  const note = h('p', { class: 'quiet', role: 'status' });
  const older = h('button', { type: 'button', onclick: () => more() }, 'Older events');
  const first = h('button', { type: 'button', onclick: () => toFirst() }, 'To the first event');
  const later = h('button', { type: 'button', onclick: () => toLater() }, 'Later events');
  const newest = h('button', { type: 'button', onclick: () => begin() }, 'To the newest events');
  const text = h('input', { type: 'search', placeholder: 'Text in an event', 'aria-label': 'Text', onchange: () => begin() });
  const kinds = h('select', { 'aria-label': 'Kind', onchange: () => begin() }, h('option', { value: '' }, 'All kinds'), KINDS.map((kind) => h('option', {}, kind)));
  const span = h('select', { 'aria-label': 'Time', onchange: () => toSpan() }, SPANS.map(([value, name]) => h('option', { value }, name)));
  const earliest = h('input', { type: 'datetime-local', step: 1, 'aria-label': 'From', onchange: () => begin() });
  const latest = h('input', { type: 'datetime-local', step: 1, 'aria-label': 'To', onchange: () => begin() });
  const between = h('div', { class: 'tools', hidden: true }, h('label', {}, 'from ', earliest), h('label', {}, ' to ', latest));
  const isFiltered = () => text.value || kinds.value || span.value;
  const length = () => known.rows.get(id)?.events ?? 0;

  /** One question after the other. What belongs to an earlier beginning is given up: `isCurrent` says so. */
  function guarded(work) {
    const mine = turn;
    const isCurrent = () => mine === turn;
    waiting += 1;
    working = working.then(async () => {
      try {
        if (isCurrent()) await work(isCurrent);
        if (isCurrent()) isBroken = false;
      } catch (error) {
        if (isCurrent()) {
          isBroken = true;
          say(note, error.message);
        }
      }
      waiting -= 1;
    });
    return working;
  }

  function begin() {
    turn += 1;
    events.clear();
    isAtBeginning = false;
    oldest = null;
    next = length();
    lines.clear();
    fill(list);
    for (const button of [older, first, later, newest]) button.hidden = true;
    return more();
  }

  async function page(isCurrent) {
    const from = Math.max(0, (oldest ?? length()) - PAGE);
    const { events: found } = await ask('events', { actor: id, from, limit: oldest === null ? PAGE : oldest - from || 1 });
    if (!isCurrent()) return;
    say(note, '');
    for (const event of found) events.set(event.sequence, event);
    oldest = from;
  }

  async function search(isCurrent) {
    const [since, until] = times();
    // One step looks at a few thousand events. A rare one may need several.
    for (let step = 0; step < 20 && next !== null; step += 1) {
      say(note, `searching before event ${next}…`);
      const found = await ask('search', { actor: id, before: next, kind: kinds.value, text: text.value, since, until });
      if (!isCurrent()) return;
      for (const event of found.events) events.set(event.sequence, event);
      next = found.next;
      say(note, next === null ? 'searched back to the first event' : `searched back to event ${next}`);
      if (found.events.length > 0) break;
    }
  }

  /** Between which times events are wanted, in the time zone of the browser; a second that is named counts in full. */
  function times() {
    if (span.value !== 'between') return [span.value ? Date.now() - Number(span.value) : '', ''];
    const moment = (input, more) => (input.value ? new Date(input.value).getTime() + more : '');
    return [moment(earliest, 0), moment(latest, 999)];
  }

  function toSpan() {
    between.hidden = span.value !== 'between';
    return begin();
  }

  function more() {
    return guarded(async (isCurrent) => {
      await (isFiltered() ? search(isCurrent) : page(isCurrent));
      if (isCurrent()) draw();
    });
  }

  /** Shows the beginning of the chain. */
  function toFirst() {
    turn += 1;
    return guarded(async () => {
      const { events: found } = await ask('events', { actor: id, from: 0, limit: PAGE });
      events.clear();
      for (const event of found) events.set(event.sequence, event);
      oldest = 0;
      isAtBeginning = true;
      draw();
    });
  }

  /** From the beginning on, the next page. */
  function toLater() {
    return guarded(async (isCurrent) => {
      const { events: found } = await ask('events', { actor: id, from: Math.max(-1, ...events.keys()) + 1, limit: PAGE });
      if (!isCurrent()) return;
      for (const event of found) events.set(event.sequence, event);
      draw();
    });
  }

  /** Reads what has come since. */
  function follow() {
    if (waiting > 0) return working;
    if (isBroken) return begin();
    return guarded(async () => {
      const newest = Math.max(-1, ...events.keys());
      if (isFiltered() || isAtBeginning || length() <= newest + 1) return;
      const from = Math.max(newest + 1, length() - PAGE);
      const { events: found } = await ask('events', { actor: id, from, limit: PAGE });
      if (from > newest + 1) {
        events.clear();
        oldest = from;
      }
      for (const event of found) events.set(event.sequence, event);
      if (found.length > 0) draw();
    });
  }

  function draw() {
    const inOrder = [...events.values()].sort((a, b) => a.sequence - b.sequence);
    const ends = closings(inOrder);
    const elements = inOrder.reverse().map((event) => {
      const closing = event.closing ?? ends.get(event.sequence);
      const before = lines.get(event.sequence);
      if (before && before.closing === closing) return before.element;
      const element = line(id, event, closing, event.sequence === chosen);
      lines.set(event.sequence, { element, closing });
      return element;
    });
    fill(list, elements);
    const atBeginning = isFiltered() ? next === null : oldest === 0;
    older.hidden = atBeginning;
    first.hidden = atBeginning || isFiltered();
    later.hidden = !isAtBeginning;
    newest.hidden = !isAtBeginning;
    if (atBeginning && events.size === 0) say(note, 'No event fits.');
  }

  const stop = onUpdate((update) => !update.offline && update.changed.has(id) && follow());
  if (chosen !== undefined) {
    events.clear();
    guarded(async () => {
      const from = Math.max(0, chosen - 20);
      const { events: found } = await ask('events', { actor: id, from, limit: 60 });
      for (const event of found) events.set(event.sequence, event);
      oldest = from;
      draw();
      list.querySelector('details[open]')?.scrollIntoView({ block: 'center' });
    });
  } else begin();
  return { element: h('section', {}, h('div', { class: 'tools' }, text, kinds, span), between, h('div', { class: 'tools' }, later, newest), note, list, older, first), stop };
}

/** An event on a line, which opens. */
function line(id, event, closing, isOpen) {
  const body = h('div', { class: 'decoded' });
  const show = async () => {
    if (body.childElementCount > 0) return;
    try {
      fill(body, decoded(id, await ask('event', { actor: id, sequence: event.sequence })));
    } catch (error) {
      fill(body, h('p', { class: 'bad' }, error.message));
    }
  };
  const details = h('details', { open: isOpen, ontoggle: (toggled) => toggled.target.open && show() },
    h('summary', {}, h('span', { class: 'sequence' }, event.sequence), h('time', {}, time(event.timestamp)), chip(event),
      h('span', { class: 'function' }, visible(functionOf(event))), h('span', { class: 'what' }, visible(summary(event, closing)))), body);
  if (isOpen) show();
  return h('li', { 'data-sequence': event.sequence, class: severity(event, closing) }, details);
}

function decoded(id, event) {
  const text = h('pre', {});
  const data = event.dropped === undefined ? pretty(event.data) : `(dropped: ${event.dropped} bytes)`;
  showText(text, visible(data));
  return [
    h('p', { class: 'actions' },
      h('a', { href: `#/trace/${id}/${event.sequence}` }, 'Trace'),
      event.sequence > 0 && h('a', { href: `#/actor/${id}/travel/${event.sequence - 1}` }, 'State before'),
      h('a', { href: `#/actor/${id}/travel/${event.sequence}` }, 'State here'),
      mayControl() && h('button', { type: 'button', onclick: () => forkFrom(id, event.sequence) }, 'Fork from here…')),
    text,
    h('p', { class: 'hash' }, `hash ${event.hash}`, h('br'), event.parent_hash ? `after ${event.parent_hash}` : 'the first event'),
  ];
}
