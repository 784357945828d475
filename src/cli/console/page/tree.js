// The tree of actors. Only the lines that can be seen are elements, so that thousands of actors cost no more than a few.
import { fill, h, say } from './dom.js';
import { age, bytes, count, micros, rate, visible } from './format.js';
import { isAlive, known, onUpdate, shownName, shownStatus } from './live.js';
import { actionsOnAll } from './selection.js';

const LINE = 30;
const MORE = 6;

const COLUMNS = [
  ['status', 'Status', (row) => shownStatus(row)],
  ['incarnation', 'Inc.', (row) => count(row.incarnation)],
  ['restarts', 'Restarts', (row) => (row.restarts ? `${row.restarts.used} of ${row.restarts.allowed}` : count(row.incarnation - 1))],
  ['mailbox', 'Mailbox', (row) => count(row.mailbox_depth)],
  ['calls', 'Calls/s', (row) => rate(row.calls_per_second)],
  ['refused', 'Refused/s', (row) => rate(row.refusals_per_second)],
  ['p99', 'p99', (row) => micros(row.p99_us)],
  ['memory', 'Memory', (row) => bytes(row.memory_bytes)],
  ['events', 'Events', (row) => count(row.events)],
  ['age', 'Age', (row) => age(row.since_ms)],
];

export class Tree {
  constructor(element, open) {
    this.open = open;
    this.closed = new Set();
    this.lines = [];
    this.elements = [];
    this.selected = null;
    /** The actors that are chosen together, by their ids. */
    this.chosen = new Set();
    this.chosenBar = h('div', { class: 'tools', hidden: true, role: 'toolbar', 'aria-label': 'Chosen actors' });
    this.search = h('input', { type: 'search', placeholder: 'Name, id, failure', 'aria-label': 'Search actors', oninput: () => this.rebuild(), onkeydown: (event) => this.leaveSearch(event) });
    this.which = h('select', { 'aria-label': 'Which actors', onchange: () => this.rebuild() },
      [['all', 'All'], ['alive', 'Alive'], ['busy', 'Busy'], ['paused', 'Paused'], ['failed', 'Failed'], ['ended', 'Ended']].map(([value, name]) => h('option', { value }, name)));
    this.total = h('span', { class: 'quiet' });
    this.space = h('div', { class: 'space' });
    this.scroller = h('div', { class: 'lines', role: 'tree', tabindex: '0', 'aria-label': 'Actors', 'aria-multiselectable': 'true', title: 'Ctrl-click, Shift-click or the space bar choose several', onscroll: () => this.draw(), onkeydown: (event) => this.press(event) }, this.space);
    const head = h('div', { class: 'line head', 'aria-hidden': 'true' }, h('span', { class: 'name' }, 'Actor'), COLUMNS.map(([name, title]) => h('span', { class: `column c-${name}` }, title)));
    fill(element, h('div', { class: 'tools' }, this.search, this.which, this.total), this.chosenBar, head, this.scroller);
    onUpdate((update) => this.update(update));
    new ResizeObserver(() => this.draw()).observe(this.scroller);
  }

  update(update) {
    if (update.offline) return;
    if (this.chosen.size > 0) this.showChosen();
    if (update.isOther || this.search.value || this.which.value !== 'all') this.rebuild();
    else this.draw();
  }

  /** The lines anew: every actor that is shown, below its parent. */
  rebuild() {
    const wanted = this.search.value.trim().toLowerCase();
    const which = this.which.value;
    const fits = (row) => {
      const isOfKind = {
        all: true, alive: isAlive(row), busy: (row.calls_per_second ?? 0) > 0 || row.mailbox_depth > 0,
        paused: row.paused === true, failed: row.status === 'failed' || row.failures > 0, ended: !isAlive(row),
      }[which];
      return isOfKind && (!wanted || [row.name, row.label, row.path, row.id, row.failure].some((text) => text?.toLowerCase().includes(wanted)));
    };
    const isFiltered = wanted || which !== 'all';
    const children = new Map();
    for (const row of known.rows.values()) {
      const parent = known.rows.has(row.parent) ? row.parent : null;
      if (!children.has(parent)) children.set(parent, []);
      children.get(parent).push(row);
    }
    this.lines = [];
    let fitting = 0;
    const add = (row, depth) => {
      const below = children.get(row.id) ?? [];
      const isFitting = fits(row);
      if (isFitting) fitting += 1;
      if (isFiltered ? isFitting : true) this.lines.push({ id: row.id, depth: isFiltered ? 0 : depth, below: below.length });
      return isFiltered || !this.closed.has(row.id) ? below.map((child) => [child, depth + 1]).reverse() : [];
    };
    // A chain of actors may be deep: this needs no stack of calls.
    const waiting = (children.get(null) ?? []).map((row) => [row, 0]).reverse();
    while (waiting.length > 0) waiting.push(...add(...waiting.pop()));
    say(this.total, isFiltered ? `${count(fitting)} of ${count(known.rows.size)}` : count(known.rows.size));
    this.draw();
  }

