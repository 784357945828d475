// What a person may do to an actor, each after a question. The role `read` sees none of it.
import { command, fromBase64, toBase64 } from './api.js';
import { fill, h, say } from './dom.js';
import { bytes, count, visible } from './format.js';
import { isAlive, known, nameOf } from './live.js';

/** Asks for what an action needs, and carries it out: `fields` are `[name, label, properties]`, `act` returns what to say. */
export function dialog(title, explanation, fields, button, act) {
  const inputs = Object.fromEntries(fields.map(([name, , { tag = 'input', value = '', ...properties } = {}]) => {
    const input = h(tag, { name, ...properties });
    input.value = value;
    return [name, input];
  }));
  const answer = h('pre', { class: 'answer', hidden: true, role: 'status' });
  const go = h('button', { type: 'submit', class: 'go' }, button);
  const close = h('button', { type: 'button', onclick: () => box.close() }, 'Cancel');
  const form = h('form', {}, h('h2', {}, title), h('p', {}, explanation),
    fields.map(([name, label]) => h('label', {}, label, inputs[name])), answer, h('div', { class: 'actions' }, go, close));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    go.disabled = true;
    answer.hidden = false;
    answer.className = 'answer';
    say(answer, '…');
    try {
      say(answer, await act(Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.value])), box));
      say(close, 'Close');
    } catch (error) {
      answer.className = 'answer bad';
      say(answer, error.message);
    }
    go.disabled = false;
  });
  const box = h('dialog', { onclose: () => box.remove() }, form);
  document.body.append(box);
  box.showModal();
  return box;
}

export const whole = (text, name) => {
  const number = Number(text);
  if (text === '' || !Number.isSafeInteger(number) || number < 0) throw new Error(`${name}: a whole number is needed`);
  return number;
};

export function forkFrom(id, at) {
  const name = visible(nameOf(id));
  dialog(`Fork ${name}`, `A new root begins with the state that ${name} had after event ${at}. ${name} goes on as before.`, [
    ['name', 'Name of the new actor', { value: `${known.rows.get(id)?.name ?? 'actor'}-fork`, required: true }],
    ['manifest', 'Manifest on the runtime’s machine; empty: the same one'],
    ['port', 'Port of its listener; 0: any that is free; empty: the same one', { type: 'number', min: 0, max: 65535 }],
  ], 'Fork', async (given) => {
    const wanted = { id, at, name: given.name, manifest: given.manifest || null };
    const { ActorForked: { id: forked } } = given.port === ''
      ? await command('ForkActor', wanted)
      : await command('ForkChangedActor', { ...wanted, port: whole(given.port, 'port') });
    return `The new actor is ${forked}.`;
  });
}

/** How many actors are below one. */
function below(id) {
  const waiting = [id];
  let found = 0;
  const children = Map.groupBy(known.rows.values(), (row) => row.parent);
  while (waiting.length > 0) {
    for (const { id: child } of children.get(waiting.pop()) ?? []) {
      found += 1;
      waiting.push(child);
    }
  }
  return found;
}

