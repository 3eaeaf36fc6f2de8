// Clients that stop reading. Such a one costs at most its outbox, and then its connection; nobody
// else waits for it, and when it wakes up it gets everything it missed.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { eventually } from '../harness/events.js';
import { startGateway } from '../harness/gateway.js';
import { Helper } from '../harness/helpers.js';
import { metrics, metricsShow } from '../harness/metrics.js';
import { UNKNOWN_SID } from '../harness/sessions.js';
import { RawSocket, claimOverPolling, openKnowing, payloadOf } from './returning.js';

const EVENT_BYTES = 60_000;
const OUTBOX_BYTES = 262_144;
const FILLER = 'x'.repeat(EVENT_BYTES);
/** More events than the kernel and an outbox hold together, whatever the kernel's settings. */
const FLOOD_MAX = 1000;
const HISTORY_BYTES = 80_000_000;
/** On a busy machine a healthy one is still far below this; one that waits for a sleeper is far above. */
const P99_MS = 250;

const rssBytes = ({ pid }) => 1024 * Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+) kB/m)[1]);

async function start(t, { outbox = OUTBOX_BYTES } = {}) {
  const gateway = await startGateway({
    config: `[socket]\noutbox_bytes_max = ${outbox}\n[publish]\nbody_bytes_max = 80000\n[recovery]\nbytes_max = ${HISTORY_BYTES}\nreplay_bytes_max = ${HISTORY_BYTES}\n`,
  });
  t.after(() => gateway.end());
  return gateway;
}

/** A process with stock clients in the room `flood`. */
async function hire(t, gateway, count) {
  const crew = new Helper(t, new URL('crew.js', import.meta.url));
  const members = Array.from({ length: count }, () => ({ rooms: ['flood'] }));
  const options = { transports: ['websocket'], reconnectionDelay: 400, reconnectionDelayMax: 400 };
  await crew.ask({ hire: { url: gateway.url, options, members } }, 'hired', 20_000);
  return crew;
}

const numbered = (gateway, n, more = {}) => gateway.publish('numbered', { rooms: 'flood', payload: { n, FILLER }, ...more });

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** Waits until every client of the crew has heard this number, and returns what each heard. */
async function allHeard(crew, number, count, waitMs = 60_000) {
  await eventually(
    async () => (await crew.ask({ count: { number } }, 'counted', 20_000)).heard === count,
    `all to hear ${number}`,
    waitMs,
  );
  return crew.ask({ report: {} }, 'reported', 20_000);
}

test('a frozen process: its connections are given up, others hear nothing of it', { timeout: 150_000 }, async (t) => {
  const FROZEN = 5;
  const gateway = await start(t);
  const crew = await hire(t, gateway, FROZEN);
  const witness = await RawSocket.open(gateway);
  await witness.subscribe('witness');
  await numbered(gateway, 0);
  await allHeard(crew, 0, FROZEN);
  const before = rssBytes(gateway);

  crew.signal('SIGSTOP');
  const times = [];
  const measure = async () => {
    const started = performance.now();
    const [, { args }] = await Promise.all([gateway.publish('ping', { rooms: 'witness', payload: times.length }), witness.event()]);
    assert.equal(args[0].payload, times.length);
    times.push(performance.now() - started);
  };
  let highest = 0;
  let last = 0;
  let more = 20;
  let now;
  while (more > 0) {
    last += 1;
    assert.ok(last < FLOOD_MAX, `${now?.limit('outbox_bytes_max')} of ${FROZEN} given up after ${last} events`);
    await Promise.all([numbered(gateway, last), measure()]);
    await measure();
    now = await metrics(gateway);
    highest = Math.max(highest, now.of('idae_socket_backlog_bytes'));
    // Some more, for nobody who is there.
    if (now.limit('outbox_bytes_max') === FROZEN) more -= 1;
  }
  assert.equal(now.sockets, 1, 'only the witness is connected');
  assert.equal(now.recoverable, FROZEN);
  assert.equal(now.closed('slow consumer'), FROZEN, now.text);
  assert.ok(highest <= FROZEN * (OUTBOX_BYTES + 2 * EVENT_BYTES), `${highest} bytes waited`);
  // The history is one for all; each of the frozen cost its outbox.
  const grown = rssBytes(gateway) - before;
  const allowed = last * EVENT_BYTES + FROZEN * OUTBOX_BYTES + 40_000_000;
  assert.ok(grown < allowed, `the gateway grew by ${grown} bytes, ${allowed} are allowed`);
  times.sort((a, b) => a - b);
  const p99 = times[Math.floor(times.length * 0.99)];
  t.diagnostic(`${last} events of ${EVENT_BYTES} bytes; p99 of ${times.length} others ${p99.toFixed(1)} ms, grown by ${grown} bytes`);
  assert.ok(p99 < P99_MS, `p99 ${p99} ms`);

  crew.signal('SIGCONT');
  const reported = await allHeard(crew, last, FROZEN);
  for (const { numbers, connects, recoveries } of reported) {
    assert.deepEqual(numbers, range(0, last));
    assert.deepEqual([connects, recoveries], [2, 1]);
  }
  await metricsShow(gateway, (state) => state.sockets === FROZEN + 1 && state.recoverable === 0, 'all to be back');
});

