// Seeded garbage against the real binary: bytes, requests, frames and packets that are almost right.
// Whatever comes, the process lives, nobody else notices, and it costs at most its own connection.
//
//   IDAE_SOCKET_TEST_SEED=1234 IDAE_SOCKET_GARBAGE=20000 node --test staying-up/garbage.test.js

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { within } from '../harness/events.js';
import { startGateway } from '../harness/gateway.js';
import { metricsShow } from '../harness/metrics.js';
import { OPCODE, RawConnection, frameBytes, requestBytes, upgradeHeaders } from '../harness/raw.js';
import { drawLots } from '../harness/seed.js';
import { Polling, ask, bystander, connected, openSession } from '../harness/sessions.js';
import { openKnowing } from './returning.js';

const COUNT = Number(process.env.IDAE_SOCKET_GARBAGE ?? 1200);
const AT_ONCE = 20;
/** How long an answer to garbage is waited for; half a request rightly gets none. */
const ANSWER_MS = 150;

let gateway;
let watcher;
before(async () => {
  gateway = await startGateway({
    config:
      'namespaces = ["/", "/shop"]\n[socket]\nping_interval_ms = 1000\nping_timeout_ms = 1000\nconnect_timeout_ms = 3000\n' +
      'payload_bytes_max = 20000\n[recovery]\nwindow_s = 2\n[log]\nlevel = "warn"\n',
  });
  watcher = await bystander(null, gateway);
});
after(async () => {
  try {
    await watcher.unharmed();
    watcher.socket.disconnect();
    // Nothing is left of any of it.
    await metricsShow(
      gateway,
      (now) => now.connections === 0 && now.sockets === 0 && now.rooms === 0 && now.recoverable === 0,
      'all garbage to be gone',
      20_000,
    );
  } finally {
    await gateway?.end();
  }
});

const HOSTILE = ['\x00', '\r', '\n', '\r\n\r\n', '%', '%00', '%ff', '"', '\\', '{', '}', '[', ']', ',', ':', '-', '0', '1e999', '\u2028', '😀', '\ud800', 'null', '__proto__', ' '.repeat(200), '9'.repeat(40), '/', '?', '&', '=', '\x1e', 'b', '2probe', '5', '40', '41', '42', '43', '44', '451-', '461-'];

/** Changes bytes here and there: flips, cuts, repeats, inserts, numbers that are too large. */
function mutate(lots, bytes) {
  let result = Buffer.from(bytes);
  for (let times = lots.between(1, 4); times > 0; times -= 1) {
    const at = lots.between(0, result.length);
    const end = Math.min(result.length, at + lots.between(1, 16));
    const head = result.subarray(0, at);
    const tail = result.subarray(at);
    switch (lots.between(0, 6)) {
      case 0:
        if (at < result.length) result[at] ^= 1 << lots.between(0, 7);
        break;
      case 1:
        result = Buffer.from(head);
        break;
      case 2:
        result = Buffer.concat([head, result.subarray(end)]);
        break;
      case 3:
        result = Buffer.concat([head, result.subarray(at, end), tail]);
        break;
      case 4:
        result = Buffer.concat([head, Buffer.from(lots.pick(HOSTILE)), tail]);
        break;
      case 5:
        result = Buffer.concat([head, lots.bytes(lots.between(1, 64)), tail]);
        break;
      default:
        result = Buffer.concat([tail, head]);
    }
  }
  return result;
}

