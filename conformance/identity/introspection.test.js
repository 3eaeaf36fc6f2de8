// Strategy `introspection`: what the backend is asked, which of its answers let a socket in, and
// how often it is asked.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, beforeEach, describe, test } from 'node:test';
import { eventually, nextValue, sleep } from '../harness/events.js';
import { ask, openSession } from '../harness/sessions.js';
import { Door, enter, logLine, open, refusal, refusals, whoIs } from './entering.js';
import { Backend, DROP, HANG, now, token } from './tokens.js';

const TIMEOUT_MS = 1000;

/** A backend that says yes to everybody, and a gateway that asks it. */
async function start(t, auth = {}, more = {}, options = {}) {
  const backend = await Backend.start(t, () => ({ body: { active: true, sub: 'ada' } }));
  const gateway = await open(
    t,
    { auth: { strategy: 'introspection', introspection_url: `${backend.url}introspect`, introspection_timeout_ms: TIMEOUT_MS, ...auth }, ...more },
    options,
  );
  return { backend, gateway };
}

describe('what is asked', () => {
  const opaque = ['plain-opaque-token', 'a.b.c', token(), 'with space', 'a&b=c+d%20/?#', 'é😀', '"quoted\\"', '{"json":true}', 'x'.repeat(4000)];

  test('JSON: the token and nothing else', async (t) => {
    const { backend, gateway } = await start(t);
    const door = await Door.open(t, gateway);
    for (const each of opaque) assert.equal(await door.code({ token: each }), null, each);
    assert.equal(await door.code({ token: 'Bearer with-a-prefix' }), null);
    assert.deepEqual(backend.requests.map((request) => request.json()), [...opaque, 'with-a-prefix'].map((each) => ({ token: each })));
    for (const { method, path, headers } of backend.requests) {
      assert.deepEqual([method, path], ['POST', '/introspect']);
      assert.match(headers['content-type'], /^application\/json\b/);
      assert.equal(headers.authorization, undefined);
    }
  });

  test('from the header of the handshake', async (t) => {
    const { backend, gateway } = await start(t);
    const door = await Door.open(t, gateway, { headers: { Authorization: 'Bearer header-token' } });
    assert.equal((await door.knock(undefined)).user, 'ada');
    assert.deepEqual(backend.requests[0].json(), { token: 'header-token' });
  });

  test('RFC 7662: a form, with the credentials of the client', async (t) => {
    const secret = 'client-secret-0123456789';
    const { backend, gateway } = await start(t, {
      introspection_format: 'rfc7662',
      introspection_client_id: 'gateway',
      introspection_client_secret: secret,
    });
    const door = await Door.open(t, gateway);
    for (const each of opaque) assert.equal(await door.code({ token: each }), null, each);
    assert.deepEqual(backend.requests.map((request) => request.form().get('token')), opaque);
    for (const { method, headers, form } of backend.requests) {
      assert.equal(method, 'POST');
      assert.match(headers['content-type'], /^application\/x-www-form-urlencoded\b/);
      assert.equal(headers.authorization, `Basic ${Buffer.from(`gateway:${secret}`).toString('base64')}`);
      assert.match(headers.accept ?? '', /application\/json|\*\/\*/);
      for (const name of form().keys()) assert.ok(['token', 'token_type_hint'].includes(name), name);
    }
    assert.ok(!gateway.logs.includes(secret), 'the client secret is in the log');
  });

  test('nothing is asked about a token that is longer than any', async (t) => {
    const { backend, gateway } = await start(t, {}, { socket: { auth_bytes_max: 1_000_000 } });
    const long = 'x'.repeat(16_385);
    const door = await Door.open(t, gateway);
    assert.equal(await door.code({ token: long }), 'token_malformed');
    const socket = await enter(t, gateway, 'short');
    const { status, code, detail } = await ask(socket, 'token:refresh', 'y'.repeat(900_000));
    assert.deepEqual([status, code, detail], ['error', 'token_malformed', 'the token is longer than 16384 bytes']);
    assert.equal((await ask(socket, 'token:refresh', long.slice(1))).status, 'ok');
    assert.deepEqual(backend.requests.map((request) => request.json().token.length), [5, 16_384]);
  });

  test('nothing is asked where there is no token', async (t) => {
    const { backend, gateway } = await start(t);
    const door = await Door.open(t, gateway, { query: '&token=in-the-query' });
    assert.equal(await door.code(undefined), 'token_missing');
    assert.equal(await door.code({ token: '' }), 'token_missing');
    assert.equal(await door.code({ token: 5 }), 'token_malformed');
    assert.equal(await door.code({ token: ['a'] }), 'token_malformed');
    assert.equal((await door.knock({ token: 'x' }, { namespace: '/nope' })).message, 'Invalid namespace');
    assert.equal(backend.requests.length, 0);
  });

  test('settings from the environment', async (t) => {
    const backend = await Backend.start(t, () => ({ body: { sub: 'env' } }));
    const gateway = await open(t, {}, {
      env: { IDAE_SOCKET_AUTH_STRATEGY: 'introspection', IDAE_SOCKET_INTROSPECTION_URL: backend.url },
    });
    const door = await Door.open(t, gateway);
    assert.equal((await door.knock({ token: 'x' })).user, 'env');
  });
});

