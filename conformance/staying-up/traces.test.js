// The trace id of a publisher's `traceparent`: in the problem it is told, and in the line that the
// gateway writes about it, so that one leads to the other. And one line for each refusal and close.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startGateway } from '../harness/gateway.js';
import { logLine, logLines } from '../identity/entering.js';
import { RawConnection, request, requestBytes } from '../harness/raw.js';
import { join, openSession } from '../harness/sessions.js';
import { within } from '../harness/events.js';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = `00-${TRACE}-00f067aa0ba902b7-01`;

async function start(t, level = 'info') {
  const gateway = await startGateway({ config: `[log]\nlevel = "${level}"\n` });
  t.after(() => gateway.end());
  return gateway;
}

const refused = (gateway, traceparent, path = '/db-change', body = { rooms: 'r', payload: 1, wrong: true }) =>
  gateway.post(path, body, traceparent === undefined ? {} : { traceparent });

describe('the key of a publisher', () => {
  const KEYS = ['billing', 'default'].map((name) => ({ name, key: `the-key-of-${name}-0123456789` }));
  const config = `[publish]
key = "${KEYS[1].key}"
[[publish.keys]]
name = "billing"
key = "${KEYS[0].key}"
events = ["invoice"]
[log]
level = "debug"
`;

  async function withKeys(t) {
    const gateway = await startGateway({ config });
    t.after(() => gateway.end());
    const post = (key, path, body, headers = {}) => gateway.post(path, body, { 'x-api-key': key, ...headers });
    return { gateway, post };
  }

  test('stands by its name in the line of what it published and of what it was refused', async (t) => {
    const { gateway, post } = await withKeys(t);
    const [billing, other] = KEYS.map(({ key }) => key);
    await post(billing, '/invoice', { rooms: 'r', payload: 1, id: 'published-1' });
    await post(other, '/invoice', { rooms: 'r', payload: 1, id: 'published-2' });
    await post(billing, '/v1/events', [{ event: 'invoice', rooms: 'r', payload: 1, id: 'published-3' }]);
    const lines = [];
    for (const id of [1, 2, 3]) lines.push(await logLine(gateway, `published-${id}`));
    assert.deepEqual(lines.map(({ message, key }) => [message, key]), [
      ['published', 'billing'],
      ['published', 'default'],
      ['published', 'billing'],
    ]);
    const refusals = [
      ['event_forbidden', '/refund', { rooms: 'r', payload: 1 }],
      ['unknown_field', '/invoice', { rooms: 'r', payload: 1, wrong: 1 }],
      ['malformed_json', '/invoice', '{'],
      ['unsupported_media_type', '/invoice', '{}', { 'content-type': 'text/plain' }],
      ['invalid_type', '/v1/events', '{}'],
      ['idempotency_key_in_batch', '/v1/events', '[]', { 'idempotency-key': 'x' }],
      ['no_target', '/v1/events', [{ event: 'invoice', payload: 1 }]],
    ];
    for (const [code, ...request] of refusals) {
      await post(billing, ...request);
      assert.equal((await logLine(gateway, code)).key, 'billing', code);
    }
    for (const { key } of KEYS) assert.ok(!gateway.logs.includes(key), 'a key is in the log');
  });

  test('stands nowhere where it is not known', async (t) => {
    const { gateway, post } = await withKeys(t);
    await post('a-key-that-nobody-has', '/invoice', { rooms: 'r', payload: 1 });
    assert.ok(!('key' in (await logLine(gateway, 'key_invalid'))));
    const open = await start(t, 'debug');
    await open.publish('e', { rooms: 'r', payload: 1, id: 'no-key' });
    assert.ok(!('key' in (await logLine(open, 'no-key'))));
  });
});

describe('a refused publish', () => {
  test('has the trace id in its problem and in its one line of the log', async (t) => {
    const gateway = await start(t);
    const reply = await refused(gateway, PARENT);
    assert.equal(reply.status, 422);
    assert.equal(reply.json().trace_id, TRACE);
    const line = await logLine(gateway, TRACE);
    assert.equal(line.code, 'unknown_field');
    assert.equal(line.trace_id, TRACE);
    assert.equal(logLines(gateway).filter((each) => JSON.stringify(each).includes(TRACE)).length, 1);
  });

  for (const [name, path, body, status] of [
    ['of a body that is none', '/db-change', '{', 400],
    ['of a reserved name', '/connect', { rooms: 'r', payload: 1 }, 404],
    ['of a batch that is none', '/v1/events', '{}', 422],
  ]) {
    test(name, async (t) => {
      const gateway = await start(t);
      const reply = await refused(gateway, PARENT, path, body);
      assert.equal(reply.status, status, reply.text);
      assert.equal(reply.json().trace_id, TRACE);
      assert.equal((await logLine(gateway, TRACE)).code, reply.json().code);
    });
  }

  test('of a method', async (t) => {
    const gateway = await start(t);
    const reply = await request(gateway, { path: '/db-change', headers: { traceparent: PARENT } });
    assert.equal(reply.status, 405);
    assert.equal(reply.json().trace_id, TRACE);
  });

  test('of an item of a batch', async (t) => {
    const gateway = await start(t);
    const items = [{ event: 'e', rooms: 'r', payload: 1 }, { event: 'e', payload: 1 }];
    const reply = await gateway.post('/v1/events', items, { traceparent: PARENT });
    assert.equal(reply.status, 200);
    const [good, bad] = reply.json();
    assert.deepEqual(Object.keys(good).sort(), ['id', 'sockets', 'status']);
    assert.equal(bad.trace_id, TRACE);
    assert.equal((await logLine(gateway, TRACE)).code, 'no_target');
  });

  test('while the gateway drains', async (t) => {
    const gateway = await startGateway({ config: 'drain_s = 30\n' });
    t.after(async () => {
      gateway.killNow();
      await gateway.exited;
    });
    // Somebody has to be there, or the end is at once.
    for (let i = 0; i < 10; i += 1) await join(await openSession(gateway));
    gateway.signal('SIGTERM');
    const reply = await within(
      (async () => {
        for (;;) {
          const answer = await gateway.post('/e', { rooms: 'r', payload: 1 }, { traceparent: PARENT }).catch(() => null);
          if (answer?.status === 503) return answer;
        }
      })(),
      'a refusal',
    );
    assert.equal(reply.json().trace_id, TRACE);
  });
});

