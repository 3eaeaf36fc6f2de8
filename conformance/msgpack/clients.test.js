// The stock client with socket.io-msgpack-parser: in all its manners of connecting it can do what
// it can do with the default parser, on the same port.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Manager } from 'socket.io-client';
import { collect, eventually, next, nextValue } from '../harness/events.js';
import { better, endAll } from '../harness/gateway.js';
import { ask, client, connectNow, connected, inTwoNamespaces, refusedNamespace, subscribe } from '../harness/sessions.js';
import { JWT, enter, open, refusal, whoIs } from '../identity/entering.js';
import { Backend, token } from '../identity/tokens.js';
import { transportOf } from '../staying-up/returning.js';
import { MSGPACK, PARSERS, TRANSPORTS, speaker, startSpeaking, startSpeakingSuite } from './speaking.js';
import { VALUES } from './values.js';

let gateway;
let server;
before(async () => {
  [gateway, server] = await Promise.all([
    startSpeaking({ env: { IDAE_SOCKET_NAMESPACES: '/,/admin', IDAE_SOCKET_EVENTS: 'entity,news,left' } }),
    startSpeakingSuite(),
  ]);
});
after(() => endAll(gateway, server));

const OK = { status: 'OK' };

// Tests share one gateway: every test takes rooms nobody else uses.
let used = 0;
const freshRoom = () => `room-${(used += 1)}`;

/** Everything a user expects of a connected client. */
async function works(socket) {
  const room = freshRoom();
  const publish = (payload) => gateway.publish('news', { rooms: room, namespace: socket.nsp, payload });
  assert.deepEqual(await ask(socket, 'subscribe', [room]), { status: 'ok', rooms: [room] });
  const event = next(socket, 'news');
  assert.equal((await publish({ id: 123, text: 'é😀' })).sockets, 1);
  const [envelope] = await event;
  assert.deepEqual(envelope.payload, { id: 123, text: 'é😀' });
  assert.deepEqual(await ask(socket, 'entity', { a: 1 }, Buffer.from([1, 2])), OK);
  assert.equal((await ask(socket, 'unsubscribe', room)).status, 'ok');
  assert.equal((await publish(0)).sockets, 0);
}

describe('ways to connect', () => {
  const ways = [
    { name: 'the defaults', options: {}, ends: 'websocket' },
    { name: 'polling only', options: { transports: ['polling'] }, starts: 'polling', ends: 'polling' },
    { name: 'WebSocket only', options: { transports: ['websocket'] }, starts: 'websocket', ends: 'websocket' },
    { name: 'polling, then WebSocket', options: { transports: ['polling', 'websocket'] }, ends: 'websocket' },
    { name: 'base64 over WebSocket', options: { transports: ['websocket'], forceBase64: true }, ends: 'websocket' },
    { name: 'an auth object', options: { auth: { token: 'ignored', none: undefined } }, ends: 'websocket' },
    { name: 'an auth function', options: { auth: (give) => give({ token: 'x' }) }, ends: 'websocket' },
    { name: 'another namespace', options: { namespace: '/admin' }, ends: 'websocket' },
  ];
  for (const { name, options, starts, ends } of ways) {
    test(name, async (t) => {
      const socket = await speaker(t, gateway, options);
      if (starts) assert.equal(transportOf(socket), starts);
      assert.match(socket.id, /^[A-Za-z0-9_-]{20}$/);
      await works(socket);
      await eventually(() => transportOf(socket) === ends, `transport ${ends}`);
      await works(socket);
    });
  }

  test('events that are sent and published during the upgrade arrive once and in order', async (t) => {
    const socket = await speaker(t, gateway, { transports: TRANSPORTS.upgrade });
    const room = freshRoom();
    await subscribe(socket, room);
    const heard = collect(socket, 'news');
    const answers = [];
    let payload = 0;
    while (payload < 20 || transportOf(socket) !== 'websocket') {
      answers.push(ask(socket, 'entity', payload));
      await gateway.publish('news', { rooms: room, payload });
      payload += 1;
    }
    await heard.take(payload);
    assert.deepEqual(heard.values.map((envelope) => envelope.payload), Array.from({ length: payload }, (_, i) => i));
    assert.deepEqual(await Promise.all(answers), Array(payload).fill(OK));
  });

  test('clients of both parsers and all transports at once', async (t) => {
    const kinds = Object.values(PARSERS).flatMap((parser) => Object.values(TRANSPORTS).map((transports) => ({ ...parser, transports })));
    const sockets = await Promise.all([...kinds, ...kinds, ...kinds].map((options) => connected(t, gateway, options)));
    await Promise.all(sockets.map((socket) => works(socket)));
  });
});

