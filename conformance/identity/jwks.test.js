// Keys that are fetched from a URL: when, how often, and what happens when they change or cannot
// be had.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import { eventually, within } from '../harness/events.js';
import { Door, enter, logLine, open, refusal, whoIs } from './entering.js';
import { Backend, DROP, HANG, JwksServer, KeyPair, claims, jwt, jwtOf } from './tokens.js';

/** How soon a new key has to be accepted. */
const ROTATION_MS = 15_000;
/** A token whose key is not in the set waits until the set was fetched once more. */
const PATIENT = { waitMs: ROTATION_MS };
/** How many requests any of these tests may cause. */
const REQUESTS_MAX = 6;

const settings = (jwks_url, more = {}) => ({ auth: { strategy: 'jwt', jwks_url, ...more } });
const one = KeyPair.get('p256', 'one');
const two = KeyPair.get('p256', 'two');
const three = KeyPair.get('rsa', 'three');

// Most of these wait for the key server, so they wait together.
describe('keys from a URL', { concurrency: true }, () => {
  describe('rotation', { concurrency: true }, () => {
    test('a new key is accepted in time, and an old one as long as it is served', async (t) => {
      const jwks = await JwksServer.start(t, [one]);
      const gateway = await open(t, settings(jwks.url));
      const door = await Door.open(t, gateway);
      assert.equal(await door.code({ token: jwtOf(one, claims()) }), null);
      const started = Date.now();
      jwks.pairs = [one, two];
      await eventually(async () => {
        const code = await door.code({ token: jwtOf(two, claims()) }, PATIENT);
        assert.ok(code === null || code === 'token_key_unknown', code);
        return code === null;
      }, 'the new key to be accepted', ROTATION_MS);
      t.diagnostic(`accepted after ${Date.now() - started} ms`);
      assert.equal(await door.code({ token: jwtOf(one, claims()) }), null);
      assert.ok(jwks.requests.length <= REQUESTS_MAX, `${jwks.requests.length} requests`);
    });

    test('a key whose kid stays while the key changes', async (t) => {
      // A signature that fails is no reason to fetch; nobody may be let in by the old key for ever
      // either, but when that ends is up to the key set's own lifetime. Only safety is checked.
      const jwks = await JwksServer.start(t, [one]);
      const gateway = await open(t, settings(jwks.url));
      const door = await Door.open(t, gateway);
      assert.equal(await door.code({ token: jwtOf(one, claims()) }), null);
      for (let i = 0; i < 200; i += 1) {
        assert.equal(await door.code({ token: jwtOf(two, claims(), { kid: one.kid }) }), 'token_signature');
      }
      assert.ok(jwks.requests.length <= REQUESTS_MAX, `${jwks.requests.length} requests`);
    });

    test('sockets with a new kid that wait share one request', async (t) => {
      const jwks = await JwksServer.start(t, [one]);
      const gateway = await open(t, settings(jwks.url));
      const door = await Door.open(t, gateway);
      assert.equal(await door.code({ token: jwtOf(one, claims()) }), null);
      jwks.pairs = [one, two];
      await eventually(async () => (await door.code({ token: jwtOf(two, claims()) }, PATIENT)) === null, 'the new key', ROTATION_MS);
      const before = jwks.requests.length;
      const doors = await Promise.all(Array.from({ length: 20 }, () => Door.open(t, gateway)));
      const codes = await Promise.all(doors.map((each) => each.code({ token: jwtOf(two, claims()) })));
      assert.deepEqual([...new Set(codes)], [null]);
      assert.equal(jwks.requests.length, before);
    });
  });

  describe('what a key set may hold', { concurrency: true }, () => {
    test('keys that are of no use beside one that is', async (t) => {
      const entries = [
        { kty: 'oct', kid: 'oct', k: Buffer.from('a-secret-in-a-public-place-0123456789').toString('base64url'), alg: 'HS256' },
        { kty: 'new', kid: 'new', x: 'y' },
        { kty: 'RSA', kid: 'broken', n: '!!!', e: 'AQAB' },
        { kty: 'EC', crv: 'P-256K', kid: 'curve', x: 'AA', y: 'AA' },
        { kid: 'nothing' },
        one.jwk(),
      ];
      const jwks = await Backend.start(t, () => ({ body: { keys: entries } }));
      const gateway = await open(t, settings(jwks.url));
      const door = await Door.open(t, gateway);
      assert.equal(await door.code({ token: jwtOf(one, claims()) }), null);
      const forged = jwt(claims(), { key: 'a-secret-in-a-public-place-0123456789', kid: 'oct' });
      assert.equal(await door.code({ token: forged }), 'token_algorithm');
    });

    test('a key for encryption verifies nothing', async (t) => {
      const jwks = await JwksServer.start(t, [one], (pair) => pair.jwk({ use: 'enc' }));
      const gateway = await open(t, settings(jwks.url));
      const door = await Door.open(t, gateway);
      assert.notEqual(await door.code({ token: jwtOf(one, claims()) }, PATIENT), null);
    });

    test('a key that names its algorithm serves no other', async (t) => {
      const jwks = await JwksServer.start(t, [three], (pair) => pair.jwk({ alg: 'RS256' }));
      const gateway = await open(t, settings(jwks.url, { algorithms: ['RS256', 'RS512', 'PS256'] }));
      const door = await Door.open(t, gateway);
      assert.equal(await door.code({ token: jwtOf(three, claims()) }), null);
      for (const algorithm of ['RS512', 'PS256']) {
        const code = await door.code({ token: jwtOf(three, claims(), { algorithm }) }, PATIENT);
        assert.ok(['token_algorithm', 'token_key_unknown', 'token_signature'].includes(code), `${algorithm}: ${code}`);
      }
    });

    test('a kid names a key of another kind than the algorithm', async (t) => {
      const jwks = await JwksServer.start(t, [one, three]);
      const gateway = await open(t, settings(jwks.url, { algorithms: ['RS256', 'ES256'] }));
      const door = await Door.open(t, gateway);
      for (const bad of [jwtOf(one, claims(), { kid: three.kid }), jwtOf(three, claims(), { kid: one.kid })]) {
        const code = await door.code({ token: bad }, PATIENT);
        assert.ok(['token_algorithm', 'token_key_unknown', 'token_signature'].includes(code), code);
      }
    });

    test('a token without kid, where there is one key', async (t) => {
      const jwks = await JwksServer.start(t, [one], (pair) => pair.jwk({ kid: undefined }));
      const gateway = await open(t, settings(jwks.url));
      const door = await Door.open(t, gateway);
      assert.equal(await door.code({ token: jwtOf(one, claims(), { kid: undefined }) }), null);
      const forged = jwtOf(two, claims(), { kid: undefined });
      assert.equal(await door.code({ token: forged }, PATIENT), 'token_signature');
    });

    test('a kid that differs in case is another', async (t) => {
      const jwks = await JwksServer.start(t, [one]);
      const gateway = await open(t, settings(jwks.url));
      const door = await Door.open(t, gateway);
      assert.equal(await door.code({ token: jwtOf(one, claims(), { kid: one.kid.toUpperCase() }) }, PATIENT), 'token_key_unknown');
    });
  });

  describe('a key server that fails', { concurrency: true }, () => {
    const failures = [
      ['dies', async (jwks) => jwks.die()],
      ['answers 500', async (jwks) => (jwks.answer = () => ({ status: 500, body: 'no' }))],
      ['answers 404', async (jwks) => (jwks.answer = () => ({ status: 404, body: { keys: [] } }))],
      ['answers something else', async (jwks) => (jwks.answer = () => ({ body: '<html>down for maintenance</html>' }))],
      ['answers JSON without keys', async (jwks) => (jwks.answer = () => ({ body: { error: 'x' } }))],
      ['answers keys that are none', async (jwks) => (jwks.answer = () => ({ body: { keys: 'none' } }))],
      ['answers without end', async (jwks) => (jwks.answer = () => ({ body: `{"keys":[${' '.repeat(20_000_000)}]}` }))],
      ['breaks the connection', async (jwks) => (jwks.answer = () => DROP)],
      ['hangs', async (jwks) => (jwks.answer = () => HANG)],
    ];
    for (const [title, fail] of failures) {
      test(`${title}: the last good set is kept`, async (t) => {
        const jwks = await JwksServer.start(t, [one]);
        const gateway = await open(t, settings(jwks.url));
        const door = await Door.open(t, gateway);
        assert.equal(await door.code({ token: jwtOf(one, claims()) }), null);
        await fail(jwks);
        // An unknown kid makes it ask again.
        const unknown = await door.knock({ token: jwtOf(two, claims()) }, PATIENT);
        assert.ok(['token_key_unknown', 'jwks_unavailable'].includes(unknown.code), `${unknown.code} ${unknown.message}`);
        assert.equal(await door.code({ token: jwtOf(one, claims()) }), null);
        const other = await Door.open(t, gateway);
        assert.equal(await other.code({ token: jwtOf(one, claims()) }), null);
      });
    }

    test('a server that hangs for an unknown kid delays nobody else', async (t) => {
      const jwks = await JwksServer.start(t, [one]);
      const gateway = await open(t, settings(jwks.url));
      const first = await Door.open(t, gateway);
      assert.equal(await first.code({ token: jwtOf(one, claims()) }), null);
      jwks.answer = () => HANG;
      const waiting = await Door.open(t, gateway);
      const unknown = waiting.code({ token: jwtOf(two, claims()) }, PATIENT);
      unknown.catch(() => {});
      for (let i = 0; i < 10; i += 1) {
        assert.equal(await within(first.code({ token: jwtOf(one, claims()) }), 'a known key', 2000), null);
        await within(gateway.publish('p', { rooms: 'r', payload: 1 }), 'a publish', 2000);
      }
      assert.match(await unknown, /^(token_key_unknown|jwks_unavailable)$/);
    });

    test('an unknown kid is that, and not the key server\'s fault, as long as there is a set', async (t) => {
      const jwks = await JwksServer.start(t, [one]);
      const gateway = await open(t, settings(jwks.url));
      const door = await Door.open(t, gateway);
      assert.equal(await door.code({ token: jwtOf(one, claims()) }), null);
      await jwks.die();
      assert.equal(await door.code({ token: jwtOf(two, claims()) }, PATIENT), 'token_key_unknown');
    });

    test('a redirect is not followed', async (t) => {
      const attacker = await JwksServer.start(t, [two]);
      const jwks = await Backend.start(t, () => ({ status: 302, headers: { location: attacker.url } }));
      const gateway = await open(t, settings(jwks.url));
      const door = await Door.open(t, gateway);
      assert.equal(await door.code({ token: jwtOf(two, claims()) }, PATIENT), 'jwks_unavailable');
      assert.equal(attacker.requests.length, 0);
    });

    test('what is wrong with the key server is for the log, not for clients', async (t) => {
      const jwks = await Backend.start(t, () => ({ status: 503 }));
      const gateway = await open(t, settings(jwks.url));
      const door = await Door.open(t, gateway);
      const { code, message } = await door.knock({ token: jwtOf(one, claims()) }, PATIENT);
      assert.equal(code, 'jwks_unavailable');
      assert.doesNotMatch(message, /503|Unavailable$|os error/);
      assert.ok(!message.includes(String(jwks.port)), message);
      await logLine(gateway, '503');
    });

    test('started while the key server is down: refused, and let in when it is back', async (t) => {
      const jwks = await JwksServer.start(t, [one]);
      await jwks.die();
      const gateway = await open(t, settings(jwks.url));
      const { code } = await refusal(t, gateway, { auth: { token: jwtOf(one, claims()) }, waitMs: 10_000 });
      assert.equal(code, 'jwks_unavailable');
      const line = await logLine(gateway, 'jwks_unavailable', '127.0.0.1');
      assert.ok(line.level, JSON.stringify(line));
      await jwks.revive();
      const door = await Door.open(t, gateway);
      await eventually(async () => {
        const again = await door.code({ token: jwtOf(one, claims()) }, { waitMs: 10_000 });
        assert.ok(again === null || again === 'jwks_unavailable', again);
        return again === null;
      }, 'the keys to be fetched', ROTATION_MS);
      const socket = await enter(t, gateway, jwtOf(one, claims()));
      assert.equal((await whoIs(socket)).user, 'ada');
    });

    test('started while the key server is down: a crowd causes a handful of requests', async (t) => {
      const jwks = await Backend.start(t, () => ({ status: 503 }));
      const gateway = await open(t, settings(jwks.url));
      const doors = await Promise.all(Array.from({ length: 100 }, () => Door.open(t, gateway)));
      for (let round = 0; round < 2; round += 1) {
        const tokens = doors.map(() => jwtOf(one, claims(), { kid: randomUUID() }));
        const codes = await Promise.all(doors.map((door, i) => door.code({ token: tokens[i] }, PATIENT)));
        assert.deepEqual([...new Set(codes)], ['jwks_unavailable']);
      }
      assert.ok(jwks.requests.length <= REQUESTS_MAX, `${jwks.requests.length} requests`);
    });

    test('a key that the set no longer has is refused once the set is fetched again', async (t) => {
      const jwks = await JwksServer.start(t, [one]);
      const gateway = await open(t, settings(jwks.url));
      const door = await Door.open(t, gateway);
      assert.equal(await door.code({ token: jwtOf(one, claims()) }), null);
      jwks.pairs = [two];
      await eventually(async () => (await door.code({ token: jwtOf(two, claims()) }, PATIENT)) === null, 'the new key', ROTATION_MS);
      assert.equal(await door.code({ token: jwtOf(one, claims()) }, PATIENT), 'token_key_unknown');
    });
  });

  test('the request is a plain GET', async (t) => {
    const jwks = await JwksServer.start(t, [one]);
    const gateway = await open(t, settings(`${jwks.url}.well-known/jwks.json?v=1`));
    const door = await Door.open(t, gateway);
    assert.equal(await door.code({ token: jwtOf(one, claims()) }), null);
    const [{ method, path, body, headers }] = jwks.requests;
    assert.deepEqual([method, path, body], ['GET', '/.well-known/jwks.json?v=1', '']);
    assert.equal(headers.authorization, undefined);
  });
});