describe('what is answered', () => {
  let backend;
  let gateway;
  let elsewhere;
  let door;
  before(async () => {
    elsewhere = await Backend.start(null, () => ({ body: { active: true, sub: 'root', roles: ['admin'] } }));
    ({ backend, gateway } = await start(null, { leeway_s: 0 }, { socket: { rooms_max: 20 } }));
  });
  beforeEach(async (t) => {
    door = await Door.open(null, gateway);
  });
  after(async () => {
    await gateway?.end();
    await backend?.die();
    await elsewhere?.die();
  });
  /** A token that was never seen, and what it gets. */
  const knock = (answer) => {
    backend.answer = () => answer;
    return door.knock({ token: randomUUID() });
  };

  const yes = [
    ['active true', { active: true, sub: 'ada' }, { user: 'ada' }],
    ['no active: the plain contract', { sub: 'ada' }, { user: 'ada' }],
    ['an empty object', {}, { user: null, roles: [] }],
    ['201', { status: 201, sub: 'ada' }, { user: 'ada' }],
    ['userId', { userId: 42 }, { user: '42' }],
    ['roles', { sub: 'ada', roles: ['admin', 'editor'] }, { roles: ['admin', 'editor'], rooms: ['admin', 'editor'] }],
    ['one role', { sub: 'ada', role: 'admin' }, { roles: ['admin'], rooms: ['admin'] }],
    ['an exp', { sub: 'ada', exp: now() + 1000 }, { expiresAt: now() + 1000 }],
    ['no exp', { sub: 'ada' }, { expiresAt: null }],
    ['what RFC 7662 has besides', { active: true, sub: 'ada', scope: 'a b', client_id: 'c', username: 'u', token_type: 'Bearer', iat: 1, nbf: 1, aud: 'x', iss: 'y', jti: 'z' }, { user: 'ada', roles: [] }],
  ];
  for (const [title, { status, ...body }, expected] of yes) {
    test(`let in: ${title}`, async () => {
      const who = await knock({ status, body });
      assert.equal(who.code, null, who.message);
      for (const [key, value] of Object.entries(expected)) assert.deepEqual(who[key], value, key);
    });
  }

  const no = [
    ['active false', { body: { active: false } }, 'token_inactive'],
    ['active false beside a user', { body: { active: false, sub: 'ada', roles: ['admin'] } }, 'token_inactive'],
    ['active false with 201', { status: 201, body: { active: false } }, 'token_inactive'],
    ['400', { status: 400, body: { error: 'x' } }, 'token_inactive'],
    ['401', { status: 401 }, 'token_inactive'],
    ['403', { status: 403, body: { active: true, sub: 'ada' } }, 'token_inactive'],
    // A no about the token, or a wrong address? Either way nobody is let in.
    ['404', { status: 404, body: 'not found' }, ['token_inactive', 'introspection_unavailable']],
    ['422', { status: 422 }, 'token_inactive'],
    ['500', { status: 500, body: { active: true, sub: 'ada' } }, 'introspection_unavailable'],
    ['502', { status: 502 }, 'introspection_unavailable'],
    ['503', { status: 503 }, 'introspection_unavailable'],
    ['a page', { body: '<html>ok</html>' }, 'introspection_unavailable'],
    ['nothing', { status: 200 }, 'introspection_unavailable'],
    ['JSON that is cut off', { body: '{"active":true,"sub":"ada"' }, 'introspection_unavailable'],
    ['a broken connection', DROP, 'introspection_unavailable'],
    ['an answer of 20 MB', { body: `{"active":true,"sub":"ada","x":"${'x'.repeat(20_000_000)}"}` }, 'introspection_unavailable'],
    ['no answer', HANG, 'introspection_timeout'],
    ['an exp in the past', { body: { active: true, sub: 'ada', exp: 1 } }, 'token_expired'],
    ['an exp just passed', { body: { sub: 'ada', exp: now() - 2 } }, 'token_expired'],
    ['a user that is an object', { body: { sub: {} } }, 'token_claims'],
    ['an empty user', { body: { sub: '' } }, 'token_claims'],
    ['roles that are none', { body: { sub: 'ada', roles: { a: 1 } } }, 'token_claims'],
    ['more roles than rooms', { body: { sub: 'ada', roles: Array.from({ length: 21 }, (_, i) => `r${i}`) } }, 'too_many_rooms'],
  ];
  for (const [title, answer, code] of no) {
    test(`${code}: ${title}`, async () => {
      const refused = await knock(answer);
      assert.ok([code].flat().includes(refused.code), `${refused.code} ${refused.message}`);
      assert.match(refused.message, /^Unauthorized: ./);
    });
  }

  for (const status of [301, 302, 303, 307, 308]) {
    test(`a redirect (${status}) is not followed`, async () => {
      const { code } = await knock({ status, headers: { location: elsewhere.url } });
      assert.equal(code, 'introspection_unavailable');
      assert.equal(elsewhere.requests.length, 0, 'a token was sent elsewhere');
    });
  }

  test('a body that is JSON but no object lets nobody in as somebody', async () => {
    for (const body of ['true', '"ada"', '[{"active":true,"sub":"ada"}]', '1', 'null']) {
      const who = await knock({ body });
      assert.ok(who.code !== null || who.user === null, `${body}: ${JSON.stringify(who)}`);
    }
  });

  for (const transport of ['polling', 'websocket']) {
    test(`the stock client over ${transport} learns why`, async (t) => {
      for (const [answer, code] of [
        [{ body: { active: false } }, 'token_inactive'],
        [{ status: 503 }, 'introspection_unavailable'],
        [HANG, 'introspection_timeout'],
      ]) {
        backend.answer = () => answer;
        const secret = randomUUID();
        const refused = await refusal(t, gateway, { auth: { token: secret }, transports: [transport] });
        assert.equal(refused.code, code);
        assert.ok(!refused.message.includes(secret) && !refused.message.includes(String(backend.port)), refused.message);
        await logLine(gateway, code, '127.0.0.1');
        assert.ok(!gateway.logs.includes(secret), 'the token is in the log');
      }
    });
  }

  test('refusals are counted', async () => {
    const start = await refusals(gateway);
    await knock({ body: { active: false } });
    await knock({ status: 500 });
    await knock(HANG);
    const counted = await refusals(gateway);
    for (const code of ['token_inactive', 'introspection_unavailable', 'introspection_timeout']) {
      assert.equal(counted.of(code) - start.of(code), 1, code);
    }
  });
});

