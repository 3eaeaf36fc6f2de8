// Which rooms and namespaces are whose: roles, rules with claims, and what the backend decides.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { collect, eventually, next, nextValue, sleep, within } from '../harness/events.js';
import { metrics } from '../harness/metrics.js';
import { ask, client, connectNow } from '../harness/sessions.js';
import { Door, JWT, enter, open, refusal, refusals, whoIs } from './entering.js';
import { Backend, DROP, HANG, now, token } from './tokens.js';

const sockets = async (gateway, target) => (await gateway.publish('news', { payload: 1, ...target })).sockets;

/** Insists on an error with this code, and on a sentence for a person. */
function assertRefusedRoom(reply, code = 'room_forbidden') {
  assert.deepEqual([reply.status, reply.code], ['error', code], JSON.stringify(reply));
  assert.equal(typeof reply.detail, 'string', JSON.stringify(reply));
  assert.notEqual(reply.detail, '');
}

describe('roles', () => {
  let gateway;
  before(async () => {
    gateway = await open(null, { auth: JWT, namespaces: ['/', '/shop'] });
  });
  after(() => gateway?.end());

  test('their rooms are joined on connect, in the namespace of the token', async (t) => {
    const ada = await enter(t, gateway, token({ roles: ['admin', 'editor'] }));
    const bob = await enter(t, gateway, token({ sub: 'bob', role: 'editor' }));
    const shop = await enter(t, gateway, token({ roles: ['admin'] }), { namespace: '/shop' });
    const [adas, bobs, shops] = [collect(ada, 'news'), collect(bob, 'news'), collect(shop, 'news')];
    assert.equal(await sockets(gateway, { rooms: 'admin', payload: 1 }), 1);
    assert.equal(await sockets(gateway, { rooms: ['editor', 'admin'], payload: 2 }), 2);
    assert.equal(await sockets(gateway, { rooms: 'admin', namespace: '/shop', payload: 3 }), 1);
    assert.equal(await sockets(gateway, { rooms: ['Admin', 'admin ', 'adm', 'admin:x'] }), 0);
    await adas.take(2);
    await bobs.take(1);
    await shops.take(1);
    assert.deepEqual([adas, bobs, shops].map(({ values }) => values.map(({ payload }) => payload)), [[1, 2], [2], [3]]);
  });

  test('before the client can do anything: an event right behind connect arrives', async (t) => {
    const socket = client(t, gateway, { transports: ['websocket'], auth: { token: token({ roles: ['first'] }), recovery: false } });
    const event = nextValue(socket, 'news');
    socket.connect();
    await eventually(async () => (await sockets(gateway, { rooms: 'first', payload: 'hello' })) === 1, 'the role\'s room');
    assert.equal((await event).payload, 'hello');
  });

  test('one\'s own role may be left and joined again, another may not', async (t) => {
    const socket = await enter(t, gateway, token({ roles: ['own', 'second'] }));
    assert.equal((await ask(socket, 'unsubscribe', 'own')).status, 'ok');
    assert.equal(await sockets(gateway, { rooms: 'own' }), 0);
    assert.equal((await ask(socket, 'subscribe', 'own')).status, 'ok');
    assert.equal(await sockets(gateway, { rooms: 'own' }), 1);
    assert.equal((await ask(socket, 'unsubscribe', ['own', 'second'])).status, 'ok');
    assert.equal(await ask(socket, 'grantIn', { ROLE: 'own' }), 'true');
    assert.equal(await sockets(gateway, { rooms: 'own' }), 1);
    for (const room of ['other', 'Own', 'own*', '*', 'ada']) assertRefusedRoom(await ask(socket, 'subscribe', room));
    assert.deepEqual((await whoIs(socket)).rooms, ['own']);
  });

  test('no role is given by asking for it', async (t) => {
    const socket = await enter(t, gateway, token({ roles: ['reader'] }));
    for (const wish of [{ ROLE: 'admin2' }, { role: 'admin2' }, { ROLE: ['admin2'] }, { roles: ['admin2'] }, { ROLE: 'READER' }, { host: 'admin2' }, { ROLE: 'reader', host: 'admin2' }]) {
      assert.equal(await ask(socket, 'grantIn', wish), 'false', JSON.stringify(wish));
    }
    assert.equal(await sockets(gateway, { rooms: ['admin2', 'READER'] }), 0);
  });
});

