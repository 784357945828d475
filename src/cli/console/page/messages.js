// Messages: those that wait in mailboxes, and dead letters, which no receiver took.
import { command, fromBase64 } from './api.js';
import { fill, h, say } from './dom.js';
import { brief, count, micros, time, visible } from './format.js';
import { known, mayControl, nameOf, onUpdate, shownName } from './live.js';

const PAGE = 100;

export function messagesView() {
  const waiting = h('tbody', {});
  const none = h('p', { class: 'quiet' });
  const letters = h('tbody', {});
  const note = h('p', { class: 'quiet', role: 'status' });
  const more = h('button', { type: 'button', onclick: () => read(next) }, 'More');
  let next = 0;

  function draw() {
    const rows = [...known.rows.values()].filter((row) => row.mailbox_depth > 0).sort((a, b) => b.mailbox_depth - a.mailbox_depth).slice(0, 100);
    fill(waiting, rows.map((row) => h('tr', {}, h('td', {}, h('a', { href: `#/actor/${row.id}` }, visible(shownName(row)))), h('td', {}, count(row.mailbox_depth)), h('td', {}, micros(row.p99_us)))));
    say(none, rows.length === 0 ? 'No message waits in a mailbox.' : '');
  }

  async function read(from) {
    try {
      const { DeadLetters: page } = await command('GetDeadLetters', { from, limit: PAGE });
      const found = page.letters.map(letter);
      if (from === 0) fill(letters, found);
      else letters.append(...found);
      next = page.next;
      more.hidden = next === null;
      say(note, letters.childElementCount === 0 ? 'There is no dead letter.' : '');
    } catch (error) {
      say(note, error.message);
    }
  }

  function letter({ letter: id, from, to, sent_ms: sent, dropped_ms: dropped, why, bytes, message }) {
    const outcome = h('span', { role: 'status' });
    const again = async () => {
      try {
        await command('SendDeadLetter', { letter: id });
        say(outcome, 'sent');
      } catch (error) {
        say(outcome, error.message);
      }
    };
    const [sender, sequence] = id.split(':');
    return h('tr', {}, h('td', {}, h('time', {}, time(sent ?? dropped))), h('td', {}, h('a', { href: `#/trace/${sender}/${sequence}` }, visible(nameOf(from)))),
      h('td', {}, visible(nameOf(to))), h('td', {}, visible(why)), h('td', {}, message ? brief(fromBase64(message)) : bytes === null ? '(dropped)' : `${bytes} bytes`),
      h('td', {}, mayControl() && h('button', { type: 'button', onclick: again }, 'Send again'), ' ', outcome));
  }

  const stop = onUpdate((update) => !update.offline && draw());
  draw();
  read(0);
  const head = (...names) => h('thead', {}, h('tr', {}, names.map((name) => h('th', {}, name))));
  return {
    element: h('article', {}, h('h1', {}, 'Messages'), h('h2', {}, 'On their way'), h('table', {}, head('Receiver', 'Waiting', 'p99 of its calls'), waiting), none,
      h('h2', {}, 'Dead letters'), h('table', {}, head('Sent', 'From', 'To', 'Why', 'Message', ''), letters), note, more),
    stop,
  };
}
