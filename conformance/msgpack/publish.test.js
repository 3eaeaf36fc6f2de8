// One publish, two parsers: whatever is posted reaches clients of both, over every transport, once
// and with the same value.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../harness/events.js';
import { better } from '../harness/gateway.js';
import { Listener, assertPublished, assertReceipt, heard } from '../publish/publishing.js';
import { OFFSET, transportOf } from '../staying-up/returning.js';
import { PARSERS, TRANSPORTS, startSpeaking } from './speaking.js';
import { LARGE, VALUES } from './values.js';

let gateway;
let listeners;
before(async () => {
  gateway = await startSpeaking({
    env: { IDAE_SOCKET_NAMESPACES: '/,/admin' },
    config: '[publish]\nbody_bytes_max = 4194304\n[socket]\noutbox_bytes_max = 16777216\n',
  });
  listeners = [];
  for (const parser of Object.values(PARSERS)) {
    for (const transports of Object.values(TRANSPORTS)) {
      const listener = await Listener.open(undefined, gateway, { ...parser, transports, rooms: ['all'] });
      await eventually(() => transportOf(listener.socket) === transports.at(-1), 'the upgrade');
      listeners.push(listener);
    }
  }
});
after(async () => {
  for (const listener of listeners ?? []) listener.close();
  await gateway?.end();
});

/** Every listener has heard exactly this since the last time. */
async function allHeard(...events) {
  for (const list of await heard(listeners)) assert.deepEqual(list, events);
}

/** Publishes text that is JSON already. */
const post = (path, payload) => gateway.post(path, `{"rooms":["all"],"payload":${payload}}`);

describe('a value', () => {
  for (const [name, json] of Object.entries({ ...VALUES, ...LARGE })) {
    test(`${name} is the same for all`, name in LARGE ? better : {}, async () => {
      assertPublished(await post('/value', json), listeners.length);
      await allHeard(['value', { payload: JSON.parse(json), rooms: ['all'] }]);
    });
  }

  test('all of them alone, without the envelope', better, async () => {
    for (const json of Object.values(VALUES)) assertPublished(await post('/bare?deliver=payload', json), listeners.length);
    await allHeard(...Object.values(VALUES).map((json) => ['bare', JSON.parse(json)]));
  });

  test('minus zero is a zero', async () => {
    for (const json of ['-0', '-0.0']) assertPublished(await post('/zero', json), listeners.length);
    for (const list of await heard(listeners)) {
      assert.deepEqual(list.map(([, { payload }]) => payload === 0), [true, true]);
    }
  });

  test('a number that is too large is infinite for all', better, async () => {
    for (const json of ['1e400', '-1e400']) assertPublished(await post('/huge', json), listeners.length);
    for (const list of await heard(listeners)) {
      assert.deepEqual(list.map(([, { payload }]) => payload), [Infinity, -Infinity]);
    }
  });

  // JSON can say it, UTF-8 cannot: msgpack gets what decoders make of it.
  test('half a character arrives as something, and the connection goes on', better, async () => {
    assertPublished(await post('/half', '"a\\ud800b"'), listeners.length);
    for (const [event, ...more] of await heard(listeners)) {
      assert.deepEqual(more, []);
      assert.equal(event[0], 'half');
      assert.match(event[1].payload, /^a[^]+b$/);
    }
  });
});

describe('the whole envelope', () => {
  test('has what was posted beside the payload', better, async () => {
    const body = { rooms: ['all', 'none'], payload: { id: 1 }, sender: { name: 'é', token: 'x' } };
    assertPublished(await gateway.post('/e', body), listeners.length);
    await allHeard(['e', { payload: { id: 1 }, rooms: ['all', 'none'], sender: { name: 'é' } }]);
  });

  test('names of events are short and long', async () => {
    for (const name of ['e', 'collection:update', 'x'.repeat(31), 'x'.repeat(32), 'x'.repeat(128)]) {
      assertPublished(await gateway.post(`/${name}`, { rooms: 'all', payload: 1 }), listeners.length);
      await allHeard([name, { payload: 1, rooms: 'all' }]);
    }
  });
});

