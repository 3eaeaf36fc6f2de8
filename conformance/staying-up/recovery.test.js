// Connection state recovery as a stock client sees it: who was away gets what it missed, in order,
// before it is connected again. And what is not brought back, and to whom not.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Manager } from 'socket.io-client';
import { eventually, next, sleep } from '../harness/events.js';
import { faultProxy } from '../harness/faults.js';
import { better } from '../harness/gateway.js';
import { metrics, metricsShow } from '../harness/metrics.js';
import { SID, ask, client, connectNow, subscribe } from '../harness/sessions.js';
import { slowUpgradeProxy } from '../harness/proxy.js';
import {
  Diary,
  JWT_CONFIG,
  OFFSET,
  RETURNING,
  RETURNING_CALMLY,
  RawSocket,
  claimOverPolling,
  open,
  openKnowing,
  payloadOf,
  token,
  transportOf,
} from './returning.js';

const TRANSPORTS = { websocket: ['websocket'], polling: ['polling'], upgrade: ['polling', 'websocket'] };

/** Publishes `e` with these payloads, one after the other. */
async function publishAll(gateway, target, payloads) {
  for (const payload of payloads) await gateway.publish('e', { ...target, payload });
}

/** Each test has a gateway of its own, and spends its time waiting. */
const together = { concurrency: 4 };

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** Two claims of one pid that is connected must not be nearer than 300 ms; a client waits longer before it is back. */
const betweenClaims = () => sleep(400);

