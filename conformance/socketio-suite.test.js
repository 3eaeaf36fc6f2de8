// The 32 cases every Socket.IO v5 server must pass, on the suite server at /socket.io/: 16 of
// Engine.IO on this path, then the protocol itself.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Suite, engineCases } from './harness/suite.js';

const suite = new Suite('/socket.io/');

/** Joined to `/`, with the two frames that come with it read. */
async function joined(t) {
  const socket = await suite.openWebSocket(t);
  socket.send('40');
  assert.match(await socket.frame(), /^40\{/);
  assert.equal(await socket.frame(), '42["auth",{}]');
  return socket;
}

engineCases(suite, async (socket) => {
  socket.send('40');
  assert.match(await socket.frame(), /^40\{/);
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
      const socket = await suite.openWebSocket(t);
      socket.send(packet);
      checkSid(await socket.frame(), start);
      assert.equal(await socket.frame(), event);
    });
  }

  test('disallow connection to an unknown namespace', async (t) => {
    const socket = await suite.openWebSocket(t);
    socket.send('40/random');
    assert.equal(await socket.frame(), '44/random,{"message":"Invalid namespace"}');
  });

  test('disallow connection with an invalid handshake', async (t) => {
    const socket = await suite.openWebSocket(t);
    socket.send('4abc');
    await socket.closed;
  });

  test('close the connection if no handshake is received', async (t) => {
    const socket = await suite.openWebSocket(t);
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
