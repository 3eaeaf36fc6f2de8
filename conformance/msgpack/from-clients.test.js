// What clients send in msgpack: every kind of value there and back, bytes, and what only msgpack
// can say. The suite server echoes `message` and acknowledges `message-with-ack` with its arguments.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { collect, next, within } from '../harness/events.js';
import { better, endAll } from '../harness/gateway.js';
import { ask, connected, joined } from '../harness/sessions.js';
import { PARSERS, RawSpeaker, TRANSPORTS, TYPE, bytesOf, hexOf, mapHex, packetHex, speaker, startSpeaking, startSpeakingSuite } from './speaking.js';
import { VALUES } from './values.js';

let gateway;
let server;
before(async () => {
  [gateway, server] = await Promise.all([startSpeaking(), startSpeakingSuite()]);
});
after(() => endAll(gateway, server));

/** Sends a value both ways and returns how it came back in the ack; it must be the same in the event. */
async function echoed(socket, ...args) {
  const back = next(socket, 'message-back');
  const acked = new Promise((resolve) => socket.emit('message-with-ack', ...args, (...got) => resolve(got)));
  socket.emit('message', ...args);
  const answer = await within(acked, 'the ack');
  assert.deepEqual(await back, answer);
  return answer;
}

/** The arguments, as hex, that come back for arguments that are hex already. */
async function rawEcho(...args) {
  const speaks = await RawSpeaker.joined(server, { suite: true });
  const data = `${(0x91 + args.length).toString(16)}${hexOf('message-with-ack')}${args.join('')}`;
  speaks.sendHex(packetHex('02', data, { id: '00' }));
  const answer = await speaks.answer(0);
  speaks.close();
  return answer;
}

describe('values there and back', () => {
  for (const [transport, transports] of Object.entries(TRANSPORTS)) {
    test(`over ${transport}`, async (t) => {
      const socket = await speaker(t, server, { transports });
      for (const [name, json] of Object.entries(VALUES)) {
        const value = JSON.parse(json);
        assert.deepEqual(await echoed(socket, value), [value], name);
      }
    });
  }

  test('any number of arguments', async (t) => {
    const socket = await speaker(t, server, { transports: ['websocket'] });
    for (const args of [[], [null], [null, null], [1, 'two', { three: [3] }, null, false], Array.from({ length: 100 }, (_, i) => i)]) {
      assert.deepEqual(await echoed(socket, ...args), args);
    }
  });
});

describe('what JavaScript has and JSON has not', () => {
  test('undefined is absent, in an array null, and so are its relatives', better, async (t) => {
    const socket = await speaker(t, server, { transports: ['websocket'] });
    const value = { gone: undefined, list: [undefined, 1, undefined], deep: { gone: undefined, kept: 0 }, all: { gone: undefined } };
    assert.deepEqual(await echoed(socket, value, undefined), [{ list: [null, 1, null], deep: { kept: 0 }, all: {} }, null]);
  });

  test('a date is its ISO text', better, async (t) => {
    const socket = await speaker(t, server, { transports: ['websocket'] });
    const times = [
      0, 1, -1, 999, 1000, 1e12, 2 ** 31 * 1000, 2 ** 32, -(2 ** 32), Date.parse('2000-02-29T23:59:59.999Z'), Date.parse('1900-03-01'),
      ...['-009999-01-01T00:00:00.000Z', '-000001-12-31T23:59:59.999Z', '0000-01-01', '0001-01-01', '9999-12-31T23:59:59.999Z'].map(Date.parse),
    ];
    for (const time of times) {
      const date = new Date(time);
      assert.deepEqual(await echoed(socket, date, { at: [date] }), [date.toJSON(), { at: [date.toJSON()] }], String(time));
    }
  });

  test('a date of five-digit years is its ISO text too', better, async (t) => {
    const socket = await speaker(t, server, { transports: ['websocket'] });
    for (const time of [Date.parse('+010000-01-01'), Date.parse('-010000-01-01'), 8.64e15, -8.64e15]) {
      const date = new Date(time);
      assert.deepEqual(await ask(socket, 'message-with-ack', date), date.toJSON());
    }
  });

  // As JSON.stringify does; msgpack has forms for both.
  for (const [name, hex] of [
    ['NaN', 'cb7ff8000000000000'],
    ['a short NaN', 'ca7fc00000'],
    ['infinity', 'cb7ff0000000000000'],
    ['minus infinity', 'cbfff0000000000000'],
    ['a date beyond the last', `d700${(8_640_000_000_000_001n).toString(16).padStart(16, '0')}`],
    ['the last date of all', 'd7007fffffffffffffff'],
    ['the first date of all', 'd7008000000000000000'],
  ]) {
    test(`${name} is null, or ends its connection`, better, async () => {
      const outcome = await rawEcho(hex, '01').catch((error) => assert.match(error.message, /closed with|the connection ended/));
      if (outcome) assert.deepEqual(outcome, [null, 1]);
      assert.deepEqual(await rawEcho('01'), [1]);
    });
  }
});