describe('who the socket is', () => {
  test('rooms, users and rules come from the answer', async (t) => {
    const { backend, gateway } = await start(
      t,
      { user_claims: ['user.id', 'sub'], role_claims: ['realm_access.roles', 'roles'] },
      { rooms: { join: ['tenant:{tenant}:*'] } },
    );
    backend.answer = ({ json }) => ({
      body: { active: true, tenant: 'acme', user: { id: 7 }, realm_access: { roles: ['admin'] }, asked: json().token },
    });
    // What the token says of itself is not believed: the backend's word counts.
    const socket = await enter(t, gateway, token({ sub: 'root', roles: ['root'], tenant: 'other' }));
    assert.deepEqual(await whoIs(socket), { user: '7', roles: ['admin'], rooms: ['admin'], expiresAt: null });
    assert.equal((await ask(socket, 'subscribe', 'tenant:acme:x')).status, 'ok');
    assert.equal((await ask(socket, 'subscribe', 'tenant:other:x')).code, 'room_forbidden');
    assert.equal((await gateway.publish('p', { users: 7, payload: 1 })).sockets, 1);
    assert.equal((await gateway.publish('p', { users: 'root', payload: 1 })).sockets, 0);
  });

  test('a refresh asks about the new token', async (t) => {
    const { backend, gateway } = await start(t);
    const people = { a: { sub: 'ada', roles: ['r1'] }, b: { sub: 'ada', roles: ['r2'] }, c: { sub: 'eve' }, d: { active: false } };
    backend.answer = ({ json }) => ({ body: people[json().token] });
    const socket = await enter(t, gateway, 'a');
    assert.deepEqual((await whoIs(socket)).rooms, ['r1']);
    assert.equal((await ask(socket, 'token:refresh', 'b')).status, 'ok');
    assert.deepEqual((await whoIs(socket)).rooms, ['r2']);
    assert.equal((await ask(socket, 'token:refresh', 'c')).code, 'token_other_user');
    assert.equal((await ask(socket, 'token:refresh', 'd')).code, 'token_inactive');
    backend.answer = () => HANG;
    assert.equal((await ask(socket, 'token:refresh', 'e')).code, 'introspection_timeout');
    backend.answer = () => ({ status: 500 });
    assert.equal((await ask(socket, 'token:refresh', 'f')).code, 'introspection_unavailable');
    assert.deepEqual(await whoIs(socket), { user: 'ada', roles: ['r2'], rooms: ['r2'], expiresAt: null });
  });

  test('soft mode: a backend that is dead lets people in as nobody', async (t) => {
    const { backend, gateway } = await start(t, { mode: 'soft' }, { rooms: { join: ['public:*'] } });
    const door = await Door.open(t, gateway);
    for (const answer of [{ status: 500 }, HANG, DROP, { body: { active: false, sub: 'root', roles: ['admin'] } }]) {
      backend.answer = () => answer;
      const who = await door.knock({ token: randomUUID() });
      assert.deepEqual([who.code, who.user, who.rooms], [null, null, []]);
    }
  });
});

