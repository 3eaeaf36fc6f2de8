// README.md as a stranger follows it: each command and program in it is run. `cargo run --release`
// is the binary under test here, which is what it runs.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { collect, within } from '../harness/events.js';
import { Program, cleanEnvironment, freePort, runGateway, startGateway } from '../harness/gateway.js';
import { request } from '../harness/raw.js';
import { ask, connected, subscribe } from '../harness/sessions.js';
import { Document } from './documents.js';

const conformance = fileURLToPath(new URL('..', import.meta.url));
const root = resolve(conformance, '..');
const binary = resolve(conformance, process.env.IDAE_SOCKET_BIN ?? '../target/conformance/idae-socket');
const read = (path) => readFileSync(join(root, path), 'utf8');
const doc = new Document('README.md');
after(() => doc.assertAllAsked());

/** What the README says, said to the gateway and the binary of this test. */
const here = (text, gateway) =>
  text
    .replaceAll('localhost:4000', `localhost:${gateway.port}`)
    .replaceAll('cargo run --release --', `'${binary}'`)
    .replaceAll('cargo run --release', `'${binary}'`);

/** A shell in a folder of its own, or in `cwd`. */
function shell(t, gateway, text, { env = {}, cwd } = {}) {
  const place = cwd === undefined ? '' : `cd '${cwd}'\n`;
  const program = new Program('bash', ['-euc', place + here(text, gateway)], {
    env: { IDAE_SOCKET_URL: `http://127.0.0.1:${gateway.port}`, NO_PROXY: '*', ...env },
  });
  t.after(() => program.killNow());
  return program;
}

/** Runs it to its end, which has to be a good one; returns what it printed. */
async function ran(t, gateway, text, options) {
  const program = shell(t, gateway, text, options);
  const ended = await within(program.exited, `the end of:\n${text}`, 20_000);
  assert.deepEqual(ended, { code: 0, signal: null }, program.logs);
  return program.stdout;
}

/** The two halves of a snippet for two terminals. */
function terminals(name) {
  const parts = doc.snippet(name).split('\n# in another terminal\n');
  assert.equal(parts.length, 2, name);
  return parts;
}

