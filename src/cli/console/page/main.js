// The page: which view is shown, and the head above it.
import { actorView } from './actor.js';
import { key } from './api.js';
import { fill, h, say } from './dom.js';
import { count, rate, visible } from './format.js';
import { journalView } from './journal.js';
import { begin, known, onUpdate } from './live.js';
import { messagesView } from './messages.js';
import { traceView } from './trace.js';
import { Tree } from './tree.js';

const view = document.getElementById('view');
const connection = document.getElementById('connection');
const problem = document.getElementById('problem');
let shown = null;
let newest = Date.now();

const tree = new Tree(document.getElementById('tree'), (id) => {
  location.hash = `#/actor/${id}`;
});

/** A part of the address; as it is, if it is not well written. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** `#/actor/ID/history/7`: the view, and what it is about. */
function route() {
  const [name = '', id, ...rest] = location.hash.replace(/^#\/?/, '').split('/').map(decoded);
  const number = (text) => (/^\d+$/.test(text ?? '') ? Number(text) : undefined);
  shown?.stop();
  shown = null;
  for (const box of document.querySelectorAll('dialog[open]')) box.close();
  if (name === 'actor' && id) shown = actorView(id, rest[0], number(rest[1]));
  else if (name === 'trace' && id) shown = traceView(id, number(rest[0]) ?? 0);
  else if (name === 'messages') shown = messagesView();
  else if (name === 'journal') shown = journalView();
  else if (name) shown = { element: h('p', {}, 'There is nothing at this address.'), stop: () => {} };
  fill(view, shown?.element);
  document.body.classList.toggle('detail', shown !== null);
  for (const link of document.querySelectorAll('header nav a')) {
    const isHere = link.dataset.view === (['messages', 'journal'].includes(name) ? name : 'actors');
    if (isHere) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (name === 'actor' || name === 'trace') tree.choose(id, false);
  else tree.draw();
  if (shown) view.focus({ preventScroll: true });
  scrollTo(0, 0);
}

function head(update) {
  const { error, total, sample } = known.summary ?? {};
  const why = update.offline ?? error;
  newest = Date.now();
  say(connection, why ? 'reconnecting' : 'live');
  connection.className = why ? 'off' : 'on';
  problem.hidden = !why;
  say(problem, why ? visible(why) : '');
  if (total) say(document.getElementById('summary'), `${count(total.alive)} of ${count(total.actors)} alive · ${rate(sample?.calls ?? 0)} calls/s · ${rate(sample?.events ?? 0)} events/s`);
}

addEventListener('hashchange', () => {
  if (/key=/.test(location.hash)) key();
  route();
});
addEventListener('keydown', (event) => {
  if (event.key === '/' && !/^(input|textarea|select)$/i.test(document.activeElement.tagName)) {
    tree.search.focus();
    event.preventDefault();
  }
});
// What is shown as live is not old: an update comes every few seconds.
setInterval(() => {
  const seconds = Math.round((Date.now() - newest) / 1000);
  if (seconds < 8 || connection.textContent === 'reconnecting') return;
  say(connection, `no news for ${seconds} s`);
  connection.className = 'off';
}, 1000);
onUpdate(head);
key();
begin();
route();
