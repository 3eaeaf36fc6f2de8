// Events of clients that go to the backend: what it gets, how it can tell that the gateway sent it,
// and what the client is answered.

import assert from 'node:assert/strict';
import { createHmac, timingSafeEqual } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { eventually, sleep, within } from '../harness/events.js';
import { freePort } from '../harness/gateway.js';
import { metrics } from '../harness/metrics.js';
import { ask, openSession } from '../harness/sessions.js';
import { JWT, enter, open } from './entering.js';
import { Backend, DROP, HANG, now, token } from './tokens.js';

const TIMEOUT_MS = 1500;
const KEY = Buffer.from('0123456789abcdef0123456789abcdef');
const WHSEC = `whsec_${KEY.toString('base64')}`;

/** Verifies as Standard Webhooks says, with nothing of the gateway's own. */
function verify({ headers, body }, key) {
  const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures } = headers;
  assert.ok(id && timestamp && signatures, JSON.stringify(headers));
  assert.ok(!id.includes('.'), `the id "${id}" has a dot, which separates`);
  assert.match(timestamp, /^\d+$/);
  assert.ok(Math.abs(Number(timestamp) - now()) <= 60, timestamp);
  const expected = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest();
  const isGood = signatures.split(' ').some((one) => {
    const [version, given] = one.split(',');
    const bytes = Buffer.from(given ?? '', 'base64');
    return version === 'v1' && bytes.length === expected.length && timingSafeEqual(bytes, expected);
  });
  assert.ok(isGood, `no signature fits: ${signatures}`);
  return id;
}

/** A backend that answers with what it got, and a gateway that forwards to it. */
async function start(t, { rules, auth = JWT, ...more } = {}) {
  const backend = await Backend.start(t, ({ json }) => ({ body: { got: json().args } }));
  const usual = [{ event: 'chat:*', url: `${backend.url}hook`, secret: WHSEC, timeout_ms: TIMEOUT_MS }];
  const gateway = await open(t, { auth, namespaces: ['/', '/shop'], forward: rules?.(backend) ?? usual, ...more });
  return { backend, gateway };
}

