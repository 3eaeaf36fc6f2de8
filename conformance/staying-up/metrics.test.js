// What /metrics says, in a form that a strict reader takes, and that it goes back to where it was:
// whoever is killed in the middle of anything leaves nothing behind, and neither do those who come
// and go by the ten thousand.
//
//   IDAE_SOCKET_CHURN=100000 node --test --test-name-pattern 'come and go' staying-up/metrics.test.js

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { describe, test } from 'node:test';
import { eventually, sleep } from '../harness/events.js';
import { startGateway } from '../harness/gateway.js';
import { Helper } from '../harness/helpers.js';
import { metrics, metricsShow, parseMetrics } from '../harness/metrics.js';
import { RawConnection, request, requestBytes } from '../harness/raw.js';
import { drawLots } from '../harness/seed.js';
import { Polling, bystander, connected, join, openSession, subscribe } from '../harness/sessions.js';
import { JWT_CONFIG, RawSocket, open, token } from './returning.js';

const CHURN = Number(process.env.IDAE_SOCKET_CHURN ?? 20_000);
const ROUNDS_MAX = 4;
const AT_ONCE = 100;

const GAUGES = [
  'idae_socket_connections',
  'idae_socket_sockets',
  'idae_socket_rooms',
  'idae_socket_history_bytes',
  'idae_socket_history_events',
  'idae_socket_recoverable',
  'idae_socket_backlog_bytes',
];
const COUNTERS = [
  'idae_socket_events',
  'idae_socket_deliveries',
  'idae_socket_refusals',
  'idae_socket_limits_reached',
  'idae_socket_recoveries',
  'idae_socket_closed',
];

describe('the reader itself', () => {
  const good = '# HELP a Some.\n# TYPE a gauge\na{b="c"} 1\n# EOF\n';
  test('takes what is right', () => assert.equal(parseMetrics(good).of('a', { b: 'c' }), 1));
  for (const [name, text] of Object.entries({
    'no end': good.replace('# EOF\n', ''),
    'something behind the end': `${good}a 1\n`,
    'an empty line': good.replace('a{', '\na{'),
    'no type': good.replace('# TYPE a gauge\n', ''),
    'a counter without _total': good.replace('gauge', 'counter'),
    'the same series twice': good.replace('# EOF', 'a{b="c"} 2\n# EOF'),
    'an open quote': good.replace('"c"', '"c'),
    'no number': good.replace('} 1', '} one'),
    'a unit that is not in the name': good.replace('# TYPE', '# UNIT a seconds\n# TYPE'),
    'a bucket that shrinks':
      '# TYPE h histogram\nh_bucket{le="1"} 2\nh_bucket{le="+Inf"} 1\nh_count 1\nh_sum 1\n# EOF\n',
  })) {
    test(`refuses ${name}`, () => assert.throws(() => parseMetrics(text)));
  }
});

