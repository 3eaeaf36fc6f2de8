// Settings of identity: what stops the start and with which sentence, what only warns, where
// secrets may come from, and the commands `check` and `token`.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { describe, test } from 'node:test';
import { freePort, runGateway, startGateway } from '../harness/gateway.js';
import { request } from '../harness/raw.js';
import { command } from '../publish/publishing.js';
import { Door, JWT, enter, logLines, open, toml, whoIs } from './entering.js';
import { ASYMMETRIC, Backend, HANG, JwksServer, KeyPair, OTHER_SECRET, SECRET, claims, jwtOf, now, temporaryFile, token } from './tokens.js';

/** One clear sentence for a person: no panic, no debug print, no wall of text, no secret. */
function assertSentence(result, patterns, secrets = []) {
  assert.notEqual(result.code, 0, `it started or said it would:\n${result.logs}`);
  assert.equal(result.signal, null, result.logs);
  const lines = result.stderr.split('\n').filter((line) => line.trim());
  assert.ok(lines.length >= 1 && lines.length <= 6, `${lines.length} lines on stderr:\n${result.stderr}`);
  assert.doesNotMatch(result.stderr, /panicked|RUST_BACKTRACE|Os \{|\bErr\(|\bSome\(/);
  for (const pattern of patterns) assert.match(result.stderr, pattern);
  assert.doesNotMatch(result.stderr, /\x1b\[/, 'colours outside a terminal');
  for (const secret of secrets) assert.ok(!result.logs.includes(secret), 'a secret is printed');
}

/** Neither serves nor is checked: `tree` are the settings. */
async function assertStops({ tree = {}, args = [], env }, patterns, secrets) {
  const config = toml(tree);
  assertSentence(await runGateway({ config, env, args: [...args, '--port', '0'], waitMs: 8000 }), patterns, secrets);
  assertSentence(await runGateway({ config, env, args: ['check', ...args], waitMs: 8000 }), patterns, secrets);
}

const URL = 'http://127.0.0.1:9/';
const jwt = (more) => ({ tree: { auth: { strategy: 'jwt', ...more } } });
const introspection = (more) => ({ tree: { auth: { strategy: 'introspection', ...more } } });

describe('refusing to start', { concurrency: 2 }, () => {
  const cases = [
    ['jwt without a key', jwt({}), [/jwt_secret/, /jwt_public_key_file/, /jwks_url/]],
    ['jwt from the environment without a key', { env: { IDAE_SOCKET_AUTH_STRATEGY: 'jwt' } }, [/jwt_secret|JWT_SECRET/]],
    ['an empty secret', jwt({ jwt_secret: '' }), [/jwt_secret/]],
    ['a secret of 15 bytes', jwt({ jwt_secret: 'fifteen-bytes-x' }), [/jwt_secret/, /16/]],
    ['a secret of 15 bytes in the environment', { env: { IDAE_SOCKET_AUTH_STRATEGY: 'jwt', IDAE_SOCKET_JWT_SECRET: 'fifteen-bytes-x' } }, [/jwt_secret|JWT_SECRET/, /16/]],
    ['the secret of every example', jwt({ jwt_secret: 'change-me-in-production' }), [/jwt_secret/]],
    ['the secret of every example, in the environment', { env: { IDAE_SOCKET_AUTH_STRATEGY: 'jwt', IDAE_SOCKET_JWT_SECRET: 'change-me-in-production' } }, [/jwt_secret|JWT_SECRET/]],
    ['a secret and a key set', jwt({ jwt_secret: SECRET, jwks_url: URL }), [/jwt_secret/, /jwks_url/]],
    ['a secret and a file', jwt({ jwt_secret: SECRET, jwt_public_key_file: '/tmp/key.pem' }), [/jwt_secret/, /jwt_public_key_file/]],
    ['a file and a key set', jwt({ jwt_public_key_file: '/tmp/key.pem', jwks_url: URL }), [/jwt_public_key_file/, /jwks_url/]],
    ['all three', jwt({ jwt_secret: SECRET, jwt_public_key_file: '/tmp/key.pem', jwks_url: URL }), [/jwt_secret/, /jwks_url/]],
    ['algorithms of key pairs for a secret', jwt({ jwt_secret: SECRET, algorithms: ['RS256'] }), [/algorithms/, /RS256/]],
    ['one algorithm that does not fit beside one that does', jwt({ jwt_secret: SECRET, algorithms: ['HS256', 'ES256'] }), [/algorithms/, /ES256/]],
    ['an algorithm of secrets for a key set', jwt({ jwks_url: URL, algorithms: ['RS256', 'HS256'] }), [/algorithms/, /HS256/]],
    ['none among the algorithms', jwt({ jwt_secret: SECRET, algorithms: ['none'] }), [/algorithms/, /none/]],
    ['none beside others', jwt({ jwt_secret: SECRET, algorithms: ['HS256', 'none'] }), [/algorithms/, /none/]],
    ['an algorithm that nobody knows', jwt({ jwt_secret: SECRET, algorithms: ['HS257'] }), [/algorithms/, /HS257/]],
    ['a key file that does not exist', jwt({ jwt_public_key_file: '/nonexistent/public.pem' }), [/jwt_public_key_file/, /\/nonexistent\/public\.pem/]],
    ['a key file that is a folder', jwt({ jwt_public_key_file: '/tmp' }), [/jwt_public_key_file/]],
    ['a key set at no URL', jwt({ jwks_url: 'not a url' }), [/jwks_url/]],
    ['a key set by another protocol', jwt({ jwks_url: 'ftp://example.test/jwks' }), [/jwks_url/]],
    ['introspection without a URL', introspection({}), [/introspection_url/]],
    ['introspection from the environment without a URL', { env: { IDAE_SOCKET_AUTH_STRATEGY: 'introspection' } }, [/introspection_url|INTROSPECTION_URL/]],
    ['introspection at no URL', introspection({ introspection_url: 'localhost' }), [/introspection_url/]],
    ['RFC 7662 without a client', introspection({ introspection_url: URL, introspection_format: 'rfc7662' }), [/introspection_client_id/]],
    ['RFC 7662 without a client secret', introspection({ introspection_url: URL, introspection_format: 'rfc7662', introspection_client_id: 'x' }), [/introspection_client_secret/]],
    ['RFC 7662 without a client id', introspection({ introspection_url: URL, introspection_format: 'rfc7662', introspection_client_secret: 'a-secret-0123456789' }), [/introspection_client_id/]],
    ['an unknown format', introspection({ introspection_url: URL, introspection_format: 'xml' }), [/introspection_format/, /rfc7662/]],
    ['an unknown strategy', { tree: { auth: { strategy: 'jwtt' } } }, [/strategy/, /jwtt/]],
    ['an unknown mode', { tree: { auth: { ...JWT, mode: 'softly' } } }, [/mode/, /softly/]],
    ['another address without tokens', { args: ['--host', '0.0.0.0'] }, [/auth\.insecure|auth\.strategy/, /0\.0\.0\.0|loopback/]],
    ['another address without tokens, IPv6', { args: ['--host', '::'] }, [/auth\.insecure|auth\.strategy/]],
    ['a leeway that is negative', { tree: { auth: { ...JWT, leeway_s: -1 } } }, [/leeway_s/]],
    ['a rule with half a claim', { tree: { auth: JWT, rooms: { join: ['tenant:{tenant'] } } }, [/rooms\.join|join/, /tenant:\{tenant/]],
    ['a rule with an empty claim', { tree: { auth: JWT, rooms: { join: ['tenant:{}:*'] } } }, [/join/]],
    ['an empty rule', { tree: { auth: JWT, rooms: { join: [''] } } }, [/join/]],
    ['a namespace with half a claim', { tree: { auth: JWT, namespaces: ['/', '/t-{tenant'] } }, [/namespaces/]],
    ['a backend at no URL', { tree: { auth: JWT, rooms: { authorize_url: 'nowhere' } } }, [/authorize_url/]],
    ['a forward without event', { tree: { forward: [{ url: URL }] } }, [/forward/, /event/]],
    ['a forward without URL', { tree: { forward: [{ event: 'x' }] } }, [/forward/, /url/]],
    ['a forward to no URL', { tree: { forward: [{ event: 'x', url: 'nowhere' }] } }, [/forward/, /url/]],
    ['a forward with a key that does not exist', { tree: { forward: [{ event: 'x', url: URL, secrets: 'x' }] } }, [/secrets/, /\bsecret\b/]],
    ['a forward whose secret is no Base64', { tree: { forward: [{ event: 'x', url: URL, secret: 'whsec_!!!' }] } }, [/forward/, /secret/], ['whsec_!!!']],
    ['a proxy that is no address', { tree: { trusted_proxies: ['proxy.example.test'] } }, [/trusted_proxies/, /proxy\.example\.test/]],
    ['a network that is none', { tree: { trusted_proxies: ['10.0.0.0/64'] } }, [/trusted_proxies/, /10\.0\.0\.0\/64/]],
  ];
  for (const [title, options, patterns, secrets = []] of cases) {
    test(title, () => assertStops(options, patterns, ['fifteen-bytes-x', SECRET, 'a-secret-0123456789', ...secrets]));
  }

  const pair = KeyPair.get('rsa');
  const files = [
    ['is empty', ''],
    ['is no PEM', 'ssh-rsa AAAAB3NzaC1yc2E ada@example.test'],
    ['is cut off', pair.pem.slice(0, 200)],
    ['has a broken middle', pair.pem.replace(/\n.{40}/, `\n${'!'.repeat(40)}`)],
    ['is something else in PEM', '-----BEGIN GARBAGE-----\nAAAA\n-----END GARBAGE-----\n'],
    ['is binary', Buffer.from([0x30, 0x82, 0xff, 0xfe, 0x00])],
  ];
  for (const [title, content] of files) {
    test(`a key file that ${title}`, async (t) => {
      const path = temporaryFile(t, content, 'broken.pem');
      await assertStops(jwt({ jwt_public_key_file: path }), [/jwt_public_key_file/, /broken\.pem|PEM/i]);
    });
  }

  const unfit = [
    ['rsa', ['ES256']],
    ['rsa', ['HS256']],
    ['rsa', ['RS256', 'EdDSA']],
    ['p256', ['RS256']],
    ['p256', ['ES384']],
    ['p384', ['ES256']],
    ['p521', ['ES256', 'ES512']],
    ['ed25519', ['ES256']],
  ];
  for (const [kind, algorithms] of unfit) {
    test(`${algorithms} for a key of ${kind}`, async (t) => {
      const path = temporaryFile(t, KeyPair.get(kind).pem, 'public.pem');
      await assertStops(jwt({ jwt_public_key_file: path, algorithms }), [/algorithms/, new RegExp(algorithms.find((name) => ASYMMETRIC[name] !== kind))]);
    });
  }
});

describe('warnings', () => {
  const warned = async (t, tree) => {
    const gateway = await open(t, tree);
    // The greeting is the last that is printed at start.
    await gateway.logged(/socket\.io-client/);
    assert.ok(!gateway.logs.includes(tree.auth?.jwt_secret ?? '\u0000'), 'the secret is printed');
    return logLines(gateway).filter(({ level }) => level === 'WARN').map((line) => JSON.stringify(line));
  };

  test('a secret that is shorter than the hash', async (t) => {
    const [twenty, ...none] = await warned(t, { auth: { ...JWT, jwt_secret: 'only-20-bytes-long-x' } });
    assert.match(twenty ?? 'no warning', /jwt_secret/);
    assert.match(twenty, /32/);
    assert.deepEqual(none, []);
    const [forty] = await warned(t, { auth: { ...JWT, jwt_secret: 'x'.repeat(40), algorithms: ['HS512'] } });
    assert.match(forty ?? 'no warning', /64/);
  });

  test('none where everything is well', async (t) => {
    assert.deepEqual(await warned(t, { auth: JWT }), []);
    assert.deepEqual(await warned(t, { auth: { ...JWT, jwt_secret: 'x'.repeat(32) } }), []);
  });

  test('check tells them too', async () => {
    const { code, logs } = await runGateway({ args: ['check'], config: toml({ auth: { ...JWT, jwt_secret: 'only-20-bytes-long-x' } }) });
    assert.equal(code, 0, logs);
    assert.match(logs, /warning.*jwt_secret.*32/i);
    assert.ok(!logs.includes('only-20-bytes-long-x'), 'the secret is printed');
  });

  test('strategy none warns loudly, the others do not speak of it', async (t) => {
    assert.match((await warned(t, {})).join('\n'), /auth\.strategy.*none/);
    const gateway = await open(t, { auth: JWT });
    assert.doesNotMatch(gateway.logs, /warning|everybody/i);
    assert.ok(!gateway.logs.includes(SECRET), 'the secret is printed');
  });
});

describe('where secrets come from', () => {
  const line = (text, key) => text.split('\n').find((row) => row.startsWith(key)) ?? `no line for ${key} in:\n${text}`;

  for (const name of ['IDAE_SOCKET_JWT_SECRET', 'IDAE_SOCKET_AUTH_JWT_SECRET']) {
    for (const from of ['the variable', 'a file']) {
      test(`${name}: ${from}`, async (t) => {
        const file = temporaryFile(t, `${SECRET}\n`, 'jwt-secret');
        const env = {
          IDAE_SOCKET_AUTH_STRATEGY: 'jwt',
          ...(from === 'a file' ? { [`${name}_FILE`]: file } : { [name]: SECRET }),
        };
        const gateway = await startGateway({ env });
        t.after(() => gateway.end());
        const door = await Door.open(t, gateway);
        assert.equal(await door.code({ token: token() }), null);
        assert.equal(await door.code({ token: token({}, { key: `${SECRET}\n` }) }), 'token_signature');
        const checked = await runGateway({ args: ['check'], env });
        assert.equal(checked.code, 0, checked.logs);
        assert.match(line(checked.stdout, 'auth.jwt_secret'), from === 'a file' ? new RegExp(`${name}_FILE`) : new RegExp(name));
        for (const logs of [gateway.logs, checked.logs]) assert.ok(!logs.includes(SECRET), 'the secret is printed');
      });
    }
  }

  test('a file that is missing', async () => {
    for (const name of ['IDAE_SOCKET_JWT_SECRET_FILE', 'IDAE_SOCKET_AUTH_INTROSPECTION_CLIENT_SECRET_FILE']) {
      const env = { IDAE_SOCKET_AUTH_STRATEGY: 'jwt', [name]: '/nonexistent/secret' };
      await assertStops({ env }, [new RegExp(name), /no such file/i]);
    }
  });

  test('a file with a secret that is too short', async (t) => {
    const file = temporaryFile(t, 'fifteen-bytes-x\n');
    await assertStops({ env: { IDAE_SOCKET_AUTH_STRATEGY: 'jwt', IDAE_SOCKET_JWT_SECRET_FILE: file } }, [/jwt_secret|JWT_SECRET/, /16/], ['fifteen-bytes-x']);
  });

  test('a file with the secret of the client of introspection', async (t) => {
    const backend = await Backend.start(t, () => ({ body: { active: true, sub: 'ada' } }));
    const secret = 'client-secret-of-a-file';
    const gateway = await startGateway({
      env: {
        IDAE_SOCKET_AUTH_STRATEGY: 'introspection',
        IDAE_SOCKET_INTROSPECTION_URL: backend.url,
        IDAE_SOCKET_AUTH_INTROSPECTION_FORMAT: 'rfc7662',
        IDAE_SOCKET_AUTH_INTROSPECTION_CLIENT_ID: 'me',
        IDAE_SOCKET_AUTH_INTROSPECTION_CLIENT_SECRET_FILE: temporaryFile(t, `${secret}\n`),
      },
    });
    t.after(() => gateway.end());
    const door = await Door.open(t, gateway);
    assert.equal(await door.code({ token: 'x' }), null);
    assert.equal(backend.requests[0].headers.authorization, `Basic ${Buffer.from(`me:${secret}`).toString('base64')}`);
    assert.ok(!gateway.logs.includes(secret), 'the secret is printed');
  });

  test('check shows each setting with its origin, and no secret', async () => {
    const { code, stdout, logs } = await runGateway({
      args: ['check', '--set', 'auth.leeway_s=7'],
      config: toml({
        trusted_proxies: ['10.0.0.0/8'],
        auth: { jwt_secret: SECRET, strategy: 'jwt', issuer: 'us', role_claims: ['groups'] },
        rooms: { join: ['public:*', 'user:{sub}:*'] },
        forward: [{ event: 'chat:*', url: URL, secret: 'forward-secret-0123456789' }],
      }),
      env: { IDAE_SOCKET_AUTH_AUDIENCE: 'gateway' },
    });
    assert.equal(code, 0, logs);
    const rows = [
      ['auth.strategy', /jwt.*gateway\.toml/],
      ['auth.mode', /enforce.*default/],
      ['auth.jwt_secret', /gateway\.toml/],
      ['auth.issuer', /us.*gateway\.toml/],
      ['auth.audience', /gateway.*IDAE_SOCKET_AUTH_AUDIENCE/],
      ['auth.leeway_s', /\b7\b.*--set/],
      ['auth.user_claims', /sub.*userId.*default/],
      ['auth.role_claims', /groups.*gateway\.toml/],
      ['auth.introspection_timeout_ms', /3000.*default/],
      ['auth.cache_ttl_s', /30.*default/],
      ['rooms.join', /public:\*.*user:\{sub\}:\*.*gateway\.toml/],
      ['rooms.authorize_cache_s', /30.*default/],
      ['trusted_proxies', /10\.0\.0\.0\/8.*gateway\.toml/],
      ['forward', /gateway\.toml/],
    ];
    for (const [key, pattern] of rows) assert.match(line(stdout, key), pattern);
    for (const secret of [SECRET, 'forward-secret-0123456789']) assert.ok(!logs.includes(secret), 'a secret is printed');
  });
});

describe('an address that others reach', () => {
  const outside = Object.values(networkInterfaces())
    .flat()
    .find((address) => address.family === 'IPv4' && !address.internal);

  test('with tokens it may be served; who publishes needs a key there', async (t) => {
    const port = await freePort();
    const program = command(t, ['--host', '0.0.0.0', '--port', String(port)], { config: toml({ auth: JWT }) });
    await program.logged(/\blistens on http:\/\/0\.0\.0\.0:([1-9]\d*)/);
    const here = { host: '127.0.0.1', port, url: `http://127.0.0.1:${port}` };
    const door = await Door.open(t, here);
    assert.equal(await door.code({ token: token() }), null);
    assert.equal(await door.code(undefined), 'token_missing');
    if (!outside) {
      t.diagnostic('this machine has no other address: publishing from one is not checked');
      return;
    }
    const reply = await request(
      { host: outside.address, port },
      { method: 'POST', path: '/p', headers: { 'content-type': 'application/json' }, body: '{"rooms":"r","payload":1}' },
    );
    assert.deepEqual([reply.status, reply.json().code], [403, 'not_loopback']);
  });

  test('without tokens only if it is called insecure', async () => {
    const checked = await runGateway({ args: ['check', '--host', '0.0.0.0'], config: toml({ auth: { insecure: true } }) });
    assert.equal(checked.code, 0, checked.logs);
  });
});

describe('check --token', () => {
  const tree = { auth: { ...JWT, leeway_s: 0 }, rooms: { join: ['public:*', 'tenant:{tenant}:*', 'user:{sub}:*'] } };
  const check = (text, { config = toml(tree), ...options } = {}) => runGateway({ args: ['check', '--token', text], config, ...options });

  test('says who it is, with which roles and rooms, and until when', async () => {
    const exp = now() + 3600;
    const good = token({ sub: 'ada', exp, roles: ['admin', 'editor'], tenant: 'acme' });
    const { code, stdout, logs } = await check(good);
    assert.equal(code, 0, logs);
    for (const word of ['ada', 'admin', 'editor', 'public:*', 'tenant:acme:*', 'user:ada:*']) {
      assert.ok(stdout.includes(word), `"${word}" in:\n${stdout}`);
    }
    assert.match(stdout, /^expir.*\d/im);
    assert.ok(!logs.includes(good) && !logs.includes(SECRET), 'a secret is printed');
  });

  test('reads the token from standard input', async () => {
    for (const input of [token({ sub: 'from-stdin' }), `${token({ sub: 'from-stdin' })}\n`, `Bearer ${token({ sub: 'from-stdin' })}\n`]) {
      const { code, stdout, logs } = await check('-', { input });
      assert.equal(code, 0, logs);
      assert.match(stdout, /from-stdin/);
    }
  });

  test('a token without end, without user, without roles', async () => {
    const { code, stdout, logs } = await check(token({ sub: undefined, exp: undefined }));
    assert.equal(code, 0, logs);
    assert.notEqual(stdout.trim(), '');
  });

  const refused = [
    ['expired', token({ exp: 1 }), 'token_expired'],
    ['not yet valid', token({ nbf: now() + 3600 }), 'token_not_yet_valid'],
    ['forged', token({}, { key: OTHER_SECRET }), 'token_signature'],
    ['another algorithm', token({}, { algorithm: 'HS512' }), 'token_algorithm'],
    ['unsigned', token({}, { header: { alg: 'none' } }), 'token_algorithm'],
    ['bad claims', token({ sub: {} }), 'token_claims'],
    ['nonsense', 'nonsense', 'token_malformed'],
    ['empty', '', 'token_missing'],
  ];
  for (const [title, bad, reason] of refused) {
    test(`${title}: ${reason}, and 1`, async () => {
      const { code, logs, signal } = await check(bad);
      assert.deepEqual([code, signal], [1, null], logs);
      assert.ok(logs.includes(reason), logs);
      if (bad.length > 20) assert.ok(!logs.includes(bad), 'the token is printed');
      assert.ok(!logs.includes(SECRET), 'the secret is printed');
    });
  }

  test('issuer and audience', async () => {
    const config = toml({ auth: { ...JWT, issuer: 'us', audience: 'gateway' } });
    assert.equal((await check(token({ iss: 'us', aud: 'gateway' }), { config })).code, 0);
    for (const [more, reason] of [[{ iss: 'x', aud: 'gateway' }, 'token_issuer'], [{ iss: 'us', aud: 'x' }, 'token_audience']]) {
      const { code, logs } = await check(token(more), { config });
      assert.equal(code, 1, logs);
      assert.ok(logs.includes(reason), logs);
    }
  });

  test('with a key set it fetches it, with introspection it asks', async (t) => {
    const pair = KeyPair.get('p256');
    const jwks = await JwksServer.start(t, [pair]);
    const config = toml({ auth: { strategy: 'jwt', jwks_url: jwks.url } });
    const good = await check(jwtOf(pair, claims({ sub: 'by-set' })), { config });
    assert.equal(good.code, 0, good.logs);
    assert.match(good.stdout, /by-set/);
    await jwks.die();
    const down = await check(jwtOf(pair, claims()), { config });
    assert.equal(down.code, 1, down.logs);
    assert.match(down.logs, /jwks_unavailable/);

    const backend = await Backend.start(t, () => ({ body: { active: true, sub: 'by-backend', roles: ['asked'] } }));
    const asking = { config: toml({ auth: { strategy: 'introspection', introspection_url: backend.url, introspection_timeout_ms: 400 } }) };
    const asked = await check('opaque', asking);
    assert.equal(asked.code, 0, asked.logs);
    assert.match(asked.stdout, /by-backend[\s\S]*asked/);
    for (const [answer, reason] of [[{ body: { active: false } }, /token_inactive/], [HANG, /introspection_timeout/], [{ status: 500 }, /introspection_unavailable/]]) {
      backend.answer = () => answer;
      const no = await check('opaque', asking);
      assert.equal(no.code, 1, no.logs);
      assert.match(no.logs, reason);
    }
  });

  test('settings that are wrong come first', async () => {
    const { code, logs } = await check(token(), { config: toml({ auth: { strategy: 'jwt' } }) });
    assert.notEqual(code, 0, logs);
    assert.match(logs, /jwt_secret/);
  });
});

describe('token', () => {
  const minted = async (args, options = {}) => {
    const result = await runGateway({ args: ['token', ...args], config: toml({ auth: JWT }), ...options });
    assert.equal(result.code, 0, result.logs);
    const lines = result.stdout.trim().split('\n');
    assert.equal(lines.length, 1, `one line, to be used as it is:\n${result.stdout}`);
    const [header, payload, sign] = lines[0].split('.');
    const read = (part) => JSON.parse(Buffer.from(part, 'base64url').toString());
    assert.ok(!result.logs.includes(SECRET), 'the secret is printed');
    return { text: lines[0], header: read(header), payload: read(payload), signed: `${header}.${payload}`, sign };
  };

  test('prints a token that lets somebody in', async (t) => {
    const { text, header, payload, signed, sign } = await minted(['--sub', '42', '--role', 'admin', '--role', 'editor']);
    assert.equal(header.alg, 'HS256');
    assert.equal(sign, createHmac('sha256', SECRET).update(signed).digest('base64url'));
    assert.deepEqual([payload.sub, payload.roles], ['42', ['admin', 'editor']]);
    assert.ok(payload.exp > now(), JSON.stringify(payload));
    const gateway = await open(t, { auth: JWT });
    const socket = await enter(t, gateway, text);
    assert.deepEqual(await whoIs(socket), { user: '42', roles: ['admin', 'editor'], rooms: ['admin', 'editor'], expiresAt: payload.exp });
  });

  test('for as long as asked', async () => {
    for (const [given, seconds] of [['1h', 3600], ['90s', 90], ['15m', 900], ['7d', 604_800]]) {
      const { payload } = await minted(['--sub', 'ada', '--expires-in', given]);
      assert.ok(Math.abs(payload.exp - now() - seconds) <= 5, `${given}: ${payload.exp - now()}`);
    }
  });

  test('with other claims', async (t) => {
    const { text, payload } = await minted(['--sub', 'ada', '--claim', 'tenant=acme', '--claim', 'name=Ada Lovelace']);
    assert.deepEqual([payload.tenant, payload.name], ['acme', 'Ada Lovelace']);
    const gateway = await open(t, { auth: JWT, rooms: { join: ['tenant:{tenant}:*'] } });
    const socket = await enter(t, gateway, text);
    assert.equal((await socket.emitWithAck('subscribe', 'tenant:acme:x')).status, 'ok');
  });

  test('that fits the settings: issuer, audience, names of claims', async (t) => {
    const tree = { auth: { ...JWT, issuer: 'us', audience: 'gateway' } };
    const { text } = await minted(['--sub', 'ada', '--role', 'admin'], { config: toml(tree) });
    const gateway = await open(t, tree);
    const door = await Door.open(t, gateway);
    const who = await door.knock({ token: text });
    assert.deepEqual([who.code, who.user, who.roles], [null, 'ada', ['admin']]);
  });

  test('with the secret of the environment, or of a file', async (t) => {
    const sources = [
      { config: '', env: { IDAE_SOCKET_JWT_SECRET: SECRET } },
      { config: '', env: { IDAE_SOCKET_AUTH_STRATEGY: 'jwt', IDAE_SOCKET_JWT_SECRET: SECRET } },
    ];
    const { signed, sign } = await minted(['--sub', 'ada', '--secret-file', temporaryFile(t, `${SECRET}\n`)], { config: '' });
    assert.equal(sign, createHmac('sha256', SECRET).update(signed).digest('base64url'));
    for (const source of sources) {
      const made = await minted(['--sub', 'ada'], source);
      assert.equal(made.sign, createHmac('sha256', SECRET).update(made.signed).digest('base64url'));
    }
  });

  for (const [algorithm, kind] of Object.entries(ASYMMETRIC)) {
    test(`with a private key: ${algorithm}`, async (t) => {
      const pair = KeyPair.get(kind);
      const args = ['--sub', 'ada', '--role', 'admin', '--private-key-file', temporaryFile(t, pair.privatePem, 'private.pem'), '--algorithm', algorithm];
      const { text, header } = await minted(args, { config: '' });
      assert.equal(header.alg, algorithm);
      const gateway = await open(t, {
        auth: { strategy: 'jwt', jwt_public_key_file: temporaryFile(t, pair.pem), algorithms: [algorithm] },
      });
      const door = await Door.open(t, gateway);
      assert.equal((await door.knock({ token: text })).user, 'ada');
    });
  }

  test('with a private key alone: the first algorithm that fits', async (t) => {
    for (const [kind, algorithms, expected] of [['p384', undefined, 'ES384'], ['rsa', ['ES256', 'PS512', 'RS256'], 'PS512']]) {
      const args = ['--sub', 'ada', '--private-key-file', temporaryFile(t, KeyPair.get(kind).privatePem)];
      const { header } = await minted(args, { config: toml({ auth: { algorithms } }) });
      assert.equal(header.alg, expected);
    }
  });

  test('fails with a sentence', async (t) => {
    const cases = [
      [['--sub', 'ada', '--claim', 'sub=7'], toml({ auth: JWT }), [/--sub.*--claim sub/]],
      [['--sub', 'ada', '--private-key-file', temporaryFile(t, 'no key', 'no-key.pem')], '', [/PEM/]],
      [['--sub', 'ada'], '', [/jwt_secret|--secret-file|--private-key-file/]],
      [['--sub', 'ada', '--private-key-file', '/nonexistent/key.pem', '--algorithm', 'RS256'], '', [/\/nonexistent\/key\.pem/]],
      [['--sub', 'ada', '--private-key-file', temporaryFile(t, 'no key', 'no-key.pem'), '--algorithm', 'RS256'], '', [/no-key\.pem|PEM|key/i]],
      [['--sub', 'ada', '--private-key-file', temporaryFile(t, KeyPair.get('rsa').privatePem), '--algorithm', 'ES256'], '', [/ES256/]],
      [['--sub', 'ada', '--algorithm', 'none'], toml({ auth: JWT }), [/none/]],
      [['--sub', 'ada', '--expires-in', 'soon'], toml({ auth: JWT }), [/soon/]],
      [['--sub', 'ada', '--claim', 'nothing'], toml({ auth: JWT }), [/nothing|claim/]],
    ];
    for (const [args, config, patterns] of cases) {
      const result = await runGateway({ args: ['token', ...args], config });
      assert.notEqual(result.code, 0, `${args.join(' ')}\n${result.logs}`);
      assert.equal(result.stdout.trim(), '', result.stdout);
      assert.doesNotMatch(result.stderr, /panicked/);
      for (const pattern of patterns) assert.match(result.stderr, pattern);
    }
  });

  test('its help shows an example', async () => {
    const { code, stdout, logs } = await runGateway({ args: ['token', '--help'] });
    assert.equal(code, 0, logs);
    assert.match(stdout, /example/i);
    assert.ok((stdout.match(/idae-socket token\b/g) ?? []).length >= 2, stdout);
    const all = await runGateway({ args: ['--help'] });
    assert.match(all.stdout, /\btoken\b/);
  });
});

describe('listen --token', () => {
  test('shows it, and says why it was refused', async (t) => {
    const gateway = await open(t, { auth: JWT });
    const args = ['listen', '--url', gateway.url, '--count', '1', '--json'];
    const listener = command(t, [...args, '--token', token({ roles: ['admin'] })]);
    let reached = 0;
    while (reached === 0) reached = (await gateway.publish('news', { rooms: 'admin', payload: 'for-listen' })).sockets;
    await listener.logged(/for-listen/);
    const refused = await runGateway({ args: [...args, '--token', token({ exp: 1 })] });
    assert.equal(refused.code, 1, refused.logs);
    assert.match(refused.logs, /token_expired|expired/);
  });
});
