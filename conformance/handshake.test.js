// The first request of a session: what is answered, what is refused and with which words,
// and which web pages may ask at all.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { better, onReference, startGateway } from './harness/gateway.js';
import { openWebSocket, request, tryUpgrade, upgradeHeaders } from './harness/raw.js';
import { Polling, SID, openSession } from './harness/sessions.js';

const PATH = '/socket.io/';
const NEW = `${PATH}?EIO=4&transport=polling`;

const ERROR = [
  '{"code":0,"message":"Transport unknown"}',
  '{"code":1,"message":"Session ID unknown"}',
  '{"code":2,"message":"Bad handshake method"}',
  '{"code":3,"message":"Bad request"}',
  '{"code":4,"message":"Forbidden"}',
  '{"code":5,"message":"Unsupported protocol version"}',
];

let gateway;
before(async () => {
  gateway = await startGateway();
});
after(() => gateway?.end());

const get = (path, headers) => request(gateway, { path, headers });

function checkRefusal(response, code) {
  assert.deepEqual([response.status, response.text], [400, ERROR[code]]);
  assert.equal(response.headers['content-type'], 'application/json');
}

/** A plain new session must work: the proof that nothing broke. */
async function stillServes() {
  const response = await get(NEW);
  assert.equal(response.status, 200);
}

describe('a polling handshake', () => {
  test('answers the open packet with its five keys in order', async () => {
    const { status, headers, body, text } = await get(NEW);
    assert.equal(status, 200);
    assert.equal(headers['content-type'], 'text/plain; charset=UTF-8');
    assert.equal(headers['cache-control'], 'no-store');
    assert.equal(headers['content-length'], String(body.length));
    assert.match(
      text,
      /^0\{"sid":"[A-Za-z0-9_-]{20}","upgrades":\["websocket"\],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000\}$/,
    );
  });

  test('sets no cookie, which nobody asked for', async () => {
    const { headers } = await get(NEW);
    assert.equal(headers['set-cookie'], undefined);
  });

  test('does not compress a body this small', async () => {
    const { headers, text } = await get(NEW, { 'accept-encoding': 'gzip, deflate, br' });
    assert.equal(headers['content-encoding'], undefined);
    assert.equal(text[0], '0');
  });

  test('ids are all different and not just counted up', async () => {
    const sids = [];
    for (let i = 0; i < 50; i += 1) sids.push((await Polling.open(gateway)).sid);
    assert.equal(new Set(sids).size, 50);
    for (const sid of sids) assert.match(sid, SID);
    // The tail may be a counter, the front must be random.
    assert.equal(new Set(sids.map((sid) => sid.slice(0, 8))).size, 50);
  });

  const accepted = [
    ['an empty sid', `${NEW}&sid=`],
    ['a cache buster', `${NEW}&t=OxCk3vV`],
    ['b64', `${NEW}&b64=1`],
    ['unknown keys', `${NEW}&user=x&flag&=&&a=b=c`],
    ['a repeated key, of which the last counts', `${PATH}?EIO=3&transport=abc&EIO=4&transport=polling`],
    ['percent-encoded values', `${PATH}?EIO=%34&transport=%70olling`],
    ['percent-encoded keys', `${PATH}?%45IO=4&tran%73port=polling`],
    ['a path that goes on', `${PATH}anything?EIO=4&transport=polling`],
    ['broken percent-encoding elsewhere', `${NEW}&x=%zz%`],
    ['a query of 4,000 bytes', `${NEW}&x=${'y'.repeat(4000)}`],
  ];
  for (const [name, path] of accepted) {
    test(`accepts ${name}`, async () => {
      const { status, text } = await get(path);
      assert.equal(status, 200, text);
      assert.match(JSON.parse(text.slice(1)).sid, SID);
    });
  }
});

