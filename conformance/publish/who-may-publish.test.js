// Who may publish: loopback without keys, keys and their lists, and never a web page.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startGateway } from '../harness/gateway.js';
import { request } from '../harness/raw.js';
import {
  Listener,
  assertProblem,
  assertPublished,
  assertRefused,
  command,
  heard,
} from './publishing.js';

const bearer = (key) => ({ Authorization: `Bearer ${key}` });
const body = (more = {}) => ({ rooms: ['r'], payload: 1, ...more });

describe('no key', () => {
  const NOT_LOOPBACK = {
    status: 403,
    code: 'not_loopback',
    // The reason is worth little without the setting that changes it.
    detail: /publish\.keys?\b|IDAE_SOCKET_PUBLISH_KEY/,
  };
  let gateway;
  let listener;
  before(async () => {
    gateway = await startGateway();
    listener = await Listener.open(undefined, gateway, { rooms: ['r'] });
  });
  after(async () => {
    listener?.close();
    await gateway?.end();
  });

  test('loopback may publish', async () => {
    assertPublished(await gateway.post('/p', body()), 1);
    assert.equal((await heard([listener]))[0].length, 1);
  });

  test('a key that nobody asked for does no harm', async () => {
    assertPublished(await gateway.post('/p', body(), bearer('anything')), 1);
    await heard([listener]);
  });

  // A proxy on the same machine makes the whole world look like loopback; these give it away.
  const forwarded = [
    ['X-Forwarded-For', '203.0.113.9'],
    ['X-Forwarded-For', '127.0.0.1'],
    ['x-forwarded-for', ''],
    ['Forwarded', 'for=203.0.113.9;proto=https'],
    ['X-Real-IP', '203.0.113.9'],
    ['X-Forwarded-Host', 'example.test'],
    ['X-Forwarded-Proto', 'https'],
    ['CF-Connecting-IP', '203.0.113.9'],
    ['True-Client-IP', '203.0.113.9'],
    ['Via', '1.1 proxy'],
  ];
  for (const [name, value] of forwarded) {
    test(`${name}: ${value || '(empty)'} is refused`, async () => {
      assertRefused(await gateway.post('/p', body(), { [name]: value }), NOT_LOOPBACK);
      assert.deepEqual(await heard([listener]), [[]]);
    });
  }

  test('the same for a batch', async () => {
    const items = [{ event: 'p', ...body() }];
    assertRefused(await gateway.post('/v1/events', items, { 'X-Forwarded-For': '203.0.113.9' }), NOT_LOOPBACK);
    assert.deepEqual(await heard([listener]), [[]]);
  });

  test('a peer that is not on the loopback interface is refused', async (t) => {
    const own = Object.values(networkInterfaces())
      .flat()
      .find((address) => address.family === 'IPv4' && !address.internal);
    if (!own) {
      t.diagnostic('this machine has no other address: nothing to check');
      return;
    }
    const open = command(t, ['--host', '0.0.0.0', '--port', '0'], { config: '[auth]\ninsecure = true\n' });
    const [, printed] = await open.logged(/\blistens on http:\/\/0\.0\.0\.0:([1-9]\d*)/);
    const port = Number(printed);
    const post = (server) =>
      request(server, {
        method: 'POST',
        path: '/p',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(body()),
      });
    assertRefused(await post({ host: own.address, port }), NOT_LOOPBACK);
    assertPublished(await post({ host: '127.0.0.1', port }), 0);
  });
});

