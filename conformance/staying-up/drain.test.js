// The gateway is told to stop: it says so at once, finishes what it has begun, sends its clients
// away one after the other, and ends with 0. Told twice, it ends.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { eventually, next, sleep, within } from '../harness/events.js';
import { startGateway } from '../harness/gateway.js';
import { RawConnection, request, requestBytes, tryUpgrade } from '../harness/raw.js';
import { Polling, client, connectNow, connected, join, openSession } from '../harness/sessions.js';
import { assertPublished, assertRefused } from '../publish/publishing.js';
import { RawSocket } from './returning.js';

const POLL = '/socket.io/?EIO=4&transport=polling';
const WEBSOCKET = '/socket.io/?EIO=4&transport=websocket';
const DRAINING = { status: 503, code: 'draining', headers: { 'retry-after': /^\d+$/ } };
const BODY = JSON.stringify({ rooms: 'r', payload: 1 });
const CLEAN = { code: 0, signal: null };

async function start(t, { drainS, ...options } = {}) {
  const gateway = await startGateway({ ...options, config: `drain_s = ${drainS}\n` });
  t.after(async () => {
    gateway.killNow();
    await gateway.exited;
    assert.doesNotMatch(gateway.logs, /panicked at/);
  });
  return gateway;
}

/** Waits until the gateway has heard the signal. A connection of before may be closed by it, as any idle one. */
const notReady = (gateway) =>
  eventually(
    () => request(gateway, { path: '/readyz' }).then(({ status }) => status === 503, () => false),
    'the gateway not to be ready',
  );

/** Some raw sockets, each with the time it was closed, counted from now. */
async function timedSockets(gateway, count) {
  const sockets = [];
  for (let i = 0; i < count; i += 1) sockets.push(await RawSocket.open(gateway));
  return {
    sockets,
    closed(started, waitMs) {
      return Promise.all(
        sockets.map(async ({ websocket }) => {
          await websocket.closed(waitMs);
          return Date.now() - started;
        }),
      );
    },
  };
}

/** A POST whose head has arrived and whose body is still to come. */
async function halfPublish(t, gateway, length = BODY.length) {
  const connection = await RawConnection.open(gateway);
  t.after(() => connection.socket.destroy());
  connection.write(
    requestBytes({
      method: 'POST',
      path: '/p',
      headers: { 'Content-Type': 'application/json', 'Content-Length': String(length), Expect: '100-continue' },
      body: '',
    }),
  );
  await connection.until(
    () => (String(connection.received).startsWith('HTTP/1.1 100 ') ? true : undefined),
    'the gateway to ask for the body',
  );
  return connection;
}

for (const signal of ['SIGTERM', 'SIGINT']) {
  describe(signal, { concurrency: 3 }, () => {
    test('is told to everybody who asks, at once', async (t) => {
      const gateway = await start(t, { drainS: 4 });
      // Somebody has to be there, or the end is at once.
      const { sockets, closed } = await timedSockets(gateway, 2);
      const polling = await Polling.open(gateway);
      const kept = await RawConnection.open(gateway);
      t.after(() => kept.socket.destroy());
      kept.write(requestBytes({ path: '/readyz' }));
      assert.equal((await kept.response()).status, 200);
      const started = Date.now();
      gateway.signal(signal);
      await notReady(gateway);
      assert.ok(Date.now() - started < 1000, `not ready after ${Date.now() - started} ms`);

      assert.equal((await request(gateway, { path: '/livez' })).status, 200);
      assert.equal((await request(gateway, { path: '/metrics' })).status, 200);
      assertRefused(await gateway.post('/p', BODY), DRAINING);
      assertRefused(await gateway.post('/v1/events', `[{"event":"p","rooms":"r","payload":1}]`), DRAINING);
      assertRefused(
        await gateway.post('/v1/events', `{"event":"p","rooms":"r","payload":1}\n`, { 'content-type': 'application/x-ndjson' }),
        DRAINING,
      );
      // On a connection of before as well, or it is closed; but no answer is left out.
      kept.write(requestBytes({ method: 'POST', path: '/p', headers: { 'content-type': 'application/json' }, body: BODY }));
      await kept.until(() => (kept.received.length || kept.ended ? true : undefined), 'an answer or the end');
      if (kept.received.length) assertRefused(await kept.response({ method: 'POST' }), DRAINING);

      // Nobody new.
      const refused = await request(gateway, { path: POLL });
      assert.deepEqual([refused.status, refused.json().code], [403, 4]);
      const { response } = await tryUpgrade(gateway, WEBSOCKET);
      assert.equal(response.status, 400);
      // And those who are there are served until it is their turn.
      assert.ok(sockets.some(({ websocket }) => !websocket.isClosed));
      if (!sockets[1].websocket.isClosed) {
        sockets[1].websocket.sendText('427["hello"]');
        await sockets[1].websocket.nextText().catch(() => {});
      }
      assert.ok((await polling.post('40')).status < 500);

      await closed(started, 10_000);
      assert.deepEqual(await within(gateway.exited, 'the end', 10_000), CLEAN);
      assert.ok(Date.now() - started < 7000, `it took ${Date.now() - started} ms`);
    });

    test('twice ends at once', async (t) => {
      const gateway = await start(t, { drainS: 60 });
      const { sockets } = await timedSockets(gateway, 50);
      await halfPublish(t, gateway);
      gateway.signal(signal);
      await notReady(gateway);
      const started = Date.now();
      gateway.signal(signal);
      await within(gateway.exited, 'the end after the second signal', 3000);
      assert.ok(Date.now() - started < 2000);
      for (const { websocket } of sockets) await websocket.closed();
    });

    test('without clients ends at once, whatever drain_s', async (t) => {
      const gateway = await start(t, { drainS: 60 });
      gateway.signal(signal);
      assert.deepEqual(await within(gateway.exited, 'the end', 3000), CLEAN);
    });
  });
}

