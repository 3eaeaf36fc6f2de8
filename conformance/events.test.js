// What travels inside events: every kind of value there and back, acknowledgements, binary
// attachments, and every malformed packet, each of which ends its own connection only.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { collect, eventually, next, within } from './harness/events.js';
import { better, endAll, startGateway, startSuiteServer } from './harness/gateway.js';
import { Polling, SEPARATOR, ask, connected, joined, openSession, subscribe } from './harness/sessions.js';

let server;
let gateway;
let limited;
let neighbour;
before(async () => {
  [server, gateway, limited] = await Promise.all([
    startSuiteServer(),
    startGateway(),
    startGateway({ env: { IDAE_SOCKET_EVENTS: 'entity,component:*' } }),
  ]);
  neighbour = await joined(server, { suite: true });
});
after(async () => {
  try {
    await echo(neighbour, '42["message","untouched"]', '42["message-back","untouched"]');
    neighbour.close();
  } finally {
    await endAll(server, gateway, limited);
  }
});

const openRaw = () => joined(server, { suite: true });

async function echo(websocket, packet, expected) {
  websocket.sendText(packet);
  assert.equal(await websocket.nextText(), expected);
}

const deep = (levels, inner = 1) => {
  let value = inner;
  for (let i = 0; i < levels; i += 1) value = i % 2 ? { k: value } : [value];
  return value;
};

describe('values there and back through the stock client', () => {
  const values = {
    'the empty string': '',
    'characters of all lengths': 'aé€😀',
    'an emoji of several characters': '👩‍👩‍👧‍👦🇫🇷',
    'line and paragraph separators': '\u2028\u2029',
    NUL: 'a\0b',
    'control characters': Array.from({ length: 32 }, (_, i) => String.fromCharCode(i)).join(''),
    'a lone high surrogate': 'a\ud800b',
    'a lone low surrogate': 'a\udc00b',
    quotes: '"\\/\'`',
    'text that looks like a packet': '42["message"]',
    'the packet separator': '\u001e',
    'null': null,
    booleans: [true, false],
    integers: [0, 1, -1, 2 ** 31, 2 ** 53, -(2 ** 53)],
    fractions: [0.1, -1.5, 1e-7, 1e21, 5e-324, 1.7976931348623157e308],
    'empty arrays and objects': [[], {}, [[]], [{}], { a: [], b: {} }],
    'odd keys': { '': 1, ' ': 2, 'a.b': 3, $: 4, toString: 5, constructor: 6, hasOwnProperty: 7, length: 8 },
    'integer-like keys': { b: 1, 10: 2, 9: 3, a: 4 },
    'a placeholder look-alike': { _placeholder: false, num: 0 },
    '1,000 keys': Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`key${i}`, i])),
    'an array of 10,000': Array.from({ length: 10_000 }, (_, i) => i),
    '200,000 characters': 'é'.repeat(100_000),
    '50 levels': deep(50),
  };
  for (const transport of ['websocket', 'polling']) {
    describe(transport, () => {
      for (const [name, value] of Object.entries(values)) {
        test(name, async (t) => {
          const socket = await connected(t, server, { transports: [transport] });
          const back = next(socket, 'message-back');
          const acked = new Promise((resolve) => socket.emit('message-with-ack', value, resolve));
          socket.emit('message', value);
          // A lone surrogate has no UTF-8 form: JSON writes it as an escape, so it survives.
          assert.deepEqual(await within(acked, 'the ack'), value);
          assert.deepEqual(await back, [value]);
        });
      }
    });
  }

  const argumentLists = [[], [null], [null, null], [1, 'two', { three: [3] }, null, false], Array.from({ length: 100 }, (_, i) => i)];
  for (const args of argumentLists) {
    test(`${args.length} arguments ${JSON.stringify(args).slice(0, 40)}`, async (t) => {
      const socket = await connected(t, server, { transports: ['websocket'] });
      const back = next(socket, 'message-back');
      socket.emit('message', ...args);
      assert.deepEqual(await back, args);
      const acked = new Promise((resolve) => socket.emit('message-with-ack', ...args, (...got) => resolve(got)));
      assert.deepEqual(await within(acked, 'the ack'), args);
    });
  }

  test('undefined, functions, NaN and dates become what JSON makes of them', async (t) => {
    const socket = await connected(t, server, { transports: ['websocket'] });
    const date = new Date(0);
    const back = await ask(socket, 'message-with-ack', { list: [undefined, NaN, Infinity, -0], gone: undefined, date });
    assert.deepEqual(back, { list: [null, null, null, 0], date: date.toJSON() });
  });
});

