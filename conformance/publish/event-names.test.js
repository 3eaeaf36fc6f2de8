// Which paths are events: the alphabet, decoding, reserved names, patterns, the closest name.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startGateway } from '../harness/gateway.js';
import { Listener, assertProblem, assertPublished, assertRefused, heard } from './publishing.js';

const NOT_FOUND = { status: 404, code: 'event_not_found' };
const RESERVED = ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener'];
const body = { rooms: ['names'], payload: 1 };

describe('every name is exposed (the default)', () => {
  let gateway;
  let listener;
  before(async () => {
    gateway = await startGateway();
    listener = await Listener.open(undefined, gateway, { rooms: ['names'] });
  });
  after(async () => {
    listener?.close();
    await gateway?.end();
  });

  // Path as sent, name as emitted.
  const good = [
    ['/db-change', 'db-change'],
    ['/collection:update', 'collection:update'],
    ['/component/refresh', 'component/refresh'],
    ['/a/b/c/d', 'a/b/c/d'],
    ['/A.b_c-9:Z', 'A.b_c-9:Z'],
    ['/x', 'x'],
    ['/7', '7'],
    [`/${'n'.repeat(128)}`, 'n'.repeat(128)],
    ['/%64b%2Dchange', 'db-change'],
    ['/%64b%2dchange', 'db-change'],
    ['/component%2Frefresh', 'component/refresh'],
    ['/collection%3Aupdate', 'collection:update'],
    // The limit counts characters of the name, not of its spelling.
    [`/${'%6E'.repeat(128)}`, 'n'.repeat(128)],
    ['/db-change?deliver=envelope', 'db-change'],
    // Only the six reserved names are special; these mean something in JavaScript alone.
    ['/error', 'error'],
    ['/connection', 'connection'],
    ['/__proto__', '__proto__'],
    ['/constructor', 'constructor'],
    ['/toString', 'toString'],
    ['/hasOwnProperty', 'hasOwnProperty'],
    ['/Connect', 'Connect'],
    ['/connected', 'connected'],
    ['/v2/events', 'v2/events'],
    ['/metrics2', 'metrics2'],
  ];
  for (const [path, name] of good) {
    test(`POST ${path.slice(0, 60)} emits "${name.slice(0, 40)}"`, async () => {
      assertPublished(await gateway.post(path, body), 1);
      const [list] = await heard([listener]);
      assert.deepEqual(list, [[name, { payload: 1, rooms: ['names'] }]]);
    });
  }

  const bad = [
    ['one character too long', `/${'n'.repeat(129)}`],
    ['one character too long, encoded', `/${'%6E'.repeat(129)}`],
    ['far too long', `/${'n'.repeat(4000)}`],
    ['a space', '/a%20b'],
    ['a plus is a plus, and not allowed', '/a+b'],
    ['a star', '/a*b'],
    ['a letter beyond ASCII', '/caf%C3%A9'],
    ['bytes that are not UTF-8', '/a%FFb'],
    ['a NUL', '/a%00b'],
    ['a line break', '/a%0D%0Ab'],
    ['a quote', '/a%22b'],
    ['a comma', '/a,b'],
    ['a backslash', '/a%5Cb'],
    ['a question mark in the name', '/a%3Fb'],
    ['a percent sign without digits', '/a%'],
    ['a percent sign with one digit', '/a%4'],
    ['a percent sign with other letters', '/a%zzb'],
    // Decoding twice would make "db" of it.
    ['a percent sign that survives decoding', '/%2564b'],
    ['braces', '/{event}'],
    ...RESERVED.map((name) => [`the reserved name ${name}`, `/${name}`]),
    ['a reserved name in another spelling', '/%63onnect'],
    ['the gateway\'s own path livez', '/livez'],
    ['the gateway\'s own path readyz', '/readyz'],
    ['the gateway\'s own path metrics', '/metrics'],
    ['a path below v1, which is kept for the gateway', '/v1/other'],
    ['an own path in another spelling', '/%6Civez'],
  ];
  for (const [title, path] of bad) {
    test(`404: ${title}`, async () => {
      assertRefused(await gateway.post(path, body), NOT_FOUND);
      assert.deepEqual(await heard([listener]), [[]]);
    });
  }

  test('the path of the sockets is never an event', async () => {
    for (const path of ['/socket.io/', '/socket.io/x', '/socket%2Eio/']) {
      const reply = await gateway.post(path, body);
      assert.ok(reply.status >= 400 && reply.status < 500, `${path}: ${reply.status} ${reply.text}`);
    }
    assert.deepEqual(await heard([listener]), [[]]);
  });

  test('the same rules hold for the events of a batch', async () => {
    const names = [...RESERVED, 'livez', 'metrics', 'v1/events', 'socket.io/x', 'a b', '', 'caf\u00e9', '%64b', 'n'.repeat(129)];
    const items = names.map((event) => ({ event, ...body }));
    const reply = await gateway.post('/v1/events', [...items, { event: 'component/refresh', ...body }]);
    assert.equal(reply.status, 200, reply.text);
    const entries = reply.json();
    assert.equal(entries.length, names.length + 1);
    names.forEach((_, i) => assertProblem(entries[i], NOT_FOUND));
    const [list] = await heard([listener]);
    assert.deepEqual(list.map(([event]) => event), ['component/refresh']);
  });
});