/** The buttons for one actor. */
export function actionsOf(id) {
  const row = known.rows.get(id);
  const name = visible(nameOf(id));
  const button = (label, act, isOffered = true) => isOffered && h('button', { type: 'button', onclick: act }, label);
  const simple = (label, kind, explanation, done) => () => dialog(`${label} ${name}`, explanation, [], label, async () => {
    await command(kind, { id });
    return done;
  });
  const message = (label, kind, explanation, shown) => () => dialog(`${label} ${name}`, explanation,
    [['message', 'Message (JSON)', { tag: 'textarea', rows: 6, spellcheck: 'false' }]], label, async ({ message: text }) => {
      JSON.parse(text);
      return shown(await command(kind, { id, message: toBase64(text) }));
    });
  const alive = row && isAlive(row);
  return h('div', { class: 'actions' },
    button('Request…', message('Request', 'RequestMessage', 'The actor gets a request, and the answer is shown.', ({ Answer }) => visible(fromBase64(Answer.message))), alive),
    button('Send…', message('Send', 'SendMessage', 'The actor gets a message. There is no answer.', () => 'The actor has worked on it.'), alive),
    button('Stop…', simple('Stop', 'StopActor', `The actor and the ${count(below(id))} below it end. Messages that wait become dead letters.`, 'It has stopped.'), alive),
    row && !row.paused
      ? button('Pause…', simple('Pause', 'PauseActor', 'The actor finishes its call, and takes nothing more: what comes for it waits until it is resumed. The actors below it go on.', 'It is paused.'), alive)
      : button('Resume…', simple('Resume', 'ResumeActor', 'The actor goes on with what has waited, in the order in which it came.', 'It goes on.'), row?.paused),
    button('Restart…', simple('Restart', 'RestartActor', 'The actor begins a new incarnation with its newest state, or with the first one if its manifest says so.', 'It is up again.')),
    button('Upgrade…', () => upgrade(id, name, known.rows.get(id))),
    button('Fork…', () => forkFrom(id, Math.max(0, (known.rows.get(id)?.events ?? 1) - 1))),
    button('Prune…', () => prune(id, name, known.rows.get(id))),
    button('Forget…', simple('Forget', 'ForgetActor', 'The actor and everything below it go off the lists. Their histories stay in the journal.', 'It is forgotten.'), !alive));
}

function upgrade(id, name, row) {
  let tried = null;
  const box = dialog(`Upgrade ${name}`, 'The actor goes on with the component and the manifest as they are now on the runtime’s machine. First the newest recorded calls are made again under the new build, and nothing is changed.', [
    ['manifest', 'Manifest', { value: row?.manifest ?? '', size: 60 }],
    ['last', 'How many recorded calls to try', { value: '100', type: 'number', min: 1 }],
  ], 'Try it', async ({ manifest, last }) => {
    if (tried === manifest) {
      await command('UpgradeActor', { id, manifest: manifest || null });
      return 'The actor goes on with the new build.';
    }
    const { UpgradeDryRun: found } = await command('DryRunUpgrade', { id, manifest: manifest || null, last: whole(last, 'calls') });
    tried = manifest;
    box.querySelector('[name=manifest]').oninput = () => {
      tried = null;
      say(box.querySelector('.go'), 'Try it');
    };
    say(box.querySelector('.go'), 'Upgrade now');
    const lines = found.changes.slice(0, 20).map((change) => `event ${change.sequence}: ${change.what} ${change.pointer}: ${JSON.stringify(change.recorded)} → ${JSON.stringify(change.actual)}`);
    return visible([`${count(found.changed)} of ${count(found.transitions)} calls come out otherwise.`, ...lines].join('\n'));
  });
}

function prune(id, name, row) {
  let tried = null;
  const box = dialog(`Prune ${name}`, 'The data of old events is dropped for good. Their hashes stay, so that the history still verifies.', [
    ['before', 'Drop the data before event', { value: String(row?.events ?? 0), type: 'number', min: 0 }],
  ], 'Show what would go', async ({ before }) => {
    const sequence = whole(before, 'event');
    if (tried === sequence) {
      const { Forgotten: gone } = await command('PruneActor', { id, before: sequence });
      return `The data of ${count(gone.events)} events is dropped. A replay begins at event ${gone.replays_from}.`;
    }
    const { WouldForget: cost } = await command('ForeseePrune', { id, before: sequence });
    tried = sequence;
    say(box.querySelector('.go'), 'Drop the data');
    box.querySelector('[name=before]').oninput = () => {
      tried = null;
      say(box.querySelector('.go'), 'Show what would go');
    };
    const replay = cost.replays_from === null ? 'There would be no event from which a replay could begin.' : `A replay would begin at event ${cost.replays_from}.`;
    return `The data of ${count(cost.events)} events, ${bytes(cost.bytes)}, would go. ${replay}`;
  });
}