describe('the exact text', () => {
  const same = [
    '{"b":1,"a":2,"c":{"z":1,"y":2}}',
    '"é😀"',
    '"\\u2028"',
    '1.5',
    '[[],{},null]',
    '{"__proto__":{"x":1}}',
    '{"constructor":{"prototype":{"x":1}}}',
  ];
  for (const json of same) {
    test(`${json} keeps its order and its names`, async () => {
      const websocket = await openRaw();
      websocket.sendText(`42["message",${json}]`);
      const text = await websocket.nextText();
      // An escape may come back as the character it stands for.
      const unescaped = text.replace('\u2028', '\\u2028');
      assert.equal(unescaped, `42["message-back",${json}]`);
      websocket.close();
    });
  }

  const alike = ['{"b":1,"2":2,"1":3}', '{"a":1,"a":2}', '1e2', '100.0', '"\\u0041\\/"', ' 1 ', '{ "a" : [ 1 , 2 ] }', '12345678901234567890', '-0', '"\\ud800"'];
  for (const json of alike) {
    test(`${json} means the same as JavaScript reads it`, async () => {
      const websocket = await openRaw();
      websocket.sendText(`42["message",${json}]`);
      const text = await websocket.nextText();
      assert.ok(text.startsWith('42["message-back",'), text);
      // -0 and 0 are one value in JSON text written by JavaScript.
      assert.deepEqual(JSON.stringify(JSON.parse(text.slice(2))[1]), JSON.stringify(JSON.parse(json)));
      websocket.close();
    });
  }
});

describe('deep nesting', () => {
  for (const [levels, survives] of [[100, true], [1000, false], [100_000, false], [400_000, false]]) {
    const options = levels > 1000 ? better : {};
    test(`${levels} levels come back${survives ? '' : ', or end this connection only'}`, options, async () => {
      const websocket = await openRaw();
      const json = `${'['.repeat(levels)}${']'.repeat(levels)}`;
      websocket.sendText(`42["message",${json}]`);
      try {
        assert.equal(await websocket.nextText(), `42["message-back",${json}]`);
      } catch (error) {
        if (survives || !websocket.isClosed) throw error;
      }
      websocket.close();
      await echo(neighbour, '42["message",1]', '42["message-back",1]');
    });
  }
});

describe('event names', () => {
  const ordinary = ['', ' ', 'error', 'connection', '__proto__', 'constructor', 'toString', 'hasOwnProperty', 'é😀', 'a'.repeat(10_000), 'Connect', 'message '];
  for (const name of ordinary) {
    test(`${JSON.stringify(name).slice(0, 30)} is an ordinary event`, async () => {
      const websocket = await openRaw();
      websocket.sendText(`42${JSON.stringify([name, { toString: 'x' }])}`);
      await echo(websocket, '42["message",1]', '42["message-back",1]');
      websocket.close();
    });
  }

  for (const name of [0, 5, -1, 1.5]) {
    test(`the number ${name} is an event that nobody handles`, async () => {
      const websocket = await openRaw();
      websocket.sendText(`42[${name},"x"]`);
      await echo(websocket, '42["message",1]', '42["message-back",1]');
      websocket.close();
    });
  }

  for (const name of ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener']) {
    for (const written of [JSON.stringify(name), `"\\u00${name.charCodeAt(0).toString(16)}${name.slice(1)}"`]) {
      test(`${written} is reserved and closes the connection`, async () => {
        const websocket = await openRaw();
        websocket.sendText(`42[${written},"x"]`);
        assert.deepEqual((await websocket.closed()).unread, []);
      });
    }
  }
});

