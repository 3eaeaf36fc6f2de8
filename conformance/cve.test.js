// The inputs that once brought down Socket.IO, Engine.IO, their parsers or `ws`, as raw bytes.
// One client stays connected through all of them and must receive an event after each.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { sleep } from './harness/events.js';
import { better, onReference, startGateway } from './harness/gateway.js';
import { OPCODE, RawConnection, frameBytes, request, requestBytes, tryUpgrade, upgradeHeaders } from './harness/raw.js';
import { Polling, SID, bystander, join, joined, openProbe, openSession } from './harness/sessions.js';

const NEW = '/socket.io/?EIO=4&transport=websocket';
const POLL = '/socket.io/?EIO=4&transport=polling';

let gateway;
let watcher;
before(async () => {
  gateway = await startGateway();
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

/** A case: it does its harm, then the bystander must still be served. */
function harmless(name, harm, options = {}) {
  test(name, options, async () => {
    await harm();
    await watcher.unharmed();
  });
}

/** Answered with one of these statuses, or the connection just ended: never a 101. */
async function refused(path, headers, statuses = [400, 404, 413, 414, 426, 431]) {
  const outcome = await tryUpgrade(gateway, path, { headers }).then(
    ({ response }) => response.status,
    (error) => {
      assert.match(error.message, /the connection ended/);
      return 'ended';
    },
  );
  assert.ok(outcome === 'ended' || statuses.includes(outcome), `got ${outcome}`);
}

/** Packets sent by a joined client; the connection must be closed for them. */
async function closes(...packets) {
  const websocket = await joined(gateway);
  for (const packet of packets) {
    if (Buffer.isBuffer(packet)) websocket.sendBinary(packet);
    else websocket.sendText(packet);
  }
  assert.deepEqual((await websocket.closed()).unread, []);
}

/** Packets after which this very connection must go on. */
async function survives(...packets) {
  const websocket = await joined(gateway);
  websocket.sendTogether(...packets, '427["fence"]');
  assert.equal(await websocket.nextText(), '437[{"status":"OK"}]');
  websocket.close();
}

/** Fails when the work takes longer than linear code could need. */
async function quickly(work, limitMs = 2000) {
  const started = Date.now();
  await work();
  const took = Date.now() - started;
  assert.ok(took < limitMs, `took ${took} ms`);
}

const placeholder = (num) => `{"_placeholder":true,"num":${num}}`;

describe('CVE-2017-16031: ids that can be guessed', () => {
  test('no two ids share their random part, neither of sessions nor of sockets', async () => {
    const ids = [];
    for (let i = 0; i < 30; i += 1) {
      const websocket = await openSession(gateway);
      const { sid } = await join(websocket);
      ids.push(websocket.sid, sid);
      websocket.close();
    }
    for (const id of ids) assert.match(id, SID);
    for (const [from, to] of [[0, 8], [8, 16]]) {
      assert.equal(new Set(ids.map((id) => id.slice(from, to))).size, ids.length);
    }
    // Every random position must really vary: 60 draws of 64 letters make at least 20.
    for (let at = 0; at < 15; at += 1) {
      const letters = new Set(ids.map((id) => id[at])).size;
      assert.ok(letters >= 20, `position ${at} has only ${letters} different letters`);
    }
  });
});

describe('CVE-2020-28481: every page of the web may connect', () => {
  for (const origin of ['https://evil.example', 'null', 'http://localhost.evil.example']) {
    harmless(`${origin} is given no permission`, async () => {
      const { headers } = await request(gateway, { path: POLL, headers: { origin } });
      assert.equal(headers['access-control-allow-origin'], undefined);
      assert.equal(headers['access-control-allow-credentials'], undefined);
      await refused(NEW, { origin }, [400, 403]);
    });
  }
});

describe('CVE-2020-36048: polling payloads that cost quadratic time', () => {
  const bodies = {
    'a length of a million digits': '9'.repeat(999_000),
    'old framing with a huge length': `99999999:4${'x'.repeat(900_000)}`,
    'half a million packets of one byte': '3\x1e'.repeat(499_999) + '3',
    'half a million empty packets': '\x1e'.repeat(999_999),
    'a third of a million messages': '4\x1e'.repeat(300_000),
    'base64 garbage': `b${'!'.repeat(900_000)}`,
  };
  for (const [name, body] of Object.entries(bodies)) {
    harmless(name, async () => {
      const session = await Polling.open(gateway);
      await session.send('40');
      await session.packet();
      await quickly(() => session.post(body, { waitMs: 4000 }), 4000);
    });
  }
});

describe('CVE-2020-36049: packet headers that cost quadratic time', () => {
  const packets = {
    'attachments of 900,000 digits': `45${'1'.repeat(900_000)}-["x"]`,
    'an ack id of 900,000 digits': `42${'1'.repeat(900_000)}["x"]`,
    'a namespace of 900,000 characters': `42/${'x'.repeat(900_000)},["x"]`,
    'a namespace without end': `40/${'x'.repeat(900_000)}`,
    'digits and nothing else': `42${'9'.repeat(900_000)}`,
  };
  for (const [name, packet] of Object.entries(packets)) {
    harmless(name, async () => {
      const websocket = await joined(gateway);
      await quickly(async () => {
        websocket.sendText(packet);
        // Closed, refused or ignored; the fence proves which.
        websocket.sendText('427["fence"]');
        try {
          for (;;) {
            const text = await websocket.nextText();
            if (text === '437[{"status":"OK"}]') break;
          }
        } catch (error) {
          if (!websocket.isClosed) throw error;
        }
      });
      websocket.close();
    });
  }
});

describe('CVE-2022-21676: an invalid frame right after the 101', () => {
  const bad = {
    'reserved bits': { payload: '2probe', rsv: 7 },
    'reserved bit 1': { payload: '2probe', rsv: 4 },
    'an unknown opcode': { opcode: 3, payload: 'x' },
    'no mask': { payload: '2probe', masked: false },
    'a length with the highest bit': { payload: 'x', announced: 2n ** 63n, lengthBytes: 8 },
    'a control frame too long': { opcode: OPCODE.ping, payload: 'x'.repeat(200) },
  };
  for (const [name, frame] of Object.entries(bad)) {
    harmless(`${name}, on a new session, in the same segment as the request`, async () => {
      const connection = await RawConnection.open(gateway);
      connection.write(Buffer.concat([requestBytes({ path: NEW, headers: upgradeHeaders() }), frameBytes(frame)]));
      await connection.closed();
    });
    harmless(`${name}, before the probe`, async () => {
      const polling = await Polling.open(gateway);
      const websocket = await openProbe(polling);
      websocket.sendFrame(frame);
      await websocket.closed();
      await polling.send('40');
      assert.match(await polling.packet(), /^40\{"sid"/);
    });
    harmless(`${name}, during the upgrade`, async () => {
      const polling = await Polling.open(gateway);
      const websocket = await openProbe(polling);
      websocket.sendText('2probe');
      assert.equal(await websocket.nextText(), '3probe');
      websocket.sendFrame(frame);
      await websocket.closed();
      await polling.send('40');
      let text = '6';
      while (text === '6') ({ text } = await polling.poll());
      assert.match(text, /^40\{"sid"/);
    });
    harmless(`${name}, together with the end of the upgrade`, async () => {
      const polling = await Polling.open(gateway);
      const websocket = await openProbe(polling);
      websocket.connection.write(Buffer.concat([frameBytes({ payload: '2probe' }), frameBytes({ payload: '5' }), frameBytes(frame)]));
      await websocket.connection.closed();
    });
  }
});

describe('CVE-2022-41940: an upgrade that is refused, then RST while the answer is written', () => {
  const paths = [
    '/socket.io/?EIO=4&transport=unknown',
    '/socket.io/?EIO=4&transport=websocket&sid=unknown',
    '/socket.io/?EIO=3&transport=websocket',
    '/socket.io/?transport=polling',
    NEW,
    '/',
  ];
  for (const path of paths) {
    harmless(path, async () => {
      for (let i = 0; i < 30; i += 1) {
        const connection = await RawConnection.open(gateway);
        connection.write(requestBytes({ path, headers: upgradeHeaders() }));
        // Some before, some while, some after the server writes.
        if (i % 3) await sleep(i % 5);
        connection.reset();
      }
    });
  }
});

describe('CVE-2023-31125: an upgrade for a transport that does not exist', () => {
  for (const transport of ['foobar', '__proto__', 'constructor', 'hasOwnProperty', '', 'polling', 'webtransport', 'undefined', '%00']) {
    const options = transport === 'polling' ? better : {};
    harmless(`transport=${transport}`, () => refused(`/socket.io/?EIO=4&transport=${transport}`, {}, [400]), options);
    harmless(`transport=${transport} with a session`, async () => {
      const session = await Polling.open(gateway);
      await refused(`/socket.io/?EIO=4&transport=${transport}&sid=${session.sid}`, {}, [400]);
    }, options);
  }
});

describe('CVE-2022-2421: placeholders that are no number of an attachment', () => {
  const bytes = Buffer.from([1]);
  for (const num of ['"splice"', '"length"', '"__proto__"', '"constructor"', '"0"', '-1', '1', '1e9', '-0.5', 'null', 'true', '[]', '{}', '[0]']) {
    harmless(`num ${num}`, () => closes(`451-["x",${placeholder(num)}]`, bytes));
    harmless(`num ${num} in an ack`, () => closes(`461-1[${placeholder(num)}]`, bytes));
  }
});

describe('CVE-2023-32695: an event name that is no name', () => {
  const names = ['{"toString":"foo"}', '{"valueOf":"foo"}', '{}', '[]', '["x"]', 'null', 'true', '[["x"]]', '{"__proto__":null}'];
  for (const name of names) {
    harmless(name, () => closes(`42[${name}]`));
    harmless(`${name} with a wish for an ack`, () => closes(`421[${name},1]`));
  }
  harmless('a placeholder', () => closes(`451-[${placeholder(0)}]`, Buffer.from('x')), better);
  harmless('an object that holds a placeholder', () => closes(`451-[{"toString":${placeholder(0)}}]`, Buffer.from('x')));
});

describe('CVE-2024-38355: the event called error', () => {
  harmless('alone', () => survives('42["error"]'));
  harmless('with arguments', () => survives('42["error",{"message":"x"}]'));
  harmless('and the other names of Node emitters', () => survives('42["uncaughtException"]', '42["end"]', '42["close"]', '42["data"]'));
});

describe('CVE-2026-33151: attachments without end', () => {
  for (const count of ['11', '100', '1000000000', '4294967296', '18446744073709551616', '9'.repeat(400)]) {
    harmless(`${count.slice(0, 24)} announced`, () => closes(`45${count}-["x"]`));
  }
  harmless('announced, and then streamed for ever', async () => {
    const websocket = await joined(gateway);
    websocket.sendText('451000000000-["x"]');
    for (let i = 0; i < 200 && !websocket.isClosed; i += 1) {
      websocket.sendBinary(Buffer.alloc(50_000));
      await sleep(0);
    }
    await websocket.closed();
  });
});

describe('parser 4.2.7: no attachment announced', () => {
  harmless('450- closes and leaves no half packet', () => closes('450-["x"]'));
  harmless('460- closes', () => closes('460-1[]'));
});

describe('ws: messages and headers', () => {
  harmless('CVE-2016-10518: pings with all kinds of payloads', async () => {
    const websocket = await joined(gateway);
    for (const payload of ['', '1', '123456', Buffer.alloc(125)]) {
      websocket.sendFrame({ opcode: OPCODE.ping, payload });
      assert.deepEqual((await websocket.next()).payload, Buffer.from(payload));
    }
    websocket.close();
  });

  for (const [name, announced] of [['256 MB', 2 ** 28], ['4 GB', 2 ** 32], ['one byte over the limit', 1_000_001]]) {
    harmless(`CVE-2016-10542: a message announced as ${name}`, async () => {
      const websocket = await joined(gateway);
      websocket.sendFrame({ opcode: OPCODE.binary, announced, payload: 'x' });
      assert.equal((await websocket.closed()).code, 1009);
    });
  }

  for (const value of ['constructor', '__proto__', 'hasOwnProperty', 'toString; a; b=c', ',', ';;;', '=', 'permessage-deflate; client_max_window_bits=99', '"', 'a'.repeat(5000)]) {
    harmless(`GHSA-5v72-xg48-5rpm: Sec-WebSocket-Extensions ${value.slice(0, 50)}`, async () => {
      const { response, connection } = await tryUpgrade(gateway, NEW, { headers: { 'Sec-WebSocket-Extensions': value } });
      connection.socket.destroy();
      // Nonsense may be refused or ignored, never agreed to.
      assert.ok([101, 400, 431].includes(response.status), `got ${response.status}`);
      assert.equal(response.headers['sec-websocket-extensions'], undefined);
    });
  }

  for (const [name, value] of [
    ['spaces between two letters', `b${' '.repeat(12_000)}x`],
    ['tabs and commas', `b${'\t,'.repeat(6000)}x`],
    ['three thousand names', Array.from({ length: 3000 }, (_, i) => `p${i}`).join(',')],
  ]) {
    harmless(`CVE-2021-32640: Sec-WebSocket-Protocol with ${name}`, () =>
      quickly(() =>
        tryUpgrade(gateway, NEW, { headers: { 'Sec-WebSocket-Protocol': value } }).then(
          ({ response, connection }) => {
            connection.socket.destroy();
            assert.ok([101, 400, 431].includes(response.status), `got ${response.status}`);
          },
          (error) => assert.match(error.message, /the connection ended/),
        ),
      ),
    );
  }

  for (const count of [101, 1000, 2001, 5000]) {
    harmless(`CVE-2024-37890: an upgrade with ${count} headers`, async () => {
      const many = Array.from({ length: count }, (_, i) => [`x${i}`, '']);
      const connection = await RawConnection.open(gateway);
      connection.write(requestBytes({ path: NEW, headers: [...many, ...Object.entries(upgradeHeaders())] }));
      // Too many to read them all: refused. Few enough: a normal WebSocket.
      const response = await connection.response().catch(() => null);
      if (response) assert.ok([101, 400, 431].includes(response.status), `got ${response.status}`);
      connection.socket.destroy();
    });
  }

  harmless('CVE-2026-45736: what is echoed are the bytes sent and no others', async () => {
    const websocket = await joined(gateway);
    for (let length = 0; length <= 125; length += 25) {
      websocket.sendFrame({ opcode: OPCODE.ping, payload: Buffer.alloc(length, 0x5a) });
      assert.deepEqual((await websocket.next()).payload, Buffer.alloc(length, 0x5a));
    }
    websocket.sendFrame({ opcode: OPCODE.close, payload: Buffer.from([0x03, 0xe8, 0x61]) });
    const { code, reason } = await websocket.closed();
    assert.equal(code, 1000);
    assert.ok(['', 'a'].includes(reason), JSON.stringify(reason));
  });

  for (const [name, payload] of [['of one byte', 'x'], ['of nothing', '']]) {
    harmless(`CVE-2026-48779: fragments ${name} without end`, async () => {
      const websocket = await joined(gateway);
      websocket.sendFrame({ payload: '4', fin: false });
      const batch = Buffer.concat(
        Array.from({ length: 1000 }, () => frameBytes({ opcode: OPCODE.continuation, payload, fin: false })),
      );
      // The reference stops at 131,072 fragments; a tenth of that is plenty already.
      const batches = onReference ? 140 : 20;
      for (let i = 0; i < batches && !websocket.isClosed; i += 1) {
        websocket.connection.write(batch);
        await sleep(1);
      }
      if (onReference && !payload) websocket.reset();
      else await websocket.closed();
    });
  }
});
