// Peers that do not mean well: slow ones, noisy ones, ones that never finish. None of them may
// cost anybody else a thing. A bystander stays connected throughout and is served after each.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { sleep } from './harness/events.js';
import { better, startGateway } from './harness/gateway.js';
import { metricsShow } from './harness/metrics.js';
import { OPCODE, RawConnection, frameBytes, request, requestBytes, upgradeHeaders } from './harness/raw.js';
import { Polling, ask, bystander, connected, joined, openSession, subscribe } from './harness/sessions.js';

const NEW = '/socket.io/?EIO=4&transport=websocket';
const POLL = '/socket.io/?EIO=4&transport=polling';
// How long a gateway may listen to a request that never ends.
const SLOW_LIMIT_MS = 65_000;
const SEVERAL = 40;

let gateway;
let watcher;
before(async () => {
  gateway = await startGateway({
    env: { IDAE_SOCKET_SOCKET_PING_INTERVAL_MS: '2000', IDAE_SOCKET_SOCKET_PING_TIMEOUT_MS: '1500' },
  });
  watcher = await bystander(null, gateway);
});
after(async () => {
  try {
    await watcher.unharmed();
    watcher.socket.disconnect();
  } finally {
    await gateway?.end();
  }
});

/** New clients on both transports are served, and the bystander was not disturbed. */
async function othersAreServed(t) {
  const started = Date.now();
  for (const transport of ['polling', 'websocket']) {
    const socket = await connected(t, gateway, { transports: [transport] });
    assert.deepEqual(await ask(socket, 'hello'), { status: 'OK' });
  }
  await watcher.unharmed();
  assert.ok(Date.now() - started < 3000, `others waited ${Date.now() - started} ms`);
}

const several = (make, count = SEVERAL) => Promise.all(Array.from({ length: count }, (_, i) => make(i)));

async function openMany(bytes, count = SEVERAL) {
  return several(async (i) => {
    const connection = await RawConnection.open(gateway);
    connection.write(typeof bytes === 'function' ? bytes(i) : bytes);
    return connection;
  }, count);
}

const dropAll = (connections) => connections.forEach((connection) => connection.socket.destroy());

describe('half requests', () => {
  const halves = {
    'nothing at all': '',
    'half a request line': 'GET /socket',
    'a request line without its end': 'GET /socket.io/?EIO=4&transport=polling HTTP/1.1',
    'headers without their end': `GET ${POLL} HTTP/1.1\r\nHost: x\r\nX-A: b\r\n`,
    'a POST without its body': `POST /slow HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"pay`,
    'a chunked POST that stops in a chunk': 'POST /slow HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"pay',
    'a handshake without its end': `GET ${NEW} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`,
  };
  for (const [name, bytes] of Object.entries(halves)) {
    test(`many connections with ${name}`, async (t) => {
      const connections = await openMany(bytes);
      await othersAreServed(t);
      dropAll(connections);
      await watcher.unharmed();
    });
  }

  test('headers and bodies that trickle', async (t) => {
    const connections = [
      ...(await openMany(`GET ${POLL} HTTP/1.1\r\nHost: x\r\n`, 20)),
      ...(await openMany('POST /slow HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{', 20)),
    ];
    const trickle = setInterval(() => {
      connections.slice(0, 20).forEach((connection) => connection.write('X-Slow: 1\r\n'));
      connections.slice(20).forEach((connection) => connection.write(' '));
    }, 50);
    await sleep(300);
    await othersAreServed(t);
    clearInterval(trickle);
    dropAll(connections);
  });

  test('a slow but honest POST is served', async () => {
    const connection = await RawConnection.open(gateway);
    const bytes = requestBytes({
      method: 'POST',
      path: '/slow',
      headers: { 'content-type': 'application/json' },
      body: '{"rooms":"nobody","payload":1}',
    });
    for (let at = 0; at < bytes.length; at += 10) {
      connection.write(bytes.subarray(at, at + 10));
      await sleep(10);
    }
    assert.equal((await connection.response()).status, 200);
    connection.close();
  });
});

