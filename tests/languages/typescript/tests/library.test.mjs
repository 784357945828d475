// Tests of the library for TypeScript and JavaScript, with the host that tests of actors have.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Actor, Router, config, integer, json, messages, nullable, oneOf, optional, refuse, shape, text, u64, withCookie } from 'theater-actor';
import * as table from 'theater-actor/table';
import * as timer from 'theater-actor/timer';
import { Host } from 'theater-actor/testing';

const routes = new Router()
  .get('/items/:id', (till, request) => json(200, { id: request.params.id, ...request.query }))
  .post('/items', async (till, request) => withCookie(json(201, request.json(shape({ name: text }))), 'seen', '1'))
  .get('/files/*', (till, request) => json(200, request.params.rest));

class Till extends Actor {
  static message = oneOf('total', 'later', 'crash', shape({ charge: u64, note: optional(nullable(text)) }), shape({ ask: text }));
  cents = 0n;

  init(id) {
    console.log(`${id} begins at`, config.get('cents') ?? 0);
  }
  async handleRequest(message) {
    if (message === 'crash') throw new TypeError('crashed on purpose');
    if (message === 'later') return timer.set('tea', 5, { kind: 'green' });
    if (message === 'total') return this.cents;
    if ('ask' in message) return messages.request(message.ask, 'total');
    this.cents += message.charge;
    if (this.cents > 1000n) refuse('the till is full');
    table.put(`charge/${this.cents}`, message.charge);
    return this.cents;
  }
  handleHttp(request) {
    return routes.answer(this, request);
  }
  handleTimer(key, message, due) {
    this.cents += BigInt(due);
  }
}

function within(options, work) {
  const host = new Host(options);
  return Promise.resolve(work(host)).then(
    () => host.end(),
    (error) => {
      try {
        host.end();
      } catch {}
      throw error;
    },
  );
}

test('a message of another shape is refused with the place that is wrong', () =>
  within({}, async (host) => {
    const till = host.start(Till);
    assert.equal(await till.request({ charge: 5 }), 5);
    for (const [message, why] of [
      [{ charge: 'x' }, 'the message at "charge": expected an integer from 0 to 2^64 - 1, got "x"'],
      [{ charge: -1 }, 'got -1'],
      [{ charge: 1, note: 7 }, 'the message at "note": expected a text or null, got 7'],
      ['nothing', 'expected "total" or "later" or "crash" or an object with "charge", "note"'],
    ]) {
      assert.throws(() => till.request(message), (error) => error.name === 'Refusal' && error.message.includes(why));
    }
    assert.equal(till.state.cents, 5n);
  }));

test('a refusal leaves the state as it was', () =>
  within({}, async (host) => {
    const till = host.start(Till, { state: { cents: 999 } });
    await assert.rejects(() => till.request({ charge: 2 }), { message: 'the till is full' });
    assert.equal(till.state.cents, 999n);
    await assert.rejects(() => till.request('crash'), TypeError);
  }));

test('an integer beyond 2^53 keeps every digit', () =>
  within({}, (host) => {
    const till = host.start(Till, { state: { cents: 18446744073709551615n } });
    assert.equal(till.state.cents, 18446744073709551615n);
  }));

test('the host answers from the script, records the calls, and names what has no answer', () =>
  within({ config: { cents: 7 } }, async (host) => {
    host.answer('message-server-host.request', 12).fail('message-server-host.request', 'no such actor');
    const till = host.start(Till, { id: 'till' });
    assert.equal(await till.request({ ask: 'bank' }), 12);
    await assert.rejects(() => till.request({ ask: 'bank' }), { name: 'HostError', message: 'no such actor' });
    assert.deepEqual(host.callsOf('message-server-host.request'), [['bank', 'total'], ['bank', 'total']]);
    await assert.rejects(() => till.request({ ask: 'bank' }), /request has no answer; it was called with \("bank", "total"\); add host.answer/);
    assert.equal(await till.request('later'), host.clock + 5);
    assert.deepEqual([...host.timers], [['tea', host.clock + 5]]);
    assert.deepEqual(host.calls.at(-1), { function: 'timer.set', params: ['tea', 5, { kind: 'green' }] });
  }));

test('rows are kept, time stands still, and randomness is seeded', () =>
  within({ clock: 5000, seed: 3 }, async (host) => {
    const till = host.start(Till);
    for (const charge of [1, 2, 3]) await till.request({ charge });
    assert.deepEqual([...table.entries('charge/')], [['charge/1', 1], ['charge/3', 2], ['charge/6', 3]]);
    assert.equal(table.scan('charge/', 2).rows.length, 2);
    assert.deepEqual([Date.now(), new Date().getTime()], [5000, 5000]);
    const drawn = [Math.random(), crypto.randomUUID()];
    host.end();
    const again = new Host({ clock: 5000, seed: 3 });
    assert.deepEqual([Math.random(), crypto.randomUUID()], drawn);
    again.end();
  }));

test('a router finds the function by method and path', () =>
  within({}, async (host) => {
    const till = host.start(Till);
    const ask = async (method, uri, body) => {
      const response = await till.http(method, uri, { body });
      return [response.status, response.body && JSON.parse(new TextDecoder().decode(response.body))];
    };
    assert.deepEqual(await ask('GET', '/items/a%20b?x=1&y=%C3%A4'), [200, { id: 'a b', x: '1', y: 'ä' }]);
    assert.deepEqual(await ask('HEAD', '/items/a'), [200, undefined]);
    assert.deepEqual(await ask('POST', '/items', { name: 'tea' }), [201, { name: 'tea' }]);
    assert.deepEqual(await ask('POST', '/items', { name: 7 }), [400, { error: 'the body at "name": expected a text, got 7' }]);
    assert.deepEqual(await ask('GET', '/files/a/b%2Fc'), [200, 'a/b/c']);
    for (const [method, uri, status] of [['PUT', '/items', 405], ['GET', '/items/%FF', 404], ['GET', '/items/', 404], ['GET', '/', 404]]) {
      assert.equal((await ask(method, uri))[0], status, `${method} ${uri}`);
    }
  }));

test('fetch goes to the host', () =>
  within({}, async (host) => {
    host.answer('http-client.send-http', { status: 201, headers: [['content-type', 'text/plain']], body: 'made' });
    const response = await fetch('http://example/', { method: 'post', body: new URLSearchParams({ a: 'b c' }) });
    assert.deepEqual([response.status, response.ok, response.headers.get('Content-Type')], [201, true, 'text/plain']);
    assert.equal(await response.text(), 'made');
    const [[asked]] = host.callsOf('http-client.send-http');
    assert.deepEqual([asked.method, asked.body], ['POST', 'a=b+c']);
    await assert.rejects(() => response.text(), /read already/);
  }));

test('a call outside of a test is named', () => {
  assert.throws(() => timer.cancel('tea'), /timer.cancel was called outside of Theater: make a Host/);
});