describe('rules', () => {
  let gateway;
  const join = ['public:*', 'tenant:{tenant}:*', 'user:{sub}:*', 'org:{org.id}:*', 'lobby', 'team:{teams}'];
  before(async () => {
    gateway = await open(null, { auth: JWT, rooms: { join } });
  });
  after(() => gateway?.end());
  const acme = { tenant: 'acme', org: { id: 'o1' }, teams: ['red', 'blue'], roles: ['editor'] };

  const rooms = [
    ['public:a', true],
    ['public:', true],
    ['public:a:b/c', true],
    ['lobby', true],
    ['tenant:acme:orders', true],
    ['user:ada:inbox', true],
    ['org:o1:x', true],
    ['team:red', true],
    ['team:blue', true],
    ['editor', true],
    ['public', false],
    ['PUBLIC:a', false],
    ['xpublic:a', false],
    ['lobby2', false],
    ['tenant:other:orders', false],
    ['tenant:acme', false],
    ['tenant:acmex:orders', false],
    ['tenant:{tenant}:orders', false],
    ['user:bob:inbox', false],
    ['user:ada', false],
    ['org:o2:x', false],
    ['team:green', false],
    ['team:red,blue', false],
    ['ada', false],
    ['admin', false],
    ['private', false],
    ['*', false],
  ];
  for (const [room, isAllowed] of rooms) {
    test(`${room}: ${isAllowed ? 'joined' : 'forbidden'}`, async (t) => {
      const socket = await enter(t, gateway, token(acme));
      await ask(socket, 'unsubscribe', 'editor');
      const reply = await ask(socket, 'subscribe', room);
      if (isAllowed) assert.deepEqual(reply, { status: 'ok', rooms: [room] });
      else assertRefusedRoom(reply);
      assert.equal(await sockets(gateway, { rooms: room }), isAllowed ? 1 : 0);
      await ask(socket, 'unsubscribe', room);
      assert.equal(await ask(socket, 'grantIn', { host: room }), isAllowed ? 'true' : 'false');
      assert.equal(await sockets(gateway, { rooms: room }), isAllowed ? 1 : 0);
      socket.disconnect();
      await eventually(async () => (await sockets(gateway, { rooms: room })) === 0, 'the room to be empty');
    });
  }

  test('one forbidden room in an array: nothing is joined, whatever its place', async (t) => {
    const socket = await enter(t, gateway, token({ tenant: 'acme' }));
    for (const wish of [['private', 'public:n', 'lobby'], ['public:n', 'private', 'lobby'], ['public:n', 'lobby', 'private']]) {
      assertRefusedRoom(await ask(socket, 'subscribe', wish));
      assert.equal(await sockets(gateway, { rooms: wish }), 0);
    }
    assert.deepEqual((await whoIs(socket)).rooms, []);
    assert.deepEqual(await ask(socket, 'subscribe', ['public:n', 'lobby']), { status: 'ok', rooms: ['public:n', 'lobby'] });
  });

  test('what is no room stays an error of its own', async (t) => {
    const socket = await enter(t, gateway, token());
    for (const [wish, code] of [['', 'invalid_room'], [[], 'invalid_room'], [5, 'invalid_room'], [['public:a', 5], 'invalid_room'], [`public:${'x'.repeat(300)}`, 'room_too_long']]) {
      assert.equal((await ask(socket, 'subscribe', wish)).code, code, JSON.stringify(wish).slice(0, 40));
    }
    for (const wish of [null, 'public:a', {}, { host: '' }, { host: ['public:a'] }, { ROLE: 5 }]) {
      assert.equal(await ask(socket, 'grantIn', wish), 'false', JSON.stringify(wish));
    }
    assert.equal(await sockets(gateway, { rooms: 'public:a' }), 0);
  });

  test('unsubscribe needs no rule and ends the events', async (t) => {
    const socket = await enter(t, gateway, token());
    const heard = collect(socket, 'news');
    await ask(socket, 'subscribe', ['public:u1', 'public:u2']);
    assert.deepEqual(await ask(socket, 'unsubscribe', 'public:u1'), { status: 'ok', rooms: ['public:u1'] });
    assert.equal(await sockets(gateway, { rooms: 'public:u1', payload: 'gone' }), 0);
    assert.equal(await sockets(gateway, { rooms: 'public:u2', payload: 'kept' }), 1);
    assert.equal((await ask(socket, 'unsubscribe', ['private', 'never-joined'])).status, 'ok');
    await heard.take(1);
    assert.deepEqual(heard.values.map(({ payload }) => payload), ['kept']);
  });

  test('without any rule there are only roles', async (t) => {
    const closed = await open(t, { auth: JWT });
    const socket = await enter(t, closed, token({ roles: ['editor'] }));
    for (const room of ['public:a', 'ada', 'lobby', '*']) assertRefusedRoom(await ask(socket, 'subscribe', room));
    assert.equal((await ask(socket, 'subscribe', 'editor')).status, 'ok');
    assert.ok((await refusals(closed)).of('room_forbidden') >= 4);
  });

  test('rules from the environment', async (t) => {
    const gateway = await open(t, { auth: JWT }, { env: { IDAE_SOCKET_ROOMS_JOIN: 'public:*,user:{sub}:*' } });
    const socket = await enter(t, gateway, token());
    assert.equal((await ask(socket, 'subscribe', ['public:a', 'user:ada:x'])).status, 'ok');
    assertRefusedRoom(await ask(socket, 'subscribe', 'user:bob:x'));
  });

  test('too many rooms', async (t) => {
    const small = await open(t, { auth: JWT, rooms: { join: ['public:*'] }, socket: { rooms_max: 5 } });
    const socket = await enter(t, small, token({ roles: ['a', 'b', 'c'] }));
    assert.equal((await ask(socket, 'subscribe', ['public:1', 'public:2'])).status, 'ok');
    assert.equal((await ask(socket, 'subscribe', 'public:3')).code, 'too_many_rooms');
    assert.equal(await ask(socket, 'grantIn', { host: 'public:3' }), 'false');
    assert.equal(await sockets(small, { rooms: 'public:3' }), 0);
  });
});