describe('what the backend gets', () => {
  test('the event, its arguments and who sent it', async (t) => {
    const { backend, gateway } = await start(t);
    const ada = await enter(t, gateway, token({ sub: 'ada', roles: ['editor', 'x'] }));
    assert.deepEqual(await ask(ada, 'chat:say', 'hello', { n: [1, null, true, 'é😀'] }, 2.5), { got: ['hello', { n: [1, null, true, 'é😀'] }, 2.5] });
    const bob = await enter(t, gateway, token({ sub: 42 }), { namespace: '/shop' });
    assert.deepEqual(await ask(bob, 'chat:nothing'), { got: [] });
    assert.deepEqual(
      backend.requests.map(({ json }) => json()),
      [
        { event: 'chat:say', args: ['hello', { n: [1, null, true, 'é😀'] }, 2.5], user: 'ada', roles: ['editor', 'x'], socketId: ada.id, namespace: '/' },
        { event: 'chat:nothing', args: [], user: '42', roles: [], socketId: bob.id, namespace: '/shop' },
      ],
    );
    for (const { method, path, headers } of backend.requests) {
      assert.deepEqual([method, path], ['POST', '/hook']);
      assert.match(headers['content-type'], /^application\/json\b/);
    }
  });

  test('numbers and text as the client wrote them', async (t) => {
    const { backend, gateway } = await start(t);
    const websocket = await openSession(gateway);
    t.after(() => websocket.connection.socket.destroy());
    websocket.sendText(`40${JSON.stringify({ token: token(), recovery: false })}`);
    await websocket.nextText();
    websocket.sendText('421["chat:raw",12345678901234567890,1.0,1e3,"\\u00e9\\/"]');
    await websocket.nextText();
    assert.ok(backend.requests[0].body.includes('[12345678901234567890,1.0,1e3,"\\u00e9\\/"]'), backend.requests[0].body);
  });

  test('a signature that the standard\'s recipe verifies', async (t) => {
    const plain = 'a plain secret, taken as bytes';
    const { backend, gateway } = await start(t, {
      rules: ({ url }) => [
        { event: 'encoded', url, secret: WHSEC },
        { event: 'plain', url, secret: plain },
        { event: 'unsigned', url },
      ],
    });
    const socket = await enter(t, gateway, token());
    const ids = [];
    for (const [event, key] of [['encoded', KEY], ['plain', plain], ['encoded', KEY]]) {
      await ask(socket, event, 'é😀');
      ids.push(verify(backend.requests.at(-1), key));
    }
    assert.equal(new Set(ids).size, 3, 'an id is used twice');
    // What another key signs is not accepted: the check above is one.
    assert.throws(() => verify(backend.requests.at(-1), 'another key'), /no signature fits/);
    await ask(socket, 'unsigned', 1);
    const { headers } = backend.requests.at(-1);
    assert.equal(headers['webhook-signature'], undefined);
    assert.ok(headers['webhook-id'], JSON.stringify(headers));
    assert.match(headers['webhook-timestamp'] ?? '', /^\d+$/);
    assert.ok(!gateway.logs.includes(plain) && !gateway.logs.includes(WHSEC), 'a secret is in the log');
  });

  test('no token and no header of the client', async (t) => {
    const { backend, gateway } = await start(t);
    const good = token();
    const socket = await enter(t, gateway, undefined, {
      auth: {},
      extraHeaders: { Authorization: `Bearer ${good}`, Cookie: 'session=secret', 'X-Custom': 'x' },
    });
    await ask(socket, 'chat:say', 1);
    const [{ headers, body }] = backend.requests;
    for (const name of ['authorization', 'cookie', 'x-custom']) assert.equal(headers[name], undefined, name);
    assert.ok(!body.includes(good));
  });

  test('bytes are not lost', async (t) => {
    const { backend, gateway } = await start(t);
    const socket = await enter(t, gateway, token());
    const bytes = [Buffer.from([0, 1, 2, 253, 254, 255]), Buffer.from('second attachment')];
    await ask(socket, 'chat:file', { name: 'a.bin', file: bytes[0] }, bytes[1]);
    const { body, json } = backend.requests[0];
    const { event, args } = json();
    assert.equal(event, 'chat:file');
    assert.equal(args[0].name, 'a.bin');
    assert.equal(args.length, 2);
    for (const each of bytes) assert.ok(body.includes(each.toString('base64')), body);
    verify(backend.requests[0], KEY);
  });

  test('who somebody is now, not who it was', async (t) => {
    const { backend, gateway } = await start(t);
    const socket = await enter(t, gateway, token({ roles: ['old'] }));
    assert.equal((await ask(socket, 'token:refresh', token({ roles: ['new'] }))).status, 'ok');
    await ask(socket, 'chat:say');
    assert.deepEqual(backend.requests[0].json().roles, ['new']);
    // What the client says of itself in its arguments stays in its arguments.
    await ask(socket, 'chat:say', { user: 'root', roles: ['admin'] });
    const { user, roles } = backend.requests[1].json();
    assert.deepEqual([user, roles], ['ada', ['new']]);
  });

  test('nobody has no user', async (t) => {
    const { backend, gateway } = await start(t, { auth: { strategy: 'none' } });
    const socket = await enter(t, gateway, undefined);
    await ask(socket, 'chat:say', 1);
    const { user = null, roles, socketId } = backend.requests[0].json();
    assert.deepEqual([user, roles, socketId], [null, [], socket.id]);
  });

  test('events without ack as well, in the order of the client', async (t) => {
    const EVENTS = 200;
    const { backend, gateway } = await start(t);
    const socket = await enter(t, gateway, token());
    for (let i = 0; i < EVENTS; i += 1) socket.emit('chat:count', i);
    await backend.asked(EVENTS);
    assert.deepEqual(backend.requests.map(({ json }) => json().args[0]), Array.from({ length: EVENTS }, (_, i) => i));
  });

  test('a slow answer to one socket does not hold up another', async (t) => {
    const { backend, gateway } = await start(t);
    const [slow, quick] = [await enter(t, gateway, token({ sub: 'slow' })), await enter(t, gateway, token({ sub: 'quick' }))];
    backend.answer = async ({ json }) => {
      if (json().user === 'slow') return HANG;
      return { body: 'fast' === json().args[0] };
    };
    const late = ask(slow, 'chat:say', 'x');
    late.catch(() => {});
    await backend.asked(1);
    const started = Date.now();
    assert.equal(await ask(quick, 'chat:say', 'fast'), true);
    assert.ok(Date.now() - started < TIMEOUT_MS, `${Date.now() - started} ms`);
    assert.equal((await late).code, 'forward_timeout');
  });
});

