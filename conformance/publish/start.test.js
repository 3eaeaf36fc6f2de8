// The command: what it prints when it starts, how it refuses to, how it ends, and the
// sub-commands that publish and listen.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventually, next, within } from '../harness/events.js';
import { Program, freePort, runGateway, startGateway } from '../harness/gateway.js';
import { RawConnection, requestBytes } from '../harness/raw.js';
import { connected, subscribe } from '../harness/sessions.js';
import { JWT_SECRET, assertPublished, assertRefused } from './publishing.js';

const conformance = fileURLToPath(new URL('..', import.meta.url));
const binary = resolve(conformance, process.env.IDAE_SOCKET_BIN ?? '../target/conformance/idae-socket');
const JWT = `[auth]\nstrategy = "jwt"\njwt_secret = "${JWT_SECRET}"\n`;

/** Starts the command and leaves it running until the test ends. */
function command(t, args, options) {
  const program = new Program(binary, args, options);
  t.after(async () => {
    program.killNow();
    await program.exited;
  });
  return program;
}

/** Runs something else than the gateway; `stdout` grows while it runs. */
function run(t, program, args) {
  const child = spawn(program, args, { cwd: conformance, stdio: ['ignore', 'pipe', 'pipe'] });
  const result = { stdout: '', stderr: '', code: undefined };
  child.stdout.on('data', (text) => (result.stdout += text));
  child.stderr.on('data', (text) => (result.stderr += text));
  result.exited = new Promise((settle) => {
    child.on('error', (error) => {
      result.stderr += error.message;
      settle(null);
    });
    child.on('close', (code) => settle((result.code = code)));
  });
  t.after(() => child.kill('SIGKILL'));
  return result;
}