describe('a list of names is exposed', () => {
  let gateway;
  let listener;
  before(async () => {
    gateway = await startGateway({
      // The marker that ends each check is an event like any other.
      config: 'events = ["entity", "dispatch", "component/:action", "data:*", "marker"]\n',
    });
    listener = await Listener.open(undefined, gateway, { rooms: ['names'] });
  });
  after(async () => {
    listener?.close();
    await gateway?.end();
  });

  for (const name of ['entity', 'dispatch', 'component/refresh', 'component/a-b.c', 'data:users', 'data:users:7']) {
    test(`${name} is exposed`, async () => {
      assertPublished(await gateway.post(`/${name}`, body), 1);
      const [list] = await heard([listener]);
      assert.deepEqual(list.map(([event]) => event), [name]);
    });
  }

  // Name, and the closest exposed one where there is one.
  const hidden = [
    ['entiti', /\bentity\b/],
    ['entity2', /\bentity\b/],
    ['Entity', /\bentity\b/],
    ['dispach', /\bdispatch\b/],
    ['dispatch/now', /\bdispatch\b/],
    ['components/refresh', /component\/:action/],
    ['data-users', /data:\*/],
    ['component/a/b', undefined],
    ['component/', undefined],
    ['component', undefined],
    ['component/:action/', undefined],
    ['data', undefined],
    ['xentity', undefined],
    ['db-change', undefined],
    ['zzzzzzzzzzzzzzzz', undefined],
  ];
  for (const [name, detail] of hidden) {
    test(`${name} is not exposed${detail ? ', and the closest name is given' : ''}`, async () => {
      assertRefused(await gateway.post(`/${name}`, body), { ...NOT_FOUND, detail });
      assert.deepEqual(await heard([listener]), [[]]);
    });
  }

  test('a slash in a pattern is a slash, however it is spelt', async () => {
    assertPublished(await gateway.post('/component%2Frefresh', body), 1);
    assertRefused(await gateway.post('/component%2Fa%2Fb', body), NOT_FOUND);
    const [list] = await heard([listener]);
    assert.deepEqual(list.map(([event]) => event), ['component/refresh']);
  });
});

test('the list may come from the environment', async (t) => {
  const gateway = await startGateway({ env: { IDAE_SOCKET_EVENTS: 'entity,data:*' } });
  t.after(() => gateway.end());
  assertPublished(await gateway.post('/entity', body), 0);
  assertPublished(await gateway.post('/data:x', body), 0);
  assertRefused(await gateway.post('/dispatch', body), NOT_FOUND);
});

test('a pattern never exposes a reserved name or an own path', async (t) => {
  const gateway = await startGateway({ config: 'events = ["connect", "dis*", "livez", "*"]\n' });
  t.after(() => gateway.end());
  for (const name of ['connect', 'disconnect', 'livez']) {
    assertRefused(await gateway.post(`/${name}`, body), NOT_FOUND);
  }
});