describe('which events', () => {
  test('those of the rules; the first that fits counts', async (t) => {
    const { backend, gateway } = await start(t, {
      rules: ({ url }) => [
        { event: 'exact', url: `${url}exact` },
        { event: 'order:*', url: `${url}orders` },
        { event: 'order:new', url: `${url}never` },
        { event: 'component/:action', url: `${url}component` },
      ],
    });
    const socket = await enter(t, gateway, token());
    for (const event of ['exact', 'order:new', 'order:x:y', 'component/refresh']) await ask(socket, event, 1);
    assert.deepEqual(backend.requests.map(({ path }) => path), ['/exact', '/orders', '/orders', '/component']);
    for (const event of ['Exact', 'exact2', 'order', 'xorder:1', 'component', 'component/a/b', 'other']) {
      assert.deepEqual(await ask(socket, event, 1), { status: 'OK' }, event);
    }
    assert.equal(backend.requests.length, 4);
  });

  test('never the gateway\'s own, whatever the rule', async (t) => {
    const { backend, gateway } = await start(t, {
      rules: ({ url }) => [{ event: '*', url }],
      rooms: { join: ['public:*'] },
    });
    const socket = await enter(t, gateway, token({ roles: ['r'] }));
    assert.equal((await ask(socket, 'subscribe', 'public:a')).status, 'ok');
    assert.equal((await ask(socket, 'unsubscribe', 'public:a')).status, 'ok');
    assert.equal(await ask(socket, 'grantIn', { ROLE: 'r' }), 'true');
    assert.equal((await ask(socket, 'token:refresh', token({ roles: ['r'] }))).status, 'ok');
    assert.equal((await ask(socket, 'token:info')).user, 'ada');
    assert.equal(backend.requests.length, 0, 'a control event, perhaps a token, went to the backend');
    assert.deepEqual(await ask(socket, 'anything', 1), { got: [1] });
  });

  test('an event that is neither exposed nor forwarded is unknown', async (t) => {
    const { gateway } = await start(t, { events: ['entity'] });
    const socket = await enter(t, gateway, token());
    assert.deepEqual(await ask(socket, 'entity', 1), { status: 'OK' });
    assert.equal((await ask(socket, 'entty', 1)).code, 'unknown_event');
  });

  test('a client that was refused forwards nothing', async (t) => {
    const { backend, gateway } = await start(t);
    const websocket = await openSession(gateway);
    websocket.sendTogether('40{"token":"nonsense"}', '421["chat:say",1]');
    assert.match(await websocket.nextText(), /^44/);
    const socket = await enter(t, gateway, token());
    await ask(socket, 'chat:say', 2);
    assert.deepEqual(backend.requests.map(({ json }) => json().args), [[2]]);
    websocket.connection.socket.destroy();
  });

  test('nothing reaches other clients by itself', async (t) => {
    const { gateway } = await start(t);
    const [one, two] = [await enter(t, gateway, token()), await enter(t, gateway, token())];
    let heard = 0;
    two.onAny(() => (heard += 1));
    await ask(one, 'chat:say', 1);
    await ask(two, 'chat:say', 2);
    assert.equal(heard, 0);
  });
});