describe('the backend decides', { concurrency: true }, () => {
  /** A gateway that asks about every room but `public:*`; the backend says no to what begins with "no". */
  async function start(t, rooms = {}, more = {}) {
    const backend = await Backend.start(t, ({ json }) => ({ status: json().room.startsWith('no') ? 403 : 204 }));
    const gateway = await open(t, {
      auth: JWT,
      namespaces: ['/', '/shop'],
      rooms: { join: ['public:*'], authorize_url: `${backend.url}may-join`, ...rooms },
      ...more,
    });
    return { backend, gateway };
  }

  test('it is told who, what and where', async (t) => {
    const { backend, gateway } = await start(t);
    const ada = await enter(t, gateway, token({ sub: 'ada', roles: ['editor', 'x'] }));
    assert.deepEqual(await ask(ada, 'subscribe', 'order:1'), { status: 'ok', rooms: ['order:1'] });
    assert.equal(await sockets(gateway, { rooms: 'order:1' }), 1);
    const bob = await enter(t, gateway, token({ sub: 42 }), { namespace: '/shop' });
    assert.equal((await ask(bob, 'subscribe', 'é😀"\\')).status, 'ok');
    assert.deepEqual(
      backend.requests.map(({ json }) => json()),
      [
        { user: 'ada', roles: ['editor', 'x'], room: 'order:1', namespace: '/' },
        { user: '42', roles: [], room: 'é😀"\\', namespace: '/shop' },
      ],
    );
    for (const { method, path, headers } of backend.requests) {
      assert.deepEqual([method, path], ['POST', '/may-join']);
      assert.match(headers['content-type'], /^application\/json\b/);
      assert.equal(headers.authorization, undefined);
    }
    const nobody = await enter(t, gateway, token({ sub: undefined }));
    assert.equal((await ask(nobody, 'subscribe', 'order:1')).status, 'ok');
    assert.equal(backend.requests[2].json().user ?? null, null);
  });

  test('403 is no, and nothing is joined', async (t) => {
    const { backend, gateway } = await start(t);
    const socket = await enter(t, gateway, token({ roles: ['editor'] }));
    const refused = await ask(socket, 'subscribe', 'no:1');
    assertRefusedRoom(refused);
    assert.match(refused.detail, /the backend \(rooms\.authorize_url\) refuses/);
    assertRefusedRoom(await ask(socket, 'subscribe', ['yes:1', 'public:a', 'no:2']));
    assert.equal(await ask(socket, 'grantIn', { host: 'no:3' }), 'false');
    assert.equal(await sockets(gateway, { rooms: ['no:1', 'yes:1', 'public:a', 'no:2', 'no:3'] }), 0);
    assert.equal(await ask(socket, 'grantIn', { host: 'yes:3' }), 'true');
    assert.equal(await sockets(gateway, { rooms: 'yes:3' }), 1);
    assert.deepEqual((await whoIs(socket)).rooms, ['editor', 'yes:3']);
    assert.ok(backend.requests.length <= 5);
  });

  test('it is not asked about what a rule, a role or nobody decides', async (t) => {
    const { backend, gateway } = await start(t);
    const socket = await enter(t, gateway, token({ roles: ['editor'] }));
    assert.equal((await ask(socket, 'subscribe', ['public:a', 'editor'])).status, 'ok');
    assert.equal(await ask(socket, 'grantIn', { ROLE: 'editor', host: 'public:b' }), 'true');
    // A role is never the backend's to give here.
    assert.equal(await ask(socket, 'grantIn', { ROLE: 'yes-admin' }), 'false');
    assert.equal((await ask(socket, 'subscribe', '')).code, 'invalid_room');
    assert.equal((await ask(socket, 'subscribe', ['a', 5])).code, 'invalid_room');
    assert.equal((await ask(socket, 'unsubscribe', 'whatever')).status, 'ok');
    await socket.emitWithAck('other', 1);
    assert.equal(backend.requests.length, 0, JSON.stringify(backend.requests.map(({ body }) => body)));
  });

  const failures = [
    ['500', { status: 500 }],
    ['503', { status: 503 }],
    ['404', { status: 404 }],
    ['401', { status: 401 }],
    ['a redirect to somewhere that says yes', null],
    ['a broken connection', DROP],
  ];
  for (const [title, answer] of failures) {
    test(`${title}: authorize_unavailable, and it is asked again`, async (t) => {
      const { backend, gateway } = await start(t);
      const elsewhere = await Backend.start(t);
      const socket = await enter(t, gateway, token());
      backend.answer = () => answer ?? { status: 307, headers: { location: elsewhere.url } };
      assertRefusedRoom(await ask(socket, 'subscribe', 'yes:1'), 'authorize_unavailable');
      assertRefusedRoom(await ask(socket, 'subscribe', ['public:a', 'yes:1']), 'authorize_unavailable');
      assert.equal(await ask(socket, 'grantIn', { host: 'yes:1' }), 'false');
      assert.equal(await sockets(gateway, { rooms: ['yes:1', 'public:a'] }), 0);
      assert.equal(elsewhere.requests.length, 0, 'the redirect was followed');
      backend.answer = () => ({ status: 200, body: { any: 'thing' } });
      assert.equal((await ask(socket, 'subscribe', 'yes:1')).status, 'ok');
    });
  }

  test('a backend that is away when the token changes: the room is lost, and said to be', async (t) => {
    const { backend, gateway } = await start(t);
    const socket = await enter(t, gateway, token({ roles: ['one'] }));
    assert.equal((await ask(socket, 'subscribe', ['yes:1', 'public:a'])).status, 'ok');
    backend.answer = () => ({ status: 503 });
    const reply = await ask(socket, 'token:refresh', token({ roles: ['two'] }));
    assert.deepEqual([reply.status, reply.roomsLost.sort()], ['ok', ['one', 'yes:1']]);
    assert.equal(await sockets(gateway, { rooms: 'yes:1' }), 0);
    assert.equal(await sockets(gateway, { rooms: 'public:a' }), 1);
    backend.answer = () => ({ status: 200 });
    assert.equal((await ask(socket, 'subscribe', 'yes:1')).status, 'ok');
    const same = await ask(socket, 'token:refresh', token({ roles: ['two'] }));
    assert.deepEqual(Object.keys(same).sort(), ['expiresAt', 'status']);
  });

  test('a backend that is away when a client comes back as somebody else: a fresh session', async (t) => {
    const { backend, gateway } = await start(t);
    let role = 'one';
    const socket = await enter(t, gateway, null, { auth: (give) => give({ token: token({ roles: [role] }) }) });
    const { id } = socket;
    assert.equal((await ask(socket, 'subscribe', 'yes:1')).status, 'ok');
    const comesBack = async () => {
      const gone = next(socket, 'disconnect');
      socket.io.engine.close();
      await gone;
      await connectNow(socket);
    };
    role = 'two';
    await comesBack();
    assert.deepEqual([socket.recovered, socket.id], [true, id]);
    assert.equal(await sockets(gateway, { rooms: 'yes:1' }), 1);
    backend.answer = () => ({ status: 503 });
    role = 'three';
    await comesBack();
    assert.equal(socket.recovered, false);
    assert.equal(await sockets(gateway, { rooms: 'yes:1' }), 0);
  });

  test('a closed port: authorize_unavailable', async (t) => {
    const { backend, gateway } = await start(t);
    await backend.die();
    const socket = await enter(t, gateway, token());
    assertRefusedRoom(await ask(socket, 'subscribe', 'yes:1'), 'authorize_unavailable');
    assert.equal((await ask(socket, 'subscribe', 'public:a')).status, 'ok');
  });

  test('a backend that hangs: authorize_unavailable after a while, and others do not wait', async (t) => {
    const { backend, gateway } = await start(t);
    backend.answer = () => HANG;
    const [slow, quick] = [await enter(t, gateway, token()), await enter(t, gateway, token({ sub: 'bob' }))];
    const answer = within(new Promise((resolve) => slow.emit('subscribe', 'yes:1', resolve)), 'the refusal', 20_000);
    answer.catch(() => {});
    await backend.asked(1);
    assert.equal((await ask(quick, 'subscribe', 'public:a')).status, 'ok');
    assert.equal((await whoIs(slow)).user, 'ada');
    assert.equal(await sockets(gateway, { rooms: 'public:a' }), 1);
    assertRefusedRoom(await answer, 'authorize_unavailable');
    assert.equal(await sockets(gateway, { rooms: 'yes:1' }), 0);
  });

  test('one client with many rooms keeps nobody from being asked about', async (t) => {
    const { backend, gateway } = await start(t, { authorize_timeout_ms: 2000 });
    backend.answer = async () => {
      await sleep(250);
      return { status: 204 };
    };
    const [greedy, modest] = [await enter(t, gateway, token()), await enter(t, gateway, token({ sub: 'bob' }))];
    const rooms = Array.from({ length: 1000 }, (_, i) => `yes:${i}`);
    const many = within(new Promise((resolve) => greedy.emit('subscribe', rooms, resolve)), 'the answer', 10_000);
    many.catch(() => {});
    await backend.asked(8);
    for (let i = 0; i < 4; i += 1) {
      const started = Date.now();
      assert.equal((await ask(modest, 'subscribe', `own:${i}`)).status, 'ok');
      assert.ok(Date.now() - started < 1500, `it waited ${Date.now() - started} ms`);
    }
    assert.ok(backend.concurrent <= 9, `${backend.concurrent} questions at once`);
    // What was not asked in time is refused, all of it together, and counted.
    assertRefusedRoom(await many, 'authorize_unavailable');
    assert.equal((await metrics(gateway)).limit('authorize_timeout_ms'), 1);
    assert.deepEqual((await whoIs(greedy)).rooms, []);
    // What was answered is remembered, so that the next attempt gets further.
    const asked = backend.requests.length;
    assert.equal((await ask(greedy, 'subscribe', rooms.slice(0, 20))).status, 'ok');
    assert.equal(backend.requests.length, asked);
  });

  test('yes and no are remembered, for each user, room and namespace', async (t) => {
    const { backend, gateway } = await start(t);
    const count = async (socket, room, more) => {
      const before = backend.requests.length;
      const reply = await ask(socket, 'subscribe', room);
      await ask(socket, 'unsubscribe', room);
      assert.equal(backend.requests.length - before, more, `${room}: ${JSON.stringify(reply)}`);
      return reply.code ?? reply.status;
    };
    const ada = await enter(t, gateway, token({ roles: ['a'] }));
    assert.equal(await count(ada, 'yes:1', 1), 'ok');
    assert.equal(await count(ada, 'yes:1', 0), 'ok');
    assert.equal(await count(ada, 'no:1', 1), 'room_forbidden');
    assert.equal(await count(ada, 'no:1', 0), 'room_forbidden');
    const again = await enter(t, gateway, token({ roles: ['a'] }));
    assert.equal(await count(again, 'yes:1', 0), 'ok');
    assert.equal(await count(again, 'no:1', 0), 'room_forbidden');
    assert.equal(await count(again, 'yes:2', 1), 'ok');
    // Anything that makes it another question.
    const bob = await enter(t, gateway, token({ sub: 'bob', roles: ['a'] }));
    assert.equal(await count(bob, 'yes:1', 1), 'ok');
    const promoted = await enter(t, gateway, token({ roles: ['a', 'b'] }));
    assert.equal(await count(promoted, 'no:1', 1), 'room_forbidden');
    const shop = await enter(t, gateway, token({ roles: ['a'] }), { namespace: '/shop' });
    assert.equal(await count(shop, 'yes:1', 1), 'ok');
    // Names that meet where they are glued together are still different.
    const [one, two] = [token({ sub: 'x', roles: ['y', 'z'] }), token({ sub: 'x', roles: ['y,z'] })];
    assert.equal(await count(await enter(t, gateway, one), 'yes:1', 1), 'ok');
    assert.equal(await count(await enter(t, gateway, two), 'yes:1', 1), 'ok');
  });

  test('somebody without user id shares no answer with a user of any name', async (t) => {
    const { backend, gateway } = await start(t);
    backend.answer = ({ json }) => ({ status: (json().user ?? null) === null ? 204 : 403 });
    const nobody = await enter(t, gateway, token({ sub: undefined }));
    assert.equal((await ask(nobody, 'subscribe', 'room')).status, 'ok');
    for (const sub of ['null', 'undefined', 'anonymous', '-', ' ']) {
      const somebody = await enter(t, gateway, token({ sub }));
      assertRefusedRoom(await ask(somebody, 'subscribe', 'room'));
    }
  });

  test('an answer is forgotten after authorize_cache_s', async (t) => {
    const { backend, gateway } = await start(t, { authorize_cache_s: 1 });
    const socket = await enter(t, gateway, token());
    const started = Date.now();
    assert.equal((await ask(socket, 'subscribe', 'yes:1')).status, 'ok');
    backend.answer = () => ({ status: 403 });
    await eventually(async () => {
      await ask(socket, 'unsubscribe', 'yes:1');
      return (await ask(socket, 'subscribe', 'yes:1')).code === 'room_forbidden';
    }, 'the answer to be forgotten');
    assert.ok(Date.now() - started >= 900, `forgotten after ${Date.now() - started} ms`);
    assert.equal(backend.requests.length, 2);
  });

  test('a client that is gone by then leaves nothing behind', async (t) => {
    const { backend, gateway } = await start(t);
    const release = backend.hold();
    const [gone, stays] = [await enter(t, gateway, token()), await enter(t, gateway, token({ sub: 'bob' }))];
    gone.emit('subscribe', 'yes:1');
    await backend.asked(1);
    gone.disconnect();
    await eventually(async () => (await sockets(gateway, { users: 'ada' })) === 0, 'the client to be gone');
    release();
    assert.equal((await ask(stays, 'subscribe', 'yes:2')).status, 'ok');
    assert.equal(await sockets(gateway, { rooms: 'yes:1' }), 0);
  });

  test('an array asks about each room', async (t) => {
    const { backend, gateway } = await start(t);
    const socket = await enter(t, gateway, token());
    const rooms = Array.from({ length: 30 }, (_, i) => `yes:${i}`);
    const reply = await ask(socket, 'subscribe', ['public:a', ...rooms]);
    assert.equal(reply.status, 'ok', JSON.stringify(reply));
    assert.deepEqual(backend.requests.map(({ json }) => json().room).sort(), [...rooms].sort());
    for (const room of ['public:a', ...rooms]) assert.equal(await sockets(gateway, { rooms: room }), 1, room);
  });

  test('strategy none asks nobody: every room is open', async (t) => {
    const { backend, gateway } = await start(t, {}, { auth: { strategy: 'none' } });
    const socket = await enter(t, gateway, undefined);
    assert.equal((await ask(socket, 'subscribe', ['no:1', 'private'])).status, 'ok');
    assert.equal(await ask(socket, 'grantIn', { ROLE: 'no:admin', host: 'no:h' }), 'true');
    assert.equal(backend.requests.length, 0);
  });

  test('after a refresh a room stays only if the new identity may be in it', async (t) => {
    const { backend, gateway } = await start(t);
    backend.answer = ({ json }) => ({ status: json().roles.includes('a') ? 204 : 403 });
    const socket = await enter(t, gateway, token({ roles: ['a'] }));
    assert.equal((await ask(socket, 'subscribe', ['x:1', 'public:a'])).status, 'ok');
    assert.equal((await ask(socket, 'token:refresh', token({ roles: ['a', 'c'] }))).status, 'ok');
    assert.deepEqual((await whoIs(socket)).rooms, ['a', 'c', 'public:a', 'x:1']);
    assert.equal((await ask(socket, 'token:refresh', token({ roles: ['b'] }))).status, 'ok');
    await eventually(async () => !(await whoIs(socket)).rooms.includes('x:1'), 'the room to be left');
    assert.deepEqual((await whoIs(socket)).rooms, ['b', 'public:a']);
    assert.equal(await sockets(gateway, { rooms: 'x:1' }), 0);
    assertRefusedRoom(await ask(socket, 'subscribe', 'x:1'));
  });

  test('the room of a role goes with the role: the backend gave neither', async (t) => {
    const { backend, gateway } = await start(t);
    const socket = await enter(t, gateway, token({ roles: ['yes-a', 'both'] }));
    assert.equal((await ask(socket, 'token:refresh', token({ roles: ['yes-b', 'both'] }))).status, 'ok');
    assert.deepEqual((await whoIs(socket)).rooms, ['both', 'yes-b']);
    assert.equal(await sockets(gateway, { rooms: 'yes-a' }), 0);
    assert.deepEqual(backend.requests.map(({ body }) => body), []);
  });

  test('a yes to who somebody was is none to who it is now', async (t) => {
    const { backend, gateway } = await start(t);
    backend.answer = ({ json }) => ({ status: json().roles.includes('a') ? 204 : 403 });
    for (const event of ['subscribe', 'grantIn']) {
      const room = `x:${event}`;
      const socket = await enter(t, gateway, token({ sub: event, roles: ['a'] }));
      const decide = backend.answer;
      const release = backend.hold();
      const { length } = backend.requests;
      const answer = ask(socket, event, event === 'subscribe' ? room : { host: room });
      answer.catch(() => {});
      await backend.asked(length + 1);
      const refreshed = ask(socket, 'token:refresh', token({ sub: event, roles: ['b'] }));
      refreshed.catch(() => {});
      // Whether it is acted on now or after the answer: in the end the new identity counts.
      await gateway.publish('p', { rooms: 'r', payload: 1 });
      backend.answer = decide;
      release();
      await answer;
      assert.equal((await refreshed).status, 'ok');
      await eventually(async () => !(await whoIs(socket)).rooms.includes(room), `${room} to be left`);
      assert.equal(await sockets(gateway, { rooms: room }), 0);
    }
  });

  test('a yes that comes after the token\'s end is none', async (t) => {
    const { backend, gateway } = await start(t, {}, { auth: { ...JWT, leeway_s: 0, mode: 'soft' } });
    backend.answer = ({ json }) => ({ status: json().user === 'ada' ? 204 : 403 });
    const socket = await enter(t, gateway, token({ exp: now() + 2 }));
    const release = backend.hold();
    const expired = nextValue(socket, 'token:expired');
    const answer = ask(socket, 'subscribe', 'yes:late');
    answer.catch(() => {});
    await expired;
    release();
    await answer;
    await eventually(async () => !(await whoIs(socket)).rooms.includes('yes:late'), 'the room to be left');
    assert.equal(await sockets(gateway, { rooms: 'yes:late' }), 0);
  });
});