test('a frozen client wakes up in time: only volatile events were dropped', { timeout: 120_000 }, async (t) => {
  const gateway = await start(t, { outbox: 16_777_216 });
  const crew = await hire(t, gateway, 1);
  await numbered(gateway, 0);
  await allHeard(crew, 0, 1);
  crew.signal('SIGSTOP');
  let last = 0;
  let dropped = false;
  while (!dropped) {
    last += 1;
    assert.ok(last < FLOOD_MAX, 'the connection takes everything');
    await numbered(gateway, last);
    // As long as it can be written to, it takes volatile events as well.
    dropped = (await numbered(gateway, -last, { volatile: true })).sockets === 0;
  }
  const full = last;
  // Nothing can be written to it now. What is volatile is dropped, the rest waits.
  for (; last < full + 20; last += 1) {
    const { sockets } = await numbered(gateway, -full - last, { volatile: true });
    assert.equal(sockets, 0, 'a volatile event was queued');
    await numbered(gateway, last + 1);
  }
  crew.signal('SIGCONT');
  const [{ numbers, connects }] = await allHeard(crew, last, 1);
  assert.deepEqual(numbers.filter((n) => n >= 0), range(0, last));
  // Every one of those that came was accepted, and none of those that were dropped came.
  assert.deepEqual(numbers.filter((n) => n < 0), range(1, full - 1).map((n) => -n));
  assert.equal(connects, 1, 'it was never disconnected');
  assert.equal((await metrics(gateway)).limit('outbox_bytes_max'), 0);
  // And now it hears volatile events again.
  await numbered(gateway, 2_000_000, { volatile: true });
  await allHeard(crew, 2_000_000, 1);
});

describe('a client on polling that does not poll', () => {
  test('is given up and comes back', async (t) => {
    const gateway = await start(t);
    const { session, reply } = await claimOverPolling(gateway, {});
    const count = Math.ceil(OUTBOX_BYTES / EVENT_BYTES) + 3;
    for (let n = 1; n <= count; n += 1) await gateway.publish('e', { broadcast: true, payload: { n, FILLER } });
    const now = await metricsShow(gateway, (state) => state.limit('outbox_bytes_max') === 1, 'the client to be given up');
    assert.deepEqual([now.sockets, now.recoverable], [0, 1]);
    const gone = await session.poll();
    assert.deepEqual([gone.status, gone.text], [400, UNKNOWN_SID]);
    const back = await claimOverPolling(gateway, { pid: reply.pid });
    assert.deepEqual(back.reply, reply);
    assert.deepEqual(back.missed.map((event) => payloadOf(event).n), range(1, count));
  });

  test('volatile events do not wait for it', async (t) => {
    const gateway = await start(t);
    const { session } = await claimOverPolling(gateway, {});
    for (let n = 1; n <= 20; n += 1) {
      await gateway.publish('e', { broadcast: true, volatile: true, payload: { n, FILLER } });
    }
    await gateway.publish('e', { broadcast: true, payload: 'kept' });
    const [packet] = await session.packets(1);
    assert.match(packet, /^42\["e",\{"payload":"kept"\}/);
    assert.equal((await metrics(gateway)).limit('outbox_bytes_max'), 0);
  });
});

test('what was missed waits for a client that reads it slowly', { timeout: 60_000 }, async (t) => {
  const gateway = await start(t, { outbox: 160_000 });
  const socket = await RawSocket.open(gateway);
  socket.reset();
  await metricsShow(gateway, (now) => now.recoverable === 1, 'the session to wait');
  const missed = 250;
  for (let n = 1; n <= missed; n += 1) await gateway.publish('e', { broadcast: true, payload: { n, FILLER } });
  const websocket = await openKnowing(gateway);
  websocket.connection.socket.pause();
  const back = new RawSocket(websocket, '/');
  back.sendConnect(socket.claim);
  // Others go on meanwhile. What they publish comes behind what was missed.
  const witness = await RawSocket.open(gateway);
  for (let n = 1; n <= 50; n += 1) {
    await gateway.publish('e', { users: witness.sid, payload: n });
    assert.equal(payloadOf(await witness.event()), n);
  }
  await gateway.publish('e', { broadcast: true, payload: { n: missed + 1 } });
  websocket.connection.socket.resume();
  await back.connected(20_000);
  assert.equal(back.sid, socket.sid);
  const heard = back.missedPayloads.map(({ n }) => n);
  if (heard.at(-1) !== missed + 1) heard.push(payloadOf(await back.event()).n);
  assert.deepEqual(heard, range(1, missed + 1));
  assert.equal((await metrics(gateway)).limit('outbox_bytes_max'), 0);
});
