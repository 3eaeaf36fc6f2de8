// Rooms: how a client joins and leaves them, what it is told when it asks wrongly, and who
// receives what is published to them. Without authentication every room is open.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { collect, eventually, next } from './harness/events.js';
import { startGateway } from './harness/gateway.js';
import { ask, connected, joined, subscribe } from './harness/sessions.js';

let gateway;
before(async () => {
  gateway = await startGateway({ env: { IDAE_SOCKET_NAMESPACES: '/,/admin' } });
});
after(() => gateway?.end());

const websocket = { transports: ['websocket'] };
const member = (t, options) => connected(t, gateway, { ...websocket, ...options });
const publish = (body) => gateway.publish('news', { payload: 1, ...body });

// Tests share one gateway: every test takes rooms nobody else uses.
let used = 0;
const freshRoom = (name = 'room') => `${name}-${(used += 1)}`;

function checkError(reply) {
  assert.equal(reply.status, 'error', JSON.stringify(reply));
  assert.match(reply.code, /^[a-z0-9_]+$/);
  assert.equal(typeof reply.detail, 'string');
  assert.ok(reply.detail.length > 0);
  assert.equal(reply.rooms, undefined);
}

/** The payloads received until now; a fence makes sure that "now" is after all publishing. */
async function received(socket, events) {
  const fence = next(socket, 'fence');
  await gateway.publish('fence', { users: socket.id, payload: 0, namespace: socket.nsp });
  await fence;
  return events.values.map((envelope) => envelope.payload);
}

describe('subscribe and unsubscribe', () => {
  test('one room by name', async (t) => {
    const socket = await member(t);
    const room = freshRoom();
    assert.deepEqual(await ask(socket, 'subscribe', room), { status: 'ok', rooms: [room] });
    assert.equal((await publish({ rooms: room })).sockets, 1);
  });

  test('several rooms in an array', async (t) => {
    const socket = await member(t);
    const rooms = [freshRoom(), freshRoom(), freshRoom()];
    const reply = await ask(socket, 'subscribe', rooms);
    assert.deepEqual({ ...reply, rooms: [...reply.rooms].sort() }, { status: 'ok', rooms: [...rooms].sort() });
    for (const room of rooms) assert.equal((await publish({ rooms: room })).sockets, 1);
  });

  test('twice the same room is one membership', async (t) => {
    const socket = await member(t);
    const room = freshRoom();
    const events = collect(socket, 'news');
    await subscribe(socket, [room, room]);
    await subscribe(socket, room);
    assert.equal((await publish({ rooms: room })).sockets, 1);
    assert.deepEqual(await received(socket, events), [1]);
    assert.equal((await ask(socket, 'unsubscribe', room)).status, 'ok');
    assert.equal((await publish({ rooms: room })).sockets, 0);
  });

  test('unsubscribe ends the events of that room and no other', async (t) => {
    const socket = await member(t);
    const [gone, kept] = [freshRoom(), freshRoom()];
    await subscribe(socket, [gone, kept]);
    const events = collect(socket, 'news');
    const reply = await ask(socket, 'unsubscribe', gone);
    assert.equal(reply.status, 'ok');
    assert.ok(Array.isArray(reply.rooms));
    assert.equal((await publish({ rooms: gone, payload: 'gone' })).sockets, 0);
    assert.equal((await publish({ rooms: kept, payload: 'kept' })).sockets, 1);
    assert.deepEqual(await received(socket, events), ['kept']);
  });

  test('unsubscribe from a room one is not in changes nothing', async (t) => {
    const socket = await member(t);
    assert.equal((await ask(socket, 'unsubscribe', freshRoom())).status, 'ok');
  });

  test('unsubscribe takes an array', async (t) => {
    const socket = await member(t);
    const rooms = [freshRoom(), freshRoom()];
    await subscribe(socket, rooms);
    assert.equal((await ask(socket, 'unsubscribe', rooms)).status, 'ok');
    assert.equal((await publish({ rooms })).sockets, 0);
  });

  const names = ['a', 'tenant:1:orders', 'é😀', 'with space', 'UPPER', '0', '*', '../x', '__proto__', 'constructor', '"', 'x'.repeat(100)];
  for (const name of names) {
    test(`${JSON.stringify(name).slice(0, 30)} is a name like any other`, async (t) => {
      const socket = await member(t, { transports: ['polling'] });
      await subscribe(socket, name);
      const event = next(socket, 'news');
      const reply = await publish({ rooms: name });
      assert.equal(reply.sockets, 1);
      assert.deepEqual((await event)[0].payload, 1);
    });
  }

  test('names are not folded: other case, other room', async (t) => {
    const socket = await member(t);
    const room = freshRoom('Case');
    await subscribe(socket, room);
    assert.equal((await publish({ rooms: room.toLowerCase() })).sockets, 0);
    assert.equal((await publish({ rooms: `${room} ` })).sockets, 0);
  });

  test('a star is no pattern for a subscriber', async (t) => {
    const socket = await member(t);
    const room = freshRoom('star');
    await subscribe(socket, [`${room}*`, `${room}:*`]);
    assert.equal((await publish({ rooms: `${room}:1` })).sockets, 0);
  });

  test('it works without an ack as well', async () => {
    const raw = await joined(gateway);
    const room = freshRoom();
    raw.sendTogether(`42["subscribe",${JSON.stringify(room)}]`, '421["fence"]');
    assert.equal(await raw.nextText(), '431[{"status":"OK"}]');
    assert.equal((await publish({ rooms: room })).sockets, 1);
    raw.close();
  });

  test('a room belongs to its namespace', async (t) => {
    const main = await member(t);
    const admin = await member(t, { namespace: '/admin' });
    const room = freshRoom();
    await subscribe(main, room);
    await subscribe(admin, room);
    const events = collect(admin, 'news');
    assert.equal((await publish({ rooms: room, payload: 'main' })).sockets, 1);
    assert.equal((await publish({ rooms: room, payload: 'admin', namespace: '/admin' })).sockets, 1);
    await events.take(1);
    assert.deepEqual(events.values.map(({ payload }) => payload), ['admin']);
  });

  test('a client that is gone is in no room', async (t) => {
    const socket = await member(t);
    const room = freshRoom();
    await subscribe(socket, room);
    socket.disconnect();
    await eventually(async () => (await publish({ rooms: room })).sockets === 0, 'the room to be empty');
  });

  test('a client that comes back starts without rooms', async (t) => {
    const socket = await member(t);
    const room = freshRoom();
    await subscribe(socket, room);
    socket.disconnect();
    const back = next(socket, 'connect');
    socket.connect();
    await back;
    assert.equal((await publish({ rooms: room })).sockets, 0);
  });
});

