// Tests of what the library gives the engine: promises, addresses, integers in JSON, places in stack traces.
import assert from 'node:assert/strict';
import test from 'node:test';

const RealPromise = Promise;
const RealUrl = URL;
const { fromJsonText, toJsonText } = await import('../../../../sdk/ts/bytes.ts');
const { installPromises, settled } = await import('../../../../sdk/ts/promise.ts');
const { mappedStack } = await import('../../../../sdk/ts/stack.ts');
const { installUrls } = await import('../../../../sdk/ts/url.ts');

test('JSON keeps integers of any size, and texts that look like what stands for them', () => {
  const value = { a: 18446744073709551615n, 'b\0n5': '\0n5', c: ['x"\0n7', 1.5, -12345678901234567890n, '9007199254740993'], d: 1e21 };
  const written = toJsonText(value);
  assert.ok(written.startsWith('{"a":18446744073709551615,'), written);
  assert.deepEqual(fromJsonText(written), value);
  assert.equal(toJsonText(fromJsonText(written)), written);
  assert.deepEqual(fromJsonText('{"n":5,"m":9007199254740991}'), { n: 5, m: 9007199254740991 });
});

test('promises settle within a call, in the order of the language', () => {
  const theirs = globalThis.Promise;
  installPromises();
  const order = [];
  const note = (text) => () => void order.push(text);
  const made = Promise;
  globalThis.Promise = RealPromise;
  assert.equal(settled(made.resolve(1).then((it) => it + 1)), 2);
  settled(
    made.all([
      made.resolve().then(note('first')).then(note('third')),
      made.resolve().then(note('second')).finally(note('fourth')),
    ]),
  );
  assert.deepEqual(order, ['first', 'second', 'third', 'fourth']);
  assert.throws(() => settled(made.reject(new Error('lost'))), /lost/);
  assert.throws(() => settled(new made(() => {})), /nothing will settle/);
  made.reject(new Error('nobody asked'));
  assert.throws(() => settled(1), /nobody asked/);
  assert.equal(settled(made.any([made.reject(1), 2])), 2);
  assert.equal(settled(made.race([3, made.reject(4)])), 3);
  assert.deepEqual(settled(made.allSettled([5])), [{ status: 'fulfilled', value: 5 }]);
  globalThis.Promise = theirs;
});

test('addresses are those of the platform', () => {
  globalThis.URL = undefined;
  installUrls();
  const Ours = URL;
  globalThis.URL = RealUrl;
  for (const [text, base] of [
    ['http://Example.com:80/a/./b/../c?x=1&y=a+b#f'],
    ['../x?y', 'http://h/a/b/c'],
    ['//k/z', 'https://h/'],
    ['https://user:word@h:8443/ä b?q=ü'],
    ['http://h'],
    ['?a=1', 'http://h/p?z#k'],
    ['#k', 'http://h/p?z'],
    ['http://[::1]:3/'],
    ['redis://h/1'],
    ['/a/..', 'http://h/x/y'],
  ]) {
    const [ours, real] = [new Ours(text, base), new RealUrl(text, base)];
    for (const part of ['href', 'origin', 'host', 'hostname', 'port', 'pathname', 'search', 'hash', 'username', 'password']) {
      assert.equal(ours[part], real[part], `${part} of ${text}`);
    }
    assert.equal(String(ours.searchParams), String(real.searchParams));
  }
  for (const text of ['nothing', 'http://', '/x', 'http://h:99999/']) assert.throws(() => new Ours(text), /Invalid URL/);
  const url = new Ours('http://h/?a=1&a=2');
  url.searchParams.append('b', 'x y&z');
  url.searchParams.set('a', '3');
  assert.equal(url.href, 'http://h/?a=3&b=x+y%26z');
});

test('a stack names the lines of the sources, and leaves out the library', () => {
  const lines = Symbol.for('theater.lines');
  globalThis[lines] = { sources: ['.theater/sdk/ts/exports.ts', 'src/main.ts'], runs: [1, 0, 1, 10, 1, 3, 20, 0, 50] };
  const stack = ['    at add (componentize-qjs:user.js:12:7)', '    at <anonymous> (componentize-qjs:user.js:25:3)', '    at call (native)'];
  assert.equal(mappedStack(stack.join('\n')), '    at add (src/main.ts:5)');
  delete globalThis[lines];
});
