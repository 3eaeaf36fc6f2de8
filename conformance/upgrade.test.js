// From polling to WebSocket: the steps of the upgrade, everything that can go wrong on the way,
// and that no message is lost, doubled or moved while the transport changes.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { collect, eventually, next, sleep, within } from './harness/events.js';
import { better, endAll, startGateway, startSuiteServer } from './harness/gateway.js';
import { OPCODE, RawConnection, frameBytes, requestBytes, tryUpgrade, upgradeHeaders } from './harness/raw.js';
import { Polling, SEPARATOR, connected, join, openProbe, openSession, subscribe } from './harness/sessions.js';
import { slowUpgradeProxy } from './harness/proxy.js';

const ECHO = { path: '/engine.io/' };
const MISMATCH = [400, '{"code":3,"message":"Bad request"}'];

let server;
let gateway;
before(async () => {
  [server, gateway] = await Promise.all([
    startSuiteServer(),
    startGateway({ env: { IDAE_SOCKET_SOCKET_UPGRADE_TIMEOUT_MS: '400' } }),
  ]);
});
after(() => endAll(server, gateway));

/** A polling session on the echo server and a probe that has been answered. */
async function probed() {
  const polling = await Polling.open(server, ECHO);
  const websocket = await openProbe(polling, { answerPings: true });
  websocket.sendText('2probe');
  assert.equal(await websocket.nextText(), '3probe');
  return { polling, websocket };
}

async function upgraded() {
  const { polling, websocket } = await probed();
  websocket.sendText('5');
  websocket.sendText('4there');
  assert.equal(await websocket.nextText(), '4there');
  return { polling, websocket };
}

async function echoesOn(websocket, text) {
  websocket.sendText(`4${text}`);
  assert.equal(await websocket.nextText(), `4${text}`);
}

describe('the steps', () => {
  test('a pending GET is released with 6 soon after the probe', async () => {
    const polling = await Polling.open(server, ECHO);
    const pending = await polling.pending();
    const websocket = await openProbe(polling);
    const asked = Date.now();
    websocket.sendText('2probe');
    assert.equal(await websocket.nextText(), '3probe');
    assert.equal((await pending.response()).text, '6');
    // 100 ms by the protocol, the rest for a busy machine.
    assert.ok(Date.now() - asked < 250, `after ${Date.now() - asked} ms`);
    websocket.close();
  });

  test('a GET that comes after the answer to the probe gets 6 as well', async () => {
    const { polling, websocket } = await probed();
    for (let i = 0; i < 2; i += 1) assert.equal((await polling.poll()).text, '6');
    websocket.close();
  });

  test('after 5 the session is on the WebSocket', async () => {
    const { websocket } = await upgraded();
    await echoesOn(websocket, 'x');
    websocket.sendBinary(Buffer.from([1, 2, 3]));
    assert.deepEqual(await websocket.nextBinary(), Buffer.from([1, 2, 3]));
    websocket.close();
  });

  test('a repeated probe is answered again', async () => {
    const { websocket } = await probed();
    websocket.sendText('2probe');
    assert.equal(await websocket.nextText(), '3probe');
    websocket.close();
  });

  test('5 without a probe upgrades', async () => {
    const polling = await Polling.open(server, ECHO);
    const websocket = await openProbe(polling, { answerPings: true });
    websocket.sendText('5');
    await echoesOn(websocket, 'x');
    websocket.close();
  });

  test('2probe, 5 and a message in one segment', async () => {
    const polling = await Polling.open(server, ECHO);
    const websocket = await openProbe(polling, { answerPings: true });
    websocket.sendTogether('2probe', '5', '4first', '4second');
    assert.equal(await websocket.nextText(), '3probe');
    assert.equal(await websocket.nextText(), '4first');
    assert.equal(await websocket.nextText(), '4second');
    const { status, text } = await polling.poll();
    assert.deepEqual([status, text], MISMATCH);
    websocket.close();
  });

  test('the frames may come right behind the handshake request', better, async () => {
    const polling = await Polling.open(server, ECHO);
    const connection = await RawConnection.open(server);
    connection.write(
      Buffer.concat([
        requestBytes({ path: `/engine.io/?EIO=4&transport=websocket&sid=${polling.sid}`, headers: upgradeHeaders() }),
        frameBytes({ payload: '2probe' }),
        frameBytes({ payload: '5' }),
        frameBytes({ payload: '4early' }),
      ]),
    );
    assert.equal((await connection.response()).status, 101);
    await connection.until(
      () => (connection.received.toString('latin1') === '\x81\x063probe\x81\x064early' ? true : undefined),
      '3probe and the echo',
    );
    connection.close();
  });

  test('a GET pending at the moment of 5 is ended', async () => {
    const polling = await Polling.open(server, ECHO);
    const websocket = await openProbe(polling, { answerPings: true });
    const pending = await polling.pending();
    await sleep(20);
    websocket.sendTogether('5', '4x');
    const { status, text } = await pending.response();
    assert.equal(status, 200);
    // 1 from the reference; 6 tells a client the same: there is nothing more to get here.
    assert.ok(['1', '6'].includes(text), text);
    assert.equal(await websocket.nextText(), '4x');
    websocket.close();
  });

  test('after the upgrade polling is refused, GET and POST, and harms nothing', async () => {
    const { polling, websocket } = await upgraded();
    for (const response of [await polling.poll(), await polling.post('4x')]) {
      assert.deepEqual([response.status, response.text], MISMATCH);
    }
    await echoesOn(websocket, 'fine');
    websocket.close();
  });

  test('closing the WebSocket ends the session', async () => {
    const { polling, websocket } = await upgraded();
    websocket.close();
    await eventually(async () => (await polling.poll()).text.includes('"code":1'), 'the end of the session');
  });
});

