// Strategy `jwt`: which tokens let a socket in, where they may stand, who the socket is then, and
// what somebody who is refused is told.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Manager } from 'socket.io-client';
import { eventually, nextValue } from '../harness/events.js';
import { endAll } from '../harness/gateway.js';
import { request } from '../harness/raw.js';
import { Polling, ask, client, connectNow, openSession } from '../harness/sessions.js';
import { Door, JWT, enter, logLine, logLines, open, plainInfo, refusal, refusals, whoIs } from './entering.js';
import {
  ASYMMETRIC,
  JwksServer,
  KeyPair,
  OTHER_SECRET,
  SECRET,
  SYMMETRIC,
  claims,
  jwt,
  jwtOf,
  now,
  temporaryFile,
  token,
} from './tokens.js';

const sockets = async (gateway, target, more = {}) =>
  (await gateway.publish('news', { payload: 1, ...target, ...more })).sockets;

describe('every algorithm', () => {
  describe('with a secret', () => {
    let gateway;
    before(async () => {
      gateway = await open(null, { auth: { ...JWT, algorithms: SYMMETRIC } });
    });
    after(() => gateway?.end());

    for (const algorithm of SYMMETRIC) {
      test(algorithm, async (t) => {
        const door = await Door.open(t, gateway);
        assert.equal((await door.knock({ token: token({}, { algorithm }) })).user, 'ada');
        assert.equal(await door.code({ token: token({}, { algorithm, key: OTHER_SECRET }) }), 'token_signature');
      });
    }

    test('an algorithm of key pairs is not in the list', async (t) => {
      const door = await Door.open(t, gateway);
      for (const [algorithm, kind] of Object.entries(ASYMMETRIC)) {
        const good = jwtOf(KeyPair.get(kind), claims(), { algorithm });
        assert.equal(await door.code({ token: good }), 'token_algorithm', algorithm);
      }
    });
  });

  test('a secret alone means HS256 alone', async (t) => {
    const gateway = await open(t, { auth: JWT });
    const door = await Door.open(t, gateway);
    assert.equal(await door.code({ token: token() }), null);
    for (const algorithm of ['HS384', 'HS512']) {
      assert.equal(await door.code({ token: token({}, { algorithm }) }), 'token_algorithm', algorithm);
    }
  });

  test('the secret is taken as it is written', async (t) => {
    // Not decoded as Base64 or hexadecimal, and bytes of UTF-8 count.
    for (const secret of ['0123456789abcdef0123456789abcdef', 'YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4', 'ein Schlüssel mit Umlaut: äöü 🔑 …']) {
      const gateway = await open(t, { auth: { ...JWT, jwt_secret: secret } });
      const door = await Door.open(t, gateway);
      assert.equal(await door.code({ token: token({}, { key: secret }) }), null, secret);
    }
  });

  for (const kind of ['rsa', 'p256', 'p384', 'p521', 'ed25519']) {
    const algorithms = Object.keys(ASYMMETRIC).filter((name) => ASYMMETRIC[name] === kind);

    test(`with a PEM file: ${algorithms.join(', ')}`, async (t) => {
      const pair = KeyPair.get(kind);
      const jwt_public_key_file = temporaryFile(t, pair.pem, 'public.pem');
      const gateway = await open(t, { auth: { strategy: 'jwt', jwt_public_key_file, algorithms } });
      const door = await Door.open(t, gateway);
      for (const algorithm of algorithms) {
        assert.equal((await door.knock({ token: jwtOf(pair, claims(), { algorithm }) })).user, 'ada', algorithm);
        const forged = jwtOf(pair, claims(), { algorithm, key: KeyPair.get(kind, 'other').privateKey });
        assert.equal(await door.code({ token: forged }), 'token_signature', algorithm);
      }
      const others = Object.entries(ASYMMETRIC).filter(([, other]) => other !== kind);
      for (const [algorithm, other] of others) {
        const wrong = jwtOf(KeyPair.get(other), claims(), { algorithm });
        assert.equal(await door.code({ token: wrong }), 'token_algorithm', algorithm);
      }
    });

    test(`what fits a PEM file of ${kind} without a list`, async (t) => {
      const pair = KeyPair.get(kind);
      const jwt_public_key_file = temporaryFile(t, pair.pem, 'public.pem');
      const gateway = await open(t, { auth: { strategy: 'jwt', jwt_public_key_file } });
      const door = await Door.open(t, gateway);
      assert.equal((await door.knock({ token: jwtOf(pair, claims()) })).user, 'ada');
    });
  }

  test('with a PEM file of the older form for RSA', async (t) => {
    const pair = KeyPair.get('rsa');
    const pem = pair.publicKey.export({ type: 'pkcs1', format: 'pem' });
    const gateway = await open(t, {
      auth: { strategy: 'jwt', jwt_public_key_file: temporaryFile(t, pem), algorithms: ['RS256'] },
    });
    const door = await Door.open(t, gateway);
    assert.equal(await door.code({ token: jwtOf(pair, claims()) }), null);
  });

  test('with a key set', async (t) => {
    const kinds = ['rsa', 'p256', 'p384', 'p521', 'ed25519'];
    const jwks = await JwksServer.start(t, kinds.map((kind) => KeyPair.get(kind)));
    const gateway = await open(t, {
      auth: { strategy: 'jwt', jwks_url: jwks.url, algorithms: Object.keys(ASYMMETRIC) },
    });
    const door = await Door.open(t, gateway);
    for (const [algorithm, kind] of Object.entries(ASYMMETRIC)) {
      const pair = KeyPair.get(kind);
      assert.equal((await door.knock({ token: jwtOf(pair, claims(), { algorithm }) })).user, 'ada', algorithm);
      // A key of the same kind that claims to be the one of the set.
      const forged = jwtOf(pair, claims(), { algorithm, key: KeyPair.get(kind, 'other').privateKey });
      assert.equal(await door.code({ token: forged }), 'token_signature', algorithm);
    }
    for (const algorithm of SYMMETRIC) {
      assert.equal(await door.code({ token: token({}, { algorithm }) }), 'token_algorithm', algorithm);
    }
  });
});

