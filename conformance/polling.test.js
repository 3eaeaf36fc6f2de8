// Long polling: payloads, limits, and what closes a session or leaves it alone. Most cases run
// on the echo server, where each message comes back in its own type.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { sleep } from './harness/events.js';
import { better, onReference, startGateway, startSuiteServer } from './harness/gateway.js';
import { RawConnection, request, requestBytes } from './harness/raw.js';
import { Polling, SEPARATOR, UNKNOWN_SID, ask, connected } from './harness/sessions.js';

const ECHO = { path: '/engine.io/' };
const LIMIT = 1_000_000;
// Nothing tells a client that its request has reached the server: on loopback this is ample.
const ARRIVE_MS = 40;

let server;
before(async () => {
  server = await startSuiteServer();
});
after(() => server?.end());

const open = () => Polling.open(server, ECHO);

describe('a POST and a GET', () => {
  test('the answer to a POST is ok, in full', async () => {
    const session = await open();
    const { status, headers, text } = await session.post('4hello');
    assert.deepEqual([status, text], [200, 'ok']);
    assert.equal(headers['content-type'], 'text/html');
    assert.equal(headers['content-length'], '2');
    assert.equal(headers['cache-control'], 'no-store');
  });

  test('the answer to a GET has the same headers as the handshake', async () => {
    const session = await open();
    await session.send('4hello');
    const { status, headers, text } = await session.poll();
    assert.deepEqual([status, text], [200, '4hello']);
    assert.equal(headers['content-type'], 'text/plain; charset=UTF-8');
    assert.equal(headers['cache-control'], 'no-store');
    assert.equal(headers['content-length'], '6');
  });

  test('Content-Length counts bytes, not characters', async () => {
    const session = await open();
    await session.send('4€😀');
    const { headers, text } = await session.poll();
    assert.equal(text, '4€😀');
    assert.equal(headers['content-length'], '8');
  });

  test('a pending GET is answered by the next message', async () => {
    const session = await open();
    const pending = await session.pending();
    await session.send('4late');
    assert.equal((await pending.response()).text, '4late');
    pending.close();
  });

  test('messages wait for the next GET, in order, in one body', async () => {
    const session = await open();
    await session.send('4one');
    await session.send('4two');
    await session.send('bAQI=');
    assert.equal((await session.poll()).text, ['4one', '4two', 'bAQI='].join(SEPARATOR));
  });

  test('a thousand packets in one payload come back in order', async () => {
    const session = await open();
    const packets = Array.from({ length: 1000 }, (_, i) => `4${i}`);
    await session.send(packets.join(SEPARATOR));
    assert.deepEqual(await session.packets(1000), packets);
  });

  const contentTypes = [undefined, 'text/plain', 'text/plain;charset=UTF-8', 'application/json', 'text/html'];
  for (const type of contentTypes) {
    test(`content type ${type ?? 'absent'} makes no difference`, async () => {
      const session = await open();
      const { status, text } = await session.post('4x', { headers: type ? { 'content-type': type } : {} });
      assert.deepEqual([status, text], [200, 'ok']);
      assert.equal(await session.packet(), '4x');
    });
  }

  const packets = [
    ['an empty message', '4', ['4']],
    ['a text that looks like a binary packet', '4bAQID', ['4bAQID']],
    ['characters of two, three and four bytes', '4é€😀', ['4é€😀']],
    ['a line break and a NUL', '4a\r\nb\0c', ['4a\r\nb\0c']],
    ['binary', 'bAQIDBA==', ['bAQIDBA==']],
    ['binary without padding', 'bAQIDBA', ['bAQIDBA==']],
    ['empty binary', 'b', ['b']],
    ['all byte values', `b${Buffer.from(Array.from({ length: 256 }, (_, i) => i)).toString('base64')}`],
    ['text and binary by turns', ['4a', 'bAQ==', '4b', 'bAg=='].join(SEPARATOR), ['4a', 'bAQ==', '4b', 'bAg==']],
    ['a pong nobody waits for', ['3', '3again', '4x'].join(SEPARATOR), ['4x']],
    ['packets a client never sends, which are ignored', ['0', '0{"sid":"x"}', '5', '6', '4x'].join(SEPARATOR), ['4x']],
  ];
  for (const [name, payload, expected = [payload]] of packets) {
    test(`echo: ${name}`, async () => {
      const session = await open();
      await session.send(payload);
      assert.deepEqual(await session.packets(expected.length), expected);
    });
  }
});