describe('a second WebSocket', () => {
  /** Refused before or closed right after the 101. */
  async function refused(polling) {
    const path = `${polling.path}?EIO=4&transport=websocket&sid=${polling.sid}`;
    const { response, connection } = await tryUpgrade(server, path);
    if (response.status === 101) {
      await connection.until(
        () => (connection.ended || connection.received[0] === 0x88 ? true : undefined),
        'the Close',
      );
      // It must not get a single packet of the session.
      assert.notEqual(connection.received[0], 0x81);
      connection.close();
    } else {
      assert.equal(response.status, 400);
    }
  }

  test('during an upgrade is turned away, the first goes on', async () => {
    const { polling, websocket } = await probed();
    await refused(polling);
    websocket.sendText('5');
    await echoesOn(websocket, 'first');
    websocket.close();
  });

  test('after an upgrade is turned away, the first goes on', async () => {
    const { polling, websocket } = await upgraded();
    await refused(polling);
    await echoesOn(websocket, 'first');
    websocket.close();
  });

  // The reference waits for a probe on it until the upgrade timeout.
  test('on a session born as WebSocket is turned away', better, async () => {
    const websocket = await openSession(server, ECHO);
    await refused({ path: ECHO.path, sid: websocket.sid });
    await echoesOn(websocket, 'first');
    websocket.close();
  });

  test('twenty at once: one wins at most, and the session lives', async () => {
    const polling = await Polling.open(server, ECHO);
    const attempts = await Promise.all(
      Array.from({ length: 20 }, () =>
        openProbe(polling, { answerPings: true }).then(
          (websocket) => websocket,
          () => null,
        ),
      ),
    );
    const sockets = attempts.filter(Boolean);
    for (const websocket of sockets) websocket.sendTogether('2probe', '5', '4mine');
    const got = await Promise.all(
      sockets.map(async (websocket) => {
        try {
          assert.equal(await websocket.nextText(), '3probe');
          assert.equal(await websocket.nextText(), '4mine');
          return websocket;
        } catch {
          return null;
        }
      }),
    );
    const winners = got.filter(Boolean);
    assert.equal(winners.length, 1);
    await echoesOn(winners[0], 'still');
    for (const websocket of sockets) websocket.close();
  });
});

