// docs/operations.md: its commands run, its configuration starts, its metrics are there.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, resolve } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import { collect, eventually, next, within } from '../harness/events.js';
import { Program, freePort, runGateway, startGateway } from '../harness/gateway.js';
import { request } from '../harness/raw.js';
import { connected, openSession, subscribe } from '../harness/sessions.js';
import { Document } from '../examples/documents.js';
import { replaced, startNginx } from './nginx.js';

const { yaml } = createRequire(import.meta.url)('playwright-core/lib/utilsBundle');
const binary = resolve(
  fileURLToPath(new URL('..', import.meta.url)),
  process.env.IDAE_SOCKET_BIN ?? '../target/conformance/idae-socket',
);
const doc = new Document('docs/operations.md');
after(() => doc.assertAllAsked());

const shell = (t, command, env = {}) => {
  const program = new Program('bash', ['-euc', command], { env: { PATH: `${dirname(binary)}:${process.env.PATH}`, ...env } });
  t.after(() => program.killNow());
  return program;
};

test('the configuration for production is one that starts', async (t) => {
  const { code, stdout, stderr } = await runGateway({ args: ['check'], config: doc.snippet('production') });
  assert.equal(code, 0, stderr);
  // Nothing in it is worth a warning but the key, which stands in a document; and no secret is shown.
  const [key, ...others] = stdout.split('\n').filter((line) => line.startsWith('warning: '));
  assert.match(key, /publish key "orders" is one of the documents' examples/);
  assert.deepEqual(others, []);
  assert.doesNotMatch(stdout, /R3hHn0v1/);
  const check = shell(t, `cat > idae-socket.toml <<'END'\n${doc.snippet('production')}\nEND\n${doc.snippet('check')}`);
  assert.deepEqual(await check.exited, { code: 0, signal: null });
});

describe('probes', () => {
  test('readyz', async (t) => {
    const gateway = await startGateway();
    t.after(() => gateway.end());
    const ready = shell(t, doc.snippet('readyz').replace(':4000', `:${gateway.port}`));
    assert.deepEqual(await ready.exited, { code: 0, signal: null });
  });

  test('check --ready asks the gateway of these settings', async (t) => {
    const [program, ...args] = doc.snippet('check-ready').split(' ');
    assert.equal(program, 'idae-socket');
    const ask = (host, port, more = []) =>
      runGateway({ args: [...args, ...more, '--host', host, '--port', String(port)], env: { IDAE_SOCKET_AUTH_INSECURE: 'true' } });
    const gateway = await startGateway({ args: ['--host', 'localhost'] });
    t.after(() => gateway.killNow());
    for (const host of ['127.0.0.1', 'localhost', '::1', '0.0.0.0', '::']) {
      const { code, stdout, stderr } = await ask(host, gateway.port);
      assert.deepEqual([code, stdout], [0, 'ready\n'], `${host}: ${stderr}`);
    }
    assert.equal((await ask('localhost', gateway.port, ['--json'])).stdout, '{"status":"ok"}\n');

    // Some to say goodbye to, which takes ten seconds.
    for (let i = 0; i < 5; i += 1) t.after(await openSession(gateway).then((session) => () => session.close()));
    gateway.signal('SIGTERM');
    await gateway.logged(/SIGTERM/);
    const draining = await ask('localhost', gateway.port);
    assert.equal(draining.code, 1, draining.stderr);
    assert.match(draining.stderr, /answers 503: it takes no new work/);

    gateway.killNow();
    await gateway.exited;
    const gone = await ask('localhost', gateway.port);
    assert.equal(gone.code, 3, gone.stderr);
    assert.match(gone.stderr, /cannot reach http:\/\/localhost:\d+\/readyz: .*\nhelp: is the gateway running\?/);
  });

  test('Kubernetes asks where there is an answer, and waits longer than the drain takes', async (t) => {
    const gateway = await startGateway();
    t.after(() => gateway.end());
    const pod = yaml.parse(doc.snippet('probes'));
    assert.ok(pod.terminationGracePeriodSeconds > 10);
    const [container] = pod.containers;
    for (const probe of [container.readinessProbe, container.livenessProbe]) {
      assert.equal(probe.httpGet.port, 4000);
      assert.equal((await request(gateway, { path: probe.httpGet.path })).status, 200);
    }
  });
});

test('every metric is documented, and every documented one is there', async (t) => {
  const gateway = await startGateway({ config: '[publish]\nbody_bytes_max = 100\n' });
  t.after(() => gateway.end());
  // Those with labels appear with their first value: a refusal, a limit, a session that ended, one that came back.
  await gateway.post('/x', { rooms: 'r', payload: 'x'.repeat(200) });
  const socket = await connected(t, gateway, { transports: ['websocket'], reconnection: true, reconnectionDelay: 10 });
  await subscribe(socket, 'r');
  await gateway.publish('x', { rooms: 'r', payload: 1 });
  const back = next(socket, 'connect');
  socket.io.engine.transport.ws.terminate?.();
  await back;
  const text = (await request(gateway, { path: '/metrics' })).text;
  const kind = { gauge: '', histogram: '', counter: '_total' };
  const exposed = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => `${name}${kind[type]} ${type}`);
  const table = /<!-- metrics -->\n\n([^]*?)\n\n/.exec(doc.text)[1].split('\n').slice(2);
  const documented = table.flatMap((row) => {
    const [, names, type] = row.split('|').map((cell) => cell.trim());
    return [...names.matchAll(/`([^`]+)`/g)].map(([, name]) => `${name} ${type}`);
  });
  assert.deepEqual(exposed.sort(), documented.sort());
});

test('a refusal in the log', async (t) => {
  const gateway = await startGateway();
  t.after(() => gateway.end());
  await gateway.post('/db-change', { room: 'admin', payload: 1 });
  const [line] = await gateway.logged(/^.*publish refused.*$/m);
  doc.quotes('log', line);
});

describe('limits', () => {
  test('the defaults of the table are those of the gateway', async () => {
    const { stdout } = await runGateway({ args: ['check'] });
    const section = /## Limits\n([^]*?)\n## /.exec(doc.text)[1];
    let checked = 0;
    for (const row of section.split('\n').filter((line) => /^\| .*`/.test(line))) {
      const [, , settings, defaults] = row.split('|').map((cell) => cell.trim());
      const values = defaults.split(', ').flatMap((text) => text.split(', '));
      [...settings.matchAll(/`([^`]+)`/g)].forEach(([, key], index) => {
        const [, actual] = new RegExp(`^${key.replace('.', '\\.')} +(\\S+)`, 'm').exec(stdout) ?? assert.fail(key);
        assert.equal(inUnits(values[index]), Number(actual), `${key}: ${values[index]}`);
        checked += 1;
      });
    }
    assert.ok(checked >= 11, `${checked}`);
  });

  /** "64 MiB" and the like as a number. */
  function inUnits(text) {
    const [, number, unit = ''] = /^([\d,]+) ?(\w*)$/.exec(text) ?? assert.fail(text);
    const factors = { '': 1, s: 1, MB: 1e6, KiB: 1024, MiB: 1024 ** 2 };
    return Number(number.replaceAll(',', '')) * factors[unit];
  }

  test('the limit of open files reaches the gateway', async (t) => {
    const hard = shell(t, 'ulimit -Hn');
    await hard.exited;
    // A machine may allow fewer than the page asks for.
    const files = hard.stdout.trim() === 'unlimited' ? 131_072 : Math.min(131_072, Number(hard.stdout));
    const command = replaced(doc.snippet('files'), [
      ['131072', String(files)],
      ['&& ', '&& exec '],
    ]);
    const program = shell(t, command, { IDAE_SOCKET_PORT: String(await freePort()) });
    await program.logged(/listens on/);
    const limits = readFileSync(`/proc/${program.pid}/limits`, 'utf8');
    assert.match(limits, new RegExp(`Max open files +${files} `));
  });

  test('far too few files are warned of at start', async (t) => {
    const program = shell(t, 'ulimit -n 1024 && exec idae-socket', { IDAE_SOCKET_PORT: '0' });
    await program.logged(/WARN.*limit of open files is 1024.* 100000 connections.*LimitNOFILE/);
  });

  test('an idle session costs what the page says, or less', async (t) => {
    const gateway = await startGateway();
    t.after(() => gateway.end());
    const rssBytes = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${gateway.pid}/status`, 'utf8'))[1]) * 1024;
    const COUNT = 2000;
    const sockets = [];
    t.after(() => sockets.forEach((socket) => socket.terminate()));
    const open = () =>
      new Promise((resolve, reject) => {
        const url = `ws://127.0.0.1:${gateway.port}/socket.io/?EIO=4&transport=websocket`;
        const socket = new WebSocket(url, { perMessageDeflate: false });
        sockets.push(socket);
        socket.on('error', reject);
        socket.on('message', (data) => {
          const text = String(data);
          if (text.startsWith('0')) socket.send('40');
          if (text.startsWith('40')) resolve();
          if (text === '2') socket.send('3');
        });
      });
    const openMany = async (count) => {
      for (let n = 0; n < count; n += 100) await Promise.all(Array.from({ length: 100 }, open));
    };
    // The first ones also pay for what all of them share.
    await openMany(500);
    const before = rssBytes();
    await within(openMany(COUNT), 'the sessions', 60_000);
    const each = (rssBytes() - before) / COUNT;
    t.diagnostic(`${Math.round(each)} bytes per session`);
    // "About 3 KB": pages and allocators round up.
    assert.ok(each < 5000, `${each} bytes per session`);
  });
});

