// One actor: what it is, how it does, why it failed, and its state now.
import { actionsOf } from './actions.js';
import { ask } from './api.js';
import { facts, fill, h, say, showText } from './dom.js';
import { age, bytes, count, micros, rate, time, visible } from './format.js';
import { historyOf } from './history.js';
import { known, mayControl, onUpdate, shownName, shownStatus } from './live.js';
import { shown, travelOf } from './travel.js';

const TABS = [['overview', 'Overview'], ['history', 'History'], ['travel', 'Time travel']];

export function actorView(id, tab = 'overview', event) {
  const title = h('h1', {}, '…');
  const status = h('p', { class: 'status' });
  const tabs = h('nav', { class: 'tabs', 'aria-label': 'About this actor' },
    TABS.map(([name, label]) => h('a', { href: `#/actor/${id}/${name}`, 'aria-current': tab === name ? 'page' : null }, label)));
  const body = h('div', {});
  let inner = null;

  function head() {
    const row = known.rows.get(id);
    if (!row) {
      say(title, visible(id));
      if (!known.summary) return;
      say(status, 'No actor with this id is listed: it may have been forgotten, or the runtime has another data directory now.');
      inner?.stop();
      inner = null;
      fill(body);
      return;
    }
    say(title, visible(shownName(row)));
    fill(status, h('i', { class: `dot ${shownStatus(row)}` }), ` ${shownStatus(row)}`, row.failure ? h('span', { class: 'bad' }, ` ${visible(row.failure)}`) : null);
    if (!inner) {
      inner = tab === 'history' ? historyOf(id, event) : tab === 'travel' ? travelOf(id, event) : overview(id);
      fill(body, inner.element);
    }
  }

  const stop = onUpdate((update) => !update.offline && (update.changed.has(id) || !inner || !known.rows.has(id)) && head());
  head();
  return {
    element: h('article', { class: 'actor' }, title, status, tabs, body),
    stop: () => {
      stop();
      inner?.stop();
    },
  };
}

function overview(id) {
  const numbers = h('div', {});
  const state = h('pre', { id: 'state' });
  const size = h('span', { class: 'quiet' });
  const failures = h('div', {});
  const described = h('div', {});
  const children = h('ul', { class: 'children' });
  let seen = { state: -1, failures: -1, status: '' };
  let actions = null;
  const place = h('div', {});

  async function read() {
    const row = known.rows.get(id);
    if (!row) return;
    const used = row.restarts && `${row.restarts.used} of ${row.restarts.allowed} within ${row.restarts.within_ms / 1000} s`;
    fill(numbers, facts([
      ['id', row.id],
      ['path', visible(row.path ?? '')],
      ['manifest', visible(row.manifest)],
      ['addresses', row.urls?.length > 0 && row.urls.map((url) => h('code', {}, visible(url), ' '))],
      ['incarnation', `${row.incarnation}, ${age(row.since_ms)} old`],
      ['restarts used', used],
      ['given up', row.given_up && visible(row.given_up)],
      ['mailbox', count(row.mailbox_depth)],
      ['calls', [count(row.calls), row.calls_per_second !== null && `${rate(row.calls_per_second)} a second`, row.p99_us !== null && `p99 ${micros(row.p99_us)}`].filter(Boolean).join(', ')],
      ['refused', [count(row.refusals), row.refusals_per_second !== null && `${rate(row.refusals_per_second)} a second`].filter(Boolean).join(', ')],
      ['failures', `${count(row.failures)} since the runtime was started`],
      ['memory', bytes(row.memory_bytes)],
      ['events', count(row.events)],
      ['parent', row.parent && h('a', { href: `#/actor/${row.parent}` }, visible(known.rows.get(row.parent) ? shownName(known.rows.get(row.parent)) : row.parent))],
    ]));
    const below = [...known.rows.values()].filter((other) => other.parent === id);
    fill(children, below.slice(0, 50).map((child) => h('li', {}, h('a', { href: `#/actor/${child.id}` }, h('i', { class: `dot ${shownStatus(child)}` }), ` ${visible(child.label ?? child.name)}`))),
      below.length === 0 ? h('li', { class: 'quiet' }, 'none') : null,
      below.length > 50 ? h('li', { class: 'quiet' }, `and ${below.length - 50} more`) : null);
    if (mayControl() && seen.status !== row.status) fill(place, (actions = actionsOf(id)));
    const before = seen;
    seen = { state: row.events, failures: row.failures, status: row.status };
    if (before.state !== row.events) await newest();
    if (before.failures !== row.failures || before.status !== row.status) await failed(row);
    if (before.state === -1) await describe();
  }

  async function newest() {
    try {
      const now = await ask('state', { actor: id });
      showText(state, shown(now));
      say(size, now.size === null ? '' : bytes(now.size));
    } catch (error) {
      say(state, error.message);
    }
  }

  async function failed(row) {
    try {
      const { events } = await ask('search', { actor: id, before: row.events, kind: 'failed' });
      fill(failures, events.length === 0 ? h('p', { class: 'quiet' }, 'none in the newest events') : events.slice(0, 5).map((event) => h('div', { class: 'failure' },
        h('pre', { class: 'bad' }, visible(event.data?.detail ?? '(its data was dropped)')),
        h('p', {}, `${event.data?.reason ?? ''}, `, h('time', {}, time(event.timestamp)), ', ', h('a', { href: `#/trace/${id}/${event.sequence}` }, `what led to event ${event.sequence}`)))));
    } catch (error) {
      fill(failures, h('p', { class: 'bad' }, error.message));
    }
  }

  async function describe() {
    try {
      const about = await ask('describe', { actor: id });
      const limits = Object.entries(about.limits).map(([name, [value, usual]]) => h('div', {}, `${name} = ${count(value)} (usually ${count(usual)})`));
      const { restart } = about.restart;
      fill(described, facts([
        ['component', h('code', {}, about.component)],
        ['head', about.head && h('code', {}, about.head)],
        ['handlers', about.handlers.map(({ type, config }) => h('div', {}, visible(config === undefined ? type : `${type} ${JSON.stringify(config)}`)))],
        ['limits', limits.length > 0 ? limits : 'all as usual'],
        ['restart', restart === 'temporary' ? 'temporary: never by itself' : `${restart}, with its ${about.restart.restart_state} state, after ${about.restart.restart_backoff_ms} ms`],
        ['owed', about.owed_count > 0 && about.owed.map(({ what, actor, sequence }) => h('div', {}, h('a', { href: `#/trace/${actor}/${sequence}` }, visible(`${what} of event ${sequence}`))))],
      ]), h('pre', {}, visible(about.manifest_text)));
    } catch (error) {
      fill(described, h('p', { class: 'bad' }, error.message));
    }
  }

  const stop = onUpdate((update) => !update.offline && update.changed.has(id) && read());
  read();
  return {
    element: h('section', {}, place, h('div', { class: 'columns' },
      h('div', {}, h('h3', {}, 'Now'), numbers, h('h3', {}, 'Children'), children, h('h3', {}, 'Failures'), failures),
      h('div', {}, h('h3', {}, 'State ', size), state, h('details', {}, h('summary', {}, 'Manifest, limits, component'), described)))),
    stop,
  };
}