  /** Shows the lines that can be seen now. */
  draw() {
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / LINE) - MORE);
    const seen = Math.min(this.lines.length, first + Math.ceil(this.scroller.clientHeight / LINE) + 2 * MORE);
    this.space.style.height = `${this.lines.length * LINE}px`;
    while (this.elements.length < seen - first) {
      const element = this.newLine();
      this.elements.push(element);
      this.space.append(element.line);
    }
    this.elements.forEach((element, at) => this.show(element, first + at < seen ? first + at : null));
  }

  newLine() {
    const name = h('span', { class: 'text' });
    const toggle = h('span', { class: 'toggle', 'aria-hidden': 'true' });
    const cells = COLUMNS.map(([column]) => h('span', { class: `column c-${column}` }));
    const dot = h('i', { class: 'dot', 'aria-hidden': 'true' });
    const line = h('div', { class: 'line', role: 'treeitem' }, h('span', { class: 'name' }, toggle, dot, name), cells);
    const element = { line, name, toggle, cells, dot, id: null };
    line.addEventListener('click', (event) => {
      if (event.target === toggle) this.fold(element.id);
      else if (event.ctrlKey || event.metaKey) this.mark([element.id]);
      else if (event.shiftKey) this.markTo(element.id);
      else this.choose(element.id, true);
    });
    return element;
  }

  show(element, at) {
    element.line.hidden = at === null;
    if (at === null) return;
    const { id, depth, below } = this.lines[at];
    const row = known.rows.get(id);
    if (!row) return;
    element.id = id;
    element.line.id = `line-${id}`;
    element.line.dataset.name = row.name;
    element.line.style.top = `${at * LINE}px`;
    element.line.style.setProperty('--depth', depth);
    element.line.setAttribute('aria-level', depth + 1);
    element.line.setAttribute('aria-selected', id === this.selected || this.chosen.has(id));
    element.line.classList.toggle('chosen', this.chosen.has(id));
    if (below) element.line.setAttribute('aria-expanded', !this.closed.has(id));
    else element.line.removeAttribute('aria-expanded');
    element.line.classList.toggle('selected', id === this.selected);
    element.dot.className = `dot ${shownStatus(row)}`;
    say(element.toggle, below ? (this.closed.has(id) ? '▸' : '▾') : '');
    const whole = visible(depth > 0 && row.label ? `${row.label} (${row.name})` : shownName(row));
    say(element.name, below && this.closed.has(id) ? `${whole}  +${below}` : whole);
    element.line.title = row.failure ? visible(row.failure) : '';
    COLUMNS.forEach(([, , text], column) => say(element.cells[column], text(row)));
  }

  /** Chooses each of these, or no longer if it was chosen. */
  mark(ids) {
    for (const id of ids) if (!this.chosen.delete(id)) this.chosen.add(id);
    this.showChosen();
    this.draw();
  }

  /** Chooses all lines from the one that is open to this one. */
  markTo(id) {
    const [from, to] = [this.selected, id].map((wanted) => this.lines.findIndex((line) => line.id === wanted));
    const between = this.lines.slice(Math.min(Math.max(from, 0), to), Math.max(from, to) + 1).map((line) => line.id);
    this.mark(between.filter((each) => !this.chosen.has(each)));
  }

  /** What can be done to those that are chosen. */
  showChosen() {
    for (const id of this.chosen) if (!known.rows.has(id)) this.chosen.delete(id);
    // Buttons that stay as they are keep the focus.
    const state = JSON.stringify([...this.chosen].map((id) => [id, known.rows.get(id).status, known.rows.get(id).paused]));
    if (state === this.chosenState) return;
    this.chosenState = state;
    const actions = actionsOnAll(this.chosen, () => {
      this.chosen.clear();
      this.showChosen();
      this.draw();
    });
    this.chosenBar.hidden = actions.length === 0;
    fill(this.chosenBar, actions);
  }

  fold(id) {
    if (!this.closed.delete(id)) this.closed.add(id);
    this.rebuild();
  }

  choose(id, isOpened) {
    this.selected = id;
    this.scroller.setAttribute('aria-activedescendant', `line-${id}`);
    const at = this.lines.findIndex((line) => line.id === id);
    const top = at * LINE;
    if (at >= 0 && top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    if (at >= 0 && top + LINE > this.scroller.scrollTop + this.scroller.clientHeight) this.scroller.scrollTop = top + LINE - this.scroller.clientHeight;
    this.draw();
    if (isOpened) this.open(id);
  }

  /** From the search, Enter opens the first actor found, the arrow goes into the tree, Escape ends the search. */
  leaveSearch(event) {
    if (event.key === 'Enter' && this.lines.length > 0) this.choose(this.lines[0].id, true);
    else if (event.key === 'ArrowDown' && this.lines.length > 0) this.choose(this.lines[0].id, false);
    else if (event.key === 'Escape') this.search.value = '';
    else return;
    if (event.key === 'Escape') this.rebuild();
    this.scroller.focus();
    event.preventDefault();
  }

  press(event) {
    const at = this.lines.findIndex((line) => line.id === this.selected);
    const moves = { ArrowDown: at + 1, ArrowUp: Math.max(0, at - 1), Home: 0, End: this.lines.length - 1, PageDown: at + 15, PageUp: Math.max(0, at - 15) };
    const line = this.lines[at];
    if (event.key in moves && this.lines.length > 0) this.choose(this.lines[Math.min(moves[event.key], this.lines.length - 1)].id, false);
    else if (event.key === 'Enter' && line) this.open(line.id);
    else if (event.key === ' ' && line) this.mark([line.id]);
    else if (event.key === 'ArrowLeft' && line?.below && !this.closed.has(line.id)) this.fold(line.id);
    else if (event.key === 'ArrowRight' && line?.below && this.closed.has(line.id)) this.fold(line.id);
    else return;
    event.preventDefault();
  }
}
