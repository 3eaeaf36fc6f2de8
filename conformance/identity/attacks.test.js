// Ways to get in where one does not belong, to read what is for others, to publish without a key,
// or to make the gateway do harm. Each is tried on a gateway that lets honest people in beside it.

import assert from 'node:assert/strict';
import { constants, randomBytes, randomUUID, sign, verify } from 'node:crypto';
import { createServer } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { collect, within } from '../harness/events.js';
import { endAll } from '../harness/gateway.js';
import { RawConnection, request, requestBytes, tryUpgrade } from '../harness/raw.js';
import { Polling, ask, openSession } from '../harness/sessions.js';
import { Door, JWT, enter, logLine, open, refusal, refusals, whoIs } from './entering.js';
import {
  ASYMMETRIC,
  Backend,
  DROP,
  HANG,
  JwksServer,
  KeyPair,
  OTHER_SECRET,
  SECRET,
  claims,
  jwt,
  jwtOf,
  now,
  temporaryFile,
  token,
} from './tokens.js';

const sockets = async (gateway, target) => (await gateway.publish('news', { payload: 1, ...target })).sockets;
const part = (value) => Buffer.from(value).toString('base64url');
/** The same token with another signature. */
const resigned = (text, bytes) => `${text.slice(0, text.lastIndexOf('.'))}.${Buffer.from(bytes).toString('base64url')}`;

/** Nobody but these may be let in: what an attacker gets is a code, and never a socket. */
function assertCode(code, allowed, title) {
  assert.ok([allowed].flat().includes(code), `${title}: ${code === null ? 'was let in' : code}`);
}