describe('what closes the session', () => {
  const closing = [
    ['an unknown packet type', 'abc'],
    ['a digit that is no type', '7'],
    ['an empty packet at the end', `4ok${SEPARATOR}`, ['4ok']],
    ['an invalid packet between good ones', ['4a', 'zz', '4b'].join(SEPARATOR), ['4a']],
    ['nothing but separators', SEPARATOR.repeat(3)],
    ['an empty body', ''],
    ['a ping, which only servers send', '2'],
    ['a probe, which belongs on a WebSocket', '2probe'],
  ];
  for (const [name, payload] of closing) {
    test(name, async () => {
      const session = await open();
      const { status } = await session.post(payload);
      // Node's own server says 200 here, because it answered before it looked.
      assert.ok(status === 400 || (onReference && status === 200), `got ${status}`);
      await session.isGone();
    });
  }

  test('packets before the invalid one are still delivered', async () => {
    const session = await open();
    const pending = await session.pending();
    await sleep(ARRIVE_MS);
    await session.post(['4a', 'zz', '4b'].join(SEPARATOR));
    const { status, text } = await pending.response();
    assert.equal(status, 200);
    assert.equal(text.split(SEPARATOR)[0], '4a');
    assert.ok(!text.includes('4b'), text);
    await session.isGone();
  });

  test('a body declared as octet-stream', async () => {
    const session = await open();
    const response = await session.post('4x', { headers: { 'content-type': 'application/octet-stream' } });
    assert.equal(response.status, 400);
    await session.isGone();
  });

  test('a second GET: it gets 400, the first is told to close', async () => {
    const session = await open();
    const first = await session.pending();
    await sleep(ARRIVE_MS);
    const second = await session.poll();
    assert.equal(second.status, 400);
    const { status, text } = await first.response();
    assert.deepEqual([status, text], [200, '1']);
    await session.isGone();
  });

  test('a second POST while the first is still being sent', async () => {
    const session = await open();
    const slow = await RawConnection.open(server);
    const whole = requestBytes({ method: 'POST', path: session.target, body: '4'.padEnd(1000, 'x') });
    slow.write(whole.subarray(0, whole.length - 500));
    await sleep(ARRIVE_MS);
    const second = await session.post('4y');
    assert.equal(second.status, 400);
    // Cut off or told so: either way the first POST is not accepted.
    const first = await slow.response().catch(() => null);
    assert.ok(first === null || first.status === 400, `the first POST got ${first?.status}`);
    await session.isGone();
    slow.close();
  });

  for (const how of ['close', 'reset']) {
    test(`a GET that goes away (${how})`, async () => {
      const session = await open();
      const pending = await session.pending();
      await sleep(ARRIVE_MS);
      pending[how]();
      await sleep(ARRIVE_MS);
      await session.isGone();
    });

    test(`a POST that goes away half-way (${how})`, async () => {
      const session = await open();
      const slow = await RawConnection.open(server);
      slow.write(requestBytes({ method: 'POST', path: session.target, body: '4', headers: { 'content-length': '100' } }));
      await sleep(ARRIVE_MS);
      slow[how]();
      await sleep(ARRIVE_MS);
      await session.isGone();
    });
  }

  test('the packet 1: a pending GET is answered with 6', async () => {
    const session = await open();
    const pending = await session.pending();
    await sleep(ARRIVE_MS);
    await session.send('1');
    const { status, text } = await pending.response();
    assert.deepEqual([status, text], [200, '6']);
    await session.isGone();
  });

  // Requests on two connections may be seen in either order, whatever the order in which they were sent.
  test('the packet 1: a GET that it overtakes is answered with 6 too', async () => {
    const session = await open();
    const poll = await RawConnection.open(session.server);
    const post = session.post('1');
    await sleep(1);
    poll.write(requestBytes({ path: session.target }));
    const [taken, last] = await Promise.all([post, poll.response()]);
    assert.deepEqual([taken.status, taken.text], [200, 'ok']);
    assert.deepEqual([last.status, last.text], [200, '6']);
    await session.isGone();
  });

  test('what follows the packet 1 in its payload is not delivered', async () => {
    const session = await open();
    const pending = await session.pending();
    await sleep(ARRIVE_MS);
    await session.post(['1', '4after'].join(SEPARATOR));
    assert.ok(!(await pending.response()).text.includes('after'));
    await session.isGone();
  });

  test('one closed session is all that closes', async () => {
    const good = await open();
    const bad = await open();
    await bad.post('abc');
    await bad.isGone();
    await good.echoes();
  });
});

