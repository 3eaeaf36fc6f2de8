// Connection state recovery for clients that speak msgpack: who was away gets what it missed, in
// order and unchanged, before it is connected again.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { eventually } from '../harness/events.js';
import { faultProxy } from '../harness/faults.js';
import { better } from '../harness/gateway.js';
import { metricsShow } from '../harness/metrics.js';
import { SID, subscribe } from '../harness/sessions.js';
import { Diary, KNOWING, RETURNING_CALMLY, RawSocket, open, transportOf } from '../staying-up/returning.js';
import { MSGPACK, PARSERS, RawSpeaker, SPOKEN, TRANSPORTS, TYPE } from './speaking.js';
import { LARGE, VALUES } from './values.js';

/** Each test has a gateway of its own, and spends its time waiting. */
const together = { concurrency: 4 };

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** Publishes `e` with these payloads, one after the other. */
async function publishAll(gateway, payloads, target = { rooms: 'r' }) {
  for (const payload of payloads) await gateway.publish('e', { ...target, payload });
}

const hasHeard = (diary, count) => eventually(() => diary.payloads.length === count, `${count} events`);

describe('the stock client', together, () => {
  for (const [name, transports] of Object.entries(TRANSPORTS)) {
    /** A gateway, a proxy before it, and a client with a diary that has settled on its transport. */
    async function start(t, { config, ...options } = {}) {
      const gateway = await open(t, { config, env: SPOKEN });
      const proxy = await faultProxy(t, gateway);
      const diary = await Diary.open(t, proxy, { ...MSGPACK, transports, ...options });
      await eventually(() => transportOf(diary.socket) === transports.at(-1), 'the upgrade');
      await subscribe(diary.socket, 'r');
      return { gateway, proxy, diary, socket: diary.socket };
    }

    // Between two polls the reference may not have noticed the loss: a fresh session.
    const noticed = name === 'polling' ? better : {};

    test(`over ${name} gets what it missed, before connect; same id, same rooms`, noticed, async (t) => {
      const { gateway, proxy, diary, socket } = await start(t);
      const { id } = socket;
      assert.equal(socket.recovered, false);
      await publishAll(gateway, [1]);
      await hasHeard(diary, 1);
      const since = await diary.away(proxy, 'reset', async () => {
        await publishAll(gateway, [2]);
        await publishAll(gateway, [3], { users: id });
        await publishAll(gateway, [4], { broadcast: true });
        await publishAll(gateway, ['a stranger'], { rooms: 'not mine' });
        await publishAll(gateway, [5]);
      });
      assert.deepEqual(since, [['e', 2], ['e', 3], ['e', 4], ['e', 5], ['connect', true]]);
      assert.equal(socket.recovered, true);
      assert.equal(socket.id, id);
      await publishAll(gateway, [6]);
      await hasHeard(diary, 6);
      assert.deepEqual(diary.payloads, range(1, 6));
    });

    test(`over ${name} is recovered though nothing was missed, and though nothing had come`, better, async (t) => {
      const { gateway, proxy, diary } = await start(t, RETURNING_CALMLY);
      assert.deepEqual(await diary.away(proxy, 'reset'), [['connect', true]]);
      await publishAll(gateway, [1]);
      await hasHeard(diary, 1);
      await eventually(() => transportOf(diary.socket) === transports.at(-1), 'the upgrade');
      assert.deepEqual(await diary.away(proxy, 'finish'), [['connect', true]]);
      await publishAll(gateway, [2]);
      await hasHeard(diary, 2);
    });

    test(`over ${name} again and again`, noticed, async (t) => {
      const { gateway, proxy, diary } = await start(t, RETURNING_CALMLY);
      await publishAll(gateway, [1]);
      await hasHeard(diary, 1);
      for (let round = 0; round < 3; round += 1) {
        const first = 2 + 3 * round;
        await eventually(() => transportOf(diary.socket) === transports.at(-1), 'the upgrade');
        const since = await diary.away(proxy, 'reset', () => publishAll(gateway, [first, first + 1]));
        assert.deepEqual(since, [['e', first], ['e', first + 1], ['connect', true]]);
        await publishAll(gateway, [first + 2]);
        await hasHeard(diary, first + 2);
      }
      assert.deepEqual(diary.payloads, range(1, 10));
    });

    test(`over ${name} gets every kind of value unchanged`, better, async (t) => {
      const config = '[publish]\nbody_bytes_max = 4194304\n[recovery]\nreplay_bytes_max = 33554432\n[socket]\noutbox_bytes_max = 33554432\n';
      const { gateway, proxy, diary } = await start(t, { config });
      const values = Object.values({ ...VALUES, ...LARGE });
      const since = await diary.away(proxy, 'reset', async () => {
        for (const json of values) {
          const reply = await gateway.post('/e', `{"rooms":"r","payload":${json}}`);
          assert.equal(reply.status, 200, reply.text);
        }
      });
      assert.deepEqual(since.pop(), ['connect', true]);
      // The diary takes an event whose payload is null for one without an envelope.
      const expected = values.map((json) => JSON.parse(json) ?? { payload: null, rooms: 'r' });
      assert.deepEqual(since.map(([, payload]) => payload), expected);
    });
  }

  test('away for too long: an honest fresh session', better, async (t) => {
    const gateway = await open(t, { windowS: 1 });
    const proxy = await faultProxy(t, gateway);
    const diary = await Diary.open(t, proxy, { ...MSGPACK, transports: ['websocket'] });
    await subscribe(diary.socket, 'r');
    const { id } = diary.socket;
    const since = await diary.away(proxy, 'reset', async () => {
      await publishAll(gateway, [1]);
      await metricsShow(gateway, (now) => now.recoverable === 0 && now.sockets === 0, 'the session to be forgotten');
    });
    assert.deepEqual(since, [['connect', false]]);
    assert.notEqual(diary.socket.id, id);
    assert.equal((await gateway.publish('e', { rooms: 'r', payload: 2 })).sockets, 0);
  });

  test('clients of both parsers that are away together miss the same', better, async (t) => {
    const gateway = await open(t);
    const proxies = [];
    const diaries = [];
    for (const parser of Object.values(PARSERS)) {
      const proxy = await faultProxy(t, gateway);
      const diary = await Diary.open(t, proxy, { ...parser, transports: ['websocket'] });
      await subscribe(diary.socket, 'r');
      proxies.push(proxy);
      diaries.push(diary);
    }
    // Both are away before anything is published.
    let waiting = 0;
    let go;
    const all = new Promise((resolve) => (go = resolve));
    const meanwhile = async () => {
      waiting += 1;
      if (waiting === diaries.length) go(publishAll(gateway, range(1, 50).map((n) => ({ n, text: 'é'.repeat(n) }))));
      await all;
    };
    const lists = await Promise.all(diaries.map((diary, i) => diary.away(proxies[i], 'reset', meanwhile)));
    assert.equal(lists[0].length, 51);
    assert.deepEqual(lists[1], lists[0]);
    assert.deepEqual(lists[0].at(-1), ['connect', true]);
  });
});

