// Joining and leaving namespaces: which packets open one, which are refused, and which end the
// whole connection because no honest client sends them.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually, next, nextValue, sleep, staysOpen } from './harness/events.js';
import { better, endAll, startGateway, startSuiteServer } from './harness/gateway.js';
import { Polling, SID, ask, client, connectNow, connected, inTwoNamespaces, join, joined, openSession, refusedNamespace } from './harness/sessions.js';

const CONNECT_TIMEOUT_MS = 1000;

let server;
let gateway;
before(async () => {
  [server, gateway] = await Promise.all([
    startSuiteServer(),
    startGateway({ env: { IDAE_SOCKET_NAMESPACES: '/,/admin', IDAE_SOCKET_SOCKET_CONNECT_TIMEOUT_MS: '1000' } }),
  ]);
});
after(() => endAll(server, gateway));

describe('the auth object', () => {
  const values = [
    undefined,
    {},
    { token: '123' },
    { nested: { list: [1, null, true], text: 'é😀' } },
    { __proto__x: 1, constructor: 'x' },
    { token: 'x'.repeat(8000) },
  ];
  for (const auth of values) {
    for (const namespace of ['/', '/custom']) {
      test(`${JSON.stringify(auth)?.slice(0, 40) ?? 'none'} in ${namespace} arrives unchanged`, async (t) => {
        const socket = client(t, server, { namespace, auth, transports: ['websocket'] });
        const echoed = nextValue(socket, 'auth');
        await connectNow(socket);
        assert.deepEqual(await echoed, auth ?? {});
      });
    }
  }

  test('on polling as well', async (t) => {
    const socket = client(t, server, { auth: { token: '123' }, transports: ['polling'] });
    const echoed = nextValue(socket, 'auth');
    await connectNow(socket);
    assert.deepEqual(await echoed, { token: '123' });
  });

  test('a key named __proto__ stays a key', async () => {
    const websocket = await openSession(server);
    websocket.sendText('40{"__proto__":{"admin":true},"a":1}');
    assert.match(await websocket.nextText(), /^40\{"sid":"[^"]{20}"\}$/);
    assert.equal(await websocket.nextText(), '42["auth",{"__proto__":{"admin":true},"a":1}]');
    websocket.close();
  });
});

describe('one connection, several namespaces', () => {
  test('each has its own id, and none is the id of the session', async () => {
    const websocket = await openSession(gateway);
    const main = await join(websocket, '/');
    const admin = await join(websocket, '/admin');
    for (const { sid } of [main, admin]) assert.match(sid, SID);
    assert.equal(new Set([main.sid, admin.sid, websocket.sid]).size, 3);
    websocket.close();
  });

  test('the stock client shares its connection between them, leaves one and joins it again', (t) => inTwoNamespaces(t, server));

  test('an event published to a namespace reaches that one only', async () => {
    const websocket = await openSession(gateway);
    await join(websocket, '/');
    await join(websocket, '/admin');
    const reply = await gateway.publish('news', { broadcast: true, namespace: '/admin', payload: 1 });
    assert.equal(reply.sockets, 1);
    assert.match(await websocket.nextText(), /^42\/admin,\["news",\{"payload":1/);
    websocket.close();
  });
});

describe('an unknown namespace', () => {
  const names = ['/nope', '/custom2', '/Custom', '/custom/', '/__proto__', '/constructor', '/custom?a=b', '/é', '/a b'];
  for (const name of names) {
    test(`${name} is answered with Invalid namespace, the connection stays`, async () => {
      const websocket = await openSession(server);
      for (const packet of [`40${name}`, `40${name},`, `40${name},{"token":"x"}`]) {
        websocket.sendText(packet);
        assert.equal(await websocket.nextText(), `44${name},{"message":"Invalid namespace"}`);
      }
      await join(websocket, '/', null);
      websocket.close();
    });
  }

  test('the stock client gets connect_error and is not active, others go on', async (t) => {
    const main = await connected(t, server, { transports: ['websocket'] });
    await refusedNamespace(t, main, '/wrong');
    assert.equal(await ask(main, 'message-with-ack', 1), 1);
  });

  test('a namespace of another gateway setting is unknown here', async () => {
    const websocket = await openSession(gateway);
    websocket.sendText('40/custom,');
    assert.equal(await websocket.nextText(), '44/custom,{"message":"Invalid namespace"}');
    websocket.close();
  });

  test('a name of 100,000 characters is answered or closed, and nobody else notices', async () => {
    const neighbour = await joined(server, { suite: true });
    const websocket = await openSession(server);
    websocket.sendText(`40/${'x'.repeat(100_000)},`);
    try {
      assert.match(await websocket.nextText(), /^44\/x+,\{"message":/);
      websocket.close();
    } catch {
      assert.ok(websocket.isClosed);
    }
    neighbour.sendText('42["message",1]');
    assert.equal(await neighbour.nextText(), '42["message-back",1]');
    neighbour.close();
  });

  test('a thousand unknown namespaces on one connection are bounded or answered', async () => {
    const neighbour = await joined(server, { suite: true });
    const websocket = await openSession(server);
    for (let i = 0; i < 1000; i += 1) websocket.sendText(`40/n${i},`);
    for (let i = 0; i < 1000; i += 1) {
      let text;
      try {
        text = await websocket.nextText();
      } catch {
        break;
      }
      assert.equal(text, `44/n${i},{"message":"Invalid namespace"}`);
    }
    neighbour.sendText('42["message",1]');
    assert.equal(await neighbour.nextText(), '42["message-back",1]');
    neighbour.close();
    websocket.close();
  });
});

describe('the form of CONNECT', () => {
  for (const packet of ['40/custom', '40/custom,', '40/custom,{}']) {
    test(`${packet} joins`, async () => {
      const websocket = await openSession(server);
      websocket.sendText(packet);
      assert.match(await websocket.nextText(), /^40\/custom,\{"sid":"[A-Za-z0-9_-]{20}"\}$/);
      assert.equal(await websocket.nextText(), '42/custom,["auth",{}]');
      websocket.close();
    });
  }

  const closing = ['40[]', '40null', '40"s"', '40{bad', '40true', '40{}{}', '40/custom,[]', '40/custom,null', '40/custom,{', '40/custom{}', '40x'];
  for (const packet of closing) {
    test(`${packet} ${packet === '40/custom{}' ? 'names another namespace' : 'closes the connection'}`, async () => {
      const websocket = await openSession(server);
      websocket.sendText(packet);
      if (packet === '40/custom{}') {
        assert.equal(await websocket.nextText(), '44/custom{},{"message":"Invalid namespace"}');
        websocket.close();
      } else {
        assert.deepEqual((await websocket.closed()).unread, []);
      }
    });
  }

  test('on polling the same', async () => {
    const session = await Polling.open(server);
    await session.post('40[]');
    await session.ends();
  });
});

describe('packets out of turn close the connection', () => {
  const before = ['42["message",1]', '421["message-with-ack",1]', '431[]', '41', '44{"message":"x"}', '42/custom,["message",1]', '451-["message",{"_placeholder":true,"num":0}]', '4'];
  for (const packet of before) {
    test(`${packet} before any CONNECT`, async () => {
      const websocket = await openSession(server);
      websocket.sendText(packet);
      // A binary event is complete, and wrong, with its attachment.
      if (packet.startsWith('45')) websocket.sendBinary(Buffer.from([1]));
      assert.deepEqual((await websocket.closed()).unread, []);
    });
  }

  const elsewhere = ['42/custom,["message",1]', '43/custom,1[]', '41/custom', '44', '44{"message":"x"}', '42/nope,["x"]'];
  for (const packet of elsewhere) {
    test(`${packet} while only / is joined`, async () => {
      const websocket = await joined(server, { suite: true });
      websocket.sendText(packet);
      await websocket.closed();
    });
  }

  test('a second CONNECT to a joined namespace', async () => {
    const websocket = await joined(server, { suite: true });
    websocket.sendText('40');
    const { unread } = await websocket.closed();
    assert.deepEqual(unread.filter((text) => text.startsWith('40')), []);
  });

  // In the reference joining takes a moment, in which a second CONNECT makes a second socket.
  test('two CONNECTs in one segment never make two sockets', better, async () => {
    const websocket = await openSession(server);
    websocket.sendTogether('40', '40', '42["message",1]');
    const frames = [];
    try {
      while (!frames.includes('42["message-back",1]')) frames.push(await websocket.nextText());
    } catch {
      assert.ok(websocket.isClosed, `neither closed nor served: ${frames}`);
    }
    const { length } = frames.filter((text) => text.startsWith('40'));
    assert.ok(length <= 1, `${length} answers to CONNECT`);
    websocket.close();
  });

  test('an event right behind CONNECT is delivered or closes, nothing else', async () => {
    const websocket = await openSession(server);
    websocket.sendTogether('40', '42["message",1]');
    const frames = [];
    try {
      while (!frames.includes('42["message-back",1]')) frames.push(await websocket.nextText(1000));
    } catch {
      assert.ok(websocket.isClosed, `neither delivered nor closed: ${frames}`);
    }
    websocket.close();
  });

  test('after leaving, an event for that namespace closes or is ignored', async () => {
    const websocket = await joined(server, { suite: true });
    await join(websocket, '/custom', null);
    assert.equal(await websocket.nextText(), '42/custom,["auth",{}]');
    websocket.sendTogether('41/custom', '42/custom,["message",1]', '42["message","main"]');
    try {
      // Never an answer in a namespace that was left.
      assert.equal(await websocket.nextText(), '42["message-back","main"]');
    } catch (error) {
      assert.ok(websocket.isClosed, error.message);
    }
    websocket.close();
  });
});

describe('leaving', () => {
  test('41 and again 40 gives a new id on the same connection', async () => {
    const websocket = await joined(server, { suite: true });
    websocket.sendText('41');
    await websocket.fence();
    const again = await join(websocket, '/', null);
    assert.notEqual(again.sid, websocket.reply.sid);
    assert.equal(await websocket.nextText(), '42["auth",{}]');
    websocket.close();
  });

  for (const packet of ['41/custom', '41/custom,']) {
    test(`${packet} leaves the namespace`, async () => {
      const websocket = await joined(server, { suite: true, namespace: '/custom' });
      websocket.sendText(packet);
      await websocket.fence();
      await join(websocket, '/custom', null);
      websocket.close();
    });
  }

  // The reference acts on the second before the first and closes.
  test('41 and 40 in one segment leave and join', better, async () => {
    const websocket = await joined(server, { suite: true });
    websocket.sendTogether('41', '40');
    assert.match(await websocket.nextText(), /^40\{"sid"/);
    assert.equal(await websocket.nextText(), '42["auth",{}]');
    websocket.close();
  });

  for (const packet of ['41{}', '41[]', '41"x"', '41/custom,{}']) {
    test(`${packet} closes the connection`, async () => {
      const websocket = await joined(server, { suite: true });
      websocket.sendText(packet);
      await websocket.closed();
    });
  }

  test('a socket that left gets no more events', async () => {
    const stays = await openSession(gateway);
    const goes = await openSession(gateway);
    for (const websocket of [stays, goes]) await join(websocket, '/admin');
    goes.sendText('41/admin');
    await eventually(async () => {
      const { sockets } = await gateway.publish('count', { broadcast: true, namespace: '/admin', payload: 0 });
      return sockets === 1;
    }, 'the socket to be gone');
    assert.match(await stays.nextText(), /^42\/admin,\["count",/);
    stays.close();
    goes.close();
  });
});

describe('the connect timeout', { concurrency: 8 }, () => {
  const late = CONNECT_TIMEOUT_MS + 700;
  const closesInTime = async (websocket, started) => {
    await websocket.closed(late);
    const took = Date.now() - started;
    assert.ok(took >= CONNECT_TIMEOUT_MS - 30 && took <= late, `closed after ${took} ms`);
  };

  for (const [name, target] of [['the suite server', () => server], ['the gateway', () => gateway]]) {
    test(`${name} closes a connection that joins nothing`, async () => {
      const started = Date.now();
      await closesInTime(await openSession(target()), started);
    });
  }

  test('refused attempts do not count', async () => {
    const started = Date.now();
    const websocket = await openSession(server);
    websocket.sendText('40/nope,');
    await websocket.nextText();
    const attempts = setInterval(() => websocket.sendText('40/nope,'), 300);
    await closesInTime(websocket, started);
    clearInterval(attempts);
  });

  test('polling sessions are held to it as well', async () => {
    const session = await Polling.open(gateway);
    const { status, text } = await session.poll({ waitMs: late });
    assert.deepEqual([status, text], [200, '1']);
    await session.isGone();
  });

  test('a joined connection stays', async () => {
    const websocket = await joined(server, { suite: true });
    await sleep(CONNECT_TIMEOUT_MS + 300);
    websocket.sendText('42["message",1]');
    assert.equal(await websocket.nextText(), '42["message-back",1]');
    websocket.close();
  });

  test('a connection in one namespace other than / stays', async () => {
    const websocket = await joined(server, { suite: true, namespace: '/custom' });
    await sleep(CONNECT_TIMEOUT_MS + 300);
    assert.equal(websocket.isClosed, false);
    websocket.sendText('42/custom,["message-with-ack",1]');
    await join(websocket, '/', null);
    websocket.close();
  });

  test('after joining and leaving it may come back later', async () => {
    const websocket = await joined(server, { suite: true });
    websocket.sendText('41');
    await sleep(CONNECT_TIMEOUT_MS - 400);
    await join(websocket, '/', null);
    websocket.close();
  });
});

test('a polling client that joins, and one that is told its namespace is wrong', async () => {
  const session = await Polling.open(server);
  await session.send('40/nope,');
  assert.equal(await session.packet(), '44/nope,{"message":"Invalid namespace"}');
  await session.send('40/custom,{"token":"t"}');
  const [reply, auth] = await session.packets(2);
  assert.match(reply, /^40\/custom,\{"sid":"[A-Za-z0-9_-]{20}"\}$/);
  assert.equal(auth, '42/custom,["auth",{"token":"t"}]');
  await session.send('1');
});

test('the suite server lets an idle joined client live', async (t) => {
  const socket = await connected(t, server, { transports: ['websocket'] });
  await staysOpen(next(socket, 'disconnect', 60_000), 'the connection', 1200);
});
