// The sub-command that measures: with a gateway of its own, and with one that runs.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { describe, test } from 'node:test';
import { WebSocketServer } from 'ws';
import { freePort, runGateway, startGateway } from './harness/gateway.js';

const KEY = 'a-key-for-the-bench-that-is-long-enough';

/** Small and short: not the figures are under test but that they are there and fit. */
async function bench(...args) {
  const run = await runGateway({ args: ['bench', '--sockets', '20', '--seconds', '1', ...args] });
  assert.equal(run.code, 0, run.logs);
  return run;
}

describe('a gateway of its own', () => {
  test('every phase, as JSON', async () => {
    const report = JSON.parse((await bench('--json')).stdout);
    assert.equal(report.sockets, 20);
    assert.equal(report.payload_bytes, 200);
    assert.ok(report.connect.per_s > 0 && report.connect.cpu_us_per_socket > 0 && report.connect.bytes_per_socket > 0);
    assert.deepEqual(report.phases.map(({ name }) => name), ['paced', 'offered', 'targeted', 'mixed', 'idle']);
    for (const { name, posts, expected, received, p50_us: p50, p99_us: p99, max_us: max, unit } of report.phases) {
      assert.equal(received, expected, `${name}: nothing is lost`);
      if (name === 'idle') continue;
      assert.ok(posts > 0, name);
      assert.ok(p50 > 0 && p50 <= p99 && p99 <= max, `${name}: ${p50}, ${p99}, ${max}`);
      if (unit === 'delivery') assert.equal(expected, posts * 20, name);
      if (unit === 'POST') assert.equal(expected, posts, name);
    }
  });

  test('some phases, as a table', async () => {
    const { stdout } = await bench('--only', 'targeted,idle', '--size', '1000');
    assert.match(stdout, /20 sockets, payloads of 1,?000 bytes/);
    assert.match(stdout, /^connect +\d+ sockets\/s/m);
    assert.match(stdout, /^targeted +\d+ +\d+ .*µs\/POST/m);
    assert.match(stdout, /^idle /m);
    assert.doesNotMatch(stdout, /^(paced|offered|mixed)/m);
  });
});

describe('a gateway that runs', () => {
  test('with its key', async (t) => {
    const gateway = await startGateway({ config: `[publish]\nkey = "${KEY}"\n` });
    t.after(() => gateway.end());
    const { stdout } = await bench('--url', gateway.url, '--key', KEY, '--only', 'paced', '--json');
    const [paced] = JSON.parse(stdout).phases;
    assert.ok(paced.received > 0);
    assert.equal(paced.received, paced.expected);
  });

  test('without its key it says why', async (t) => {
    const gateway = await startGateway({ config: `[publish]\nkey = "${KEY}"\n` });
    t.after(() => gateway.end());
    const run = await runGateway({ args: ['bench', '--url', gateway.url, '--sockets', '2', '--seconds', '1'] });
    assert.notEqual(run.code, 0);
    assert.match(run.logs, /key/);
  });

  test('where there is none it says so', async () => {
    const run = await runGateway({ args: ['bench', '--url', `http://127.0.0.1:${await freePort()}`, '--sockets', '2', '--seconds', '1'] });
    assert.equal(run.code, 3);
    assert.match(run.stderr, /cannot reach http:\/\/127\.0\.0\.1:\d+: .*\nhelp: is the gateway running\?/);
  });

  test('a room that the sockets may not join is a sentence', async (t) => {
    const env = { IDAE_SOCKET_AUTH_STRATEGY: 'jwt', IDAE_SOCKET_JWT_SECRET: KEY };
    const gateway = await startGateway({ env });
    t.after(() => gateway.end());
    const { stdout: token } = await runGateway({ args: ['token', '--sub', '42'], env });
    const args = ['bench', '--url', gateway.url, '--sockets', '2', '--seconds', '1'];
    for (const [more, reason] of [[[], /a token is needed.*\(token_missing\); give one/], [['--token', token.trim()], /\(room_forbidden\); --token must/]]) {
      const { code, stderr } = await runGateway({ args: [...args, ...more] });
      assert.equal(code, 1);
      assert.match(stderr, reason);
      assert.doesNotMatch(stderr, /"status"|"message"/);
    }
  });
});

test('a server that knows WebSockets and no Socket.IO, which `bench/` in the repository measures', async (t) => {
  const [socketPath, publishPath] = ['/socket?rooms=bench:all,bench:{socket}', '/publish?room={room}'];
  const sockets = [];
  const server = createServer((request, response) => {
    const room = new URL(request.url, 'http://plain').searchParams.get('room');
    const members = sockets.filter(({ rooms }) => rooms.includes(room));
    request.on('data', (payload) => {
      for (const { socket } of members) socket.send(String(payload));
      response.end();
    });
  });
  new WebSocketServer({ server }).on('connection', (socket, request) => {
    sockets.push({ socket, rooms: new URL(request.url, 'http://plain').searchParams.get('rooms').split(',') });
  });
  t.after(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${server.address().port}`;
  const { stdout } = await bench('--url', url, '--plain', socketPath, '--publish-path', publishPath, '--only', 'paced,mixed', '--json');
  const [paced, mixed] = JSON.parse(stdout).phases;
  assert.equal(new Set(sockets.map(({ rooms: [, own] }) => own)).size, 20);
  assert.equal(paced.received, paced.posts * 20);
  assert.equal(mixed.received, mixed.posts);
  assert.ok(paced.received_in_s > 0);
});

test('arguments that make no sense are refused', async () => {
  for (const args of [['--sockets', '0'], ['--seconds', '0'], ['--only', 'nothing'], ['--size', 'x'], ['--url', 'nonsense']]) {
    const run = await runGateway({ args: ['bench', ...args] });
    assert.notEqual(run.code, 0, args.join(' '));
    assert.match(run.logs, /error/i, args.join(' '));
  }
});