describe('where a token stands', () => {
  let gateway;
  before(async () => {
    gateway = await open(null, { auth: JWT });
  });
  after(() => gateway?.end());

  const good = token();
  const bad = token({ sub: 'eve' }, { key: OTHER_SECRET });
  const header = (value) => ({ Authorization: value });
  // The auth object, the headers of the handshake, and the code; null is being let in.
  const places = [
    ['auth.token', { token: good }, {}, null],
    ['auth.token with Bearer', { token: `Bearer ${good}` }, {}, null],
    ['auth.token with bearer', { token: `bearer ${good}` }, {}, null],
    ['auth.token with BEARER', { token: `BEARER ${good}` }, {}, null],
    ['auth.token with bEaReR', { token: `bEaReR ${good}` }, {}, null],
    ['auth.Authorization', { Authorization: good }, {}, null],
    ['auth.Authorization with Bearer', { Authorization: `Bearer ${good}` }, {}, null],
    ['auth.Authorization with bearer', { Authorization: `bearer ${good}` }, {}, null],
    ['the header', undefined, header(`Bearer ${good}`), null],
    ['the header with bearer', undefined, header(`bearer ${good}`), null],
    ['the header without Bearer', undefined, header(good), null],
    ['the header beside an auth object without token', { recovery: false }, header(`Bearer ${good}`), null],

    ['Bearer twice: one is dropped', { token: `Bearer Bearer ${good}` }, {}, 'token_malformed'],
    ['another scheme', undefined, header(`Basic ${Buffer.from(`ada:${good}`).toString('base64')}`), 'token_malformed'],
    ['another scheme before a token', { token: `Token ${good}` }, {}, 'token_malformed'],

    ['token wins over Authorization', { token: good, Authorization: bad }, {}, null],
    ['token wins over Authorization, to the worse', { token: bad, Authorization: good }, {}, 'token_signature'],
    ['token wins over the header', { token: good }, header(`Bearer ${bad}`), null],
    ['token wins over the header, to the worse', { token: bad }, header(`Bearer ${good}`), 'token_signature'],
    ['Authorization wins over the header', { Authorization: good }, header(`Bearer ${bad}`), null],
    ['Authorization wins over the header, to the worse', { Authorization: bad }, header(`Bearer ${good}`), 'token_signature'],
    ['a malformed token is not passed over', { token: 'nonsense', Authorization: good }, header(`Bearer ${good}`), 'token_malformed'],
    ['a token that is no text is not passed over', { token: 5, Authorization: good }, {}, 'token_malformed'],

    ['token null is none', { token: null, Authorization: good }, {}, null],
    ['token "" is none', { token: '', Authorization: good }, {}, null],
    ['both null: the header', { token: null, Authorization: null }, header(`Bearer ${good}`), null],
    ['both "": the header', { token: '', Authorization: '' }, header(`Bearer ${good}`), null],

    ['nothing', undefined, {}, 'token_missing'],
    ['an empty auth object', {}, {}, 'token_missing'],
    ['token null', { token: null }, {}, 'token_missing'],
    ['token ""', { token: '' }, {}, 'token_missing'],
    ['Authorization ""', { Authorization: '' }, {}, 'token_missing'],
    ['names in another case are other names', { Token: good, authorization: good, TOKEN: good }, {}, 'token_missing'],
    ['other names', { access_token: good, jwt: good, auth: good, bearer: good }, {}, 'token_missing'],
    ['deeper in the object', { auth: { token: good }, headers: { Authorization: good } }, {}, 'token_missing'],
    ['a cookie', undefined, { Cookie: `token=${good}; Authorization=${good}; access_token=${good}` }, 'token_missing'],
    ['other headers', undefined, { 'X-Access-Token': good, 'X-Authorization': good, 'X-API-Key': good, 'Proxy-Authorization': `Bearer ${good}` }, 'token_missing'],
    ['a WebSocket subprotocol', undefined, { 'Sec-WebSocket-Protocol': good }, 'token_missing'],

    ['a number', { token: 5 }, {}, 'token_malformed'],
    ['true', { token: true }, {}, 'token_malformed'],
    ['an object', { token: { token: good } }, {}, 'token_malformed'],
    ['an array', { token: [good] }, {}, 'token_malformed'],
  ];

  for (const [title, auth, headers, code] of places) {
    test(`${title}: ${code ?? 'let in'}`, async (t) => {
      const door = await Door.open(t, gateway, { headers });
      assert.equal(await door.code(auth), code);
      if (headers['Sec-WebSocket-Protocol']) return;

      const session = await Polling.open(gateway, { headers });
      await session.send(`40${auth === undefined ? '' : JSON.stringify(auth)}`);
      const packet = await session.packet();
      if (code === null) assert.match(packet, /^40\{"sid":"/);
      else assert.match(packet, new RegExp(`^44\\{"message":"Unauthorized: [^"]+","data":\\{"code":"${code}"\\}\\}$`));
      await session.send('1');
    });
  }

  test('an Authorization in the auth object that is no text', async (t) => {
    const door = await Door.open(t, gateway);
    for (const value of [5, true, {}, [good]]) {
      const { code } = await door.knock({ Authorization: value });
      assert.ok(['token_malformed', 'token_missing'].includes(code), `${JSON.stringify(value)}: ${code}`);
    }
  });

  test('nothing behind Bearer', async (t) => {
    const door = await Door.open(t, gateway);
    for (const value of ['Bearer ', 'bearer ', 'Bearer']) {
      const { code } = await door.knock({ token: value });
      assert.ok(['token_malformed', 'token_missing'].includes(code), `${JSON.stringify(value)}: ${code}`);
    }
  });

  test('never from the query', async (t) => {
    for (const name of ['token', 'Authorization', 'authorization', 'access_token', 'auth', 'auth[token]', 'jwt']) {
      const query = `&${encodeURIComponent(name)}=${encodeURIComponent(name === 'auth' ? JSON.stringify({ token: good }) : good)}`;
      const door = await Door.open(t, gateway, { query });
      assert.equal(await door.code(undefined), 'token_missing', name);
      assert.equal(await door.code({}), 'token_missing', name);
    }
    for (const transport of ['polling', 'websocket']) {
      const { code } = await refusal(t, gateway, { transports: [transport], query: { token: good } });
      assert.equal(code, 'token_missing', transport);
    }
  });

  test('on polling the header of the handshake counts, not that of a POST', async () => {
    const session = await Polling.open(gateway);
    await session.post('40', { headers: { ...header(`Bearer ${good}`), 'content-type': 'text/plain' } });
    assert.match(await session.packet(), /"code":"token_missing"/);
    await session.send('1');
  });

  for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
    test(`the stock client over ${transports.join(' and ')}`, async (t) => {
      for (const options of [
        { auth: { token: good } },
        { auth: { Authorization: `Bearer ${good}` } },
        { auth: (take) => take({ token: good }) },
        { auth: undefined, extraHeaders: header(`Bearer ${good}`) },
      ]) {
        const socket = await enter(t, gateway, null, { transports, ...options });
        assert.equal((await whoIs(socket)).user, 'ada');
        socket.disconnect();
      }
    });
  }
});

describe('what is refused', () => {
  let gateway;
  const base = { auth: { ...JWT, issuer: 'https://issuer.test/', audience: 'gateway' }, socket: { rooms_max: 20 } };
  before(async () => {
    gateway = await open(null, base);
  });
  after(() => gateway?.end());

  const ours = { iss: 'https://issuer.test/', aud: 'gateway' };
  const of = (more, options) => token({ ...ours, ...more }, options);
  const [head, body, sign] = of().split('.');
  const part = (value) => Buffer.from(value).toString('base64url');
  const parts = (header, payload) => `${part(header)}.${part(payload)}.${sign}`;
  const HS256 = '{"alg":"HS256"}';

  // Each with the code for both transports; a function makes the token when it is needed.
  const table = [
    ['one word', 'nonsense', 'token_malformed'],
    ['a dot', '.', 'token_malformed'],
    ['two dots', '..', 'token_malformed'],
    ['two parts', `${head}.${body}`, 'token_malformed'],
    ['four parts', `${head}.${body}.${sign}.${sign}`, 'token_malformed'],
    ['five parts, like an encrypted token', `${head}.${body}.${sign}.${body}.${sign}`, 'token_malformed'],
    ['a header that is not Base64', `!!!.${body}.${sign}`, 'token_malformed'],
    ['a header that is not JSON', parts('{alg:HS256}', '{}'), 'token_malformed'],
    ['a header that is no object', parts('"HS256"', '{}'), 'token_malformed'],
    ['a header that is an array', parts('["HS256"]', '{}'), 'token_malformed'],
    ['a header that is cut off', parts('{"alg":"HS256"', '{}'), 'token_malformed'],
    ['an empty header', `.${body}.${sign}`, 'token_malformed'],
    ['text that is no ASCII', 'é.😀.\u0000', 'token_malformed'],
    // A payload is not read before its signature is right.
    ['a space inside', `${head}. ${body}.${sign}`, ['token_malformed', 'token_signature']],

    // Signed as it should be, so that nothing else is wrong.
    ['a payload that is not JSON', () => jwt('sub=ada'), 'token_malformed'],
    ['a payload that is no object', () => jwt('"ada"'), 'token_malformed'],
    ['a payload that is an array', () => jwt([claims(ours)]), 'token_malformed'],
    ['a payload that is null', () => jwt('null'), 'token_malformed'],
    ['a payload that is not UTF-8', () => jwt(Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d])), 'token_malformed'],
    ['an empty payload', () => jwt(''), 'token_malformed'],
    ['an exp that is text', () => of({ exp: String(now() + 3600) }), 'token_malformed'],
    ['an exp that is null', () => of({ exp: null }), ['token_malformed', null]],
    ['an exp that is an object', () => of({ exp: {} }), 'token_malformed'],
    ['an nbf that is text', () => of({ nbf: String(now() - 10) }), 'token_malformed'],
    ['an nbf that is an array', () => of({ nbf: [0] }), 'token_malformed'],
    ['a crit header', () => of({}, { header: { crit: ['exp'] } }), 'token_malformed'],
    ['a crit header of an extension', () => of({}, { header: { crit: ['http://x.test'], 'http://x.test': 1 } }), 'token_malformed'],

    ['alg none', () => of({}, { header: { alg: 'none' } }), 'token_algorithm'],
    ['alg HS512', () => of({}, { algorithm: 'HS512' }), 'token_algorithm'],
    ['alg RS256', () => jwtOf(KeyPair.get('rsa'), claims(ours)), 'token_algorithm'],
    ['an alg that nobody knows', () => of({}, { header: { alg: 'HS257' } }), 'token_algorithm'],
    ['alg in lower case', () => of({}, { header: { alg: 'hs256' } }), 'token_algorithm'],

    ['another secret', () => of({}, { key: OTHER_SECRET }), 'token_signature'],
    ['another payload', () => `${head}.${part(JSON.stringify(claims({ ...ours, sub: 'eve' })))}.${sign}`, 'token_signature'],
    ['another header', () => `${part(HS256)}.${body}.${sign}`, 'token_signature'],
    ['half a signature', () => `${head}.${body}.${sign.slice(0, 20)}`, 'token_signature'],
    // Nothing of a token is believed, and nothing about it is told, before its signature.
    ['a wrong signature of an expired token', () => of({ exp: 1 }, { key: OTHER_SECRET }), 'token_signature'],
    ['a wrong signature of a foreign token', () => of({ iss: 'x', aud: 'x' }, { key: OTHER_SECRET }), 'token_signature'],

    ['expired long ago', () => of({ exp: 1 }), 'token_expired'],
    ['expired at zero', () => of({ exp: 0 }), 'token_expired'],
    ['expired before time began', () => of({ exp: -1 }), 'token_expired'],
    ['expired, in fractions', () => of({ exp: now() - 60.5 }), 'token_expired'],
    ['expired beyond the leeway', () => of({ exp: now() - 35 }), 'token_expired'],
    ['not yet valid', () => of({ nbf: now() + 3000 }), 'token_not_yet_valid'],
    ['not yet valid, in fractions', () => of({ nbf: now() + 60.5 }), 'token_not_yet_valid'],
    ['not yet valid beyond the leeway', () => of({ nbf: now() + 40 }), 'token_not_yet_valid'],

    ['another issuer', () => of({ iss: 'https://other.test/' }), 'token_issuer'],
    ['no issuer', () => of({ iss: undefined }), 'token_issuer'],
    ['an issuer that is nearly ours', () => of({ iss: 'https://issuer.test' }), 'token_issuer'],
    ['an issuer in another case', () => of({ iss: 'HTTPS://ISSUER.TEST/' }), 'token_issuer'],
    ['an issuer in an array', () => of({ iss: ['https://issuer.test/'] }), 'token_issuer'],
    ['an issuer that is null', () => of({ iss: null }), 'token_issuer'],
    ['another audience', () => of({ aud: 'others' }), 'token_audience'],
    ['no audience', () => of({ aud: undefined }), 'token_audience'],
    ['other audiences', () => of({ aud: ['a', 'b'] }), 'token_audience'],
    ['no audience in an array', () => of({ aud: [] }), 'token_audience'],
    ['an audience that begins like ours', () => of({ aud: 'gateway2' }), 'token_audience'],
    ['an audience that is an object', () => of({ aud: { gateway: true } }), 'token_audience'],
    ['an audience in an array in an array', () => of({ aud: [['gateway']] }), 'token_audience'],

    ['an empty user id', () => of({ sub: '' }), 'token_claims'],
    ['a user id that is true', () => of({ sub: true }), 'token_claims'],
    ['a user id that is an object', () => of({ sub: { id: 'ada' } }), 'token_claims'],
    ['a user id that is an array', () => of({ sub: ['ada'] }), 'token_claims'],
    ['a bad user id is not passed over', () => of({ sub: false, userId: 'ada' }), 'token_claims'],
    ['roles that are an object', () => of({ roles: { admin: true } }), 'token_claims'],
    ['roles that are true', () => of({ roles: true }), 'token_claims'],
    ['a role that is an object', () => of({ roles: ['admin', {}] }), 'token_claims'],
    ['a role that is an array', () => of({ roles: [['admin']] }), 'token_claims'],
    ['a role that is true', () => of({ roles: [true] }), 'token_claims'],
    ['more roles than rooms', () => of({ roles: Array.from({ length: 21 }, (_, i) => `r${i}`) }), 'too_many_rooms'],
  ];

  const accepted = (code) => (Array.isArray(code) ? code : [code]);
  for (const [title, given, code] of table) {
    test(`${title}: ${code}`, async (t) => {
      const bad = typeof given === 'function' ? given() : given;
      const door = await Door.open(t, gateway);
      const answer = await door.knock({ token: bad });
      assert.ok(accepted(code).includes(answer.code), `${answer.code} ${answer.message}`);
      if (answer.code === null) return;
      // To the letter: the order of the keys and nothing else.
      const { message } = answer;
      assert.equal(door.last, `44${JSON.stringify({ message, data: { code: answer.code } })}`);
      assert.match(message, /^Unauthorized: [A-Za-z][^\n]{5,200}$/);
      assert.ok(!message.includes(bad) && !message.includes(sign), message);

      // The header says the same, and so does polling.
      const inHeader = /^[\x21-\x7e]*$/.test(bad) && bad.length < 4000;
      if (!inHeader) return;
      const session = await Polling.open(gateway, { headers: { Authorization: `Bearer ${bad}` } });
      await session.send('40');
      assert.equal(await session.packet(), door.last);
      await session.send('1');
    });
  }

  for (const transport of ['polling', 'websocket']) {
    test(`the stock client over ${transport} learns message and code`, async (t) => {
      const cases = [
        [undefined, 'token_missing'],
        [{ token: 'nonsense' }, 'token_malformed'],
        [{ token: of({}, { header: { alg: 'none' } }) }, 'token_algorithm'],
        [{ token: of({}, { key: OTHER_SECRET }) }, 'token_signature'],
        [{ token: of({ exp: 1 }) }, 'token_expired'],
        [{ token: of({ nbf: now() + 3600 }) }, 'token_not_yet_valid'],
        [{ token: of({ iss: 'x' }) }, 'token_issuer'],
        [{ token: of({ aud: 'x' }) }, 'token_audience'],
        [{ token: of({ sub: {} }) }, 'token_claims'],
      ];
      const answers = await Promise.all(cases.map(([auth]) => refusal(t, gateway, { auth, transports: [transport] })));
      assert.deepEqual(answers.map(({ code }) => code), cases.map(([, code]) => code));
      // Somebody who reads the sentences can tell the reasons apart.
      assert.equal(new Set(answers.map(({ message }) => message)).size, cases.length);
    });
  }

  test('a refusal leaves the connection open for another try', async () => {
    const websocket = await openSession(gateway);
    for (let i = 0; i < 3; i += 1) {
      websocket.sendText('40{"token":"nonsense"}');
      assert.match(await websocket.nextText(), /^44\{"message":"Unauthorized: [^"]+","data":\{"code":"token_malformed"\}\}$/);
    }
    websocket.sendText(`40${JSON.stringify({ token: of() })}`);
    assert.match(await websocket.nextText(), /^40\{"sid":"/);
    websocket.close();
  });

  test('the stock client comes in with a better token', async (t) => {
    let current = of({ exp: 1 });
    const socket = client(t, gateway, { transports: ['websocket'], auth: (take) => take({ token: current }) });
    const refused = nextValue(socket, 'connect_error');
    socket.connect();
    assert.equal((await refused).data.code, 'token_expired');
    current = of();
    await connectNow(socket);
    assert.equal((await whoIs(socket)).user, 'ada');
  });

  test('two CONNECTs with bad tokens in one segment never make a socket', async () => {
    const websocket = await openSession(gateway);
    websocket.sendTogether('40{"token":"nonsense"}', '40{"token":"nonsense"}');
    const frames = [];
    try {
      while (frames.length < 2) frames.push(await websocket.nextText(500));
    } catch {
      // Closed, or only one answer: both fine.
    }
    assert.ok(frames.length > 0 && frames.every((text) => text.startsWith('44')), String(frames));
    websocket.close();
  });

  test('an event behind a CONNECT that is refused is not acted on', async (t) => {
    const listener = await enter(t, gateway, of({ roles: ['reader'] }));
    const websocket = await openSession(gateway);
    websocket.sendTogether('40{"token":"nonsense"}', '420["subscribe","reader"]');
    assert.match(await websocket.nextText(), /^44/);
    assert.equal(await sockets(gateway, { rooms: 'reader' }), 1);
    assert.ok(!websocket.unread.some((text) => text.startsWith('43')), String(websocket.unread));
    websocket.connection.socket.destroy();
    listener.disconnect();
  });

  test('somebody who is refused gets no events, not even broadcasts', async (t) => {
    const door = await Door.open(t, gateway);
    assert.equal(await door.code({ token: 'nonsense' }), 'token_malformed');
    assert.equal(await sockets(gateway, { broadcast: true }), 0);
  });

  test('an unknown namespace is only that', async (t) => {
    const door = await Door.open(t, gateway);
    assert.equal((await door.knock({ token: of() }, { namespace: '/nope' })).message, 'Invalid namespace');
    assert.equal(door.last, '44/nope,{"message":"Invalid namespace"}');
  });

  test('20 roles and no more', async (t) => {
    const door = await Door.open(t, gateway);
    const roles = Array.from({ length: 20 }, (_, i) => `r${String(i).padStart(2, '0')}`);
    assert.deepEqual((await door.knock({ token: of({ roles }) })).rooms, roles);
  });
});

describe('what is let in', () => {
  let gateway;
  let narrow;
  before(async () => {
    [gateway, narrow] = await Promise.all([
      open(null, { auth: JWT }),
      open(null, { auth: { ...JWT, leeway_s: 0, issuer: 'us', audience: 'gateway' } }),
    ]);
  });
  after(() => endAll(gateway, narrow));

  const day = 86_400;
  const table = [
    ['no exp at all', { exp: undefined }, { expiresAt: null }],
    ['an exp in fractions', { exp: now() + 3600.5 }, {}],
    ['an exp in a thousand years', { exp: now() + 365_250 * day }, {}],
    ['just expired, within the leeway', { exp: now() - 10 }, {}],
    ['just not yet valid, within the leeway', { nbf: now() + 20 }, {}],
    ['valid since yesterday', { nbf: now() - day, iat: now() - day }, {}],
    ['an iat in the future', { iat: now() + 3600 }, {}],
    ['any issuer and audience where none is asked for', { iss: 'anybody', aud: ['anything'] }, {}],
    ['an issuer and audience of any type where none is asked for', { iss: 5, aud: {} }, {}],
    ['claims of any shape', { a: null, b: [1, { c: 'é😀' }], d: { e: { f: {} } }, '': '', __proto__x: 1 }, {}],

    ['a user id that is a number', { sub: 42 }, { user: '42' }],
    ['a user id that is zero', { sub: 0 }, { user: '0' }],
    ['a negative user id', { sub: -7 }, { user: '-7' }],
    ['a user id beyond 2^53', '{"sub":9007199254740993}', { user: '9007199254740993' }],
    ['a user id of 64 bits', '{"sub":18446744073709551615}', { user: '18446744073709551615' }],
    ['a user id with letters of the world', { sub: 'Zoë 😀' }, { user: 'Zoë 😀' }],
    ['a user id with every sign', { sub: 'auth0|5f:*"/\\{}' }, { user: 'auth0|5f:*"/\\{}' }],
    ['userId where there is no sub', { sub: undefined, userId: 'bob' }, { user: 'bob' }],
    ['userId where sub is null', { sub: null, userId: 'bob' }, { user: 'bob' }],
    ['sub before userId', { sub: 'ada', userId: 'bob' }, { user: 'ada' }],
    ['no user at all', { sub: undefined }, { user: null }],
    ['null for both user claims', { sub: null, userId: null }, { user: null }],

    ['no roles', {}, { roles: [], rooms: [] }],
    ['roles in an array', { roles: ['admin', 'editor'] }, { roles: ['admin', 'editor'], rooms: ['admin', 'editor'] }],
    ['one role as text', { roles: 'admin' }, { roles: ['admin'], rooms: ['admin'] }],
    ['role instead of roles', { role: 'admin' }, { roles: ['admin'], rooms: ['admin'] }],
    ['role as an array', { role: ['a', 'b'] }, { roles: ['a', 'b'], rooms: ['a', 'b'] }],
    ['roles before role', { roles: ['a'], role: 'b' }, { roles: ['a'], rooms: ['a'] }],
    ['roles null, then role', { roles: null, role: 'b' }, { roles: ['b'], rooms: ['b'] }],
    ['roles empty, role is not asked', { roles: [], role: 'b' }, { roles: [], rooms: [] }],
    ['roles that are numbers', { roles: [1, 2] }, { roles: ['1', '2'], rooms: ['1', '2'] }],
    ['one role that is a number', { roles: 7 }, { roles: ['7'], rooms: ['7'] }],
    ['a role twice is one room', { roles: ['a', 'a'] }, { rooms: ['a'] }],
    ['a role with spaces is one role', { roles: 'a b' }, { roles: ['a b'], rooms: ['a b'] }],
    ['a role with a comma is one role', { roles: 'a,b' }, { roles: ['a,b'], rooms: ['a,b'] }],
  ];
  for (const [title, given, expected] of table) {
    test(title, async (t) => {
      const door = await Door.open(t, gateway);
      const good = typeof given === 'string' ? jwt(given) : token(given);
      const who = await door.knock({ token: good });
      assert.equal(who.code, null, who.message);
      for (const [key, value] of Object.entries(expected)) assert.deepEqual(who[key], value, key);
    });
  }

  test('headers that say nothing about the signature are passed over', async (t) => {
    const door = await Door.open(t, gateway);
    for (const header of [{ typ: undefined }, { typ: 'at+jwt' }, { kid: 'any' }, { cty: 'JWT' }, { x: { y: 1 } }]) {
      assert.equal(await door.code({ token: token({}, { header }) }), null, JSON.stringify(header));
    }
  });

  test('a user id too long for any number is kept, or refused, but never shortened', async (t) => {
    // Two people whose ids begin alike must not become one.
    const [one, two] = ['123456789012345678901234567890', '123456789012345678901234567891'];
    const door = await Door.open(t, gateway);
    for (const id of [one, two]) {
      const who = await door.knock({ token: jwt(`{"sub":${id}}`) });
      assert.ok(who.code === 'token_claims' || who.user === id, `${id}: ${JSON.stringify(who)}`);
    }
  });

  test('no leeway, the issuer and the audience', async (t) => {
    const door = await Door.open(t, narrow);
    const ours = { iss: 'us', aud: 'gateway' };
    const codes = [
      [{}, null],
      [{ aud: ['others', 'gateway'] }, null],
      [{ aud: ['gateway'] }, null],
      [{ exp: now() - 3 }, 'token_expired'],
      [{ nbf: now() + 10 }, 'token_not_yet_valid'],
      [{ iss: 'them' }, 'token_issuer'],
      [{ aud: 'them' }, 'token_audience'],
    ];
    for (const [more, code] of codes) {
      assert.equal(await door.code({ token: token({ ...ours, ...more }) }), code, JSON.stringify(more));
    }
  });

  test('a token within the leeway is of use', async (t) => {
    const socket = await enter(t, gateway, token({ exp: now() - 5, roles: ['admin'] }));
    assert.equal((await whoIs(socket)).user, 'ada');
    assert.equal(await sockets(gateway, { rooms: 'admin' }), 1);
    assert.equal(socket.connected, true);
    socket.disconnect();
  });
});

describe('other claims than the usual', () => {
  const cases = [
    {
      title: 'names',
      auth: { user_claims: ['uid', 'email'], role_claims: ['groups'] },
      claims: { sub: 'nobody', email: 'ada@example.test', roles: ['no'], groups: ['yes'] },
      user: 'ada@example.test',
      roles: ['yes'],
    },
    {
      title: 'paths',
      auth: { user_claims: ['user.id'], role_claims: ['realm_access.roles'] },
      claims: { user: { id: 7 }, realm_access: { roles: ['admin'] } },
      user: '7',
      roles: ['admin'],
    },
    {
      title: 'a name with dots that is literally there',
      auth: { user_claims: ['user.id'], role_claims: ['https://example.test/roles'] },
      claims: { 'user.id': 'literal', user: { id: 'path' }, 'https://example.test/roles': ['admin'] },
      user: 'literal',
      roles: ['admin'],
    },
    {
      title: 'paths that lead nowhere',
      auth: { user_claims: ['a.b.c', 'sub'], role_claims: ['x.y', 'roles'] },
      claims: { sub: 'ada', a: { b: 'text' }, x: null, roles: ['r'] },
      user: 'ada',
      roles: ['r'],
    },
  ];
  for (const { title, auth, claims: given, user, roles } of cases) {
    test(title, async (t) => {
      const gateway = await open(t, { auth: { ...JWT, ...auth } });
      const door = await Door.open(t, gateway);
      const who = await door.knock({ token: token({ sub: undefined, ...given }) });
      assert.deepEqual([who.code, who.user, who.roles], [null, user, roles]);
    });
  }

  test('from the environment', async (t) => {
    const gateway = await open(t, {}, {
      env: {
        IDAE_SOCKET_AUTH_STRATEGY: 'jwt',
        IDAE_SOCKET_JWT_SECRET: SECRET,
        IDAE_SOCKET_AUTH_USER_CLAIMS: 'uid,sub',
        IDAE_SOCKET_AUTH_ROLE_CLAIMS: 'realm_access.roles',
        IDAE_SOCKET_AUTH_ISSUER: 'us',
        IDAE_SOCKET_AUTH_AUDIENCE: 'gateway',
        IDAE_SOCKET_AUTH_LEEWAY_S: '0',
        IDAE_SOCKET_AUTH_ALGORITHMS: 'HS256,HS512',
      },
    });
    const door = await Door.open(t, gateway);
    const good = { uid: 'bob', iss: 'us', aud: 'gateway', realm_access: { roles: 'r' } };
    for (const algorithm of ['HS256', 'HS512']) {
      const who = await door.knock({ token: token(good, { algorithm }) });
      assert.deepEqual([who.user, who.roles], ['bob', ['r']]);
    }
    assert.equal(await door.code({ token: token(good, { algorithm: 'HS384' }) }), 'token_algorithm');
    assert.equal(await door.code({ token: token({ ...good, exp: now() - 3 }) }), 'token_expired');
  });
});

describe('the user is an address', () => {
  let gateway;
  before(async () => {
    gateway = await open(null, { auth: JWT, namespaces: ['/', '/admin'], rooms: { join: ['public:*'] } });
  });
  after(() => gateway?.end());

  test('each device of a user is reached, and nobody else', async (t) => {
    const [ada, again, bob] = await Promise.all([
      enter(t, gateway, token({ sub: 'ada' })),
      enter(t, gateway, token({ sub: 'ada' }), { transports: ['polling'] }),
      enter(t, gateway, token({ sub: 42, roles: ['admin'] })),
    ]);
    const counts = [
      [{ users: 'ada' }, 2],
      [{ users: ['ada', 'nobody'] }, 2],
      [{ payload: { own: 'ada' } }, 2],
      [{ users: 42 }, 1],
      [{ users: '42' }, 1],
      [{ payload: { own: 42 } }, 1],
      [{ payload: { own: ['ada', 42] } }, 3],
      [{ users: ['ada', '42'], rooms: 'admin' }, 3],
      [{ users: [ada.id, 'ada'] }, 2],
      [{ users: again.id }, 1],
      [{ rooms: 'admin' }, 1],
      [{ rooms: 'ada' }, 0],
      [{ rooms: '42' }, 0],
      [{ users: 'admin' }, 0],
      [{ users: 'Ada' }, 0],
      [{ users: 'a*' }, 0],
      [{ users: 'ada', namespace: '/admin' }, 0],
      [{ rooms: 'admin', except: '42' }, 1],
      [{ users: 'ada', except: 'ada' }, 2],
      [{ users: 'ada', except: ada.id }, 1],
      [{ broadcast: true, except: 'admin' }, 2],
    ];
    for (const [target, count] of counts) assert.equal(await sockets(gateway, target), count, JSON.stringify(target));
    const event = nextValue(bob, 'secret');
    await gateway.publish('secret', { users: 42, payload: 'for bob' });
    assert.equal((await event).payload, 'for bob');
  });

  test('somebody without user id has no address but the socket id', async (t) => {
    const nobody = await enter(t, gateway, token({ sub: undefined, roles: ['guest'] }));
    for (const users of ['', 'null', 'undefined', 'anonymous']) {
      if (users) assert.equal(await sockets(gateway, { users }), 0, users);
    }
    assert.equal(await sockets(gateway, { users: nobody.id }), 1);
    assert.equal(await sockets(gateway, { rooms: 'guest' }), 1);
  });

  test('the address ends with the socket', async (t) => {
    const guest = await enter(t, gateway, token({ sub: 'leaving', roles: ['leavers'] }));
    assert.equal(await sockets(gateway, { users: 'leaving', rooms: 'leavers' }), 1);
    guest.disconnect();
    await eventually(async () => (await sockets(gateway, { users: 'leaving', rooms: 'leavers' })) === 0, 'the user to be gone');
  });

  test('each namespace of a connection has its own token', async (t) => {
    const manager = new Manager(gateway.url, { transports: ['websocket'], forceNew: true });
    t.after(() => manager._close());
    const main = manager.socket('/', { auth: { token: token({ sub: 'main-user', roles: ['main-role'] }) } });
    const admin = manager.socket('/admin', { auth: { token: token({ sub: 'admin-user', roles: ['admin-role'] }) } });
    await Promise.all([connectNow(main), connectNow(admin)]);
    assert.equal((await whoIs(main)).user, 'main-user');
    assert.equal((await whoIs(admin)).user, 'admin-user');
    const counts = [
      [{ users: 'main-user' }, 1],
      [{ users: 'main-user', namespace: '/admin' }, 0],
      [{ users: 'admin-user' }, 0],
      [{ users: 'admin-user', namespace: '/admin' }, 1],
      [{ rooms: 'admin-role' }, 0],
      [{ rooms: 'admin-role', namespace: '/admin' }, 1],
    ];
    for (const [target, count] of counts) assert.equal(await sockets(gateway, target), count, JSON.stringify(target));
    assert.equal((await ask(main, 'subscribe', 'admin-role')).code, 'room_forbidden');

    // A new token in one of them says nothing about the other.
    assert.equal((await ask(main, 'token:refresh', token({ sub: 'main-user', roles: ['new-role'] }))).status, 'ok');
    assert.deepEqual((await whoIs(admin)).roles, ['admin-role']);
  });

  test('a refusal in one namespace leaves the other alone', async (t) => {
    const main = await enter(t, gateway, token());
    const admin = main.io.socket('/admin', { auth: { token: token({ exp: 1 }) } });
    t.after(() => admin.disconnect());
    const refused = nextValue(admin, 'connect_error');
    admin.connect();
    assert.equal((await refused).data.code, 'token_expired');
    assert.equal((await whoIs(main)).user, 'ada');
  });

  test('the header counts for every namespace, the auth object for its own', async (t) => {
    const headers = { Authorization: `Bearer ${token({ sub: 'header' })}` };
    const door = await Door.open(t, gateway, { headers });
    assert.equal((await door.knock(undefined)).user, 'header');
    assert.equal((await door.knock(undefined, { namespace: '/admin' })).user, 'header');
    assert.equal((await door.knock({ token: token({ sub: 'own' }) }, { namespace: '/admin' })).user, 'own');
  });
});

describe('what is written down', () => {
  test('each refusal is counted by its code', async (t) => {
    const gateway = await open(t, { auth: JWT });
    const start = await refusals(gateway);
    assert.match(start.type, /^application\/openmetrics-text\b/);
    const door = await Door.open(t, gateway);
    const tries = [
      [undefined, 'token_missing', 1],
      [{ token: 'nonsense' }, 'token_malformed', 2],
      [{ token: token({ exp: 1 }) }, 'token_expired', 3],
      [{ token: token({}, { key: OTHER_SECRET }) }, 'token_signature', 1],
      [{ token: token({}, { algorithm: 'HS512' }) }, 'token_algorithm', 1],
    ];
    for (const [auth, code, times] of tries) {
      for (let i = 0; i < times; i += 1) assert.equal(await door.code(auth), code);
    }
    assert.equal(await door.code({ token: token() }), null);
    const counted = await refusals(gateway);
    for (const [, code, times] of tries) assert.equal(counted.of(code) - start.of(code), times, code);
    assert.match(counted.text, /^# TYPE idae_socket_refusals counter$/m);
    assert.match(counted.text, /# EOF\n$/);
  });

  test('refused subscriptions and refreshes are counted too', async (t) => {
    const gateway = await open(t, { auth: JWT });
    const socket = await enter(t, gateway, token());
    assert.equal((await ask(socket, 'subscribe', 'secret')).code, 'room_forbidden');
    assert.equal((await ask(socket, 'token:refresh', token({ sub: 'eve' }))).code, 'token_other_user');
    const counted = await refusals(gateway);
    assert.deepEqual([counted.of('room_forbidden'), counted.of('token_other_user')], [1, 1], counted.text);
  });

  test('so are publishers who are turned away', async (t) => {
    const [anybody, keyed] = [await open(t, {}), await open(t, { publish: { key: 'a-key-0123456789abcdef' } })];
    const body = { rooms: 'r', payload: 1 };
    await anybody.post('/p', body, { 'X-Forwarded-For': '203.0.113.7' });
    await anybody.post('/p', body, { Origin: 'https://evil.test' });
    await keyed.post('/p', body);
    await keyed.post('/p', body, { Authorization: 'Bearer wrong' });
    const [one, two] = [await refusals(anybody), await refusals(keyed)];
    assert.deepEqual([one.of('not_loopback'), one.of('browser_request')], [1, 1], one.text);
    assert.deepEqual([two.of('unauthorized'), two.of('key_invalid')], [1, 1], two.text);
  });

  test('each refusal is logged with its code and the address', async (t) => {
    const gateway = await open(t, { auth: JWT });
    const door = await Door.open(t, gateway);
    const tries = [
      [undefined, 'token_missing'],
      [{ token: 'nonsense' }, 'token_malformed'],
      [{ token: token({ exp: 1 }) }, 'token_expired'],
      [{ token: token({}, { key: OTHER_SECRET }) }, 'token_signature'],
    ];
    for (const [auth, code] of tries) {
      assert.equal(await door.code(auth), code);
      const line = await logLine(gateway, code, '127.0.0.1');
      assert.equal(line.level, 'INFO', JSON.stringify(line));
    }
    assert.equal(await door.code({ token: token() }), null);
    assert.ok(!logLines(gateway).some(({ level }) => level === 'WARN' || level === 'ERROR'), gateway.stderr);
  });

  test('never a token or the secret, at any level', async (t) => {
    const gateway = await open(t, { auth: JWT, log: { level: 'trace' }, rooms: { join: ['public:*'] } });
    const tokens = [
      token(),
      token({ exp: 1 }),
      token({}, { key: OTHER_SECRET }),
      token({ sub: {} }),
      token({}, { header: { alg: 'none' } }),
      'not-a-token-but-perhaps-a-password',
      token({}, { header: '{"alg":"HS256"' }),
    ];
    const door = await Door.open(t, gateway);
    const socket = await enter(t, gateway, tokens[0]);
    const seen = [];
    for (const each of tokens) {
      seen.push(JSON.stringify(await door.knock({ token: each })));
      seen.push(JSON.stringify(await door.knock({ Authorization: `Bearer ${each}` })));
      seen.push(JSON.stringify(await ask(socket, 'token:refresh', each)));
      const withHeader = await Door.open(t, gateway, { headers: { Authorization: `Bearer ${each}` } });
      seen.push(JSON.stringify(await withHeader.knock(undefined)));
      const query = await request(gateway, { path: `/socket.io/?EIO=4&transport=polling&token=${each}` });
      assert.equal(query.status, 200);
    }
    await logLine(gateway, 'token_signature');
    seen.push((await refusals(gateway)).text, gateway.logs);
    for (const each of tokens) {
      const [, payload, sign] = each.split('.');
      for (const piece of [each, payload, sign].filter((piece) => piece?.length > 8)) {
        for (const text of seen) assert.ok(!text.includes(piece), `a token is shown: ${text.slice(0, 2000)}`);
      }
    }
    for (const text of seen) assert.ok(!text.includes(SECRET), 'the secret is shown');
  });
});

describe('soft mode', () => {
  let gateway;
  before(async () => {
    gateway = await open(null, {
      auth: { ...JWT, mode: 'soft' },
      rooms: { join: ['public:*', 'tenant:{tenant}:*', 'user:{sub}:*'] },
    });
  });
  after(() => gateway?.end());

  const failing = [
    ['no token', undefined, 'token_missing'],
    ['nonsense', { token: 'nonsense' }, 'token_malformed'],
    ['a token that is no text', { token: 5 }, 'token_malformed'],
    ['an expired token', { token: token({ exp: 1, roles: ['soft-admin'], tenant: 'acme' }) }, 'token_expired'],
    ['a forged token', { token: token({ sub: 'eve', roles: ['soft-admin'], tenant: 'acme' }, { key: OTHER_SECRET }) }, 'token_signature'],
    ['an unsigned token', { token: token({ sub: 'eve', roles: ['soft-admin'], tenant: 'acme' }, { header: { alg: 'none' } }) }, 'token_algorithm'],
    ['bad claims', { token: token({ sub: {}, roles: ['soft-admin'] }) }, 'token_claims'],
  ];
  for (const [title, auth, code] of failing) {
    test(`${title}: let in as nobody`, async (t) => {
      const before = logLines(gateway).length;
      const socket = await enter(t, gateway, undefined, { auth });
      const who = await whoIs(socket);
      assert.deepEqual(who, { user: null, roles: [], rooms: [], expiresAt: null });
      const lines = await eventually(() => {
        const fresh = logLines(gateway).slice(before).filter((line) => JSON.stringify(line).includes(code));
        return fresh.length ? fresh : null;
      }, `a log line with ${code}`);
      assert.equal(lines[0].level, 'WARN', JSON.stringify(lines));
      assert.ok(JSON.stringify(lines[0]).includes('127.0.0.1'), JSON.stringify(lines));

      assert.equal((await ask(socket, 'subscribe', 'public:soft')).status, 'ok');
      for (const room of ['soft-admin', 'tenant:acme:x', 'user:ada:x', 'user::x', 'tenant::x', 'private']) {
        assert.equal((await ask(socket, 'subscribe', room)).code, 'room_forbidden', room);
      }
      assert.equal(await ask(socket, 'grantIn', { ROLE: 'soft-admin' }), 'false');
      assert.equal(await sockets(gateway, { users: ['ada', 'eve'], rooms: 'soft-admin' }), 0);
      assert.equal(await sockets(gateway, { rooms: 'public:soft' }), 1);
      socket.disconnect();
      await eventually(async () => (await sockets(gateway, { rooms: 'public:soft' })) === 0, 'the room to be empty');
    });
  }

  test('a good token counts as ever', async (t) => {
    const socket = await enter(t, gateway, token({ roles: ['soft-admin'], tenant: 'acme' }));
    const who = await whoIs(socket);
    assert.deepEqual([who.user, who.rooms], ['ada', ['soft-admin']]);
    assert.equal((await ask(socket, 'subscribe', ['tenant:acme:x', 'user:ada:x'])).status, 'ok');
    assert.equal(await sockets(gateway, { users: 'ada' }), 1);
  });

  test('an unknown namespace stays unknown', async (t) => {
    const door = await Door.open(t, gateway);
    assert.equal((await door.knock({ token: 'nonsense' }, { namespace: '/nope' })).message, 'Invalid namespace');
  });
});

describe('strategy none', () => {
  test('no token is looked at: everybody is nobody, and every room is open', async (t) => {
    const gateway = await open(t, { rooms: { join: ['public:*'] } });
    const door = await Door.open(t, gateway);
    for (const auth of [undefined, { token: 'nonsense' }, { token: token() }, { token: 5 }]) {
      const { sid, ...who } = await door.knock(auth);
      assert.match(sid, /./);
      assert.deepEqual(who, { code: null, user: null, roles: [], rooms: [], expiresAt: null });
    }
    const socket = await enter(t, gateway, token({ roles: ['admin'] }));
    assert.deepEqual(await ask(socket, 'token:refresh', token({ sub: 'eve' })), { status: 'ok' });
    assert.equal((await ask(socket, 'subscribe', ['private', 'tenant:x:y'])).status, 'ok');
    assert.equal(await ask(socket, 'grantIn', { ROLE: 'admin', host: 'h' }), 'true');
    assert.deepEqual(plainInfo(await ask(socket, 'token:info')).rooms, ['admin', 'h', 'private', 'tenant:x:y']);
    assert.equal(await sockets(gateway, { users: ['ada', 'eve'] }), 0);
  });
});