describe('what it says', () => {
  test('every name, typed and explained, from the start', async (t) => {
    const gateway = await open(t);
    const now = await metrics(gateway);
    for (const name of GAUGES) assert.equal(now.families.get(name)?.type, 'gauge', name);
    for (const transport of ['polling', 'websocket']) assert.ok(now.has('idae_socket_connections', { transport }), transport);
    assert.equal(now.families.get('idae_socket_delivery_seconds')?.type, 'histogram');
    for (const { name, help } of now.families.values()) {
      assert.match(name, /^idae_socket_[a-z0-9_]+$/);
      assert.ok(help?.length > 5, `${name} has no help`);
    }
    for (const name of COUNTERS) {
      const family = now.families.get(name);
      if (family) assert.equal(family.type, 'counter', name);
    }
  });

  test('only its own methods, and nobody needs a key to look', async (t) => {
    const gateway = await open(t, { config: '[publish]\nkey = "metrics-key-0123456789abcdef"\n' });
    await metrics(gateway);
    const posted = await gateway.post('/metrics', '{}', { authorization: 'Bearer metrics-key-0123456789abcdef' });
    assert.ok([404, 405].includes(posted.status), String(posted.status));
    const head = await request(gateway, { method: 'HEAD', path: '/metrics' });
    assert.ok([200, 405].includes(head.status), String(head.status));
  });

  test('gauges follow what happens', async (t) => {
    const gateway = await open(t, { windowS: 2, config: '[socket]\nping_interval_ms = 500\nping_timeout_ms = 500\n' });
    const gauges = (now) => [
      now.of('idae_socket_connections', { transport: 'polling' }),
      now.of('idae_socket_connections', { transport: 'websocket' }),
      now.sockets,
      now.rooms,
      now.recoverable,
    ];
    const shows = (expected, what) =>
      metricsShow(gateway, (now) => JSON.stringify(gauges(now)) === JSON.stringify(expected), `${what}: ${expected}`);
    await shows([0, 0, 0, 0, 0], 'nobody');
    const polling = await Polling.open(gateway);
    await shows([1, 0, 0, 0, 0], 'a session without a socket');
    const knowing = await RawSocket.open(gateway);
    await shows([1, 1, 1, 0, 0], 'a socket');
    await knowing.subscribe(['a', 'b']);
    const other = await openSession(gateway);
    await join(other);
    other.sendText('420["subscribe","b"]');
    await other.nextText();
    await metricsShow(gateway, (now) => now.sockets === 2 && now.rooms >= 2, 'two sockets in two rooms');
    other.close();
    await shows([1, 1, 1, 2, 0], 'one of them gone');
    await polling.send('1');
    await shows([0, 1, 1, 2, 0], 'polling gone');
    knowing.reset();
    await shows([0, 0, 0, 0, 1], 'somebody away');
    const back = await knowing.comeBack(gateway);
    await shows([0, 1, 1, 2, 0], 'back again, with the rooms');
    back.reset();
    await shows([0, 0, 0, 0, 0], 'away for too long');
  });

  test('an upgrade moves a session from one transport to the other', async (t) => {
    const gateway = await open(t);
    const socket = await connected(t, gateway, { transports: ['polling', 'websocket'] });
    await eventually(() => socket.io.engine.transport.name === 'websocket', 'the upgrade');
    await metricsShow(
      gateway,
      (now) =>
        now.of('idae_socket_connections', { transport: 'websocket' }) === 1 &&
        now.of('idae_socket_connections', { transport: 'polling' }) === 0,
      'the session to be counted as WebSocket',
    );
  });

  test('events, deliveries and their times', async (t) => {
    const gateway = await open(t);
    const sockets = [];
    for (let i = 0; i < 5; i += 1) sockets.push(await RawSocket.open(gateway));
    for (const socket of sockets.slice(0, 3)) await socket.subscribe('r');
    for (let n = 0; n < 10; n += 1) await gateway.publish('e', { rooms: 'r', payload: n });
    await gateway.publish('e', { broadcast: true, volatile: true, payload: 'volatile' });
    await gateway.publish('e', { rooms: 'nobody', payload: 1 });
    await gateway.publish('e', { rooms: 'r', payload: 1, id: 'once' });
    await gateway.publish('e', { rooms: 'r', payload: 1, id: 'once' });
    for (const socket of sockets.slice(0, 3)) for (let n = 0; n < 12; n += 1) await socket.event();
    const now = await metricsShow(gateway, (state) => state.of('idae_socket_deliveries_total') >= 38, '38 deliveries');
    assert.equal(now.of('idae_socket_events_total'), 13);
    assert.equal(now.of('idae_socket_deliveries_total'), 3 * 10 + 5 + 3);
    assert.ok(now.of('idae_socket_delivery_seconds_count') > 0);
    const sum = now.of('idae_socket_delivery_seconds_sum');
    assert.ok(sum > 0 && sum < 10, `${sum} s`);
    assert.ok(now.of('idae_socket_history_events') >= 12, now.text);
    assert.ok(now.of('idae_socket_history_bytes') > 0);
  });

  test('why sessions ended', async (t) => {
    const gateway = await open(t, { config: '[socket]\nping_interval_ms = 300\nping_timeout_ms = 300\n' });
    const ends = [
      [(websocket) => websocket.close(), 'transport close'],
      [(websocket) => (websocket.answerPings = false), 'ping timeout'],
      [(websocket) => websocket.sendText('x'), 'parse error'],
      [(websocket) => websocket.sendText('4abc'), 'forced close'],
      [(websocket) => websocket.sendFrame({ rsv: 7 }), 'transport error'],
    ];
    for (const [end, reason] of ends) {
      const websocket = await openSession(gateway);
      await join(websocket);
      end(websocket);
      const now = await metricsShow(gateway, (state) => state.connections === 0, `the end by ${reason}`);
      assert.equal(now.closed(reason), 1, `${reason}: ${now.text.match(/^idae_socket_closed.*$/gm)}`);
    }
  });

  test('no label names a room, a user, an address or a session', async (t) => {
    const gateway = await open(t, { config: `${JWT_CONFIG}[rooms]\njoin = ["*"]\n` });
    const socket = await RawSocket.open(gateway, { auth: { token: token('user-in-no-label') } });
    await socket.subscribe('room-in-no-label');
    await gateway.publish('event-in-no-label', { rooms: 'room-in-no-label', users: 'user-in-no-label', payload: 1 });
    await gateway.post('/event-in-no-label', { rooms: 'room-in-no-label', payload: 1, 'field-in-no-label': 1 });
    socket.reset();
    const { text, families } = await metricsShow(gateway, (now) => now.recoverable === 1, 'the socket to be away');
    assert.doesNotMatch(text, /in-no-label|127\.0\.0\.1/);
    assert.ok(!text.includes(socket.sid) && !text.includes(socket.pid));
    const labels = new Set([...families.values()].flatMap(({ samples }) => samples.flatMap((sample) => Object.keys(sample.labels))));
    for (const label of labels) {
      assert.ok(['transport', 'code', 'limit', 'outcome', 'reason', 'le', 'shard', 'kind'].includes(label), label);
    }
  });
});