describe('a probe that fails leaves the session on polling', () => {
  const wrong = [
    ['a message', { payload: '4x' }],
    ['a ping without the word', { payload: '2' }],
    ['a ping with another word', { payload: '2other' }],
    ['an invalid packet', { payload: 'abc' }],
    ['an empty text', { payload: '' }],
    ['a binary message', { opcode: OPCODE.binary, payload: Buffer.from([1, 2]) }],
    ['a close packet', { payload: '1' }],
    ['an open packet', { payload: '0' }],
    ['a frame with a reserved bit', { payload: '2probe', rsv: 4 }],
    ['an unmasked frame', { payload: '2probe', masked: false }],
  ];
  for (const [name, frame] of wrong) {
    test(name, async () => {
      const polling = await Polling.open(server, ECHO);
      const websocket = await openProbe(polling);
      websocket.sendFrame(frame);
      await websocket.closed();
      await polling.echoes();
    });

    test(`${name}, after the probe was answered`, async () => {
      const { polling, websocket } = await probed();
      websocket.sendFrame(frame);
      await websocket.closed();
      // Noops of the probe may still be on their way.
      await polling.send('4alive');
      const packets = [];
      while (!packets.includes('4alive')) packets.push(...(await polling.packets(1)));
      assert.deepEqual(packets.filter((packet) => packet !== '6'), ['4alive']);
    });
  }

  for (const how of ['close', 'reset']) {
    test(`the probe's connection goes away (${how}); another may follow`, async () => {
      const { polling, websocket } = await probed();
      websocket[how]();
      await sleep(30);
      await polling.send('4between');
      const packets = [];
      while (!packets.includes('4between')) packets.push(...(await polling.packets(1)));

      const second = await openProbe(polling, { answerPings: true });
      second.sendText('2probe');
      assert.equal(await second.nextText(), '3probe');
      second.sendText('5');
      await echoesOn(second, 'second');
      second.close();
    });
  }

  test('a probe that is never completed is closed after the upgrade timeout', async () => {
    const polling = await Polling.open(gateway);
    const started = Date.now();
    const websocket = await openProbe(polling);
    websocket.sendText('2probe');
    assert.equal(await websocket.nextText(), '3probe');
    await websocket.closed(3000);
    const lasted = Date.now() - started;
    assert.ok(lasted >= 380 && lasted < 1500, `closed after ${lasted} ms instead of 400`);
    await polling.send('40');
    const packets = await polling.packets(1);
    while (!packets.some((packet) => packet.startsWith('40'))) packets.push(...(await polling.packets(1)));

    // And it may try again.
    const second = await openProbe(polling);
    second.sendText('2probe');
    assert.equal(await second.nextText(), '3probe');
    second.close();
  });

  test('a WebSocket that never says anything is closed after the upgrade timeout too', async () => {
    const polling = await Polling.open(gateway);
    const websocket = await openProbe(polling);
    await websocket.closed(3000);
    await polling.send('40');
    assert.match(await polling.packet(), /^40/);
  });
});

describe('the session ends during the probe', () => {
  test('by the packet 1: the probe is closed too', async () => {
    const { polling, websocket } = await probed();
    await polling.post('1');
    await websocket.closed();
    await polling.isGone();
  });

  test('by an invalid packet: the probe is closed too', async () => {
    const { polling, websocket } = await probed();
    await polling.post('abc');
    await websocket.closed();
    await polling.isGone();
  });
});

