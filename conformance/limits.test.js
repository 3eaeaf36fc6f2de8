// What one address, one client or one body may use, and what happens beyond it.

import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { describe, test } from 'node:test';
import { collect, eventually } from './harness/events.js';
import { runGateway, startGateway } from './harness/gateway.js';
import { RawConnection, request, requestBytes } from './harness/raw.js';
import { Polling, connected, join, openProbe, subscribe } from './harness/sessions.js';

const json = { 'content-type': 'application/json' };

async function start(t, env) {
  const gateway = await startGateway({ env });
  t.after(() => gateway.end());
  return gateway;
}

describe('sessions of one address', () => {
  const LIMIT = 20;
  const env = { IDAE_SOCKET_SOCKET_CONNECTIONS_PER_ADDRESS_MAX: String(LIMIT) };

  test('handshakes on one connection are counted, and a closed session gives its place back', async (t) => {
    const gateway = await start(t, env);
    const connection = await RawConnection.open(gateway);
    t.after(() => connection.socket.destroy());
    const handshake = async () => {
      connection.write(requestBytes({ path: '/socket.io/?EIO=4&transport=polling' }));
      return connection.response();
    };
    const opened = [];
    for (let i = 0; i < LIMIT; i += 1) opened.push(await handshake());
    assert.ok(opened.every(({ status }) => status === 200));
    const refused = await handshake();
    assert.equal(refused.status, 403);
    assert.match(refused.text, /^\{"code":4,"message":"Too many sessions: .*connections_per_address_max/);

    const { sid } = JSON.parse(opened[0].text.slice(1));
    connection.write(
      requestBytes({ method: 'POST', path: `/socket.io/?EIO=4&transport=polling&sid=${sid}`, body: '1' }),
    );
    assert.equal((await connection.response()).status, 200);
    assert.equal((await handshake()).status, 200);
    assert.equal((await handshake()).status, 403);
  });

  test('connections are refused with 429 and a hint when to come back', async (t) => {
    const gateway = await start(t, env);
    const held = [];
    t.after(() => held.forEach((connection) => connection.socket.destroy()));
    for (let i = 0; i < LIMIT; i += 1) {
      const connection = await RawConnection.open(gateway);
      held.push(connection);
      // An answer proves that the connection was accepted and counted.
      connection.write(requestBytes({ path: '/livez' }));
      assert.equal((await connection.response()).status, 200);
    }
    const { status, headers, text } = await request(gateway, { path: '/livez' });
    assert.equal(status, 429);
    assert.match(headers['retry-after'], /^\d+$/);
    assert.equal(JSON.parse(text).code, 'too_many_connections_per_address');
    held.pop().socket.destroy();
    await eventually(
      () => request(gateway, { path: '/livez' }).then((answer) => answer.status === 200),
      'a place to become free',
    );
  });
});

describe('publishing', () => {
  test('a backend that offers HTTP/2 in clear text is served over HTTP/1.1', async (t) => {
    const gateway = await start(t);
    const { status } = await request(gateway, {
      method: 'POST',
      path: '/db-change',
      headers: { ...json, connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': 'AAMAAABk' },
      body: '{"rooms":"r","payload":1}',
    });
    assert.equal(status, 200);
  });

  test('a body with thousands of faults gets a short answer', async (t) => {
    const gateway = await start(t);
    const bodies = [
      { payload: 1, rooms: Array.from({ length: 50_000 }, () => ({})) },
      { payload: 1, rooms: 'r', ['x'.repeat(200_000)]: 1 },
    ];
    for (const body of bodies) {
      const answer = await request(gateway, { method: 'POST', path: '/x', headers: json, body: JSON.stringify(body) });
      assert.equal(answer.status, 422);
      assert.ok(answer.text.length < 10_000, `${answer.text.length} characters`);
    }
  });

  test('volatile events reach every idle socket, one after the other', async (t) => {
    const gateway = await start(t);
    const sockets = [];
    for (let i = 0; i < 50; i += 1) sockets.push(await connected(t, gateway, { transports: ['websocket'] }));
    const heard = sockets.map((socket) => collect(socket, 'tick'));
    for (const socket of sockets) await subscribe(socket, 'clock');
    for (let tick = 0; tick < 5; tick += 1) {
      const reply = await gateway.publish('tick', { rooms: 'clock', payload: tick, volatile: true });
      assert.equal(reply.sockets, 50, `tick ${tick}`);
    }
    for (const events of heard) await events.take(5);
  });
});

describe('a session that has moved to WebSocket', () => {
  test('does not mind a late request of polling that goes away', async (t) => {
    const gateway = await start(t);
    const session = await Polling.open(gateway);
    // Half a POST, begun while the session polls and dropped after it has moved.
    const late = await RawConnection.open(gateway);
    late.write(requestBytes({ method: 'POST', path: session.target, headers: { 'content-length': '10' }, body: '4' }));
    const websocket = await openProbe(session);
    websocket.sendText('2probe');
    assert.equal(await websocket.nextText(), '3probe');
    websocket.sendText('5');
    await join(websocket);
    late.socket.destroy();
    // Whoever takes a connection's end for the session's would have closed it when this is answered.
    assert.equal((await request(gateway, { path: '/livez' })).status, 200);
    websocket.sendText('420["subscribe","r"]');
    assert.match(await websocket.nextText(), /^430\[\{"status":"ok"/);
    websocket.close();
  });
});

describe('localhost', () => {
  test('is not shared with another program on the other address family', async (t) => {
    const other = createServer();
    await new Promise((listening, failed) => other.once('error', failed).listen(0, '::1', listening));
    t.after(() => other.close());
    const { port } = other.address();
    const { code, stderr } = await runGateway({ args: ['--port', String(port)] });
    assert.notEqual(code, 0);
    assert.match(stderr, new RegExp(`\\[::1\\]:${port} is in use by another program`));
  });
});
