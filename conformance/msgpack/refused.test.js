// What is no packet, or no packet that a client may send: it ends its own connection, at once, and
// nobody else notices. Packets are written as hex; bystanders of both parsers watch.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { better } from '../harness/gateway.js';
import { metrics, metricsShow } from '../harness/metrics.js';
import { OPCODE, frameBytes } from '../harness/raw.js';
import { drawLots } from '../harness/seed.js';
import { Polling } from '../harness/sessions.js';
import { Bystanders, RawSpeaker, TYPE, bytesOf, encode, eventHex, hexOf, mapHex, packetHex, startSpeaking } from './speaking.js';

let gateway;
let bystanders;
before(async () => {
  gateway = await startSpeaking({ env: { IDAE_SOCKET_NAMESPACES: '/,/admin' } });
  bystanders = await Bystanders.open(gateway);
});
after(async () => {
  try {
    await bystanders?.unharmed();
    bystanders?.close();
  } finally {
    await gateway?.end();
  }
});

/** Cases `[title, hex, options]`, each sent by a client that has joined, or by a new one. */
function close(cases, { isNew = false } = {}) {
  for (const [title, hex, options = {}] of cases) {
    test(title, options, async () => {
      const speaks = isNew ? await RawSpeaker.open(gateway) : await RawSpeaker.joined(gateway);
      for (const packet of [hex].flat()) speaks.sendHex(packet);
      await speaks.closedUnanswered();
      await bystanders.unharmed();
    });
  }
}

const NSP = hexOf('/');
const EVENT = eventHex('message', '01');
/** An event with one argument, which is this. */
const argument = (hex) => eventHex('message', hex);
const named = (name) => packetHex('02', `92${name}01`);

describe('bytes that are no packet', () => {
  close([
    ['nothing', ''],
    ['the byte that no form uses', 'c1'],
    ['nil', 'c0', better],
    ['a number', '05'],
    ['text', hexOf('40')],
    ['an array', `9302${hexOf(['message', 1])}${NSP}`],
    ['bytes', 'c403010203'],
    ['an empty map', '80'],
    ['JSON', Buffer.from('{"type":2,"data":["message",1],"nsp":"/"}').toString('hex')],
    ['a packet of the default parser', Buffer.from('42["message",1]').toString('hex')],
    ['zeros', '00'.repeat(1000)],
    ['ones', 'ff'.repeat(1000)],
    ['an event with a byte behind it', `${EVENT}00`],
    ['an event with nil behind it', `${EVENT}c0`],
    ['an event twice', EVENT + EVENT],
    ['the byte that no form uses as an argument', argument('c1')],
    ['a key without a value', `83${hexOf('type')}02${hexOf('data')}91a178${hexOf('nsp')}`],
    ['one entry more than there is', `84${EVENT.slice(2)}`],
    ['one entry less than there is', `82${EVENT.slice(2)}`],
    ['one argument more than there is', EVENT.replace(`92${hexOf('message')}`, `93${hexOf('message')}`)],
    ['one argument less than there is', EVENT.replace(`92${hexOf('message')}`, `91${hexOf('message')}`)],
  ]);

  test('an event that is cut off, anywhere', async () => {
    const whole = bytesOf(packetHex('02', hexOf(['message', 'text', 1.5, 70_000, -70_000, Buffer.from([1]), new Date(0), { a: [null] }])));
    for (let length = 0; length < whole.length; length += 1) {
      const speaks = await RawSpeaker.joined(gateway);
      speaks.websocket.sendBinary(whole.subarray(0, length));
      await speaks.closedUnanswered();
    }
    await bystanders.unharmed();
  });
});