describe('acknowledgements', () => {
  const raw = [
    ['42456["message-with-ack",1,"2",{"3":[false]}]', '43456[1,"2",{"3":[false]}]'],
    ['420["message-with-ack"]', '430[]'],
    ['421["message-with-ack",null]', '431[null]'],
    ['4299999["message-with-ack","x"]', '4399999["x"]'],
    ['429007199254740991["message-with-ack",1]', '439007199254740991[1]'],
    ['4207["message-with-ack",1]', '437[1]'],
  ];
  for (const [packet, answer] of raw) {
    test(`${packet} is answered ${answer}`, async () => {
      const websocket = await openRaw();
      await echo(websocket, packet, answer);
      websocket.close();
    });
  }

  for (const id of ['9007199254740993', '18446744073709551616', '9'.repeat(30), '9'.repeat(5000)]) {
    test(`an id of ${id.length > 30 ? `${id.length} digits` : id} is answered or closes, nothing worse`, async () => {
      const websocket = await openRaw();
      websocket.sendText(`42${id}["message-with-ack",1]`);
      try {
        assert.match(await websocket.nextText(), /^43[0-9.e+]+|^43Infinity/);
      } catch (error) {
        assert.ok(websocket.isClosed, error.message);
      }
      websocket.close();
      await echo(neighbour, '42["message",1]', '42["message-back",1]');
    });
  }

  const ignored = ['431[]', '43999[1,2]', '430', '43["x"]', '43["x",1]', '461-5[{"_placeholder":true,"num":0}]'];
  for (const packet of ignored) {
    test(`${packet} answers nothing that was asked and is ignored`, async () => {
      const websocket = await openRaw();
      websocket.sendText(packet);
      if (packet.startsWith('46')) websocket.sendBinary(Buffer.from([1]));
      await echo(websocket, '42["message",1]', '42["message-back",1]');
      websocket.close();
    });
  }

  test('a thousand at once are each answered once, with their own value', async (t) => {
    const socket = await connected(t, server, { transports: ['websocket'] });
    const answers = await Promise.all(
      Array.from({ length: 1000 }, (_, i) => within(new Promise((ok) => socket.emit('message-with-ack', i, ok)), `ack ${i}`)),
    );
    assert.deepEqual(answers, Array.from({ length: 1000 }, (_, i) => i));
  });

  test('several arguments, text and binary', async (t) => {
    const socket = await connected(t, server, { transports: ['websocket'] });
    const answered = new Promise((resolve) => {
      socket.emit('message-with-ack', 1, Buffer.from([2]), { three: Buffer.from([3]) }, (...args) => resolve(args));
    });
    assert.deepEqual(await within(answered, 'the ack'), [1, Buffer.from([2]), { three: Buffer.from([3]) }]);
  });

  test('emitWithAck with a time limit gets its answer', async (t) => {
    const socket = await connected(t, server, { transports: ['polling'] });
    assert.equal(await socket.timeout(3000).emitWithAck('message-with-ack', 'x'), 'x');
  });

  test('an event nobody answers runs into the time limit of the client', async (t) => {
    const socket = await connected(t, server, { transports: ['websocket'] });
    await assert.rejects(socket.timeout(200).emitWithAck('message', 'x'), /operation has timed out/);
  });

  test('the retries of the client keep their order', async (t) => {
    const socket = await connected(t, server, { transports: ['websocket'], retries: 3, ackTimeout: 2000 });
    const order = [];
    const sent = Array.from({ length: 20 }, (_, i) =>
      socket.emitWithAck('message-with-ack', i).then((value) => order.push(value)),
    );
    await within(Promise.all(sent), 'all acks');
    assert.deepEqual(order, Array.from({ length: 20 }, (_, i) => i));
  });
});