/** Waits until nobody is connected any more and `count` sessions wait for their clients. */
const parked = (gateway, count = 1) =>
  metricsShow(gateway, (now) => now.recoverable === count && now.sockets === 0, `${count} sessions to wait for their clients`);

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  describe(`the stock client over ${name}`, together, () => {
    /** A gateway, a proxy before it, and a client with a diary that has settled on its transport. */
    async function start(t, { windowS, config, rooms = 'r', ...options } = {}) {
      const gateway = await open(t, { windowS, config });
      const proxy = await faultProxy(t, gateway);
      const diary = await Diary.open(t, proxy, { transports, ...options });
      const settled = transports.at(-1);
      await eventually(() => transportOf(diary.socket) === settled, `the transport ${settled}`);
      if (rooms) await subscribe(diary.socket, rooms);
      return { gateway, proxy, diary, socket: diary.socket };
    }

    test('what was missed comes in order, before connect; same id, rooms as before', async (t) => {
      const { gateway, proxy, diary, socket } = await start(t, { rooms: ['r', 'other'] });
      const { id } = socket;
      assert.equal(socket.recovered, false);
      await publishAll(gateway, { rooms: 'r' }, [1]);
      await eventually(() => diary.payloads.length === 1, 'the first event');
      const since = await diary.away(proxy, 'reset', async () => {
        await publishAll(gateway, { rooms: 'r' }, [2]);
        await publishAll(gateway, { users: id }, [3]);
        await publishAll(gateway, { broadcast: true }, [4]);
        await publishAll(gateway, { rooms: 'not mine' }, ['a stranger']);
        await publishAll(gateway, { rooms: ['r', 'other'] }, [5]);
      });
      assert.deepEqual(since, [['e', 2], ['e', 3], ['e', 4], ['e', 5], ['connect', true]]);
      assert.equal(socket.id, id);

      // The rooms are there without having been asked for.
      for (const [payload, target] of [[6, { rooms: 'r' }], [7, { rooms: 'other' }], [8, { users: id }]]) {
        assert.equal((await gateway.publish('e', { ...target, payload })).sockets, 1);
      }
      await eventually(() => diary.payloads.length >= 8, 'the events after it');
      assert.deepEqual(diary.payloads, range(1, 8));
      const now = await metrics(gateway);
      assert.deepEqual([now.recoveries('recovered'), now.recoverable, now.sockets], [1, 0, 1]);
    });

    test('nothing was missed: recovered all the same', async (t) => {
      const { gateway, proxy, diary } = await start(t);
      await publishAll(gateway, { rooms: 'r' }, [1]);
      await eventually(() => diary.payloads.length === 1, 'the event');
      assert.deepEqual(await diary.away(proxy, 'reset'), [['connect', true]]);
    });

    test('no event had come yet', better, async (t) => {
      const { gateway, proxy, diary, socket } = await start(t);
      const { id } = socket;
      const since = await diary.away(proxy, 'reset', () => publishAll(gateway, { rooms: 'r' }, [1, 2, 3]));
      assert.deepEqual(since, [['e', 1], ['e', 2], ['e', 3], ['connect', true]]);
      assert.equal(socket.id, id);
    });

    test('again and again', async (t) => {
      const { gateway, proxy, diary, socket } = await start(t, RETURNING_CALMLY);
      const { id } = socket;
      await publishAll(gateway, { rooms: 'r' }, [1]);
      await eventually(() => diary.payloads.length === 1, 'the first event');
      for (let round = 0; round < 4; round += 1) {
        const first = 2 + 4 * round;
        // A stock client whose upgrade fails in its last moment stays where it is until its heartbeat fails.
        await eventually(() => transportOf(socket) === transports.at(-1), 'the upgrade');
        const since = await diary.away(proxy, ['reset', 'finish'][round % 2], () =>
          publishAll(gateway, { rooms: 'r' }, [first, first + 1]),
        );
        assert.deepEqual(since.slice(-2), [['e', first + 1], ['connect', true]]);
        await publishAll(gateway, { rooms: 'r' }, [first + 2, first + 3]);
        // In some rounds the client is lost before it has read this.
        if (round % 2) await eventually(() => diary.payloads.length === first + 3, 'the live events');
      }
      await eventually(() => diary.payloads.length === 17, 'all events');
      assert.deepEqual(diary.payloads, range(1, 17));
      assert.equal(socket.id, id);
    });

    test('thousands were missed', async (t) => {
      const { gateway, proxy, diary, socket } = await start(t);
      await publishAll(gateway, { rooms: 'r' }, [0]);
      await eventually(() => diary.payloads.length === 1, 'the first event');
      const since = await diary.away(proxy, 'reset', async () => {
        for (const batch of [0, 1, 2]) {
          const items = range(1, 1000).map((n) => ({ event: 'e', rooms: 'r', payload: 1000 * batch + n }));
          const reply = await gateway.post('/v1/events', items);
          assert.equal(reply.status, 200);
        }
      });
      assert.deepEqual(since.slice(-1), [['connect', true]]);
      assert.deepEqual(since.slice(0, -1).map(([, payload]) => payload), range(1, 3000));
      await publishAll(gateway, { rooms: 'r' }, [3001]);
      await eventually(() => diary.payloads.length === 3002, 'a live event');
      assert.equal(socket.connected, true);
    });

    test('more was missed than an outbox holds', better, async (t) => {
      const { gateway, proxy, diary } = await start(t, {
        config: '[socket]\noutbox_bytes_max = 65536\n[publish]\nbody_bytes_max = 32768\n',
      });
      await publishAll(gateway, { rooms: 'r' }, ['first']);
      await eventually(() => diary.payloads.length === 1, 'the first event');
      const big = range(1, 100).map((n) => `${n} ${'x'.repeat(20_000)}`);
      const since = await diary.away(proxy, 'reset', () => publishAll(gateway, { rooms: 'r' }, big));
      assert.deepEqual(since.map(([name]) => name), [...big.map(() => 'e'), 'connect']);
      assert.deepEqual(since.slice(0, -1).map(([, payload]) => payload), big);
      assert.equal(since.at(-1)[1], true);
      assert.deepEqual(diary.entries.filter(([name]) => name === 'connect'), [['connect', false], ['connect', true]]);
    });

    test('more was missed than a replay may have: an honest fresh session', better, async (t) => {
      const { gateway, proxy, diary } = await start(t, { config: '[recovery]\nreplay_bytes_max = 20000\n' });
      await publishAll(gateway, { rooms: 'r' }, ['first']);
      await eventually(() => diary.payloads.length === 1, 'the first event');
      const text = 'x'.repeat(1000);
      const publish = () => publishAll(gateway, { rooms: 'r' }, range(1, 30).map((n) => `${n} ${text}`));
      assert.deepEqual(await diary.away(proxy, 'reset', publish), [['connect', false]]);
      await publishAll(gateway, { broadcast: true }, ['live']);
      await eventually(() => diary.payloads.includes('live'), 'a live event');
      assert.deepEqual(diary.payloads, ['first', 'live']);
    });

    test('volatile events and answers are not brought back', async (t) => {
      const { gateway, proxy, diary, socket } = await start(t);
      await publishAll(gateway, { rooms: 'r' }, [1]);
      await eventually(() => diary.payloads.length === 1, 'the first event');
      // The question goes through, its answer is lost.
      let answers = 0;
      proxy.onLink = (link) => link.blackHole('down');
      for (const link of proxy.links) link.blackHole('down');
      socket.emit('subscribe', 'late', () => (answers += 1));
      await metricsShow(gateway, (now) => now.rooms === 2, 'the second room');
      proxy.onLink = () => {};
      const since = await diary.away(proxy, 'reset', async () => {
        await publishAll(gateway, { rooms: 'r', volatile: true }, ['volatile']);
        await publishAll(gateway, { rooms: 'r' }, [2]);
        await publishAll(gateway, { rooms: 'late', volatile: true }, ['volatile']);
        await publishAll(gateway, { rooms: 'late' }, [3]);
      });
      assert.deepEqual(since, [['e', 2], ['e', 3], ['connect', true]]);
      assert.deepEqual(await ask(socket, 'hello'), { status: 'OK' });
      assert.equal(answers, 0, 'an answer of the time before');
    });

    test('a string as the last argument, a volatile event, and then the loss', async (t) => {
      const { gateway, proxy, diary } = await start(t, RETURNING_CALMLY);
      const publish = async (payload, more = {}) => {
        const reply = await gateway.post('/e?deliver=payload', { rooms: 'r', payload, ...more });
        assert.equal(reply.status, 200, reply.text);
      };
      const heardAll = (count) => eventually(() => diary.payloads.length === count, `${count} events`);
      await publish('looks like an of');
      await heardAll(1);
      assert.deepEqual(await diary.away(proxy, 'reset', () => publish('2')), [['e', '2'], ['connect', true]]);
      // Over polling a volatile event waits for nobody: only what somebody polls for arrives.
      await eventually(async () => {
        await publish('volatile', { volatile: true });
        return diary.payloads.includes('volatile');
      }, 'a volatile event');
      assert.equal(typeof diary.socket._lastOffset, 'string');
      const since = await diary.away(proxy, 'reset', () => publish('4'));
      assert.deepEqual(since, [['e', '4'], ['connect', true]]);
    });

    test('the client is back before its loss was noticed', better, async (t) => {
      const { gateway, proxy, diary, socket } = await start(t);
      const { id } = socket;
      await publishAll(gateway, { rooms: 'r' }, [1]);
      await eventually(() => diary.payloads.length === 1, 'the first event');
      const old = [...proxy.links];
      const since = await diary.away(
        proxy,
        async () => {
          // What is sent now goes nowhere, and the gateway hears of nothing.
          proxy.each('blackHole');
          proxy.onLink = (link) => link.blackHole();
          await publishAll(gateway, { rooms: 'r' }, [2, 3]);
          proxy.onLink = () => {};
          proxy.each('vanish');
          // A poll that is not open just now cannot be cut off; the next one is refused then.
          if (transportOf(socket) === 'websocket') assert.equal((await metrics(gateway)).sockets, 1);
        },
        () => publishAll(gateway, { rooms: 'r' }, [4]),
      );
      assert.deepEqual(since, [['e', 2], ['e', 3], ['e', 4], ['connect', true]]);
      assert.equal(socket.id, id);
      assert.equal((await gateway.publish('e', { rooms: 'r', payload: 5 })).sockets, 1);
      await eventually(() => diary.payloads.length >= 5, 'the live event');
      assert.deepEqual(diary.payloads, range(1, 5));
      await metricsShow(gateway, (now) => now.connections === 1 && now.sockets === 1, 'the old connection to be closed');
      // Over polling a connection is only a way to the session, and may have others use it.
      if (transportOf(socket) === 'websocket') {
        for (const link of old) if (link.isWebSocket) await eventually(() => link.far.destroyed, 'the end of the old connection');
      }
    });

    test('a silent connection is found out by its heartbeat; the client comes back', async (t) => {
      const config = '[socket]\nping_interval_ms = 400\nping_timeout_ms = 400\n';
      const { gateway, proxy, diary } = await start(t, { config });
      await publishAll(gateway, { rooms: 'r' }, [1]);
      await eventually(() => diary.payloads.length === 1, 'the first event');
      const since = await diary.away(
        proxy,
        async () => {
          proxy.each('blackHole');
          proxy.onLink = (link) => link.blackHole();
          await publishAll(gateway, { rooms: 'r' }, [2]);
        },
        async () => {
          proxy.onLink = () => {};
          await parked(gateway);
          await publishAll(gateway, { rooms: 'r' }, [3]);
        },
      );
      assert.deepEqual(since, [['e', 2], ['e', 3], ['connect', true]]);
    });

    test('away for too long: an honest fresh session', async (t) => {
      // Between two polls only a heartbeat finds the loss.
      const config = '[socket]\nping_interval_ms = 300\nping_timeout_ms = 300\n';
      const { gateway, proxy, diary, socket } = await start(t, { windowS: 1, config });
      const { id } = socket;
      await publishAll(gateway, { rooms: 'r' }, [1]);
      await eventually(() => diary.payloads.length === 1, 'the first event');
      const since = await diary.away(proxy, 'reset', async () => {
        await publishAll(gateway, { rooms: 'r' }, [2]);
        await sleep(1000);
        await metricsShow(gateway, (now) => now.recoverable === 0 && now.sockets === 0, 'the session to be forgotten');
      });
      assert.deepEqual(since, [['connect', false]]);
      assert.notEqual(socket.id, id);
      // And no rooms: whoever is told that it is fresh joins them again.
      assert.equal((await gateway.publish('e', { rooms: 'r', payload: 3 })).sockets, 0);
      await subscribe(socket, 'r');
      await publishAll(gateway, { rooms: 'r' }, [4]);
      await eventually(() => diary.payloads.length >= 2, 'the live event');
      assert.deepEqual(diary.payloads, [1, 4]);
    });

    test('the client leaves the namespace: no recovery', async (t) => {
      const { gateway, diary, socket } = await start(t);
      const { id } = socket;
      await publishAll(gateway, { rooms: 'r' }, [1]);
      await eventually(() => diary.payloads.length === 1, 'the first event');
      socket.disconnect();
      await metricsShow(gateway, (now) => now.sockets === 0, 'the socket to be gone');
      await publishAll(gateway, { rooms: 'r' }, [2]);
      await connectNow(socket);
      assert.equal(socket.recovered, false);
      assert.notEqual(socket.id, id);
      await publishAll(gateway, { broadcast: true }, [3]);
      await eventually(() => diary.payloads.length >= 2, 'the live event');
      assert.deepEqual(diary.payloads, [1, 3]);
    });

    // The client keeps what was replayed until CONNECT comes, and over a loss too: whoever replays
    // the same once more makes it hear that twice.
    test('a replay that is cut off before CONNECT is heard once', better, async (t) => {
      const { gateway, proxy, diary, socket } = await start(t, RETURNING_CALMLY);
      const { id } = socket;
      await publishAll(gateway, { rooms: 'r' }, [1]);
      await eventually(() => diary.payloads.length === 1, 'the first event');
      let cuts = 0;
      const gone = next(socket, 'disconnect', 10_000);
      proxy.refusing = true;
      proxy.each('reset');
      await gone;
      // Each event in a segment of its own, so that a part of them can arrive.
      const big = (n) => `${n} ${'x'.repeat(100_000)}`;
      await publishAll(gateway, { rooms: 'r' }, range(2, 9).map(big));
      const parts = [];
      proxy.onLink = (link) => {
        let seen = 0;
        let text = '';
        link.watchDown((chunk) => {
          if (cuts >= 2) return undefined;
          text += chunk.toString('latin1');
          if (!text.includes('42["e"')) return undefined;
          seen += chunk.length;
          if (seen < 350_000) return undefined;
          cuts += 1;
          parts.push(socket.receiveBuffer.length);
          return chunk;
        });
      };
      const back = next(socket, 'connect', 15_000);
      proxy.refusing = false;
      await back;
      assert.ok(cuts >= 1, 'the replay was cut off');
      assert.equal(socket.recovered, true);
      await publishAll(gateway, { rooms: 'r' }, [10]);
      await eventually(() => diary.payloads.includes(10), 'the live event', 15_000);
      const numbers = diary.payloads.map((payload) => Number.parseInt(payload, 10));
      assert.deepEqual(numbers, range(1, 10), `${JSON.stringify(parts)} were in the client's buffer`);
      assert.equal(socket.id, id);
      assert.ok(diary.entries.every(([name, recovered], i) => name !== 'connect' || i === 0 || recovered));
    });
  });
}