describe('requests that never end are ended', { concurrency: 8 }, () => {
  // One byte now and then: without a limit over the whole request this goes on for ever.
  const slow = {
    'a request line': ['GET /', 'x'],
    headers: [`GET ${POLL} HTTP/1.1\r\nHost: x\r\n`, 'X-Slow: 1\r\n'],
    'the body of a publish': ['POST /slow HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{', ' '],
    silence: ['', ''],
  };
  for (const [name, [start, more]] of Object.entries(slow)) {
    test(name, better, async () => {
      const connection = await RawConnection.open(gateway);
      connection.write(start);
      const trickle = setInterval(() => connection.write(more), 500);
      try {
        await connection.closed(SLOW_LIMIT_MS);
      } finally {
        clearInterval(trickle);
        connection.socket.destroy();
      }
    });
  }

  test('answers that nobody reads', better, async () => {
    const connection = await RawConnection.open(gateway);
    connection.socket.pause();
    // More than the kernel takes on both sides.
    const path = '/socket.io/socket.io.js.map';
    const target = requestBytes({ path });
    connection.write(Buffer.concat(Array.from({ length: 200 }, () => target)));
    try {
      await metricsShow(gateway, (now) => now.limit('write_time_max') === 1, 'the connection to be given up', SLOW_LIMIT_MS);
      connection.socket.resume();
      await connection.closed();
    } finally {
      connection.socket.destroy();
    }
  });

  test('the body of a POST to a session ends with the session at the latest', better, async () => {
    const session = await Polling.open(gateway);
    const connection = await RawConnection.open(gateway);
    connection.write(requestBytes({ method: 'POST', path: session.target, headers: { 'content-length': '5000' }, body: '4' }));
    const trickle = setInterval(() => connection.write('x'), 200);
    try {
      await connection.closed(SLOW_LIMIT_MS);
    } finally {
      clearInterval(trickle);
      connection.socket.destroy();
    }
    await session.isGone();
  });
});

describe('garbage', () => {
  const garbage = {
    'random bytes': () => randomBytes(2000),
    zeros: () => Buffer.alloc(5000),
    'a TLS hello': () => Buffer.from('16030100c8010000c40303'.padEnd(400, 'ab'), 'hex'),
    'an HTTP/2 preface': () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    'an SSH banner': () => 'SSH-2.0-OpenSSH_9.6\r\n',
    'line breaks': () => '\r\n'.repeat(2000),
    'a request line of one word': () => 'GET\r\n\r\n',
    'an unknown version': () => 'GET / HTTP/9.9\r\nHost: x\r\n\r\n',
    'two lengths': () => 'POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef',
    'a length and chunks': () => 'POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET',
    'a negative length': () => 'POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n',
    'a length beyond numbers': () => `POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: ${'9'.repeat(40)}\r\n\r\n`,
    'a chunk beyond numbers': () => 'POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx',
    'a chunk that is no number': () => 'POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx',
    'a header without a colon': () => `GET ${POLL} HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n`,
    'a NUL in a header': () => `GET ${POLL} HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n\r\n`,
    'a space before the colon': () => `GET ${POLL} HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\n`,
    'a bare line feed in a header': () => `GET ${POLL} HTTP/1.1\r\nHost: x\r\nX-A: a\n b: c\r\n\r\n`,
  };
  for (const [name, bytes] of Object.entries(garbage)) {
    test(`${name} on many connections`, async () => {
      const connections = await openMany(() => bytes(), 10);
      const answers = await Promise.all(
        connections.map((connection) => connection.response({ waitMs: 400 }).catch(() => null)),
      );
      for (const answer of answers) {
        // No answer is an answer; a good one must not be.
        if (answer && !name.includes('line breaks')) assert.ok(answer.status >= 400, `got ${answer.status}`);
      }
      dropAll(connections);
      await watcher.unharmed();
    });
  }

  test('a request smuggled behind an unclear length is not served', async () => {
    const room = 'smuggled';
    const { socket } = watcher;
    await subscribe(socket, room);
    let caught = 0;
    socket.on('smuggled:event', () => {
      caught += 1;
    });
    const inner = requestBytes({
      method: 'POST',
      path: '/smuggled:event',
      headers: { 'content-type': 'application/json' },
      body: `{"rooms":"${room}","payload":1}`,
    }).toString();
    const connection = await RawConnection.open(gateway);
    connection.write(
      `POST /x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${inner.length + 5}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${inner}`,
    );
    await connection.response({ waitMs: 1000 }).catch(() => null);
    await sleep(50);
    connection.socket.destroy();
    await watcher.unharmed();
    assert.equal(caught, 0);
  });
});