describe('binary', () => {
  const one = Buffer.from([1, 2, 3]);
  const values = {
    'at the top': one,
    empty: Buffer.alloc(0),
    nested: { a: [one, { b: one }], c: 'text' },
    'the same buffer twice': [one, one],
    'ten attachments': Array.from({ length: 10 }, (_, i) => Buffer.from([i])),
    '200,000 bytes': Buffer.alloc(200_000, 0xfe),
    'all byte values': Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
  };
  for (const transport of ['websocket', 'polling']) {
    for (const [name, value] of Object.entries(values)) {
      test(`${transport}: ${name}`, async (t) => {
        const socket = await connected(t, server, { transports: [transport] });
        const back = next(socket, 'message-back');
        socket.emit('message', value, 'end');
        assert.deepEqual(await back, [value, 'end']);
        assert.deepEqual(await ask(socket, 'message-with-ack', value), value);
      });
    }
  }

  test('typed arrays arrive as their bytes', async (t) => {
    const socket = await connected(t, server, { transports: ['websocket'] });
    const value = new Uint8Array([9, 8, 7]);
    assert.deepEqual(Buffer.from(await ask(socket, 'message-with-ack', value)), Buffer.from([9, 8, 7]));
    const { buffer } = new Uint16Array([1, 2]);
    assert.deepEqual(Buffer.from(await ask(socket, 'message-with-ack', buffer)), Buffer.from(buffer));
  });

  test('text and binary events by turns keep their order', async (t) => {
    const socket = await connected(t, server, { transports: ['websocket'] });
    const echoes = collect(socket, 'message-back');
    for (let i = 0; i < 200; i += 1) socket.emit('message', i, ...(i % 3 ? [] : [Buffer.from([i]), [Buffer.from([i])]]));
    await echoes.take(200);
    echoes.seen.forEach(([number, first, second], i) => {
      assert.equal(number, i);
      if (i % 3 === 0) assert.deepEqual([first, second], [Buffer.from([i]), [Buffer.from([i])]]);
    });
  });

  const placeholder = (num) => `{"_placeholder":true,"num":${num}}`;

  test('numbers are given in the order of appearance', async () => {
    const websocket = await openRaw();
    // The client may number as it likes; the order of the bytes belongs to the numbers.
    websocket.sendText(`452-["message",${placeholder(1)},${placeholder(0)}]`);
    websocket.sendBinary(Buffer.from([10]));
    websocket.sendBinary(Buffer.from([20]));
    const header = await websocket.nextText();
    const attachments = [await websocket.nextBinary(), await websocket.nextBinary()];
    const [, first, second] = JSON.parse(header.slice(header.indexOf('[')));
    assert.deepEqual([attachments[first.num], attachments[second.num]], [Buffer.from([20]), Buffer.from([10])]);
    websocket.close();
  });

  test('one attachment may be used twice', async () => {
    const websocket = await openRaw();
    websocket.sendText(`451-["message",${placeholder(0)},${placeholder(0)}]`);
    websocket.sendBinary(Buffer.from([1]));
    const header = await websocket.nextText();
    const count = Number(header.match(/^45(\d+)-/)[1]);
    const attachments = [];
    for (let i = 0; i < count; i += 1) attachments.push(await websocket.nextBinary());
    const [, first, second] = JSON.parse(header.slice(header.indexOf('[')));
    assert.deepEqual([attachments[first.num], attachments[second.num]], [Buffer.from([1]), Buffer.from([1])]);
    websocket.close();
  });

  test('attachments as base64 text are fine', async () => {
    const websocket = await openRaw();
    websocket.sendText(`451-["message",${placeholder(0)}]`);
    websocket.sendText('bAQI=');
    assert.equal(await websocket.nextText(), `451-["message-back",${placeholder(0)}]`);
    assert.deepEqual(await websocket.nextBinary(), Buffer.from([1, 2]));
    websocket.close();
  });

  test('a pong between attachments does not disturb', async () => {
    const websocket = await openRaw();
    websocket.sendText(`452-["message",${placeholder(0)},${placeholder(1)}]`);
    websocket.sendBinary(Buffer.from([1]));
    websocket.sendText('3');
    websocket.sendBinary(Buffer.from([2]));
    assert.equal(await websocket.nextText(), `452-["message-back",${placeholder(0)},${placeholder(1)}]`);
    assert.deepEqual([await websocket.nextBinary(), await websocket.nextBinary()], [Buffer.from([1]), Buffer.from([2])]);
    websocket.close();
  });

  test('a header that announces an unused attachment waits for it', async () => {
    const websocket = await openRaw();
    websocket.sendText('451-["message"]');
    websocket.sendBinary(Buffer.from([1]));
    // Nothing refers to the bytes: they may go back unused or not at all.
    assert.match(await websocket.nextText(), /^42\["message-back"\]$|^451-\["message-back"\]$/);
    websocket.close();
  });

  test('a placeholder look-alike in a text event is plain data', async () => {
    const websocket = await openRaw();
    await echo(websocket, `42["message",${placeholder(0)}]`, `42["message-back",${placeholder(0)}]`);
    websocket.close();
  });

  const bytes = Buffer.from([1]);
  const wrong = [
    ['num is −1', [`451-["message",${placeholder(-1)}]`, bytes]],
    ['num equals the count', [`451-["message",${placeholder(1)}]`, bytes]],
    ['num is huge', [`451-["message",${placeholder('1e308')}]`, bytes]],
    ['num is a text', [`451-["message",${placeholder('"0"')}]`, bytes]],
    ['num is the name of a method', [`451-["message",${placeholder('"splice"')}]`, bytes]],
    ['num is missing', ['451-["message",{"_placeholder":true}]', bytes]],
    ['num is null', [`451-["message",${placeholder('null')}]`, bytes]],
    ['num is a fraction', [`452-["message",${placeholder(0.5)}]`, bytes, bytes], true],
    ['eleven attachments', [`4511-["message",${Array.from({ length: 11 }, (_, i) => placeholder(i))}]`]],
    ['a billion attachments', ['451000000000-["message"]']],
    ['no attachment announced', ['450-["message"]']],
    ['a negative count', ['45-1-["message"]']],
    ['no count', ['45-["message"]']],
    ['no dash', ['451["message"]']],
    ['a count and nothing else', ['451']],
    ['a count of half', ['450.5-["message"]']],
    ['a count written 1e0, which is no plain number', ['451e0-["message"]', bytes], true],
    ['a count with a space', ['45 1-["message"]', bytes], true],
    ['a text event while an attachment is awaited', [`451-["message",${placeholder(0)}]`, '42["message",1]']],
    ['another header while an attachment is awaited', [`451-["message",${placeholder(0)}]`, `451-["message",${placeholder(0)}]`]],
    ['bytes that no header announced', [bytes]],
    ['one attachment too many', [`451-["message",${placeholder(0)}]`, bytes, bytes], false, 'answered first'],
    ['a reserved name', [`451-["disconnect",${placeholder(0)}]`, bytes]],
    ['bytes as the name', [`451-[${placeholder(0)}]`, bytes], true],
    ['an object around bytes as the name', [`451-[{"toString":${placeholder(0)}},1]`, bytes]],
    ['an object instead of the list', [`451-{"a":${placeholder(0)}}`, bytes]],
    ['an ack that is no list', [`461-1{"a":${placeholder(0)}}`, bytes]],
  ];
  for (const [name, packets, isBetter, answered] of wrong) {
    test(`closes: ${name}`, isBetter ? better : {}, async () => {
      const websocket = await openRaw();
      for (const packet of packets) {
        if (Buffer.isBuffer(packet)) websocket.sendBinary(packet);
        else websocket.sendText(packet);
      }
      const { unread } = await websocket.closed();
      if (!answered) assert.deepEqual(unread, []);
      await echo(neighbour, '42["message",1]', '42["message-back",1]');
    });
  }

  test('connections that end with attachments pending leave the server well', async () => {
    for (let i = 0; i < 50; i += 1) {
      const websocket = await openRaw();
      websocket.sendText(`4510-["message",${Array.from({ length: 10 }, (_, n) => placeholder(n))}]`);
      websocket.sendBinary(Buffer.alloc(100_000));
      if (i % 2) websocket.reset();
      else websocket.close();
    }
    await echo(neighbour, '42["message",1]', '42["message-back",1]');
  });
});

