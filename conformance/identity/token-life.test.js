// A token's life on a live socket: it is warned of, replaced, and it ends. Time is under test here,
// so tokens live for a few seconds, and the cases run side by side.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { collect, eventually, next, nextValue, sleep } from '../harness/events.js';
import { endAll } from '../harness/gateway.js';
import { Polling, ask, openSession } from '../harness/sessions.js';
import { Door, JWT, enter, logLine, open, refusals, whoIs } from './entering.js';
import { Backend, OTHER_SECRET, now, token } from './tokens.js';

/** By how much an event may be late. */
const LATE_MS = 2000;
const auth = { ...JWT, leeway_s: 0 };
const rooms = { join: ['public:*', 'tenant:{tenant}:*', 'user:{sub}:*'] };

let gateway;
let soft;
before(async () => {
  [gateway, soft] = await Promise.all([
    open(null, { auth, rooms, namespaces: ['/', '/other'] }),
    open(null, { auth: { ...auth, mode: 'soft' }, rooms }),
  ]);
});
after(() => endAll(gateway, soft));

const sockets = async (at, target) => (await at.publish('news', { payload: 1, ...target })).sockets;

/** Keeps the events of a token's life in their order. */
function life(socket) {
  const seen = [];
  for (const name of ['token:expiring', 'token:expired', 'disconnect']) {
    socket.on(name, (value) => seen.push([name, value, Date.now()]));
  }
  return seen;
}

/** That something happened when a token's second struck, and not before. */
function assertAt(atMs, second) {
  const after = atMs - second * 1000;
  assert.ok(after >= -50 && after <= LATE_MS, `${after} ms after the time`);
}