describe('a WebSocket handshake', () => {
  test('answers the open packet with no upgrades', async () => {
    const websocket = await openWebSocket(gateway, `${PATH}?EIO=4&transport=websocket`);
    const frame = await websocket.next();
    assert.deepEqual(
      { fin: frame.fin, rsv: frame.rsv, opcode: frame.opcode, masked: frame.masked },
      { fin: true, rsv: 0, opcode: 1, masked: false },
    );
    assert.match(
      frame.text,
      /^0\{"sid":"[A-Za-z0-9_-]{20}","upgrades":\[\],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000\}$/,
    );
    websocket.close();
  });

  test('starts a new session for an empty sid', async () => {
    const websocket = await openSession(gateway, { query: '&sid=' });
    assert.match(websocket.sid, SID);
    websocket.close();
  });
});

describe('the protocol version', () => {
  const wrong = ['', 'EIO=3', 'EIO=5', 'EIO=abc', 'EIO=', 'EIO=04', 'EIO=4.0', 'EIO=%204', 'eio=4', 'EIO=4&EIO=3'];
  for (const query of wrong) {
    test(`polling with ${query || 'none'} is unsupported`, async () => {
      checkRefusal(await get(`${PATH}?transport=polling&${query}`), 5);
    });
    // The reference sees this only after the 101 and then breaks the WebSocket off.
    test(`WebSocket with ${query || 'none'} is refused before the 101`, better, async () => {
      const { response } = await tryUpgrade(gateway, `${PATH}?transport=websocket&${query}`);
      assert.equal(response.status, 400);
      assert.match(response.text, /Unsupported protocol version/);
    });
  }

  test('a session is not served under another version and survives the attempt', async () => {
    const session = await Polling.open(gateway);
    checkRefusal(await get(`${PATH}?EIO=3&transport=polling&sid=${session.sid}`), 3);
    await session.send('40');
    assert.match(await session.packet(), /^40\{"sid"/);
  });
});

describe('the transport', () => {
  const wrong = [
    '',
    'transport=',
    'transport=abc',
    'transport=webtransport',
    'transport=__proto__',
    'transport=constructor',
    'transport=toString',
    'transport=POLLING',
    'transport=polling%20',
    'transport=polling%00',
    'transport=foobar',
    'transport=polling,websocket',
  ];
  for (const query of wrong) {
    test(`polling with ${query || 'none'} is unknown`, async () => {
      checkRefusal(await get(`${PATH}?EIO=4&${query}`), 0);
    });
    test(`WebSocket with ${query || 'none'} is unknown`, async () => {
      const { response } = await tryUpgrade(gateway, `${PATH}?EIO=4&${query}`);
      assert.equal(response.status, 400);
      assert.match(response.text, /Transport unknown/);
    });
  }

  test('an unknown transport is named before an unknown session or version', async () => {
    checkRefusal(await get(`${PATH}?EIO=3&transport=abc&sid=nobody`), 0);
  });

  test('transport=websocket without an upgrade is a bad request', async () => {
    checkRefusal(await get(`${PATH}?EIO=4&transport=websocket`), 3);
  });

  test('transport=websocket without an upgrade leaves a polling session alone', async () => {
    const session = await Polling.open(gateway);
    checkRefusal(await get(`${PATH}?EIO=4&transport=websocket&sid=${session.sid}`), 3);
    await session.send('40');
    assert.match(await session.packet(), /^40\{"sid"/);
  });

  // The reference answers 101 and closes at once, which a client cannot tell from a network fault.
  test('an upgrade with transport=polling is refused before the 101', better, async () => {
    const { response } = await tryUpgrade(gateway, NEW);
    assert.equal(response.status, 400);
  });
});

describe('an unknown session', () => {
  const sids = [
    'nobody',
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    'AAAAAAAAAAAAAAAAAAAA',
    '%00',
    '%F0%9F%98%80',
    '..%2F..%2Fetc%2Fpasswd',
    "'%20or%201=1--",
    'x'.repeat(3000),
  ];
  for (const sid of sids) {
    const name = sid.length > 40 ? `of ${sid.length} characters` : sid;
    test(`GET with sid ${name}`, async () => {
      checkRefusal(await get(`${NEW}&sid=${sid}`), 1);
    });
    test(`POST with sid ${name}`, async () => {
      checkRefusal(await request(gateway, { method: 'POST', path: `${NEW}&sid=${sid}`, body: '40' }), 1);
    });
    test(`WebSocket with sid ${name}`, async () => {
      const { response } = await tryUpgrade(gateway, `${PATH}?EIO=4&transport=websocket&sid=${sid}`);
      assert.equal(response.status, 400);
      assert.match(response.text, /Session ID unknown/);
    });
  }

  test('a Socket.IO id is no session id', async () => {
    const websocket = await openSession(gateway);
    websocket.sendText('40');
    const { sid } = JSON.parse((await websocket.nextText()).slice(2));
    assert.notEqual(sid, websocket.sid);
    checkRefusal(await get(`${NEW}&sid=${sid}`), 1);
    websocket.close();
  });
});

describe('the method', () => {
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
    test(`${method} cannot start a session`, async () => {
      checkRefusal(await request(gateway, { method, path: NEW, body: '' }), 2);
    });
    if (method === 'POST') continue;
    test(`${method} on a session is refused and the session survives`, async () => {
      const session = await Polling.open(gateway);
      const response = await request(gateway, { method, path: session.target, body: '40' });
      assert.ok([405, 500].includes(response.status), `got ${response.status}`);
      await session.send('40');
      assert.match(await session.packet(), /^40\{"sid"/);
    });
  }

  test('HEAD cannot start a session and gets no body', async () => {
    const response = await request(gateway, { method: 'HEAD', path: NEW });
    assert.equal(response.status, 400);
    assert.equal(response.text, '');
  });

  for (const [name, headers] of [
    ['a bare OPTIONS', {}],
    ['a preflight', { origin: 'http://localhost:3000', 'access-control-request-method': 'POST' }],
  ]) {
    test(`${name} starts no session`, async () => {
      const { status, text, headers: answered } = await request(gateway, { method: 'OPTIONS', path: NEW, headers });
      if (name === 'a preflight') assert.equal(status, 204);
      else if (status !== 204) checkRefusal({ status, text, headers: answered }, 2);
      if (status === 204) assert.equal(text, '');
    });
  }

  test('a made-up method breaks nothing', async () => {
    const { status } = await request(gateway, { method: 'BREW', path: NEW });
    assert.ok(status >= 400 && status < 600, `got ${status}`);
    await stillServes();
  });
});

describe('an Origin with control characters', () => {
  for (const byte of [0x01, 0x08, 0x0b, 0x1f, 0x7f]) {
    test(`byte ${byte} is a bad request`, async () => {
      const { status, text } = await get(NEW, { origin: `http://a${String.fromCharCode(byte)}b` });
      assert.equal(status, 400);
      // An HTTP parser may refuse such a header before Engine.IO sees it.
      if (text.startsWith('{"code"')) assert.equal(text, ERROR[3]);
      await stillServes();
    });
  }
});

describe('the path', () => {
  for (const path of ['/socket.io', '/socket.io?EIO=4&transport=polling', '/Socket.IO/?EIO=4&transport=polling']) {
    test(`${path} is not found`, async () => {
      assert.equal((await get(path)).status, 404);
    });
  }

  test('a WebSocket elsewhere is refused', async () => {
    for (const path of ['/', '/engine.io/?EIO=4&transport=websocket', '/socket.io?EIO=4&transport=websocket']) {
      // The reference just ends such a connection after a second.
      const outcome = await tryUpgrade(gateway, path).then(
        ({ response }) => response.status,
        () => 'ended',
      );
      assert.notEqual(outcome, 101, path);
      if (!onReference) assert.ok(outcome >= 400 && outcome < 500, `${path}: ${outcome}`);
    }
  });

  test('socket.path moves it, with or without slashes at its ends', better, async () => {
    for (const setting of ['/live/', '/live']) {
      const moved = await startGateway({ env: { IDAE_SOCKET_SOCKET_PATH: setting } });
      try {
        const there = await request(moved, { path: '/live/?EIO=4&transport=polling' });
        assert.equal(there.status, 200, setting);
        const here = await request(moved, { path: NEW });
        assert.equal(here.status, 404, setting);
      } finally {
        await moved.end();
      }
    }
  });
});

describe('settings reach the handshake', () => {
  test('intervals and the payload limit', async () => {
    const other = await startGateway({
      env: {
        IDAE_SOCKET_SOCKET_PING_INTERVAL_MS: '7000',
        IDAE_SOCKET_SOCKET_PING_TIMEOUT_MS: '3000',
        IDAE_SOCKET_SOCKET_PAYLOAD_BYTES_MAX: '123456',
      },
    });
    try {
      const { sid, ...rest } = (await Polling.open(other)).handshake;
      assert.match(sid, SID);
      assert.deepEqual(rest, {
        upgrades: ['websocket'],
        pingInterval: 7000,
        pingTimeout: 3000,
        maxPayload: 123456,
      });
    } finally {
      await other.end();
    }
  });

  test('a gateway with polling alone offers no upgrade and refuses WebSocket', better, async () => {
    const other = await startGateway({ env: { IDAE_SOCKET_SOCKET_TRANSPORTS: 'polling' } });
    try {
      const session = await Polling.open(other);
      assert.deepEqual(session.handshake.upgrades, []);
      const { response } = await tryUpgrade(other, `${PATH}?EIO=4&transport=websocket`);
      assert.equal(response.status, 400);
      assert.match(response.text, /Transport unknown/);
    } finally {
      await other.end();
    }
  });

  test('a gateway with WebSocket alone refuses polling', async () => {
    const other = await startGateway({ env: { IDAE_SOCKET_SOCKET_TRANSPORTS: 'websocket' } });
    try {
      checkRefusal(await request(other, { path: NEW }), 0);
      const websocket = await openSession(other);
      assert.deepEqual(websocket.handshake.upgrades, []);
      websocket.close();
    } finally {
      await other.end();
    }
  });
});

/** What a browser would conclude: may a page of `origin` read this answer? */
const admitted = (headers, origin) => ['*', origin].includes(headers['access-control-allow-origin']);

describe('a cookie for load balancers', { skip: better.skip }, () => {
  let sticky;
  before(async () => {
    sticky = await startGateway({ env: { IDAE_SOCKET_SOCKET_COOKIE: 'io' } });
  });
  after(() => sticky?.end());

  test('comes with the polling handshake and with nothing else', async () => {
    const opened = await request(sticky, { path: NEW });
    const { sid } = JSON.parse(opened.text.slice(1));
    assert.equal(opened.headers['set-cookie'], `io=${sid}; Path=/; HttpOnly; SameSite=Lax`);
    const posted = await request(sticky, { method: 'POST', path: `${NEW}&sid=${sid}`, body: '40' });
    assert.deepEqual([posted.status, posted.headers['set-cookie']], [200, undefined]);
    const polled = await request(sticky, { path: `${NEW}&sid=${sid}` });
    assert.deepEqual([polled.status, polled.headers['set-cookie']], [200, undefined]);
  });
});

describe('CORS without authentication: pages of this machine only', () => {
  const local = [
    'http://localhost',
    'http://localhost:3000',
    'https://localhost:8443',
    'http://127.0.0.1:5173',
    'http://[::1]:8080',
  ];
  const foreign = [
    'https://evil.example',
    'http://localhost.evil.example',
    'http://127.0.0.1.evil.example:3000',
    'http://evil.example:4000',
    'http://notlocalhost:3000',
    'http://localhost:3000.evil.example',
    'http://localhost:3000@evil.example',
    'http://evil.example/http://localhost:3000',
    'http://128.0.0.1',
    'null',
    'file://',
    'localhost',
  ];

  for (const origin of local) {
    test(`${origin} may read the handshake`, async () => {
      const { status, headers } = await get(NEW, { origin });
      assert.equal(status, 200);
      // Echoed, never `*`: with `*` every page of the world could read it.
      assert.equal(headers['access-control-allow-origin'], origin);
      assert.match(headers.vary ?? '', /\borigin\b/i);
    });
    test(`${origin} may open a WebSocket`, async () => {
      const websocket = await openSession(gateway, { headers: { origin } });
      websocket.close();
    });
  }
  for (const origin of foreign) {
    test(`${origin} may not read the handshake`, async () => {
      const { headers } = await get(NEW, { origin });
      assert.equal(headers['access-control-allow-origin'], undefined);
    });
    test(`${origin} gets no WebSocket`, async () => {
      const { response } = await tryUpgrade(gateway, `${PATH}?EIO=4&transport=websocket`, { headers: { origin } });
      assert.ok([400, 403].includes(response.status), `got ${response.status}`);
    });
  }

  test('a client without Origin is no web page and is let in', async () => {
    const { status, headers } = await get(NEW);
    assert.equal(status, 200);
    assert.equal(headers['access-control-allow-origin'], undefined);
  });

  test('a preflight is answered for a local page', async () => {
    const origin = 'http://localhost:3000';
    const { status, headers, text } = await request(gateway, {
      method: 'OPTIONS',
      path: NEW,
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'content-type,authorization',
      },
    });
    assert.equal(status, 204);
    assert.equal(text, '');
    assert.equal(headers['access-control-allow-origin'], origin);
    for (const method of ['GET', 'POST']) assert.match(headers['access-control-allow-methods'], new RegExp(`\\b${method}\\b`));
    for (const name of ['content-type', 'authorization']) {
      assert.ok(headers['access-control-allow-headers'].toLowerCase().split(/\s*,\s*/).includes(name));
    }
  });

  test('a preflight of a foreign page allows nothing', async () => {
    const { headers } = await request(gateway, {
      method: 'OPTIONS',
      path: NEW,
      headers: { origin: 'https://evil.example', 'access-control-request-method': 'POST' },
    });
    assert.equal(headers['access-control-allow-origin'], undefined);
  });

  test('errors can be read by local pages too', async () => {
    const origin = 'http://localhost:3000';
    for (const path of [`${PATH}?EIO=4&transport=abc`, `${NEW}&sid=nobody`, `${PATH}?EIO=3&transport=polling`]) {
      const { status, headers } = await get(path, { origin });
      assert.equal(status, 400);
      assert.equal(headers['access-control-allow-origin'], origin, path);
    }
  });

  test('polls and posts of a session carry the header as well', async () => {
    const origin = 'http://127.0.0.1:5173';
    const session = await Polling.open(gateway);
    const posted = await session.post('40', { headers: { origin } });
    assert.equal(posted.headers['access-control-allow-origin'], origin);
    const polled = await session.poll({ headers: { origin } });
    assert.equal(polled.headers['access-control-allow-origin'], origin);
  });
});

describe('CORS with settings', () => {
  const listed = 'https://app.example';
  const cases = [
    {
      name: 'a list',
      env: { IDAE_SOCKET_SOCKET_CORS_ORIGINS: 'https://app.example,https://admin.example:8443' },
      yes: [listed, 'https://admin.example:8443'],
      no: ['http://localhost:3000', 'https://evil.example', 'http://app.example', 'https://app.example.evil', 'https://app.example:444'],
    },
    {
      name: 'the older name of the setting',
      env: { IDAE_SOCKET_CORS_ORIGIN: listed },
      yes: [listed],
      no: ['http://localhost:3000', 'https://evil.example'],
    },
    {
      name: 'a star',
      env: { IDAE_SOCKET_SOCKET_CORS_ORIGINS: '*' },
      yes: [listed, 'http://localhost:3000', 'https://evil.example'],
      no: [],
    },
  ];
  for (const { name, env, yes, no } of cases) {
    test(`${name} decides for polling and WebSocket alike`, async (t) => {
      const other = await startGateway({ env });
      t.after(() => other.end());
      for (const origin of [...yes, ...no]) {
        const { headers } = await request(other, { path: NEW, headers: { origin } });
        assert.equal(admitted(headers, origin), yes.includes(origin), `polling, ${origin}`);
        if (headers['access-control-allow-origin'] === '*') {
          assert.equal(headers['access-control-allow-credentials'], undefined);
        } else if (yes.includes(origin)) {
          assert.match(headers.vary ?? '', /\borigin\b/i);
        }
        const { response, connection } = await tryUpgrade(other, `${PATH}?EIO=4&transport=websocket`, {
          headers: { ...upgradeHeaders(), origin },
        });
        connection.socket.destroy();
        assert.equal(response.status === 101, yes.includes(origin), `WebSocket, ${origin}: ${response.status}`);
      }
    });
  }
});