describe('malformed packets close their own connection', () => {
  const packets = [
    '4',
    '4abc',
    '47',
    '48["message"]',
    '4-1["message"]',
    '42{}',
    '42[]',
    '42[null]',
    '42[true]',
    '42[{}]',
    '42[[]]',
    '42["message"',
    '42["message"]]',
    '42["message"]trailing',
    '42["message",]',
    "42['message']",
    '42[message]',
    '42["message",NaN]',
    '42["message",undefined]',
    '42["message",01]',
    '42["message","\\x"]',
    '42["message","\t"]',
    '42"message"',
    '42null',
    '42abc["message"]',
    '421{}',
    '421null',
    '41{}',
    '41[]',
    '431{}',
    '43{}',
    '43"x"',
    '431[',
    '44"x"',
    '42/custom',
    '42-1["message"]',
    '421.5["message"]',
    '42+1["message"]',
    '\ufeff42["message"]',
  ];
  for (const packet of packets) {
    test(JSON.stringify(packet), async () => {
      const websocket = await openRaw();
      websocket.sendText(packet);
      assert.deepEqual((await websocket.closed()).unread, []);
      await echo(neighbour, '42["message",1]', '42["message-back",1]');
    });
  }

  // The reference takes these for events without a name, or skips the odd character.
  for (const packet of ['42', '42/', '42/,', '42\ufeff["x"]', '42 ["x"]']) {
    test(`${JSON.stringify(packet)} is harmless: ignored or closed`, async () => {
      const websocket = await openRaw();
      websocket.sendText(packet);
      websocket.sendText('42["message",1]');
      try {
        assert.equal(await websocket.nextText(), '42["message-back",1]');
      } catch (error) {
        assert.ok(websocket.isClosed, error.message);
      }
      websocket.close();
      await echo(neighbour, '42["message",1]', '42["message-back",1]');
    });
  }

  test('on polling the session ends', async () => {
    for (const packet of ['42{}', '4abc', '42["connect"]']) {
      const session = await Polling.open(server);
      await session.send('40');
      await session.packets(2);
      await session.post(packet);
      await session.ends();
    }
  });
});