test('what is accepted is told as before', async (t) => {
  const gateway = await start(t);
  const reply = await gateway.post('/db-change', { rooms: 'r', payload: 1 }, { traceparent: PARENT, tracestate: 'a=b' });
  assert.equal(reply.status, 200);
  assert.deepEqual(Object.keys(reply.json()).sort(), ['id', 'sockets', 'status']);
});

describe('no trace id comes of', () => {
  const bad = {
    'no header': undefined,
    'an empty header': '',
    'a word': 'hello',
    'a trace id of zeros': `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
    'a parent of zeros': `00-${TRACE}-${'0'.repeat(16)}-01`,
    'the forbidden version': `ff-${TRACE}-00f067aa0ba902b7-01`,
    'a trace id that is too short': `00-${TRACE.slice(1)}-00f067aa0ba902b7-01`,
    'a trace id that is too long': `00-${TRACE}a-00f067aa0ba902b7-01`,
    'capital letters': `00-${TRACE.toUpperCase()}-00f067aa0ba902b7-01`,
    'letters that are none of hexadecimal': `00-${'g'.repeat(32)}-00f067aa0ba902b7-01`,
    'a version 00 with more behind it': `${PARENT}-more`,
    'flags that are none': `00-${TRACE}-00f067aa0ba902b7-zz`,
    'no flags': `00-${TRACE}-00f067aa0ba902b7`,
    'something very long': `00-${TRACE.repeat(100)}-00f067aa0ba902b7-01`,
    'a line of its own': `00-${'"},{"level":"ERROR"'.padEnd(32, 'a').slice(0, 32)}-00f067aa0ba902b7-01`,
  };
  for (const [name, value] of Object.entries(bad)) {
    test(name, async (t) => {
      const gateway = await start(t);
      const reply = await refused(gateway, value);
      assert.equal(reply.status, 422);
      assert.equal(reply.json().trace_id, undefined, reply.text);
      const line = await logLine(gateway, 'unknown_field');
      assert.equal(line.trace_id, undefined, JSON.stringify(line));
      if (value) assert.ok(!gateway.stderr.includes(value), 'the header is in the log');
    });
  }

  test('two headers', async (t) => {
    const gateway = await start(t);
    const connection = await RawConnection.open(gateway);
    t.after(() => connection.socket.destroy());
    connection.write(
      requestBytes({
        method: 'POST',
        path: '/e',
        headers: [
          ['Content-Type', 'application/json'],
          ['traceparent', PARENT],
          ['traceparent', PARENT.replace('4bf', '5bf')],
        ],
        body: '{',
      }),
    );
    const reply = await connection.response({ method: 'POST' });
    assert.equal(reply.status, 400);
    // One of them or none, but nothing that is made of both.
    assert.match(reply.json().trace_id ?? TRACE, /^[45]bf[0-9a-f]{29}$/);
  });

  test('but a later version with more behind it is fine', async (t) => {
    const gateway = await start(t);
    const reply = await refused(gateway, `01-${TRACE}-00f067aa0ba902b7-01-more`);
    assert.equal(reply.json().trace_id, TRACE);
  });
});

describe('the log', () => {
  test('is JSON, a line each, when it does not go to a terminal', async (t) => {
    const gateway = await start(t, 'debug');
    await refused(gateway, PARENT);
    await logLine(gateway, TRACE);
    for (const line of gateway.stderr.split('\n').filter(Boolean)) {
      const entry = JSON.parse(line);
      for (const key of ['timestamp', 'level', 'message']) assert.equal(typeof entry[key], 'string', line);
    }
  });

  test('has one line for each close, with its code', async (t) => {
    const gateway = await start(t, 'debug');
    for (const [end, code] of [
      [(websocket) => websocket.sendText('4abc'), 'forced_close'],
      [(websocket) => websocket.sendText('x'), 'parse_error'],
      [(websocket) => websocket.close(), 'transport_close'],
    ]) {
      const websocket = await openSession(gateway);
      await join(websocket);
      end(websocket);
      await logLine(gateway, code);
      const lines = logLines(gateway).filter((line) => line.code === code);
      assert.equal(lines.length, 1, lines.map((line) => JSON.stringify(line)).join('\n'));
      // What somebody did wrong is for everybody's log, the rest for whoever looks closely.
      assert.equal(lines[0].level, code === 'transport_close' ? 'DEBUG' : 'INFO');
    }
  });
});