describe('stopping', () => {
  test('as the page says: not ready, publishes told to come back, sockets sent away bit by bit, 0', async (t) => {
    const gateway = await startGateway({ config: 'drain_s = 2\n' });
    t.after(() => gateway.killNow());
    const sockets = [];
    for (let n = 0; n < 4; n += 1) sockets.push(await connected(t, gateway, { transports: ['websocket'] }));
    const gone = sockets.map((socket) => collect(socket, 'disconnect'));
    gateway.signal('SIGTERM');
    // A connection that was opened before the signal, and idle, may be closed by it.
    await eventually(
      () => request(gateway, { path: '/readyz' }).then(({ status }) => status === 503, () => false),
      'the gateway not to be ready',
    );
    assert.equal((await request(gateway, { path: '/livez' })).status, 200);
    const refused = await gateway.post('/x', { rooms: 'r', payload: 1 });
    assert.deepEqual([refused.status, refused.json().code], [503, 'draining']);
    assert.match(refused.headers['retry-after'], /^\d+$/);
    // Not all at once.
    assert.ok(gone.some(({ seen }) => seen.length === 0), 'all sockets were sent away at once');
    await assert.rejects(openSession(gateway));
    for (const one of gone) assert.equal((await one.take(1))[0][0], 'transport close');
    assert.deepEqual(await within(gateway.exited, 'the end'), { code: 0, signal: null });
  });

  test('whoever supervises waits longer', () => {
    const read = (name) => readFileSync(new URL(`../../deploy/${name}`, import.meta.url), 'utf8');
    assert.match(read('idae-socket.service'), /^TimeoutStopSec=30$/m);
    assert.match(read('compose/compose.yaml'), /stop_grace_period: 30s/);
  });
});

test('two gateways behind nginx: a polling session stays at one, a publish goes to both', async (t) => {
  const gateways = [await startGateway(), await startGateway()];
  t.after(() => Promise.all(gateways.map((gateway) => gateway.end())));
  const { ports } = await startNginx(
    t,
    async (port) => `
      ${replaced(doc.snippet('sticky'), [
        ['127.0.0.1:4000', `127.0.0.1:${gateways[0].port}`],
        ['127.0.0.1:4001', `127.0.0.1:${gateways[1].port}`],
      ])}
      server { listen 127.0.0.1:${await port('http')}; location / { proxy_pass http://idae_socket; } }`,
  );
  const socket = await connected(t, { url: `http://127.0.0.1:${ports.http}` }, { transports: ['polling'] });
  await subscribe(socket, 'r');
  const arrived = next(socket, 'x');
  const answers = [];
  for (const gateway of gateways) answers.push(await gateway.publish('x', { id: 'one', rooms: 'r', payload: 1 }));
  assert.deepEqual(answers.map(({ sockets }) => sockets).sort(), [0, 1]);
  assert.equal((await arrived)[0].payload, 1);
});