describe('raw', better, () => {
  /** Joins over msgpack with this auth and returns `{sid, pid, missed}`. */
  async function returns(gateway, data) {
    const speaks = await RawSpeaker.open(gateway, { headers: KNOWING });
    speaks.send({ type: TYPE.CONNECT, data, nsp: '/' });
    const missed = [];
    for (;;) {
      const packet = await speaks.next();
      if (packet.type === TYPE.CONNECT) return { ...packet.data, missed, speaks };
      assert.equal(packet.type, TYPE.EVENT);
      missed.push(packet.data);
    }
  }

  // Who comes back may have changed its parser with a new version of the page.
  test('whoever comes back with the other parser is served in that one', async (t) => {
    const gateway = await open(t);
    const first = await returns(gateway, {});
    await gateway.publish('e', { users: first.sid, payload: 1 });
    const { data: [, , offset] } = await first.speaks.next();
    first.speaks.websocket.reset();
    await metricsShow(gateway, (now) => now.recoverable === 1 && now.sockets === 0, 'the session to wait');
    await gateway.publish('e', { users: first.sid, payload: 2 });

    const text = await RawSocket.open(gateway, { auth: { pid: first.pid, offset } });
    assert.deepEqual([text.sid, text.missedPayloads], [first.sid, [2]]);
    text.reset();
    await metricsShow(gateway, (now) => now.recoverable === 1 && now.sockets === 0, 'the session to wait');
    await gateway.publish('e', { users: first.sid, payload: 3 });

    const last = await returns(gateway, text.claim);
    assert.deepEqual([last.sid, last.missed.map(([, { payload }]) => payload)], [first.sid, [3]]);
    last.speaks.close();
  });

  test('claims that are none give a fresh session', async (t) => {
    const gateway = await open(t);
    const { sid, pid, speaks } = await returns(gateway, {});
    speaks.websocket.reset();
    await metricsShow(gateway, (now) => now.recoverable === 1 && now.sockets === 0, 'the session to wait');
    for (const claim of [{ pid: 1 }, { pid: [] }, { pid: `${pid}x` }, { pid: sid }, { pid: null }, { pid, offset: 7 }, { pid, offset: 'nonsense' }]) {
      const fresh = await returns(gateway, claim);
      assert.match(fresh.sid, SID);
      assert.notEqual(fresh.sid, sid, JSON.stringify(claim));
      assert.deepEqual(fresh.missed, []);
      fresh.speaks.close();
    }
  });
});