describe('what the client is answered', () => {
  let backend;
  let gateway;
  let elsewhere;
  before(async () => {
    elsewhere = await Backend.start(null);
    ({ backend, gateway } = await start(null));
  });
  after(async () => {
    await gateway?.end();
    await backend?.die();
    await elsewhere?.die();
  });

  const answers = [
    ['an object', { body: { saved: true, id: 7 } }, { saved: true, id: 7 }],
    ['an array', { body: '[1,[2],{}]' }, [1, [2], {}]],
    ['a text', { body: '"done"' }, 'done'],
    ['a number', { body: '42' }, 42],
    ['null', { body: 'null' }, null],
    ['false', { body: 'false' }, false],
    ['an object of the backend\'s own error', { body: { status: 'error', code: 'mine' } }, { status: 'error', code: 'mine' }],
    ['201 with JSON', { status: 201, body: { id: 1 } }, { id: 1 }],
    ['JSON with blanks around', { body: ' \n{"a": 1}\n' }, { a: 1 }],
    ['letters of the world', { body: { text: 'é😀' } }, { text: 'é😀' }],
    ['nothing', { status: 200 }, { status: 'OK' }],
    ['204', { status: 204 }, { status: 'OK' }],
    ['202 with nothing', { status: 202 }, { status: 'OK' }],
  ];
  for (const [title, answer, expected] of answers) {
    test(title, async (t) => {
      backend.answer = () => answer;
      const socket = await enter(t, gateway, token());
      assert.deepEqual(await ask(socket, 'chat:say', 1), expected);
      socket.disconnect();
    });
  }

  test('a placeholder in an answer is no attachment', async (t) => {
    backend.answer = () => ({ body: { a: { _placeholder: true, num: 0 } } });
    const websocket = await openSession(gateway);
    t.after(() => websocket.connection.socket.destroy());
    websocket.sendText(`40${JSON.stringify({ token: token(), recovery: false })}`);
    await websocket.nextText();
    websocket.sendText('421["chat:say",1]');
    assert.equal(await websocket.nextText(), '431[{"a":{"_placeholder":true,"num":0}}]');
  });

  const failures = [
    ...[400, 401, 403, 404, 409, 418, 422, 429, 500, 502, 503].map((status) => [`${status}`, { status, body: { secret: 'of the backend' } }, 'forward_refused']),
    ...[301, 302, 307, 308].map((status) => [`a redirect (${status})`, null, 'forward_refused', status]),
    ['no answer', HANG, 'forward_timeout'],
    ['a broken connection', DROP, 'forward_failed'],
    ['a page', { body: '<html>hello</html>' }, 'forward_invalid_answer'],
    ['plain text', { body: 'ok' }, 'forward_invalid_answer'],
    ['JSON that is cut off', { body: '{"a":' }, 'forward_invalid_answer'],
    ['two values', { body: '{}{}' }, 'forward_invalid_answer'],
    ['bytes that are no text', { body: Buffer.from([0xff, 0xfe, 0x00]) }, 'forward_invalid_answer'],
  ];
  for (const [title, answer, code, status] of failures) {
    test(`${code}: ${title}`, async (t) => {
      backend.answer = () => answer ?? { status, headers: { location: elsewhere.url } };
      const socket = await enter(t, gateway, token());
      const started = Date.now();
      const reply = await ask(socket, 'chat:say', 1);
      assert.deepEqual([reply.status, reply.code], ['error', code], JSON.stringify(reply));
      assert.equal(typeof reply.detail, 'string', JSON.stringify(reply));
      assert.ok(!JSON.stringify(reply).includes('of the backend'), JSON.stringify(reply));
      assert.ok(!JSON.stringify(reply).includes(String(backend.port)), `the backend's address is shown: ${reply.detail}`);
      if (answer === HANG) assert.ok(Date.now() - started >= TIMEOUT_MS - 50, `${Date.now() - started} ms`);
      assert.equal(elsewhere.requests.length, 0, 'a redirect was followed');
      // A failure is the event's, not the socket's.
      backend.answer = () => ({ body: 'true' });
      assert.equal(await ask(socket, 'chat:say', 2), true);
      socket.disconnect();
    });
  }

  test('forward_failed: nobody listens', async (t) => {
    const port = await freePort();
    const other = await open(t, { auth: JWT, forward: [{ event: 'x', url: `http://127.0.0.1:${port}/` }] });
    const socket = await enter(t, other, token());
    assert.equal((await ask(socket, 'x', 1)).code, 'forward_failed');
  });

  test('an answer without end is an error, and does no harm', async (t) => {
    backend.answer = () => ({ body: `"${'x'.repeat(30_000_000)}"` });
    const socket = await enter(t, gateway, token());
    const reply = await ask(socket, 'chat:say', 1);
    assert.equal(reply.status, 'error', JSON.stringify(reply).slice(0, 100));
    assert.match(reply.code, /^forward_/);
    backend.answer = () => ({ status: 204 });
    assert.deepEqual(await ask(socket, 'chat:say', 2), { status: 'OK' });
  });

  test('each ack goes to the question it answers', async (t) => {
    backend.answer = async ({ json }) => {
      const [n] = json().args;
      await sleep((n % 5) * 5);
      return { body: { n } };
    };
    const socket = await enter(t, gateway, token());
    const replies = await Promise.all(Array.from({ length: 40 }, (_, n) => ask(socket, 'chat:say', n)));
    assert.deepEqual(replies.map(({ n }) => n), Array.from({ length: 40 }, (_, n) => n));
  });
});