describe('keys', () => {
  const KEYS = {
    all: 'key-all-0123456789abcdef',
    second: 'key-second-0123456789abc',
    events: 'key-events-0123456789abc',
    rooms: 'key-rooms-0123456789abcd',
    both: 'key-both-0123456789abcde',
  };
  const CHALLENGE = { 'www-authenticate': /^Bearer\b/ };
  let gateway;
  let listener;
  before(async () => {
    gateway = await startGateway({
      config: `
        [[publish.keys]]
        name = "all"
        key = "${KEYS.all}"
        [[publish.keys]]
        name = "second"
        key = "${KEYS.second}"
        [[publish.keys]]
        name = "events only"
        key = "${KEYS.events}"
        events = ["data:*", "p"]
        [[publish.keys]]
        name = "rooms only"
        key = "${KEYS.rooms}"
        rooms = ["tenant:a:*", "r"]
        [[publish.keys]]
        name = "both"
        key = "${KEYS.both}"
        events = ["data:*"]
        rooms = ["r"]
      `,
    });
    listener = await Listener.open(undefined, gateway, { rooms: ['r'] });
  });
  after(async () => {
    listener?.close();
    await gateway?.end();
  });
  const heardNow = async () => (await heard([listener], { headers: bearer(KEYS.all) }))[0].length;

  const unauthorized = (code) => ({ status: 401, code, headers: CHALLENGE });
  const refused = [
    ['none, although loopback', {}, 'unauthorized'],
    ['an empty bearer', { Authorization: 'Bearer ' }, 'unauthorized'],
    ['a wrong key', bearer('wrong'), 'key_invalid'],
    ['a wrong key as X-API-Key', { 'X-API-Key': 'wrong' }, 'key_invalid'],
    ['the start of a key', bearer(KEYS.all.slice(0, -1)), 'key_invalid'],
    ['a key and more', bearer(`${KEYS.all}x`), 'key_invalid'],
    ['a key in another case', bearer(KEYS.all.toUpperCase()), 'key_invalid'],
    ['two keys in one', bearer(`${KEYS.all}, ${KEYS.second}`), 'key_invalid'],
    ['the name of a key', bearer('all'), 'key_invalid'],
    ['another scheme', { Authorization: `Basic ${Buffer.from(`x:${KEYS.all}`).toString('base64')}` }, undefined],
    ['a bare key', { Authorization: KEYS.all }, undefined],
  ];
  for (const [title, headers, code] of refused) {
    test(`401: ${title}`, async () => {
      const response = await gateway.post('/p', body(), headers);
      assert.equal(response.status, 401, response.text);
      // For a header of another form both codes are true.
      const expected = code ?? response.json().code;
      assert.ok(['unauthorized', 'key_invalid'].includes(expected), response.text);
      assertRefused(response, unauthorized(expected));
      assert.equal(await heardNow(), 0);
    });
  }

  test('401: a key in the query is not looked at', async () => {
    for (const name of ['key', 'api_key', 'access_token', 'token']) {
      assertRefused(await gateway.post(`/p?${name}=${KEYS.all}`, body()), unauthorized('unauthorized'));
    }
    assert.equal(await heardNow(), 0);
  });

  test('401 comes before anything about the body or the event', async () => {
    // Somebody without a key learns nothing about the configuration.
    for (const [path, text] of [['/connect', body()], ['/p', '{'], ['/p', {}], ['/v1/events', []]]) {
      assertRefused(await gateway.post(path, text), unauthorized('unauthorized'));
    }
  });

  const taken = [
    ['Bearer', bearer(KEYS.all)],
    ['bearer in lower case', { Authorization: `bearer ${KEYS.all}` }],
    ['X-API-Key', { 'X-API-Key': KEYS.all }],
    ['a second key', bearer(KEYS.second)],
    ['a second key as X-API-Key', { 'X-API-Key': KEYS.second }],
    ['a key through a proxy', { ...bearer(KEYS.all), 'X-Forwarded-For': '203.0.113.9' }],
  ];
  for (const [title, headers] of taken) {
    test(`taken: ${title}`, async () => {
      assertPublished(await gateway.post('/p', body(), headers), 1);
      assert.equal(await heardNow(), 1);
    });
  }

  const forbidden = (code, pointer) => ({ status: 403, code, pointer });
  // Key, event, body, and the refusal if there is one.
  const limits = [
    ['events', 'p', body()],
    ['events', 'data:users', body()],
    ['events', 'other', body(), forbidden('event_forbidden')],
    ['events', 'data', body(), forbidden('event_forbidden')],
    ['events', 'xdata:users', body(), forbidden('event_forbidden')],
    ['events', 'p', body({ rooms: ['any', 'r'] })],
    ['events', 'p', { broadcast: true, payload: 1 }],
    ['events', 'p', body({ users: ['u'] })],
    ['rooms', 'other', body()],
    ['rooms', 'p', body({ rooms: ['tenant:a:orders', 'r'] })],
    ['rooms', 'p', body({ rooms: 'tenant:b:orders' }), forbidden('room_forbidden', '/rooms')],
    ['rooms', 'p', body({ rooms: ['r', 'tenant:b:orders'] }), forbidden('room_forbidden', '/rooms/1')],
    ['rooms', 'p', body({ rooms: ['r2'] }), forbidden('room_forbidden', '/rooms/0')],
    ['rooms', 'p', body({ rooms: ['R'] }), forbidden('room_forbidden', '/rooms/0')],
    ['rooms', 'p', body({ rooms: ['tenant:*'] }), forbidden('room_forbidden', '/rooms/0')],
    ['rooms', 'p', { broadcast: true, payload: 1 }, forbidden('broadcast_forbidden')],
    ['rooms', 'p', body({ broadcast: true }), forbidden('broadcast_forbidden')],
    ['rooms', 'p', body({ broadcast: false })],
    ['rooms', 'p', { users: ['u'], payload: 1 }, forbidden('users_forbidden')],
    ['rooms', 'p', body({ users: 'u' }), forbidden('users_forbidden')],
    ['rooms', 'p', body({ payload: { own: 'u' } }), forbidden('users_forbidden')],
    ['rooms', 'p', (id) => body({ payload: { own: [id] } }), forbidden('users_forbidden')],
    ['both', 'data:x', body()],
    ['both', 'p', body(), forbidden('event_forbidden')],
    ['both', 'data:x', body({ rooms: ['q'] }), forbidden('room_forbidden')],
    ['all', 'other', { broadcast: true, users: ['u'], payload: { own: ['u'] } }],
  ];
  for (const [key, event, given, refusal] of limits) {
    const shown = typeof given === 'function' ? given('<socket id>') : given;
    test(`the key "${key}" and ${event} ${JSON.stringify(shown)}: ${refusal?.code ?? 'taken'}`, async () => {
      const sent = typeof given === 'function' ? given(listener.id) : given;
      const response = await gateway.post(`/${event}`, sent, bearer(KEYS[key]));
      if (refusal) assertRefused(response, refusal);
      else assertPublished(response);
      assert.equal(await heardNow(), refusal ? 0 : 1);
    });
  }

  test('a limited key in a batch: each item by itself', async () => {
    const reply = await gateway.post(
      '/v1/events',
      [
        { event: 'data:x', ...body() },
        { event: 'p', ...body() },
        { event: 'data:x', broadcast: true, payload: 1 },
        { event: 'data:x', ...body({ rooms: ['q'] }) },
        { event: 'data:x', ...body() },
      ],
      bearer(KEYS.both),
    );
    assert.equal(reply.status, 200, reply.text);
    const entries = reply.json();
    assert.equal(entries[0].status, 'ok');
    assertProblem(entries[1], forbidden('event_forbidden'));
    assertProblem(entries[2], forbidden('broadcast_forbidden'));
    assertProblem(entries[3], forbidden('room_forbidden'));
    assert.equal(entries[4].status, 'ok');
    assert.equal(await heardNow(), 2);
  });

  test('no key is ever shown', async () => {
    const seen = [];
    for (const headers of [bearer(`${KEYS.all}x`), bearer(KEYS.events), {}]) {
      seen.push((await gateway.post('/forbidden', body(), headers)).text);
    }
    for (const key of Object.values(KEYS)) {
      assert.ok(!seen.join().includes(key), 'a key is in an answer');
      assert.ok(!gateway.logs.includes(key), 'a key is in the log');
    }
  });
});

