// What a person may do to several actors at once: each action asks once, and shows whom it concerns.
import { command } from './api.js';
import { dialog, whole } from './actions.js';
import { fill, h } from './dom.js';
import { bytes, count, visible } from './format.js';
import { isAlive, known, mayControl, shownName, shownStatus } from './live.js';

/** Name, command, what it means, whom of the chosen it concerns, and whether it does the same to those below. */
const ACTIONS = [
  ['Stop', 'StopActor', 'These actors end, and everything below them. Messages that wait become dead letters.', isAlive, true],
  ['Restart', 'RestartActor', 'Each begins a new incarnation.', () => true, false],
  ['Pause', 'PauseActor', 'Each finishes its call, and takes nothing more: what comes for it waits until it is resumed. The actors below go on.', (row) => isAlive(row) && !row.paused, false],
  ['Resume', 'ResumeActor', 'Each goes on with what has waited.', (row) => row.paused, false],
  ['Forget', 'ForgetActor', 'These actors go off the lists, and everything below them. Their histories stay in the journal.', (row) => !isAlive(row), true],
];

/** The buttons for the actors with these ids; `clear` chooses none of them any more. */
export function actionsOnAll(ids, clear) {
  const rows = [...ids].map((id) => known.rows.get(id)).filter(Boolean);
  if (rows.length === 0) return [];
  const button = (label, act) => h('button', { type: 'button', onclick: act }, label);
  const offered = ACTIONS.map(([label, kind, explanation, concerns, withBelow]) => {
    const concerned = withBelow ? uppermost(rows.filter(concerns)) : rows.filter(concerns);
    return concerned.length > 0 && button(`${label}…`, () => askOnce(label, explanation, concerned, (row) => command(kind, { id: row.id })));
  });
  return [h('span', {}, `${count(rows.length)} chosen`), mayControl() && [offered, button('Prune…', () => prune(rows))], button('Choose none', clear)];
}

/** Those of which none above them is among them. */
function uppermost(rows) {
  const ids = new Set(rows.map((row) => row.id));
  const isBelow = (row) => {
    for (let above = row.parent; above; above = known.rows.get(above)?.parent) if (ids.has(above)) return true;
    return false;
  };
  return rows.filter((row) => !isBelow(row));
}

function list(rows, detail = shownStatus) {
  return h('ul', { class: 'chosen' }, rows.map((row) => h('li', {}, visible(shownName(row)), ' ', h('span', { class: 'quiet' }, visible(detail(row))))));
}

/** Does something to each, one after the other, and says what became of them all. */
async function each(rows, act) {
  const refused = [];
  for (const row of rows) {
    try {
      await act(row);
    } catch (error) {
      refused.push(`${visible(shownName(row))}: ${error.message}`);
    }
  }
  const done = `Done for ${count(rows.length - refused.length)} of ${count(rows.length)}.`;
  if (refused.length > 0) throw new Error([done, ...refused].join('\n'));
  return done;
}

function askOnce(label, explanation, rows, act) {
  const box = dialog(`${label} ${count(rows.length)} actors`, explanation, [], label, () => each(rows, act));
  box.querySelector('p').after(list(rows));
}

function prune(rows) {
  let tried = null;
  const box = dialog(`Prune ${count(rows.length)} actors`, 'The data of old events is dropped for good. Their hashes stay, so that the histories still verify.', [
    ['before', 'Drop the data of each before its event', { value: '0', type: 'number', min: 0 }],
  ], 'Show what would go', async ({ before }) => {
    const sequence = whole(before, 'event');
    if (tried === sequence) return each(rows, (row) => command('PruneActor', { id: row.id, before: sequence }));
    const costs = new Map();
    for (const row of rows) costs.set(row.id, (await command('ForeseePrune', { id: row.id, before: sequence })).WouldForget);
    const sum = (key) => [...costs.values()].reduce((so, cost) => so + cost[key], 0);
    box.querySelector('.chosen').replaceWith(list(rows, (row) => `${count(costs.get(row.id).events)} events, ${bytes(costs.get(row.id).bytes)}`));
    tried = sequence;
    const go = box.querySelector('.go');
    fill(go, 'Drop the data');
    box.querySelector('[name=before]').oninput = () => {
      tried = null;
      fill(go, 'Show what would go');
    };
    return `The data of ${count(sum('events'))} events, ${bytes(sum('bytes'))}, would go.`;
  });
  box.querySelector('p').after(list(rows));
}