describe('bad input to subscribe', () => {
  const bad = [
    ['nothing', []],
    ['null', [null]],
    ['a number', [5]],
    ['a boolean', [true]],
    ['an object', [{ room: 'x' }]],
    ['the empty name', ['']],
    ['an empty array', [[]]],
    ['an array with an empty name', [['fine', '']]],
    ['an array with a number', [['fine', 5]]],
    ['an array with null', [['fine', null]]],
    ['an array in an array', [['fine', ['x']]]],
    ['an array with an object', [['fine', {}]]],
    ['bytes', [Buffer.from('x')]],
    ['a name of 10,000 characters', ['x'.repeat(10_000)]],
    ['an array with one over-long name', [['fine', 'x'.repeat(10_000)]]],
    ['20,000 rooms at once', [Array.from({ length: 20_000 }, (_, i) => `many${i}`)]],
  ];
  for (const event of ['subscribe', 'unsubscribe']) {
    for (const [name, args] of bad) {
      // Leaving too many rooms is no danger to anybody, so it may succeed.
      if (event === 'unsubscribe' && name === '20,000 rooms at once') continue;
      test(`${event} with ${name} is an error and changes nothing`, async (t) => {
        const socket = await member(t);
        const own = freshRoom('own');
        await subscribe(socket, own);
        checkError(await ask(socket, event, ...args));
        assert.equal((await publish({ rooms: ['fine', 'many0', 'many19999'] })).sockets, 0);
        assert.equal((await publish({ rooms: own })).sockets, 1);
      });
    }
  }

  test('too many rooms one after the other end in an error, those joined stay', async (t) => {
    const socket = await member(t);
    const rooms = [];
    let reply;
    for (let batch = 0; batch < 500; batch += 1) {
      const more = Array.from({ length: 100 }, (_, i) => `crowd-${batch}-${i}`);
      reply = await ask(socket, 'subscribe', more);
      if (reply.status !== 'ok') break;
      rooms.push(...more);
    }
    checkError(reply);
    assert.ok(rooms.length > 0, 'not even 100 rooms were allowed');
    assert.equal((await publish({ rooms: rooms[0] })).sockets, 1);
    assert.equal((await publish({ rooms: rooms.at(-1) })).sockets, 1);
    // Leaving some makes room again.
    assert.equal((await ask(socket, 'unsubscribe', rooms.slice(0, 100))).status, 'ok');
    await subscribe(socket, freshRoom('after'));
  });

  test('a thousand joins and leaves leave nothing behind', async (t) => {
    const socket = await member(t);
    const room = freshRoom();
    const replies = [];
    for (let i = 0; i < 1000; i += 1) {
      socket.emit('subscribe', `${room}-${i}`, (reply) => replies.push(reply.status));
      socket.emit('unsubscribe', `${room}-${i}`, (reply) => replies.push(reply.status));
    }
    await eventually(() => replies.length === 2000, '2,000 answers');
    assert.ok(replies.every((status) => status === 'ok'), 'a join was refused');
    assert.equal((await publish({ rooms: [`${room}-0`, `${room}-500`, `${room}-999`] })).sockets, 0);
  });
});

