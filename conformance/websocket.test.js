// The WebSocket itself, frame by frame: what RFC 6455 demands of a server, and that whatever a
// client sends closes its own connection at most.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import { sleep } from './harness/events.js';
import { better, onReference, startSuiteServer } from './harness/gateway.js';
import { OPCODE, frameBytes, openWebSocket, request, tryUpgrade } from './harness/raw.js';
import { connected, openSession } from './harness/sessions.js';

const ECHO = { path: '/engine.io/' };
const NEW = '/engine.io/?EIO=4&transport=websocket';
const LIMIT = 1_000_000;

let server;
let neighbour;
before(async () => {
  server = await startSuiteServer();
  neighbour = await openSession(server, ECHO);
});
after(async () => {
  try {
    // Whatever happened below: this connection was open all the time.
    await echoes(neighbour, 'untouched');
    neighbour.close();
  } finally {
    await server?.end();
  }
});

const open = () => openSession(server, ECHO);

async function echoes(websocket, text) {
  websocket.sendText(`4${text}`);
  assert.equal(await websocket.nextText(), `4${text}`);
}

describe('the opening handshake', () => {
  test('101 with the right words', async () => {
    const { response, connection } = await tryUpgrade(server, NEW, {
      headers: { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==' },
    });
    assert.equal(response.status, 101);
    // The example of RFC 6455, section 1.3.
    assert.equal(response.headers['sec-websocket-accept'], 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
    assert.equal(response.headers.upgrade.toLowerCase(), 'websocket');
    assert.equal(response.headers.connection.toLowerCase(), 'upgrade');
    assert.equal(response.headers['content-length'], undefined);
    connection.close();
  });

  const fine = [
    ['names and values in any case', { Connection: 'uPGRADE', Upgrade: 'WebSocket' }],
    ['several words in Connection', { Connection: 'keep-alive, Upgrade' }],
  ];
  for (const [name, headers] of fine) {
    test(`accepts ${name}`, async () => {
      const websocket = await openWebSocket(server, NEW, { headers });
      assert.match(await websocket.nextText(), /^0\{/);
      websocket.close();
    });
  }

  const refused = [
    ['no key', { 'Sec-WebSocket-Key': null }, [400]],
    ['a short key', { 'Sec-WebSocket-Key': 'c2hvcnQ=' }, [400]],
    ['a key that is no base64', { 'Sec-WebSocket-Key': '!!!!!!!!!!!!!!!!!!!!!!!!' }, [400]],
    ['a key of 32 bytes', { 'Sec-WebSocket-Key': Buffer.alloc(32).toString('base64') }, [400]],
    ['no version', { 'Sec-WebSocket-Version': null }, [400, 426]],
    ['version 12', { 'Sec-WebSocket-Version': '12' }, [400, 426]],
    ['version 99', { 'Sec-WebSocket-Version': '99' }, [400, 426]],
  ];
  for (const [name, headers, statuses] of refused) {
    test(`refuses ${name}`, async () => {
      const { response } = await tryUpgrade(server, NEW, { headers });
      assert.ok(statuses.includes(response.status), `got ${response.status}`);
    });
  }

  test('a wrong version is told the right one', better, async () => {
    const { response } = await tryUpgrade(server, NEW, { headers: { 'Sec-WebSocket-Version': '12' } });
    assert.match(response.headers['sec-websocket-version'] ?? '', /\b13\b/);
  });

  test('a POST is no handshake', async () => {
    const { response } = await tryUpgrade(server, NEW, { method: 'POST', headers: { 'Content-Length': '0' } });
    assert.ok(response.status >= 400 && response.status < 500, `got ${response.status}`);
  });

  const extensions = [
    'permessage-deflate',
    'permessage-deflate; client_max_window_bits',
    'permessage-deflate; server_no_context_takeover; client_max_window_bits=15',
    'x-webkit-deflate-frame',
    'unknown; a=b',
  ];
  for (const value of extensions) {
    test(`offers of "${value}" are declined`, async () => {
      const websocket = await openWebSocket(server, NEW, { headers: { 'Sec-WebSocket-Extensions': value } });
      assert.equal(websocket.response.headers['sec-websocket-extensions'], undefined);
      websocket.close();
    });
  }

  test('a compressed frame that was never agreed on is a protocol error', async () => {
    const websocket = await open();
    // A bomb: one megabyte of text in a thousand bytes.
    websocket.sendFrame({ payload: deflateRawSync(`4${'x'.repeat(LIMIT)}`), rsv: 4 });
    assert.equal((await websocket.closed()).code, 1002);
  });

  test('an offered subprotocol is not invented upon', async () => {
    const { response, connection } = await tryUpgrade(server, NEW, { headers: { 'Sec-WebSocket-Protocol': 'chat, superchat' } });
    // Echoing one of them (as the reference does) or none is allowed; anything else is not.
    if (response.status === 101) {
      assert.ok([undefined, 'chat', 'superchat'].includes(response.headers['sec-websocket-protocol']));
    } else {
      assert.equal(response.status, 400);
    }
    connection.socket.destroy();
  });
});

describe('messages', () => {
  const texts = ['', 'hello', 'é€😀', '\0', 'a\u001eb', '\u2028\u2029', 'b64', 'x'.repeat(125), 'x'.repeat(126), 'x'.repeat(65534), 'x'.repeat(65535), 'x'.repeat(65536)];
  for (const text of texts) {
    test(`text of ${Buffer.byteLength(text)} bytes ${JSON.stringify(text.slice(0, 12))}`, async () => {
      const websocket = await open();
      await echoes(websocket, text);
      websocket.close();
    });
  }

  for (const length of [0, 1, 125, 126, 65535, 65536, LIMIT]) {
    test(`binary of ${length} bytes`, async () => {
      const websocket = await open();
      const bytes = Buffer.alloc(length, 7);
      websocket.sendBinary(bytes);
      assert.ok(bytes.equals(await websocket.nextBinary()));
      websocket.close();
    });
  }

  test('a text that begins with b is base64 binary', async () => {
    const websocket = await open();
    websocket.sendText('bAQIDBA==');
    assert.deepEqual(await websocket.nextBinary(), Buffer.from([1, 2, 3, 4]));
    websocket.close();
  });

  test('with b64=1 binary goes out as base64 text', async () => {
    const websocket = await openSession(server, { ...ECHO, query: '&b64=1' });
    websocket.sendBinary(Buffer.from([1, 2, 3, 4]));
    assert.equal(await websocket.nextText(), 'bAQIDBA==');
    websocket.close();
  });

  test('lengths may be written longer than needed, or are refused cleanly', async () => {
    const websocket = await open();
    websocket.sendFrame({ payload: '4long', lengthBytes: 8 });
    try {
      assert.equal(await websocket.nextText(), '4long');
    } catch {
      assert.equal(websocket.closeFrame?.code, 1002);
    }
    websocket.close();
  });

  test('a frame sent byte by byte', async () => {
    const websocket = await open();
    for (const byte of frameBytes({ payload: '4slow' })) {
      websocket.connection.write(Buffer.from([byte]));
      await sleep(1);
    }
    assert.equal(await websocket.nextText(), '4slow');
    websocket.close();
  });

  test('five hundred frames in one segment come back in order', async () => {
    const websocket = await open();
    const texts = Array.from({ length: 500 }, (_, i) => `4${i}`);
    websocket.sendTogether(...texts);
    for (const text of texts) assert.equal(await websocket.nextText(), text);
    websocket.close();
  });

  test('frames from the server are whole and unmasked', async () => {
    const websocket = await open();
    websocket.sendText(`4${'x'.repeat(200_000)}`);
    const { fin, rsv, masked } = await websocket.next();
    assert.deepEqual({ fin, rsv, masked }, { fin: true, rsv: 0, masked: false });
    websocket.close();
  });
});

describe('the limit of a message', () => {
  test('exactly the limit comes back', async () => {
    const websocket = await open();
    await echoes(websocket, 'x'.repeat(LIMIT - 1));
    websocket.close();
  });

  const tooLarge = [
    ['text', [{ payload: `4${'x'.repeat(LIMIT)}` }]],
    ['binary', [{ opcode: OPCODE.binary, payload: Buffer.alloc(LIMIT + 1) }]],
    [
      'fragments that are each small enough',
      [
        { payload: `4${'x'.repeat(600_000)}`, fin: false },
        { opcode: OPCODE.continuation, payload: 'x'.repeat(600_000), fin: true },
      ],
    ],
    // Nobody may wait, or make room, for what was only announced.
    ['an announced length of one byte too many', [{ payload: '4', announced: LIMIT + 1 }]],
    ['an announced length of 2^53', [{ payload: '4', announced: 2 ** 53 }]],
    ['an announced length of 2^62', [{ payload: '4', announced: 2n ** 62n, lengthBytes: 8 }]],
  ];
  for (const [name, frames] of tooLarge) {
    test(`${name}: closed with 1009`, async () => {
      const websocket = await open();
      for (const frame of frames) websocket.sendFrame(frame);
      assert.equal((await websocket.closed()).code, 1009);
      await echoes(neighbour, 'unaffected');
    });
  }

  test('a length with the highest bit set is refused', async () => {
    const websocket = await open();
    websocket.sendFrame({ payload: '4', announced: 2n ** 63n, lengthBytes: 8 });
    assert.ok([1002, 1009].includes((await websocket.closed()).code));
  });

  test('the stock client sees its connection close', async (t) => {
    const socket = await connected(t, server, { transports: ['websocket'] });
    const reason = new Promise((resolve) => socket.on('disconnect', resolve));
    socket.emit('message', 'x'.repeat(LIMIT));
    assert.equal(await reason, 'transport close');
  });
});

describe('fragments and control frames', () => {
  test('a message in three fragments', async () => {
    const websocket = await open();
    websocket.sendFrame({ payload: '4he', fin: false });
    websocket.sendFrame({ opcode: OPCODE.continuation, payload: 'll', fin: false });
    websocket.sendFrame({ opcode: OPCODE.continuation, payload: 'o', fin: true });
    assert.equal(await websocket.nextText(), '4hello');
    websocket.close();
  });

  test('a character split between fragments', async () => {
    const websocket = await open();
    const bytes = Buffer.from('4😀');
    websocket.sendFrame({ payload: bytes.subarray(0, 3), fin: false });
    websocket.sendFrame({ opcode: OPCODE.continuation, payload: bytes.subarray(3), fin: true });
    assert.equal(await websocket.nextText(), '4😀');
    websocket.close();
  });

  test('empty fragments', async () => {
    const websocket = await open();
    websocket.sendFrame({ payload: '', fin: false });
    websocket.sendFrame({ opcode: OPCODE.continuation, payload: '', fin: false });
    websocket.sendFrame({ opcode: OPCODE.continuation, payload: '4x', fin: false });
    websocket.sendFrame({ opcode: OPCODE.continuation, payload: '', fin: true });
    assert.equal(await websocket.nextText(), '4x');
    websocket.close();
  });

  test('a ping between fragments is answered, the message stays whole', async () => {
    const websocket = await open();
    websocket.sendFrame({ payload: '4he', fin: false });
    websocket.sendFrame({ opcode: OPCODE.ping, payload: 'middle' });
    const pong = await websocket.next();
    assert.deepEqual([pong.opcode, pong.text], [OPCODE.pong, 'middle']);
    websocket.sendFrame({ opcode: OPCODE.continuation, payload: 'llo' });
    assert.equal(await websocket.nextText(), '4hello');
    websocket.close();
  });

  for (const payload of ['', 'x', 'y'.repeat(125)]) {
    test(`a ping of ${payload.length} bytes is answered with the same`, async () => {
      const websocket = await open();
      websocket.sendFrame({ opcode: OPCODE.ping, payload });
      const pong = await websocket.next();
      assert.deepEqual([pong.opcode, pong.text], [OPCODE.pong, payload]);
      websocket.close();
    });
  }

  test('a pong nobody asked for is ignored', async () => {
    const websocket = await open();
    websocket.sendFrame({ opcode: OPCODE.pong, payload: 'x' });
    await echoes(websocket, 'alive');
    websocket.close();
  });

  test('a Close with a code is answered with that code, then the connection ends', async () => {
    const websocket = await open();
    websocket.sendFrame({ opcode: OPCODE.close, payload: Buffer.from([0x03, 0xe8]) });
    assert.equal((await websocket.closed()).code, 1000);
    await websocket.connection.closed();
  });

  test('a Close without a code is answered', async () => {
    const websocket = await open();
    websocket.sendFrame({ opcode: OPCODE.close });
    const { code } = await websocket.closed();
    assert.ok(code === null || code === 1000, `got ${code}`);
    await websocket.connection.closed();
  });

  test('nothing is taken after a Close', async () => {
    const websocket = await open();
    websocket.connection.write(
      Buffer.concat([frameBytes({ opcode: OPCODE.close }), frameBytes({ payload: '4after' })]),
    );
    const { unread } = await websocket.closed();
    assert.deepEqual(unread, []);
  });
});

describe('violations close with the code RFC 6455 gives them', () => {
  const close = (...bytes) => ({ opcode: OPCODE.close, payload: Buffer.from(bytes) });
  const violations = [
    ['an unmasked text', 1002, [{ payload: '4x', masked: false }]],
    ['an unmasked binary', 1002, [{ opcode: OPCODE.binary, payload: 'x', masked: false }]],
    ['an unmasked ping', 1002, [{ opcode: OPCODE.ping, masked: false }]],
    ['reserved bit 1', 1002, [{ payload: '4x', rsv: 4 }]],
    ['reserved bit 2', 1002, [{ payload: '4x', rsv: 2 }]],
    ['reserved bit 3', 1002, [{ payload: '4x', rsv: 1 }]],
    ['all reserved bits', 1002, [{ payload: '4x', rsv: 7 }]],
    ['a reserved bit on a ping', 1002, [{ opcode: OPCODE.ping, rsv: 4 }]],
    ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode) => [`opcode ${opcode}`, 1002, [{ opcode, payload: 'x' }]]),
    ['a continuation of nothing', 1002, [{ opcode: OPCODE.continuation, payload: 'x' }]],
    ['a continuation after a whole message', 1002, [{ payload: '4ok' }, { opcode: OPCODE.continuation, payload: 'x' }]],
    ['a new message inside fragments', 1002, [{ payload: '4x', fin: false }, { payload: '4y' }]],
    ['a fragmented ping', 1002, [{ opcode: OPCODE.ping, payload: 'x', fin: false }]],
    ['a ping of 126 bytes', 1002, [{ opcode: OPCODE.ping, payload: 'x'.repeat(126) }]],
    ['a Close of 126 bytes', 1002, [close(...Buffer.alloc(126, 0x61))]],
    ['a Close of one byte', 1002, [close(3)]],
    ['a Close with code 0', 1002, [close(0, 0)]],
    ['a Close with code 999', 1002, [close(0x03, 0xe7)]],
    ['a Close with the reserved code 1005', 1002, [close(0x03, 0xed)]],
    ['a Close with the reserved code 1006', 1002, [close(0x03, 0xee)]],
    ['a Close with code 5000', 1002, [close(0x13, 0x88)]],
    ['a Close whose reason is no UTF-8', 1007, [close(0x03, 0xe8, 0xff, 0xfe)]],
    ['text that is no UTF-8', 1007, [{ payload: Buffer.from([0x34, 0xff, 0xfe]) }]],
    ['text with an overlong form', 1007, [{ payload: Buffer.from([0x34, 0xc0, 0xaf]) }]],
    ['text with a surrogate', 1007, [{ payload: Buffer.from([0x34, 0xed, 0xa0, 0x80]) }]],
    ['text beyond the last character', 1007, [{ payload: Buffer.from([0x34, 0xf4, 0x90, 0x80, 0x80]) }]],
    ['text that ends inside a character', 1007, [{ payload: Buffer.from([0x34, 0xe2, 0x82]) }]],
    [
      'fragments that join to no UTF-8',
      1007,
      [{ payload: Buffer.from([0x34, 0xe2]), fin: false }, { opcode: OPCODE.continuation, payload: Buffer.from([0x28]) }],
    ],
  ];
  for (const [name, code, frames] of violations) {
    test(`${name}: ${code}`, async () => {
      const websocket = await open();
      for (const frame of frames) websocket.sendFrame(frame);
      assert.equal((await websocket.closed()).code, code);
      await websocket.connection.closed();
      await echoes(neighbour, 'unaffected');
    });
  }
});

describe('Engine.IO packets on a WebSocket', () => {
  const ignored = ['0', '0{"sid":"x"}', '3', '3abc', '5', '6'];
  for (const packet of ignored) {
    test(`${packet} from a client is ignored`, async () => {
      const websocket = await open();
      websocket.sendText(packet);
      await echoes(websocket, 'alive');
      websocket.close();
    });
  }

  // 2 and its probe only make sense from a server, or while upgrading.
  const closing = ['2', '2probe', 'abc', '7', '', 'é', ' 4x'];
  for (const packet of closing) {
    test(`${JSON.stringify(packet)} closes without a code`, async () => {
      const websocket = await open();
      websocket.sendText(packet);
      const { code } = await websocket.closed();
      // The reference gives no code; a code that names the fault is the better answer.
      if (onReference) assert.equal(code, null);
      else assert.ok(code !== undefined, 'the connection ended without a Close');
    });
  }

  test('1 closes at once', better, async () => {
    const websocket = await open();
    websocket.answerPings = true;
    const asked = Date.now();
    websocket.sendText('1');
    await websocket.closed();
    assert.ok(Date.now() - asked < 250, 'it waited for the ping timeout');
  });

  test('what follows an invalid packet is not delivered', async () => {
    const websocket = await open();
    websocket.sendTogether('4first', 'zz', '4second');
    const { unread } = await websocket.closed();
    assert.ok(!unread.includes('4second'), String(unread));
  });

  test('the session is gone after the close', async () => {
    const websocket = await open();
    websocket.close();
    await websocket.connection.closed();
    const { status } = await request(server, { path: `/engine.io/?EIO=4&transport=polling&sid=${websocket.sid}` });
    assert.equal(status, 400);
  });
});