describe('auth', () => {
  const values = [undefined, {}, { token: 'abc' }, { text: 'é😀', n: -1.5, list: [1, [2, { three: null }]], yes: true }, { token: 'x'.repeat(8000) }];
  for (const auth of values) {
    for (const namespace of ['/', '/custom']) {
      test(`${JSON.stringify(auth)?.slice(0, 40) ?? 'none'} in ${namespace} arrives unchanged`, async (t) => {
        const socket = client(t, server, { ...MSGPACK, namespace, auth, transports: ['websocket'] });
        const echoed = nextValue(socket, 'auth');
        await connectNow(socket);
        assert.deepEqual(await echoed, auth ?? {});
      });
    }
  }

  test('dates are their text, what is undefined is absent', better, async (t) => {
    const date = new Date(1e12);
    const socket = client(t, server, { ...MSGPACK, auth: { date, gone: undefined } });
    const echoed = nextValue(socket, 'auth');
    await connectNow(socket);
    assert.deepEqual(await echoed, { date: date.toJSON() });
  });
});

describe('who may not enter', () => {
  for (const [name, transports] of Object.entries(TRANSPORTS)) {
    test(`an unknown namespace is refused over ${name}, others go on`, async (t) => {
      const main = await speaker(t, gateway, { transports });
      await refusedNamespace(t, main, '/wrong');
      await works(main);
    });

    test(`tokens are checked over ${name}, with the same codes`, better, async (t) => {
      const checked = await open(t, { auth: JWT, rooms: { join: ['public:*'] } });
      for (const [auth, code] of [[undefined, 'token_missing'], [{ token: 'nonsense' }, 'token_malformed'], [{ token: `${token()}AAAA` }, 'token_signature']]) {
        const refusals = [];
        for (const parser of Object.values(PARSERS)) refusals.push(await refusal(t, checked, { ...parser, auth, transports }));
        for (const told of refusals) assert.deepEqual(told, { code, message: refusals[0].message });
      }
      const socket = await enter(t, checked, token({ sub: 'ada', roles: ['admin'] }), { ...MSGPACK, transports });
      assert.deepEqual(await whoIs(socket).then(({ user, roles }) => ({ user, roles })), { user: 'ada', roles: ['admin'] });
      assert.equal(await ask(socket, 'grantIn', { ROLE: 'admin' }), 'true');
      assert.equal(await ask(socket, 'grantIn', { ROLE: 'root' }), 'false');
      assert.equal((await ask(socket, 'subscribe', 'secret')).code, 'room_forbidden');
      await subscribe(socket, 'public:1');
      // Everything of the user's reaches the sockets of both parsers.
      const other = await enter(t, checked, token({ sub: 'ada', roles: [] }), { transports });
      for (const target of [{ users: 'ada' }, { payload: { own: 'ada' } }, { users: ['ada'] }]) {
        const events = [socket, other].map((one) => next(one, 'e'));
        assert.equal((await checked.publish('e', { payload: { n: 1 }, ...target })).sockets, 2);
        const [[first], [second]] = await Promise.all(events);
        assert.deepEqual(first, second);
      }
      assert.equal((await ask(socket, 'token:refresh', token({ sub: 'bob' }))).code, 'token_other_user');
      assert.equal((await ask(socket, 'token:refresh', token({ sub: 'ada' }))).status, 'ok');
    });
  }

  test('an auth object that is too large is refused as with the default parser', better, async (t) => {
    const told = [];
    for (const parser of Object.values(PARSERS)) {
      const socket = client(t, gateway, { ...parser, auth: { token: 'x'.repeat(20_000) } });
      const refused = nextValue(socket, 'connect_error');
      socket.connect();
      const { message, data } = await refused;
      told.push({ message, data });
    }
    assert.deepEqual(told[1], told[0]);
  });
});