describe('while the backend thinks', () => {
  test('events behind CONNECT wait for the answer, in their order', async (t) => {
    const { backend, gateway } = await start(t, { introspection_timeout_ms: 5000 }, { rooms: { join: ['public:*'] } });
    const release = backend.hold();
    const websocket = await openSession(gateway);
    websocket.sendTogether('40{"token":"a","recovery":false}', '421["subscribe","public:a"]', '422["other",1]', '423["subscribe","private"]');
    await backend.asked(1);
    await websocket.fence();
    assert.deepEqual(websocket.unread, []);
    release();
    assert.match(await websocket.nextText(), /^40\{"sid":"/);
    assert.equal(await websocket.nextText(), '431[{"status":"ok","rooms":["public:a"]}]');
    assert.equal(await websocket.nextText(), '432[{"status":"OK"}]');
    assert.match(await websocket.nextText(), /^433\[\{"status":"error","code":"room_forbidden"/);
    websocket.close();
  });

  test('a client that is gone by then leaves nothing behind', async (t) => {
    const { backend, gateway } = await start(t, { introspection_timeout_ms: 5000 });
    const release = backend.hold();
    const websocket = await openSession(gateway);
    websocket.sendText('40{"token":"gone"}');
    await backend.asked(1);
    websocket.close();
    await websocket.connection.closed();
    release();
    // Somebody who comes after and is let in proves that the answer has been acted on.
    const socket = await enter(t, gateway, 'later');
    await whoIs(socket);
    assert.equal((await gateway.publish('p', { users: 'ada', payload: 1 })).sockets, 1);
  });

  test('other namespaces and other people do not wait', async (t) => {
    const { backend, gateway } = await start(t, { introspection_timeout_ms: 5000 }, { namespaces: ['/', '/b'] });
    const main = await enter(t, gateway, 'quick');
    backend.answer = () => HANG;
    main.io.socket('/b', { auth: { token: 'slow' } }).connect();
    await backend.asked(2);
    assert.equal((await whoIs(main)).user, 'ada');
    const door = await Door.open(t, gateway);
    assert.equal((await door.knock({ token: 'quick' }, { waitMs: 1000 })).user, 'ada');
  });

  test('a client that leaves before the answer is not let in', async (t) => {
    const { backend, gateway } = await start(t, { introspection_timeout_ms: 5000 });
    const release = backend.hold();
    const websocket = await openSession(gateway);
    websocket.sendTogether('40{"token":"a"}', '41');
    await backend.asked(1);
    release();
    const socket = await enter(t, gateway, 'later');
    await whoIs(socket);
    assert.equal((await gateway.publish('p', { users: 'ada', payload: 1 })).sockets, 1);
    websocket.connection.socket.destroy();
  });

  test('of two refreshes the later one counts, however their answers come', async (t) => {
    const { backend, gateway } = await start(t, { introspection_timeout_ms: 5000 });
    const answers = new Map();
    backend.answer = ({ json }) => {
      const { token } = json();
      if (token === 'first') return { body: { sub: 'ada' } };
      return new Promise((settle) => answers.set(token, () => settle({ body: { sub: 'ada', roles: [token] } })));
    };
    const socket = await enter(t, gateway, 'first');
    const replies = ['second', 'third'].map((each) => ask(socket, 'token:refresh', each));
    // The gateway may ask about both at once, or about one after the other.
    await backend.asked(2);
    for (const each of ['third', 'second', 'third']) {
      if (!answers.has(each) && each === 'second') continue;
      answers.get(each)?.();
    }
    await eventually(() => answers.size === 2, 'both questions');
    for (const answer of answers.values()) answer();
    for (const reply of replies) await reply;
    assert.deepEqual((await whoIs(socket)).rooms, ['third']);
  });

  test('a token that ends during a refresh ends the socket', async (t) => {
    const { backend, gateway } = await start(t, { introspection_timeout_ms: 5000, leeway_s: 0 });
    backend.answer = () => ({ body: { sub: 'ada', exp: now() + 2 } });
    const socket = await enter(t, gateway, 'short');
    const release = backend.hold();
    backend.answer = ((held) => async (request) => ({ ...(await held(request)), body: { sub: 'ada', roles: ['late'] } }))(backend.answer);
    socket.emit('token:refresh', 'next', () => {});
    await backend.asked(2);
    assert.equal(await nextValue(socket, 'disconnect'), 'io server disconnect');
    release();
    const other = await enter(t, gateway, 'other');
    await whoIs(other);
    assert.equal((await gateway.publish('p', { users: 'ada', payload: 1 })).sockets, 1);
  });

  test('a flood of refreshes of one client is bounded, and harms nobody', async (t) => {
    const { backend, gateway } = await start(t);
    const socket = await enter(t, gateway, 'flood');
    const other = await enter(t, gateway, 'known');
    backend.answer = () => HANG;
    const codes = {};
    let answered = 0;
    for (let i = 0; i < 1000; i += 1) {
      socket.emit('token:refresh', `flood-${i}`, ({ code }) => {
        codes[code] = (codes[code] ?? 0) + 1;
        answered += 1;
      });
    }
    await backend.asked(3);
    assert.equal((await whoIs(other)).user, 'ada');
    assert.equal((await gateway.publish('p', { users: 'ada', payload: 1 })).sockets, 2);
    await eventually(() => answered === 1000 || !socket.connected, `1,000 answers, not ${answered}`, 15_000);
    t.diagnostic(`${JSON.stringify(codes)}, ${backend.concurrent} questions at once`);
    assert.ok(!('undefined' in codes), JSON.stringify(codes));
    assert.ok(backend.concurrent <= 500, `${backend.concurrent} questions at once`);
    assert.equal((await whoIs(other)).user, 'ada');
  });

  test('a second CONNECT to the same namespace makes no second socket', async (t) => {
    const { backend, gateway } = await start(t, { introspection_timeout_ms: 5000 });
    const release = backend.hold();
    const websocket = await openSession(gateway);
    websocket.sendTogether('40{"token":"a"}', '40{"token":"b"}');
    await backend.asked(1);
    release();
    const frames = [];
    try {
      while (frames.length < 2) frames.push(await websocket.nextText(500));
    } catch {
      // Closed, or only one answer: both fine.
    }
    assert.ok(frames.filter((text) => text.startsWith('40')).length <= 1, String(frames));
    websocket.connection.socket.destroy();
    await eventually(async () => (await gateway.publish('p', { broadcast: true, payload: 1 })).sockets === 0, 'nobody to be left');
  });
});

describe('how often', { concurrency: true }, () => {
  test('a token is asked about once, whoever shows it and how', async (t) => {
    const { backend, gateway } = await start(t);
    const door = await Door.open(t, gateway);
    for (const auth of [{ token: 'a' }, { token: 'Bearer a' }, { Authorization: 'bearer a' }, { token: 'a' }]) {
      assert.equal((await door.knock(auth)).user, 'ada');
    }
    const socket = await enter(t, gateway, 'a', { transports: ['polling'] });
    assert.equal((await ask(socket, 'token:refresh', 'a')).status, 'ok');
    assert.equal(backend.requests.length, 1);
    assert.equal((await door.knock({ token: 'b' })).user, 'ada');
    assert.equal((await door.knock({ token: 'A' })).user, 'ada');
    assert.equal(backend.requests.length, 3);
  });

  test('50 at once are one request', async (t) => {
    const { backend, gateway } = await start(t, { introspection_timeout_ms: 5000 });
    const release = backend.hold();
    const websockets = await Promise.all(Array.from({ length: 50 }, () => openSession(gateway)));
    for (const websocket of websockets) websocket.sendText('40{"token":"shared"}');
    await backend.asked(1);
    await Promise.all(websockets.map((websocket) => websocket.fence()));
    release();
    for (const websocket of websockets) {
      assert.match(await websocket.nextText(), /^40\{"sid"/);
      websocket.close();
    }
    assert.equal(backend.requests.length, 1);
  });

  test('a failure is not remembered', async (t) => {
    const { backend, gateway } = await start(t);
    const door = await Door.open(t, gateway);
    for (const answer of [{ status: 500 }, HANG, DROP, { body: 'x' }]) {
      backend.answer = () => answer;
      assert.match(await door.code({ token: 'comes-back' }), /^introspection_/);
    }
    backend.answer = () => ({ body: { sub: 'ada' } });
    assert.equal((await door.knock({ token: 'comes-back' })).user, 'ada');
  });

  test('after cache_ttl_s it is asked again, and a no counts then', async (t) => {
    const { backend, gateway } = await start(t, { cache_ttl_s: 1 });
    const door = await Door.open(t, gateway);
    const started = Date.now();
    assert.equal(await door.code({ token: 'revoked' }), null);
    backend.answer = () => ({ body: { active: false } });
    await eventually(async () => (await door.code({ token: 'revoked' })) === 'token_inactive', 'the cache to forget');
    assert.ok(Date.now() - started >= 900, `forgotten after ${Date.now() - started} ms`);
    assert.equal(backend.requests.length, 2);
  });

  test('the cache does not outlive the token', async (t) => {
    const { backend, gateway } = await start(t, { leeway_s: 0, cache_ttl_s: 300 });
    const exp = now() + 2;
    backend.answer = () => ({ body: { sub: 'ada', exp } });
    const socket = await enter(t, gateway, 'short');
    const gone = nextValue(socket, 'disconnect');
    assert.equal((await whoIs(socket)).expiresAt, exp);
    assert.equal(await gone, 'io server disconnect');
    const door = await Door.open(t, gateway);
    assert.equal(await door.code({ token: 'short' }), 'token_expired');
  });

  test('with cache_ttl_s = 0 each is asked about', async (t) => {
    const { backend, gateway } = await start(t, { cache_ttl_s: 0 });
    const door = await Door.open(t, gateway);
    for (let i = 0; i < 3; i += 1) assert.equal(await door.code({ token: 'a' }), null);
    assert.equal(backend.requests.length, 3);
  });

  test('a dead backend does not stop those whose token is known', async (t) => {
    const { backend, gateway } = await start(t);
    const door = await Door.open(t, gateway);
    assert.equal(await door.code({ token: 'known' }), null);
    await backend.die();
    assert.equal(await door.code({ token: 'known' }), null);
    assert.equal(await door.code({ token: 'new' }), 'introspection_unavailable');
  });

  test('the time limit is the setting', async (t) => {
    const { backend, gateway } = await start(t, { introspection_timeout_ms: 1200 });
    backend.answer = () => HANG;
    const door = await Door.open(t, gateway);
    const started = Date.now();
    assert.equal(await door.code({ token: 'x' }), 'introspection_timeout');
    const took = Date.now() - started;
    assert.ok(took >= 1100 && took < 3000, `${took} ms`);
    // One that takes its time, but comes in time, counts.
    backend.answer = async () => {
      await sleep(700);
      return { body: { sub: 'slow' } };
    };
    assert.equal((await door.knock({ token: 'y' })).user, 'slow');
  });
});