describe('lengths that are a lie', () => {
  const forms = { array32: 'ddffffffff', map32: 'dfffffffff', str32: 'dbffffffff', bin32: 'c6ffffffff', ext32: 'c9ffffffff00' };
  const shorter = { array16: 'dcffff', map16: 'deffff', str16: 'daffff', str8: 'd9ff', bin16: 'c5ffff', bin8: 'c4ff', ext16: 'c8ffff00', ext8: 'c7ff00' };
  const inPlaces = Object.entries({ ...forms, ...shorter }).flatMap(([form, hex]) => [
    [`${form} as the packet`, hex],
    [`${form} as the data`, `83${hexOf('type')}02${hexOf('nsp')}${NSP}${hexOf('data')}${hex}`],
    [`${form} as an argument`, argument(hex)],
    [`${form} as the auth object`, packetHex('00', hex, { nsp: hexOf('/admin') })],
    [`${form} in a key nobody knows`, `84${EVENT.slice(2)}${hexOf('options')}${hex}`],
    [`${form} as the namespace`, mapHex({ type: '02', data: '91a178', nsp: hex })],
    [`${form} as a key`, `83${hexOf('type')}02${hex}${hexOf('nsp')}${NSP}`],
  ]);
  const nested = Object.entries({ array: ['ddffffffff', ''], map: ['dfffffffff', 'a161'] }).map(([kind, [head, key]]) => [
    `400 levels of ${kind}s that claim to be huge`,
    argument(`${head}${key}`.repeat(400)),
  ]);
  // Its reader begins to fill what was claimed.
  const cases = [...inPlaces, ...nested].map(([title, hex]) => [title, hex, /(array|map|ext)32|huge/.test(title) ? better : {}]);

  /** What the gateway had at most, and what it reserved at most. */
  const memory = () => {
    const status = readFileSync(`/proc/${gateway.pid}/status`, 'utf8');
    return ['VmHWM', 'VmPeak'].map((name) => 1024 * Number(status.match(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm'))[1]));
  };
  let earlier;
  before(() => (earlier = memory()));
  close(cases);

  test('none of them took memory', better, () => {
    const [resident, reserved] = memory().map((now, i) => now - earlier[i]);
    assert.ok(resident < 64 * 2 ** 20, `${resident} bytes more`);
    // Threads that are started meanwhile reserve some.
    assert.ok(reserved < 2 ** 30, `${reserved} bytes more reserved`);
  });
});

describe('values nested too deep', () => {
  const deep = (levels, open, inner) => argument(open.repeat(levels) + inner);
  close([
    ...[600, 1000, 100_000, 900_000].flatMap((levels) => [
      [`${levels} arrays`, deep(levels, '91', 'c0'), better],
      [`${levels} arrays without an end`, deep(levels, '91', ''), better],
    ]),
    ...[300, 100_000, 200_000].map((pairs) => [`${pairs} arrays in maps`, deep(pairs, '81a16191', 'c0'), better]),
    ['as the auth object of CONNECT', packetHex('00', `${'81a161'.repeat(1000)}c0`, { nsp: hexOf('/admin') }), better],
    ['as the arguments of an acknowledgement', packetHex('03', `${'91'.repeat(1000)}c0`, { id: '00' }), better],
  ]);

  test('in a key nobody knows: ignored or closed', async () => {
    await isHarmless(`84${EVENT.slice(2)}${hexOf('options')}${'91'.repeat(100_000)}c0`);
  });

  test('500 levels are not too deep', async () => {
    const speaks = await RawSpeaker.joined(gateway);
    speaks.sendHex(packetHex('02', `92${hexOf('subscribe')}${'91'.repeat(500)}c0`, { id: '00' }));
    assert.equal((await speaks.answer(0))[0].status, 'error');
    speaks.close();
  });
});

describe('packets of the wrong shape', () => {
  const event = `92${hexOf('message')}01`;
  const types = {
    5: '05', 6: '06', 127: '7f', 255: 'ccff', 256: 'cd0100', '2^32 + 2': 'cf0000000100000002', '2^64 - 1': 'cfffffffffffffffff',
    '-1': 'ff', '-2^63': 'd38000000000000000', '1.5': 'cb3ff8000000000000', NaN: 'cb7ff8000000000000', infinity: 'cb7ff0000000000000',
    '"2"': 'a132', nil: 'c0', undefined: 'd40000', true: 'c3', '[2]': '9102', bytes: 'c40102', 'a date': 'd7000000000000000002',
  };
  close(Object.entries(types).map(([name, hex]) => [`the type ${name}`, packetHex(hex, event)]));
  close([
    ['no type', mapHex({ data: event, nsp: NSP })],
    ['another key instead of the type', mapHex({ Type: '02', data: event, nsp: NSP })],
  ]);

  const namespaces = { 'a number': '01', nil: 'c0', undefined: 'd40000', bytes: 'c4012f', 'an array': `91${NSP}`, true: 'c3' };
  close(Object.entries(namespaces).map(([name, nsp]) => [`a namespace that is ${name}`, packetHex('02', event, { nsp })]));
  close(['', 'admin', ' /', '\\', '\u0000/'].flatMap((name) => [
    [`the namespace ${JSON.stringify(name)} of an event`, packetHex('02', event, { nsp: hexOf(name) })],
    [`the namespace ${JSON.stringify(name)} of CONNECT`, packetHex('00', '80', { nsp: hexOf(name) }), better],
  ]));
  close([['no namespace', mapHex({ type: '02', data: event })], ['no namespace in CONNECT', mapHex({ type: '00' })]]);

  // The reference lets the negative ones pass.
  const negative = { '-1': 'ff', '-32769': 'd2ffff7fff' };
  const ids = {
    '0.5': 'cb3fe0000000000000', '-0.5': 'cbbfe0000000000000', NaN: 'cb7ff8000000000000', infinity: 'cb7ff0000000000000',
    '"0"': 'a130', true: 'c3', '[0]': '9100', bytes: 'c40100', 'a date': 'd7000000000000000000',
  };
  for (const [some, options] of [[negative, better], [ids, {}]]) {
    close(Object.entries(some).flatMap(([name, id]) => [
      [`an event with the id ${name}`, packetHex('02', event, { id }), options],
      [`an acknowledgement with the id ${name}`, packetHex('03', '9101', { id }), options],
    ]));
  }

  const bytes = `c407${Buffer.from('message').toString('hex')}`;
  const lists = {
    missing: undefined, nil: 'c0', undefined: 'd40000', true: 'c3', bytes,
    'a text': hexOf('message'), 'a number': '01', 'a map': `81a130${hexOf('message')}`,
  };
  close(Object.entries(lists).map(([name, data]) => [`an event whose data is ${name}`, packetHex('02', data)]));
  close(['a text', 'a number', 'a map', 'bytes'].map((name) => [`an acknowledgement whose data is ${name}`, packetHex('03', lists[name], { id: '00' })]));
  close([['an event without a name', packetHex('02', '90'), better]]);

  const names = {
    nil: 'c0', undefined: 'd40000', true: 'c3', false: 'c2', bytes,
    'an array': `91${hexOf('message')}`, 'a map': '80', 'a date': 'd7000000000000000000', 'an ArrayBuffer': 'c7010061',
  };
  close(Object.entries(names).map(([name, hex]) => [`an event whose name is ${name}`, named(hex), better]));

  const reserved = ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener'];
  close(reserved.flatMap((name) => [
    [`the reserved name ${name}`, named(hexOf(name)), better],
    [`the reserved name ${name} in a long form`, named(`db${name.length.toString(16).padStart(8, '0')}${Buffer.from(name).toString('hex')}`), better],
    [`the reserved name ${name} with bytes and an id`, packetHex('02', `92${hexOf(name)}c40101`, { id: '00' }), better],
  ]));
});

describe('packets out of turn', () => {
  const CONNECT = packetHex('00', 'd40000');
  const data = { 'an array': '90', 'a text': 'a178', 'a number': '01', true: 'c3', bytes: 'c40101', 'a date': 'd7000000000000000000' };
  close(Object.entries(data).map(([name, hex]) => [`CONNECT whose data is ${name}`, packetHex('00', hex)]), { isNew: true });
  close([
    ['an event before CONNECT', EVENT],
    ['an event with an id before CONNECT', packetHex('02', `91${hexOf('subscribe')}`, { id: '00' })],
    ['an acknowledgement before CONNECT', packetHex('03', '90', { id: '00' })],
    ['DISCONNECT before CONNECT', packetHex('01')],
    ['CONNECT_ERROR before CONNECT', packetHex('04', hexOf({ message: 'x' }))],
    ['garbage before CONNECT', 'c1'],
    ['nothing before CONNECT', ''],
    ['an event for another namespace before CONNECT', packetHex('02', '91a178', { nsp: hexOf('/admin') })],
  ], { isNew: true });
  close([
    ['CONNECT again', CONNECT],
    ['CONNECT again with auth', packetHex('00', hexOf({ token: 'x' }))],
    ['CONNECT_ERROR', packetHex('04', hexOf({ message: 'x' }))],
    ['CONNECT_ERROR with text', packetHex('04', hexOf('x'))],
    ['CONNECT_ERROR for another namespace', packetHex('04', hexOf({ message: 'x' }), { nsp: hexOf('/admin') })],
    ['an event for a namespace that was not joined', packetHex('02', '91a178', { nsp: hexOf('/admin') })],
    ['an event for a namespace that does not exist', packetHex('02', '91a178', { nsp: hexOf('/nope') })],
    ['DISCONNECT with data', packetHex('01', '80')],
    ['DISCONNECT from a namespace that was not joined', packetHex('01', undefined, { nsp: hexOf('/admin') })],
    ['eleven binary values', eventHex('message', ...Array(11).fill('c40101')), better],
    ['eleven binary values in one argument', argument(`9b${'c40101'.repeat(11)}`), better],
    ['eleven binary values in an acknowledgement', packetHex('03', `9b${'c40101'.repeat(11)}`, { id: '00' }), better],
  ]);

  test('two CONNECTs in one segment never make two sockets', better, async () => {
    const speaks = await RawSpeaker.open(gateway);
    const frame = () => frameBytes({ opcode: OPCODE.binary, payload: bytesOf(CONNECT) });
    speaks.websocket.connection.write(Buffer.concat([frame(), frame()]));
    const { unread } = await speaks.websocket.closed();
    assert.ok(unread.length <= 1, `${unread.length} answers`);
    await bystanders.unharmed();
  });
});

describe('messages whose JSON would be larger than a message may be', () => {
  close([
    ['a megabyte of nils', argument(`dd000e7ef0${'c0'.repeat(950_000)}`), better],
    ['a megabyte of empty maps', argument(`dd000e7ef0${'80'.repeat(950_000)}`), better],
    ['a megabyte of control characters', argument(`db000e7ef0${'01'.repeat(950_000)}`), better],
    ['190,000 nils beside as many bytes', argument(`92c60002e630${'00'.repeat(190_000)}dd0002e630${'c0'.repeat(190_000)}`), better],
  ]);

  test('they are counted as what they are, and so is depth', better, async () => {
    const before = await metrics(gateway);
    for (const [limit, hex] of [
      ['payload_bytes_max', argument(`dd00030d41${'c0'.repeat(200_001)}`)],
      ['depth_max', argument(`${'91'.repeat(513)}c0`)],
      ['attachments_max', eventHex('message', ...Array(11).fill('c40101'))],
    ]) {
      const speaks = await RawSpeaker.joined(gateway);
      speaks.sendHex(hex);
      await speaks.closedUnanswered();
      await metricsShow(gateway, (now) => now.limit(limit) === before.limit(limit) + 1, `"${limit}" to be counted`);
    }
  });
});

describe('on polling', () => {
  const cases = {
    nothing: '', garbage: 'c1', 'an event before CONNECT': EVENT, 'a byte behind CONNECT': `${packetHex('00')}00`,
    'CONNECT with an array': packetHex('00', '90'), 'a list that claims to be long': 'dcffff',
  };
  for (const [name, hex] of Object.entries(cases)) {
    test(`${name} ends the session`, async () => {
      const session = await Polling.open(gateway);
      await session.post(`b${bytesOf(hex).toString('base64')}`);
      await session.ends();
      await bystanders.unharmed();
    });
  }

  test('text behind msgpack ends the session, and msgpack behind text', better, async () => {
    const connect = `b${bytesOf(packetHex('00')).toString('base64')}`;
    for (const packets of [[connect, '40/admin,'], ['40', connect]]) {
      const session = await Polling.open(gateway);
      await session.post(packets.join('\x1e'));
      await session.ends();
    }
    await bystanders.unharmed();
  });
});

/** Sent by a joined client: it goes on or ends, and nobody else notices. */
async function isHarmless(...packets) {
  const speaks = await RawSpeaker.joined(gateway);
  for (const packet of packets) speaks.sendHex(packet);
  speaks.send({ type: TYPE.EVENT, data: ['fence'], id: 99, nsp: '/' });
  try {
    while ((await speaks.next()).id !== 99);
  } catch (error) {
    assert.ok(speaks.websocket.isClosed, error.message);
  }
  speaks.close();
  await bystanders.unharmed();
}

describe('what may be ignored or end its connection, and does no more', () => {
  const event = `92${hexOf('message')}01`;
  const cases = {
    'extensions of any type': eventHex('message', 'd40100', 'd5ff0000', 'd60500000000', 'd7ff0000000000000000', 'd80000000000000000000000000000000000', 'c70105ff'),
    'keys that are no text': argument('8501020003c0c2c3a1619000'),
    'keys of the packet that are no text': `84${EVENT.slice(2)}0102`,
    'the type twice': `84${EVENT.slice(2)}${hexOf('type')}00`,
    'the data twice': `84${EVENT.slice(2)}${hexOf('data')}92a1780102`,
    'a type that is a float': packetHex('cb4000000000000000', event),
    'an id that is a float': packetHex('02', event, { id: 'cb4000000000000000' }),
    'an id that is nil': packetHex('02', event, { id: 'c0' }),
    'an id beyond what JavaScript can count': packetHex('02', event, { id: 'cf0020000000000001' }),
    'an id beyond all': packetHex('02', event, { id: 'cfffffffffffffffff' }),
    'an acknowledgement without an id': packetHex('03', '90'),
    'an acknowledgement without data': packetHex('03', undefined, { id: '00' }),
    'text that is no UTF-8': argument('a4ff80c0af'),
    'a name that is no UTF-8': named('a2c328'),
    'a namespace that is no UTF-8': packetHex('02', event, { nsp: 'a22fff' }),
    'half a character': argument('a3eda080'),
    'a key called __proto__': argument(`81${hexOf('__proto__')}81${hexOf('x')}01`),
    'a namespace with a comma': packetHex('00', 'd40000', { nsp: hexOf('/a,b') }),
    'a namespace with a query': packetHex('00', 'd40000', { nsp: hexOf('/?a=b') }),
    'a namespace of 100,000 characters': packetHex('00', 'd40000', { nsp: hexOf(`/${'x'.repeat(100_000)}`) }),
    'bytes in auth': packetHex('00', hexOf({ token: Buffer.from([1]) }), { nsp: hexOf('/admin') }),
    'a thousand namespaces': Array.from({ length: 1000 }, (_, i) => packetHex('00', 'd40000', { nsp: hexOf(`/n${i}`) })),
    'a megabyte of bytes that are no UTF-8': argument(`db000e7ef0${'ff'.repeat(950_000)}`),
    'a megabyte of tiny floats': argument(`dd0002e630${'ca00000001'.repeat(190_000)}`),
    'a megabyte of dates': argument(`dd00017318${'d7000000000000000000'.repeat(95_000)}`),
    'a megabyte as a name': packetHex('02', `91db000e7ef0${'61'.repeat(950_000)}`),
    'more than a message may have': argument(`c6000f4240${'00'.repeat(1_000_000)}`),
  };
  for (const [name, hex] of Object.entries(cases)) test(name, () => isHarmless(...[hex].flat()));

  test('what is almost right, by lot', { timeout: 120_000, ...better }, async (t) => {
    const lots = drawLots(t, 'packets');
    const right = [
      { type: 0, nsp: '/admin' },
      { type: 0, data: { token: 'x', list: [1, [2.5, null]] }, nsp: '/admin' },
      { type: 1, nsp: '/' },
      { type: 2, data: ['subscribe', ['a', 'b']], id: 0, nsp: '/' },
      { type: 2, data: ['x', Buffer.from([1, 2]), new Date(0), undefined, { k: -70_000 }], id: 70_000, nsp: '/' },
      { type: 2, data: ['grantIn', { ROLE: 'a', host: 'é' }], options: { compress: true }, nsp: '/' },
      { type: 3, data: [{ a: 'x'.repeat(40) }], id: 1, nsp: '/' },
    ].map(encode);
    for (let count = 0; count < 600; count += 1) {
      const speaks = await RawSpeaker.joined(gateway);
      for (let packets = lots.between(1, 4); packets > 0; packets -= 1) {
        let bytes = Buffer.from(lots.pick(right));
        for (let times = lots.between(0, 3); times > 0; times -= 1) {
          const at = lots.between(0, bytes.length - 1);
          const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)];
          bytes = lots.pick([
            () => Buffer.concat([head, lots.bytes(1), tail.subarray(1)]),
            () => Buffer.concat([head, Buffer.from([lots.between(0xc0, 0xdf)]), tail.subarray(1)]),
            () => Buffer.concat([head, lots.bytes(lots.between(1, 9)), tail]),
            () => Buffer.concat([head, tail, tail]),
            () => Buffer.concat([head, tail.subarray(lots.between(0, 4)), Buffer.from('c0', 'hex')]),
          ])();
        }
        speaks.websocket.sendBinary(bytes);
      }
      speaks.websocket.reset();
      if (count % 100 === 99) await bystanders.unharmed();
    }
  });
});