describe('one key', () => {
  const ONE_KEY = 'one-key-0123456789abcdef';
  const check = async (gateway) => {
    assertRefused(await gateway.post('/p', body()), { status: 401, code: 'unauthorized' });
    assertPublished(await gateway.post('/p', body(), bearer(ONE_KEY)), 0);
  };

  test('from publish.key', async (t) => {
    const gateway = await startGateway({ config: `[publish]\nkey = "${ONE_KEY}"\n` });
    t.after(() => gateway.end());
    await check(gateway);
  });

  test('from IDAE_SOCKET_PUBLISH_KEY', async (t) => {
    const gateway = await startGateway({ env: { IDAE_SOCKET_PUBLISH_KEY: ONE_KEY } });
    t.after(() => gateway.end());
    await check(gateway);
  });

  test('from the file that IDAE_SOCKET_PUBLISH_KEY_FILE names', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'idae-socket-key-'));
    t.after(() => rmSync(folder, { recursive: true }));
    // Editors and `echo` end a file with a line break; it is not part of the key.
    writeFileSync(join(folder, 'key'), `${ONE_KEY}\n`);
    const gateway = await startGateway({ env: { IDAE_SOCKET_PUBLISH_KEY_FILE: join(folder, 'key') } });
    t.after(() => gateway.end());
    await check(gateway);
  });

  test('beside the keys of the file', async (t) => {
    const gateway = await startGateway({
      env: { IDAE_SOCKET_PUBLISH_KEY: ONE_KEY },
      config: '[[publish.keys]]\nname = "other"\nkey = "other-key-0123456789abcd"\n',
    });
    t.after(() => gateway.end());
    await check(gateway);
    assertPublished(await gateway.post('/p', body(), bearer('other-key-0123456789abcd')), 0);
  });
});