describe('the stock client in the middle of an upgrade', together, () => {
  test('is brought everything once', async (t) => {
    const gateway = await open(t);
    const slow = await slowUpgradeProxy(t, gateway);
    const proxy = await faultProxy(t, slow);
    const diary = await Diary.open(t, proxy, { transports: TRANSPORTS.upgrade });
    await subscribe(diary.socket, 'r');
    await publishAll(gateway, { rooms: 'r' }, [0]);
    await eventually(() => diary.payloads.length === 1, 'the first event');
    assert.equal(transportOf(diary.socket), 'polling');
    const items = (from, to) => range(from, to).map((n) => ({ event: 'e', rooms: 'r', payload: n }));
    const since = await diary.away(proxy, 'reset', () => gateway.post('/v1/events', items(1, 500)));
    assert.deepEqual(since.map(([, payload]) => payload), [...range(1, 500), true]);
    // Now it upgrades, while events go on.
    const upgraded = next(diary.socket.io.engine, 'upgrade');
    slow.release();
    await gateway.post('/v1/events', items(501, 1000));
    await upgraded;
    await gateway.post('/v1/events', items(1001, 1100));
    await eventually(() => diary.payloads.length >= 1101, 'all events');
    assert.deepEqual(diary.payloads, range(0, 1100));
  });
});