describe('grantIn', () => {
  test('ROLE and host are joined, the answer is the text true', async (t) => {
    const socket = await member(t);
    const [ROLE, host] = [freshRoom('role'), freshRoom('host')];
    const events = collect(socket, 'news');
    assert.equal(await ask(socket, 'grantIn', { ROLE, host }), 'true');
    assert.equal((await publish({ rooms: ROLE, payload: 'role' })).sockets, 1);
    assert.equal((await publish({ rooms: host, payload: 'host' })).sockets, 1);
    assert.equal((await publish({ rooms: [ROLE, host], payload: 'both' })).sockets, 1);
    assert.deepEqual(await received(socket, events), ['role', 'host', 'both']);
  });

  test('twice the same is true twice', async (t) => {
    const socket = await member(t);
    const wish = { ROLE: freshRoom('role'), host: freshRoom('host') };
    assert.equal(await ask(socket, 'grantIn', wish), 'true');
    assert.equal(await ask(socket, 'grantIn', wish), 'true');
  });

  test('further fields are ignored', async (t) => {
    const socket = await member(t);
    const wish = { ROLE: freshRoom('role'), host: freshRoom('host'), extra: [1] };
    assert.equal(await ask(socket, 'grantIn', wish), 'true');
  });

  const bad = [
    ['nothing', []],
    ['null', [null]],
    ['a text', ['admin']],
    ['a number', [1]],
    ['an array', [['admin', 'host']]],
    ['an empty object', [{}]],
    ['a ROLE that is a number', [{ ROLE: 5, host: 'fine-host' }]],
    ['a ROLE that is an object', [{ ROLE: {}, host: 'fine-host' }]],
    ['an empty ROLE', [{ ROLE: '', host: 'fine-host' }]],
    ['a host that is an array', [{ ROLE: 'fine-role', host: ['x'] }]],
    ['an over-long host', [{ ROLE: 'fine-role', host: 'x'.repeat(10_000) }]],
    ['an over-long ROLE', [{ ROLE: 'x'.repeat(10_000), host: 'fine-host' }]],
    ['bytes', [Buffer.from('x')]],
  ];
  for (const [name, args] of bad) {
    test(`${name}: the answer is the text false and nothing is joined`, async (t) => {
      const socket = await member(t);
      assert.equal(await ask(socket, 'grantIn', ...args), 'false');
      assert.equal((await publish({ rooms: ['fine-host', 'fine-role', 'admin', 'x'] })).sockets, 0);
    });
  }
});