describe('order', () => {
  test('what one client sends is handled in the order it was sent', async (t) => {
    for (const transport of ['polling', 'websocket']) {
      const socket = await connected(t, server, { transports: [transport] });
      const order = [];
      for (let i = 0; i < 100; i += 1) {
        if (i % 2) socket.emit('message-with-ack', i, (value) => order.push(value));
        else socket.emit('message', i);
      }
      socket.on('message-back', (value) => order.push(value));
      await eventually(() => order.length === 100, '100 answers');
      assert.deepEqual(order, Array.from({ length: 100 }, (_, i) => i), transport);
    }
  });

  test('what one publisher sends reaches every client in its order', async (t) => {
    const readers = await Promise.all(
      ['polling', 'websocket', 'websocket'].map(async (transport) => {
        const socket = await connected(t, gateway, { transports: [transport] });
        const events = collect(socket, 'ordered');
        await subscribe(socket, 'ordered');
        return events;
      }),
    );
    for (let payload = 0; payload < 100; payload += 1) {
      const { sockets } = await gateway.publish('ordered', { rooms: 'ordered', payload });
      assert.equal(sockets, 3);
    }
    for (const events of readers) {
      await events.take(100);
      assert.deepEqual(events.values.map(({ payload }) => payload), Array.from({ length: 100 }, (_, i) => i));
    }
  });
});

