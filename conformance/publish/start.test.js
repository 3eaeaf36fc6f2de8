// The command that serves: what it prints when it starts, how it refuses to, where its settings
// come from, how it ends, and its help.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { eventually, next, within } from '../harness/events.js';
import { cleanEnvironment, freePort, gatewayBinary, runGateway, startGateway } from '../harness/gateway.js';
import { RawConnection, request, requestBytes } from '../harness/raw.js';
import { connected, openSession, subscribe } from '../harness/sessions.js';
import { assertPublished, assertRefused, command, conformance } from './publishing.js';

/** Runs something else than the gateway; `stdout` grows while it runs. */
function run(t, program, args, options = {}) {
  const child = spawn(program, args, { cwd: conformance, stdio: ['ignore', 'pipe', 'pipe'], ...options });
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

/** The lines of the greeting, without the blanks around them. The log goes elsewhere. */
const greeting = (gateway) => gateway.stdout.split('\n').map((line) => line.trim());

/** Starts a gateway and waits until it has said everything. */
async function greeted(t, options) {
  const gateway = await startGateway(options);
  t.after(() => gateway.end());
  await eventually(() => /^ *import .*\n(.+\n)+\n/m.test(gateway.stdout), `the greeting in:\n${gateway.logs}`);
  const lines = greeting(gateway);
  const curl = lines.filter((line) => line.startsWith('curl '));
  assert.equal(curl.length, 1, `one curl line in:\n${gateway.stdout}`);
  // The snippet: from its first line to a blank one.
  const rest = lines.slice(lines.findIndex((line) => line.startsWith('import ')));
  const snippet = rest.slice(0, rest.indexOf('')).join('\n');
  return { gateway, curl: curl[0], snippet };
}

/** Runs the snippet, waits until it says that it has joined, runs the curl line: it must show the event. */
async function pasteBoth(t, { curl, snippet }) {
  const [, event] = curl.match(/https?:\/\/[^\s/'"]+\/([^\s'"?]+)/) ?? assert.fail(curl);
  const body = JSON.parse(curl.match(/'(\{.*\})'/)?.[1] ?? assert.fail(curl));
  const client = run(t, process.execPath, ['--input-type=module', '-e', snippet]);
  const prints = (text) =>
    eventually(
      () => {
        assert.equal(client.code, undefined, `the snippet ended:\n${snippet}\n${client.stderr}`);
        return client.stdout.includes(text);
      },
      `"${text}" from the snippet:\n${snippet}\n${client.stderr}`,
      10_000,
    );
  await prints("status: 'ok'");
  const pasted = run(t, 'bash', ['-c', curl]);
  assert.equal(await within(pasted.exited, 'the end of curl'), 0, pasted.stderr);
  const reply = JSON.parse(pasted.stdout.slice(pasted.stdout.indexOf('{')));
  assert.deepEqual([reply.status, reply.sockets], ['ok', 1], pasted.stdout);
  await prints(`${event} ${JSON.stringify({ payload: body.payload, rooms: body.rooms })}\n`);
}

describe('the greeting', () => {
  test('says where it listens, who may publish, and that nobody is checked', async (t) => {
    const { gateway } = await greeted(t);
    const text = gateway.stdout;
    assert.ok(text.includes(`http://127.0.0.1:${gateway.port}`), text);
    assert.match(text, /IDAE_SOCKET_PUBLISH_KEY/);
    // A warning that names the setting and its value.
    assert.match(text, /warning.*auth\.strategy.*none/i);
    assert.match(gateway.stderr, /WARN.*auth\.strategy.*none/);
    assert.doesNotMatch(gateway.logs, /\x1b\[/, 'colours outside a terminal');
  });

  test('on a terminal the warning comes once, and without colours if they are not wanted', async (t) => {
    const terminal = 'import pty, sys; pty.spawn(sys.argv[1:])';
    const env = cleanEnvironment({ NO_COLOR: '1' });
    const child = run(t, 'python3', ['-c', terminal, gatewayBinary(), '--port', '0'], { env });
    await eventually(() => /\bonAny\(/.test(child.stdout), 'the greeting');
    assert.equal(child.stdout.match(/auth\.strategy/g)?.length, 1, child.stdout);
    assert.match(child.stdout, /WARN.*auth\.strategy.*none/);
    assert.doesNotMatch(child.stdout, /\x1b\[/);
  });

  test('says that a key is needed, and not which', async (t) => {
    const key = 'greeting-key-0123456789abc';
    const { gateway, curl } = await greeted(t, { config: `[publish]\nkey = "${key}"\n` });
    assert.match(gateway.stdout, /needs a key/);
    assert.ok(!gateway.logs.includes(key), 'the key is printed');
    const line = curl.replace('<your publish key>', key);
    assert.notEqual(line, curl, curl);
    const pasted = run(t, 'bash', ['-c', line]);
    assert.equal(await within(pasted.exited, 'the end of curl'), 0, pasted.stderr);
    assert.equal(JSON.parse(pasted.stdout).status, 'ok', pasted.stdout);
  });

  test('the curl line publishes when pasted', async (t) => {
    const { gateway, curl } = await greeted(t);
    const [, event] = curl.match(/https?:\/\/[^\s/'"]+\/([^\s'"?]+)/) ?? assert.fail(curl);
    const { rooms, payload } = JSON.parse(curl.match(/'(\{.*\})'/)?.[1] ?? assert.fail(curl));
    const socket = await connected(t, gateway, { transports: ['websocket'] });
    await subscribe(socket, rooms);
    const arrived = next(socket, event);
    arrived.catch(() => {});
    const pasted = run(t, 'bash', ['-c', curl]);
    assert.equal(await within(pasted.exited, 'the end of curl'), 0, pasted.stderr);
    const reply = JSON.parse(pasted.stdout.slice(pasted.stdout.indexOf('{')));
    assert.deepEqual([reply.status, reply.sockets], ['ok', 1], pasted.stdout);
    assert.deepEqual((await arrived)[0], { payload, rooms });
  });

  test('the client snippet shows the event of the curl line', async (t) => {
    await pasteBoth(t, await greeted(t));
  });

  test('both fit another path of the sockets', async (t) => {
    await pasteBoth(t, await greeted(t, { config: '[socket]\npath = "/live/"\n' }));
  });

  for (const events of ['["entity", "data:*"]', '["data:*", "entity"]', '["data:*"]', '["component/:action"]']) {
    test(`both fit the exposed events ${events}`, async (t) => {
      await pasteBoth(t, await greeted(t, { config: `events = ${events}\n` }));
    });
  }

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

describe('passwords in addresses', () => {
  const ADDRESS = 'https://gw:hunter2@127.0.0.1:1/x?key=hunter2';
  const config = `[auth]
strategy = "introspection"
introspection_url = "${ADDRESS}"
jwks_url = "${ADDRESS}"
[rooms]
authorize_url = "${ADDRESS}"
[[forward]]
event = "f"
url = "${ADDRESS}"
secret = "0123456789abcdef"
`;

  for (const args of [['check'], ['check', '--json']]) {
    test(`${args.join(' ')} masks them`, async () => {
      const { code, stdout, stderr } = await runGateway({ args, config });
      assert.equal(code, 0, stderr);
      assert.equal(stdout.match(/https:\/\/gw:\*\*\*@127\.0\.0\.1:1\/x\?\*\*\*/g)?.length, 4, stdout);
      assert.doesNotMatch(stdout + stderr, /hunter2/);
    });
  }

  test('no line of the log has one, even where everything is written', async (t) => {
    const gateway = await startGateway({ config: `${config}[log]\nlevel = "trace"\n` });
    t.after(() => gateway.end());
    const websocket = await openSession(gateway);
    websocket.sendText('40{"token":"a"}');
    assert.match(await websocket.nextText(), /introspection_unavailable/);
    websocket.close();
    assert.doesNotMatch(gateway.logs, /hunter2/);
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
    ['a number that is text', { config: '[socket]\nping_interval_ms = "soon"\n' }, [/ping_interval_ms/, /line 2|:2\b/]],
    ['a number that is negative', { config: '[publish]\nbody_bytes_max = -1\n' }, [/body_bytes_max/, /line 2|:2\b/]],
    ['a port beyond 65535', { config: 'port = 70000\n' }, [/port/]],
    ['text for a list', { config: 'events = 7\n' }, [/events/, /line 1|:1\b/]],
    ['an invalid event pattern', { config: 'events = ["a b"]\n' }, [/events/, /a b/]],
    ['an unknown strategy', { config: '[auth]\nstrategy = "jwtt"\n' }, [/strategy/, /jwtt/, /\bjwt\b/]],
    ['an unknown deliver', { config: '[publish]\ndeliver = "payloads"\n' }, [/deliver/, /envelope/]],
    ['an unknown log level', { config: '[log]\nlevel = "loud"\n' }, [/level/, /loud/]],
    ['a bad value in the environment', { env: { IDAE_SOCKET_SOCKET_PING_INTERVAL_MS: 'soon' } }, [/IDAE_SOCKET_SOCKET_PING_INTERVAL_MS/, /soon/]],
    ['a bad strategy in the environment', { env: { IDAE_SOCKET_AUTH_STRATEGY: 'oauth' } }, [/IDAE_SOCKET_AUTH_STRATEGY/, /oauth/]],
    ['another address without tokens', { args: ['--host', '0.0.0.0'] }, [/auth\.insecure|auth\.strategy/, /0\.0\.0\.0|loopback/]],
    ['another address without tokens, IPv6', { args: ['--host', '::'] }, [/auth\.insecure|auth\.strategy/]],
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
    });
  }

  // What is not built yet must never look as if it worked: what is asked for, and where it says so.
  const SECRET = 's3cret-0123456789-0123456789-0123456789';
  const later = [
    ['redis.url', { env: { IDAE_SOCKET_REDIS_URL: `redis://:${SECRET}@127.0.0.1` } }, /IDAE_SOCKET_REDIS_URL/],
  ];
  for (const [key, options, origin] of later) {
    test(`not built yet: ${JSON.stringify(options)}`, async () => {
      const serve = await runGateway({ ...options, args: [...(options.args ?? []), '--port', '0'], waitMs: 5000 });
      assertSentence(serve, [/ is not available in this version: \w/, origin]);
      assert.ok(serve.stderr.includes(`\`${key}\``), serve.stderr);
      const check = await runGateway({ ...options, args: ['check', ...(options.args ?? [])], waitMs: 5000 });
      assertSentence(check, [/ is not available in this version: \w/, origin]);
      for (const { logs } of [serve, check]) assert.ok(!logs.includes(SECRET), 'the secret is printed');
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
      config: `namespaces = ["/", "/shop"]\n[[publish.keys]]\nname = "shop"\nkey = "${key}"\n`,
      env: { IDAE_SOCKET_EVENTS: 'entity,data:*', IDAE_SOCKET_PUBLISH_KEY: 'env-key-0123456789abcdef' },
    });
    assert.equal(code, 0, logs);
    assert.match(line(stdout, 'namespaces'), /"\/shop".*gateway\.toml/);
    assert.match(line(stdout, 'events'), /data:\*.*(IDAE_SOCKET_EVENTS|environment)/);
    assert.match(line(stdout, 'port'), /4567.*(--port|flag)/);
    assert.match(line(stdout, 'body_bytes_max'), /262144.*default/);
    assert.match(line(stdout, 'strategy'), /none.*default/);
    assert.match(line(stdout, 'publish.key '), /IDAE_SOCKET_PUBLISH_KEY/);
    assert.match(line(stdout, 'publish.keys'), /gateway\.toml/);
    for (const secret of [key, 'env-key-0123456789abcdef']) {
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
      const forScripts = await runGateway({ ...options, args: ['check', '--json', ...(options.args ?? [])] });
      assert.equal(forScripts.code, result.code);
      const { status, detail } = JSON.parse(forScripts.stdout);
      assert.equal(status, 'error');
      assert.match(detail, pattern);
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
    const key = 'key-of-a-file-0123456789abc';
    writeFileSync(join(folder, 'secret'), `${key}\n`);
    const env = { IDAE_SOCKET_PUBLISH_KEY_FILE: join(folder, 'secret') };
    const good = await runGateway({ args: ['check'], env });
    assert.equal(good.code, 0, good.logs);
    assert.match(line(good.stdout, 'publish.key '), /IDAE_SOCKET_PUBLISH_KEY_FILE/);
    assert.ok(!good.logs.includes(key), 'the secret is printed');
    const missing = await runGateway({
      args: ['check'],
      env: { IDAE_SOCKET_PUBLISH_KEY_FILE: join(folder, 'missing') },
    });
    assert.notEqual(missing.code, 0, missing.logs);
    assert.match(missing.logs, /IDAE_SOCKET_PUBLISH_KEY_FILE.*no such file/i);
  });
});

/** Waits until the gateway has read a request's head and asks for its body. */
const wantsBody = (connection) =>
  connection.until(
    () => (String(connection.received).startsWith('HTTP/1.1 100 ') ? true : undefined),
    'the gateway to ask for the body',
  );

describe('ending', () => {
  for (const signal of ['SIGTERM', 'SIGINT']) {
    test(`${signal} without clients ends at once with 0`, async (t) => {
      const gateway = await startGateway();
      t.after(() => gateway.killNow());
      gateway.signal(signal);
      assert.deepEqual(await within(gateway.exited, `the end after ${signal}`), { code: 0, signal: null });
    });
  }

  test('SIGTERM with clients: publishes are refused, clients are told, exit 0', async (t) => {
    const gateway = await startGateway();
    t.after(() => gateway.killNow());
    const sockets = [];
    for (let i = 0; i < 20; i += 1) {
      const transports = i % 2 ? ['polling'] : ['websocket'];
      sockets.push(await connected(t, gateway, { transports }));
    }
    const gone = sockets.map((socket) => next(socket, 'disconnect', 10_000));
    for (const promise of gone) promise.catch(() => {});

    // Half a publish, so that the gateway has something to wait for while it stops.
    const text = JSON.stringify({ rooms: 'r', payload: 1 });
    const slow = await RawConnection.open(gateway);
    t.after(() => slow.socket.destroy());
    slow.write(
      requestBytes({
        method: 'POST',
        path: '/p',
        headers: {
          'Content-Type': 'application/json',
          'Content-Length': String(text.length),
          Expect: '100-continue',
        },
        body: '',
      }),
    );
    await wantsBody(slow);
    assertPublished(await gateway.post('/p', text), 0);

    gateway.signal('SIGTERM');
    // A connection that was opened before the signal may be closed by it, as any idle one.
    await eventually(
      () => request(gateway, { path: '/readyz' }).then(({ status }) => status !== 200, (error) => error.code === 'ECONNREFUSED'),
      'the gateway not to be ready any more',
    );
    // From now on a new request is told to come back later, or meets a closed port. To be cut off
    // would leave a backend in doubt whether its event went out.
    const orClosed = (answer) => answer.catch((error) => assert.equal(error.code, 'ECONNREFUSED', error.message));
    const draining = { status: 503, code: 'draining', headers: { 'retry-after': /^\d+$/ } };
    const refused = await orClosed(gateway.post('/p', text));
    if (refused) assertRefused(refused, draining);
    const batch = await orClosed(gateway.post('/v1/events', [{ event: 'p', rooms: 'r', payload: 1 }]));
    if (batch) assertRefused(batch, draining);
    const ready = await orClosed(request(gateway, { path: '/readyz' }));
    if (ready) assert.equal(ready.status, 503);
    const live = await orClosed(request(gateway, { path: '/livez' }));
    if (live) assert.equal(live.status, 200);

    for (const [reason] of await Promise.all(gone)) {
      // Another reason would keep a stock client from coming back.
      assert.equal(reason, 'transport close');
    }
    // What began before the signal is finished.
    slow.write(text);
    assertPublished(await slow.response(), 0);
    assert.deepEqual(await within(gateway.exited, 'the end', 3000), { code: 0, signal: null });
    await assert.rejects(gateway.post('/p', text), { code: 'ECONNREFUSED' });
  });

  test('SIGTERM does not wait for ever for half a request', async (t) => {
    const gateway = await startGateway();
    t.after(() => gateway.killNow());
    const slow = await RawConnection.open(gateway);
    t.after(() => slow.socket.destroy());
    slow.write(
      requestBytes({
        method: 'POST',
        path: '/p',
        headers: { 'Content-Type': 'application/json', 'Content-Length': '100', Expect: '100-continue' },
        body: '',
      }),
    );
    await wantsBody(slow);
    slow.write('{"rooms":');
    gateway.signal('SIGTERM');
    assert.deepEqual(await within(gateway.exited, 'the end'), { code: 0, signal: null });
  });
});

describe('help', () => {
  for (const name of ['serve', 'check']) {
    test(`${name} --help shows an example`, async () => {
      const { code, stdout, logs } = await runGateway({ args: [name, '--help'] });
      assert.equal(code, 0, logs);
      assert.match(stdout, /example/i);
      // The usage line is one mention, the example is another.
      const mentions = stdout.match(new RegExp(`idae-socket ${name}\\b`, 'g')) ?? [];
      assert.ok(mentions.length >= 2, stdout);
    });
  }

  test('--help names every command', async () => {
    const { code, stdout, logs } = await runGateway({ args: ['--help'] });
    assert.equal(code, 0, logs);
    for (const name of ['serve', 'check']) {
      assert.match(stdout, new RegExp(`\\b${name}\\b`));
    }
  });

  test('--version prints a version', async () => {
    const { code, stdout, logs } = await runGateway({ args: ['--version'] });
    assert.equal(code, 0, logs);
    assert.match(stdout, /^idae-socket \d+\.\d+\.\d+/);
  });
});
