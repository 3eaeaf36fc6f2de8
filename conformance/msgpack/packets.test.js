// What is on the wire: one binary message for each packet, with exactly the keys it needs. And how
// the first packet of a connection decides which parser it speaks.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { better, endAll } from '../harness/gateway.js';
import { OPCODE, frameBytes } from '../harness/raw.js';
import { Polling, SID, openProbe, openSession } from '../harness/sessions.js';
import { JWT, open } from '../identity/entering.js';
import { KNOWING, OFFSET } from '../staying-up/returning.js';
import { RawSpeaker, TYPE, bytesOf, decode, encode, eventHex, hexOf, packetHex, startSpeaking, startSpeakingSuite } from './speaking.js';

let gateway;
let server;
before(async () => {
  [gateway, server] = await Promise.all([
    startSpeaking({ env: { IDAE_SOCKET_NAMESPACES: '/,/admin' } }),
    startSpeakingSuite(),
  ]);
});
after(() => endAll(gateway, server));

const CONNECT = packetHex('00', 'd40000');
const sidOf = ({ data }) => data.sid;

/** A packet on polling. */
const asText = (bytes) => `b${bytes.toString('base64')}`;
const fromText = (text) => {
  assert.match(text, /^b[A-Za-z0-9+/]+={0,2}$/);
  return decode(Buffer.from(text.slice(1), 'base64'));
};

describe('the packets of the gateway have no key that says nothing', () => {
  for (const nsp of ['/', '/admin']) {
    test(`in ${nsp}`, better, async () => {
      const speaks = await RawSpeaker.open(gateway);
      speaks.send({ type: TYPE.CONNECT, data: { recovery: false }, nsp });
      const connect = await speaks.next();
      assert.match(sidOf(connect), SID);
      assert.deepEqual(connect, { type: TYPE.CONNECT, data: { sid: sidOf(connect) }, nsp });

      speaks.send({ type: TYPE.EVENT, data: ['subscribe', 'r'], id: 0, nsp });
      assert.deepEqual(await speaks.next(), { type: TYPE.ACK, data: [{ status: 'ok', rooms: ['r'] }], id: 0, nsp });

      await gateway.publish('e', { rooms: 'r', namespace: nsp, payload: null });
      assert.deepEqual(await speaks.next(), { type: TYPE.EVENT, data: ['e', { payload: null, rooms: 'r' }], nsp });
      speaks.close();
    });
  }

  test('CONNECT and events of a client that knows recovery', better, async () => {
    const speaks = await RawSpeaker.open(gateway, { headers: KNOWING });
    const reply = await speaks.join();
    assert.deepEqual(Object.keys(reply).sort(), ['pid', 'sid']);
    assert.equal(typeof reply.pid, 'string');
    await gateway.publish('e', { users: reply.sid, payload: 1 });
    const { data, ...packet } = await speaks.next();
    assert.deepEqual(packet, { type: TYPE.EVENT, nsp: '/' });
    assert.deepEqual(data.slice(0, 2), ['e', { payload: 1 }]);
    assert.match(data[2], OFFSET);
    assert.equal(data.length, 3);
    speaks.close();
  });

  test('CONNECT_ERROR', better, async (t) => {
    const speaks = await RawSpeaker.open(gateway);
    for (const nsp of ['/nope', '/é', '/a b', '/admin/']) {
      speaks.send({ type: TYPE.CONNECT, nsp });
      assert.deepEqual(await speaks.next(), { type: TYPE.CONNECT_ERROR, data: { message: 'Invalid namespace' }, nsp });
    }
    await speaks.join();
    speaks.close();

    const checked = await open(t, { auth: JWT });
    const refused = await RawSpeaker.open(checked);
    refused.send({ type: TYPE.CONNECT, data: {}, nsp: '/' });
    const { data, ...packet } = await refused.next();
    assert.deepEqual(packet, { type: TYPE.CONNECT_ERROR, nsp: '/' });
    assert.match(data.message, /^Unauthorized: ./);
    assert.deepEqual(data, { message: data.message, data: { code: 'token_missing' } });
    refused.close();
  });

  test('DISCONNECT', async () => {
    const speaks = await RawSpeaker.joined(server, { suite: true });
    speaks.send({ type: TYPE.EVENT, data: ['leave'], nsp: '/' });
    assert.deepEqual(await speaks.next(), { type: TYPE.DISCONNECT, nsp: '/' });
    speaks.close();
  });

  test('ACK without arguments', async () => {
    const speaks = await RawSpeaker.joined(server, { suite: true });
    assert.deepEqual(await speaks.ask(7, 'message-with-ack'), []);
    speaks.close();
  });
});