describe('who receives', () => {
  test('a union: several matches, one copy', async (t) => {
    const socket = await member(t);
    const rooms = [freshRoom(), freshRoom()];
    await subscribe(socket, rooms);
    const events = collect(socket, 'news');
    const targets = [
      { rooms },
      { rooms: [rooms[0], rooms[0]] },
      { rooms, users: socket.id },
      { rooms: rooms[0], users: [socket.id, socket.id] },
      { rooms, payload: { own: socket.id } },
    ];
    for (const target of targets) assert.equal((await publish(target)).sockets, 1, JSON.stringify(target));
    assert.equal((await received(socket, events)).length, targets.length);
  });

  test('everybody once with broadcast, whatever else is named', async (t) => {
    const alone = await startGateway();
    t.after(() => alone.end());
    const sockets = await Promise.all(Array.from({ length: 3 }, () => connected(t, alone, websocket)));
    const events = sockets.map((socket) => collect(socket, 'news'));
    await subscribe(sockets[0], ['a', 'b']);
    const reply = await alone.publish('news', { broadcast: true, rooms: ['a', 'b'], users: sockets[1].id, payload: 1 });
    assert.equal(reply.sockets, 3);
    const last = await alone.publish('news', { broadcast: true, payload: 2 });
    assert.equal(last.sockets, 3);
    for (const kept of events) {
      await kept.take(2);
      assert.deepEqual(kept.values.map(({ payload }) => payload), [1, 2]);
    }
  });

  test('except leaves out rooms and socket ids', async (t) => {
    const [one, two, three] = await Promise.all([member(t), member(t), member(t)]);
    const [all, muted] = [freshRoom('all'), freshRoom('muted')];
    for (const socket of [one, two, three]) await subscribe(socket, all);
    await subscribe(two, muted);
    const events = [one, two, three].map((socket) => collect(socket, 'news'));
    assert.equal((await publish({ rooms: all, except: muted, payload: 'a' })).sockets, 2);
    assert.equal((await publish({ rooms: all, except: [one.id], payload: 'b' })).sockets, 2);
    assert.equal((await publish({ rooms: all, except: [one.id, muted], payload: 'c' })).sockets, 1);
    assert.deepEqual(await received(one, events[0]), ['a']);
    assert.deepEqual(await received(two, events[1]), ['b']);
    assert.deepEqual(await received(three, events[2]), ['a', 'b', 'c']);
  });

  test('nobody: zero, and no error', async () => {
    assert.equal((await publish({ rooms: freshRoom('empty') })).sockets, 0);
    assert.equal((await publish({ users: 'nobody' })).sockets, 0);
  });

  test('the envelope carries what the publisher named', async (t) => {
    const socket = await member(t);
    const room = freshRoom();
    await subscribe(socket, room);
    const event = next(socket, 'news');
    await publish({ rooms: [room], payload: { entity: 'users', id: 1 }, sender: { name: 'backend' } });
    const [envelope] = await event;
    assert.deepEqual(envelope, { payload: { entity: 'users', id: 1 }, rooms: [room], sender: { name: 'backend' } });
  });
});

describe('rooms, users and socket ids are three spaces', () => {
  test('a room called like another socket does not catch its events, nor the reverse', async (t) => {
    const [victim, curious] = await Promise.all([member(t), member(t)]);
    await subscribe(curious, victim.id);
    const [victims, curiouss] = [collect(victim, 'news'), collect(curious, 'news')];
    assert.equal((await publish({ users: victim.id, payload: 'to the socket' })).sockets, 1);
    assert.equal((await publish({ payload: { own: victim.id } })).sockets, 1);
    assert.equal((await publish({ rooms: victim.id, payload: 'to the room' })).sockets, 1);
    assert.deepEqual(await received(victim, victims), ['to the socket', { own: victim.id }]);
    assert.deepEqual(await received(curious, curiouss), ['to the room']);
  });

  test('grantIn cannot catch them either', async (t) => {
    const [victim, curious] = await Promise.all([member(t), member(t)]);
    await ask(curious, 'grantIn', { ROLE: victim.id, host: victim.id });
    const events = collect(curious, 'news');
    assert.equal((await publish({ users: victim.id, payload: 'secret' })).sockets, 1);
    assert.deepEqual(await received(curious, events), []);
  });

  test('a room with the name of a user receives nothing of that user', async (t) => {
    const socket = await member(t);
    await subscribe(socket, ['42', 'user:42', 'u:42', 'users:42']);
    assert.equal((await publish({ users: '42' })).sockets, 0);
    assert.equal((await publish({ users: 42 })).sockets, 0);
    assert.equal((await publish({ payload: { own: '42' } })).sockets, 0);
    assert.equal((await publish({ rooms: 42 })).sockets, 1);
  });
});
