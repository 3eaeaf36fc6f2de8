// Who gets pid and offset: libraries that know recovery. To all others an offset would be one more
// argument in their users' handlers.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startGateway } from '../harness/gateway.js';
import { runPythonTests } from '../harness/python.js';
import { Polling, client, connectNow, openProbe, openSession } from '../harness/sessions.js';
import { OFFSET, RawSocket, openKnowing } from './returning.js';

let gateway;
before(async () => {
  gateway = await startGateway({ config: 'namespaces = ["/", "/shop"]\n[socket]\ncors_origins = ["*"]\n' });
});
after(() => gateway?.end());

const CHROME = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36';
const ORIGIN = 'http://localhost:3000';

/** What a handshake shows of the library, and whether that library knows recovery. */
const LIBRARIES = {
  'a browser': [{ 'User-Agent': CHROME, Origin: ORIGIN }, true],
  'a browser on the same origin': [{ 'User-Agent': CHROME }, true],
  'Firefox': [{ 'User-Agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0', Origin: ORIGIN }, true],
  "Node's XMLHttpRequest": [{ 'User-Agent': 'node-XMLHttpRequest' }, true],
  "Node's fetch": [{ 'User-Agent': 'node' }, true],
  undici: [{ 'User-Agent': 'undici' }, true],
  Bun: [{ 'User-Agent': 'Bun/1.3.2' }, true],
  Deno: [{ 'User-Agent': 'Deno/2.5.6' }, true],
  'somebody who says nothing at all, as in Go and Rust': [{ 'User-Agent': null }, false],
  'python-requests': [{ 'User-Agent': 'python-requests/2.32.5' }, false],
  aiohttp: [{ 'User-Agent': 'Python/3.13 aiohttp/3.13.2' }, false],
  "Python's websocket-client": [{ 'User-Agent': null, Origin: ORIGIN }, false],
  okhttp: [{ 'User-Agent': 'okhttp/4.12.0' }, false],
  Dart: [{ 'User-Agent': 'Dart/3.9 (dart:io)' }, false],
  'Dart with an origin': [{ 'User-Agent': 'Dart/3.9 (dart:io)', Origin: ORIGIN }, false],
  Swift: [{ 'User-Agent': 'Example/1 CFNetwork/1568 Darwin/24.0.0' }, false],
  Java: [{ 'User-Agent': 'Java/21.0.1' }, false],
  Go: [{ 'User-Agent': 'Go-http-client/1.1' }, false],
  curl: [{ 'User-Agent': 'curl/8.14.1' }, false],
  'somebody who mentions Mozilla': [{ 'User-Agent': 'MyApp (compatible; Mozilla/5.0)' }, false],
};

let rooms = 0;

