// The server takes a client out of a namespace, or out of all of them.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Manager } from 'socket.io-client';
import { next, nextValue } from './harness/events.js';
import { better, startSuiteServer } from './harness/gateway.js';
import { ask, join, openSession } from './harness/sessions.js';

let server;
before(async () => {
  server = await startSuiteServer();
});
after(() => server?.end());

/** A stock client in both namespaces over one connection. */
async function inBoth(t, transports) {
  const manager = new Manager(server.url, { transports });
  t.after(() => manager._close());
  const sockets = [manager.socket('/'), manager.socket('/custom')];
  await Promise.all(sockets.map((socket) => next(socket, 'connect')));
  return { manager, main: sockets[0], custom: sockets[1] };
}

for (const transport of ['websocket', 'polling']) {
  describe(`the stock client over ${transport}`, () => {
    test('out of one namespace: it stays away, the other namespace lives on', async (t) => {
      const { main, custom } = await inBoth(t, [transport]);
      const reason = nextValue(custom, 'disconnect');
      custom.emit('leave');
      assert.equal(await reason, 'io server disconnect');
      assert.equal(custom.active, false);
      assert.equal(await ask(main, 'message-with-ack', 7), 7);
      custom.connect();
      await next(custom, 'connect');
    });

    test('out of all: each namespace is told, and the connection is closed', async (t) => {
      const { manager, main, custom } = await inBoth(t, [transport]);
      const reasons = [main, custom].map((socket) => nextValue(socket, 'disconnect'));
      const closed = next(manager.engine, 'close');
      main.emit('close');
      assert.deepEqual(await Promise.all(reasons), ['io server disconnect', 'io server disconnect']);
      await closed;
      assert.deepEqual([main.active, custom.active], [false, false]);
    });
  });
}

// The reference closes everything.
test('packets that cross the goodbye do no harm to other namespaces', better, async () => {
  const websocket = await openSession(server);
  for (const namespace of ['/', '/custom']) {
    await join(websocket, namespace, null);
    assert.match(await websocket.nextText(), /"auth"/);
  }
  // All sent before the goodbye can have arrived: an event, an answer, a goodbye of its own.
  for (const packet of ['["leave"]', '["message",1]', '5["message-with-ack",1]']) {
    websocket.sendText(`42/custom,${packet}`);
  }
  websocket.sendText('43/custom,9[]');
  websocket.sendText('41/custom,');
  assert.equal(await websocket.nextText(), '41/custom,');
  websocket.sendText('421["message-with-ack",2]');
  assert.equal(await websocket.nextText(), '431[2]');
  websocket.close();
});