describe('ids of acknowledgements', () => {
  for (const id of [0, 1, 127, 128, 255, 256, 65535, 65536, 2 ** 31, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
    test(`${id}`, async () => {
      const speaks = await RawSpeaker.joined(server, { suite: true });
      assert.deepEqual(await speaks.ask(id, 'message-with-ack', id), [id]);
      speaks.close();
    });
  }
});

describe('polling', () => {
  test('each packet is base64', async () => {
    const session = await Polling.open(server);
    await session.send(asText(bytesOf(CONNECT)));
    const [connect, auth] = (await session.packets(2)).map(fromText);
    assert.match(sidOf(connect), SID);
    assert.deepEqual(auth, { type: TYPE.EVENT, data: ['auth', {}], nsp: '/' });
    // Two packets in one body, padded and not.
    const ask = (id, text) => asText(encode({ type: TYPE.EVENT, data: ['message-with-ack', text], id, nsp: '/' })).replace(/=+$/, '');
    await session.send(`${ask(0, 'a')}\x1e${ask(1, 'ab')}\x1e${ask(2, 'abc')}`);
    assert.deepEqual((await session.packets(3)).map(fromText), [
      { type: TYPE.ACK, data: ['a'], id: 0, nsp: '/' },
      { type: TYPE.ACK, data: ['ab'], id: 1, nsp: '/' },
      { type: TYPE.ACK, data: ['abc'], id: 2, nsp: '/' },
    ]);
    await session.send('1');
  });

  test('after the upgrade it is binary', async () => {
    const session = await Polling.open(server);
    await session.send(asText(bytesOf(CONNECT)));
    await session.packets(2);
    const websocket = await openProbe(session, { answerPings: true });
    websocket.sendText('2probe');
    assert.equal(await websocket.nextText(), '3probe');
    assert.equal((await session.poll()).text, '6');
    websocket.sendText('5');
    assert.deepEqual(await new RawSpeaker(websocket).ask(1, 'message-with-ack', 'é'), ['é']);
    websocket.close();
  });
});

describe('the first packet decides', () => {
  const json = { connect: '40', ask: '421["message-with-ack",1]', answer: '431[1]' };

  test('two connections at the same time, one of each', better, async () => {
    const [text, binary] = [await openSession(server), await openSession(server)];
    const speaks = new RawSpeaker(binary);
    text.sendText(json.connect);
    binary.sendBinary(bytesOf(CONNECT));
    assert.match(await text.nextText(), /^40\{"sid"/);
    assert.equal(await text.nextText(), '42["auth",{}]');
    assert.match(sidOf(await speaks.next()), SID);
    assert.deepEqual((await speaks.next()).data, ['auth', {}]);
    text.sendText(json.ask);
    assert.deepEqual(await speaks.ask(1, 'message-with-ack', 1), [1]);
    assert.equal(await text.nextText(), json.answer);
    for (const websocket of [text, binary]) websocket.close();
  });

  test('a refused namespace decides as well', better, async () => {
    const text = await openSession(server);
    text.sendText('40/nope,');
    assert.match(await text.nextText(), /^44\/nope,/);
    text.sendBinary(bytesOf(CONNECT));
    assert.deepEqual((await text.closed()).unread, []);

    const speaks = await RawSpeaker.open(server);
    speaks.send({ type: TYPE.CONNECT, nsp: '/nope' });
    assert.equal((await speaks.next()).type, TYPE.CONNECT_ERROR);
    speaks.websocket.sendText('40');
    await speaks.closedUnanswered();
  });

  test('text on a connection that speaks msgpack closes it', async () => {
    for (const text of ['40/custom,', '42["message",1]', '41', '4', '4x']) {
      const speaks = await RawSpeaker.joined(server, { suite: true });
      speaks.websocket.sendText(text);
      await speaks.closedUnanswered();
    }
  });

  test('msgpack on a connection that speaks JSON closes it', better, async () => {
    for (const hex of [CONNECT, eventHex('message', '01')]) {
      const websocket = await openSession(server);
      websocket.sendText(json.connect);
      assert.match(await websocket.nextText(), /^40/);
      assert.match(await websocket.nextText(), /^42\["auth"/);
      websocket.sendBinary(bytesOf(hex));
      assert.deepEqual((await websocket.closed()).unread, []);
    }
  });

  test('an attachment that was announced is no msgpack', better, async () => {
    const websocket = await openSession(server);
    websocket.sendText(json.connect);
    await websocket.nextText();
    await websocket.nextText();
    websocket.sendText('451-["message",{"_placeholder":true,"num":0}]');
    websocket.sendBinary(bytesOf(eventHex('message', '01')));
    assert.equal(await websocket.nextText(), '451-["message-back",{"_placeholder":true,"num":0}]');
    assert.deepEqual(await websocket.nextBinary(), bytesOf(eventHex('message', '01')));
    websocket.close();
  });

  test('heartbeats and closing stay text', async () => {
    const speaks = await RawSpeaker.joined(server, { suite: true, answerPings: false });
    assert.equal(await speaks.websocket.nextText(), '2');
    speaks.websocket.sendText('3');
    assert.deepEqual(await speaks.ask(1, 'message-with-ack', 1), [1]);
    speaks.close();
  });

  test('base64 in a text frame is a binary message', async () => {
    const speaks = await RawSpeaker.open(server);
    speaks.websocket.sendText(asText(bytesOf(CONNECT)));
    assert.match(sidOf(await speaks.next()), SID);
    speaks.close();
  });

  // The reference closes.
  test('an event right behind CONNECT is kept until it is answered', better, async () => {
    const speaks = await RawSpeaker.open(server);
    const packets = [CONNECT, packetHex('02', `92${hexOf('message-with-ack')}a3616263`, { id: '05' })];
    const frames = packets.map((hex) => frameBytes({ opcode: OPCODE.binary, payload: bytesOf(hex) }));
    speaks.websocket.connection.write(Buffer.concat(frames));
    assert.match(sidOf(await speaks.next()), SID);
    assert.deepEqual((await speaks.next()).data, ['auth', {}]);
    assert.deepEqual(await speaks.answer(5), ['abc']);
    speaks.close();
  });

  test('a binary message may come in fragments', async () => {
    const speaks = await RawSpeaker.joined(server, { suite: true });
    const bytes = bytesOf(packetHex('02', `92${hexOf('message-with-ack')}a3616263`, { id: '05' }));
    speaks.websocket.sendFrame({ opcode: OPCODE.binary, payload: bytes.subarray(0, 10), fin: false });
    for (const byte of bytes.subarray(10)) {
      speaks.websocket.sendFrame({ opcode: OPCODE.continuation, payload: Buffer.from([byte]), fin: false });
    }
    speaks.websocket.sendFrame({ opcode: OPCODE.continuation });
    assert.deepEqual(await speaks.answer(5), ['abc']);
    speaks.close();
  });
});