describe('nothing is lost', () => {
  test('messages sent by POST while probing come back', async () => {
    const { polling, websocket } = await probed();
    await polling.send('4during');
    const packets = [];
    while (!packets.includes('4during')) packets.push(...(await polling.packets(1)));
    websocket.sendText('5');
    await echoesOn(websocket, 'after');
    websocket.close();
  });

  test('what was waiting for a GET arrives on the WebSocket, once and in order', async () => {
    const { polling, websocket } = await probed();
    await polling.send(['4a', '4b', 'bAQI='].join(SEPARATOR));
    await polling.send('4c');
    websocket.sendTogether('5', '4d');
    assert.equal(await websocket.nextText(), '4a');
    assert.equal(await websocket.nextText(), '4b');
    assert.deepEqual(await websocket.nextBinary(), Buffer.from([1, 2]));
    assert.equal(await websocket.nextText(), '4c');
    assert.equal(await websocket.nextText(), '4d');
    await echoesOn(websocket, 'nothing left over');
    websocket.close();
  });

  test('a binary event may begin on polling and be complete on the WebSocket', async () => {
    const polling = await Polling.open(server);
    await polling.send('40');
    assert.deepEqual((await polling.packets(2)).map((packet) => packet.slice(0, 2)), ['40', '42']);
    await polling.send('452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
    await polling.send('bAQ==');
    const websocket = await openProbe(polling, { answerPings: true });
    websocket.sendTogether('2probe', '5');
    websocket.sendBinary(Buffer.from([2]));
    assert.equal(await websocket.nextText(), '3probe');
    assert.match(await websocket.nextText(), /^452-\["message-back",/);
    assert.deepEqual(await websocket.nextBinary(), Buffer.from([1]));
    assert.deepEqual(await websocket.nextBinary(), Buffer.from([2]));
    websocket.close();
  });

  test('1,000 published events, a part before, during and after the upgrade', async () => {
    const polling = await Polling.open(gateway);
    await polling.send('40{"recovery":false}');
    assert.match(await polling.packet(), /^40/);
    await polling.send('421["subscribe","raw-burst"]');
    assert.match(await polling.packet(), /^431/);

    const numbers = [];
    const read = (packet) => {
      if (packet.startsWith('42')) numbers.push(JSON.parse(packet.slice(2))[1].payload);
      else assert.equal(packet, '6');
    };
    const readPoll = async () => {
      const response = await polling.poll();
      assert.equal(response.status, 200);
      response.text.split(SEPARATOR).forEach(read);
    };
    const publish = publisher(gateway, { rooms: 'raw-burst' });

    await publish(0, 300);
    await readPoll();
    const websocket = await openProbe(polling);
    websocket.sendText('2probe');
    assert.equal(await websocket.nextText(), '3probe');
    // The first half of these goes out with this GET, the second half has nobody to go to.
    await publish(300, 500);
    await readPoll();
    await publish(500, 700);
    websocket.sendText('5');
    await publish(700, 1000);
    while (numbers.length < 1000) read(await websocket.nextText());
    assert.deepEqual(numbers, Array.from({ length: 1000 }, (_, i) => i));
    await gateway.publish('burst', { rooms: 'raw-burst', payload: 'last' });
    read(await websocket.nextText());
    assert.equal(numbers.at(-1), 'last');
    websocket.close();
  });
});

/** Publishes payloads from..to in order over one connection, without waiting for each. */
function publisher(target, body) {
  return async (from, to) => {
    const connection = await RawConnection.open(target);
    for (let payload = from; payload < to; payload += 1) {
      connection.write(
        requestBytes({
          method: 'POST',
          path: '/burst',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ ...body, payload }),
        }),
      );
      // In step: the reference stand-in would otherwise handle two at the same time.
      const { status } = await connection.response();
      assert.equal(status, 200);
    }
    connection.close();
  };
}

