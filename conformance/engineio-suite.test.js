// The 25 cases every Engine.IO v4 server must pass, on the echo server at /engine.io/, driven
// by independent clients: fetch for polling and `ws` for WebSocket.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { collect, next, sleep } from './harness/events.js';
import { SUITE_HEARTBEAT, startSuiteServer } from './harness/gateway.js';

const PING_INTERVAL_MS = 300;
const PING_TIMEOUT_MS = 200;

let server;
before(async () => {
  server = await startSuiteServer({ heartbeat: SUITE_HEARTBEAT });
});
after(() => server?.end());

const http = (query, options) => fetch(`${server.url}/engine.io/?${query}`, options);
const polling = (sid, options) => http(`EIO=4&transport=polling&sid=${sid}`, options);
const post = (sid, body) => polling(sid, { method: 'POST', body });

/** Status and text, read to the end so that the connection is free again. */
async function answer(pending) {
  const response = await pending;
  return [response.status, await response.text()];
}

async function openPolling() {
  const [status, text] = await answer(http('EIO=4&transport=polling'));
  assert.equal(status, 200);
  return JSON.parse(text.slice(1)).sid;
}

/** A WebSocket with everything it receives kept from the start. */
function websocket(t, query) {
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/engine.io/?${query}`);
  socket.on('error', () => {});
  t.after(() => socket.terminate());
  const frames = collect(socket, 'message');
  let read = 0;
  return Object.assign(socket, {
    closed: next(socket, 'close'),
    async frame() {
      read += 1;
      const [data, isBinary] = (await frames.take(read))[read - 1];
      return isBinary ? data : data.toString();
    },
  });
}

async function openWebSocket(t) {
  const socket = websocket(t, 'EIO=4&transport=websocket');
  assert.match(await socket.frame(), /^0\{/);
  return socket;
}

function checkOpenPacket(text, upgrades) {
  assert.equal(text[0], '0');
  const handshake = JSON.parse(text.slice(1));
  assert.deepEqual(Object.keys(handshake).sort(), [
    'maxPayload',
    'pingInterval',
    'pingTimeout',
    'sid',
    'upgrades',
  ]);
  assert.equal(typeof handshake.sid, 'string');
  assert.deepEqual(handshake.upgrades, upgrades);
  assert.equal(handshake.pingInterval, PING_INTERVAL_MS);
  assert.equal(handshake.pingTimeout, PING_TIMEOUT_MS);
  assert.equal(handshake.maxPayload, 1_000_000);
}

describe('handshake', () => {
  test('handshake/polling successfully opens a session', async () => {
    const [status, text] = await answer(http('EIO=4&transport=polling'));
    assert.equal(status, 200);
    checkOpenPacket(text, ['websocket']);
  });

  test("handshake/polling fails with an invalid 'EIO'", async () => {
    for (const query of ['transport=polling', 'EIO=abc&transport=polling']) {
      const [status] = await answer(http(query));
      assert.equal(status, 400, query);
    }
  });

  test("handshake/polling fails with an invalid 'transport'", async () => {
    for (const query of ['EIO=4', 'EIO=4&transport=abc']) {
      const [status] = await answer(http(query));
      assert.equal(status, 400, query);
    }
  });

  test('handshake/polling fails with an invalid request method', async () => {
    for (const method of ['POST', 'PUT']) {
      const [status] = await answer(http('EIO=4&transport=polling', { method }));
      assert.equal(status, 400, method);
    }
  });

  test('handshake/WebSocket opens', async (t) => {
    const socket = websocket(t, 'EIO=4&transport=websocket');
    checkOpenPacket(await socket.frame(), []);
  });

  test('handshake/WebSocket invalid EIO', async (t) => {
    await websocket(t, 'transport=websocket').closed;
    await websocket(t, 'EIO=abc&transport=websocket').closed;
  });

  test('handshake/WebSocket invalid transport', async (t) => {
    await websocket(t, 'EIO=4').closed;
    await websocket(t, 'EIO=4&transport=abc').closed;
  });
});

describe('message', () => {
  const echoes = [
    ['one text packet', '4hello'],
    ['several text packets', '4test1\x1e4test2\x1e4test3'],
    ['text and binary', '4hello\x1ebAQIDBA=='],
  ];
  for (const [name, payload] of echoes) {
    test(`message/polling ${name}`, async () => {
      const sid = await openPolling();
      assert.deepEqual(await answer(post(sid, payload)), [200, 'ok']);
      assert.deepEqual(await answer(polling(sid)), [200, payload]);
    });
  }

  test('message/polling closes upon invalid packet format', async () => {
    const sid = await openPolling();
    // Refused with 400 or cut off: the session being gone is what counts.
    await answer(post(sid, 'abc')).catch(() => {});
    const [status] = await answer(polling(sid));
    assert.equal(status, 400);
  });

  test('message/polling closes upon duplicate poll requests', async () => {
    const sid = await openPolling();
    const first = answer(polling(sid));
    await sleep(5);
    const [second] = await answer(http(`EIO=4&transport=polling&sid=${sid}&t=burst`));
    assert.ok(second === 400 || second === 500, `the second poll got ${second}`);
    assert.deepEqual(await first, [200, '1']);
    const [third] = await answer(polling(sid));
    assert.equal(third, 400);
  });

  test('message/polling closes upon cancelled polling request', async () => {
    const sid = await openPolling();
    const cancel = new AbortController();
    const pending = polling(sid, { signal: cancel.signal }).catch(() => {});
    await sleep(5);
    cancel.abort();
    const [status] = await answer(polling(sid));
    assert.equal(status, 400);
    await pending;
  });

  test('message/WS text', async (t) => {
    const socket = await openWebSocket(t);
    socket.send('4hello');
    assert.equal(await socket.frame(), '4hello');
  });

  test('message/WS binary', async (t) => {
    const socket = await openWebSocket(t);
    socket.send(Buffer.from([1, 2, 3, 4]));
    assert.deepEqual(await socket.frame(), Buffer.from([1, 2, 3, 4]));
  });

  test('message/WS closes upon invalid packet format', async (t) => {
    const socket = await openWebSocket(t);
    socket.send('abc');
    await socket.closed;
  });
});

describe('heartbeat', () => {
  test('heartbeat/polling ping/pong', async () => {
    const sid = await openPolling();
    for (let i = 0; i < 3; i += 1) {
      assert.deepEqual(await answer(polling(sid)), [200, '2']);
      assert.deepEqual(await answer(post(sid, '3')), [200, 'ok']);
    }
  });

  test('heartbeat/polling ping timeout', async () => {
    const sid = await openPolling();
    await sleep(PING_INTERVAL_MS + PING_TIMEOUT_MS);
    const [status] = await answer(polling(sid));
    assert.equal(status, 400);
  });

  test('heartbeat/WS ping/pong', async (t) => {
    const socket = await openWebSocket(t);
    for (let i = 0; i < 3; i += 1) {
      assert.equal(await socket.frame(), '2');
      socket.send('3');
    }
  });

  test('heartbeat/WS ping timeout', async (t) => {
    const socket = await openWebSocket(t);
    await socket.closed;
  });
});

describe('close', () => {
  test('close/polling', async () => {
    const sid = await openPolling();
    const pending = answer(polling(sid));
    assert.deepEqual(await answer(post(sid, '1')), [200, 'ok']);
    assert.deepEqual(await pending, [200, '6']);
    const [status] = await answer(polling(sid));
    assert.equal(status, 400);
  });

  test('close/WS', async (t) => {
    const socket = await openWebSocket(t);
    socket.send('1');
    await socket.closed;
  });
});

describe('upgrade', () => {
  /** A probe, with its answer already read unless `answered` is false. */
  async function probe(t, sid, ...packets) {
    const socket = websocket(t, `EIO=4&transport=websocket&sid=${sid}`);
    await next(socket, 'open');
    for (const packet of packets) socket.send(packet);
    assert.equal(await socket.frame(), '3probe');
    return socket;
  }

  test('upgrade success', async (t) => {
    const sid = await openPolling();
    const socket = await probe(t, sid, '2probe');
    assert.deepEqual(await answer(polling(sid)), [200, '6']);
    socket.send('5');
    socket.send('4hello');
    assert.equal(await socket.frame(), '4hello');
  });

  test('upgrade ignores HTTP requests after upgrade', async (t) => {
    const sid = await openPolling();
    const socket = await probe(t, sid, '2probe', '5');
    const [status] = await answer(polling(sid));
    assert.equal(status, 400);
    socket.send('4hello');
    assert.equal(await socket.frame(), '4hello');
  });

  test('upgrade ignores WebSocket with same sid after upgrade', async (t) => {
    const sid = await openPolling();
    const socket = await probe(t, sid, '2probe', '5');
    await websocket(t, `EIO=4&transport=websocket&sid=${sid}`).closed;
    socket.send('4hello');
    assert.equal(await socket.frame(), '4hello');
  });
});