describe('every form of msgpack means what it says', () => {
  const forms = [
    ['cc01', 1], ['cd0001', 1], ['ce00000001', 1], ['cf0000000000000001', 1],
    ['d001', 1], ['d10001', 1], ['d200000001', 1], ['d30000000000000001', 1],
    ['d0ff', -1], ['d1ffff', -1], ['d2ffffffff', -1], ['d3ffffffffffffffff', -1], ['e0', -32], ['ff', -1], ['7f', 127],
    ['cfffffffffffffffff', 2 ** 64], ['cf001fffffffffffff', Number.MAX_SAFE_INTEGER],
    ['d38000000000000000', -(2 ** 63)], ['d37fffffffffffffff', 2 ** 63],
    ['ca3fc00000', 1.5], ['cabe800000', -0.25], ['ca3f800000', 1], ['cb3ff0000000000000', 1], ['ca3dcccccd', Math.fround(0.1)],
    ['cb7e37e43c8800759c', 1e300],
    ['d90161', 'a'], ['da000161', 'a'], ['db0000000161', 'a'], ['a0', ''], ['d900', ''], ['da0000', ''], ['db00000000', ''],
    ['9101', [1]], ['dc000101', [1]], ['dd0000000101', [1]], ['dc0000', []], ['dd00000000', []],
    ['81a16101', { a: 1 }], ['de0001a16101', { a: 1 }], ['df00000001a16101', { a: 1 }], ['de0000', {}], ['df00000000', {}],
    ['81d9016101', { a: 1 }], ['c2', false], ['c3', true], ['c0', null], ['d40000', null],
  ];
  for (const [hex, value] of forms) {
    // The reference's writer has no number that is whole and larger.
    test(hex, value === 1e300 || value === 2 ** 64 || hex === 'd40000' ? better : {}, async () => {
      assert.deepEqual(await rawEcho(hex, `91${hex}`, '01'), [value, [value], 1]);
    });
  }

  // As Python writes a dictionary whose keys are numbers.
  test('keys become text', better, async () => {
    const [value] = await rawEcho('8701a161ffa162cb3ff8000000000000a163c0a164c3a165a166a166cd0100a167', '01');
    assert.deepEqual(value, { 1: 'a', '-1': 'b', 1.5: 'c', null: 'd', true: 'e', f: 'f', 256: 'g' });
  });

  test('half a character becomes a mark, and what stands beside it stays', better, async () => {
    const [value] = await rawEcho('a561eda08062', '01');
    assert.match(value, /^a\ufffd+b$/);
  });

  for (const [hex, bytes] of [
    ['c400', ''], ['c4020102', '0102'], ['c500020102', '0102'], ['c6000000020102', '0102'],
    // What the stock parser makes of an ArrayBuffer.
    ['c70000', ''], ['c701007f', '7f'], ['c702000102', '0102'], ['c80002000102', '0102'], ['c900000002000102', '0102'],
  ]) {
    test(`${hex} is bytes`, async () => {
      const [value, { deep }] = await rawEcho(hex, `81${hexOf('deep')}${hex}`);
      assert.deepEqual([Buffer.from(value), Buffer.from(deep)], [bytesOf(bytes), bytesOf(bytes)]);
      assert.equal(typeof value, 'object');
    });
  }
});