describe('the limit of a body', () => {
  const text = (bytes) => `4${'x'.repeat(bytes - 1)}`;
  const bodies = [
    ['text', text],
    ['characters of three bytes, counted in bytes', (bytes) => `4${'x'.repeat((bytes - 1) % 3)}${'€'.repeat((bytes - 1) / 3)}`],
    ['many packets', (bytes) => `${`4xxxxxxxx${SEPARATOR}`.repeat(bytes / 10 - 1)}${'4'.padEnd(10 + (bytes % 10), 'y')}`],
  ];
  for (const [name, make] of bodies) {
    test(`${name}: exactly the limit is taken`, async () => {
      const session = await open();
      const body = make(LIMIT);
      assert.equal(Buffer.byteLength(body), LIMIT);
      await session.send(body);
    });

    test(`${name}: one byte more is 413 and the session lives on`, async () => {
      const session = await open();
      const response = await session.post(make(LIMIT + 1));
      assert.equal(response.status, 413);
      await session.echoes();
    });
  }

  test('a message of exactly the limit comes back whole', async () => {
    const session = await open();
    const body = text(LIMIT);
    await session.send(body);
    assert.equal(await session.packet(), body);
  });

  const chunked = (session, parts) => {
    const body = `${parts.map((part) => `${part.length.toString(16)}\r\n${part}\r\n`).join('')}0\r\n\r\n`;
    return request(server, {
      method: 'POST',
      path: session.target,
      headers: { 'transfer-encoding': 'chunked' },
      body,
    });
  };

  test('a chunked body without Content-Length is taken', async () => {
    const session = await open();
    const { status, text: answer } = await chunked(session, ['4he', 'l', 'lo']);
    assert.deepEqual([status, answer], [200, 'ok']);
    assert.equal(await session.packet(), '4hello');
  });

  test('a chunked body is limited too', async () => {
    const session = await open();
    const { status } = await chunked(session, [text(LIMIT), 'y']);
    assert.equal(status, 413);
    await session.echoes();
  });

  test('an announced length over the limit is refused without its bytes', better, async () => {
    const session = await open();
    const connection = await RawConnection.open(server);
    connection.write(
      requestBytes({ method: 'POST', path: session.target, headers: { 'content-length': '99999999999' }, body: '4x' }),
    );
    assert.equal((await connection.response()).status, 413);
    connection.close();
    await session.echoes();
  });

  test('a compressed body is not unpacked', async () => {
    const session = await open();
    // 20 MB of text in 20 kB: unpacking it would be a bomb.
    const { status } = await session.post(gzipSync(text(20 * LIMIT)), {
      headers: { 'content-type': 'text/plain', 'content-encoding': 'gzip' },
    });
    // Read as it is, these bytes are no packet; 415 says the same more clearly.
    assert.ok([400, 415].includes(status) || (onReference && status === 200), `got ${status}`);
    if (status !== 415) await session.isGone();
  });

  test('the stock client on polling learns that its message was too large', async (t) => {
    const socket = await connected(t, server, { transports: ['polling'] });
    const reason = new Promise((resolve) => socket.on('disconnect', resolve));
    socket.emit('message', 'x'.repeat(LIMIT));
    assert.equal(await reason, 'transport error');
  });
});