describe('forged tokens', () => {
  const pair = KeyPair.get('rsa');
  const evil = KeyPair.get('rsa', 'evil');
  const ours = { iss: 'https://issuer.test/', aud: 'gateway' };
  let byFile;
  let bySet;
  let bySecret;
  let jwks;
  let attacker;
  const cleanups = [];
  before(async () => {
    jwks = await JwksServer.start(null, [pair]);
    // Serves the attacker's key to whoever follows a token's own pointer.
    attacker = await JwksServer.start(null, [evil]);
    const rules = { issuer: ours.iss, audience: ours.aud };
    const jwt_public_key_file = temporaryFile({ after: (end) => cleanups.push(end) }, pair.pem, 'public.pem');
    [byFile, bySet, bySecret] = await Promise.all([
      open(null, { auth: { strategy: 'jwt', jwt_public_key_file, algorithms: ['RS256', 'PS256'], ...rules } }),
      open(null, { auth: { strategy: 'jwt', jwks_url: jwks.url, algorithms: ['RS256', 'PS256'], ...rules } }),
      open(null, { auth: { ...JWT, ...rules } }),
    ]);
  });
  after(async () => {
    await endAll(byFile, bySet, bySecret);
    await jwks?.die();
    await attacker?.die();
    for (const clean of cleanups) clean();
  });

  /** Tries a token, or what makes one, at the gateways with a key pair. */
  async function tryAtBoth(t, title, make, codes) {
    for (const [name, gateway] of [['PEM file', byFile], ['key set', bySet]]) {
      const door = await Door.open(t, gateway);
      // A key that is not in the set is looked for first.
      assertCode(await door.code({ token: make() }, { waitMs: 15_000 }), codes, `${title} (${name})`);
      // The gateway has taken no harm.
      assert.equal((await door.knock({ token: jwtOf(pair, claims(ours)) })).user, 'ada');
    }
  }

  const admin = () => claims({ ...ours, sub: 'root', roles: ['admin'] });

  for (const alg of ['none', 'None', 'NONE', 'nOnE', 'none ', ' none', 'noné', '']) {
    test(`alg ${JSON.stringify(alg)}`, async (t) => {
      const unsigned = `${part(JSON.stringify({ alg, typ: 'JWT', kid: pair.kid }))}.${part(JSON.stringify(admin()))}`;
      const codes = ['token_algorithm', 'token_malformed'];
      const strict = ['none', 'None', 'NONE', 'nOnE'].includes(alg) ? 'token_algorithm' : codes;
      await tryAtBoth(t, 'with an empty signature', () => `${unsigned}.`, strict);
      await tryAtBoth(t, 'with a signature', () => resigned(`${unsigned}.`, randomBytes(256)), strict);
      await tryAtBoth(t, 'without the last dot', () => unsigned, 'token_malformed');
      const door = await Door.open(t, bySecret);
      assertCode(await door.code({ token: `${unsigned}.` }), strict, 'with a secret');
    });
  }

  const oddAlgorithms = [undefined, null, 0, true, {}, ['none'], ['RS256'], ['RS256', 'none'], { RS256: true }];
  test('an alg that is no text', async (t) => {
    for (const alg of oddAlgorithms) {
      const make = () => jwtOf(pair, admin(), { header: { alg } });
      await tryAtBoth(t, String(JSON.stringify(alg)), make, ['token_malformed', 'token_algorithm']);
    }
  });

  test('HS256 signed with the public key', async (t) => {
    const der = pair.publicKey.export({ type: 'spki', format: 'der' });
    const pkcs1 = pair.publicKey.export({ type: 'pkcs1', format: 'pem' });
    const { n } = pair.jwk();
    const keys = [pair.pem, pair.pem.trim(), pair.pem.replaceAll('\n', '\r\n'), der, pkcs1, n, Buffer.from(n, 'base64url'), JSON.stringify(pair.jwk()), '', 'null'];
    for (const key of keys) {
      for (const algorithm of ['HS256', 'HS512']) {
        await tryAtBoth(t, `${algorithm} with ${String(key).slice(0, 30)}`, () => jwt(admin(), { algorithm, key, kid: pair.kid }), 'token_algorithm');
      }
    }
  });

  test('a key that the token brings itself', async (t) => {
    const jwk = evil.jwk({ kid: pair.kid });
    const headers = [
      { jwk },
      { jwk, kid: undefined },
      { jku: attacker.url },
      { jku: attacker.url, kid: evil.kid },
      { x5u: attacker.url },
      { x5c: [evil.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')] },
      { jku: attacker.url, x5u: attacker.url, jwk, x5c: [], x5t: 'x' },
      { kid: attacker.url },
      { kid: '../../../../dev/null' },
      { kid: "' OR 1=1 --" },
      { kid: '' },
      { kid: '__proto__' },
      { kid: 'x'.repeat(8000) },
    ];
    const tries = headers.map((header) => {
      const make = () => jwtOf(evil, admin(), { kid: pair.kid, header });
      return tryAtBoth(t, JSON.stringify(header).slice(0, 60), make, ['token_signature', 'token_key_unknown']);
    });
    for (const kid of [5, null, {}, [], true]) {
      const make = () => jwtOf(evil, admin(), { header: { kid } });
      tries.push(tryAtBoth(t, `kid ${JSON.stringify(kid)}`, make, ['token_signature', 'token_key_unknown', 'token_malformed']));
    }
    await Promise.all(tries);
    assert.equal(attacker.requests.length, 0, 'the gateway asked the attacker for keys');
  });

  test('honest tokens may carry such headers, they are passed over', async (t) => {
    for (const gateway of [byFile, bySet]) {
      const door = await Door.open(t, gateway);
      for (const header of [{ jwk: evil.jwk() }, { jku: attacker.url }, { x5u: attacker.url }]) {
        assert.equal(await door.code({ token: jwtOf(pair, claims(ours), { header }) }), null);
      }
    }
    assert.equal(attacker.requests.length, 0, 'the gateway asked the attacker for keys');
  });

  for (const crit of [['exp'], ['b64'], ['alg'], [], 'exp', ['x', 'y'], null, {}]) {
    test(`crit ${JSON.stringify(crit)} is not understood`, async (t) => {
      const strict = Array.isArray(crit) && crit.length > 0 ? 'token_malformed' : ['token_malformed', null];
      const make = () => jwtOf(pair, claims(ours), { header: { crit, b64: crit?.includes?.('b64') ? false : undefined } });
      for (const gateway of [byFile, bySet]) {
        const door = await Door.open(t, gateway);
        assertCode(await door.code({ token: make() }), strict, 'crit');
      }
    });
  }

  test('a signature that is none', async (t) => {
    const good = jwtOf(pair, admin());
    const signed = Buffer.from(good.split('.')[2], 'base64url');
    const flipped = Buffer.from(signed);
    flipped[100] ^= 1;
    const table = [
      ['stripped', `${good.slice(0, good.lastIndexOf('.'))}.`, ['token_signature', 'token_malformed']],
      ['stripped with its dot', good.slice(0, good.lastIndexOf('.')), 'token_malformed'],
      ['one bit', resigned(good, flipped), 'token_signature'],
      ['zeros', resigned(good, Buffer.alloc(256)), 'token_signature'],
      ['cut short', resigned(good, signed.subarray(0, 255)), 'token_signature'],
      ['one byte more', resigned(good, Buffer.concat([signed, Buffer.alloc(1)])), 'token_signature'],
      ['twice', resigned(good, Buffer.concat([signed, signed])), 'token_signature'],
      ['of another token', resigned(good, Buffer.from(jwtOf(pair, claims(ours)).split('.')[2], 'base64url')), 'token_signature'],
      ['of the other padding', jwtOf(pair, admin(), { algorithm: 'RS256', header: { alg: 'PS256' } }), 'token_signature'],
      ['of the other padding, reversed', jwtOf(pair, admin(), { algorithm: 'PS256', header: { alg: 'RS256' } }), 'token_signature'],
      ['of another hash', jwtOf(pair, admin(), { algorithm: 'RS512', header: { alg: 'RS256' } }), 'token_signature'],
      ['of an algorithm that is not in the list', jwtOf(pair, admin(), { algorithm: 'RS512' }), 'token_algorithm'],
    ];
    for (const [title, bad, codes] of table) await tryAtBoth(t, title, () => bad, codes);
  });

  test('a signature of zeros, and one in the wrong form, of an elliptic key', async (t) => {
    for (const [kind, algorithm, size] of [['p256', 'ES256', 64], ['p384', 'ES384', 96], ['p521', 'ES512', 132]]) {
      const ec = KeyPair.get(kind);
      const gateway = await open(t, {
        auth: { strategy: 'jwt', jwt_public_key_file: temporaryFile(t, ec.pem), algorithms: [algorithm] },
      });
      const door = await Door.open(t, gateway);
      const good = jwtOf(ec, claims());
      assert.equal(await door.code({ token: good }), null);
      const der = sign(`sha${algorithm.slice(2)}`, Buffer.from(good.slice(0, good.lastIndexOf('.'))), ec.privateKey);
      for (const bytes of [Buffer.alloc(size), Buffer.alloc(size, 0xff), der, Buffer.alloc(0)]) {
        assertCode(await door.code({ token: resigned(good, bytes) }), ['token_signature', 'token_malformed'], algorithm);
      }
    }
  });

  test('an honest signature under the wrong conditions', async (t) => {
    const table = [
      ['expired', { exp: now() - 3600 }, 'token_expired'],
      ['not yet valid', { nbf: now() + 3600 }, 'token_not_yet_valid'],
      ['another issuer', { iss: 'https://issuer.test.evil.test/' }, 'token_issuer'],
      ['another audience', { aud: 'gateway.evil.test' }, 'token_audience'],
      ['ours among the words of one', { aud: 'others gateway' }, 'token_audience'],
      ['no issuer', { iss: undefined }, 'token_issuer'],
      ['no audience', { aud: undefined }, 'token_audience'],
    ];
    for (const [title, more, code] of table) {
      await tryAtBoth(t, title, () => jwtOf(pair, claims({ ...ours, ...more })), code);
    }
  });

  test('a claim twice: refused, or the last counts, and never the first', async (t) => {
    const door = await Door.open(t, bySecret);
    const usual = `"iss":"${ours.iss}","aud":"gateway"`;
    const user = await door.knock({ token: jwt(`{"sub":"ada","exp":${now() + 60},"sub":"bob",${usual}}`) });
    if (user.code === null) assert.equal(user.user, 'bob');
    else assertCode(user.code, ['token_malformed', 'token_claims'], 'sub twice');
    const roles = await door.knock({ token: jwt(`{"sub":"ada","roles":["admin"],"exp":${now() + 60},"roles":[],${usual}}`) });
    if (roles.code === null) assert.deepEqual(roles.roles, []);
    const expired = await door.code({ token: jwt(`{"sub":"ada","exp":${now() + 60},"exp":1,${usual}}`) });
    assertCode(expired, ['token_expired', 'token_malformed'], 'exp twice');
    const issuer = await door.code({ token: jwt(`{"sub":"ada",${usual},"iss":"evil"}`) });
    assertCode(issuer, ['token_issuer', 'token_malformed'], 'iss twice');
    const alg = await door.code({ token: jwt(claims(ours), { key: OTHER_SECRET, header: '{"alg":"HS256","alg":"none"}' }) });
    assertCode(alg, ['token_algorithm', 'token_malformed', 'token_signature'], 'alg twice');
  });

  test('a token that nests without end', async (t) => {
    const door = await Door.open(t, bySecret);
    for (const text of ['['.repeat(5000), '{"a":'.repeat(1500), `{"sub":"ada","a":${'['.repeat(3000)}${']'.repeat(3000)}}`]) {
      const { code } = await door.knock({ token: jwt(text) });
      assertCode(code, ['token_malformed', 'token_issuer'], 'nested');
      assertCode(await door.code({ token: `${part(text)}.${part('{}')}.${part('x')}` }), 'token_malformed', 'a nested header');
    }
    assert.equal(await door.code({ token: token(ours) }), null);
  });

  test('a token of 8,000 characters is a token like any other', async (t) => {
    const door = await Door.open(t, bySecret);
    const long = token({ ...ours, text: 'x'.repeat(5800) });
    assert.ok(long.length > 7900);
    assert.equal((await door.knock({ token: long })).user, 'ada');
  });

  test('a huge token is refused, wherever it stands', async (t) => {
    const huge = token({ ...ours, text: 'x'.repeat(200_000) });
    const door = await Door.open(t, bySecret);
    for (const auth of [{ token: huge }, { Authorization: huge }, { token: 'x'.repeat(500_000) }]) {
      assert.equal((await door.knock(auth)).message, 'The auth object is too large');
    }
    const connection = await RawConnection.open(bySecret);
    t.after(() => connection.socket.destroy());
    connection.write(requestBytes({ path: '/socket.io/?EIO=4&transport=polling', headers: { Authorization: `Bearer ${huge}` } }));
    const answer = await connection.response().catch((error) => error);
    assert.ok(answer instanceof Error || [400, 413, 431].includes(answer.status), `answered with ${answer.status}`);
    const socket = await enter(t, bySecret, token(ours));
    const reply = await ask(socket, 'token:refresh', huge);
    assert.equal(reply.status, 'error', JSON.stringify(reply).slice(0, 200));
    assert.equal(socket.connected, true);
    assert.equal(await door.code({ token: token(ours) }), null);
  });

  test('a token in the query', async (t) => {
    const good = jwtOf(pair, admin());
    for (const transport of ['polling', 'websocket']) {
      for (const query of [{ token: good }, { Authorization: `Bearer ${good}` }, { access_token: good }]) {
        const { code } = await refusal(t, byFile, { transports: [transport], query });
        assert.equal(code, 'token_missing', JSON.stringify(Object.keys(query)));
      }
    }
    await logLine(byFile, 'token_missing', '127.0.0.1');
    assert.ok(!byFile.logs.includes(good) && !byFile.logs.includes(good.split('.')[2]), 'a token of the query is logged');
  });
});

describe('a storm of forged kids', () => {
  test('the key server sees a handful of requests, and honest people get in', async (t) => {
    const pair = KeyPair.get('p256');
    const evil = KeyPair.get('p256', 'evil');
    const jwks = await JwksServer.start(t, [pair]);
    const gateway = await open(t, { auth: { strategy: 'jwt', jwks_url: jwks.url } });
    const first = await Door.open(t, gateway);
    assert.equal(await first.code({ token: jwtOf(pair, claims()) }), null);

    const DOORS = 500;
    const forge = () => jwtOf(evil, claims({ sub: 'root' }), { kid: randomUUID() });
    const doors = await Promise.all(Array.from({ length: DOORS }, () => Door.open(t, gateway)));
    for (let round = 0; round < 1000 / DOORS; round += 1) {
      const forged = doors.map((door) => door.code({ token: forge() }, { waitMs: 15_000 }));
      for (const code of forged) code.catch(() => {});
      // Who shows a known key does not wait for those.
      const honest = await within(first.code({ token: jwtOf(pair, claims()) }), 'an honest client', 2000);
      assert.equal(honest, null);
      assert.deepEqual([...new Set(await Promise.all(forged))], ['token_key_unknown']);
    }
    assert.equal(await first.code({ token: jwtOf(pair, claims()) }), null);
    assert.ok(jwks.requests.length <= 6, `${jwks.requests.length} requests for keys`);
    assert.equal((await refusals(gateway)).of('token_key_unknown'), 1000);
  });
});

describe('an introspection server that is not to be trusted with time or truth', () => {
  let backend;
  let gateway;
  before(async () => {
    backend = await Backend.start(null, () => ({ body: { active: true, sub: 'ada' } }));
    gateway = await open(null, {
      auth: { strategy: 'introspection', introspection_url: backend.url, introspection_timeout_ms: 800 },
    });
  });
  after(async () => {
    await gateway?.end();
    await backend?.die();
  });
  const answers = (answer) => {
    backend.answer = () => answer;
  };

  test('it hangs', async (t) => {
    answers(HANG);
    const started = Date.now();
    for (const transport of ['polling', 'websocket']) {
      const { code } = await refusal(t, gateway, { auth: { token: randomUUID() }, transports: [transport] });
      assert.equal(code, 'introspection_timeout');
    }
    assert.ok(Date.now() - started < 5000, `${Date.now() - started} ms`);
  });

  test('it begins an answer and hangs', async (t) => {
    const introspection_url = await halfAnswers(t);
    const other = await open(t, { auth: { strategy: 'introspection', introspection_url, introspection_timeout_ms: 800 } });
    const door = await Door.open(t, other);
    assert.equal(await door.code({ token: 'x' }), 'introspection_timeout');
  });

  test('it says 200 and active false', async (t) => {
    answers({ body: { active: false, sub: 'root', roles: ['admin'] } });
    const { code } = await refusal(t, gateway, { auth: { token: randomUUID() } });
    assert.equal(code, 'token_inactive');
  });

  test('it dies in the middle, and for good', async (t) => {
    answers(DROP);
    const door = await Door.open(t, gateway);
    assert.equal(await door.code({ token: randomUUID() }), 'introspection_unavailable');
    await backend.die();
    assert.equal(await door.code({ token: randomUUID() }), 'introspection_unavailable');
    await backend.revive();
    answers({ body: { active: true, sub: 'ada' } });
    assert.equal((await door.knock({ token: randomUUID() })).user, 'ada');
  });

  test('what it says is not taken for more than it is', async (t) => {
    const door = await Door.open(t, gateway);
    for (const body of [{ active: 'false' }, { active: 0 }, { active: null }, { active: 'no' }, { active: [] }]) {
      answers({ body: { sub: 'root', ...body } });
      assertCode(await door.code({ token: randomUUID() }), ['token_inactive', 'introspection_unavailable', 'token_claims'], JSON.stringify(body));
    }
    for (const body of [{ sub: {} }, { sub: '' }, { roles: { admin: true } }, { exp: 'never' }]) {
      answers({ body: { active: true, ...body } });
      assertCode(await door.code({ token: randomUUID() }), ['token_claims', 'token_malformed', 'introspection_unavailable'], JSON.stringify(body));
    }
  });
});

/** The URL of a server that begins its answer and never ends it. */
async function halfAnswers(t) {
  const open = new Set();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('error', () => {});
    const head = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n';
    socket.once('data', () => socket.write(`${head}{"act`));
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  t.after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}/`;
}

describe('a refresh with what belongs to others', () => {
  let gateway;
  before(async () => {
    gateway = await open(null, { auth: JWT, rooms: { join: ['public:*', 'user:{sub}:*'] } });
  });
  after(() => gateway?.end());

  const attempts = [
    ['another user', () => token({ sub: 'root', roles: ['admin'] }), 'token_other_user'],
    ['nobody', () => token({ sub: undefined, roles: ['admin'] }), 'token_other_user'],
    ['a user id in another case', () => token({ sub: 'ADA', roles: ['admin'] }), 'token_other_user'],
    ['an expired token of another user', () => token({ sub: 'root', exp: 1 }), 'token_expired'],
    ['a forged token of the same user', () => token({ roles: ['admin'] }, { key: OTHER_SECRET }), 'token_signature'],
    ['an unsigned token of the same user', () => token({ roles: ['admin'] }, { header: { alg: 'none' } }), 'token_algorithm'],
    ['nonsense', () => 'nonsense', 'token_malformed'],
    ['nothing', () => '', 'token_missing'],
    ['null', () => null, ['token_missing', 'token_malformed']],
    ['a number', () => 5, 'token_malformed'],
    ['an object with a token', () => ({ token: token({ roles: ['admin'] }) }), 'token_malformed'],
    ['bytes', () => Buffer.from(token({ roles: ['admin'] })), ['token_malformed', 'token_missing']],
  ];
  test('is an error with a code, and changes nothing', async (t) => {
    const root = await enter(t, gateway, token({ sub: 'root', roles: ['admin'] }));
    const roots = collect(root, 'news');
    const eve = await enter(t, gateway, token({ sub: 'ada', roles: ['reader'], exp: now() + 1000 }));
    const eves = collect(eve, 'news');
    const before = await whoIs(eve);
    for (const [title, make, codes] of attempts) {
      const reply = await ask(eve, 'token:refresh', make());
      assert.equal(reply.status, 'error', `${title}: ${JSON.stringify(reply)}`);
      assertCode(reply.code, codes, title);
      assert.deepEqual(await whoIs(eve), before, title);
    }
    assert.equal((await ask(eve, 'subscribe', 'user:root:inbox')).code, 'room_forbidden');
    assert.equal(await sockets(gateway, { users: 'root', payload: 'for root' }), 1);
    assert.equal(await sockets(gateway, { rooms: 'admin', payload: 'for admins' }), 1);
    assert.equal(await sockets(gateway, { users: 'ada', payload: 'for ada' }), 1);
    await eves.take(1);
    assert.deepEqual(eves.values.map(({ payload }) => payload), ['for ada']);
    await roots.take(2);
  });
});

describe('rooms with borrowed names', () => {
  // The most open rules that there are: every name may be joined.
  let gateway;
  before(async () => {
    gateway = await open(null, { auth: JWT, rooms: { join: ['*'] } });
  });
  after(() => gateway?.end());

  test('a room named like a user or a socket id never yields their events', async (t) => {
    const victim = await enter(t, gateway, token({ sub: 'victim', roles: ['staff'] }));
    // The attacker's own roles are borrowed names too.
    const curious = await enter(t, gateway, token({ sub: 'curious', roles: ['victim', victim.id, 'user:victim'] }));
    const names = ['victim', victim.id, 'user:victim', 'users/victim', `sid:${victim.id}`, `#${victim.id}`, '*', 'vic*'];
    assert.equal((await ask(curious, 'subscribe', names)).status, 'ok');
    assert.equal(await ask(curious, 'grantIn', { ROLE: 'victim', host: victim.id }), 'true');
    const [victims, curiouss] = [collect(victim, 'news'), collect(curious, 'news')];
    for (const target of [{ users: 'victim' }, { users: [victim.id] }, { payload: { own: 'victim' } }, { payload: { own: [victim.id] } }]) {
      assert.equal(await sockets(gateway, target), 1, JSON.stringify(target));
    }
    assert.equal(await sockets(gateway, { rooms: 'victim', payload: 'to the room' }), 1);
    assert.equal(await sockets(gateway, { rooms: victim.id, payload: 'to the room' }), 1);
    await victims.take(4);
    await curiouss.take(2);
    assert.deepEqual(curiouss.values.map(({ payload }) => payload), ['to the room', 'to the room']);
    assert.equal(victims.seen.length, 4);
  });

  test('a user id like a room or a socket id yields no events of these', async (t) => {
    const victim = await enter(t, gateway, token({ sub: 'victim2', roles: ['staff2'] }));
    assert.equal((await ask(victim, 'subscribe', 'public:a')).status, 'ok');
    for (const sub of ['staff2', 'public:a', '*', 'victim2 ', 'Victim2']) {
      const curious = await enter(t, gateway, token({ sub }));
      const heard = collect(curious, 'news');
      assert.equal(await sockets(gateway, { rooms: ['staff2', 'public:a'] }), 1, sub);
      assert.equal(await sockets(gateway, { users: 'victim2' }), 1, sub);
      // What comes last proves that nothing came before.
      assert.equal(await sockets(gateway, { users: curious.id, payload: 'last' }), 1);
      await heard.take(1);
      assert.deepEqual(heard.values.map(({ payload }) => payload), ['last'], sub);
      curious.disconnect();
    }
  });

  test('a user id that is a socket id yields nothing that is addressed to that socket\'s user', async (t) => {
    const victim = await enter(t, gateway, token({ sub: 'victim3' }));
    const thief = await enter(t, gateway, token({ sub: victim.id }));
    const heard = collect(thief, 'news');
    assert.equal(await sockets(gateway, { users: 'victim3', payload: 'not for the thief' }), 1);
    assert.equal(await sockets(gateway, { users: thief.id, payload: 'last' }), 1);
    await heard.take(1);
    assert.deepEqual(heard.values.map(({ payload }) => payload), ['last']);
  });

  test('a role is only its own room', async (t) => {
    const star = await enter(t, gateway, token({ sub: 'star', roles: ['*', 'public:*', ' '] }));
    assert.equal(await sockets(gateway, { rooms: 'public:x' }), 0);
    assert.equal(await sockets(gateway, { rooms: 'anything' }), 0);
    assert.equal(await sockets(gateway, { rooms: '*' }), 1);
    star.disconnect();
  });
});