describe('bytes', () => {
  const one = Buffer.from([1, 2, 3]);
  const values = {
    'at the top': one,
    empty: Buffer.alloc(0),
    nested: { a: [one, { b: one }], c: 'text' },
    'the same twice': [one, one],
    'ten of them': Array.from({ length: 10 }, (_, i) => Buffer.from([i])),
    'all byte values': Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
    'what would be text': Buffer.from('é😀"\\'),
    ...Object.fromEntries([255, 65535, 65536, 300_000].map((length) => [`${length} of them`, Buffer.alloc(length, 0xfe)])),
  };
  for (const [transport, transports] of Object.entries(TRANSPORTS)) {
    test(`over ${transport} they arrive as bytes`, async (t) => {
      const socket = await speaker(t, server, { transports });
      for (const [name, value] of Object.entries(values)) {
        assert.deepEqual(await ask(socket, 'message-with-ack', value), value, name);
        const back = next(socket, 'message-back');
        socket.emit('message', value, 'end');
        assert.deepEqual(await back, [value, 'end'], name);
      }
    });
  }

  test('typed arrays and array buffers arrive as their bytes', async (t) => {
    const socket = await speaker(t, server, { transports: ['websocket'] });
    for (const length of [0, 1, 2, 4, 8, 16, 255, 256, 65536]) {
      const bytes = new Uint8Array(length).fill(0xd4);
      for (const value of [bytes, bytes.buffer]) {
        assert.deepEqual(Buffer.from(await ask(socket, 'message-with-ack', value)), Buffer.from(bytes), `${length} bytes`);
      }
    }
    const numbers = new Float64Array([1.5, -2]);
    assert.deepEqual(Buffer.from(await ask(socket, 'message-with-ack', numbers)), Buffer.from(numbers.buffer));
  });

  // In msgpack bytes are inline, so this is data like any other. Beside bytes a client of the default
  // parser could not tell it from them, so that there it may be refused.
  test('what looks like an attachment is never taken for one', async (t) => {
    const alike = [
      { _placeholder: true, num: 0 }, { num: 1, _placeholder: true }, { _placeholder: true, num: 5 }, { _placeholder: true },
      { _placeholder: true, num: 'x' }, { _placeholder: false, num: 0 }, { _placeholder: 1, num: 0 }, { _placeholder: true, num: -1, x: [] },
    ];
    const socket = await speaker(t, server, { transports: ['websocket'] });
    assert.deepEqual(await echoed(socket, alike), [alike]);
    for (const look of alike) {
      const speaks = await RawSpeaker.joined(server, { suite: true });
      const args = [look, one, [one, look]];
      const answer = await speaks.ask(1, 'message-with-ack', ...args).catch((error) => assert.ok(speaks.websocket.isClosed, error.message));
      if (answer) assert.deepEqual(answer, args);
      if (look._placeholder !== true) assert.ok(answer, JSON.stringify(look));
      speaks.close();
    }
  });

  test('events with and without bytes by turns keep their order', async (t) => {
    const socket = await speaker(t, server, { transports: ['websocket'] });
    const echoes = collect(socket, 'message-back');
    for (let i = 0; i < 200; i += 1) socket.emit('message', i, ...(i % 3 ? [] : [Buffer.from([i]), [Buffer.from([i])]]));
    await echoes.take(200);
    echoes.seen.forEach((args, i) => {
      assert.deepEqual(args, i % 3 ? [i] : [i, Buffer.from([i]), [Buffer.from([i])]]);
    });
  });

  test('a handler gets them from clients of both parsers alike', async (t) => {
    for (const options of Object.values(PARSERS)) {
      const socket = await connected(t, gateway, options);
      assert.deepEqual(await ask(socket, 'upload', { file: one, more: [one] }), { status: 'OK' });
    }
  });
});