test('SIGTERM and then SIGINT ends at once', async (t) => {
  const gateway = await start(t, { drainS: 60 });
  await timedSockets(gateway, 20);
  gateway.signal('SIGTERM');
  await notReady(gateway);
  gateway.signal('SIGINT');
  await within(gateway.exited, 'the end after the second signal', 3000);
});

test('clients are sent away evenly over drain_s', async (t) => {
  const DRAIN_S = 3;
  const COUNT = 90;
  const gateway = await start(t, { drainS: DRAIN_S });
  const { closed } = await timedSockets(gateway, COUNT);
  const started = Date.now();
  gateway.signal('SIGTERM');
  const times = (await closed(started, 15_000)).sort((a, b) => a - b);
  assert.deepEqual(await within(gateway.exited, 'the end', 3000), CLEAN);
  t.diagnostic(`first ${times[0]} ms, median ${times[COUNT / 2]} ms, last ${times.at(-1)} ms`);
  assert.ok(times.at(-1) < 1000 * DRAIN_S + 2000, `the last after ${times.at(-1)} ms`);
  assert.ok(times.at(-1) > 600 * DRAIN_S, `all were gone after ${times.at(-1)} ms`);
  // Never more than half of them within a third of the time, and some in each third.
  const third = (1000 * DRAIN_S) / 3;
  for (let from = 0; from < 2 * third; from += 100) {
    const within = times.filter((time) => time >= from && time < from + third).length;
    assert.ok(within < COUNT / 2 + 5, `${within} of ${COUNT} between ${from} and ${from + third} ms: ${times}`);
  }
  for (const part of [0, 1]) {
    const within = times.filter((time) => time >= part * third && time < (part + 1) * third).length;
    assert.ok(within >= COUNT / 10, `${within} in part ${part}: ${times}`);
  }
});

test('drain_s = 0 sends all away at once', async (t) => {
  const gateway = await start(t, { drainS: 0 });
  const { closed } = await timedSockets(gateway, 50);
  const polling = await Polling.open(gateway);
  const pending = await polling.pending();
  const started = Date.now();
  gateway.signal('SIGTERM');
  await closed(started);
  await pending.until(() => (pending.received.length || pending.ended ? true : undefined), 'an answer to the poll');
  assert.deepEqual(await within(gateway.exited, 'the end', 3000), CLEAN);
  pending.socket.destroy();
});

test('when all clients have left by themselves it does not wait any longer', async (t) => {
  const gateway = await start(t, { drainS: 60 });
  const { sockets } = await timedSockets(gateway, 4);
  const stock = await connected(t, gateway, { transports: ['polling'] });
  gateway.signal('SIGTERM');
  await notReady(gateway);
  const started = Date.now();
  for (const { websocket } of sockets) websocket.close();
  stock.disconnect();
  assert.deepEqual(await within(gateway.exited, 'the end', 10_000), CLEAN);
  assert.ok(Date.now() - started < 8000, `it took ${Date.now() - started} ms`);
});

test('requests in flight are finished', async (t) => {
  const gateway = await start(t, { drainS: 1 });
  const { sockets } = await timedSockets(gateway, 5);
  const slow = await halfPublish(t, gateway);
  // A stream in the middle.
  const stream = await RawConnection.open(gateway);
  t.after(() => stream.socket.destroy());
  const line = '{"event":"p","rooms":"nobody","payload":1}\n';
  const chunk = `${line.length.toString(16)}\r\n${line}\r\n`;
  stream.write(
    'POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n' + chunk,
  );
  await stream.until(() => (String(stream.received).includes('"status":"ok"') ? true : undefined), 'the first answer of the stream');

  gateway.signal('SIGTERM');
  await notReady(gateway);
  slow.write(BODY);
  assertPublished(await slow.response({ method: 'POST' }));
  // What comes on the stream now is not published, as anything else.
  stream.write(chunk + chunk);
  const { text } = await stream.response({ method: 'POST', waitMs: 10_000 });
  const answers = text.trim().split('\n').map((answer) => JSON.parse(answer));
  assert.deepEqual(answers.map(({ status, code }) => code ?? status), ['ok', 'draining']);
  assert.equal(answers[1].status, 503);
  stream.write('0\r\n\r\n');
  for (const { websocket } of sockets) await websocket.closed();
  assert.deepEqual(await within(gateway.exited, 'the end', 10_000), CLEAN);
});