/** One socket's CONNECT answer and an event as they are on the wire, over this transport. */
async function sees(transport, headers, auth) {
  const room = `room-${(rooms += 1)}`;
  const connect = `40${auth === undefined ? '' : JSON.stringify(auth)}`;
  const question = `420["subscribe",${JSON.stringify(room)}]`;
  const read = [];
  let next;
  let send;
  let leave;
  if (transport === 'websocket') {
    const websocket = await openSession(gateway, { headers });
    next = () => websocket.nextText();
    send = async (text) => websocket.sendText(text);
    leave = () => websocket.close();
  } else {
    const session = await Polling.open(gateway, { headers });
    next = () => session.packet();
    send = (text) => session.send(text);
    leave = () => session.send('1');
  }
  await send(connect);
  read.push(await next());
  await send(question);
  assert.match(await next(), /^430\[\{"status":"ok"/);
  await gateway.publish('e', { rooms: room, payload: 'text' });
  read.push(await next());
  await gateway.post('/e?deliver=payload', { rooms: room, payload: 'text' });
  read.push(await next());
  await gateway.post('/e', { rooms: room, payload: 1, volatile: true });
  if (transport === 'websocket') read.push(await next());
  await leave();
  const [answer, ...events] = read;
  return { keys: Object.keys(JSON.parse(answer.slice(2))), events: events.map((text) => JSON.parse(text.slice(2))), room };
}

/** Insists on the one or the other shape, in the answer and in every event. */
function assertShape({ keys, events, room }, recovers) {
  assert.deepEqual(keys, recovers ? ['sid', 'pid'] : ['sid']);
  const bare = events.map((event) => (recovers ? event.slice(0, -1) : event));
  const expected = [['e', { payload: 'text', rooms: room }], ['e', 'text'], ['e', { payload: 1, rooms: room }]];
  assert.deepEqual(bare, expected.slice(0, events.length));
  if (recovers) for (const event of events) assert.match(event.at(-1), OFFSET);
}

for (const transport of ['websocket', 'polling']) {
  describe(`over ${transport}`, () => {
    for (const [name, [headers, knows]] of Object.entries(LIBRARIES)) {
      test(`${name}: ${knows ? 'with' : 'without'} offset`, async () => {
        assertShape(await sees(transport, headers), knows);
        assertShape(await sees(transport, headers, {}), knows);
      });

      test(`${name}: what auth.recovery says counts more`, async () => {
        assertShape(await sees(transport, headers, { recovery: true }), true);
        assertShape(await sees(transport, headers, { recovery: false, token: 'x' }), false);
      });
    }

    test('anything but true and false says nothing', async () => {
      for (const recovery of ['true', 1, null, {}, []]) {
        assertShape(await sees(transport, { 'User-Agent': CHROME }, { recovery }), true);
        assertShape(await sees(transport, { 'User-Agent': 'curl/8' }, { recovery }), false);
      }
    });
  });
}

test("Node's ws says nothing, and offers an extension", async () => {
  const extension = { 'User-Agent': null, 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits' };
  assertShape(await sees('websocket', extension), true);
  assertShape(await sees('websocket', extension, { recovery: false }), false);
  // Python's websocket-client and Chrome's relatives that are no browser name an origin.
  assertShape(await sees('websocket', { ...extension, Origin: ORIGIN }), false);
});

test('an upgrade changes nothing: the handshake counts', async () => {
  for (const [headers, probing, knows] of [
    [{ 'User-Agent': CHROME }, { 'User-Agent': null, Origin: ORIGIN }, true],
    [{ 'User-Agent': 'python-requests/2.32.5' }, { 'User-Agent': null }, false],
  ]) {
    const session = await Polling.open(gateway, { headers });
    const probe = await openProbe(session, { headers: probing });
    probe.sendText('2probe');
    assert.equal(await probe.nextText(), '3probe');
    probe.sendText('5');
    probe.sendText('40');
    assert.deepEqual(Object.keys(JSON.parse((await probe.nextText()).slice(2))), knows ? ['sid', 'pid'] : ['sid']);
    probe.close();
  }
});

test('both shapes of one event, to each its own, once', async () => {
  const knowing = await RawSocket.open(gateway);
  const plain = await openSession(gateway);
  plain.sendText('40');
  assert.match(await plain.nextText(), /^40\{"sid":"[^"]{20}"\}$/);
  for (let n = 0; n < 20; n += 1) {
    const { sockets } = await gateway.publish('e', { broadcast: true, payload: n });
    assert.equal(sockets, 2);
  }
  for (let n = 0; n < 20; n += 1) {
    assert.equal(await plain.nextText(), `42["e",{"payload":${n}}]`);
    const { text, offset } = await knowing.event();
    assert.equal(text, `42["e",{"payload":${n}},"${offset}"]`);
  }
  plain.close();
  knowing.websocket.close();
});

test('each namespace of a connection says for itself', async () => {
  const websocket = await openKnowing(gateway);
  const main = await RawSocket.open(gateway, { websocket });
  assert.equal(typeof main.pid, 'string');
  websocket.sendText('40/shop,{"recovery":false}');
  assert.match(await websocket.nextText(), /^40\/shop,\{"sid":"[^"]{20}"\}$/);
  await gateway.publish('e', { broadcast: true, namespace: '/shop', payload: 1 });
  assert.equal(await websocket.nextText(), '42/shop,["e",{"payload":1}]');
  await gateway.publish('e', { broadcast: true, payload: 2 });
  const { text, offset } = await main.event();
  assert.equal(text, `42["e",{"payload":2},"${offset}"]`);
  websocket.close();
});

test('who does not want it is not recovered, whatever it claims', async () => {
  const socket = await RawSocket.open(gateway);
  socket.reset();
  const websocket = await openKnowing(gateway);
  websocket.sendText(`40${JSON.stringify({ ...socket.claim, recovery: false })}`);
  const answer = JSON.parse((await websocket.nextText()).slice(2));
  assert.deepEqual(Object.keys(answer), ['sid']);
  websocket.close();
});

test('the stock client has a pid over every transport, and none when it declines', async (t) => {
  for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
    const socket = client(t, gateway, { transports });
    await connectNow(socket);
    assert.equal(typeof socket._pid, 'string', transports);
    const declining = client(t, gateway, { transports, auth: { recovery: false } });
    await connectNow(declining);
    assert.equal(declining._pid, undefined, transports);
  }
});

test('python-socketio: a handler with one parameter keeps working', { timeout: 480_000 }, async (t) => {
  await runPythonTests(t, 'test_recovery.py', { GATEWAY_URL: gateway.url }, { atLeast: 4 });
});
