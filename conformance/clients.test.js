// The stock JavaScript client in all its manners of connecting, and how it comes back when the
// gateway or the connection goes away.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { collect, eventually, next, nextValue } from './harness/events.js';
import { better, onReference, startGateway } from './harness/gateway.js';
import { ask, client, connectNow, connected, subscribe } from './harness/sessions.js';

let gateway;
before(async () => {
  gateway = await startGateway({ env: { IDAE_SOCKET_NAMESPACES: '/,/admin' } });
});
after(() => gateway?.end());

const OK = { status: 'OK' };

/** Everything a user expects of a connected client. */
async function works(socket, target = gateway) {
  const room = `room of ${socket.id}`;
  await subscribe(socket, room);
  const event = next(socket, 'collection:update');
  const payload = { entity: 'users', action: 'update', id: 123 };
  const reply = await target.publish('collection:update', { rooms: [room], payload });
  assert.equal(reply.sockets, 1);
  const [envelope] = await event;
  assert.deepEqual(envelope.payload, payload);
  assert.deepEqual(await ask(socket, 'entity', { a: 1 }, Buffer.from([1, 2])), OK);
}

const transportOf = (socket) => socket.io.engine.transport.name;

describe('ways to connect', () => {
  const ways = [
    { name: 'the defaults', options: {}, ends: 'websocket' },
    { name: 'WebSocket only', options: { transports: ['websocket'] }, starts: 'websocket', ends: 'websocket' },
    { name: 'polling only', options: { transports: ['polling'] }, starts: 'polling', ends: 'polling' },
    { name: 'polling, then WebSocket', options: { transports: ['polling', 'websocket'] }, ends: 'websocket' },
    { name: 'WebSocket, then polling', options: { transports: ['websocket', 'polling'] }, starts: 'websocket', ends: 'websocket' },
    { name: 'no upgrade', options: { upgrade: false }, starts: 'polling', ends: 'polling' },
    { name: 'tryAllTransports', options: { tryAllTransports: true }, ends: 'websocket' },
    { name: 'a query of its own', options: { query: { x: 'é&=', token: '1' } }, ends: 'websocket' },
    { name: 'headers of its own', options: { extraHeaders: { 'X-Custom': 'abc' } }, ends: 'websocket' },
    { name: 'cookies of its own', options: { withCredentials: true }, ends: 'websocket' },
    { name: 'time stamps on requests', options: { timestampRequests: true, timestampParam: 'ts' }, ends: 'websocket' },
    { name: 'base64 instead of binary', options: { forceBase64: true, transports: ['websocket'] }, starts: 'websocket', ends: 'websocket' },
    { name: 'an auth object', options: { auth: { token: 'Bearer ignored' } }, ends: 'websocket' },
    { name: 'an auth function', options: { auth: (give) => give({ token: 'x' }) }, ends: 'websocket' },
    { name: 'another namespace', options: { namespace: '/admin' }, namespace: '/admin', ends: 'websocket' },
  ];
  for (const { name, options, starts, ends, namespace } of ways) {
    test(name, async (t) => {
      const socket = await connected(t, gateway, options);
      if (starts) assert.equal(transportOf(socket), starts);
      assert.match(socket.id, /^[A-Za-z0-9_-]{20}$/);
      assert.notEqual(socket.id, socket.io.engine.id);
      if (namespace) {
        const event = next(socket, 'news');
        await gateway.publish('news', { broadcast: true, namespace, payload: 1 });
        assert.equal((await event)[0].payload, 1);
      } else {
        await works(socket);
      }
      await eventually(() => transportOf(socket) === ends, `transport ${ends}`);
      if (!namespace) await works(socket);
    });
  }

  test('rememberUpgrade: the second time it starts with WebSocket', async (t) => {
    const socket = await connected(t, gateway, { rememberUpgrade: true });
    await eventually(() => transportOf(socket) === 'websocket', 'the upgrade');
    socket.disconnect();
    await connectNow(socket);
    assert.equal(transportOf(socket), 'websocket');
    await works(socket);
  });

  test('tryAllTransports: without WebSocket on the gateway polling is found', async (t) => {
    const other = await startGateway({ env: { IDAE_SOCKET_SOCKET_TRANSPORTS: 'polling' } });
    t.after(() => other.end());
    const socket = await connected(t, other, { transports: ['websocket', 'polling'], tryAllTransports: true });
    assert.equal(transportOf(socket), 'polling');
    await works(socket, other);
  });

  test('a gateway without polling is reached by WebSocket', async (t) => {
    const other = await startGateway({ env: { IDAE_SOCKET_SOCKET_TRANSPORTS: 'websocket' } });
    t.after(() => other.end());
    const socket = await connected(t, other, { transports: ['websocket'] });
    await works(socket, other);
    const wrong = client(t, other, { transports: ['polling'] });
    const refused = nextValue(wrong, 'connect_error');
    wrong.connect();
    assert.equal((await refused).message, 'xhr poll error');
  });

  test('a wrong path is an error the client hears of', async (t) => {
    for (const transport of ['polling', 'websocket']) {
      const socket = client(t, gateway, { path: '/wrong/', transports: [transport] });
      const refused = nextValue(socket, 'connect_error');
      socket.connect();
      assert.match((await refused).message, /xhr poll error|websocket error/);
      socket.disconnect();
    }
  });

  test('fifty clients of all kinds at once', async (t) => {
    const kinds = [['polling'], ['websocket'], ['polling', 'websocket']];
    const sockets = await Promise.all(
      Array.from({ length: 51 }, (_, i) => connected(t, gateway, { transports: kinds[i % 3] })),
    );
    const events = sockets.map((socket) => collect(socket, 'to:all'));
    await Promise.all(sockets.map((socket) => subscribe(socket, 'fifty')));
    for (let payload = 0; payload < 10; payload += 1) {
      assert.equal((await gateway.publish('to:all', { rooms: 'fifty', payload })).sockets, 51);
    }
    for (const kept of events) {
      await kept.take(10);
      assert.deepEqual(kept.values.map((envelope) => envelope.payload), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
    assert.equal(new Set(sockets.map(({ id }) => id)).size, 51);
  });
});

describe('closing', () => {
  for (const transport of ['polling', 'websocket']) {
    test(`the client disconnects on ${transport}: the gateway forgets it at once`, async (t) => {
      const socket = await connected(t, gateway, { transports: [transport] });
      const room = `leaving ${transport}`;
      await subscribe(socket, room);
      const reason = nextValue(socket, 'disconnect');
      socket.disconnect();
      assert.equal(await reason, 'io client disconnect');
      await eventually(async () => (await gateway.publish('x', { rooms: room, payload: 1 })).sockets === 0, 'an empty room', 2000);
    });
  }

  test('a client may disconnect and connect many times', async (t) => {
    const socket = await connected(t, gateway, { transports: ['websocket'] });
    const ids = new Set([socket.id]);
    for (let i = 0; i < 10; i += 1) {
      socket.disconnect();
      await connectNow(socket);
      ids.add(socket.id);
    }
    assert.equal(ids.size, 11);
    await works(socket);
  });

  test('leaving one namespace keeps the other', async (t) => {
    const main = await connected(t, gateway, { transports: ['websocket'] });
    const admin = main.io.socket('/admin');
    t.after(() => admin.disconnect());
    await connectNow(admin);
    main.disconnect();
    const event = next(admin, 'news');
    await gateway.publish('news', { broadcast: true, namespace: '/admin', payload: 2 });
    assert.equal((await event)[0].payload, 2);
  });
});

describe('coming back', () => {
  const again = { reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 100, randomizationFactor: 0 };

  /** With a short drain where this version drains at all; otherwise it stops at once anyway. */
  async function startShort({ port } = {}) {
    try {
      return await startGateway({ env: { IDAE_SOCKET_DRAIN_S: '1' }, port });
    } catch (error) {
      if (!/is not available in this version/.test(error.message)) throw error;
      return startGateway({ port });
    }
  }

  for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
    test(`the gateway stops and another takes its port (${transports.join(', ')})`, async (t) => {
      const first = await startShort();
      t.after(() => first.killNow());
      const socket = await connected(t, first, { transports, ...again });
      if (transports.length === 2) await eventually(() => transportOf(socket) === 'websocket', 'the upgrade');
      const before = socket.id;
      const lost = nextValue(socket, 'disconnect');
      const code = await first.stop();
      assert.equal(code, 0);
      // A stopping server is no reason to stay away, as `io server disconnect` would be.
      const reason = await lost;
      const reasons = onReference || transports[0] === 'polling' ? ['transport close', 'transport error'] : ['transport close'];
      assert.ok(reasons.includes(reason), reason);

      const back = next(socket, 'connect');
      const second = await startShort({ port: first.port });
      t.after(() => second.end());
      await back;
      assert.ok(!socket.recovered);
      assert.notEqual(socket.id, before);
      await works(socket, second);
    });
  }

  test('the gateway is killed: the client comes back all the same', async (t) => {
    const first = await startGateway();
    const socket = await connected(t, first, { transports: ['websocket'], ...again });
    const lost = nextValue(socket, 'disconnect');
    await first.end();
    assert.match(await lost, /^transport (close|error)$/);
    const back = next(socket, 'connect');
    const second = await startGateway({ port: first.port });
    t.after(() => second.end());
    await back;
    await works(socket, second);
  });

  test('the connection breaks, the gateway lives', async (t) => {
    const socket = await connected(t, gateway, { transports: ['websocket'], ...again });
    for (let i = 0; i < 3; i += 1) {
      const back = next(socket, 'connect');
      socket.io.engine.close();
      await back;
      await works(socket);
    }
  });

  test('what was emitted while away is sent on return, in order', async (t) => {
    const socket = await connected(t, gateway, { transports: ['websocket'], ...again });
    const back = next(socket, 'connect');
    socket.io.engine.close();
    const answers = Promise.all(Array.from({ length: 5 }, (_, i) => ask(socket, 'entity', i)));
    await back;
    assert.deepEqual(await answers, Array(5).fill(OK));
  });

  test('a break in the upgrade leaves no second socket behind', better, async (t) => {
    const alone = await startGateway();
    t.after(() => alone.end());
    const socket = await connected(t, alone, { ...again });
    const back = next(socket, 'connect');
    socket.io.engine.close();
    await back;
    await eventually(async () => (await alone.publish('x', { broadcast: true, payload: 1 })).sockets === 1, 'one socket');
  });

  test('a client that waits for the gateway connects as soon as it is there', async (t) => {
    const first = await startGateway();
    const { port } = first;
    await first.end();
    const socket = client(t, { url: `http://127.0.0.1:${port}` }, { transports: ['websocket'], ...again });
    const failed = next(socket, 'connect_error');
    socket.connect();
    await failed;
    const there = next(socket, 'connect');
    const second = await startGateway({ port });
    t.after(() => second.end());
    await there;
    await works(socket, second);
  });
});
