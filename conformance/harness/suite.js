// What the suites of Engine.IO and Socket.IO have in common: the ways to the server, by clients
// that know nothing of it (fetch for polling, `ws` for WebSocket), and the 16 cases of Engine.IO that
// both run, each on its own path.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { collect, next, sleep } from './events.js';
import { SUITE_HEARTBEAT, startSuiteServer } from './gateway.js';

const PING_INTERVAL_MS = 300;
const PING_TIMEOUT_MS = 200;

/** Status and text, read to the end so that the connection is free again. */
export async function answer(pending) {
  const response = await pending;
  return [response.status, await response.text()];
}

/** Insists on 400. */
export async function refused(pending, what) {
  const [status] = await answer(pending);
  assert.equal(status, 400, what);
}

/** The suite server, with the heartbeat of the suites, seen through one path. */
export class Suite {
  #path;
  #server;

  constructor(path) {
    this.#path = path;
    before(async () => {
      this.#server = await startSuiteServer({ heartbeat: SUITE_HEARTBEAT });
    });
    after(() => this.#server?.end());
  }

  http(query, options) {
    return fetch(`${this.#server.url}${this.#path}?${query}`, options);
  }

  polling(sid, options) {
    return this.http(`EIO=4&transport=polling&sid=${sid}`, options);
  }

  post(sid, body) {
    return this.polling(sid, { method: 'POST', body });
  }

  async openPolling() {
    const [status, text] = await answer(this.http('EIO=4&transport=polling'));
    assert.equal(status, 200);
    return JSON.parse(text.slice(1)).sid;
  }

  /** A WebSocket with everything it receives kept from the start. */
  websocket(t, query) {
    const socket = new WebSocket(`${this.#server.url.replace('http', 'ws')}${this.#path}?${query}`);
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

  async openWebSocket(t) {
    const socket = this.websocket(t, 'EIO=4&transport=websocket');
    assert.match(await socket.frame(), /^0\{/);
    return socket;
  }

  /** A WebSocket for a session on polling that sends these packets and has read the answer to its probe. */
  async probe(t, sid, ...packets) {
    const socket = this.websocket(t, `EIO=4&transport=websocket&sid=${sid}`);
    await next(socket, 'open');
    for (const packet of packets) socket.send(packet);
    assert.equal(await socket.frame(), '3probe');
    return socket;
  }
}

function assertOpenPacket(packet, upgrades) {
  assert.equal(packet[0], '0');
  const { sid, ...rest } = JSON.parse(packet.slice(1));
  assert.equal(typeof sid, 'string');
  assert.deepEqual(rest, {
    upgrades,
    pingInterval: PING_INTERVAL_MS,
    pingTimeout: PING_TIMEOUT_MS,
    maxPayload: 1_000_000,
  });
}

/** The 16 cases of both suites. `assertAlive(socket)` sends something and insists on the answer to it. */
export function engineCases(suite, assertAlive) {
  describe('handshake', () => {
    test('handshake/polling successfully opens a session', async () => {
      const [status, text] = await answer(suite.http('EIO=4&transport=polling'));
      assert.equal(status, 200);
      assertOpenPacket(text, ['websocket']);
    });

    test("handshake/polling fails with an invalid 'EIO'", async () => {
      for (const query of ['transport=polling', 'EIO=abc&transport=polling']) await refused(suite.http(query), query);
    });

    test("handshake/polling fails with an invalid 'transport'", async () => {
      for (const query of ['EIO=4', 'EIO=4&transport=abc']) await refused(suite.http(query), query);
    });

    test('handshake/polling fails with an invalid request method', async () => {
      for (const method of ['POST', 'PUT']) await refused(suite.http('EIO=4&transport=polling', { method }), method);
    });

    test('handshake/WebSocket opens', async (t) => {
      assertOpenPacket(await suite.websocket(t, 'EIO=4&transport=websocket').frame(), []);
    });

    test('handshake/WebSocket invalid EIO', async (t) => {
      await suite.websocket(t, 'transport=websocket').closed;
      await suite.websocket(t, 'EIO=abc&transport=websocket').closed;
    });

    test('handshake/WebSocket invalid transport', async (t) => {
      await suite.websocket(t, 'EIO=4').closed;
      await suite.websocket(t, 'EIO=4&transport=abc').closed;
    });
  });

  describe('heartbeat', () => {
    test('heartbeat/polling ping/pong', async () => {
      const sid = await suite.openPolling();
      for (let i = 0; i < 3; i += 1) {
        assert.deepEqual(await answer(suite.polling(sid)), [200, '2']);
        assert.deepEqual(await answer(suite.post(sid, '3')), [200, 'ok']);
      }
    });

    test('heartbeat/polling ping timeout', async () => {
      const sid = await suite.openPolling();
      await sleep(PING_INTERVAL_MS + PING_TIMEOUT_MS);
      await refused(suite.polling(sid));
    });

    test('heartbeat/WS ping/pong', async (t) => {
      const socket = await suite.openWebSocket(t);
      for (let i = 0; i < 3; i += 1) {
        assert.equal(await socket.frame(), '2');
        socket.send('3');
      }
    });

    test('heartbeat/WS ping timeout', async (t) => {
      const socket = await suite.openWebSocket(t);
      await socket.closed;
    });
  });

  describe('close', () => {
    test('close/polling', async () => {
      const sid = await suite.openPolling();
      const pending = answer(suite.polling(sid));
      assert.deepEqual(await answer(suite.post(sid, '1')), [200, 'ok']);
      assert.deepEqual(await pending, [200, '6']);
      await refused(suite.polling(sid));
    });

    test('close/WS', async (t) => {
      const socket = await suite.openWebSocket(t);
      socket.send('1');
      await socket.closed;
    });
  });

  describe('upgrade', () => {
    test('upgrade success', async (t) => {
      const sid = await suite.openPolling();
      const socket = await suite.probe(t, sid, '2probe');
      assert.deepEqual(await answer(suite.polling(sid)), [200, '6']);
      socket.send('5');
      await assertAlive(socket);
    });

    test('upgrade ignores HTTP requests after upgrade', async (t) => {
      const sid = await suite.openPolling();
      const socket = await suite.probe(t, sid, '2probe', '5');
      await refused(suite.polling(sid));
      await assertAlive(socket);
    });

    test('upgrade ignores WebSocket with same sid after upgrade', async (t) => {
      const sid = await suite.openPolling();
      const socket = await suite.probe(t, sid, '2probe', '5');
      await suite.websocket(t, `EIO=4&transport=websocket&sid=${sid}`).closed;
      await assertAlive(socket);
    });
  });
}