describe('too much', () => {
  const headers = {
    'one header of 1 MB': [['X-Big', 'x'.repeat(1_000_000)]],
    '100,000 headers': Array.from({ length: 100_000 }, (_, i) => [`X-${i}`, '1']),
    'a cookie of 500 kB': [['Cookie', 'a=b; '.repeat(100_000)]],
    'a header name of 500 kB': [['x'.repeat(500_000), '1']],
  };
  for (const [name, list] of Object.entries(headers)) {
    for (const kind of ['a GET', 'an upgrade']) {
      test(`${name} on ${kind} is refused`, async () => {
        const connection = await RawConnection.open(gateway);
        const extra = kind === 'an upgrade' ? Object.entries(upgradeHeaders()) : [];
        connection.write(requestBytes({ path: kind === 'an upgrade' ? NEW : POLL, headers: [...extra, ...list] }));
        const response = await connection.response().catch((error) => {
          assert.match(error.message, /the connection ended/);
          return null;
        });
        if (response) assert.ok([400, 413, 431].includes(response.status), `got ${response.status}`);
        connection.socket.destroy();
        await watcher.unharmed();
      });
    }
  }

  test('a request target of 1 MB is refused', async () => {
    const connection = await RawConnection.open(gateway);
    connection.write(requestBytes({ path: `${POLL}&x=${'y'.repeat(1_000_000)}` }));
    const response = await connection.response().catch(() => null);
    if (response) assert.ok([400, 414, 431].includes(response.status), `got ${response.status}`);
    connection.socket.destroy();
    await watcher.unharmed();
  });

  test('chunk extensions without end are not collected', async () => {
    const connection = await RawConnection.open(gateway);
    connection.write('POST /x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1;');
    for (let i = 0; i < 100 && !connection.ended; i += 1) {
      connection.write('x'.repeat(10_000));
      await sleep(0);
    }
    await connection.closed().catch(() => {});
    connection.socket.destroy();
    await watcher.unharmed();
  });

  test('ten thousand control frames', async (t) => {
    const websocket = await joined(gateway);
    const pings = Buffer.concat(Array.from({ length: 10_000 }, () => frameBytes({ opcode: OPCODE.ping, payload: 'x' })));
    websocket.connection.write(pings);
    await othersAreServed(t);
    websocket.reset();
  });

  test('pings whose answers nobody reads', async (t) => {
    const websocket = await joined(gateway);
    websocket.connection.socket.pause();
    const pings = Buffer.concat(Array.from({ length: 2000 }, () => frameBytes({ opcode: OPCODE.ping, payload: 'x'.repeat(125) })));
    for (let i = 0; i < 20; i += 1) websocket.connection.write(pings);
    await othersAreServed(t);
    websocket.reset();
  });

  test('tiny fragments on many connections', async (t) => {
    const sockets = await several(() => joined(gateway), 10);
    const batch = Buffer.concat(
      Array.from({ length: 2000 }, () => frameBytes({ opcode: OPCODE.continuation, payload: 'x', fin: false })),
    );
    for (const websocket of sockets) {
      websocket.sendFrame({ payload: '4', fin: false });
      websocket.connection.write(batch);
    }
    await othersAreServed(t);
    for (const websocket of sockets) websocket.reset();
  });

  test('a flood of events from one client', async (t) => {
    const websocket = await joined(gateway);
    websocket.connection.write(Buffer.concat(Array.from({ length: 20_000 }, () => frameBytes({ payload: '42["flood",1]' }))));
    await othersAreServed(t);
    websocket.reset();
  });

  test('a flood of events that all want an answer nobody reads', async (t) => {
    const websocket = await joined(gateway);
    websocket.connection.socket.pause();
    const events = Buffer.concat(Array.from({ length: 20_000 }, (_, i) => frameBytes({ payload: `42${i}["flood",1]` })));
    websocket.connection.write(events);
    await othersAreServed(t);
    websocket.reset();
  });

  test('a reader that stops reading delays nobody', async (t) => {
    const lazy = await joined(gateway);
    lazy.sendText('421["subscribe","stream"]');
    assert.match(await lazy.nextText(), /^431\[\{"status":"ok"/);
    const quick = await connected(t, gateway, { transports: ['websocket'] });
    await subscribe(quick, 'stream');
    let count = 0;
    quick.on('part', () => {
      count += 1;
    });
    lazy.connection.socket.pause();
    const payload = 'x'.repeat(200_000);
    for (let i = 0; i < 40; i += 1) {
      const { sockets } = await gateway.publish('part', { rooms: 'stream', payload });
      assert.ok(sockets >= 1);
    }
    assert.deepEqual(await ask(quick, 'hello'), { status: 'OK' });
    assert.equal(count, 40);
    await watcher.unharmed();
    lazy.reset();
  });
});

describe('connections that come and go', () => {
  test('TCP connections opened and reset', async (t) => {
    for (let round = 0; round < 5; round += 1) {
      const connections = await openMany('', SEVERAL);
      for (const connection of connections) connection.reset();
    }
    await othersAreServed(t);
  });

  test('handshakes without anything after them', async (t) => {
    const answers = await several(() => request(gateway, { path: POLL }), 100);
    // Refusing some is a legal limit; refusing all would be an outage.
    assert.ok(answers.filter(({ status }) => status === 200).length >= 10);
    await othersAreServed(t);
  });

  test('WebSockets that join and break off', async (t) => {
    for (let round = 0; round < 5; round += 1) {
      const sockets = await several(() => joined(gateway), 20);
      for (const websocket of sockets) websocket.reset();
    }
    await othersAreServed(t);
    // All of them are out of every table.
    const { sockets } = await gateway.publish('census', { broadcast: true, payload: 1 });
    assert.ok(sockets < 40, `${sockets} sockets are counted`);
  });

  test('answers to requests that are gone before they come', async (t) => {
    const sessions = await several(() => Polling.open(gateway), 20);
    for (const session of sessions) {
      const pending = await session.pending();
      pending.reset();
    }
    await othersAreServed(t);
  });

  test('a WebSocket that ends inside a frame', async (t) => {
    const whole = frameBytes({ payload: `42["x","${'y'.repeat(1000)}"]` });
    const cuts = await several(async (i) => {
      const websocket = await openSession(gateway);
      websocket.connection.write(whole.subarray(0, 1 + i * 20));
      return websocket;
    });
    for (const [i, websocket] of cuts.entries()) {
      if (i % 2) websocket.reset();
      else websocket.connection.close();
    }
    await othersAreServed(t);
  });

  test('a client that closes its sending side only', async () => {
    const connection = await RawConnection.open(gateway);
    connection.write(requestBytes({ path: POLL }));
    connection.socket.end();
    // Answered or closed, soon either way.
    await connection.response({ waitMs: 3000 }).catch((error) => assert.match(error.message, /the connection ended/));
    connection.socket.destroy();
    await watcher.unharmed();
  });
});