describe('1,000 events each way while the stock client upgrades', () => {
  const numbers = Array.from({ length: 1000 }, (_, i) => i);

  /** Emits in small steps, so that the upgrade falls into the middle of the burst. */
  async function emitAll(socket, emit) {
    for (let i = 0; i < 1000; i += 1) {
      emit(i);
      if (i % 20 === 19) await sleep(2);
    }
  }

  /** A stock client that is connected on polling, with its upgrade a little ahead. */
  async function aboutToUpgrade(t, target) {
    const proxy = await slowUpgradeProxy(t, target);
    const socket = await connected(t, proxy, { transports: ['polling', 'websocket'] });
    assert.equal(socket.io.engine.transport.name, 'polling');
    setTimeout(() => proxy.release(), 20);
    return { socket, upgrade: next(socket.io.engine, 'upgrade') };
  }

  test('client to server: each is acknowledged, in order, with its own number', async (t) => {
    const { socket, upgrade } = await aboutToUpgrade(t, server);
    const acks = [];
    await emitAll(socket, (i) => socket.emit('message-with-ack', i, (value) => acks.push(value)));
    await upgrade;
    await eventually(() => acks.length === 1000, '1,000 acknowledgements');
    assert.deepEqual(acks, numbers);
  });

  test('server to client: the echoes of a burst', async (t) => {
    const { socket, upgrade } = await aboutToUpgrade(t, server);
    const echoes = collect(socket, 'message-back');
    await emitAll(socket, (i) => socket.emit('message', i));
    await upgrade;
    await echoes.take(1000);
    assert.deepEqual(echoes.values, numbers);
  });

  test('binary and text by turns, both ways', async (t) => {
    const { socket, upgrade } = await aboutToUpgrade(t, server);
    const echoes = collect(socket, 'message-back');
    const bytes = (i) => Buffer.from([i >> 8, i & 255]);
    await emitAll(socket, (i) => socket.emit('message', i % 2 ? i : { n: bytes(i), again: [bytes(i)] }));
    await upgrade;
    await echoes.take(1000);
    const back = echoes.values.map((value) => {
      if (typeof value === 'number') return value;
      assert.deepEqual(value.again[0], value.n);
      return value.n.readUInt16BE(0);
    });
    assert.deepEqual(back, numbers);
  });

  test('published to everyone: all of them, in order', async (t) => {
    const { socket, upgrade } = await aboutToUpgrade(t, gateway);
    const events = collect(socket, 'burst');
    await publisher(gateway, { broadcast: true })(0, 1000);
    await upgrade;
    await events.take(1000);
    assert.deepEqual(
      events.values.map((envelope) => envelope.payload),
      numbers,
    );
  });

  test('published to a room while the client sends as well', async (t) => {
    const { socket, upgrade } = await aboutToUpgrade(t, gateway);
    const events = collect(socket, 'burst');
    const acks = [];
    await subscribe(socket, 'both-ways');
    await Promise.all([
      publisher(gateway, { rooms: 'both-ways' })(0, 1000),
      emitAll(socket, (i) => socket.emit('up', i, (reply) => acks.push(reply))),
    ]);
    await upgrade;
    await events.take(1000);
    await eventually(() => acks.length === 1000, '1,000 acknowledgements');
    assert.deepEqual(events.values.map((envelope) => envelope.payload), numbers);
    for (const ack of acks) assert.deepEqual(ack, { status: 'OK' });
  });

  test('twenty clients upgrade at once, none misses or doubles an event', async (t) => {
    const clients = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const socket = await connected(t, gateway, { transports: ['polling', 'websocket'] });
        const events = collect(socket, 'crowd');
        await subscribe(socket, 'crowd');
        return { socket, events };
      }),
    );
    for (let payload = 0; payload < 50; payload += 1) {
      const { sockets } = await gateway.publish('crowd', { rooms: ['crowd', 'crowd'], payload });
      assert.equal(sockets, 20);
    }
    for (const { socket, events } of clients) {
      await events.take(50);
      await eventually(() => socket.io.engine.transport.name === 'websocket', 'the upgrade');
      assert.deepEqual(events.values.map((envelope) => envelope.payload), numbers.slice(0, 50));
    }
  });
});

describe('heartbeat across the upgrade', () => {
  test('an upgraded session lives on with pings on the WebSocket', async () => {
    const { websocket } = await upgraded();
    websocket.answerPings = false;
    for (let i = 0; i < 3; i += 1) {
      assert.equal(await within(websocket.nextText(), 'a ping', 1000), '2');
      websocket.sendText('3');
    }
    await echoesOn(websocket, 'alive');
    websocket.close();
  });

  test('Socket.IO joins on polling and goes on on the WebSocket', async () => {
    const polling = await Polling.open(server);
    await polling.send('40');
    const [reply, auth] = await polling.packets(2);
    assert.match(reply, /^40\{"sid":"[A-Za-z0-9_-]{20}"\}$/);
    assert.equal(auth, '42["auth",{}]');
    const websocket = await openProbe(polling, { answerPings: true });
    websocket.sendTogether('2probe', '5');
    assert.equal(await websocket.nextText(), '3probe');
    websocket.sendText('42["message",1]');
    assert.equal(await websocket.nextText(), '42["message-back",1]');
    await join(websocket, '/custom', null);
    assert.equal(await websocket.nextText(), '42/custom,["auth",{}]');
    websocket.close();
  });
});