describe('bytes in pieces', () => {
  test('characters split across TCP segments arrive whole', async () => {
    const session = await open();
    const connection = await RawConnection.open(server);
    const message = '4é€😀"\u001d';
    for (const byte of requestBytes({ method: 'POST', path: session.target, body: message })) {
      connection.write(Buffer.from([byte]));
    }
    assert.equal((await connection.response()).text, 'ok');
    connection.close();
    assert.equal(await session.packet(), message);
  });

  test('a pause in the middle of a character does no harm', async () => {
    const session = await open();
    const connection = await RawConnection.open(server);
    const bytes = requestBytes({ method: 'POST', path: session.target, body: '4😀' });
    connection.write(bytes.subarray(0, -2));
    await sleep(50);
    connection.write(bytes.subarray(-2));
    assert.equal((await connection.response()).text, 'ok');
    connection.close();
    assert.equal(await session.packet(), '4😀');
  });

  test('invalid UTF-8 harms this session at most', async () => {
    const bystander = await open();
    const session = await open();
    const { status } = await session.post(Buffer.from([0x34, 0xff, 0xfe, 0xc3, 0x28]));
    if (status === 200) assert.equal(await session.packet(), '4\ufffd\ufffd\ufffd(');
    else assert.equal(status, 400);
    await bystander.echoes();
  });

  test('one connection serves a whole session', async () => {
    const connection = await RawConnection.open(server);
    const ask1 = async (options) => {
      connection.write(requestBytes(options));
      return connection.response({ method: options.method });
    };
    const { text } = await ask1({ path: '/engine.io/?EIO=4&transport=polling' });
    const path = `/engine.io/?EIO=4&transport=polling&sid=${JSON.parse(text.slice(1)).sid}`;
    for (let i = 0; i < 20; i += 1) {
      assert.equal((await ask1({ method: 'POST', path, body: `4${i}` })).text, 'ok');
      const answer = (await ask1({ path })).text.split(SEPARATOR).filter((packet) => packet !== '2');
      assert.deepEqual(answer, [`4${i}`]);
    }
    connection.close();
  });

  test('pipelined requests are answered in order', async () => {
    const session = await open();
    const connection = await RawConnection.open(server);
    connection.write(
      Buffer.concat([
        requestBytes({ method: 'POST', path: session.target, body: '4first' }),
        requestBytes({ path: session.target }),
        requestBytes({ path: '/engine.io/?EIO=4&transport=abc' }),
      ]),
    );
    assert.equal((await connection.response()).text, 'ok');
    assert.equal((await connection.response()).text, '4first');
    assert.equal((await connection.response()).text, '{"code":0,"message":"Transport unknown"}');
    connection.close();
  });

  test('a client that says Expect: 100-continue is served', async () => {
    const session = await open();
    const connection = await RawConnection.open(server);
    connection.write(
      requestBytes({ method: 'POST', path: session.target, headers: { expect: '100-continue', 'content-length': '2' } }),
    );
    await sleep(ARRIVE_MS);
    connection.write('4x');
    assert.equal((await connection.response()).text, 'ok');
    connection.close();
    assert.equal(await session.packet(), '4x');
  });
});