describe('the targets', () => {
  test('two rooms of which a socket is in both: once', async () => {
    assertPublished(await gateway.post('/e', { rooms: ['all', 'all'], users: listeners.map(({ id }) => id), payload: 1 }), listeners.length);
    for (const list of await heard(listeners)) assert.equal(list.length, 1);
  });

  test('everybody', async () => {
    assertPublished(await gateway.post('/e', { broadcast: true, payload: 'b' }), listeners.length);
    await allHeard(['e', { payload: 'b' }]);
  });

  for (const [name, body] of [
    ['users', (id) => ({ users: id, payload: { n: 1 } })],
    ['payload.own', (id) => ({ payload: { own: id, n: 1 } })],
    ['a list in payload.own', (id) => ({ payload: { own: [id, 'nobody'], n: 1 } })],
  ]) {
    test(`${name}: one socket and no other`, async () => {
      for (const { id } of listeners) {
        const { payload, ...target } = body(id);
        assertPublished(await gateway.post('/e', { ...target, payload }), 1);
        const lists = await heard(listeners);
        lists.forEach((list, i) => {
          assert.deepEqual(list.map(([, envelope]) => envelope.payload), listeners[i].id === id ? [payload] : []);
        });
      }
    });
  }

  test('except leaves out', async (t) => {
    const out = await Promise.all(
      Object.values(PARSERS).map((parser) => Listener.open(t, gateway, { ...parser, rooms: ['all', 'out'] })),
    );
    assertPublished(await gateway.post('/e', { rooms: 'all', except: 'out', payload: 1 }), listeners.length);
    for (const list of await heard(out)) assert.deepEqual(list, []);
    await allHeard(['e', { payload: 1, rooms: 'all' }]);
  });

  test('a namespace of its own', async (t) => {
    const admins = await Promise.all(
      Object.values(PARSERS).map((parser) => Listener.open(t, gateway, { ...parser, namespace: '/admin', rooms: ['all'] })),
    );
    assertPublished(await gateway.post('/e', { rooms: 'all', namespace: '/admin', payload: 'admin' }), admins.length);
    for (const list of await heard(admins)) assert.deepEqual(list, [['e', { payload: 'admin', rooms: 'all' }]]);
    await allHeard();
  });

  test('a volatile event comes at most once, and at once where it can', async () => {
    const reply = await gateway.publish('e', { rooms: 'all', volatile: true, payload: 'v' });
    assertReceipt(reply);
    const lists = await heard(listeners);
    lists.forEach((list, i) => {
      const expected = ['e', { payload: 'v', rooms: 'all' }];
      // Between two polls nobody is there to take it.
      if (list.length > 0 || transportOf(listeners[i].socket) === 'websocket') assert.deepEqual(list, [expected]);
    });
  });
});

test('a batch keeps its order, for all', better, async () => {
  const items = Array.from({ length: 200 }, (_, n) => ({ event: 'n', rooms: 'all', payload: { n, text: 'é'.repeat(n) } }));
  const reply = await gateway.post('/v1/events', items);
  assert.equal(reply.status, 200, reply.text);
  for (const receipt of reply.json()) assertReceipt(receipt, listeners.length);
  await allHeard(...items.map(({ payload }) => ['n', { payload, rooms: 'all' }]));
});

test('whoever wants the offset gets it, as one more argument', better, async (t) => {
  const knowing = await Promise.all(
    Object.values(PARSERS).map((parser) => Listener.open(t, gateway, { ...parser, auth: { recovery: true }, rooms: ['knowing'] })),
  );
  for (const path of ['/e', '/e?deliver=payload']) {
    assertPublished(await gateway.post(path, { rooms: 'knowing', payload: 'text' }), knowing.length);
    for (const [event, ...more] of await heard(knowing)) {
      assert.deepEqual(more, []);
      const [name, value, offset, ...rest] = event;
      assert.deepEqual([name, rest], ['e', []]);
      assert.deepEqual(value, path === '/e' ? { payload: 'text', rooms: 'knowing' } : 'text');
      assert.match(offset, OFFSET);
    }
  }
});