/** One after the other, some at a time; what failed names the number and the bytes. */
async function throwAll(t, what, makeOne) {
  const lots = drawLots(t, what);
  let next = 0;
  let watching = Promise.resolve();
  const worker = async () => {
    while (next < COUNT) {
      next += 1;
      const number = next;
      await makeOne(lots, number);
      assert.equal(gateway.ended, null, `the gateway ended at number ${number}:\n${gateway.logs.slice(-2000)}`);
      // One look at a time.
      if (number % 200 === 0) await (watching = watching.then(() => watcher.unharmed()));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  await watcher.unharmed();
  // New clients are served as before.
  for (const transports of [['websocket'], ['polling']]) {
    const socket = await connected(t, gateway, { transports });
    assert.deepEqual(await ask(socket, 'hello'), { status: 'OK' });
  }
}

/** Sends on a connection of its own; waits a moment for whatever comes back, then goes. */
async function sendAndGo(lots, ...parts) {
  const connection = await RawConnection.open(gateway);
  for (const part of parts) {
    // In one piece or in several.
    const cut = lots.chance(0.3) ? lots.between(0, part.length) : part.length;
    connection.write(part.subarray(0, cut));
    if (cut < part.length) {
      await new Promise(setImmediate);
      connection.write(part.subarray(cut));
    }
  }
  if (lots.chance(0.5)) {
    await connection
      .until(() => (connection.received.length || connection.ended ? true : undefined), 'anything', ANSWER_MS)
      .catch(() => {});
    // Whatever is answered is HTTP, and never a fault of the gateway.
    const text = connection.received.toString('latin1');
    if (text.length >= 12) assert.match(text, /^HTTP\/1\.[01] (?!5(?!0[135]))\d{3} /, text.slice(0, 300));
  }
  if (lots.chance(0.5)) connection.reset();
  else connection.socket.destroy();
}

const publishBody = (lots) =>
  JSON.stringify({ rooms: ['nobody'], payload: { n: lots.between(0, 9), text: lots.pick(HOSTILE) }, users: 'no-one', volatile: true, id: `x${lots.between(0, 1e9)}` });

/** Requests that are right. */
const REQUESTS = [
  () => requestBytes({ path: '/socket.io/?EIO=4&transport=polling' }),
  () => requestBytes({ path: '/socket.io/?EIO=4&transport=websocket', headers: upgradeHeaders() }),
  (lots) => requestBytes({ method: 'POST', path: '/e', headers: { 'content-type': 'application/json' }, body: publishBody(lots) }),
  (lots) =>
    requestBytes({ method: 'POST', path: '/v1/events', headers: { 'content-type': 'application/json' }, body: `[${publishBody(lots).replace('{', '{"event":"e",')}]` }),
  (lots) =>
    requestBytes({
      method: 'POST',
      path: '/v1/events',
      headers: { 'content-type': 'application/x-ndjson', 'transfer-encoding': 'chunked' },
      body: `20\r\n${publishBody(lots).slice(0, 32)}\r\n0\r\n\r\n`,
    }),
  () => requestBytes({ method: 'POST', path: '/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA', body: '40' }),
  () => requestBytes({ method: 'OPTIONS', path: '/e', headers: { origin: 'http://localhost', 'access-control-request-method': 'POST' } }),
  () => requestBytes({ path: '/metrics', headers: { traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` } }),
  () => requestBytes({ path: '/readyz', headers: { 'x-forwarded-for': '1.2.3.4, 5.6.7.8', authorization: 'Bearer x', 'idempotency-key': 'y' } }),
];

/** Engine.IO packets that are right. */
const PACKETS = [
  '40',
  '40{"token":"x","recovery":true}',
  '40{"pid":"AAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAA","offset":"AAAAAAAAAAAAAAAA"}',
  '40/shop,',
  '41',
  '41/shop,',
  '42["subscribe","r"]',
  '420["subscribe",["a","b"]]',
  '421["unsubscribe",["a"]]',
  '422["grantIn",{"ROLE":"a","host":"b"}]',
  '423["token:refresh","x.y.z"]',
  '4212["x",{"a":[1,2,{"b":null}]},"é"]',
  '430["x"]',
  '451-7["x",{"_placeholder":true,"num":0}]',
  '461-7[{"_placeholder":true,"num":0}]',
  '42/shop,["x",1]',
  '2',
  '3',
  '6',
  '2probe',
  'bAAECAw==',
];

describe('garbage', { timeout: 120_000 }, () => {
  test('bytes that are nothing', (t) =>
    throwAll(t, 'bytes', (lots) => sendAndGo(lots, lots.bytes(lots.between(1, 600)))));

  test('requests that are almost right', (t) =>
    throwAll(t, 'requests', (lots) => sendAndGo(lots, mutate(lots, lots.pick(REQUESTS)(lots)))));

  test('requests behind requests', (t) =>
    throwAll(t, 'pipelines', (lots) => {
      const many = Array.from({ length: lots.between(1, 6) }, () => {
        const bytes = lots.pick(REQUESTS)(lots);
        return lots.chance(0.3) ? mutate(lots, bytes) : bytes;
      });
      return sendAndGo(lots, Buffer.concat(many));
    }));

  test('frames behind a proper handshake', (t) =>
    throwAll(t, 'frames', async (lots) => {
      const websocket = await openSession(gateway);
      if (lots.chance(0.7)) websocket.sendText('40');
      const frames = Array.from({ length: lots.between(1, 8) }, () => {
        const payload = lots.chance(0.5) ? Buffer.from(lots.pick(PACKETS)) : lots.bytes(lots.between(0, 300));
        const options = {
          opcode: lots.pick([OPCODE.text, OPCODE.text, OPCODE.binary, OPCODE.continuation, OPCODE.ping, OPCODE.close, 3, 11]),
          payload,
          fin: lots.chance(0.8),
          rsv: lots.chance(0.1) ? lots.between(1, 7) : 0,
          masked: lots.chance(0.95),
          ...(lots.chance(0.1) && { announced: lots.pick([0, 1, 125, 126, 65_535, 65_536, 2 ** 31, 2 ** 53 - 1]), lengthBytes: 8 }),
          ...(lots.chance(0.1) && { lengthBytes: 8 }),
        };
        return frameBytes(options);
      });
      const bytes = Buffer.concat(frames);
      websocket.connection.write(lots.chance(0.5) ? mutate(lots, bytes) : bytes);
      await leave(lots, websocket);
    }));

  test('packets that are almost right', (t) =>
    throwAll(t, 'packets', async (lots) => {
      const websocket = await openKnowing(gateway);
      websocket.sendText('40');
      for (let count = lots.between(1, 12); count > 0; count -= 1) {
        const text = lots.pick(PACKETS);
        if (lots.chance(0.4)) {
          websocket.sendText(text);
        } else {
          const bytes = mutate(lots, Buffer.from(text));
          // Text has to be text; whether it is, the gateway has to find out.
          websocket.sendFrame({ payload: lots.chance(0.8) ? Buffer.from(bytes.toString('utf8')) : bytes });
        }
        if (lots.chance(0.3)) websocket.sendBinary(lots.bytes(lots.between(0, 50)));
      }
      await leave(lots, websocket);
    }));

  test('polling that is almost right', (t) =>
    throwAll(t, 'polls', async (lots) => {
      const session = await Polling.open(gateway);
      if (lots.chance(0.8)) await session.post('40');
      const packets = Array.from({ length: lots.between(1, 10) }, () => lots.pick(PACKETS)).join('\x1e');
      const body = lots.chance(0.7) ? mutate(lots, Buffer.from(packets)) : Buffer.from(packets);
      const post = requestBytes({ method: 'POST', path: session.target, body });
      const poll = requestBytes({ path: session.target });
      const order = lots.pick([[post], [poll, post], [post, poll], [post, post], [poll, poll], [mutate(lots, post)], [mutate(lots, poll)]]);
      await Promise.all(order.map((bytes) => sendAndGo(lots, bytes)));
      if (lots.chance(0.7)) await session.post('1').catch(() => {});
    }));

  test('upgrades that are almost right', (t) =>
    throwAll(t, 'upgrades', async (lots) => {
      const session = await Polling.open(gateway);
      if (lots.chance(0.5)) await session.post('40');
      const path = `/socket.io/?EIO=4&transport=websocket&sid=${session.sid}`;
      const upgrade = requestBytes({ path, headers: upgradeHeaders() });
      const steps = ['2probe', '5', '40', '42["x"]', lots.pick(PACKETS)].map((payload) => frameBytes({ payload }));
      const frames = lots.chance(0.5) ? Buffer.concat(steps) : mutate(lots, Buffer.concat(steps));
      await sendAndGo(lots, lots.chance(0.3) ? mutate(lots, upgrade) : upgrade, frames);
    }));
});

/** Waits a moment for the gateway's verdict, or not, and goes in some way. */
async function leave(lots, websocket) {
  if (lots.chance(0.3)) {
    await within(
      websocket.connection.until(() => (websocket.isClosed ? true : undefined), 'an end', ANSWER_MS),
      'an end',
      ANSWER_MS,
    ).catch(() => {});
  }
  if (lots.chance(0.5)) websocket.reset();
  else websocket.connection.socket.destroy();
}