describe('events of the client', () => {
  for (const [name, transports] of Object.entries(TRANSPORTS)) {
    test(`what the gateway answers over ${name}`, async (t) => {
      const socket = await speaker(t, gateway, { transports });
      const [role, host] = [freshRoom(), freshRoom()];
      assert.equal(await ask(socket, 'grantIn', { ROLE: role, host }), 'true');
      for (const rooms of [role, host]) assert.equal((await gateway.publish('news', { rooms, payload: 1 })).sockets, 1);
      assert.equal(await ask(socket, 'grantIn', {}), 'false');
      for (const wrong of [[], [''], 5, null, { room: 'x' }, Buffer.from('x')]) {
        assert.equal((await ask(socket, 'subscribe', wrong)).status, 'error', JSON.stringify(wrong));
      }
      for (const event of ['nope', 'é😀', '']) {
        const { status, code } = await ask(socket, event, { a: 1 });
        assert.deepEqual({ status, code }, { status: 'error', code: 'unknown_event' }, event);
      }
      await works(socket);
    });

    test(`hundreds at once over ${name} are each answered once, in order`, async (t) => {
      const socket = await speaker(t, server, { transports });
      const order = [];
      const answers = Array.from({ length: 300 }, (_, i) => {
        const asked = ask(socket, 'message-with-ack', i, `text ${i}`);
        return asked.then((value) => order.push(value));
      });
      await Promise.all(answers);
      assert.deepEqual(order, Array.from({ length: 300 }, (_, i) => i));
    });
  }

  test('a backend gets the same of clients of both parsers, and its answers arrive alike', better, async (t) => {
    const backend = await Backend.start(t, ({ json }) => ({ body: { got: json().args } }));
    const forwarding = await open(t, { forward: [{ event: 'chat:*', url: backend.url }] });
    const values = Object.values(VALUES).filter((json) => json.length < 10_000).map((json) => JSON.parse(json));
    const bytes = { file: Buffer.from([0, 1, 254, 255]), more: [Buffer.from('é')] };
    for (const parser of Object.values(PARSERS)) {
      const socket = await connected(t, forwarding, parser);
      assert.deepEqual(await ask(socket, 'chat:say', ...values), { got: values });
      await ask(socket, 'chat:send', bytes, new Date(0));
    }
    const [first, second] = [backend.requests.slice(0, 2), backend.requests.slice(2)].map((half) =>
      half.map(({ json }) => ({ event: json().event, args: json().args })),
    );
    assert.deepEqual(second, first);
  });

  test('several namespaces share one connection, each with its own id', (t) => inTwoNamespaces(t, server, MSGPACK));
});

describe('the end', () => {
  for (const [name, transports] of Object.entries(TRANSPORTS)) {
    test(`the client disconnects over ${name}: the gateway forgets it at once`, async (t) => {
      const socket = await speaker(t, gateway, { transports });
      const room = freshRoom();
      await subscribe(socket, room);
      const reason = nextValue(socket, 'disconnect');
      socket.disconnect();
      assert.equal(await reason, 'io client disconnect');
      await eventually(async () => (await gateway.publish('left', { rooms: room, payload: 1 })).sockets === 0, 'an empty room');
      await connectNow(socket);
      await works(socket);
    });

    test(`the server takes it out of one namespace over ${name}, then out of all`, async (t) => {
      const manager = new Manager(server.url, { ...MSGPACK, transports });
      t.after(() => manager._close());
      const [main, custom] = [manager.socket('/'), manager.socket('/custom')];
      await Promise.all([main, custom].map((socket) => next(socket, 'connect')));
      const reason = nextValue(custom, 'disconnect');
      custom.emit('leave');
      assert.equal(await reason, 'io server disconnect');
      assert.equal(await ask(main, 'message-with-ack', 7), 7);
      const again = next(custom, 'connect');
      custom.connect();
      await again;
      const reasons = [main, custom].map((socket) => nextValue(socket, 'disconnect'));
      const closed = next(manager.engine, 'close');
      main.emit('close');
      assert.deepEqual(await Promise.all(reasons), ['io server disconnect', 'io server disconnect']);
      await closed;
    });
  }

  test('the gateway stops and another takes its port', better, async (t) => {
    const first = await startSpeaking({ env: { IDAE_SOCKET_DRAIN_S: '1' } });
    t.after(() => first.killNow());
    const socket = await speaker(t, first, {
      transports: ['websocket'], reconnection: true, reconnectionDelay: 50, reconnectionDelayMax: 100,
    });
    const lost = nextValue(socket, 'disconnect');
    assert.equal(await first.stop(), 0);
    assert.equal(await lost, 'transport close');
    const back = next(socket, 'connect');
    const second = await startSpeaking({ port: first.port });
    t.after(() => second.end());
    await back;
    assert.deepEqual(await ask(socket, 'entity'), OK);
  });
});
