// The 25 cases every Engine.IO v4 server must pass, on the echo server at /engine.io/: the 16 that the
// Socket.IO suite has too, and those of messages, which come back as they went.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { sleep } from './harness/events.js';
import { Suite, answer, engineCases, refused } from './harness/suite.js';

const suite = new Suite('/engine.io/');

engineCases(suite, async (socket) => {
  socket.send('4hello');
  assert.equal(await socket.frame(), '4hello');
});

describe('message', () => {
  const echoes = [
    ['one text packet', '4hello'],
    ['several text packets', '4test1\x1e4test2\x1e4test3'],
    ['text and binary', '4hello\x1ebAQIDBA=='],
  ];
  for (const [name, payload] of echoes) {
    test(`message/polling ${name}`, async () => {
      const sid = await suite.openPolling();
      assert.deepEqual(await answer(suite.post(sid, payload)), [200, 'ok']);
      assert.deepEqual(await answer(suite.polling(sid)), [200, payload]);
    });
  }

  test('message/polling closes upon invalid packet format', async () => {
    const sid = await suite.openPolling();
    // Refused with 400 or cut off: the session being gone is what counts.
    await answer(suite.post(sid, 'abc')).catch(() => {});
    await refused(suite.polling(sid));
  });

  test('message/polling closes upon duplicate poll requests', async () => {
    const sid = await suite.openPolling();
    const first = answer(suite.polling(sid));
    await sleep(5);
    const [second] = await answer(suite.http(`EIO=4&transport=polling&sid=${sid}&t=burst`));
    assert.ok(second === 400 || second === 500, `the second poll got ${second}`);
    assert.deepEqual(await first, [200, '1']);
    await refused(suite.polling(sid));
  });

  test('message/polling closes upon cancelled polling request', async () => {
    const sid = await suite.openPolling();
    const cancel = new AbortController();
    const pending = suite.polling(sid, { signal: cancel.signal }).catch(() => {});
    await sleep(5);
    cancel.abort();
    await refused(suite.polling(sid));
    await pending;
  });

  test('message/WS text', async (t) => {
    const socket = await suite.openWebSocket(t);
    socket.send('4hello');
    assert.equal(await socket.frame(), '4hello');
  });

  test('message/WS binary', async (t) => {
    const socket = await suite.openWebSocket(t);
    socket.send(Buffer.from([1, 2, 3, 4]));
    assert.deepEqual(await socket.frame(), Buffer.from([1, 2, 3, 4]));
  });

  test('message/WS closes upon invalid packet format', async (t) => {
    const socket = await suite.openWebSocket(t);
    socket.send('abc');
    await socket.closed;
  });
});
