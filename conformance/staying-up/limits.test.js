// Every limit of the gateway: what happens beyond it, to whom, and that it is counted under the
// setting's short name. Nobody else notices a thing.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { eventually, sleep } from '../harness/events.js';
import { startGateway } from '../harness/gateway.js';
import { metrics, metricsShow, parseMetrics } from '../harness/metrics.js';
import { OPCODE, RawConnection, request, requestBytes, tryUpgrade } from '../harness/raw.js';
import { Polling, ask, bystander, connected, join, openProbe, openSession } from '../harness/sessions.js';
import { Backend, HANG } from '../identity/tokens.js';
import { RawSocket } from './returning.js';

const JSON_TYPE = { 'content-type': 'application/json' };
const POLL = '/socket.io/?EIO=4&transport=polling';
const WEBSOCKET = '/socket.io/?EIO=4&transport=websocket';

/** A gateway with these settings and somebody who must not notice. */
async function start(t, config, { watched = true } = {}) {
  const gateway = await startGateway({ config });
  const watcher = watched ? await bystander(null, gateway) : null;
  t.after(async () => {
    try {
      await watcher?.unharmed();
    } finally {
      watcher?.socket.disconnect();
      await gateway.end();
    }
  });
  return { gateway, watcher };
}

/** Waits until the limit is counted so often, exactly. */
async function counted(gateway, limit, count) {
  let now;
  try {
    now = await metricsShow(gateway, (state) => state.limit(limit) >= count, `"${limit}" to be counted ${count} times`);
  } catch {
    now = await metrics(gateway);
  }
  assert.equal(now.limit(limit), count, `${limit}: ${now.text.match(/^idae_socket_limits_reached.*$/gm)}`);
  return now;
}

describe('connections and sessions', () => {
  /** Connections that are held open, each with an answer so that it counts. */
  async function hold(t, gateway, count) {
    const held = [];
    t.after(() => held.forEach((connection) => connection.socket.destroy()));
    const isIn = async () => {
      const connection = await RawConnection.open(gateway);
      held.push(connection);
      connection.write(requestBytes({ path: '/livez' }));
      if ((await connection.response()).status === 200) return true;
      held.pop().socket.destroy();
      return false;
    };
    // The connection that showed that the gateway listens may not be gone yet.
    for (let i = 0; i < count; i += 1) await eventually(isIn, `a place for connection ${i}`);
    return held;
  }

  for (const [setting, status, code] of [
    ['connections_max', 503, 'too_many_connections'],
    ['connections_per_address_max', 429, 'too_many_connections_per_address'],
  ]) {
    test(setting, async (t) => {
      const { gateway } = await start(t, `[socket]\n${setting} = 8\n`, { watched: false });
      const held = await hold(t, gateway, 8);
      for (let i = 0; i < 3; i += 1) {
        const refused = await request(gateway, { path: '/livez' });
        assert.equal(refused.status, status);
        assert.equal(refused.json().code, code);
        assert.match(refused.headers['retry-after'], /^\d+$/);
      }
      // Somebody has to leave before the metrics can be read.
      held.pop().socket.destroy();
      const now = await eventually(async () => {
        const { status, text } = await request(gateway, { path: '/metrics' });
        return status === 200 && parseMetrics(text);
      }, 'a place to become free');
      assert.ok(now.limit(setting) >= 3, `${now.limit(setting)} counted`);
      assert.equal(now.limit(setting === 'connections_max' ? 'connections_per_address_max' : 'connections_max'), 0);
    });
  }

  test('whoever is refused gets to read why, whatever it sends meanwhile', async (t) => {
    const { gateway } = await start(t, '[socket]\nconnections_per_address_max = 1\n', { watched: false });
    await hold(t, gateway, 1);
    for (let i = 0; i < 20; i += 1) {
      const connection = await RawConnection.open(gateway);
      // As a client that writes all of its request before it reads.
      connection.socket.pause();
      await sleep(5);
      connection.write(requestBytes({ method: 'POST', path: '/x', headers: { 'content-length': '20000' }, body: '' }));
      await sleep(5);
      connection.write('x'.repeat(20_000));
      await sleep(5);
      connection.write(' ');
      await sleep(5);
      connection.socket.resume();
      const { status, body } = await connection.response({ method: 'POST' });
      assert.deepEqual([status, JSON.parse(body).code], [429, 'too_many_connections_per_address']);
      connection.close();
    }
  });

  for (const [setting, name] of [
    ['connections_max', 'sessions_max'],
    ['connections_per_address_max', 'sessions_per_address_max'],
  ]) {
    test(name, async (t) => {
      const { gateway } = await start(t, `[socket]\n${setting} = 8\n`, { watched: false });
      const [connection] = await hold(t, gateway, 1);
      const handshake = async () => {
        connection.write(requestBytes({ path: POLL }));
        return connection.response();
      };
      for (let i = 0; i < 8; i += 1) assert.equal((await handshake()).status, 200, `session ${i}`);
      for (let i = 0; i < 3; i += 1) {
        const refused = await handshake();
        assert.equal(refused.status, 403);
        assert.equal(refused.json().code, 4);
        assert.match(refused.json().message, /^Too many sessions/);
      }
      assert.equal((await counted(gateway, name, 3)).connections, 8);
      const { response } = await tryUpgrade(gateway, WEBSOCKET);
      assert.equal(response.status, 400);
      await counted(gateway, name, 4);
    });
  }
});

