// The 32 cases every Socket.IO v5 server must pass, on the suite server at /socket.io/: its
// 16 Engine.IO cases once more on this path, then the protocol itself.

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

const http = (query, options) => fetch(`${server.url}/socket.io/?${query}`, options);
const polling = (sid, options) => http(`EIO=4&transport=polling&sid=${sid}`, options);
const status = async (pending) => {
  const response = await pending;
  await response.text();
  return response.status;
};
const text = async (pending) => {
  const response = await pending;
  assert.equal(response.status, 200);
  return response.text();
};

async function openPolling() {
  return JSON.parse((await text(http('EIO=4&transport=polling'))).slice(1)).sid;
}

function websocket(t, query) {
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/socket.io/?${query}`);
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

/** Joined to `/`, with the two frames that come with it read. */
async function joined(t) {
  const socket = await openWebSocket(t);
  socket.send('40');
  assert.match(await socket.frame(), /^40\{/);
  assert.equal(await socket.frame(), '42["auth",{}]');
  return socket;
}

function checkOpenPacket(packet, upgrades) {
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

describe('Engine.IO: handshake', () => {
  test('handshake/polling successfully opens a session', async () => {
    checkOpenPacket(await text(http('EIO=4&transport=polling')), ['websocket']);
  });

  test("handshake/polling fails with an invalid 'EIO'", async () => {
    assert.equal(await status(http('transport=polling')), 400);
    assert.equal(await status(http('EIO=abc&transport=polling')), 400);
  });

  test("handshake/polling fails with an invalid 'transport'", async () => {
    assert.equal(await status(http('EIO=4')), 400);
    assert.equal(await status(http('EIO=4&transport=abc')), 400);
  });

  test('handshake/polling fails with an invalid request method', async () => {
    assert.equal(await status(http('EIO=4&transport=polling', { method: 'POST' })), 400);
    assert.equal(await status(http('EIO=4&transport=polling', { method: 'PUT' })), 400);
  });

  test('handshake/WebSocket opens', async (t) => {
    checkOpenPacket(await websocket(t, 'EIO=4&transport=websocket').frame(), []);
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

describe('Engine.IO: heartbeat', () => {
  test('heartbeat/polling ping/pong', async () => {
    const sid = await openPolling();
    for (let i = 0; i < 3; i += 1) {
      assert.equal(await text(polling(sid)), '2');
      assert.equal(await text(polling(sid, { method: 'POST', body: '3' })), 'ok');
    }
  });

  test('heartbeat/polling ping timeout', async () => {
    const sid = await openPolling();
    await sleep(PING_INTERVAL_MS + PING_TIMEOUT_MS);
    assert.equal(await status(polling(sid)), 400);
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

describe('Engine.IO: close', () => {
  test('close/polling', async () => {
    const sid = await openPolling();
    const pending = text(polling(sid));
    assert.equal(await text(polling(sid, { method: 'POST', body: '1' })), 'ok');
    assert.equal(await pending, '6');
    assert.equal(await status(polling(sid)), 400);
  });

  test('close/WS', async (t) => {
    const socket = await openWebSocket(t);
    socket.send('1');
    await socket.closed;
  });
});

describe('Engine.IO: upgrade', () => {
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
    assert.equal(await text(polling(sid)), '6');
    socket.send('5');
    socket.send('40');
    assert.match(await socket.frame(), /^40\{/);
  });

  test('upgrade ignores HTTP requests after upgrade', async (t) => {
    const sid = await openPolling();
    const socket = await probe(t, sid, '2probe', '5');
    assert.equal(await status(polling(sid)), 400);
    socket.send('40');
    assert.match(await socket.frame(), /^40\{/);
  });

  test('upgrade ignores WebSocket with same sid after upgrade', async (t) => {
    const sid = await openPolling();
    const socket = await probe(t, sid, '2probe', '5');
    await websocket(t, `EIO=4&transport=websocket&sid=${sid}`).closed;
    socket.send('40');
    assert.match(await socket.frame(), /^40\{/);
  });
});

describe('connect', () => {
  /** The answer to CONNECT has the key `sid` and no other. */
  function checkSid(frame, start) {
    assert.equal(frame.slice(0, start.length), start);
    const reply = JSON.parse(frame.slice(start.length));
    assert.deepEqual(Object.keys(reply), ['sid']);
    assert.equal(typeof reply.sid, 'string');
  }

  const joins = [
    ['allow connection to the main namespace', '40', '40', '42["auth",{}]'],
    [
      'allow connection to the main namespace with a payload',
      '40{"token":"123"}',
      '40',
      '42["auth",{"token":"123"}]',
    ],
    ['allow connection to a custom namespace', '40/custom,', '40/custom,', '42/custom,["auth",{}]'],
    [
      'allow connection to a custom namespace with a payload',
      '40/custom,{"token":"abc"}',
      '40/custom,',
      '42/custom,["auth",{"token":"abc"}]',
    ],
  ];
  for (const [name, packet, start, event] of joins) {
    test(name, async (t) => {
      const socket = await openWebSocket(t);
      socket.send(packet);
      checkSid(await socket.frame(), start);
      assert.equal(await socket.frame(), event);
    });
  }

  test('disallow connection to an unknown namespace', async (t) => {
    const socket = await openWebSocket(t);
    socket.send('40/random');
    assert.equal(await socket.frame(), '44/random,{"message":"Invalid namespace"}');
  });

  test('disallow connection with an invalid handshake', async (t) => {
    const socket = await openWebSocket(t);
    socket.send('4abc');
    await socket.closed;
  });

  test('close the connection if no handshake is received', async (t) => {
    const socket = await openWebSocket(t);
    await socket.closed;
  });
});

describe('disconnect', () => {
  test('disconnect from the main namespace', async (t) => {
    const socket = await joined(t);
    socket.send('41');
    assert.equal(await socket.frame(), '2');
  });

  test('connect then disconnect from a custom namespace', async (t) => {
    const socket = await joined(t);
    socket.send('40/custom');
    assert.match(await socket.frame(), /^40\/custom,\{/);
    assert.equal(await socket.frame(), '42/custom,["auth",{}]');
    socket.send('41/custom');
    socket.send('42["message","message to main namespace"]');
    assert.equal(await socket.frame(), '42["message-back","message to main namespace"]');
  });
});

describe('message', () => {
  test('send a plain-text packet', async (t) => {
    const socket = await joined(t);
    socket.send('42["message",1,"2",{"3":[true]}]');
    assert.equal(await socket.frame(), '42["message-back",1,"2",{"3":[true]}]');
  });

  const attachments = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}';

  test('send a packet with binary attachments', async (t) => {
    const socket = await joined(t);
    socket.send(`452-["message",${attachments}]`);
    socket.send(Buffer.from([1, 2, 3]));
    socket.send(Buffer.from([4, 5, 6]));
    assert.equal(await socket.frame(), `452-["message-back",${attachments}]`);
    assert.deepEqual(await socket.frame(), Buffer.from([1, 2, 3]));
    assert.deepEqual(await socket.frame(), Buffer.from([4, 5, 6]));
  });

  test('send a plain-text packet with an ack', async (t) => {
    const socket = await joined(t);
    socket.send('42456["message-with-ack",1,"2",{"3":[false]}]');
    assert.equal(await socket.frame(), '43456[1,"2",{"3":[false]}]');
  });

  test('send a packet with binary attachments and an ack', async (t) => {
    const socket = await joined(t);
    socket.send(`452-789["message-with-ack",${attachments}]`);
    socket.send(Buffer.from([1, 2, 3]));
    socket.send(Buffer.from([4, 5, 6]));
    assert.equal(await socket.frame(), `462-789[${attachments}]`);
    assert.deepEqual(await socket.frame(), Buffer.from([1, 2, 3]));
    assert.deepEqual(await socket.frame(), Buffer.from([4, 5, 6]));
  });

  const invalid = [
    ['unknown packet type', '4abc'],
    ['invalid payload format', '42{}'],
    ['invalid ack id', '42abc["message-with-ack",1,"2",{"3":[false]}]'],
  ];
  for (const [name, packet] of invalid) {
    test(`close the connection upon invalid format (${name})`, async (t) => {
      const socket = await joined(t);
      socket.send(packet);
      await socket.closed;
    });
  }
});