/** What the gateway greets with: its output without log lines in JSON. */
const greeting = (gateway) => gateway.logs.split('\n').filter((line) => !/^\s*\{"/.test(line));

const curlLine = (gateway) =>
  greeting(gateway)
    .map((line) => line.trim().replace(/^\$ /, ''))
    .find((line) => line.startsWith('curl '));

/** The lines of the client snippet: from the first that speaks of the client to a blank one. */
function clientSnippet(gateway) {
  const lines = greeting(gateway);
  const first = lines.findIndex((line) => /socket\.io-client|\bio\(/.test(line));
  assert.ok(first >= 0, `no client snippet in:\n${gateway.logs}`);
  const rest = lines.slice(first);
  const end = rest.findIndex((line) => line.trim() === '');
  return rest.slice(0, end < 0 ? undefined : end).join('\n');
}

describe('the greeting', () => {
  test('says where it listens, where the console is, and that nobody is checked', async (t) => {
    const gateway = await startGateway();
    t.after(() => gateway.end());
    await eventually(() => curlLine(gateway), `a curl line in:\n${gateway.logs}`);
    const text = gateway.logs;
    assert.ok(text.includes(`http://127.0.0.1:${gateway.port}`), text);
    // A warning that names the setting and its value.
    assert.match(text, /warn[\s\S]*auth[\s\S]*none|auth[\s\S]*none[\s\S]*warn/i);
  });

  test('does not warn when tokens are checked', async (t) => {
    const gateway = await startGateway({ config: JWT });
    t.after(() => gateway.end());
    assert.doesNotMatch(gateway.logs, /warn/i);
    assert.ok(!gateway.logs.includes(JWT_SECRET), 'the secret is printed');
  });

  test('warns of a secret that is shorter than the hash', async (t) => {
    const gateway = await startGateway({
      config: '[auth]\nstrategy = "jwt"\njwt_secret = "only-20-bytes-long-x"\n',
    });
    t.after(() => gateway.end());
    await gateway.logged(/warn[\s\S]*32|32[\s\S]*warn/i);
  });

  test('the curl line publishes when pasted', async (t) => {
    const gateway = await startGateway();
    t.after(() => gateway.end());
    const line = await eventually(() => curlLine(gateway), `a curl line in:\n${gateway.logs}`);
    const [, event] = line.match(/https?:\/\/[^\s/'"]+\/([^\s'"?]+)/) ?? assert.fail(line);
    const rooms = JSON.parse(line.match(/'(\{.*\})'/)?.[1] ?? assert.fail(line)).rooms;

    const socket = await connected(t, gateway, { transports: ['websocket'] });
    await subscribe(socket, rooms);
    const arrived = next(socket, event);
    arrived.catch(() => {});
    const curl = run(t, 'bash', ['-c', line]);
    assert.equal(await within(curl.exited, 'the end of curl'), 0, curl.stderr);
    const reply = JSON.parse(curl.stdout.slice(curl.stdout.indexOf('{')));
    assert.deepEqual([reply.status, reply.sockets], ['ok', 1], curl.stdout);
    const [envelope] = await arrived;
    assert.deepEqual(envelope.rooms, rooms);
  });

  test('the client snippet shows the event of the curl line', async (t) => {
    const gateway = await startGateway();
    t.after(() => gateway.end());
    const line = await eventually(() => curlLine(gateway), `a curl line in:\n${gateway.logs}`);
    const code = clientSnippet(gateway);
    const client = /^\s*node /.test(code)
      ? run(t, 'bash', ['-c', code.trim()])
      : run(t, process.execPath, [
          ...(/^\s*import /m.test(code) ? ['--input-type=module'] : []),
          '-e',
          code,
        ]);
    // The snippet says nothing when it has joined, so the event is published until it arrives.
    const payload = JSON.parse(line.match(/'(\{.*\})'/)[1]).payload;
    const sign = String(payload.entity ?? Object.values(payload)[0]);
    await eventually(
      async () => {
        assert.equal(client.code, undefined, `the snippet ended:\n${code}\n${client.stderr}`);
        const curl = run(t, 'bash', ['-c', line]);
        assert.equal(await curl.exited, 0, curl.stderr);
        return client.stdout.includes(sign);
      },
      `"${sign}" from the snippet:\n${code}`,
      10_000,
    );
  });

  test('localhost answers on IPv4 and IPv6', async (t) => {
    const gateway = await startGateway({ args: ['--host', 'localhost'] });
    t.after(() => gateway.end());
    for (const host of ['127.0.0.1', '::1']) {
      const connection = await RawConnection.open({ host, port: gateway.port });
      t.after(() => connection.socket.destroy());
      connection.write(requestBytes({ path: '/livez' }));
      assert.equal((await connection.response()).status, 200, host);
    }
  });
});

describe('refusing to start', () => {
  /** One clear sentence for a person: no panic, no debug print, no wall of text. */
  function assertSentence(result, patterns) {
    assert.notEqual(result.code, 0, `it started or said it would:\n${result.logs}`);
    assert.equal(result.signal, null, result.logs);
    const lines = result.stderr.split('\n').filter((line) => line.trim());
    assert.ok(lines.length >= 1 && lines.length <= 6, `${lines.length} lines on stderr:\n${result.stderr}`);
    assert.doesNotMatch(result.stderr, /panicked|RUST_BACKTRACE|Os \{|\bErr\(|\bSome\(/);
    for (const pattern of patterns) assert.match(result.stderr, pattern);
    assert.doesNotMatch(result.stderr, /\x1b\[/, 'colours outside a terminal');
  }

  const cases = [
    ['an unknown key', { config: '# a comment\n[publish]\nbody_byte_max = 1000\n' }, [/body_byte_max/, /\bbody_bytes_max\b/, /line 3|:3\b/]],
    ['an unknown key at the top', { config: 'evnets = ["*"]\n' }, [/evnets/, /\bevents\b/, /line 1|:1\b/]],
    ['an unknown section', { config: '\n\n[pubish]\nkey = "k"\n' }, [/pubish/, /\bpublish\b/, /line 3|:3\b/]],
    ['an unknown key of a publish key', { config: '[[publish.keys]]\nname = "a"\nkey = "0123456789abcdef"\nroom = ["r"]\n' }, [/\broom\b/, /\brooms\b/, /line 4|:4\b/]],
    ['a key in the wrong place', { config: 'jwt_secret = "0123456789abcdef0123456789abcdef"\n' }, [/jwt_secret/, /line 1|:1\b/]],
    ['TOML that is broken', { config: 'host = "127.0.0.1"\nevents = [\n' }, [/line \d|:\d+\b/]],
    ['a number that is text', { config: 'drain_s = "soon"\n' }, [/drain_s/, /line 1|:1\b/]],
    ['a number that is negative', { config: '[publish]\nbody_bytes_max = -1\n' }, [/body_bytes_max/, /line 2|:2\b/]],
    ['a port beyond 65535', { config: 'port = 70000\n' }, [/port/]],
    ['text for a list', { config: 'events = 7\n' }, [/events/, /line 1|:1\b/]],
    ['an invalid event pattern', { config: 'events = ["a b"]\n' }, [/events/, /a b/]],
    ['an unknown strategy', { config: '[auth]\nstrategy = "jwtt"\n' }, [/strategy/, /jwtt/, /\bjwt\b/]],
    ['an unknown deliver', { config: '[publish]\ndeliver = "payloads"\n' }, [/deliver/, /envelope/]],
    ['an unknown log level', { config: '[log]\nlevel = "loud"\n' }, [/level/, /loud/]],
    ['a bad value in the environment', { env: { IDAE_SOCKET_DRAIN_S: 'soon' } }, [/IDAE_SOCKET_DRAIN_S/]],
    ['a bad strategy in the environment', { env: { IDAE_SOCKET_AUTH_STRATEGY: 'oauth' } }, [/IDAE_SOCKET_AUTH_STRATEGY/, /oauth/]],
    ['a key that is not built yet', { env: { IDAE_SOCKET_REDIS_URL: 'redis://127.0.0.1' } }, [/redis/i, /not (yet )?(built|supported|available|implemented)/i]],
    ['another address without tokens', { args: ['--host', '0.0.0.0'] }, [/auth\.insecure|auth\.strategy/, /0\.0\.0\.0|loopback/]],
    ['another address without tokens, IPv6', { args: ['--host', '::'] }, [/auth\.insecure|auth\.strategy/]],
    ['jwt without a key', { config: '[auth]\nstrategy = "jwt"\n' }, [/jwt_secret|jwt_public_key_file|jwks_url/]],
    ['a secret of 15 bytes', { config: '[auth]\nstrategy = "jwt"\njwt_secret = "fifteen-bytes-x"\n' }, [/jwt_secret/, /16/]],
    ['the secret of every example', { config: '[auth]\nstrategy = "jwt"\njwt_secret = "change-me-in-production"\n' }, [/jwt_secret/]],
    ['introspection without a URL', { config: '[auth]\nstrategy = "introspection"\n' }, [/introspection_url/]],
    ['an unknown flag', { args: ['--prot', '4000'] }, [/--prot/, /--port/]],
    ['an unknown command', { args: ['serv'] }, [/serv/, /serve/]],
  ];
  for (const [title, options, patterns] of cases) {
    test(title, async () => {
      // A free port: a gateway that wrongly starts must not disturb anybody.
      const needsPort = !options.args?.includes('serv') && !/^port/.test(options.config ?? '');
      const port = needsPort ? ['--port', '0'] : [];
      const result = await runGateway({ ...options, args: [...(options.args ?? []), ...port], waitMs: 5000 });
      assertSentence(result, patterns);
      for (const secret of ['fifteen-bytes-x', 'change-me-in-production"']) {
        assert.ok(!result.logs.includes(secret), 'the secret is printed');
      }
    });
  }

  test('a configuration file that does not exist', async () => {
    const result = await runGateway({ args: ['--config', '/nonexistent/gateway.toml'], waitMs: 5000 });
    assertSentence(result, [/\/nonexistent\/gateway\.toml/]);
  });

  test('a port that is taken', async (t) => {
    const gateway = await startGateway();
    t.after(() => gateway.end());
    const result = await runGateway({ args: ['--port', String(gateway.port)], waitMs: 5000 });
    assertSentence(result, [new RegExp(`\\b${gateway.port}\\b`), /in use|taken/i]);
    // The one that was there first is not disturbed.
    assertPublished(await gateway.post('/p', { rooms: 'r', payload: 1 }), 0);
  });
});

describe('where settings come from', () => {
  test('a later source wins: file, environment, flag', async (t) => {
    const [a, b, c] = [await freePort(), await freePort(), await freePort()];
    const file = command(t, [], { config: `port = ${a}\n` });
    await file.logged(new RegExp(`http://127\\.0\\.0\\.1:${a}\\b`));
    const environment = command(t, [], { config: `port = ${a}\n`, env: { IDAE_SOCKET_PORT: String(b) } });
    await environment.logged(new RegExp(`http://127\\.0\\.0\\.1:${b}\\b`));
    const flag = command(t, ['--port', String(c)], { config: `port = ${a}\n`, env: { IDAE_SOCKET_PORT: String(b) } });
    await flag.logged(new RegExp(`http://127\\.0\\.0\\.1:${c}\\b`));
  });

  test('serve is what runs without a command', async (t) => {
    const port = await freePort();
    const program = command(t, ['serve', '--port', String(port)]);
    await program.logged(new RegExp(`http://127\\.0\\.0\\.1:${port}\\b`));
  });

  const line = (text, key) => text.split('\n').find((row) => row.includes(key)) ?? `no line for ${key} in:\n${text}`;

  test('check prints each value with its origin and masks secrets', async () => {
    const key = 'check-key-0123456789abcdef';
    const { code, stdout, logs } = await runGateway({
      args: ['check', '--port', '4567'],
      config: `drain_s = 7\n${JWT}[[publish.keys]]\nname = "shop"\nkey = "${key}"\n`,
      env: { IDAE_SOCKET_EVENTS: 'entity,data:*', IDAE_SOCKET_PUBLISH_KEY: 'env-key-0123456789abcdef' },
    });
    assert.equal(code, 0, logs);
    assert.match(line(stdout, 'drain_s'), /\b7\b.*(gateway\.toml|file)/);
    assert.match(line(stdout, 'events'), /data:\*.*(IDAE_SOCKET_EVENTS|environment)/);
    assert.match(line(stdout, 'port'), /4567.*(--port|flag)/);
    assert.match(line(stdout, 'body_bytes_max'), /262144.*default/);
    assert.match(line(stdout, 'strategy'), /jwt.*(gateway\.toml|file)/);
    assert.match(line(stdout, 'jwt_secret'), /gateway\.toml|file/);
    for (const secret of [JWT_SECRET, key, 'env-key-0123456789abcdef']) {
      assert.ok(!logs.includes(secret), 'a secret is printed');
    }
  });

  test('check says when the gateway would not start', async () => {
    for (const [options, pattern] of [
      [{ config: '[auth]\nstrategy = "jwt"\n' }, /jwt_secret/],
      [{ config: '[publish]\nkye = "x"\n' }, /\bkey\b/],
      [{ args: ['--host', '0.0.0.0'] }, /insecure|strategy/],
    ]) {
      const result = await runGateway({ ...options, args: ['check', ...(options.args ?? [])] });
      assert.notEqual(result.code, 0, result.logs);
      assert.match(result.logs, pattern);
    }
  });

  test('check allows another address when it is called insecure', async () => {
    const result = await runGateway({
      args: ['check', '--host', '0.0.0.0'],
      config: '[auth]\ninsecure = true\n',
    });
    assert.equal(result.code, 0, result.logs);
  });

  test('a secret may come from a file', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'idae-socket-secret-'));
    t.after(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, 'secret'), `${JWT_SECRET}\n`);
    const env = {
      IDAE_SOCKET_AUTH_STRATEGY: 'jwt',
      IDAE_SOCKET_JWT_SECRET_FILE: join(folder, 'secret'),
    };
    const good = await runGateway({ args: ['check'], env });
    assert.equal(good.code, 0, good.logs);
    assert.ok(!good.logs.includes(JWT_SECRET), 'the secret is printed');
    const missing = await runGateway({
      args: ['check'],
      env: { ...env, IDAE_SOCKET_JWT_SECRET_FILE: join(folder, 'missing') },
    });
    assert.notEqual(missing.code, 0, missing.logs);
    assert.match(missing.logs, /missing/);
  });
});

describe('ending', () => {
  for (const signal of ['SIGTERM', 'SIGINT']) {
    test(`${signal} without clients ends at once with 0`, async (t) => {
      const gateway = await startGateway();
      t.after(() => gateway.killNow());
      gateway.signal(signal);
      assert.deepEqual(await within(gateway.exited, `the end after ${signal}`), { code: 0, signal: null });
    });
  }

  test('SIGTERM with clients: publishes get 503, clients are told, exit 0', async (t) => {
    const gateway = await startGateway({ config: 'drain_s = 3\n' });
    t.after(() => gateway.killNow());
    const sockets = [];
    for (let i = 0; i < 20; i += 1) {
      sockets.push(await connected(t, gateway, { transports: ['websocket'] }));
    }
    const gone = sockets.map((socket) => next(socket, 'disconnect', 10_000));
    for (const promise of gone) promise.catch(() => {});

    // Opened before the signal: a backend's connection that is kept alive.
    const connection = await RawConnection.open(gateway);
    t.after(() => connection.socket.destroy());
    const publish = async () => {
      connection.write(
        requestBytes({
          method: 'POST',
          path: '/p',
          headers: { 'Content-Type': 'application/json' },
          body: '{"rooms":"r","payload":1}',
        }),
      );
      return connection.response();
    };
    assertPublished(await publish(), 0);
    gateway.signal('SIGTERM');
    const refused = await eventually(
      async () => {
        const response = await publish();
        return response.status !== 200 && response;
      },
      'the first refusal after SIGTERM',
    );
    assertRefused(refused, { status: 503, code: 'draining', headers: { 'retry-after': /^\d+$/ } });

    for (const [reason] of await Promise.all(gone)) {
      // Any other reason would keep a stock client from coming back.
      assert.ok(['transport close', 'transport error'].includes(reason), reason);
    }
    assert.deepEqual(await within(gateway.exited, 'the end of the drain', 10_000), { code: 0, signal: null });
  });
});

describe('publish and listen', () => {
  /** Publishes until the listener prints it: it says nothing when it has joined. */
  async function untilHeard(gateway, listener, body, sign) {
    await eventually(
      async () => {
        assert.equal(listener.ended, null, `listen ended:\n${listener.logs}`);
        await gateway.publish('ready', body);
        return listener.stdout.includes(sign);
      },
      `"${sign}" from listen:\n${listener.logs}`,
      10_000,
    );
  }

  const rows = (program) =>
    program.stdout
      .split('\n')
      .filter((row) => row.trim())
      .map((row) => JSON.parse(row));

  test('what publish sends, listen prints', async (t) => {
    const gateway = await startGateway();
    t.after(() => gateway.end());
    const listener = command(t, ['listen', '--room', 'r', '--room', 's', '--url', gateway.url, '--json']);
    await untilHeard(gateway, listener, { rooms: 's', payload: 'are-you-there' }, 'are-you-there');

    const before = rows(listener).length;
    const sent = await runGateway({
      args: ['publish', 'db-change', '--room', 'r', '--room', 'q', '--url', gateway.url, '{"entity":"users","id":123}'],
    });
    assert.equal(sent.code, 0, sent.logs);
    const piped = await runGateway({
      args: ['publish', 'component/refresh', '--room', 's', '--url', gateway.url, '-'],
      input: '{"from":"standard input","big":12345678901234567890}\n',
    });
    assert.equal(piped.code, 0, piped.logs);

    await eventually(() => rows(listener).length >= before + 2, `two events:\n${listener.logs}`);
    const [first, second] = rows(listener).slice(before);
    assert.deepEqual([first.event, second.event], ['db-change', 'component/refresh']);
    assert.match(JSON.stringify(first), /"payload":\{"entity":"users","id":123\}.*"rooms":\["r","q"\]/);
    assert.match(listener.stdout, /"from":"standard input"/);
    // Numbers keep their digits all the way.
    assert.match(listener.stdout, /12345678901234567890/);
  });

  test('publish to a user, to a room nobody is in', async (t) => {
    const gateway = await startGateway();
    t.after(() => gateway.end());
    const socket = await connected(t, gateway, { transports: ['websocket'] });
    const arrived = next(socket, 'hello');
    arrived.catch(() => {});
    const user = await runGateway({ args: ['publish', 'hello', '--user', socket.id, '--url', gateway.url, '"hi"'] });
    assert.equal(user.code, 0, user.logs);
    assert.equal((await arrived)[0].payload, 'hi');
    const nobody = await runGateway({ args: ['publish', 'hello', '--room', 'empty', '--url', gateway.url, '1'] });
    assert.equal(nobody.code, 0, nobody.logs);
  });

  test('listen --event prints only that event', async (t) => {
    const gateway = await startGateway();
    t.after(() => gateway.end());
    const listener = command(t, ['listen', '--room', 'r', '--event', 'wanted', '--event', 'ready', '--url', gateway.url, '--json']);
    await untilHeard(gateway, listener, { rooms: 'r', payload: 'are-you-there' }, 'are-you-there');
    await gateway.publish('other', { rooms: 'r', payload: 'not-this' });
    await gateway.publish('wanted', { rooms: 'r', payload: 'but-this' });
    await listener.logged(/but-this/);
    assert.ok(!listener.stdout.includes('not-this'), listener.stdout);
  });

  test('listen without --json prints for a person', async (t) => {
    const gateway = await startGateway();
    t.after(() => gateway.end());
    const listener = command(t, ['listen', '--room', 'r', '--url', gateway.url]);
    await untilHeard(gateway, listener, { rooms: 'r', payload: 'are-you-there' }, 'are-you-there');
    assert.match(listener.stdout, /\bready\b/);
    assert.doesNotMatch(listener.stdout, /\x1b\[/, 'colours outside a terminal');
  });

  test('publish with a key', async (t) => {
    const key = 'command-key-0123456789abc';
    const gateway = await startGateway({ config: `[publish]\nkey = "${key}"\n` });
    t.after(() => gateway.end());
    const args = ['publish', 'p', '--room', 'r', '--url', gateway.url];
    const good = await runGateway({ args: [...args, '--key', key, '1'] });
    assert.equal(good.code, 0, good.logs);
    const fromEnvironment = await runGateway({ args: [...args, '1'], env: { IDAE_SOCKET_PUBLISH_KEY: key } });
    assert.equal(fromEnvironment.code, 0, fromEnvironment.logs);
    const without = await runGateway({ args: [...args, '1'] });
    assert.notEqual(without.code, 0, without.logs);
    assert.match(without.stderr, /key/i);
    const wrong = await runGateway({ args: [...args, '--key', 'wrong', '1'] });
    assert.notEqual(wrong.code, 0, wrong.logs);
    assert.match(wrong.stderr, /key/i);
  });

  test('publish fails with a sentence', async (t) => {
    const gateway = await startGateway();
    t.after(() => gateway.end());
    const nobodyThere = `http://127.0.0.1:${await freePort()}`;
    const cases = [
      [['publish', 'connect', '--room', 'r', '--url', gateway.url, '1'], /connect/],
      [['publish', 'p', '--url', gateway.url, '1'], /room|target/i],
      [['publish', 'p', '--room', 'r', '--url', gateway.url, '{broken'], /JSON/i],
      [['publish', 'p', '--room', 'r', '--url', nobodyThere, '1'], /127\.0\.0\.1/],
      [['publish', 'p', '--room', 'r', '--url', 'not a url', '1'], /url/i],
      [['publish'], /event/i],
    ];
    for (const [args, pattern] of cases) {
      const result = await runGateway({ args, waitMs: 10_000 });
      assert.notEqual(result.code, 0, `${args.join(' ')}\n${result.logs}`);
      assert.match(result.stderr, pattern);
      assert.doesNotMatch(result.stderr, /panicked/);
    }
  });
});

describe('help', () => {
  for (const name of ['serve', 'publish', 'listen', 'token', 'check', 'bench']) {
    test(`${name} --help shows an example`, async () => {
      const { code, stdout, logs } = await runGateway({ args: [name, '--help'] });
      assert.equal(code, 0, logs);
      assert.match(stdout, /example/i);
      // The usage line is one mention; the example is another.
      const mentions = stdout.match(new RegExp(`idae-socket ${name}\\b`, 'g')) ?? [];
      assert.ok(mentions.length >= (name === 'serve' ? 1 : 2), stdout);
    });
  }

  test('--help names every command', async () => {
    const { code, stdout, logs } = await runGateway({ args: ['--help'] });
    assert.equal(code, 0, logs);
    for (const name of ['serve', 'publish', 'listen', 'token', 'check', 'bench']) {
      assert.match(stdout, new RegExp(`\\b${name}\\b`));
    }
  });

  test('--version prints a version', async () => {
    const { code, stdout, logs } = await runGateway({ args: ['--version'] });
    assert.equal(code, 0, logs);
    assert.match(stdout, /^idae-socket \d+\.\d+\.\d+/);
  });
});
