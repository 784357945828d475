// The journal and the process: charts of the last 15 minutes, and whose history grows.
import { facts, fill, h, svg } from './dom.js';
import { bytes, count, micros, rate, visible } from './format.js';
import { known, onUpdate, shownName } from './live.js';

const SPAN_MS = 15 * 60 * 1000;
const [WIDTH, HEIGHT] = [480, 90];

const CHARTS = [
  ['Calls a second', (point) => point.calls, rate],
  ['Refused a second', (point) => point.refusals, rate],
  ['Events a second', (point) => point.events, rate],
  ['Commits a second', (point) => point.commits, rate],
  ['Slowest commits (p99)', (point) => point.commit_p99_us, micros],
  ['Log on disk', (point) => point.log_bytes, bytes],
  ['Messages waiting', (point) => point.waiting, count],
  ['Memory of the process', (point) => point.resident_bytes, bytes],
];

export function journalView() {
  const about = h('div', {});
  const charts = h('div', { class: 'charts' });
  const growth = h('tbody', {});
  const first = new Map([...known.rows.values()].map((row) => [row.id, row.events]));
  const begun = Date.now();

  function draw() {
    const { journal, process, version, data_dir: dir, server } = known.summary ?? {};
    fill(about, facts([
      ['server', visible(server ?? '')], ['version', version], ['data directory', visible(dir ?? '')],
      ['events written', journal && count(journal.events)], ['log', journal && bytes(journal.log_bytes)],
      ['free on the disk', journal && `${bytes(journal.free_bytes)}${journal.refuses_work ? ': too little, new work is refused' : ''}`],
      ['threads', process && count(process.threads)], ['open files', process && count(process.open_files)],
    ]));
    fill(charts, CHARTS.map(([title, value, shown]) => chart(title, known.samples.map((point) => [point.at, value(point)]), shown)));
    const minutes = Math.max(1, Date.now() - begun) / 60000;
    const grown = [...known.rows.values()].map((row) => {
      if (!first.has(row.id)) first.set(row.id, row.events);
      return [row, row.events - first.get(row.id)];
    });
    grown.sort(([one, more], [other, less]) => less - more || other.events - one.events);
    fill(growth, grown.slice(0, 20).map(([row, more]) => h('tr', {}, h('td', {}, h('a', { href: `#/actor/${row.id}` }, visible(shownName(row)))), h('td', {}, count(row.events)), h('td', {}, rate(more / minutes)))));
  }

  const stop = onUpdate((update) => !update.offline && draw());
  draw();
  return {
    element: h('article', {}, h('h1', {}, 'Journal'), about, charts, h('h2', {}, 'Growth by actor'),
      h('table', {}, h('thead', {}, h('tr', {}, h('th', {}, 'Actor'), h('th', {}, 'Events'), h('th', {}, 'New events a minute, since this page is open'))), growth)),
    stop,
  };
}

function chart(title, points, shown) {
  const top = Math.max(...points.map(([, value]) => value), 0);
  const end = points.length > 0 ? points.at(-1)[0] : Date.now();
  const x = (at) => (WIDTH * (at - end + SPAN_MS)) / SPAN_MS;
  const y = (value) => HEIGHT - 2 - (top === 0 ? 0 : (value / top) * (HEIGHT - 6));
  const path = points.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(' ');
  const now = points.length > 0 ? shown(points.at(-1)[1]) : 'no measurement yet';
  return h('figure', {}, h('figcaption', {}, title, ' ', h('b', {}, now), h('span', { class: 'quiet' }, ` at most ${shown(top)}`)),
    svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': `${title}: ${now}, at most ${shown(top)}` }, svg('polyline', { points: path })));
}