describe('joining', () => {
  const auth = { recovery: false };

  /** A raw socket that asks and gets the object of the acknowledgement. */
  async function raw(gateway) {
    const websocket = await openSession(gateway);
    await join(websocket);
    const asks = async (...args) => {
      websocket.sendText(`427${JSON.stringify(args)}`);
      const answer = await websocket.nextText();
      assert.ok(answer.startsWith('437['), answer);
      return JSON.parse(answer.slice(3))[0];
    };
    return { websocket, asks };
  }

  test('rooms_max', async (t) => {
    const { gateway } = await start(t, '[socket]\nrooms_max = 3\n');
    const { asks } = await raw(gateway);
    assert.equal((await asks('subscribe', ['a', 'b'])).status, 'ok');
    for (const rooms of [['c', 'd'], ['a', 'b', 'c', 'd', 'e']]) {
      const { status, code } = await asks('subscribe', rooms);
      assert.deepEqual([status, code], ['error', 'too_many_rooms'], String(rooms));
    }
    assert.equal((await asks('subscribe', 'c')).status, 'ok');
    assert.equal((await asks('grantIn', { host: 'd' })), 'false');
    await counted(gateway, 'rooms_max', 3);
    for (const room of ['d', 'e']) {
      assert.equal((await gateway.publish('e', { rooms: room, payload: 1 })).sockets, 0, room);
    }
  });

  test('room_bytes_max', async (t) => {
    const { gateway } = await start(t, '[socket]\nroom_bytes_max = 10\n');
    const { asks } = await raw(gateway);
    assert.equal((await asks('subscribe', 'ten bytes.')).status, 'ok');
    for (const room of ['eleven byte', 'ééééééé', 'x'.repeat(5000)]) {
      const { status, code } = await asks('subscribe', room);
      assert.deepEqual([status, code], ['error', 'room_too_long'], room);
    }
    assert.equal(await asks('grantIn', { host: 'eleven byte' }), 'false');
    await counted(gateway, 'room_bytes_max', 4);
  });

  test('namespaces_max', async (t) => {
    const { gateway } = await start(t, 'namespaces = ["/", "/n*"]\n[socket]\nnamespaces_max = 4\n');
    const websocket = await openSession(gateway);
    for (const namespace of ['/', '/n1', '/n2', '/n3']) await join(websocket, namespace, auth);
    for (let i = 4; i < 40; i += 1) {
      websocket.sendText(`40/n${i},`);
      const answer = await websocket.nextText();
      assert.ok(answer.startsWith(`44/n${i},`), answer);
    }
    await counted(gateway, 'namespaces_max', 36);
    // Whoever leaves one may enter another.
    websocket.sendText('41/n3,');
    await join(websocket, '/n99', auth);
    websocket.close();
  });

  test('auth_bytes_max', async (t) => {
    const { gateway } = await start(t, '[socket]\nauth_bytes_max = 100\n');
    const websocket = await openSession(gateway);
    for (const size of [101, 5000, 500_000]) {
      const rest = size - '{"a":""}'.length;
      websocket.sendText(`40{"a":"${'x'.repeat(rest)}"}`);
      const answer = await websocket.nextText();
      assert.match(answer, /^44\{"message":"The auth object is too large/, `${size} bytes`);
    }
    await counted(gateway, 'auth_bytes_max', 3);
    await join(websocket, '/', { a: 'x'.repeat(100 - '{"a":""}'.length) });
    websocket.close();
  });

  test('connect_timeout_ms: handshakes without a CONNECT', async (t) => {
    const { gateway } = await start(t, '[socket]\nconnect_timeout_ms = 300\n');
    const idle = [];
    for (let i = 0; i < 5; i += 1) idle.push(await openSession(gateway));
    const polling = await Polling.open(gateway);
    // One that is refused all the time is no better.
    const refused = await openSession(gateway);
    refused.sendText('40/nope');
    assert.match(await refused.nextText(), /^44\/nope,/);
    for (const websocket of [...idle, refused]) await websocket.closed();
    await counted(gateway, 'connect_timeout_ms', 7);
    await polling.ends();
    await metricsShow(gateway, (now) => now.connections === 1, 'the bystander alone to be left');
  });

  test('connect_timeout_ms: a connection that has left all its namespaces', async (t) => {
    const { gateway } = await start(t, 'namespaces = ["/", "/shop"]\n[socket]\nconnect_timeout_ms = 150\n');
    const left = await openSession(gateway);
    const back = await openSession(gateway);
    const half = await openSession(gateway);
    for (const websocket of [left, back, half]) await join(websocket, '/', auth);
    await join(half, '/shop', auth);
    const started = Date.now();
    for (const websocket of [left, back, half]) websocket.sendText('41');
    // It may take its time to enter another one; ten times as long as a new connection.
    await sleep(500);
    await join(back, '/shop', auth);
    await left.closed(10_000);
    const after = Date.now() - started;
    assert.ok(after >= 1000, `closed after ${after} ms`);
    await counted(gateway, 'connect_timeout_ms', 1);
    for (const websocket of [back, half]) {
      await websocket.fence();
      assert.equal(websocket.isClosed, false);
      websocket.close();
    }
  });
});

describe('what a client sends', () => {
  test('payload_bytes_max', async (t) => {
    const { gateway } = await start(t, '[socket]\npayload_bytes_max = 1000\n');
    const websocket = await openSession(gateway);
    await join(websocket);
    websocket.sendText(`42["x","${'x'.repeat(1000)}"]`);
    assert.equal((await websocket.closed()).code, 1009);
    await counted(gateway, 'payload_bytes_max', 1);
    const polling = await Polling.open(gateway);
    await polling.send('40');
    assert.match(await polling.packet(), /^40\{/);
    assert.equal((await polling.post(`42["x","${'x'.repeat(1000)}"]`)).status, 413);
    await counted(gateway, 'payload_bytes_max', 2);
    await polling.send('420["x"]');
    assert.match(await polling.packet(), /^430/);
  });

  test('fragments_max', async (t) => {
    const { gateway } = await start(t, '');
    const websocket = await openSession(gateway);
    await join(websocket);
    websocket.sendFrame({ fin: false, payload: '4' });
    for (let i = 0; i < 10_000 && !websocket.isClosed; i += 1) {
      websocket.sendFrame({ opcode: OPCODE.continuation, fin: false, payload: '' });
    }
    assert.equal((await websocket.closed()).code, 1009);
    await counted(gateway, 'fragments_max', 1);
  });

  test('pending_acks_max', async (t) => {
    const { url } = await Backend.start(t, () => HANG);
    const { gateway } = await start(
      t,
      `[socket]\npending_acks_max = 4\n[[forward]]\nevent = "slow"\nurl = "${url}"\ntimeout_ms = 30000\n`,
    );
    const socket = await connected(t, gateway, { transports: ['websocket'] });
    let answered = 0;
    for (let i = 0; i < 4; i += 1) socket.emit('slow', i, () => (answered += 1));
    for (let i = 0; i < 3; i += 1) {
      const { status, code } = await ask(socket, 'slow', 'one too many');
      assert.equal(status, 'error');
      assert.ok(['forward_busy', 'too_many_pending'].includes(code), code);
    }
    await counted(gateway, 'pending_acks_max', 3);
    assert.equal(answered, 0);
    assert.equal(socket.connected, true);
  });

  test('held_events_max: events before the answer to a CONNECT', async (t) => {
    const { url } = await Backend.start(t, () => HANG);
    const { gateway } = await start(t, `[auth]\nstrategy = "introspection"\nintrospection_url = "${url}"\n`, { watched: false });
    const websocket = await openSession(gateway);
    websocket.sendText('40{"token":"never judged"}');
    for (let i = 0; i < 64; i += 1) websocket.sendText('42["x"]');
    await websocket.fence();
    await counted(gateway, 'held_events_max', 0);
    websocket.sendText('42["x"]');
    await websocket.closed();
    await counted(gateway, 'held_events_max', 1);
  });

  test('attachments_max', async (t) => {
    const { gateway } = await start(t, '');
    const websocket = await openSession(gateway);
    await join(websocket);
    websocket.sendText('4511-["x"]');
    await websocket.closed();
    await counted(gateway, 'attachments_max', 1);
  });

  test('upgrade_timeout_ms', async (t) => {
    const { gateway } = await start(t, '[socket]\nupgrade_timeout_ms = 200\n');
    const polling = await Polling.open(gateway);
    const probe = await openProbe(polling);
    await probe.closed();
    await counted(gateway, 'upgrade_timeout_ms', 1);
    // The session goes on.
    await polling.send('40');
    assert.match(await polling.packet(), /^40\{/);
  });

  describe('events_per_s_max', () => {
    const RATE = 100;
    const COUNT = 350;
    const config = `[socket]\nevents_per_s_max = ${RATE}\nping_interval_ms = 500\nping_timeout_ms = 500\n`;
    /** The first RATE are free; a machine that is busy only makes it longer. */
    const LEAST_MS = (1000 * (COUNT - RATE)) / RATE / 2;

    test('over WebSocket: read more slowly, nothing is lost, and heartbeats are heard', async (t) => {
      const { gateway, watcher } = await start(t, config);
      const websocket = await openSession(gateway);
      await join(websocket);
      const started = Date.now();
      // Long ones, so that no single read has all of them.
      for (let i = 0; i < COUNT; i += 1) websocket.sendText(`42${i}["x","${'x'.repeat(2000)}"]`);
      // What is published reaches it meanwhile, and others have their own rate.
      await gateway.publish('live', { broadcast: true, payload: 1 });
      await watcher.unharmed();
      let live = 0;
      for (let expected = 0; expected < COUNT; ) {
        const text = await websocket.nextText(10_000);
        if (text.startsWith('42["live"')) {
          live += 1;
          assert.ok(expected < COUNT / 2 + RATE, `the published event came behind ${expected} answers`);
        } else {
          assert.equal(text, `43${expected}[{"status":"OK"}]`);
          expected += 1;
        }
      }
      const took = Date.now() - started;
      assert.ok(took >= LEAST_MS, `${COUNT} events were handled in ${took} ms`);
      assert.equal(live, 1);
      assert.equal(websocket.isClosed, false);
      const now = await metrics(gateway);
      assert.ok(now.limit('events_per_s_max') >= 1, now.text);
      websocket.close();
    });

    test('over polling: nothing is lost', async (t) => {
      const { gateway } = await start(t, `[socket]\nevents_per_s_max = ${RATE}\n`);
      const polling = await Polling.open(gateway);
      await polling.send('40{"recovery":false}');
      assert.match(await polling.packet(), /^40\{/);
      const started = Date.now();
      const posting = polling.post(Array.from({ length: COUNT }, (_, i) => `42${i}["x",${i}]`).join('\x1e'), { waitMs: 20_000 });
      let answers = [];
      while (answers.length < COUNT) {
        const reply = await polling.poll({ waitMs: 10_000 });
        assert.equal(reply.status, 200, reply.text);
        answers = answers.concat(reply.text.split('\x1e'));
      }
      assert.deepEqual(answers, Array.from({ length: COUNT }, (_, i) => `43${i}[{"status":"OK"}]`));
      assert.equal((await posting).text, 'ok');
      const took = Date.now() - started;
      assert.ok(took >= LEAST_MS, `${COUNT} events were handled in ${took} ms`);
      assert.ok((await metrics(gateway)).limit('events_per_s_max') >= 1);
    });

    test('over polling: a body of many events waits as long as they take, and a second one does not help', async (t) => {
      const rate = 200;
      const { gateway, watcher } = await start(t, `[socket]\nevents_per_s_max = ${rate}\n`);
      const polling = await Polling.open(gateway);
      await polling.send('40{"recovery":false}');
      assert.match(await polling.packet(), /^40\{/);
      // Without acknowledgements, so that nothing but the gateway slows it down.
      const body = Array.from({ length: 3 * rate }, () => '42["x"]').join('\x1e');
      const started = Date.now();
      for (let i = 0; i < 2; i += 1) {
        const posting = polling.post(body, { waitMs: 30_000 });
        await watcher.unharmed();
        assert.equal((await posting).text, 'ok');
      }
      const took = Date.now() - started;
      assert.ok(took >= 1000 * 4, `${6 * rate} events at ${rate} a second were handled in ${took} ms`);
    });

    test('leaving and joining again is no way around it', async (t) => {
      const { gateway } = await start(t, `[socket]\nevents_per_s_max = ${RATE}\n`);
      const websocket = await openSession(gateway);
      const started = Date.now();
      const connect = `40{"recovery":false,"long":"${'x'.repeat(2000)}"}`;
      for (let i = 0; i < COUNT; i += 1) {
        websocket.sendText(connect);
        websocket.sendText('41');
      }
      for (let i = 0; i < COUNT; i += 1) assert.match(await websocket.nextText(10_000), /^40\{/);
      const took = Date.now() - started;
      assert.ok(took >= LEAST_MS, `${COUNT} returns took ${took} ms`);
      websocket.close();
    });

    test('whoever is refused again and again is sent away', async (t) => {
      const secret = 'a-secret-of-32-bytes-and-a-bit-more';
      const { gateway } = await start(t, `[auth]\nstrategy = "jwt"\njwt_secret = "${secret}"\n[socket]\nconnect_timeout_ms = 60000\n`, { watched: false });
      const websocket = await openSession(gateway);
      for (let i = 0; i < 256; i += 1) {
        websocket.sendText('40{"token":"no.token.atall"}');
        assert.match(await websocket.nextText(), /^44\{"message":"Unauthorized/);
      }
      await websocket.closed();
      await counted(gateway, 'refused_connects_max', 1);
      await openSession(gateway);
    });

    test('an honest client below it never waits', async (t) => {
      const { gateway } = await start(t, config);
      const websocket = await openSession(gateway);
      await join(websocket);
      for (let i = 0; i < RATE; i += 1) websocket.sendText(`42${i}["x",${i}]`);
      for (let i = 0; i < RATE; i += 1) assert.equal(await websocket.nextText(), `43${i}[{"status":"OK"}]`);
      assert.equal((await metrics(gateway)).limit('events_per_s_max'), 0);
      websocket.close();
    });
  });

  test('the head of a request', async (t) => {
    const { gateway } = await start(t, '');
    const many = Array.from({ length: 500 }, (_, i) => [`X-${i}`, 'x']);
    for (const headers of [{ 'X-Long': 'x'.repeat(200_000) }, many]) {
      const connection = await RawConnection.open(gateway);
      connection.write(requestBytes({ path: POLL, headers }));
      const { status } = await connection.response();
      assert.equal(status, 431);
      await connection.closed();
    }
    await counted(gateway, 'head_bytes_max', 2);
  });
});

describe('what a backend sends', () => {
  const line = (payload) => JSON.stringify({ event: 'e', rooms: 'r', payload });

  test('body_bytes_max', async (t) => {
    const { gateway } = await start(t, '[publish]\nbody_bytes_max = 1000\n');
    const body = { rooms: 'r', payload: 'x'.repeat(1000) };
    const refused = await gateway.post('/e', body);
    assert.deepEqual([refused.status, refused.json().code], [413, 'payload_too_large']);
    const chunked = await request(gateway, {
      method: 'POST',
      path: '/e',
      headers: { ...JSON_TYPE, 'transfer-encoding': 'chunked' },
      body: `7d0\r\n{"rooms":"r","payload":"${'x'.repeat(2000 - 24)}\r\n0\r\n\r\n`,
    });
    assert.equal(chunked.status, 413);
    await counted(gateway, 'body_bytes_max', 2);
    // A line of a stream is an event too.
    const stream = await gateway.post('/v1/events', `${line('x'.repeat(1000))}\n${line(1)}\n`, {
      'content-type': 'application/x-ndjson',
    });
    const entries = stream.text.trim().split('\n').map((entry) => JSON.parse(entry));
    assert.deepEqual(entries.map(({ status }) => status), [413, 'ok']);
    await counted(gateway, 'body_bytes_max', 3);
  });

  test('batch_items_max and batch_bytes_max', async (t) => {
    const { gateway } = await start(t, '[publish]\nbody_bytes_max = 1000\nbatch_items_max = 5\nbatch_bytes_max = 2000\n');
    const batch = (count, payload) => `[${Array.from({ length: count }, () => line(payload)).join(',')}]`;
    const tooMany = await gateway.post('/v1/events', batch(6, 1));
    assert.deepEqual([tooMany.status, tooMany.json().code], [413, 'too_many_items']);
    await counted(gateway, 'batch_items_max', 1);
    const tooLarge = await gateway.post('/v1/events', batch(3, 'x'.repeat(700)));
    assert.deepEqual([tooLarge.status, tooLarge.json().code], [413, 'payload_too_large']);
    await counted(gateway, 'batch_bytes_max', 1);
    assert.equal((await gateway.post('/v1/events', batch(5, 1))).status, 200);
  });

  test('refusals are counted by their code', async (t) => {
    const { gateway } = await start(t, '');
    for (let i = 0; i < 3; i += 1) assert.equal((await gateway.post('/e', { rooms: 'r', payload: 1, room: 1 })).status, 422);
    assert.equal((await gateway.post('/e', '{')).status, 400);
    assert.equal((await request(gateway, { path: '/e' })).status, 405);
    const now = await metrics(gateway);
    assert.deepEqual(
      ['unknown_field', 'malformed_json', 'method_not_allowed'].map((code) => now.refusals(code)),
      [3, 1, 1],
      now.text,
    );
  });
});

describe('what is remembered', () => {
  test('idempotency_ids_max', async (t) => {
    const { gateway } = await start(t, '[publish]\nidempotency_ids_max = 3\n');
    const publish = (id) => gateway.publish('e', { rooms: 'nobody', payload: 1, id });
    for (let i = 0; i < 4; i += 1) await publish(`id-${i}`);
    await counted(gateway, 'idempotency_ids_max', 0);
    for (let i = 4; i < 6; i += 1) await publish(`id-${i}`);
    await counted(gateway, 'idempotency_ids_max', 2);
  });

  test('recovery.bytes_max: events', async (t) => {
    const { gateway } = await start(t, '[recovery]\nbytes_max = 10000\n');
    for (let i = 0; i < 10; i += 1) await gateway.publish('e', { rooms: 'nobody', payload: 'x'.repeat(500) });
    await counted(gateway, 'recovery_bytes_max', 0);
    for (let i = 0; i < 10; i += 1) await gateway.publish('e', { rooms: 'nobody', payload: 'x'.repeat(5000) });
    const count = (await metrics(gateway)).limit('recovery_bytes_max');
    assert.ok(count >= 8 && count <= 10, `${count} counted`);
  });

  for (const [size, missed] of [
    [100, 3],
    [1000, 0],
  ]) {
    test(`recovery.replay_bytes_max: ${3 * size} bytes`, async (t) => {
      const { gateway } = await start(t, '[recovery]\nreplay_bytes_max = 2000\n');
      const away = await RawSocket.open(gateway);
      await away.subscribe('r');
      away.reset();
      await metricsShow(gateway, (now) => now.recoverable === 1, 'it to be away');
      for (let i = 0; i < 3; i += 1) await gateway.publish('e', { rooms: 'r', payload: 'x'.repeat(size) });
      const back = await away.comeBack(gateway);
      assert.equal(back.missed.length, missed);
      await counted(gateway, 'replay_bytes_max', missed ? 0 : 1);
      back.websocket.close();
    });
  }
});

test('queue_bytes_max', async (t) => {
  const { gateway } = await start(t, '[publish]\nbody_bytes_max = 1000\nqueue_bytes_max = 1000\n', { watched: false });
  // More than are written to in the publisher's turn.
  const sockets = await Promise.all(Array.from({ length: 80 }, () => openSession(gateway)));
  await Promise.all(sockets.map((socket) => join(socket)));
  t.after(() => sockets.forEach((socket) => socket.close()));
  const publish = () => gateway.publish('e', { broadcast: true, payload: 'x'.repeat(500) });
  // Whether the sweep is faster than the look at it is luck.
  await eventually(
    async () => {
      await Promise.all(Array.from({ length: 20 }, publish));
      return (await metrics(gateway)).limit('queue_bytes_max') > 0;
    },
    'a publisher to wait',
    15_000,
  );
});

describe('nothing is counted', () => {
  test('in ordinary use', async (t) => {
    const { gateway, watcher } = await start(t, '');
    for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
      const socket = await connected(t, gateway, { transports });
      for (let i = 0; i < 50; i += 1) await ask(socket, 'x', i);
      socket.disconnect();
    }
    await watcher.unharmed();
    const now = await metrics(gateway);
    assert.equal(now.of('idae_socket_limits_reached_total'), 0, now.text);
    assert.equal(now.of('idae_socket_refusals_total'), 0, now.text);
  });
});