describe('claims that would widen a rule', () => {
  let gateway;
  before(async () => {
    gateway = await open(null, {
      auth: JWT,
      rooms: { join: ['public:*', 'tenant:{tenant}:*', 'user:{sub}:*', 'team:{tenant}:{team}', '{open}'] },
    });
  });
  after(() => gateway?.end());

  const allowed = 'ok';
  const forbidden = 'room_forbidden';
  const table = [
    [{ tenant: 'acme' }, { 'tenant:acme:orders': allowed, 'tenant:acme:': allowed, 'tenant:acme:a:b': allowed, 'tenant:acme': forbidden, 'tenant:acm:x': forbidden, 'tenant:acmee:x': forbidden, 'tenant:ACME:x': forbidden, 'xtenant:acme:x': forbidden }],
    [{ tenant: '*' }, { 'tenant:acme:orders': forbidden, 'tenant:*:orders': forbidden, 'tenant::orders': forbidden, 'tenant:*:*': forbidden }],
    [{ tenant: 'a*' }, { 'tenant:acme:x': forbidden, 'tenant:a*:x': forbidden }],
    [{ tenant: 'a:b' }, { 'tenant:a:b:c': forbidden, 'tenant:a:x': forbidden, 'tenant:a:b': forbidden }],
    [{ tenant: ':' }, { 'tenant:::x': forbidden, 'tenant::x': forbidden }],
    [{ tenant: '' }, { 'tenant::x': forbidden, 'tenant:': forbidden, 'tenant:x:y': forbidden }],
    [{ tenant: undefined }, { 'tenant::x': forbidden, 'tenant:{tenant}:x': forbidden, 'tenant:undefined:x': forbidden, 'tenant:null:x': forbidden }],
    [{ tenant: null }, { 'tenant::x': forbidden, 'tenant:null:x': forbidden }],
    [{ tenant: {} }, { 'tenant::x': forbidden, 'tenant:{}:x': forbidden, 'tenant:[object Object]:x': forbidden }],
    [{ tenant: [] }, { 'tenant::x': forbidden, 'tenant:[]:x': forbidden }],
    [{ tenant: ['a', 'b'] }, { 'tenant:a:x': allowed, 'tenant:b:x': allowed, 'tenant:c:x': forbidden, 'tenant:a,b:x': forbidden }],
    [{ tenant: ['*', 'a:b', '', 'ok'] }, { 'tenant:ok:x': allowed, 'tenant:acme:x': forbidden, 'tenant:a:b:x': forbidden, 'tenant::x': forbidden, 'tenant:*:x': forbidden }],
    [{ tenant: [['a']] }, { 'tenant:a:x': forbidden }],
    [{ tenant: 5 }, { 'tenant:5:x': allowed, 'tenant:6:x': forbidden }],
    [{ tenant: '{sub}' }, { 'tenant:ada:x': forbidden }],
    [{ tenant: '{tenant}' }, { 'tenant:acme:x': forbidden }],
    [{ tenant: 'a/b' }, { 'tenant:a/b:x': allowed, 'tenant:a:x': forbidden }],
    [{ tenant: 'a.b' }, { 'tenant:a.b:x': allowed, 'tenant:axb:x': forbidden }],
    [{ tenant: '.*' }, { 'tenant:acme:x': forbidden }],
    [{ tenant: 'é😀' }, { 'tenant:é😀:x': allowed }],
    [{ tenant: 'a\u0000b' }, { 'tenant:a:x': forbidden }],
    [{ tenant: 'a', team: 'b' }, { 'team:a:b': allowed, 'team:b:a': forbidden, 'team:a:a': forbidden }],
    [{ tenant: ['a', 'b'], team: ['x', 'y'] }, { 'team:a:x': allowed, 'team:b:y': allowed, 'team:a:z': forbidden, 'team:c:x': forbidden }],
    [{ tenant: 'a' }, { 'team:a:': forbidden, 'team:a:b': forbidden, 'team:a:{team}': forbidden }],
    [{ open: '*' }, { anything: forbidden, '*': forbidden }],
    [{ open: 'one' }, { one: allowed, two: forbidden }],
    [{ open: ':x' }, { y: forbidden, ':x': forbidden }],
    [{ sub: 'auth0|5' }, { 'user:auth0|5:x': allowed }],
    [{ sub: '*' }, { 'user:ada:x': forbidden, 'user:*:x': forbidden }],
    [{ sub: 'a:b' }, { 'user:a:b:x': forbidden, 'user:a:x': forbidden }],
    [{ sub: 42 }, { 'user:42:x': allowed }],
    [{ sub: undefined }, { 'user::x': forbidden, 'user:null:x': forbidden }],
  ];
  for (const [more, rooms] of table) {
    test(JSON.stringify(more, (_, value) => (value === undefined ? '(none)' : value)), async (t) => {
      const socket = await enter(t, gateway, token(more));
      for (const [room, expected] of Object.entries(rooms)) {
        const reply = await ask(socket, 'subscribe', room);
        assert.equal(reply.code ?? reply.status, expected, room);
        assert.equal(await sockets(gateway, { rooms: room }), expected === allowed ? 1 : 0, room);
        assert.equal(await ask(socket, 'grantIn', { host: room }), expected === allowed ? 'true' : 'false', room);
      }
      socket.disconnect();
    });
  }
});