describe('on the wire', together, () => {
  test('CONNECT has sid and pid, an event its offset at the end', async (t) => {
    const gateway = await open(t);
    const socket = await RawSocket.open(gateway);
    assert.deepEqual(Object.keys(socket.reply), ['sid', 'pid']);
    assert.match(socket.sid, SID);
    assert.equal(typeof socket.pid, 'string');
    assert.notEqual(socket.pid, socket.sid);
    await gateway.publish('e', { broadcast: true, payload: { a: [1, 'é'] } });
    const { text, offset } = await socket.event();
    assert.equal(text, `42["e",{"payload":{"a":[1,"é"]}},"${offset}"]`);
    await gateway.post('/e?deliver=payload', { broadcast: true, payload: 'text' });
    const bare = await socket.event();
    assert.equal(bare.text, `42["e","text","${bare.offset}"]`);
    assert.notEqual(bare.offset, offset);
  });

  test('what is replayed is what others heard, byte by byte', async (t) => {
    const gateway = await open(t);
    const stays = await RawSocket.open(gateway);
    const leaves = await RawSocket.open(gateway);
    leaves.reset();
    await metricsShow(gateway, (now) => now.recoverable === 1, 'the session to wait');
    await gateway.publish('e', { broadcast: true, payload: { z: 1, a: '\u2028\\', n: 1e21 }, sender: { name: 'x', token: 's' } });
    await gateway.post('/other:event?deliver=payload', { broadcast: true, payload: null });
    const heard = [await stays.event(), await stays.event()].map(({ text }) => text);
    const back = await leaves.comeBack(gateway);
    assert.deepEqual(back.missed.map(({ text }) => text), heard);
    assert.deepEqual([back.sid, back.pid], [leaves.sid, leaves.pid]);
    assert.doesNotMatch(heard[0], /token/);
  });

  test('everything behind the offset, and only that', async (t) => {
    const gateway = await open(t);
    const socket = await RawSocket.open(gateway);
    const offsets = [];
    await publishAll(gateway, { broadcast: true }, range(1, 5));
    for (let n = 1; n <= 5; n += 1) offsets.push((await socket.event()).offset);
    assert.equal(new Set(offsets).size, 5);
    let last = socket;
    for (const [at, expected] of [[2, [4, 5]], [0, [2, 3, 4, 5]], [4, []], [3, [5]]]) {
      last.reset();
      await parked(gateway);
      await betweenClaims();
      last = await RawSocket.open(gateway, { auth: { pid: socket.pid, offset: offsets[at] } });
      assert.deepEqual([last.sid, last.missedPayloads], [socket.sid, expected], `offset ${at}`);
    }
    // Without an offset: everything since the session began.
    last.reset();
    await parked(gateway);
    await betweenClaims();
    const all = await RawSocket.open(gateway, { auth: { pid: socket.pid } });
    assert.deepEqual([all.sid, all.missedPayloads], [socket.sid, range(1, 5)]);
  });

  test('nothing from before the session began', better, async (t) => {
    const gateway = await open(t);
    const first = await RawSocket.open(gateway);
    await publishAll(gateway, { broadcast: true }, ['old']);
    const { offset } = await first.event();
    const socket = await RawSocket.open(gateway);
    socket.reset();
    await metricsShow(gateway, (now) => now.recoverable === 1, 'the session to wait');
    await publishAll(gateway, { broadcast: true }, ['new']);
    assert.deepEqual((await socket.comeBack(gateway)).missedPayloads, ['new']);
    // The offset of an event that others heard before this session began.
    const other = await RawSocket.open(gateway);
    await publishAll(gateway, { broadcast: true }, ['newer']);
    other.reset();
    await metricsShow(gateway, (now) => now.recoverable === 1, 'the session to wait');
    const back = await RawSocket.open(gateway, { auth: { pid: other.pid, offset } });
    assert.ok(!back.missedPayloads.includes('new'), JSON.stringify(back.missedPayloads));
  });

  test('except, other rooms, rooms that were left', async (t) => {
    const gateway = await open(t);
    const socket = await RawSocket.open(gateway);
    await socket.subscribe(['r', 'x', 'left']);
    await socket.subscribe('left', 'unsubscribe');
    await publishAll(gateway, { rooms: 'r' }, ['first']);
    await socket.event();
    socket.reset();
    await parked(gateway);
    const cases = [
      [{ rooms: 'r' }, true],
      [{ rooms: 'r', except: 'x' }, false],
      [{ broadcast: true, except: 'x' }, false],
      [{ broadcast: true, except: socket.sid }, false],
      [{ broadcast: true, except: ['y', 'z'] }, true],
      [{ rooms: ['r', 'x'] }, true],
      [{ rooms: 'y' }, false],
      [{ rooms: 'left' }, false],
      [{ rooms: ['y', 'x'] }, true],
      [{ users: socket.sid }, true],
      [{ users: 'somebody' }, false],
      [{ rooms: socket.sid }, false],
      [{ broadcast: true, except: 'left' }, true],
    ];
    for (const [i, [target]] of cases.entries()) await gateway.publish('e', { ...target, payload: i });
    const back = await socket.comeBack(gateway);
    const expected = cases.flatMap(([, gets], i) => (gets ? [i] : []));
    assert.deepEqual(back.missedPayloads, expected);
    // The rooms are those of before, no more and no fewer.
    for (const [room, count] of [['r', 1], ['x', 1], ['left', 0], ['y', 0]]) {
      assert.equal((await gateway.publish('e', { rooms: room, payload: room })).sockets, count, room);
    }
    assert.deepEqual(await back.payloads(2), ['r', 'x']);
  });

  test('a room that was joined later than an event', better, async (t) => {
    const gateway = await open(t);
    const socket = await RawSocket.open(gateway);
    await publishAll(gateway, { broadcast: true }, ['start']);
    await socket.event();
    await publishAll(gateway, { rooms: 'late' }, ['before']);
    await socket.subscribe('late');
    await publishAll(gateway, { rooms: 'late' }, ['in']);
    await socket.event();
    await socket.subscribe('late', 'unsubscribe');
    await publishAll(gateway, { rooms: 'late' }, ['between']);
    await socket.subscribe('late');
    await publishAll(gateway, { rooms: 'late' }, ['again']);
    socket.reset();
    await parked(gateway);
    await publishAll(gateway, { rooms: 'late' }, ['after']);
    const back = await socket.comeBack(gateway);
    assert.deepEqual(back.missedPayloads, ['again', 'after']);
    // The same from the very beginning.
    back.reset();
    await parked(gateway);
    await betweenClaims();
    const all = await RawSocket.open(gateway, { auth: { pid: socket.pid } });
    assert.equal(all.sid, socket.sid);
    const missed = all.missedPayloads;
    for (const never of ['before', 'between']) assert.ok(!missed.includes(never), JSON.stringify(missed));
    assert.deepEqual(missed.filter((payload) => ['again', 'after'].includes(payload)), ['again', 'after']);
  });

  test('a volatile event has an offset, is not kept, and its offset is as good as any', better, async (t) => {
    const gateway = await open(t);
    const socket = await RawSocket.open(gateway);
    await publishAll(gateway, { broadcast: true }, [1]);
    await publishAll(gateway, { broadcast: true, volatile: true }, ['volatile']);
    await publishAll(gateway, { broadcast: true }, [2]);
    const [, volatile] = [await socket.event(), await socket.event(), await socket.event()];
    assert.equal(payloadOf(volatile), 'volatile');
    socket.reset();
    await parked(gateway);
    const back = await RawSocket.open(gateway, { auth: { pid: socket.pid, offset: volatile.offset } });
    assert.deepEqual([back.sid, back.missedPayloads], [socket.sid, [2]]);
    assert.equal((await metrics(gateway)).of('idae_socket_history_events'), 2);
  });

  test('a repeat of an event is not replayed', async (t) => {
    const gateway = await open(t);
    const socket = await RawSocket.open(gateway);
    socket.reset();
    await parked(gateway);
    for (let i = 0; i < 3; i += 1) await gateway.publish('e', { broadcast: true, payload: 1, id: 'the same' });
    assert.deepEqual((await socket.comeBack(gateway)).missedPayloads, [1]);
  });

  test('over polling: the missed events, then CONNECT, whatever their number', async (t) => {
    const gateway = await open(t);
    const { session, reply } = await claimOverPolling(gateway, {});
    await session.send('1');
    await parked(gateway);
    await publishAll(gateway, { broadcast: true }, range(1, 50));
    const back = await claimOverPolling(gateway, { pid: reply.pid });
    assert.deepEqual(back.reply, reply);
    assert.deepEqual(back.missed.map(payloadOf), range(1, 50));
  });

  test('a session goes from one transport to the other', async (t) => {
    const gateway = await open(t);
    const socket = await RawSocket.open(gateway);
    socket.reset();
    await parked(gateway);
    await publishAll(gateway, { broadcast: true }, [1]);
    const polling = await claimOverPolling(gateway, socket.claim);
    assert.equal(polling.reply.sid, socket.sid);
    assert.deepEqual(polling.missed.map(payloadOf), [1]);
    await publishAll(gateway, { broadcast: true }, [2]);
    await betweenClaims();
    // Not polled for: it was never heard, and the session is taken over alive.
    const back = await RawSocket.open(gateway, { auth: { pid: socket.pid, offset: polling.missed[0].offset } });
    assert.deepEqual([back.sid, back.missedPayloads], [socket.sid, [2]]);
    await polling.session.ends();
  });
});