describe('what else may stand in a packet', () => {
  const CONNECT = packetHex('00');
  /** A session that has joined with this packet; the suite server's first event is read, and must say this. */
  const joins = async (hex, auth = {}) => {
    const speaks = await RawSpeaker.open(server);
    speaks.sendHex(hex);
    const reply = await speaks.next();
    assert.deepEqual([reply.type, reply.nsp], [TYPE.CONNECT, '/']);
    assert.deepEqual((await speaks.next()).data, ['auth', auth]);
    return speaks;
  };
  const stillServes = async (speaks) => {
    assert.deepEqual(await speaks.ask(9, 'message-with-ack', 'x'), ['x']);
    speaks.close();
  };

  const connects = {
    'no data': CONNECT,
    'data that is undefined': packetHex('00', 'd40000'),
    'an empty map as data': packetHex('00', '80'),
    'data that is undefined, and an id': packetHex('00', 'd40000', { id: 'd40000' }),
    'more keys': packetHex('00', 'd40000', { options: '81a161c3', x: '9101', data2: 'c403010203' }),
  };
  for (const [name, hex] of Object.entries(connects)) {
    test(`CONNECT with ${name}`, async () => stillServes(await joins(hex)));
  }

  test('CONNECT and DISCONNECT whose data is nil, as Python sends it', better, async () => {
    const speaks = await joins(packetHex('00', 'c0'));
    speaks.sendHex(packetHex('01', 'c0'));
    await speaks.websocket.fence();
    speaks.sendHex(packetHex('00', 'c0'));
    assert.match((await speaks.next()).data.sid, /^.{20}$/);
    assert.deepEqual((await speaks.next()).data, ['auth', {}]);
    await stillServes(speaks);
  });

  test('the keys in any order, and long forms of everything', async () => {
    const speaks = await joins(mapHex({ nsp: 'db000000012f', data: 'df00000001db0000000161cf0000000000000001', type: 'cf0000000000000000' }), { a: 1 });
    const data = `dd00000002db00000010${Buffer.from('message-with-ack').toString('hex')}d1ffff`;
    speaks.sendHex(mapHex({ id: 'd30000000000000003', data, nsp: 'd9012f', type: 'd002' }));
    assert.deepEqual(await speaks.answer(3), [-1]);
    // The outer map too, and names of keys.
    speaks.sendHex(`df00000003 d90474797065 02 da000464617461 92${hexOf('message')}07 db000000036e7370 a12f`);
    assert.deepEqual(await speaks.next(), { type: TYPE.EVENT, data: ['message-back', 7], nsp: '/' });
    await stillServes(speaks);
  });

  test('EVENT with options, with an id that is undefined, with keys nobody knows', async () => {
    const speaks = await joins(CONNECT);
    const data = `92${hexOf('message')}01`;
    for (const more of [{ options: '81a8636f6d7072657373c3' }, { id: 'd40000' }, { x: 'c0', y: '9181a161c4020102', z: 'd7000000000000000000' }]) {
      speaks.sendHex(packetHex('02', data, more));
      assert.deepEqual(await speaks.next(), { type: TYPE.EVENT, data: ['message-back', 1], nsp: '/' });
    }
    await stillServes(speaks);
  });

  test('acknowledgements that nobody asked for are ignored', async () => {
    const speaks = await joins(CONNECT);
    for (const id of ['00', '05', 'cdffff', 'cf001fffffffffffff']) speaks.sendHex(packetHex('03', '9101', { id }));
    await stillServes(speaks);
  });

  test('events whose name is a number, and names of all kinds that nobody handles', async () => {
    const speaks = await joins(CONNECT);
    const names = ['', 'error', '__proto__', 'é😀', 'Connect', 'x'.repeat(10_000)].map(hexOf);
    for (const name of ['00', '05', 'ff', 'cb3ff8000000000000', ...names]) speaks.sendHex(packetHex('02', `92${name}01`));
    await stillServes(speaks);
  });

  test('a name that is a number is answered as with the default parser', better, async () => {
    for (const [number, hex] of [['5', '05'], ['-1', 'ff'], ['1.5', 'cb3ff8000000000000']]) {
      const text = await joined(gateway);
      text.sendText(`420[${number},"x"]`);
      const speaks = await RawSpeaker.joined(gateway);
      speaks.sendHex(packetHex('02', `92${hex}a178`, { id: '00' }));
      assert.deepEqual(await speaks.answer(0), JSON.parse((await text.nextText()).slice(3)), number);
      text.close();
      speaks.close();
    }
  });

  test('DISCONNECT and CONNECT again', async () => {
    const speaks = await joins(CONNECT);
    speaks.sendHex(packetHex('01'));
    await speaks.websocket.fence();
    speaks.sendHex(CONNECT);
    assert.match((await speaks.next()).data.sid, /^.{20}$/);
    assert.deepEqual((await speaks.next()).data, ['auth', {}]);
    await stillServes(speaks);
  });
});