describe('a page of another origin', () => {
  let listed;
  let usual;
  let none;
  before(async () => {
    [listed, usual, none] = await Promise.all([
      open(null, { auth: JWT, socket: { cors_origins: ['https://app.example.test'] } }),
      open(null, { auth: JWT }),
      open(null, {}),
    ]);
  });
  after(() => endAll(listed, usual, none));

  const path = (transport) => `/socket.io/?EIO=4&transport=${transport}`;
  const evil = ['https://evil.test', 'https://app.example.test.evil.test', 'http://app.example.test', 'null', 'https://app.example.test:8443'];

  for (const origin of evil) {
    test(`${origin} is kept out of a list, with a good token or without`, async (t) => {
      for (const headers of [{ Origin: origin }, { Origin: origin, Authorization: `Bearer ${token()}` }]) {
        const polling = await request(listed, { path: path('polling'), headers });
        assert.equal(polling.status, 403, polling.text);
        assert.equal(polling.headers['access-control-allow-origin'], undefined);
        const { response } = await tryUpgrade(listed, path('websocket'), { headers });
        assert.ok([400, 403].includes(response.status), `${response.status}`);
      }
    });
  }

  test('the page of the list gets in with its token, and only with it', async (t) => {
    const headers = { Origin: 'https://app.example.test' };
    const door = await Door.open(t, listed, { headers });
    assert.equal(await door.code({ token: token() }), null);
    assert.equal(await door.code(undefined), 'token_missing');
    const preflight = await request(listed, {
      method: 'OPTIONS',
      path: path('polling'),
      headers: { ...headers, 'Access-Control-Request-Method': 'GET', 'Access-Control-Request-Headers': 'authorization' },
    });
    assert.equal(preflight.headers['access-control-allow-origin'], headers.Origin);
  });

  test('without a list every page may try, but brings no credentials of the browser', async (t) => {
    const headers = { Origin: 'https://evil.test', Cookie: `token=${token()}` };
    const polling = await request(usual, { path: path('polling'), headers });
    assert.equal(polling.status, 200);
    assert.equal(polling.headers['access-control-allow-origin'], '*');
    assert.equal(polling.headers['access-control-allow-credentials'], undefined);
    const door = await Door.open(t, usual, { headers });
    assert.equal(await door.code(undefined), 'token_missing');
  });

  test('where nobody is checked, pages of others stay out', async () => {
    const headers = { Origin: 'https://evil.test' };
    assert.equal((await request(none, { path: path('polling'), headers })).status, 403);
    const { response } = await tryUpgrade(none, path('websocket'), { headers });
    assert.ok([400, 403].includes(response.status), `${response.status}`);
  });

  test('no page publishes with a token of a user', async () => {
    const body = { broadcast: true, payload: 1 };
    const reply = await usual.post('/p', body, { Origin: 'https://evil.test', Authorization: `Bearer ${token()}` });
    assert.equal(reply.status, 403);
    assert.equal(reply.json().code, 'browser_request');
  });
});