/** How many files a process has open. */
const openFiles = ({ pid }) => readdirSync(`/proc/${pid}/fd`).length;
const rssBytes = ({ pid }) => 1024 * Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+) kB/m)[1]);

/** Waits until nobody but the bystander is left, in any gauge. */
const onlyBystander = (gateway, waitMs) =>
  metricsShow(
    gateway,
    (now) => now.connections === 1 && now.sockets === 1 && now.rooms === 1 && now.recoverable === 0 && now.of('idae_socket_backlog_bytes') === 0,
    'the bystander alone to be left',
    waitMs,
  );

test('a process that is killed in the middle of everything leaves nothing behind', { timeout: 120_000 }, async (t) => {
  const lots = drawLots(t, 'the moments');
  const gateway = await open(t, {
    windowS: 2,
    config: '[socket]\nping_interval_ms = 600\nping_timeout_ms = 600\nconnect_timeout_ms = 2000\n',
  });
  const watcher = await bystander(t, gateway);
  // What the gateway opens for itself is open now.
  await onlyBystander(gateway, 10_000);
  const before = openFiles(gateway);
  for (let round = 0; round < 6; round += 1) {
    const doomed = new Helper(t, new URL('doomed.js', import.meta.url));
    doomed.send({ start: { port: gateway.port, count: 8 } });
    // Some are killed at any moment, some when everything is begun.
    if (round % 3 === 2) {
      const { begun, failed } = await doomed.next('busy', 20_000);
      // The gateway may have given one or the other up by then.
      assert.ok(failed.length < begun / 10, failed.join('\n'));
    } else {
      await metricsShow(gateway, (now) => now.connections > 1 + lots.between(0, 40), 'it to have begun', 20_000);
      await sleep(lots.between(0, 60));
    }
    doomed.kill();
    await doomed.exited;
    await watcher.unharmed();
  }
  // Sessions between two polls are noticed by their heartbeat.
  await onlyBystander(gateway, 20_000);
  await eventually(() => openFiles(gateway) <= before, `${before} open files again, not ${openFiles(gateway)}`, 10_000);
  await watcher.unharmed();
});

test('twenty thousand come and go: memory returns to where it was', { timeout: 60_000 + CHURN * 50 }, async (t) => {
  const gateway = await startGateway({
    config: '[socket]\nping_interval_ms = 1000\nping_timeout_ms = 1000\n[recovery]\nwindow_s = 1\n',
  });
  t.after(() => gateway.end());
  const watcher = await bystander(t, gateway);
  const flock = new Helper(t, new URL('flock.js', import.meta.url));
  const churn = async (count) => {
    const gone = await flock.ask({ churn: { port: gateway.port, count, atOnce: AT_ONCE } }, 'churned', 30_000 + count * 10);
    assert.equal(gone, count);
    await watcher.unharmed();
    await onlyBystander(gateway, 20_000);
  };
  const settled = openFiles(gateway);
  await churn(CHURN);
  await eventually(() => openFiles(gateway) <= settled, `${settled} open files again`);
  const files = openFiles(gateway);
  // How many are remembered at a time depends on how fast they go, and so does the most that was ever needed. But
  // what is lost of each one is lost in every round.
  const sizes = [rssBytes(gateway)];
  const isStill = () => sizes.length > 1 && sizes.at(-1) <= 1.08 * sizes.at(-2);
  while (!isStill() && sizes.length <= ROUNDS_MAX) {
    await churn(CHURN);
    sizes.push(rssBytes(gateway));
  }
  t.diagnostic(`${sizes.join(', ')} bytes after ${CHURN} each`);
  assert.ok(isStill(), `${sizes.join(', ')} bytes after ${CHURN} each`);
  await eventually(() => openFiles(gateway) <= files, `${files} open files again, not ${openFiles(gateway)}`);
});

test('rooms that are entered and left leave nothing behind', { timeout: 60_000 }, async (t) => {
  const gateway = await open(t);
  const socket = await connected(t, gateway, { transports: ['websocket'] });
  const rooms = (round) => Array.from({ length: 500 }, (_, i) => `room-${round}-${i}`);
  let before;
  for (let round = 0; round < 40; round += 1) {
    await subscribe(socket, rooms(round));
    const left = await new Promise((resolve) => socket.emit('unsubscribe', rooms(round), resolve));
    assert.equal(left.status, 'ok');
    if (round === 10) before = rssBytes(gateway);
  }
  assert.equal((await metrics(gateway)).rooms, 0);
  assert.ok(rssBytes(gateway) <= 1.2 * before, `${before} bytes and then ${rssBytes(gateway)}`);
});

test('/livez and /readyz', async (t) => {
  const gateway = await open(t);
  for (const path of ['/livez', '/readyz']) {
    const reply = await request(gateway, { path });
    assert.equal(reply.status, 200);
    const connection = await RawConnection.open(gateway);
    connection.write(requestBytes({ method: 'HEAD', path }));
    assert.equal((await connection.response({ method: 'HEAD' })).status, 200);
    connection.close();
  }
});
