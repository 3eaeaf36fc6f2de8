// The setting `socket.parsers`: what is not offered closes the connection that speaks it.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { next } from '../harness/events.js';
import { endAll, runGateway, startGateway } from '../harness/gateway.js';
import { Polling, ask, bystander, client, connected, openSession } from '../harness/sessions.js';
import { MSGPACK, TRANSPORTS, bytesOf, packetHex } from './speaking.js';

const env = (parsers) => ({ IDAE_SOCKET_SOCKET_PARSERS: parsers });

const CONNECT = bytesOf(packetHex('00', 'd40000'));
const SPEAKERS = {
  json: { options: {}, send: (websocket) => websocket.sendText('40'), text: '40' },
  msgpack: { options: MSGPACK, send: (websocket) => websocket.sendBinary(CONNECT), text: `b${CONNECT.toString('base64')}` },
};

for (const [only, other] of [['json', 'msgpack'], ['msgpack', 'json']]) {
  describe(`only ${only} is offered`, () => {
    let gateway;
    let watcher;
    before(async () => {
      gateway = await startGateway({ env: env(only) });
      watcher = await bystander(null, gateway, 'bystander', SPEAKERS[only].options);
    });
    after(async () => {
      watcher?.socket.disconnect();
      await gateway?.end();
    });

    for (const [name, transports] of Object.entries(TRANSPORTS)) {
      test(`${only} works over ${name}`, async (t) => {
        const socket = await connected(t, gateway, { ...SPEAKERS[only].options, transports });
        const event = next(socket, 'e');
        await gateway.publish('e', { users: socket.id, payload: 'é' });
        assert.deepEqual((await event)[0], { payload: 'é' });
        assert.deepEqual(await ask(socket, 'hello'), { status: 'OK' });
      });

      test(`a client of ${other} does not get in over ${name}`, async (t) => {
        const socket = client(t, gateway, { ...SPEAKERS[other].options, transports });
        const outcome = Promise.race(['connect', 'disconnect', 'connect_error'].map((event) => next(socket, event).then(() => event)));
        socket.connect();
        assert.notEqual(await outcome, 'connect');
        await watcher.unharmed();
      });
    }

    test(`a first packet of ${other} closes the connection, on WebSocket and polling`, async () => {
      const websocket = await openSession(gateway);
      SPEAKERS[other].send(websocket);
      assert.deepEqual((await websocket.closed()).unread, []);
      const session = await Polling.open(gateway);
      await session.post(SPEAKERS[other].text);
      await session.ends();
      await watcher.unharmed();
    });
  });
}

describe('both are offered', () => {
  const ways = {
    'by default': {},
    'by the environment': { env: env('json,msgpack') },
    'in any order': { env: env('msgpack,json') },
    'by the file': { config: '[socket]\nparsers = ["json", "msgpack"]\n' },
  };
  for (const [name, options] of Object.entries(ways)) {
    test(name, async (t) => {
      const gateway = await startGateway(options);
      t.after(() => endAll(gateway));
      const sockets = await Promise.all(Object.values(SPEAKERS).map((speaks) => connected(t, gateway, speaks.options)));
      const events = sockets.map((socket) => next(socket, 'e'));
      assert.equal((await gateway.publish('e', { broadcast: true, payload: 1 })).sockets, 2);
      for (const [envelope] of await Promise.all(events)) assert.deepEqual(envelope, { payload: 1 });
    });
  }

  test('the file may offer one', async (t) => {
    const gateway = await startGateway({ config: '[socket]\nparsers = ["msgpack"]\n' });
    t.after(() => gateway.end());
    await connected(t, gateway, MSGPACK);
    const websocket = await openSession(gateway);
    websocket.sendText('40');
    assert.deepEqual((await websocket.closed()).unread, []);
  });
});

describe('what is no list of parsers is refused at the start', () => {
  for (const [name, options] of Object.entries({
    'an unknown one': { env: env('json,xml') },
    'an empty list': { env: env('') },
    'an empty list in the file': { config: '[socket]\nparsers = []\n' },
    'a text in the file': { config: '[socket]\nparsers = "msgpack"\n' },
    'another spelling': { env: env('MessagePack') },
  })) {
    test(name, async () => {
      for (const args of [['check'], []]) {
        const { code, stderr } = await runGateway({ ...options, args });
        assert.notEqual(code, 0);
        assert.match(stderr, /socket\.parsers/);
        if (name !== 'an empty list' && name !== 'an empty list in the file') assert.match(stderr, /json.*msgpack/s);
      }
    });
  }
});