describe('guessing a publish key', () => {
  const KEY = 'guess-me-0123456789-abcdefghijkl';
  test('every guess is refused and counted, none is written down, and the key still works', async (t) => {
    const gateway = await open(t, { auth: JWT, publish: { keys: [{ name: 'shop', key: KEY }] } });
    const listener = await enter(t, gateway, token());
    const heard = collect(listener, 'p');
    const guesses = [
      ...Array.from({ length: KEY.length - 1 }, (_, i) => KEY.slice(0, i + 1)),
      ...Array.from({ length: 300 }, () => randomBytes(24).toString('base64url')),
      `${KEY}x`,
      KEY.toUpperCase(),
      KEY.replace('0', 'O'),
      'shop',
      SECRET,
      token(),
      'null',
      'undefined',
      '*',
      'x'.repeat(4000),
    ];
    const before = await refusals(gateway);
    // One connection after the other is one guess at a time; a guesser has many.
    await Promise.all(
      Array.from({ length: 8 }, async (_, at) => {
        for (let i = at; i < guesses.length; i += 8) {
          const headers = i % 2 ? { Authorization: `Bearer ${guesses[i]}` } : { 'X-API-Key': guesses[i] };
          const reply = await gateway.post('/p', { broadcast: true, payload: 'guess' }, headers);
          assert.equal(reply.status, 401, `${guesses[i].slice(0, 50)}: ${reply.text}`);
          assert.equal(reply.json().code, 'key_invalid');
          assert.match(reply.headers['www-authenticate'] ?? '', /^Bearer\b/);
        }
      }),
    );
    const counted = await refusals(gateway);
    assert.equal(counted.of('key_invalid') - before.of('key_invalid'), guesses.length, counted.text);
    const good = await gateway.post('/p', { broadcast: true, payload: 'real' }, { Authorization: `Bearer ${KEY}` });
    assert.equal(good.status, 200, good.text);
    await heard.take(1);
    assert.deepEqual(heard.values.map(({ payload }) => payload), ['real']);
    await logLine(gateway, 'key_invalid', '127.0.0.1');
    for (const guess of guesses.filter((guess) => guess.length > 12 && guess !== KEY)) {
      assert.ok(!gateway.logs.includes(guess), 'a guess is in the log');
    }
    assert.ok(!gateway.logs.includes(KEY) && !counted.text.includes(KEY), 'the key is written down');
  });

  test('a key for publishing lets no socket in, and a user\'s token publishes nothing', async (t) => {
    const gateway = await open(t, { auth: JWT, publish: { key: KEY } });
    const door = await Door.open(t, gateway, { headers: { 'X-API-Key': KEY } });
    assert.equal(await door.code({ token: KEY }), 'token_malformed');
    assert.equal(await door.code(undefined), 'token_missing');
    const reply = await gateway.post('/p', { broadcast: true, payload: 1 }, { Authorization: `Bearer ${token({ roles: ['admin'] })}` });
    assert.equal(reply.status, 401);
  });
});