describe('a backend that does not answer', () => {
  test('each event is answered within the time limit, also behind others', async (t) => {
    const { backend, gateway } = await start(t);
    backend.answer = () => HANG;
    const socket = await enter(t, gateway, token());
    const started = Date.now();
    const replies = await Promise.all(Array.from({ length: 10 }, (_, i) => ask(socket, 'chat:say', i)));
    const took = Date.now() - started;
    for (const { code } of replies) assert.ok(['forward_timeout', 'forward_busy'].includes(code), code);
    assert.ok(took < 2 * TIMEOUT_MS, `the last was answered after ${took} ms, the limit is ${TIMEOUT_MS} ms`);
  });

  test('only so many wait: the others are told at once, and the gateway goes on', { timeout: 60_000 }, async (t) => {
    const [SOCKETS, EACH] = [20, 500];
    const EVENTS = SOCKETS * EACH;
    const { backend, gateway } = await start(t, {
      rules: ({ url }) => [{ event: 'chat:*', url, timeout_ms: 3000 }],
    });
    backend.answer = () => HANG;
    const sockets = await Promise.all(Array.from({ length: SOCKETS }, () => enter(t, gateway, token())));
    const codes = {};
    let answered = 0;
    for (const socket of sockets) {
      for (let i = 0; i < EACH; i += 1) {
        socket.emit('chat:say', i, ({ code }) => {
          codes[code] = (codes[code] ?? 0) + 1;
          answered += 1;
        });
      }
    }
    // Long before the time limit.
    await eventually(() => codes.forward_busy > 0, `a forward_busy in ${JSON.stringify(codes)}`, 2500);
    await within(gateway.publish('p', { rooms: 'r', payload: 1 }), 'a publish', 2000);
    await eventually(() => answered === EVENTS, `${EVENTS} answers, not only ${answered}`, 15_000);
    t.diagnostic(`${JSON.stringify(codes)}, ${backend.concurrent} requests at once`);
    assert.deepEqual(Object.keys(codes).sort(), ['forward_busy', 'forward_timeout']);
    assert.ok(backend.concurrent < EVENTS / 4, `${backend.concurrent} requests at once`);
    for (const socket of sockets) assert.equal(socket.connected, true);
    backend.answer = () => ({ body: 'true' });
    assert.equal(await ask(sockets[0], 'chat:say', 1), true);
  });

  test('nothing is sent that is as good as given up', async (t) => {
    const EVENTS = 40;
    const { backend, gateway } = await start(t);
    backend.answer = async () => {
      // It does not notice that nobody waits any more.
      await sleep(TIMEOUT_MS * 1.6);
      return { body: 'true' };
    };
    const socket = await enter(t, gateway, token());
    const asking = [];
    for (let i = 0; i < EVENTS; i += 1) {
      asking.push(ask(socket, 'chat:say', i));
      await sleep(TIMEOUT_MS / EVENTS);
    }
    const replies = await Promise.all(asking);
    assert.deepEqual(new Set(replies.map(({ code }) => code)), new Set(['forward_timeout']));
    // The first, and one of the last, which came when that was given up.
    assert.ok(backend.requests.length <= 3, `${backend.requests.length} requests`);
    backend.answer = () => ({ body: 'true' });
    assert.equal(await ask(socket, 'chat:say', 'again'), true);
  });

  test('only so many bytes of a client wait: the others are told at once', async (t) => {
    const { backend, gateway } = await start(t, { socket: { payload_bytes_max: 1_000_000 } });
    backend.answer = ({ json }) => ({ body: { length: json().args[0].length } });
    const socket = await enter(t, gateway, token());
    // One event may have all of them.
    assert.deepEqual(await ask(socket, 'chat:say', 'x'.repeat(990_000)), { length: 990_000 });
    const release = backend.hold();
    const large = 'x'.repeat(300_000);
    const asking = Array.from({ length: 3 }, () => ask(socket, 'chat:say', large));
    for (let i = 0; i < 5; i += 1) {
      const { status, code, detail } = await ask(socket, 'chat:say', large);
      assert.deepEqual([status, code], ['error', 'forward_busy'], detail);
    }
    const small = ask(socket, 'chat:say', 'small');
    assert.equal((await metrics(gateway)).limit('forward_bytes'), 5);
    release();
    for (const reply of await Promise.all(asking)) assert.deepEqual(reply, { length: large.length });
    assert.deepEqual(await small, { length: 5 });
    // What is gone counts no more.
    assert.deepEqual(await ask(socket, 'chat:say', large), { length: large.length });
    assert.equal((await metrics(gateway)).limit('forward_bytes'), 5);
  });

  test('a client that is gone before the answer harms nobody', async (t) => {
    const { backend, gateway } = await start(t);
    const release = backend.hold();
    const [gone, stays] = [await enter(t, gateway, token()), await enter(t, gateway, token())];
    gone.emit('chat:say', 1, () => {});
    await backend.asked(1);
    gone.disconnect();
    release();
    assert.deepEqual(await ask(stays, 'chat:say', 2), { got: [2] });
  });
});