test('a stream without lines is ended, and does not keep it', async (t) => {
  const gateway = await start(t, { drainS: 60 });
  const stream = await RawConnection.open(gateway);
  t.after(() => stream.socket.destroy());
  const line = '{"event":"p","rooms":"nobody","payload":1}\n';
  stream.write(
    'POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n' +
      `${line.length.toString(16)}\r\n${line}\r\n`,
  );
  await stream.until(() => (String(stream.received).includes('"status":"ok"') ? true : undefined), 'the first answer of the stream');
  const started = Date.now();
  gateway.signal('SIGTERM');
  const { text } = await stream.response({ method: 'POST' });
  assert.equal(JSON.parse(text).status, 'ok');
  assert.deepEqual(await within(gateway.exited, 'the end', 5000), CLEAN);
  assert.ok(Date.now() - started < 2500, `it took ${Date.now() - started} ms`);
});

test('a request that never ends does not keep it', async (t) => {
  const gateway = await start(t, { drainS: 1 });
  const slow = await halfPublish(t, gateway, 1000);
  slow.write('{"rooms":');
  const stream = await RawConnection.open(gateway);
  t.after(() => stream.socket.destroy());
  stream.write('POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n');
  const idle = await RawConnection.open(gateway);
  t.after(() => idle.socket.destroy());
  gateway.signal('SIGTERM');
  assert.deepEqual(await within(gateway.exited, 'the end', 12_000), CLEAN);
});

describe('the stock client', { concurrency: 3 }, () => {
  for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
    test(`says transport close and comes back to the next gateway (${transports.join(', ')})`, async (t) => {
      const first = await start(t, { drainS: 1 });
      const sockets = [];
      for (let i = 0; i < 6; i += 1) {
        const socket = client(t, first, {
          transports,
          reconnection: true,
          reconnectionDelay: 50,
          reconnectionDelayMax: 100,
          randomizationFactor: 0,
        });
        await connectNow(socket);
        sockets.push(socket);
      }
      const ids = new Set(sockets.map(({ id }) => id));
      const gone = sockets.map((socket) => next(socket, 'disconnect', 10_000));
      const back = sockets.map(
        (socket) => new Promise((resolve) => socket.once('disconnect', () => socket.once('connect', resolve))),
      );
      first.signal('SIGTERM');
      for (const [reason] of await Promise.all(gone)) assert.equal(reason, 'transport close');
      assert.deepEqual(await within(first.exited, 'the end', 10_000), CLEAN);
      // Nobody has got in again meanwhile, and nobody has given up.
      for (const socket of sockets) assert.deepEqual([socket.connected, socket.active], [false, true]);
      const second = await start(t, { drainS: 0, port: first.port });
      await within(Promise.all(back), 'all to be back', 10_000);
      for (const socket of sockets) {
        assert.equal(socket.recovered, false);
        assert.ok(!ids.has(socket.id));
      }
      const heard = sockets.map((socket) => next(socket, 'news'));
      assert.equal((await second.publish('news', { broadcast: true, payload: 1 })).sockets, 6);
      await Promise.all(heard);
    });
  }

  test('a poll that is open meets a proper end', async (t) => {
    const gateway = await start(t, { drainS: 1 });
    const polling = await Polling.open(gateway);
    await polling.send('40');
    await polling.packet();
    const pending = await polling.pending();
    t.after(() => pending.socket.destroy());
    gateway.signal('SIGTERM');
    const reply = await pending.response();
    assert.deepEqual([reply.status, reply.text], [200, '1']);
    assert.deepEqual(await within(gateway.exited, 'the end', 5000), CLEAN);
  });

  test('what was published before the signal is still delivered', async (t) => {
    const gateway = await start(t, { drainS: 1 });
    const websocket = await openSession(gateway);
    await join(websocket);
    const polling = await Polling.open(gateway);
    await polling.send('40{"recovery":false}');
    await polling.packet();
    for (let n = 0; n < 100; n += 1) assert.equal((await gateway.publish('e', { broadcast: true, payload: n })).sockets, 2);
    gateway.signal('SIGTERM');
    for (let n = 0; n < 100; n += 1) assert.equal(await websocket.nextText(), `42["e",{"payload":${n}}]`);
    const heard = [];
    while (heard.length < 100) {
      const { status, text } = await polling.poll();
      assert.equal(status, 200, text);
      const packets = text.split('\x1e');
      // The close comes in an answer of its own: whatever came with it, a client would keep for later.
      if (packets.includes('1')) assert.deepEqual(packets, ['1'], `only ${heard.length} events came`);
      heard.push(...packets);
      await sleep(0);
    }
    assert.deepEqual(heard, Array.from({ length: 100 }, (_, n) => `42["e",{"payload":${n}}]`));
    await within(gateway.exited, 'the end', 5000);
  });
});