describe('its end', { concurrency: true }, () => {
  for (const transport of ['websocket', 'polling']) {
    test(`over ${transport}: a warning at once, then the end, with its reason`, async (t) => {
      const exp = now() + 3;
      const sub = `end-${transport}`;
      const socket = await enter(t, gateway, token({ sub, exp, roles: [`role-${sub}`] }), { transports: [transport] });
      const seen = life(socket);
      assert.equal(await sockets(gateway, { users: sub, rooms: `role-${sub}` }), 1);
      const [reason] = await next(socket, 'disconnect', 3000 + LATE_MS);
      assert.equal(reason, 'io server disconnect');
      // The warning may have come with the connect itself, before anybody listened.
      const names = seen.map(([name]) => name).filter((name) => name !== 'token:expiring');
      assert.deepEqual(names, ['token:expired', 'disconnect']);
      const [, detail, at] = seen.find(([name]) => name === 'token:expired');
      assert.deepEqual(detail, { code: 'token_expired' });
      assertAt(at, exp);
      // The client knows that it would be refused: it does not come back by itself.
      assert.equal(socket.active, false);
      await eventually(async () => (await sockets(gateway, { users: sub, rooms: `role-${sub}` })) === 0, 'the socket to be gone');
    });
  }

  test('packet by packet', async () => {
    const exp = now() + 3;
    const websocket = await openSession(gateway);
    websocket.sendText(`40${JSON.stringify({ token: token({ exp }), recovery: false })}`);
    assert.match(await websocket.nextText(), /^40\{"sid":"/);
    const [event, detail] = JSON.parse((await websocket.nextText(1000)).replace(/^42/, ''));
    assert.equal(event, 'token:expiring');
    assert.deepEqual(Object.keys(detail), ['expiresAt', 'expiresIn']);
    assert.equal(detail.expiresAt, exp);
    assert.ok(Number.isInteger(detail.expiresIn) && detail.expiresIn >= 0 && detail.expiresIn <= 3, JSON.stringify(detail));
    assert.equal(await websocket.nextText(3000 + LATE_MS), '42["token:expired",{"code":"token_expired"}]');
    assertAt(Date.now(), exp);
    assert.equal(await websocket.nextText(), '41');
    // The session lives: a new token opens the namespace again.
    websocket.sendText(`40${JSON.stringify({ token: token(), recovery: false })}`);
    assert.match(await websocket.nextText(), /^40\{"sid":"/);
    websocket.close();
  });

  test('on polling, packet by packet', async () => {
    const exp = now() + 3;
    const session = await Polling.open(gateway);
    await session.send(`40${JSON.stringify({ token: token({ exp }), recovery: false })}`);
    const packets = await session.packets(4, 3000 + LATE_MS);
    assert.match(packets[0], /^40\{"sid":"/);
    assert.match(packets[1], /^42\["token:expiring",\{"expiresAt":\d+,"expiresIn":[0-3]\}\]$/);
    assert.deepEqual(packets.slice(2), ['42["token:expired",{"code":"token_expired"}]', '41']);
  });

  test('30 seconds before: the warning comes then, and not earlier', async (t) => {
    const exp = now() + 32;
    const started = Date.now();
    const socket = await enter(t, gateway, token({ sub: 'early', exp }));
    const seen = life(socket);
    const warning = await nextValue(socket, 'token:expiring', 2000 + LATE_MS);
    assertAt(Date.now(), exp - 30);
    assert.equal(warning.expiresAt, exp);
    assert.ok(warning.expiresIn >= 28 && warning.expiresIn <= 30, JSON.stringify(warning));
    assert.ok(Date.now() - started > 900);
    await whoIs(socket);
    assert.equal(seen.length, 1, JSON.stringify(seen));
  });

  test('one namespace ends, the others of the connection go on', async (t) => {
    const main = await enter(t, gateway, token({ sub: 'two' }));
    const other = main.io.socket('/other', { auth: { token: token({ sub: 'two', exp: now() + 2 }) } });
    t.after(() => other.disconnect());
    const gone = nextValue(other, 'disconnect', 2000 + LATE_MS);
    other.connect();
    assert.equal(await gone, 'io server disconnect');
    assert.equal((await whoIs(main)).user, 'two');
    assert.equal(main.connected, true);
    const back = next(other, 'connect');
    other.auth = { token: token({ sub: 'two' }) };
    other.connect();
    await back;
  });

  test('a token without end is not warned of', async (t) => {
    const socket = await enter(t, gateway, token({ sub: 'endless', exp: undefined }));
    const seen = life(socket);
    assert.equal((await whoIs(socket)).expiresAt, null);
    await sleep(1500);
    await whoIs(socket);
    assert.deepEqual(seen, []);
  });

  test('an expired token does not come in again', async (t) => {
    const short = token({ sub: 'again', exp: now() + 2 });
    const socket = await enter(t, gateway, short);
    await next(socket, 'disconnect', 2000 + LATE_MS);
    const refused = nextValue(socket, 'connect_error');
    socket.connect();
    assert.equal((await refused).data.code, 'token_expired');
  });

  test('an exp far away is no alarm', async (t) => {
    const door = await Door.open(t, gateway);
    for (const exp of [4102444800, 253402300799, 1e12, 9007199254740991, 1e15, 1e18]) {
      const who = await door.knock({ token: token({ sub: 'far', exp }) });
      assert.equal(who.code, null, `${exp}: ${who.message}`);
    }
    // Beyond any clock: refused, or without end, but nobody is thrown out at once.
    const far = await door.knock({ token: token({ sub: 'far', exp: 1e300 }) });
    assert.ok(far.code === null || far.code === 'token_malformed', far.code);
  });

  test('an exp that introspection names ends the socket too', async (t) => {
    const exp = now() + 2;
    const backend = await Backend.start(t, () => ({ body: { active: true, sub: 'asked', exp } }));
    const other = await open(t, { auth: { strategy: 'introspection', introspection_url: backend.url, leeway_s: 0 } });
    const socket = await enter(t, other, 'opaque');
    const seen = life(socket);
    assert.equal((await next(socket, 'disconnect', 2000 + LATE_MS))[0], 'io server disconnect');
    assert.deepEqual(seen.find(([name]) => name === 'token:expired')[1], { code: 'token_expired' });
  });

  test('what a client sends and gets until the last moment is not lost', async (t) => {
    const exp = now() + 2;
    const socket = await enter(t, gateway, token({ sub: 'busy', exp, roles: ['busy'] }));
    const heard = collect(socket, 'news');
    let published = 0;
    let isGone = false;
    socket.once('disconnect', () => (isGone = true));
    while (!isGone) {
      const { sockets: reached } = await gateway.publish('news', { rooms: 'busy', payload: published });
      if (reached === 0) break;
      published += 1;
    }
    await eventually(() => isGone, 'the end');
    assert.deepEqual(heard.values.map(({ payload }) => payload), Array.from({ length: published }, (_, i) => i));
    assert.ok(published > 0);
  });
});

describe('token:refresh', { concurrency: true }, () => {
  test('a new token takes the place of the old: the socket outlives it', async (t) => {
    const exp = now() + 2;
    const socket = await enter(t, gateway, token({ sub: 'renewed', exp }));
    const later = now() + 3600;
    assert.deepEqual(await ask(socket, 'token:refresh', token({ sub: 'renewed', exp: later })), { status: 'ok', expiresAt: later });
    const seen = life(socket);
    assert.equal((await whoIs(socket)).expiresAt, later);
    await sleep(3000);
    assert.equal((await whoIs(socket)).user, 'renewed');
    assert.deepEqual(seen, []);
    assert.equal(socket.connected, true);
  });

  test('a new token that ends sooner counts too', async (t) => {
    const socket = await enter(t, gateway, token({ sub: 'shorter' }));
    const exp = now() + 2;
    const warned = nextValue(socket, 'token:expiring', LATE_MS);
    assert.equal((await ask(socket, 'token:refresh', token({ sub: 'shorter', exp }))).status, 'ok');
    assert.equal((await warned).expiresAt, exp);
    const seen = life(socket);
    assert.equal((await next(socket, 'disconnect', 2000 + LATE_MS))[0], 'io server disconnect');
    assertAt(seen.find(([name]) => name === 'token:expired')[2], exp);
  });

  test('a new token without end ends the alarm', async (t) => {
    const socket = await enter(t, gateway, token({ sub: 'freed', exp: now() + 2 }));
    const reply = await ask(socket, 'token:refresh', token({ sub: 'freed', exp: undefined }));
    assert.equal(reply.status, 'ok');
    assert.equal(reply.expiresAt ?? null, null);
    await sleep(2500);
    assert.equal((await whoIs(socket)).user, 'freed');
  });

  test('again and again, the warning each time', async (t) => {
    const socket = await enter(t, gateway, token({ sub: 'serial', exp: now() + 3 }));
    const warnings = collect(socket, 'token:expiring');
    for (let i = 1; i <= 5; i += 1) {
      const exp = now() + 10 + i;
      assert.equal((await ask(socket, 'token:refresh', token({ sub: 'serial', exp }))).expiresAt, exp);
      await eventually(() => warnings.values.some(({ expiresAt }) => expiresAt === exp), `the warning for ${exp}`);
    }
    assert.equal(socket.connected, true);
  });

  test('Bearer before the token is dropped', async (t) => {
    const socket = await enter(t, gateway, token({ sub: 'bearer' }));
    for (const prefix of ['Bearer ', 'bearer ', 'BEARER ']) {
      assert.equal((await ask(socket, 'token:refresh', prefix + token({ sub: 'bearer' }))).status, 'ok', prefix);
    }
  });

  test('without an ack it works as well', async (t) => {
    const socket = await enter(t, gateway, token({ sub: 'quiet' }));
    socket.emit('token:refresh', token({ sub: 'quiet', roles: ['quiet-role'] }));
    assert.deepEqual((await whoIs(socket)).roles, ['quiet-role']);
    socket.emit('token:refresh', token({ sub: 'eve', roles: ['eves-role'] }));
    assert.deepEqual((await whoIs(socket)).roles, ['quiet-role']);
  });

  test('the new roles replace the old, rooms follow', async (t) => {
    const socket = await enter(t, gateway, token({ sub: 'mover', roles: ['m-old', 'm-both'], tenant: 'one' }));
    const wished = ['public:mover', 'tenant:one:mover', 'user:mover:inbox'];
    assert.equal((await ask(socket, 'subscribe', wished)).status, 'ok');
    assert.deepEqual((await whoIs(socket)).rooms, ['m-both', 'm-old', ...wished].sort());
    const reply = await ask(socket, 'token:refresh', token({ sub: 'mover', roles: ['m-both', 'm-new'], tenant: 'two' }));
    assert.equal(reply.status, 'ok');
    assert.deepEqual(reply.roomsLost.sort(), ['m-old', 'tenant:one:mover']);
    const who = await whoIs(socket);
    assert.deepEqual(who.roles, ['m-both', 'm-new']);
    assert.deepEqual(who.rooms, ['m-both', 'm-new', 'public:mover', 'user:mover:inbox'].sort());
    const counts = { 'm-old': 0, 'm-both': 1, 'm-new': 1, 'public:mover': 1, 'tenant:one:mover': 0, 'user:mover:inbox': 1 };
    for (const [room, count] of Object.entries(counts)) assert.equal(await sockets(gateway, { rooms: room }), count, room);
    assert.equal((await ask(socket, 'subscribe', 'tenant:one:mover')).code, 'room_forbidden');
    assert.equal((await ask(socket, 'subscribe', 'm-old')).code, 'room_forbidden');
    assert.equal((await ask(socket, 'subscribe', 'tenant:two:mover')).status, 'ok');
    assert.equal(await ask(socket, 'grantIn', { ROLE: 'm-old' }), 'false');
    assert.equal(await ask(socket, 'grantIn', { ROLE: 'm-new' }), 'true');
    assert.equal(await sockets(gateway, { users: 'mover' }), 1);
  });

  test('a role that goes keeps no room, one that stays is kept even if it was left', async (t) => {
    const socket = await enter(t, gateway, token({ sub: 'leaver', roles: ['l-a', 'l-b'] }));
    assert.equal((await ask(socket, 'token:refresh', token({ sub: 'leaver', roles: [] }))).status, 'ok');
    assert.deepEqual((await whoIs(socket)).rooms, []);
    assert.equal(await sockets(gateway, { rooms: ['l-a', 'l-b'] }), 0);
    assert.equal((await ask(socket, 'token:refresh', token({ sub: 'leaver', roles: ['l-b'] }))).status, 'ok');
    assert.deepEqual((await whoIs(socket)).rooms, ['l-b']);
  });

  const refused = [
    ['another user', () => token({ sub: 'eve' }), 'token_other_user'],
    ['no user', () => token({ sub: undefined }), 'token_other_user'],
    ['expired', () => token({ sub: 'stays', exp: now() - 5 }), 'token_expired'],
    ['not yet valid', () => token({ sub: 'stays', nbf: now() + 100 }), 'token_not_yet_valid'],
    ['forged', () => token({ sub: 'stays' }, { key: OTHER_SECRET }), 'token_signature'],
    ['another algorithm', () => token({ sub: 'stays' }, { algorithm: 'HS512' }), 'token_algorithm'],
    ['nonsense', () => 'nonsense', 'token_malformed'],
    ['an empty text', () => '', 'token_missing'],
    ['a number', () => 7, 'token_malformed'],
    ['an object', () => ({ token: token({ sub: 'stays' }) }), 'token_malformed'],
    ['an array', () => [token({ sub: 'stays' })], 'token_malformed'],
    ['bad claims', () => token({ sub: 'stays', roles: {} }), 'token_claims'],
    ['too many roles', () => token({ sub: 'stays', roles: Array.from({ length: 1001 }, (_, i) => `r${i}`) }), 'too_many_rooms'],
  ];
  for (const [title, make, code] of refused) {
    test(`refused: ${title}`, async (t) => {
      const exp = now() + 1000;
      const socket = await enter(t, gateway, token({ sub: 'stays', exp, roles: ['s-role'], tenant: 'x' }));
      assert.equal((await ask(socket, 'subscribe', 'tenant:x:a')).status, 'ok');
      const reply = await ask(socket, 'token:refresh', make());
      assert.deepEqual([reply.status, reply.code], ['error', code], JSON.stringify(reply));
      assert.equal(typeof reply.detail, 'string');
      assert.deepEqual(Object.keys(reply).sort(), ['code', 'detail', 'status']);
      assert.deepEqual(await whoIs(socket), { user: 'stays', roles: ['s-role'], rooms: ['s-role', 'tenant:x:a'], expiresAt: exp });
      await logLine(gateway, code, '127.0.0.1');
      socket.disconnect();
    });
  }

  test('refused: roles that fit alone, but not beside the rooms one is in', async (t) => {
    const small = await open(t, { auth, rooms, socket: { rooms_max: 5 } });
    const socket = await enter(t, small, token({ roles: ['a', 'b'] }));
    assert.equal((await ask(socket, 'subscribe', ['public:1', 'public:2'])).status, 'ok');
    const before = await whoIs(socket);
    const reply = await ask(socket, 'token:refresh', token({ roles: ['c', 'd', 'e', 'f'] }));
    // To be told that all is well and yet not to hear one's roles would be the worst.
    assert.deepEqual([reply.status, reply.code], ['error', 'too_many_rooms'], JSON.stringify(reply));
    assert.deepEqual({ ...(await whoIs(socket)), expiresAt: 0 }, { ...before, expiresAt: 0 });
    assert.equal((await ask(socket, 'token:refresh', token({ roles: ['c', 'd', 'e'] }))).status, 'ok');
    assert.deepEqual((await whoIs(socket)).rooms, ['c', 'd', 'e', 'public:1', 'public:2']);
  });

  test('no argument at all is a missing token', async (t) => {
    const socket = await enter(t, gateway, token({ sub: 'none' }));
    const reply = await ask(socket, 'token:refresh');
    assert.equal(reply.status, 'error');
    assert.ok(['token_missing', 'token_malformed'].includes(reply.code), reply.code);
  });

  test('a refused refresh does not keep the old token alive', async (t) => {
    const exp = now() + 2;
    const socket = await enter(t, gateway, token({ sub: 'doomed', exp }));
    assert.equal((await ask(socket, 'token:refresh', token({ sub: 'eve' }))).code, 'token_other_user');
    assert.equal((await next(socket, 'disconnect', 2000 + LATE_MS))[0], 'io server disconnect');
  });

  test('somebody without user id stays so', async (t) => {
    const nobody = await enter(t, gateway, token({ sub: undefined, roles: ['g1'] }));
    assert.equal((await ask(nobody, 'token:refresh', token({ sub: undefined, roles: ['g2'] }))).status, 'ok');
    assert.deepEqual((await whoIs(nobody)).rooms, ['g2']);
    assert.equal((await ask(nobody, 'token:refresh', token({ sub: 'ada' }))).code, 'token_other_user');
    assert.equal((await whoIs(nobody)).user, null);
  });

  test('a numeric user id is the same as its text', async (t) => {
    const socket = await enter(t, gateway, token({ sub: 4711 }));
    assert.equal((await ask(socket, 'token:refresh', token({ sub: '4711' }))).status, 'ok');
    assert.equal((await ask(socket, 'token:refresh', token({ sub: undefined, userId: 4711 }))).status, 'ok');
    assert.equal(await sockets(gateway, { users: 4711 }), 1);
  });

  test('refusals are counted', async (t) => {
    const alone = await open(t, { auth });
    const socket = await enter(t, alone, token());
    for (let i = 0; i < 3; i += 1) await ask(socket, 'token:refresh', token({ sub: 'eve' }));
    await ask(socket, 'token:refresh', token());
    assert.equal((await refusals(alone)).of('token_other_user'), 3);
  });
});

describe('token:info', { concurrency: true }, () => {
  test('says who, what and until when', async (t) => {
    const exp = now() + 500;
    const socket = await enter(t, gateway, token({ sub: 'info', exp, roles: ['i-b', 'i-a'] }));
    await ask(socket, 'subscribe', 'public:info');
    const info = await ask(socket, 'token:info');
    assert.deepEqual(Object.keys(info).sort(), ['expiresAt', 'roles', 'rooms', 'status', 'user']);
    assert.deepEqual([info.status, info.user, info.roles, info.expiresAt], ['ok', 'info', ['i-b', 'i-a'], exp]);
    assert.deepEqual([...info.rooms].sort(), ['i-a', 'i-b', 'public:info']);
  });

  test('and nothing of others', async (t) => {
    await enter(t, gateway, token({ sub: 'info', roles: ['i-c'] }));
    const socket = await enter(t, gateway, token({ sub: 'info' }));
    assert.deepEqual((await whoIs(socket)).rooms, []);
  });
});

describe('soft mode', { concurrency: true }, () => {
  test('at its end a token takes identity and rooms with it, and the socket stays', async (t) => {
    const exp = now() + 2;
    const socket = await enter(t, soft, token({ sub: 'softly', exp, roles: ['s-admin'], tenant: 'acme' }));
    const seen = life(socket);
    const heard = collect(socket, 'news');
    assert.equal((await ask(socket, 'subscribe', ['public:s', 'tenant:acme:s', 'user:softly:s'])).status, 'ok');
    const mine = [{ users: 'softly' }, { rooms: 's-admin' }, { rooms: 'tenant:acme:s' }, { rooms: 'user:softly:s' }, { rooms: 'public:s' }];
    for (const target of mine) assert.equal(await sockets(soft, target), 1, JSON.stringify(target));

    const detail = await nextValue(socket, 'token:expired', 2000 + LATE_MS);
    assertAt(Date.now(), exp);
    assert.deepEqual(detail, { code: 'token_expired' });
    assert.deepEqual(await whoIs(socket), { user: null, roles: [], rooms: ['public:s'], expiresAt: null });
    for (const target of mine.slice(0, 4)) assert.equal(await sockets(soft, { ...target, payload: 'secret' }), 0, JSON.stringify(target));
    assert.equal(await sockets(soft, { users: socket.id, payload: 'by id' }), 1);
    assert.equal(await sockets(soft, { rooms: 'public:s', payload: 'public' }), 1);
    for (const room of ['s-admin', 'tenant:acme:s', 'user:softly:s']) {
      assert.equal((await ask(socket, 'subscribe', room)).code, 'room_forbidden', room);
    }
    assert.equal(await ask(socket, 'grantIn', { ROLE: 's-admin' }), 'false');
    assert.equal((await ask(socket, 'subscribe', 'public:t')).status, 'ok');
    await heard.take(7);
    assert.deepEqual(heard.values.slice(5).map(({ payload }) => payload), ['by id', 'public']);
    assert.equal(socket.connected, true);
    assert.equal(seen.filter(([name]) => name === 'disconnect').length, 0);
    assert.equal(seen.filter(([name]) => name === 'token:expired').length, 1);
  });

  test('refreshed in time it keeps both', async (t) => {
    const socket = await enter(t, soft, token({ sub: 'kept', exp: now() + 2, roles: ['k-role'] }));
    assert.equal((await ask(socket, 'token:refresh', token({ sub: 'kept', roles: ['k-role'] }))).status, 'ok');
    const seen = life(socket);
    await sleep(2500);
    assert.deepEqual((await whoIs(socket)).rooms, ['k-role']);
    assert.deepEqual(seen, []);
  });

  test('a bad refresh is an error and changes nothing', async (t) => {
    const socket = await enter(t, soft, token({ sub: 'firm', roles: ['f-role'] }));
    assert.equal((await ask(socket, 'token:refresh', token({ sub: 'eve' }))).code, 'token_other_user');
    assert.equal((await ask(socket, 'token:refresh', 'nonsense')).code, 'token_malformed');
    assert.deepEqual((await whoIs(socket)).user, 'firm');
  });
});