describe('namespaces', () => {
  let gateway;
  before(async () => {
    gateway = await open(null, { auth: JWT, namespaces: ['/', '/tenant-{tenant}', '/user/{sub}/*', '/open-*'] });
  });
  after(() => gateway?.end());

  const table = [
    [{ tenant: 'acme' }, '/', null],
    [{ tenant: 'acme' }, '/tenant-acme', null],
    [{ tenant: 'acme' }, '/open-x', null],
    [{ tenant: 'acme' }, '/user/ada/x', null],
    [{ tenant: ['acme', 'other'] }, '/tenant-other', null],
    [{ tenant: 5 }, '/tenant-5', null],
    [{ tenant: 'acme' }, '/tenant-other', 'namespace_forbidden'],
    [{ tenant: 'acme' }, '/tenant-ACME', 'namespace_forbidden'],
    [{ tenant: 'acme' }, '/tenant-acme2', 'namespace_forbidden'],
    [{ tenant: 'acme' }, '/user/bob/x', 'namespace_forbidden'],
    [{}, '/tenant-acme', 'namespace_forbidden'],
    [{ tenant: '*' }, '/tenant-acme', 'namespace_forbidden'],
    [{ tenant: 'a*' }, '/tenant-acme', 'namespace_forbidden'],
    [{ tenant: 'a:b' }, '/tenant-a:b', 'namespace_forbidden'],
    [{ tenant: '' }, '/tenant-x', 'namespace_forbidden'],
    [{ tenant: {} }, '/tenant-x', 'namespace_forbidden'],
    [{ sub: '*' }, '/user/ada/x', 'namespace_forbidden'],
    [{ sub: undefined, tenant: 'acme' }, '/user/ada/x', 'namespace_forbidden'],
  ];
  for (const [more, namespace, code] of table) {
    test(`${JSON.stringify(more)} and ${namespace}: ${code ?? 'let in'}`, async (t) => {
      const door = await Door.open(t, gateway);
      const answer = await door.knock({ token: token(more) }, { namespace });
      assert.equal(answer.code, code, answer.message);
      if (code) assert.match(door.last, new RegExp(`^44${namespace.replaceAll('*', '\\*')},\\{"message":"Unauthorized: [^"]+","data":\\{"code":"${code}"\\}\\}$`));
    });
  }

  test('what no pattern can mean is an unknown namespace', async (t) => {
    const door = await Door.open(t, gateway);
    for (const namespace of ['/nope', '/tenant', '/Tenant-acme', '/user', '/open', '/x/tenant-acme']) {
      assert.equal((await door.knock({ token: token({ tenant: 'acme' }) }, { namespace })).message, 'Invalid namespace');
      assert.equal(door.last, `44${namespace},{"message":"Invalid namespace"}`);
    }
  });

  test('a token that is no good comes first', async (t) => {
    const door = await Door.open(t, gateway);
    assert.equal(await door.code({ token: token({ tenant: 'acme', exp: 1 }) }, { namespace: '/tenant-acme' }), 'token_expired');
    assert.equal(await door.code(undefined, { namespace: '/tenant-acme' }), 'token_missing');
  });

  test('events are published into it, and reach who is in it', async (t) => {
    const acme = await enter(t, gateway, token({ tenant: 'acme', roles: ['staff'] }), { namespace: '/tenant-acme' });
    const other = await enter(t, gateway, token({ tenant: 'other', roles: ['staff'] }), { namespace: '/tenant-other' });
    const [acmes, others] = [collect(acme, 'news'), collect(other, 'news')];
    assert.equal(await sockets(gateway, { rooms: 'staff', namespace: '/tenant-acme', payload: 'acme' }), 1);
    assert.equal(await sockets(gateway, { broadcast: true, namespace: '/tenant-other', payload: 'other' }), 1);
    assert.equal(await sockets(gateway, { users: 'ada', namespace: '/tenant-nobody' }), 0);
    await acmes.take(1);
    await others.take(1);
    assert.deepEqual([acmes, others].map(({ values }) => values.map(({ payload }) => payload)), [['acme'], ['other']]);
  });

  test('the stock client is told, and stays in its other namespaces', async (t) => {
    const main = await enter(t, gateway, token({ tenant: 'acme' }));
    const wrong = main.io.socket('/tenant-other', { auth: { token: token({ tenant: 'acme' }) } });
    t.after(() => wrong.disconnect());
    const refused = nextValue(wrong, 'connect_error');
    wrong.connect();
    const error = await refused;
    assert.deepEqual([error.data, wrong.active], [{ code: 'namespace_forbidden' }, false]);
    assert.equal((await whoIs(main)).user, 'ada');
    const { code } = await refusal(t, gateway, { namespace: '/tenant-other', auth: { token: token({ tenant: 'acme' }) } });
    assert.equal(code, 'namespace_forbidden');
    assert.ok((await refusals(gateway)).of('namespace_forbidden') >= 2);
  });
});
