// Pings keep a connection, and their absence ends it, at the times the settings say. Time is
// under test here, so these cases wait for real; they run side by side to keep that short.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { next, sleep, staysOpen } from './harness/events.js';
import { startGateway } from './harness/gateway.js';
import { Polling, SEPARATOR, ask, connected, openProbe, openSession } from './harness/sessions.js';

const INTERVAL_MS = 400;
const TIMEOUT_MS = 1200;
// How late a busy machine may be: too late is never what is wrong here, too early is.
const LATE_MS = 5000;
const EARLY_MS = 15;

const env = {
  IDAE_SOCKET_SOCKET_PING_INTERVAL_MS: String(INTERVAL_MS),
  IDAE_SOCKET_SOCKET_PING_TIMEOUT_MS: String(TIMEOUT_MS),
};

let gateway;
before(async () => {
  gateway = await startGateway({ env });
});
after(() => gateway?.end());

function checkTime(started, expectedMs, what) {
  const took = Date.now() - started;
  assert.ok(
    took >= expectedMs - EARLY_MS && took <= expectedMs + LATE_MS,
    `${what} after ${took} ms instead of ${expectedMs}`,
  );
}

const silent = { answerPings: false };

describe('heartbeat', { concurrency: 8 }, () => {
  test('WebSocket: the first ping comes after one interval, the next after the pong', async () => {
    // The server's clock starts while the handshake is answered, so ours starts before.
    let started = Date.now();
    const websocket = await openSession(gateway, silent);
    for (let i = 0; i < 3; i += 1) {
      assert.equal(await websocket.nextText(), '2');
      checkTime(started, INTERVAL_MS, `ping ${i}`);
      started = Date.now();
      websocket.sendText('3');
    }
    websocket.close();
  });

  test('polling: pings come with a GET, a pong as a POST', async () => {
    let started = Date.now();
    const session = await Polling.open(gateway);
    for (let i = 0; i < 3; i += 1) {
      assert.equal((await session.poll()).text, '2');
      checkTime(started, INTERVAL_MS, `ping ${i}`);
      started = Date.now();
      await session.send('3');
    }
  });

  test('WebSocket: without a pong it is closed after interval and timeout', async () => {
    const started = Date.now();
    const websocket = await openSession(gateway, silent);
    const { code, unread } = await websocket.closed();
    checkTime(started, INTERVAL_MS + TIMEOUT_MS, 'closed');
    assert.deepEqual(unread, ['2']);
    // A Close frame, with or without a code: not a connection that just breaks off.
    assert.notEqual(code, undefined);
  });

  test('polling: a pending GET of a session without pongs is answered with 1', async () => {
    const started = Date.now();
    const session = await Polling.open(gateway);
    assert.equal((await session.poll()).text, '2');
    const { status, text } = await session.poll();
    checkTime(started, INTERVAL_MS + TIMEOUT_MS, 'closed');
    assert.deepEqual([status, text], [200, '1']);
    await session.isGone();
  });

  test('polling: a client that never polls is closed as well', async () => {
    const session = await Polling.open(gateway);
    await sleep(INTERVAL_MS + TIMEOUT_MS + 50);
    await session.isGone();
  });

  test('polling: it is not closed before that', async () => {
    const session = await Polling.open(gateway);
    await sleep(INTERVAL_MS + 50);
    const { text } = await session.poll();
    assert.equal(text, '2');
    await session.send('3');
    await session.send('40');
    assert.match(await session.packet(), /^40/);
  });

  test('polling: the ping shares a body with waiting events', async () => {
    const session = await Polling.open(gateway);
    await session.send('40');
    await sleep(INTERVAL_MS + 50);
    const packets = (await session.poll()).text.split(SEPARATOR);
    assert.equal(packets.length, 2);
    assert.match(packets[0], /^40/);
    assert.equal(packets[1], '2');
  });

  test('pongs with a payload and pongs too many do no harm', async () => {
    const websocket = await openSession(gateway, silent);
    websocket.sendText('3');
    websocket.sendText('3');
    assert.equal(await websocket.nextText(), '2');
    websocket.sendText('3abc');
    assert.equal(await websocket.nextText(), '2');
    websocket.sendText('3');
    websocket.sendText('40');
    assert.match(await websocket.nextText(), /^40/);
    websocket.close();
  });

  test('a client that only sends events, but no pong, is closed', async () => {
    const started = Date.now();
    const websocket = await openSession(gateway, silent);
    websocket.sendText('40');
    const chatter = setInterval(() => websocket.sendText('42["x"]'), 50);
    await websocket.closed();
    clearInterval(chatter);
    // Traffic may prolong the wait once, by one more timeout; it never replaces the pong.
    const took = Date.now() - started;
    assert.ok(took >= INTERVAL_MS + TIMEOUT_MS - EARLY_MS, `closed after ${took} ms`);
    assert.ok(took <= INTERVAL_MS + 2 * TIMEOUT_MS + LATE_MS, `closed after ${took} ms`);
  });

  test('an RFC 6455 pong is no Engine.IO pong', async () => {
    const websocket = await openSession(gateway, silent);
    const chatter = setInterval(() => websocket.sendFrame({ opcode: 10 }), 50);
    await websocket.closed();
    clearInterval(chatter);
  });

  for (const transport of ['polling', 'websocket']) {
    test(`the stock client on ${transport} stays idle for many intervals`, async (t) => {
      const socket = await connected(t, gateway, { transports: [transport] });
      const { id } = socket;
      await staysOpen(next(socket, 'disconnect', 60_000), 'the connection', 5 * INTERVAL_MS);
      assert.deepEqual(await ask(socket, 'hello'), { status: 'OK' });
      assert.equal(socket.id, id);
    });
  }

  test('the stock client stays idle after its upgrade', async (t) => {
    const socket = await connected(t, gateway);
    await staysOpen(next(socket, 'disconnect', 60_000), 'the connection', 5 * INTERVAL_MS);
    assert.equal(socket.io.engine.transport.name, 'websocket');
    assert.deepEqual(await ask(socket, 'hello'), { status: 'OK' });
  });

  test('an upgraded session without pongs is closed too', async () => {
    const session = await Polling.open(gateway);
    const websocket = await openProbe(session);
    websocket.sendTogether('2probe', '5');
    assert.equal(await websocket.nextText(), '3probe');
    const started = Date.now();
    await websocket.closed();
    const took = Date.now() - started;
    assert.ok(took <= INTERVAL_MS + TIMEOUT_MS + LATE_MS, `closed after ${took} ms`);
  });

  test('a neighbour that is closed for silence takes nobody along', async (t) => {
    const socket = await connected(t, gateway, { transports: ['websocket'] });
    const quiet = await Promise.all(Array.from({ length: 20 }, () => openSession(gateway, silent)));
    await Promise.all(quiet.map((websocket) => websocket.closed()));
    assert.deepEqual(await ask(socket, 'hello'), { status: 'OK' });
  });
});

test('a frozen server: the stock client gives up with ping timeout', async (t) => {
  const frozen = await startGateway({ env });
  t.after(async () => {
    frozen.signal('SIGCONT');
    await frozen.end();
  });
  const socket = await connected(t, frozen, { transports: ['websocket'] });
  const disconnect = next(socket, 'disconnect', 5000);
  const started = Date.now();
  frozen.signal('SIGSTOP');
  const [reason] = await disconnect;
  assert.equal(reason, 'ping timeout');
  assert.ok(Date.now() - started <= INTERVAL_MS + TIMEOUT_MS + LATE_MS);
});

test('a server that was frozen wakes up and serves again', async (t) => {
  const frozen = await startGateway({ env });
  t.after(() => frozen.end());
  const old = await connected(t, frozen, { transports: ['websocket'] });
  const lost = next(old, 'disconnect');
  frozen.signal('SIGSTOP');
  await lost;
  frozen.signal('SIGCONT');
  const socket = await connected(t, frozen, { transports: ['websocket'] });
  assert.deepEqual(await ask(socket, 'hello'), { status: 'OK' });
});