describe('web pages', () => {
  const BROWSER = { status: 403, code: 'browser_request' };
  const KEY = 'page-key-0123456789abcdef';
  let open;
  let keyed;
  let listener;
  let keyedListener;
  before(async () => {
    open = await startGateway();
    keyed = await startGateway({ config: `[publish]\nkey = "${KEY}"\n` });
    listener = await Listener.open(undefined, open, { rooms: ['r'] });
    keyedListener = await Listener.open(undefined, keyed, { rooms: ['r'] });
  });
  after(async () => {
    listener?.close();
    keyedListener?.close();
    await open?.end();
    await keyed?.end();
  });

  const origins = [
    'http://evil.test',
    'https://localhost',
    'http://localhost:3000',
    'http://127.0.0.1:1',
    'null',
    'file://',
    'chrome-extension://abcdefghijklmnop',
  ];
  for (const origin of origins) {
    test(`Origin: ${origin} is refused, with a key or without`, async () => {
      assertRefused(await open.post('/p', body(), { Origin: origin }), BROWSER);
      assertRefused(await keyed.post('/p', body(), { Origin: origin, ...bearer(KEY) }), BROWSER);
      assertRefused(await open.post('/v1/events', [{ event: 'p', ...body() }], { Origin: origin }), BROWSER);
      assert.deepEqual(await heard([listener]), [[]]);
      assert.deepEqual(await heard([keyedListener], { headers: bearer(KEY) }), [[]]);
    });
  }

  test('a foreign name that points to this machine is still foreign', async () => {
    // DNS rebinding: the page's own host name resolves to 127.0.0.1, so Host and Origin agree.
    const host = `evil.test:${open.port}`;
    assertRefused(await open.post('/p', body(), { Host: host, Origin: `http://${host}` }), BROWSER);
    assertRefused(await open.post('/p', body(), { Host: host, Origin: `http://${host}`, 'Sec-Fetch-Site': 'same-origin' }), BROWSER);
    assert.deepEqual(await heard([listener]), [[]]);
  });

  for (const site of ['cross-site', 'same-site']) {
    test(`Sec-Fetch-Site: ${site} is refused even without an Origin`, async () => {
      assertRefused(await open.post('/p', body(), { 'Sec-Fetch-Site': site }), BROWSER);
      assert.deepEqual(await heard([listener]), [[]]);
    });
  }

  test('the gateway\'s own origin is the console\'s, and refused where that is off', async (t) => {
    const closed = await startGateway({ env: { IDAE_SOCKET_CONSOLE: 'false' } });
    t.after(() => closed.end());
    for (const name of ['127.0.0.1', 'localhost']) {
      for (const gateway of [open, closed]) {
        const host = `${name}:${gateway.port}`;
        const origin = { Host: host, Origin: `http://${host}` };
        for (const headers of [origin, { ...origin, 'Sec-Fetch-Site': 'same-origin' }]) {
          const reply = await gateway.post('/p', body(), headers);
          if (gateway === open) assertPublished(reply, 1);
          else assertRefused(reply, BROWSER);
        }
      }
    }
    const [list] = await heard([listener]);
    assert.equal(list.length, 4);
  });

  test('no answer lets a page read it', async () => {
    for (const headers of [{}, { Origin: 'http://evil.test' }, { Origin: 'null' }]) {
      const response = await open.post('/p', body(), headers);
      assert.equal(response.headers['access-control-allow-origin'], undefined);
    }
    await heard([listener]);
  });
});