describe('ways to be lost', together, () => {
  const ping = '[socket]\nping_interval_ms = 300\nping_timeout_ms = 300\n';
  const ways = {
    'a reset': ({ websocket }) => websocket.reset(),
    'an end of the connection': ({ websocket }) => websocket.connection.close(),
    'half an end': ({ websocket }) => websocket.connection.socket.end(),
    'a close frame': ({ websocket }) => websocket.close(),
    'the packet close': ({ websocket }) => websocket.sendText('1'),
    'a missing pong': ({ websocket }) => (websocket.answerPings = false),
    'a packet that is none': ({ websocket }) => websocket.sendText('4abc'),
    'a packet that is not allowed': ({ websocket }) => websocket.sendText('42/nowhere,["x"]'),
    'a frame that is none': ({ websocket }) => websocket.sendFrame({ rsv: 7, payload: 'x' }),
    'a message that is too large': ({ websocket }) => websocket.sendText(`42["x","${'x'.repeat(3000)}"]`),
  };
  for (const [name, lose] of Object.entries(ways)) {
    test(name, async (t) => {
      const config = name === 'a missing pong' ? ping : '[socket]\npayload_bytes_max = 2000\n';
      const gateway = await open(t, { config });
      const socket = await RawSocket.open(gateway);
      await socket.subscribe('r');
      await publishAll(gateway, { rooms: 'r' }, [1]);
      await socket.event();
      lose(socket);
      await parked(gateway);
      await publishAll(gateway, { rooms: 'r' }, [2]);
      const back = await socket.comeBack(gateway);
      assert.deepEqual([back.sid, back.pid, back.missedPayloads], [socket.sid, socket.pid, [2]]);
      await back.hearsNext(gateway, 3, { rooms: 'r' });
    });
  }

  test('leaving the namespace is none', async (t) => {
    const gateway = await open(t);
    const socket = await RawSocket.open(gateway);
    await publishAll(gateway, { broadcast: true }, [1]);
    await socket.event();
    socket.websocket.sendText('41');
    await metricsShow(gateway, (now) => now.sockets === 0, 'the socket to be gone');
    assert.equal((await metrics(gateway)).recoverable, 0);
    await publishAll(gateway, { broadcast: true }, [2]);
    // On the same connection, and on another.
    for (const websocket of [socket.websocket, undefined]) {
      const back = await RawSocket.open(gateway, { auth: socket.claim, websocket });
      assert.notEqual(back.sid, socket.sid);
      assert.notEqual(back.pid, socket.pid);
      assert.deepEqual(back.missed, []);
    }
  });

  test('being sent away is none: the token has ended', async (t) => {
    const gateway = await open(t, { config: JWT_CONFIG });
    const socket = await RawSocket.open(gateway, { auth: { token: token('ada', { seconds: 2 }) } });
    assert.match(await socket.websocket.nextText(), /^42\["token:expiring",/);
    await publishAll(gateway, { users: 'ada' }, [1]);
    await socket.event();
    for (;;) if ((await socket.websocket.nextText(6000)) === '41') break;
    const back = await RawSocket.open(gateway, { auth: { ...socket.claim, token: token('ada') } });
    assert.notEqual(back.sid, socket.sid);
    assert.notEqual(back.pid, socket.pid);
    assert.deepEqual(back.missed, []);
  });
});

describe('an honest fresh session', together, () => {
  const odd = {
    'an unknown pid': { pid: 'AAAAAAAAAAAAAAAAAAAA' },
    'an empty pid': { pid: '' },
    'a very long pid': { pid: 'p'.repeat(10_000) },
    'a pid that is a number': { pid: 5 },
    'a pid that is an object': { pid: { a: 1 } },
    'a pid that is null': { pid: null },
    'an offset that is no offset': { offset: 'not an offset' },
    'an empty offset': { offset: '' },
    'a very long offset': { offset: 'o'.repeat(10_000) },
    'an offset that is a number': { offset: 7 },
    'an offset that is an object': { offset: {} },
    'an offset with other letters': { offset: 'é😀\u0000"\\' },
    'a pid like a sid': ({ sid }) => ({ pid: sid }),
    'pid and offset exchanged': ({ pid, offset }) => ({ pid: offset, offset: pid }),
  };
  for (const [name, change] of Object.entries(odd)) {
    test(name, async (t) => {
      const gateway = await open(t);
      const socket = await RawSocket.open(gateway);
      await socket.subscribe('r');
      await publishAll(gateway, { rooms: 'r' }, [1]);
      await socket.event();
      socket.reset();
      await parked(gateway);
      await publishAll(gateway, { rooms: 'r' }, [2]);
      const auth = { ...socket.claim, ...(typeof change === 'function' ? change(socket) : change) };
      const fresh = await RawSocket.open(gateway, { auth });
      assert.deepEqual(fresh.missed, []);
      assert.match(fresh.sid, SID);
      assert.notEqual(fresh.sid, socket.sid);
      assert.equal(typeof fresh.pid, 'string');
      assert.notEqual(fresh.pid, socket.pid);
      assert.equal((await gateway.publish('e', { rooms: 'r', payload: 3 })).sockets, 0);
      await fresh.hearsNext(gateway, 'works');
    });
  }

  test('an offset that is ahead of its time', async (t) => {
    const gateway = await open(t);
    const socket = await RawSocket.open(gateway);
    await publishAll(gateway, { broadcast: true }, [1]);
    const { offset } = await socket.event();
    socket.reset();
    await parked(gateway);
    await publishAll(gateway, { broadcast: true }, [2]);
    // The position is behind a part that is this gateway's own; 9 stands far behind A.
    assert.match(offset, /A{3}.$/);
    const ahead = `${offset.slice(0, -4)}9999`;
    const fresh = await RawSocket.open(gateway, { auth: { pid: socket.pid, offset: ahead } });
    assert.notEqual(fresh.sid, socket.sid);
    assert.deepEqual(fresh.missed, []);
  });

  test('the history holds only so many bytes', async (t) => {
    const bytes = 20_000;
    const gateway = await open(t, { config: `[recovery]\nbytes_max = ${bytes}\n` });
    const long = await RawSocket.open(gateway);
    await publishAll(gateway, { broadcast: true }, ['first']);
    await long.event();
    long.reset();
    await parked(gateway);
    const text = 'x'.repeat(1000);
    await publishAll(gateway, { broadcast: true }, range(1, 100).map((n) => `${n} ${text}`));
    const short = await RawSocket.open(gateway);
    await publishAll(gateway, { broadcast: true }, ['still known']);
    await short.event();
    short.reset();
    await parked(gateway, 2);
    await publishAll(gateway, { broadcast: true }, ['missed']);
    const now = await metrics(gateway);
    assert.ok(now.of('idae_socket_history_bytes') <= bytes, `${now.of('idae_socket_history_bytes')} bytes`);
    assert.ok(now.of('idae_socket_history_events') < 20, `${now.of('idae_socket_history_events')} events`);
    assert.ok(now.of('idae_socket_history_events') >= 5, `${now.of('idae_socket_history_events')} events`);

    const fresh = await long.comeBack(gateway);
    assert.notEqual(fresh.sid, long.sid);
    assert.deepEqual(fresh.missed, []);
    const back = await short.comeBack(gateway);
    assert.deepEqual([back.sid, back.missedPayloads], [short.sid, ['missed']]);
    const after = await metrics(gateway);
    assert.equal(after.recoveries('recovered'), 1);
    assert.ok(after.recoveries('fresh') >= 1);
  });

  test('one event that is larger than the history', async (t) => {
    const gateway = await open(t, { config: '[recovery]\nbytes_max = 4096\n' });
    const socket = await RawSocket.open(gateway);
    await publishAll(gateway, { broadcast: true }, ['first']);
    await socket.event();
    socket.reset();
    await parked(gateway);
    await publishAll(gateway, { broadcast: true }, ['x'.repeat(50_000)]);
    const fresh = await socket.comeBack(gateway);
    assert.notEqual(fresh.sid, socket.sid);
    assert.deepEqual(fresh.missed, []);
    assert.ok((await metrics(gateway)).of('idae_socket_history_bytes') <= 4096);
  });

  test('the history holds only so much time, and one entry per event', async (t) => {
    // As long as a client may be away, and as long as it may take to find that out.
    const gateway = await open(t, { windowS: 1, config: '[socket]\nping_interval_ms = 300\nping_timeout_ms = 300\n' });
    const sockets = [];
    for (let i = 0; i < 50; i += 1) sockets.push(await RawSocket.open(gateway));
    await publishAll(gateway, { broadcast: true }, range(1, 10));
    for (const socket of sockets) assert.deepEqual(await socket.payloads(10), range(1, 10));
    assert.equal((await metrics(gateway)).of('idae_socket_history_events'), 10);
    await metricsShow(
      gateway,
      (now) => now.of('idae_socket_history_events') === 0 && now.of('idae_socket_history_bytes') === 0,
      'the history to be forgotten',
    );
    // Who stayed is not disturbed by that, and is recovered by an offset that is old but the last.
    await publishAll(gateway, { broadcast: true }, [11]);
    for (const socket of sockets) assert.deepEqual(await socket.payloads(1), [11]);
  });

  test('an old offset with nothing behind it that is gone', better, async (t) => {
    // Nothing was published for longer than the window: the client has missed nothing.
    const gateway = await open(t, { windowS: 1, config: '[socket]\nping_interval_ms = 200\nping_timeout_ms = 200\n' });
    const socket = await RawSocket.open(gateway);
    await publishAll(gateway, { broadcast: true }, [1]);
    await socket.event();
    await sleep(2000);
    // Somebody else's event pushes what is old out.
    await publishAll(gateway, { rooms: 'nobody' }, [0]);
    await metricsShow(gateway, (now) => now.of('idae_socket_history_events') <= 1, 'the history to be forgotten');
    socket.reset();
    await parked(gateway);
    await publishAll(gateway, { broadcast: true }, [2]);
    const back = await socket.comeBack(gateway);
    assert.deepEqual([back.sid, back.missedPayloads], [socket.sid, [2]]);
  });

  for (const [name, options] of [
    ['window_s = 0', { env: { IDAE_SOCKET_RECOVERY_WINDOW_S: '0' } }],
    ['window_s = 0 in the file', { env: { IDAE_SOCKET_RECOVERY_WINDOW_S: undefined }, config: '[recovery]\nwindow_s = 0\n' }],
  ]) {
    test(`${name} turns it off`, async (t) => {
      const gateway = await open(t, options);
      const socket = await RawSocket.open(gateway);
      assert.deepEqual(Object.keys(socket.reply), ['sid']);
      await gateway.post('/e?deliver=payload', { broadcast: true, payload: 'x' });
      assert.equal(await socket.websocket.nextText(), '42["e","x"]');
      socket.reset();
      await metricsShow(gateway, (now) => now.sockets === 0 && now.recoverable === 0, 'the socket to be gone');
      await gateway.publish('e', { broadcast: true, payload: 1 });
      const again = await RawSocket.open(gateway, { auth: { pid: 'x', offset: 'y' } });
      assert.deepEqual(Object.keys(again.reply), ['sid']);
      assert.notEqual(again.sid, socket.sid);
      const now = await metrics(gateway);
      assert.deepEqual([now.of('idae_socket_history_events'), now.of('idae_socket_history_bytes')], [0, 0]);
    });
  }
});

describe('who may claim', together, () => {
  /** Two or more claims of one session at the same moment; returns all outcomes. */
  async function claimTogether(gateway, claim, count = 2) {
    const websockets = await Promise.all(Array.from({ length: count }, () => openKnowing(gateway)));
    const sockets = websockets.map((websocket) => new RawSocket(websocket, '/'));
    for (const socket of sockets) socket.sendConnect(claim);
    return Promise.all(sockets.map((socket) => socket.connected()));
  }

  for (const alive of [false, true]) {
    test(`exactly one of several at once wins a session that is ${alive ? 'connected' : 'away'}`, better, async (t) => {
      const gateway = await open(t);
      const sessions = [];
      for (let i = 0; i < 12; i += 1) {
        const socket = await RawSocket.open(gateway);
        await socket.subscribe('r');
        sessions.push(socket);
      }
      await publishAll(gateway, { rooms: 'r' }, [1]);
      for (const socket of sessions) await socket.event();
      if (!alive) {
        for (const socket of sessions) socket.reset();
        await parked(gateway, sessions.length);
        await publishAll(gateway, { rooms: 'r' }, [2]);
      }
      const outcomes = await Promise.all(sessions.map((socket, i) => claimTogether(gateway, socket.claim, 2 + (i % 3))));
      const everybody = outcomes.flat();
      for (const [i, sockets] of outcomes.entries()) {
        const winners = sockets.filter(({ sid }) => sid === sessions[i].sid);
        assert.equal(winners.length, 1, `${winners.length} of ${sockets.length} won`);
        assert.equal(winners[0].pid, sessions[i].pid);
        assert.deepEqual(winners[0].missedPayloads, alive ? [] : [2]);
        for (const loser of sockets.filter(({ sid }) => sid !== sessions[i].sid)) {
          assert.notEqual(loser.pid, sessions[i].pid);
          assert.deepEqual(loser.missed, []);
        }
        if (alive) await sessions[i].websocket.closed();
      }
      assert.equal(new Set(everybody.map(({ sid }) => sid)).size, everybody.length, 'every id is held once');
      // The room has the winners alone, and everybody is still connected.
      const reply = await gateway.publish('e', { rooms: 'r', payload: 3 });
      assert.equal(reply.sockets, sessions.length);
      assert.equal((await gateway.publish('e', { broadcast: true, payload: 4 })).sockets, everybody.length);
      for (const [i, sockets] of outcomes.entries()) {
        for (const socket of sockets) {
          const expected = socket.sid === sessions[i].sid ? [3, 4] : [4];
          assert.deepEqual(await socket.payloads(expected.length), expected);
        }
      }
      await metricsShow(gateway, (now) => now.sockets === everybody.length && now.recoverable === 0, 'nobody else to be left');
    });
  }

  test('a session that is connected is taken over, and taken over again later', better, async (t) => {
    const gateway = await open(t);
    let socket = await RawSocket.open(gateway);
    await socket.subscribe('r');
    const { sid } = socket;
    for (let n = 1; n <= 3; n += 1) {
      await publishAll(gateway, { rooms: 'r' }, [n]);
      await betweenClaims();
      const back = await socket.comeBack(gateway);
      assert.deepEqual([back.sid, back.missedPayloads], [sid, [n]]);
      const { code } = await socket.websocket.closed();
      assert.ok(code === undefined || code === null || code === 1000, `closed with ${code}`);
      assert.equal((await gateway.publish('e', { rooms: 'r', payload: 'live' })).sockets, 1);
      await back.payloads(1);
      socket = back;
    }
    await metricsShow(gateway, (now) => now.connections === 1 && now.sockets === 1, 'one socket on one connection');
  });

  test('who was lost twice within a moment is not taken for two', better, async (t) => {
    const gateway = await open(t);
    let socket = await RawSocket.open(gateway);
    const { sid } = socket;
    for (let n = 1; n <= 5; n += 1) {
      socket.reset();
      await parked(gateway);
      await publishAll(gateway, { broadcast: true }, [n]);
      socket = await socket.comeBack(gateway);
      assert.deepEqual([socket.sid, socket.missedPayloads], [sid, [n]], `return ${n}`);
    }
  });

  test('the stock client that was taken over says transport close', better, async (t) => {
    const gateway = await open(t);
    const socket = client(t, gateway, { transports: ['websocket'] });
    await connectNow(socket);
    const gone = next(socket, 'disconnect');
    const thief = await RawSocket.open(gateway, { auth: { pid: socket._pid } });
    assert.equal((await gone)[0], 'transport close');
    await thief.hearsNext(gateway, 1);
  });

  test('a pid cannot be guessed', async (t) => {
    const gateway = await open(t);
    const pids = [];
    for (let i = 0; i < 200; i += 1) pids.push((await RawSocket.open(gateway)).pid);
    assert.equal(new Set(pids).size, pids.length);
    for (const pid of pids) assert.ok(pid.length >= 20, pid);
    // Whatever is the same in all of them is not secret: at least 16 places must differ freely.
    const places = Math.min(...pids.map((pid) => pid.length));
    let free = 0;
    for (let at = 0; at < places; at += 1) if (new Set(pids.map((pid) => pid[at])).size > 20) free += 1;
    assert.ok(free >= 16, `only ${free} places of ${pids.slice(0, 3)} differ`);
  });

  describe('with tokens', together, () => {
    const config = `${JWT_CONFIG}[rooms]\njoin = ["public:*", "tenant:{tenant}:*", "user:{sub}:*"]\n`;
    const start = (t) => open(t, { config });
    const ada = (more) => ({ token: token('ada', more) });

    /** Ada, who has heard event 1 and is away, or not. */
    async function withAda(t, { claims = {}, rooms = ['public:r'], alive = false } = {}) {
      const gateway = await start(t);
      const socket = await RawSocket.open(gateway, { auth: ada(claims) });
      if (rooms.length) await socket.subscribe(rooms);
      await publishAll(gateway, { users: 'ada' }, [1]);
      await socket.event();
      if (!alive) {
        socket.reset();
        await parked(gateway);
      }
      return { gateway, socket };
    }

    test('her user address is there again', async (t) => {
      const { gateway, socket } = await withAda(t);
      await publishAll(gateway, { users: 'ada' }, [2]);
      await publishAll(gateway, { users: 'bob' }, ['not hers']);
      const back = await socket.comeBack(gateway, { auth: ada() });
      assert.deepEqual([back.sid, back.missedPayloads], [socket.sid, [2]]);
      await back.hearsNext(gateway, 3, { users: 'ada' });
    });

    for (const alive of [false, true]) {
      test(`another user with her pid gets a fresh session and does her no harm (${alive ? 'connected' : 'away'})`, async (t) => {
        const { gateway, socket } = await withAda(t, { alive });
        const bob = await RawSocket.open(gateway, { auth: { ...socket.claim, token: token('bob') } });
        assert.notEqual(bob.sid, socket.sid);
        assert.notEqual(bob.pid, socket.pid);
        assert.deepEqual(bob.missed, []);
        await publishAll(gateway, { users: 'ada' }, [2]);
        if (alive) {
          assert.deepEqual(await socket.payloads(1), [2]);
          await socket.websocket.fence();
        } else {
          const back = await socket.comeBack(gateway, { auth: ada() });
          assert.deepEqual([back.sid, back.missedPayloads], [socket.sid, [2]]);
        }
        await publishAll(gateway, { broadcast: true }, [3]);
        assert.deepEqual(await bob.payloads(1), [3]);
      });
    }

    test('without a token nobody is let in, pid or not', async (t) => {
      const { gateway, socket } = await withAda(t);
      for (const [auth, code] of [
        [{}, 'token_missing'],
        [{ token: token('ada', { seconds: -5 }) }, 'token_expired'],
        [{ token: 'rubbish' }, 'token_malformed'],
      ]) {
        const websocket = await openKnowing(gateway);
        websocket.sendText(`40${JSON.stringify({ ...socket.claim, ...auth })}`);
        const answer = await websocket.nextText();
        assert.ok(answer.startsWith('44{'), answer);
        assert.equal(JSON.parse(answer.slice(2)).data.code, code);
        websocket.close();
      }
      // The attempts have not used the session up.
      await publishAll(gateway, { users: 'ada' }, [2]);
      const back = await socket.comeBack(gateway, { auth: ada() });
      assert.deepEqual([back.sid, back.missedPayloads], [socket.sid, [2]]);
    });

    test('the stock client whose token has ended meanwhile comes back with a new one', async (t) => {
      const gateway = await start(t);
      const proxy = await faultProxy(t, gateway);
      let current = token('ada', { seconds: 2 });
      const diary = await Diary.open(t, proxy, { transports: ['websocket'], auth: (give) => give({ token: current }) });
      const { socket } = diary;
      const { id } = socket;
      await subscribe(socket, 'public:r');
      await publishAll(gateway, { users: 'ada' }, [1]);
      await eventually(() => diary.payloads.length === 1, 'the first event');
      proxy.refusing = true;
      const gone = next(socket, 'disconnect');
      proxy.each('reset');
      await gone;
      await publishAll(gateway, { rooms: 'public:r' }, [2]);
      await sleep(2100);
      const refused = next(socket, 'connect_error');
      const [error] = await new Promise((resolve) => {
        socket.on('connect_error', (...args) => args[0].data && resolve(args));
        refused.catch(() => {});
        proxy.refusing = false;
      });
      assert.equal(error.data.code, 'token_expired');
      assert.equal(socket.active, false);
      current = token('ada');
      await connectNow(socket);
      assert.deepEqual([socket.recovered, socket.id], [true, id]);
      assert.deepEqual(diary.entries.slice(-2), [['e', 2], ['connect', true]]);
    });

    test('roles that are gone: their rooms are not restored, nor what happened there', async (t) => {
      const { gateway, socket } = await withAda(t, { claims: { roles: ['admin', 'editor'] } });
      await publishAll(gateway, { rooms: 'admin' }, ['for admins']);
      await publishAll(gateway, { rooms: 'editor' }, ['for editors']);
      await publishAll(gateway, { rooms: 'public:r' }, ['for all']);
      const back = await socket.comeBack(gateway, { auth: ada({ roles: ['editor'] }) });
      assert.equal((await gateway.publish('e', { rooms: 'admin', payload: 'x' })).sockets, 0, 'admin');
      assert.equal((await gateway.publish('e', { rooms: 'editor', payload: 'y' })).sockets, 1, 'editor');
      assert.ok(!back.missedPayloads.includes('for admins'), JSON.stringify(back.missedPayloads));
      assert.deepEqual([back.sid, back.missedPayloads], [socket.sid, ['for editors', 'for all']]);
      assert.deepEqual(await back.payloads(1), ['y']);
    });

    test('roles that are new: their rooms are joined, what happened before is not told', async (t) => {
      const { gateway, socket } = await withAda(t, { claims: { roles: ['editor'] } });
      await publishAll(gateway, { rooms: 'admin' }, ['for admins']);
      await publishAll(gateway, { rooms: 'editor' }, ['for editors']);
      const back = await socket.comeBack(gateway, { auth: ada({ roles: ['editor', 'admin'] }) });
      assert.deepEqual([back.sid, back.missedPayloads], [socket.sid, ['for editors']]);
      assert.equal((await gateway.publish('e', { rooms: 'admin', payload: 'x' })).sockets, 1);
    });

    test('another tenant: a room that was asked for is lost, and a fresh session says so', async (t) => {
      const { gateway, socket } = await withAda(t, { claims: { tenant: 'a' }, rooms: ['tenant:a:x', 'public:r'] });
      await publishAll(gateway, { rooms: 'tenant:a:x' }, ['of a']);
      await publishAll(gateway, { rooms: 'public:r' }, ['for all']);
      const back = await socket.comeBack(gateway, { auth: ada({ tenant: 'b' }) });
      assert.notEqual(back.sid, socket.sid);
      assert.deepEqual(back.missedPayloads, []);
      assert.equal((await gateway.publish('e', { rooms: 'tenant:a:x', payload: 'x' })).sockets, 0);
    });

    test('who had an identity and who had none are not the same', async (t) => {
      // Soft mode lets everybody in: without a token as nobody.
      const gateway = await open(t, { config: config.replace('leeway_s = 0', 'leeway_s = 0\nmode = "soft"') });
      const socket = await RawSocket.open(gateway, { auth: ada() });
      await publishAll(gateway, { users: 'ada' }, [1]);
      await socket.event();
      socket.reset();
      await parked(gateway);
      await publishAll(gateway, { users: 'ada' }, ['secret']);
      const nobody = await RawSocket.open(gateway, { auth: socket.claim });
      assert.notEqual(nobody.sid, socket.sid);
      assert.deepEqual(nobody.missed, []);
    });
  });
});

describe('an offset of before', () => {
  // The stock client keeps its offset when it gets a fresh session, until the first event there.
  test('of another gateway: whatever was sent to the session', better, async (t) => {
    const other = await open(t);
    const far = await RawSocket.open(other);
    await publishAll(other, { broadcast: true }, range(1, 5));
    for (let i = 0; i < 5; i += 1) await far.event();
    const gateway = await open(t);
    await publishAll(gateway, { broadcast: true }, ['before']);
    const socket = await RawSocket.open(gateway, { auth: { pid: far.pid, offset: far.offset } });
    assert.deepEqual(socket.missed, []);
    socket.reset();
    await parked(gateway);
    await publishAll(gateway, { broadcast: true }, [1, 2]);
    const back = await RawSocket.open(gateway, { auth: { pid: socket.pid, offset: far.offset } });
    assert.deepEqual([back.sid, back.missedPayloads], [socket.sid, [1, 2]]);
  });

  test('of a former session: nothing from before this one', better, async (t) => {
    const gateway = await open(t);
    const former = await RawSocket.open(gateway);
    await publishAll(gateway, { broadcast: true }, ['former']);
    const { offset } = await former.event();
    former.websocket.sendText('41');
    await metricsShow(gateway, (now) => now.sockets === 0, 'the socket to be gone');
    await publishAll(gateway, { broadcast: true }, ['between']);
    const socket = await RawSocket.open(gateway);
    socket.reset();
    await parked(gateway);
    await publishAll(gateway, { broadcast: true }, ['new']);
    const back = await RawSocket.open(gateway, { auth: { pid: socket.pid, offset } });
    assert.deepEqual([back.sid, back.missedPayloads], [socket.sid, ['new']]);
  });

  for (const [name, transports] of Object.entries(TRANSPORTS)) {
    test(`the stock client after a new start of the gateway (${name})`, better, async (t) => {
      const first = await open(t);
      const proxy = await faultProxy(t, first);
      const diary = await Diary.open(t, proxy, { transports, ...RETURNING_CALMLY });
      await publishAll(first, { broadcast: true }, [1]);
      await eventually(() => diary.payloads.length === 1, 'the first event');
      const second = await open(t);
      assert.deepEqual(await diary.away(proxy, 'reset', async () => (proxy.target = second)), [['connect', false]]);
      // Lost again before it hears anything from the second.
      const since = await diary.away(proxy, 'reset', () => publishAll(second, { broadcast: true }, [2, 3]));
      assert.deepEqual(since, [['e', 2], ['e', 3], ['connect', true]]);
    });
  }
});

describe('several namespaces on one connection', together, () => {
  const config = 'namespaces = ["/", "/shop", "/chat"]\n';
  const NAMESPACES = ['/', '/shop', '/chat'];

  test('the stock client: each has its own pid, offset and past', async (t) => {
    const gateway = await open(t, { config });
    const proxy = await faultProxy(t, gateway);
    const manager = new Manager(proxy.url, { transports: ['websocket'], ...RETURNING });
    t.after(() => manager._close());
    const sockets = NAMESPACES.map((namespace) => manager.socket(namespace));
    await Promise.all(sockets.map((socket) => next(socket, 'connect')));
    assert.equal(proxy.links.size, 1);
    const pids = new Set(sockets.map(({ _pid }) => _pid));
    assert.equal(pids.size, 3);
    const ids = sockets.map(({ id }) => id);
    const logs = sockets.map((socket) => {
      const log = [];
      socket.on('e', ({ payload }) => log.push(payload));
      socket.on('connect', () => log.push(socket.recovered ? 'recovered' : 'fresh'));
      return log;
    });
    // Only one of them hears something before the loss, and another one leaves.
    await publishAll(gateway, { broadcast: true, namespace: '/shop' }, [1]);
    await eventually(() => logs[1].length === 1, 'the first event');
    sockets[2].disconnect();
    await metricsShow(gateway, (now) => now.sockets === 2, 'one socket to be gone');
    proxy.refusing = true;
    const gone = [next(sockets[0], 'disconnect'), next(sockets[1], 'disconnect')];
    proxy.each('reset');
    await Promise.all(gone);
    for (const namespace of NAMESPACES) await publishAll(gateway, { broadcast: true, namespace }, [`in ${namespace}`]);
    const back = [next(sockets[0], 'connect'), next(sockets[1], 'connect')];
    proxy.refusing = false;
    await Promise.all(back);
    assert.deepEqual(logs.slice(0, 2), [['in /', 'recovered'], [1, 'in /shop', 'recovered']]);
    assert.deepEqual(sockets.slice(0, 2).map(({ id }) => id), ids.slice(0, 2));
    await connectNow(sockets[2]);
    assert.deepEqual(logs[2], ['fresh']);
  });

  test('a pid is worth nothing in another namespace', async (t) => {
    const gateway = await open(t, { config });
    const socket = await RawSocket.open(gateway);
    const shop = await RawSocket.open(gateway, { namespace: '/shop', websocket: socket.websocket });
    await publishAll(gateway, { broadcast: true }, [1]);
    await publishAll(gateway, { broadcast: true, namespace: '/shop' }, [2]);
    await socket.event();
    await shop.event();
    socket.reset();
    await parked(gateway, 2);
    await publishAll(gateway, { broadcast: true }, [3]);
    await publishAll(gateway, { broadcast: true, namespace: '/shop' }, [4]);
    const wrong = await RawSocket.open(gateway, { namespace: '/shop', auth: socket.claim });
    assert.ok(![socket.sid, shop.sid].includes(wrong.sid));
    assert.deepEqual(wrong.missed, []);
    const back = await socket.comeBack(gateway);
    assert.deepEqual([back.sid, back.missedPayloads], [socket.sid, [3]]);
    const shopBack = await shop.comeBack(gateway);
    assert.deepEqual([shopBack.sid, shopBack.missedPayloads], [shop.sid, [4]]);
  });

  test('both namespaces are claimed in one segment', async (t) => {
    const gateway = await open(t, { config });
    const main = await RawSocket.open(gateway);
    const shop = await RawSocket.open(gateway, { namespace: '/shop', websocket: main.websocket });
    main.reset();
    await parked(gateway, 2);
    for (const namespace of ['/', '/shop']) await publishAll(gateway, { broadcast: true, namespace }, range(1, 20));
    const websocket = await openKnowing(gateway);
    websocket.sendTogether(`40${JSON.stringify(main.claim)}`, `40/shop,${JSON.stringify(shop.claim)}`);
    const heard = { '/': [], '/shop': [] };
    while (heard['/'].at(-1) !== main.sid || heard['/shop'].at(-1) !== shop.sid) {
      const text = await websocket.nextText();
      const namespace = text.slice(2).startsWith('/shop,') ? '/shop' : '/';
      const [, kind, json] = text.match(/^4([02])(?:\/shop,)?(.*)$/) ?? assert.fail(text);
      heard[namespace].push(kind === '0' ? JSON.parse(json).sid : JSON.parse(json)[1].payload);
    }
    assert.deepEqual(heard['/'], [...range(1, 20), main.sid]);
    assert.deepEqual(heard['/shop'], [...range(1, 20), shop.sid]);
  });
});

describe('during the return', together, () => {
  test('events that are published meanwhile come once and behind what was missed', async (t) => {
    const gateway = await open(t);
    const socket = await RawSocket.open(gateway);
    await socket.subscribe('r');
    let published = 0;
    let stop = false;
    const publisher = (async () => {
      while (!stop) {
        published += 1;
        await gateway.publish('e', { rooms: 'r', payload: published });
      }
    })();
    let current = socket;
    const heard = [];
    try {
      for (let round = 0; round < 10; round += 1) {
        heard.push(...(await current.payloads(3)));
        await betweenClaims();
        // Some find the old connection alive, some find it gone.
        if (round % 2) {
          current.reset();
          await metricsShow(gateway, (now) => now.recoverable === 1, 'the session to wait');
        }
        const back = await current.comeBack(gateway);
        assert.equal(back.sid, socket.sid, `round ${round}`);
        heard.push(...back.missedPayloads);
        current = back;
      }
    } finally {
      stop = true;
      await publisher;
    }
    await gateway.publish('e', { rooms: 'r', payload: 'end' });
    for (;;) {
      const payload = payloadOf(await current.event());
      if (payload === 'end') break;
      heard.push(payload);
    }
    assert.deepEqual(heard, range(1, published));
  });

  test('events of the client behind its CONNECT are answered', async (t) => {
    const gateway = await open(t);
    const socket = await RawSocket.open(gateway);
    socket.reset();
    await parked(gateway);
    await publishAll(gateway, { broadcast: true }, [1]);
    const websocket = await openKnowing(gateway);
    websocket.sendTogether(`40${JSON.stringify(socket.claim)}`, '427["hello"]');
    assert.match(await websocket.nextText(), /^42\["e"/);
    assert.match(await websocket.nextText(), /^40\{/);
    assert.equal(await websocket.nextText(), '437[{"status":"OK"}]');
  });
});