describe('through the stock client', () => {
  // The separator of packets inside a message must not split it.
  const values = ['a\u001eb', '\u001e', ['\u001e\u001e', { '\u001e': '\u001e' }], 'é€😀\u2028\0'];
  for (const value of values) {
    test(`round trip of ${JSON.stringify(value)}`, async (t) => {
      const socket = await connected(t, server, { transports: ['polling'] });
      assert.deepEqual(await ask(socket, 'message-with-ack', value), value);
    });
  }

  test('round trip of binary', async (t) => {
    const socket = await connected(t, server, { transports: ['polling'] });
    const bytes = Buffer.from([0, 1, 254, 255]);
    assert.deepEqual(await ask(socket, 'message-with-ack', bytes), bytes);
  });
});

describe('compression of answers', () => {
  const session = async (acceptEncoding, length) => {
    const polling = await open();
    await polling.send(`4${'x'.repeat(length - 1)}`);
    return polling.poll({ headers: acceptEncoding ? { 'accept-encoding': acceptEncoding } : {} });
  };

  test('never without being accepted', async () => {
    assert.equal((await session(undefined, 5000)).headers['content-encoding'], undefined);
    assert.equal((await session('identity', 5000)).headers['content-encoding'], undefined);
  });

  test('never below 1,024 bytes', async () => {
    const { headers, text } = await session('gzip', 1000);
    assert.equal(headers['content-encoding'], undefined);
    assert.equal(text.length, 1000);
  });

  test('a large body is readable whatever was chosen', async () => {
    const { headers, body } = await session('gzip', 5000);
    const { gunzipSync } = await import('node:zlib');
    const plain = headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
    assert.equal(plain.toString(), `4${'x'.repeat(4999)}`);
  });
});

describe('on the gateway', () => {
  let gateway;
  before(async () => {
    gateway = await startGateway({ env: { IDAE_SOCKET_SOCKET_PAYLOAD_BYTES_MAX: '2000' } });
  });
  after(() => gateway?.end());

  test('the limit follows the setting', async () => {
    const session = await Polling.open(gateway);
    await session.send('40');
    assert.match(await session.packet(), /^40\{"sid"/);
    const event = (bytes) => `42${JSON.stringify(['x', 'y'.repeat(bytes - 10)])}`.padEnd(bytes, ' ').slice(0, bytes);
    const tooLarge = await session.post(event(2001));
    assert.equal(tooLarge.status, 413);
    await session.send(event(2000));
  });

  test('an event published while nobody polls waits for the next GET', async () => {
    const session = await Polling.open(gateway);
    await session.send('40{"recovery":false}');
    assert.match(await session.packet(), /^40\{"sid"/);
    await session.send('421["subscribe","waiting"]');
    assert.match(await session.packet(), /^431\[\{"status":"ok"/);
    for (const payload of [1, 2, 3]) {
      const reply = await gateway.publish('tick', { rooms: 'waiting', payload });
      assert.equal(reply.sockets, 1);
    }
    const packets = await session.packets(3);
    assert.deepEqual(packets.map((packet) => JSON.parse(packet.slice(2))[1].payload), [1, 2, 3]);
  });

  test('a closed session is unknown afterwards, for POST as for GET', async () => {
    const session = await Polling.open(gateway);
    await session.send('1');
    await session.isGone();
    const { status, text } = await session.post('40');
    assert.deepEqual([status, text], [400, UNKNOWN_SID]);
  });

  for (const how of ['close', 'reset']) {
    test(`the packet 1 of a client that does not wait for the answer (${how})`, async () => {
      const session = await Polling.open(gateway);
      const post = await RawConnection.open(session.server);
      post.write(requestBytes({ method: 'POST', path: session.target, body: '1' }));
      await sleep(ARRIVE_MS);
      post[how]();
      // For a tenth of a second a poll on its way would still be answered. Then nothing is left of the session.
      await sleep(1000);
      await session.isGone();
    });
  }
});