describe('volatile', () => {
  test('a client without a pending GET gets the plain event; the volatile one at most once', async () => {
    const session = await Polling.open(gateway);
    await session.send('40{"recovery":false}');
    await session.packet();
    await session.send('421["subscribe","volatile"]');
    await session.packet();
    await gateway.publish('tick', { rooms: 'volatile', payload: 'perhaps', volatile: true });
    await gateway.publish('tick', { rooms: 'volatile', payload: 'surely' });
    const { text } = await session.poll();
    const payloads = text.split(SEPARATOR).map((packet) => JSON.parse(packet.slice(2))[1].payload);
    assert.equal(payloads.at(-1), 'surely');
    assert.ok(payloads.length === 1 || (payloads.length === 2 && payloads[0] === 'perhaps'), text);
  });

  test('a client that can take it gets a volatile event', async (t) => {
    const socket = await connected(t, gateway, { transports: ['websocket'] });
    await subscribe(socket, 'volatile-ready');
    const event = next(socket, 'tick');
    await gateway.publish('tick', { rooms: 'volatile-ready', payload: 1, volatile: true });
    assert.equal((await event)[0].payload, 1);
  });
});

describe('what the gateway answers to events of clients', () => {
  const OK = { status: 'OK' };
  const UNKNOWN = 'unknown_event';

  for (const args of [[], [1], [{ a: 1 }], [Buffer.from([1])], [1, 'two', null]]) {
    test(`a configured event with ${args.length} arguments is acknowledged`, async (t) => {
      const socket = await connected(t, limited, { transports: ['websocket'] });
      assert.deepEqual(await ask(socket, 'entity', ...args), OK);
    });
  }

  test('a pattern configures names', async (t) => {
    const socket = await connected(t, limited, { transports: ['polling'] });
    assert.deepEqual(await ask(socket, 'component:refresh', 1), OK);
  });

  for (const name of ['other', 'Entity', 'entity ', 'entity2', 'component', '', 'constructor', '__proto__', 'error', 'é']) {
    test(`${JSON.stringify(name)} is unknown`, async (t) => {
      const socket = await connected(t, limited, { transports: ['websocket'] });
      const reply = await ask(socket, name, 1);
      assert.equal(reply.status, 'error');
      assert.equal(reply.code, UNKNOWN);
    });
  }

  test('without a wish for an answer nothing is sent', async () => {
    const websocket = await joined(limited);
    websocket.sendTogether('42["entity",1]', '42["other",1]', '427["entity"]');
    assert.equal(await websocket.nextText(), '437[{"status":"OK"}]');
    websocket.close();
  });

  test('by default every name is configured', async (t) => {
    const socket = await connected(t, gateway, { transports: ['websocket'] });
    for (const name of ['anything', 'a:b', 'component/refresh']) assert.deepEqual(await ask(socket, name), OK);
  });

  test('an event of one client reaches no other client', async (t) => {
    const sender = await connected(t, gateway, { transports: ['websocket'] });
    const other = await connected(t, gateway, { transports: ['websocket'] });
    const events = collect(other, 'private');
    await subscribe(other, 'fence');
    await ask(sender, 'private', 'secret');
    // What arrives after the fence would have arrived before it.
    const fence = next(other, 'fence');
    await gateway.publish('fence', { rooms: 'fence', payload: 1 });
    await fence;
    assert.equal(events.seen.length, 0);
  });

  test('the reserved names close the connection here as well', async () => {
    const websocket = await joined(gateway);
    websocket.sendText('421["disconnect"]');
    assert.deepEqual((await websocket.closed()).unread, []);
  });

  test('a session before its CONNECT cannot ask anything', async () => {
    const websocket = await openSession(gateway);
    websocket.sendText('421["subscribe","x"]');
    assert.deepEqual((await websocket.closed()).unread, []);
  });
});