describe('a session of somebody else', () => {
  test('a socket is its token\'s, whoever asks on the session', async (t) => {
    // Whoever has the session id of polling has the session: a header of another request adds nothing.
    const gateway = await open(t, { auth: JWT });
    const session = await Polling.open(gateway);
    await session.send(`40${JSON.stringify({ token: token({ sub: 'ada' }) })}`);
    assert.match(await session.packet(), /^40\{"sid"/);
    await session.post('420["token:info"]', {
      headers: { 'content-type': 'text/plain', Authorization: `Bearer ${token({ sub: 'root', roles: ['admin'] })}` },
    });
    const [info] = JSON.parse((await session.packet()).slice(3));
    assert.equal(info.user, 'ada');
    await session.send('1');
  });

  test('the id that a client shows is not the secret of its session', async (t) => {
    const gateway = await open(t, { auth: JWT });
    const websocket = await openSession(gateway);
    websocket.sendText(`40${JSON.stringify({ token: token() })}`);
    const { sid } = JSON.parse((await websocket.nextText()).slice(2));
    assert.notEqual(sid, websocket.sid);
    const stolen = await request(gateway, { path: `/socket.io/?EIO=4&transport=polling&sid=${sid}` });
    assert.equal(stolen.status, 400);
    websocket.close();
  });
});

test('the signers of these tests are sound', () => {
  // A forged token that is refused for a fault of the forger would prove nothing.
  for (const [algorithm, kind] of Object.entries(ASYMMETRIC)) {
    const pair = KeyPair.get(kind);
    const [header, payload, bytes] = jwtOf(pair, claims(), { algorithm }).split('.');
    const key = {
      key: pair.publicKey,
      ...(algorithm.startsWith('PS') && { padding: constants.RSA_PKCS1_PSS_PADDING }),
      ...(algorithm.startsWith('ES') && { dsaEncoding: 'ieee-p1363' }),
    };
    const hash = algorithm === 'EdDSA' ? null : `sha${algorithm.slice(2)}`;
    assert.ok(verify(hash, Buffer.from(`${header}.${payload}`), key, Buffer.from(bytes, 'base64url')), algorithm);
  }
});