function folder(t) {
  const path = mkdtempSync(join(tmpdir(), 'idae-socket-readme-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

describe('the first minute', () => {
  test('two commands', async () => {
    // `cargo run` finds one binary, and it is the one that is tested.
    const [, members] = /^default-members = \[(.*)\]$/m.exec(read('Cargo.toml'));
    const programs = members.match(/[\w/]+/g).filter((path) => existsSync(join(root, path, 'src/main.rs')));
    assert.deepEqual(programs, ['crates/cli']);
    assert.match(read('crates/cli/Cargo.toml'), /^name = "idae-socket"$/m);
    assert.ok(statSync(join(root, '.ci/run')).mode & 0o100, '.ci/run cannot be run');
  });

  test('as it is written', async (t) => {
    const gateway = { port: await freePort(), host: '127.0.0.1' };
    gateway.url = `http://127.0.0.1:${gateway.port}`;
    const start = shell(t, gateway, `exec ${doc.snippet('start')}`, { env: { IDAE_SOCKET_PORT: `${gateway.port}` } });
    // A page, a curl line, a client.
    await start.logged(/^ *http:\S+\/$[^]*^ *curl -d [^]*^ *import \{ io \}[^]*onAny/m);
    const page = await request(gateway, { path: '/' });
    assert.deepEqual([page.status, page.headers['content-type']], [200, 'text/html; charset=utf-8']);

    // As the console is: in the room `admin`.
    const console_ = await connected(t, gateway);
    await subscribe(console_, 'admin');
    const seen = collect(console_, 'db-change');
    doc.quotes('answer', await ran(t, gateway, doc.snippet('publish')));
    assert.deepEqual((await seen.take(1))[0][0].payload, { entity: 'users', action: 'update', id: 123 });

    const own = folder(t);
    const [init, install] = doc.snippet('npm').split('\n');
    await ran(t, gateway, init, { cwd: own });
    // Nothing is fetched here: the installed client is the one of this folder.
    const [, name] = /^npm install (\S+)$/.exec(install);
    assert.ok(existsSync(join(conformance, 'node_modules', name, 'package.json')));
    symlinkSync(join(conformance, 'node_modules'), join(own, 'node_modules'));
    writeFileSync(join(own, 'listen.mjs'), here(doc.snippet('client'), gateway));
    const client = shell(t, gateway, 'exec node listen.mjs', { cwd: own });
    await client.logged(/status/);
    assert.equal(JSON.parse(await ran(t, gateway, doc.snippet('publish'))).sockets, 2);
    await client.logged(/entity.*\n/);
    doc.quotes('client-prints', client.logs);

    start.signal('SIGTERM');
    assert.deepEqual(await within(start.exited, 'the end of the gateway', 20_000), { code: 0, signal: null });
  });

  test('its pictures', () => {
    const pictures = [...doc.text.matchAll(/(?:src|srcset)="(docs\/[^"]+)"/g)].map(([, path]) => path);
    assert.equal(pictures.length, 4);
    for (const path of pictures) assert.ok(statSync(join(root, path)).size < 150_000, path);
    for (const [image] of doc.text.matchAll(/<img [^>]*>/g)) assert.match(image, / alt="[^"]{20,}"/);
  });
});

describe('publishing', () => {
  let gateway;
  before(async () => {
    gateway = await startGateway();
  });
  after(() => gateway?.end());

  /** Somebody in the room `admin`, and what arrives there. */
  async function admin(t, event) {
    const socket = await connected(t, gateway);
    await subscribe(socket, 'admin');
    return collect(socket, event);
  }

  test('the payload alone', async (t) => {
    const arrived = await admin(t, 'db-change');
    await ran(t, gateway, doc.snippet('payload-alone'));
    assert.deepEqual((await arrived.take(1))[0][0], { id: 123 });
  });

  test('a repeat is answered and not emitted', async (t) => {
    const arrived = await admin(t, 'invoice:paid');
    const first = await ran(t, gateway, doc.snippet('idempotency'));
    assert.equal(await ran(t, gateway, doc.snippet('idempotency')), first);
    await gateway.publish('invoice:paid', { rooms: 'admin', payload: 'last' });
    const payloads = (await arrived.take(2)).map(([event]) => event.payload);
    assert.deepEqual(payloads, [{ id: 17 }, 'last']);
  });

  test('a batch and a stream', async (t) => {
    const arrived = [await admin(t, 'user:update'), await admin(t, 'user:delete'), await admin(t, 'a'), await admin(t, 'b')];
    const batch = JSON.parse(await ran(t, gateway, doc.snippet('batch')));
    const stream = (await ran(t, gateway, doc.snippet('stream'))).trim().split('\n').map((line) => JSON.parse(line));
    for (const answers of [batch, stream]) assert.deepEqual(answers.map(({ status }) => status), ['ok', 'ok']);
    const payloads = [];
    for (const one of arrived) payloads.push((await one.take(1))[0][0].payload);
    assert.deepEqual(payloads, [1, 2, 1, 2]);
  });

  test('a key', async (t) => {
    const locked = { port: await freePort() };
    const [start, publish] = terminals('keys');
    const program = shell(t, locked, start, { env: { IDAE_SOCKET_PORT: `${locked.port}` } });
    await program.logged(/listens on/);
    assert.equal(JSON.parse(await ran(t, locked, publish)).status, 'ok');
    const without = publish.replace(/ -H 'authorization:[^']*'/, '');
    assert.notEqual(without, publish);
    assert.equal(JSON.parse(await ran(t, locked, without)).code, 'unauthorized');
  });

  test('the command', async (t) => {
    const [listen, publish] = terminals('command');
    const listener = shell(t, gateway, `exec ${listen}`);
    await listener.logged(/listening/);
    await ran(t, gateway, publish);
    await listener.logged(/db-change .*\{"id":123\}/);
  });

  test('an error', async () => {
    const refused = await gateway.post('/db-change', { room: 'admin', rooms: ['x'], payload: 1 });
    assert.deepEqual([refused.status, refused.headers['content-type']], [422, 'application/problem+json']);
    doc.quotes('problem', refused.text);
  });
});

describe('clients', () => {
  test('the official client comes from the gateway', async (t) => {
    const gateway = await startGateway();
    t.after(() => gateway.end());
    const [, path] = /<script src="http:\/\/localhost:4000(\S+)"><\/script>/.exec(doc.text);
    assert.equal((await request(gateway, { path })).status, 200);
  });

  test('Python', { timeout: 300_000 }, async (t) => {
    const source = doc.snippet('python');
    const python = await pythonWithSocketio();
    const gateway = await startGateway();
    t.after(() => gateway.end());
    const own = folder(t);
    writeFileSync(join(own, 'client.py'), here(source, gateway));
    const client = shell(t, gateway, `exec '${python}' -u client.py`, { cwd: own });
    await client.logged(/\{'status': 'ok', 'rooms': \['admin'\]\}\n/);
    await gateway.publish('db-change', { rooms: 'admin', payload: { id: 123 } });
    await client.logged(/\n\{'id': 123\}\n/);
    assert.equal(client.stderr, '');
  });

  /** A Python that has the library: the one of python/python.test.js, or one made as the README says. */
  async function pythonWithSocketio() {
    const run = (program, ...args) => promisify(execFile)(program, args, { env: cleanEnvironment(), timeout: 240_000 });
    const works = (python) => run(python, '-c', 'import socketio, requests').then(() => true, () => false);
    const made = join(conformance, 'examples/.venv');
    for (const venv of [join(conformance, 'python/.venv'), made]) {
      if (existsSync(venv) && (await works(join(venv, 'bin/python')))) return join(venv, 'bin/python');
    }
    const [, wanted] = /`pip install "([^"]+)"`/.exec(doc.text);
    try {
      await run('python3', '-m', 'venv', '--clear', made);
      await run(join(made, 'bin/python'), '-m', 'pip', 'install', '-q', wanted);
    } catch (error) {
      rmSync(made, { recursive: true, force: true });
      throw new Error(`${wanted} is not installed, and cannot be`, { cause: error });
    }
    return join(made, 'bin/python');
  }

  test('Rust: what is shown is what cargo test compiles', () => {
    const compiled = examples(read('crates/client/src/lib.rs'));
    assert.ok(compiled.includes(doc.snippet('rust-client')), `not in the documentation of the crate:\n${compiled[0]}`);
    const listen = examples(read('crates/gateway/src/driver/mod.rs'));
    const [, shown] = /`(HttpDriver::new\(\)\S+)`/.exec(doc.text);
    assert.ok(listen.some((text) => text.includes(shown)), shown);
  });

  /** The examples in a file's documentation, as a reader sees them. */
  function examples(source) {
    const lines = source.split('\n').map((line) => /^ *\/\/[/!] ?(.*)$/.exec(line)?.[1]);
    const texts = [];
    let current = null;
    for (const line of lines) {
      if (line?.startsWith('```')) {
        if (current) texts.push(current.join('\n').trim());
        current = current ? null : [];
      } else if (line !== undefined && !/^#( |$)/.test(line)) {
        current?.push(line);
      }
    }
    return texts;
  }
});

describe('authentication', () => {
  const secret = /jwt_secret = "(.*?)"/.exec(doc.text)[1];
  let backend;
  let gateway;
  let own;
  before(async () => {
    backend = createServer((incoming, response) => {
      let body = '';
      incoming.setEncoding('utf8');
      incoming.on('data', (part) => (body += part));
      incoming.on('end', () => {
        backend.asked.push({ path: incoming.url, headers: incoming.headers, body: JSON.parse(body) });
        response.setHeader('content-type', 'application/json');
        response.statusCode = incoming.url === '/may-join' ? 403 : 200;
        response.end('{"stored":1}');
      });
    });
    backend.asked = [];
    await new Promise((listening) => backend.listen(0, '127.0.0.1', listening));
    const config = ['jwt', 'rooms', 'forward'].map((name) => doc.snippet(name)).join('\n\n');
    const near = config.replaceAll('127.0.0.1:3000', `127.0.0.1:${backend.address().port}`);
    assert.notEqual(near, config);
    own = mkdtempSync(join(tmpdir(), 'idae-socket-readme-'));
    symlinkSync(join(conformance, 'node_modules'), join(own, 'node_modules'));
    writeFileSync(join(own, 'idae-socket.toml'), near);
    gateway = await startGateway({ config: near });
  });
  after(async () => {
    await gateway?.end();
    backend?.close();
    rmSync(own, { recursive: true, force: true });
  });

  /** A token that this gateway accepts: signed by the command with the configuration's secret. */
  const tokenOf = (t, more = '') =>
    ran(t, gateway, `cargo run --release -- token --sub 42 --role admin ${more}`, { cwd: own }).then((text) => text.trim());

  test('a client with a token', async (t) => {
    const source = `
      import { io } from 'socket.io-client';
      const token = process.env.TOKEN;
      ${here(doc.snippet('auth'), gateway)}
      socket.on('connect', () => console.log('in'));
      socket.on('connect_error', (error) => console.log(error.data.code));
      socket.on('x', ({ payload }) => { console.log(payload); socket.disconnect(); });
    `;
    writeFileSync(join(own, 'client.mjs'), source);
    const client = shell(t, gateway, 'exec node client.mjs', { cwd: own, env: { TOKEN: await tokenOf(t) } });
    await client.logged(/in\n/);
    assert.equal((await gateway.publish('x', { rooms: 'admin', users: '42', payload: 'role and user' })).sockets, 1);
    assert.deepEqual(await within(client.exited, 'the end of the client'), { code: 0, signal: null });
    assert.equal(client.logs, 'in\nrole and user\n');
  });

  test('the rooms of a token', async (t) => {
    const socket = await connected(t, gateway, { auth: { token: await tokenOf(t, '--claim tenant=acme') } });
    await subscribe(socket, ['public:news', 'tenant:acme:orders', 'user:42:inbox']);
    const refused = await ask(socket, 'subscribe', 'tenant:other:orders');
    assert.equal(refused.code, 'room_forbidden');
    const { path, body } = backend.asked.at(-1);
    assert.deepEqual([path, Object.keys(body).sort()], ['/may-join', ['namespace', 'roles', 'room', 'user']]);
  });

  test('a signed token, and what it is worth', async (t) => {
    assert.ok(doc.snippet('token').includes(secret));
    const worth = await ran(t, gateway, doc.snippet('token'));
    assert.match(worth, /^user +42\nroles +admin /);
  });

  test('an event that goes to the backend', async (t) => {
    const socket = await connected(t, gateway, { auth: { token: await tokenOf(t) } });
    assert.deepEqual(await ask(socket, 'chat:send', 'hello'), { stored: 1 });
    const { path, headers, body } = backend.asked.at(-1);
    assert.equal(path, '/chat');
    const { socketId, ...rest } = body;
    assert.equal(socketId, socket.id);
    assert.deepEqual(rest, { event: 'chat:send', args: ['hello'], user: '42', roles: ['admin'], namespace: '/' });
    for (const name of ['webhook-id', 'webhook-timestamp', 'webhook-signature']) assert.ok(headers[name], name);
  });
});

describe('configuration', () => {
  test('the example, checked', async (t) => {
    const own = folder(t);
    writeFileSync(join(own, 'idae-socket.toml'), doc.snippet('config'));
    const printed = await ran(t, { port: 0 }, doc.snippet('check'), { cwd: own });
    assert.match(printed, /^socket\.ping_interval_ms +10000 +.*idae-socket\.toml/m);
    assert.doesNotMatch(printed, /a-long-random-text/);
  });

  test('the limits and their defaults', async () => {
    const { stdout } = await runGateway({ args: ['check'] });
    const section = /## Limits\n([^]*?)\n## /.exec(doc.text)[1];
    let checked = 0;
    for (const row of section.split('\n').filter((line) => /^\| .*`/.test(line))) {
      const [, , settings, defaults] = row.split('|').map((cell) => cell.trim());
      const values = defaults.split(', ');
      for (const [index, [, key]] of [...settings.matchAll(/`([^`]+)`/g)].entries()) {
        const [, actual] = new RegExp(`^${key.replace('.', '\\.')} +(\\S+)`, 'm').exec(stdout) ?? assert.fail(key);
        const [, number, unit] = /^([\d,]+) ?(\w*)$/.exec(values[index]);
        const factor = { '': 1, s: 1, MB: 1e6, KiB: 1024, MiB: 1024 ** 2 }[unit];
        assert.equal(Number(number.replaceAll(',', '')) * factor, Number(actual), key);
        checked += 1;
      }
    }
    assert.ok(checked >= 12, `${checked}`);
  });
});
