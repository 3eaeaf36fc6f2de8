// The sub-commands that publish and listen.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { next, within } from '../harness/events.js';
import { freePort, runGateway, startGateway } from '../harness/gateway.js';
import { connected, subscribe } from '../harness/sessions.js';
import { assertReceipt, command } from './publishing.js';

async function gatewayFor(t, options) {
  const gateway = await startGateway(options);
  t.after(() => gateway.end());
  return gateway;
}

/** Runs `listen` and waits until it says that it has joined its rooms. */
async function listening(t, gateway, args, options) {
  const listener = command(t, ['listen', '--url', gateway.url, ...args], options);
  await listener.logged(/^listening\b/m);
  assert.match(listener.stderr, /^listening\b/m);
  assert.equal(listener.stdout, '', 'only events belong on stdout');
  return listener;
}

/** What `listen --json` printed: an object a line. */
const rows = (program) =>
  program.stdout
    .split('\n')
    .filter((row) => row)
    .map((row) => JSON.parse(row));

const ends = async (program, code) => {
  const ended = await within(program.exited, 'the end of the command');
  assert.deepEqual(ended, { code, signal: null }, program.logs);
};

describe('publish and listen', () => {
  test('what publish sends, listen prints', async (t) => {
    const gateway = await gatewayFor(t);
    const listener = await listening(t, gateway, ['--room', 'r', '--room', 's', '--json', '--count', '2']);
    const sent = await runGateway({
      args: ['publish', 'db-change', '--room', 'r', '--room', 'q', '--url', gateway.url, '{"entity":"users","id":123}'],
    });
    assert.equal(sent.code, 0, sent.logs);
    const piped = await runGateway({
      args: ['publish', 'component/refresh', '--room', 's', '--url', gateway.url, '-'],
      input: '{"from":"standard input","big":12345678901234567890,"n":1.0}\n',
    });
    assert.equal(piped.code, 0, piped.logs);

    await ends(listener, 0);
    assert.deepEqual(rows(listener), [
      { event: 'db-change', args: [{ payload: { entity: 'users', id: 123 }, rooms: ['r', 'q'] }] },
      {
        event: 'component/refresh',
        args: [{ payload: { from: 'standard input', big: 12345678901234567890, n: 1 }, rooms: ['s'] }],
      },
    ]);
    // Numbers keep their digits all the way.
    assert.match(listener.stdout, /"big":12345678901234567890,"n":1\.0\}/);
  });

  test('publish says who would get what reached nobody', async (t) => {
    const gateway = await gatewayFor(t);
    for (const [target, hint] of [
      [['--room', 'r'], /listen --room/],
      [['--user', '42'], /whom its token names/],
      [['--broadcast'], /nobody is connected; `idae-socket listen` would be/],
    ]) {
      const { code, stderr } = await runGateway({ args: ['publish', 'p', ...target, '--url', gateway.url, '1'] });
      assert.equal(code, 0);
      assert.match(stderr, hint);
    }
  });

  test('publish says how many it reached', async (t) => {
    const gateway = await gatewayFor(t);
    const socket = await connected(t, gateway, { transports: ['websocket'] });
    await subscribe(socket, 'r');
    const args = ['publish', 'p', '--room', 'r', '--url', gateway.url];
    const forPeople = await runGateway({ args: [...args, '1'] });
    assert.equal(forPeople.code, 0, forPeople.logs);
    assert.match(forPeople.stdout, /\b1 socket\b/);
    assert.doesNotMatch(forPeople.logs, /\x1b\[/, 'colours outside a terminal');
    const forScripts = await runGateway({ args: [...args, '--json', '1'] });
    assert.equal(forScripts.code, 0, forScripts.logs);
    assertReceipt(JSON.parse(forScripts.stdout), 1);
  });

  test('publish --id: a repeat is answered the same and emitted once', async (t) => {
    const gateway = await gatewayFor(t);
    const listener = await listening(t, gateway, ['--room', 'r', '--json', '--count', '2']);
    const publish = async (payload, ...more) => {
      const args = ['publish', 'p', '--room', 'r', '--url', gateway.url, '--json', ...more, payload];
      const { code, stdout, logs } = await runGateway({ args });
      assert.equal(code, 0, logs);
      return JSON.parse(stdout);
    };
    const first = await publish('1', '--id', 'once');
    assert.deepEqual(first, { status: 'ok', id: 'once', sockets: 1 });
    assert.deepEqual(await publish('1', '--id', 'once'), first);
    await publish('2');
    await ends(listener, 0);
    assert.deepEqual(rows(listener).map(({ args }) => args[0].payload), [1, 2]);
  });

  test('publish to a user, to everybody, to a namespace, to a room nobody is in', async (t) => {
    const gateway = await gatewayFor(t, { config: 'namespaces = ["/", "/shop"]\n' });
    const socket = await connected(t, gateway, { transports: ['websocket'] });
    const shopper = await connected(t, gateway, { transports: ['websocket'], namespace: '/shop' });
    for (const [receiver, target] of [
      [socket, ['--user', socket.id]],
      [socket, ['--user', 'nobody', '--user', socket.id]],
      [socket, ['--broadcast']],
      [shopper, ['--broadcast', '--namespace', '/shop']],
      [null, ['--room', 'empty']],
      [null, ['--user', 'nobody']],
    ]) {
      const arrived = receiver && next(receiver, 'hello');
      arrived?.catch(() => {});
      const args = ['publish', 'hello', ...target, '--url', gateway.url, '--json', '"hi"'];
      const { code, stdout, logs } = await runGateway({ args });
      assert.equal(code, 0, logs);
      assertReceipt(JSON.parse(stdout), receiver ? 1 : 0);
      // The last argument is the offset that the client remembers for its recovery.
      if (receiver) assert.deepEqual((await arrived).slice(0, -1), [{ payload: 'hi' }]);
    }
  });

  test('listen --event prints only those events', async (t) => {
    const gateway = await gatewayFor(t);
    const listener = await listening(t, gateway, [
      '--room', 'r', '--event', 'wanted', '--event', 'too', '--json', '--count', '2',
    ]);
    for (const event of ['other', 'wanted', 'wanted2', 'Wanted', 'too']) {
      await gateway.publish(event, { rooms: 'r', payload: event });
    }
    await ends(listener, 0);
    assert.deepEqual(rows(listener).map(({ event }) => event), ['wanted', 'too']);
  });

  test('listen without --json prints for a person', async (t) => {
    const gateway = await gatewayFor(t);
    const listener = await listening(t, gateway, ['--room', 'r', '--count', '1']);
    await gateway.publish('db-change', { rooms: 'r', payload: { text: 'é😀' } });
    await ends(listener, 0);
    assert.match(listener.stdout, /\bdb-change\b.*\{"payload":\{"text":"é😀"\}/);
    assert.doesNotMatch(listener.logs, /\x1b\[/, 'colours outside a terminal');
  });

  test('listen without a room hears what is sent to everybody', async (t) => {
    const gateway = await gatewayFor(t);
    const listener = await listening(t, gateway, ['--json', '--count', '1']);
    await gateway.publish('e', { rooms: 'r', payload: 'not this' });
    await gateway.publish('e', { broadcast: true, payload: 'this' });
    await ends(listener, 0);
    assert.deepEqual(rows(listener), [{ event: 'e', args: [{ payload: 'this' }] }]);
  });

  test('listen runs on until it is interrupted, which is no failure', async (t) => {
    const gateway = await gatewayFor(t);
    const listener = await listening(t, gateway, ['--room', 'r', '--json']);
    for (let n = 0; n < 3; n += 1) await gateway.publish('e', { rooms: 'r', payload: n });
    await listener.logged(/"payload":2/);
    assert.equal(listener.ended, null);
    listener.signal('SIGINT');
    await ends(listener, 0);
    assert.deepEqual(rows(listener).map(({ args }) => args[0].payload), [0, 1, 2]);
  });

  test('listen comes back to a gateway that was restarted', async (t) => {
    const first = await startGateway();
    t.after(() => first.killNow());
    const listener = await listening(t, first, ['--room', 'r', '--json', '--count', '1']);
    assert.equal(await first.stop(), 0);
    const second = await gatewayFor(t, { port: first.port });
    // It joins its room anew and says so again.
    await listener.logged(/^listening\b[\s\S]*^listening\b/m);
    assert.equal((await second.publish('back', { rooms: 'r', payload: 1 })).sockets, 1);
    await ends(listener, 0);
    assert.deepEqual(rows(listener).map(({ event }) => event), ['back']);
  });

  test('publish with a key', async (t) => {
    const key = 'command-key-0123456789abc';
    const gateway = await gatewayFor(t, { config: `[publish]\nkey = "${key}"\n` });
    const args = ['publish', 'p', '--room', 'r', '--url', gateway.url];
    const good = await runGateway({ args: [...args, '--key', key, '1'] });
    assert.equal(good.code, 0, good.logs);
    const fromEnvironment = await runGateway({ args: [...args, '1'], env: { IDAE_SOCKET_PUBLISH_KEY: key } });
    assert.equal(fromEnvironment.code, 0, fromEnvironment.logs);
    const without = await runGateway({ args: [...args, '1'] });
    assert.equal(without.code, 1, without.logs);
    assert.match(without.stderr, /key/i);
    const wrong = await runGateway({ args: [...args, '--key', 'wrong-key', '1'] });
    assert.equal(wrong.code, 1, wrong.logs);
    assert.match(wrong.stderr, /the key given with --key .* is none of the gateway's/);
    for (const { logs } of [good, fromEnvironment, without, wrong]) {
      assert.ok(!logs.includes(key) && !logs.includes('wrong-key'), `a key is printed: ${logs}`);
    }
  });

  test('publish and listen fail with a sentence and a code of their own', async (t) => {
    const gateway = await gatewayFor(t);
    const nobodyThere = `http://127.0.0.1:${await freePort()}`;
    // Refused by the gateway, wrong usage, not reachable.
    const [REFUSED, USAGE, UNREACHABLE] = [1, 2, 3];
    const cases = [
      [['publish', 'connect', '--room', 'r', '--url', gateway.url, '1'], REFUSED, /connect/],
      [['publish', 'p', '--url', gateway.url, '1'], REFUSED, /room|target/i],
      [['publish', 'p', '--room', 'r', '--url', gateway.url, '{broken'], USAGE, /JSON/i],
      [['publish', 'p', '--room', 'r', '--url', nobodyThere, '1'], UNREACHABLE, /127\.0\.0\.1/],
      [['publish', 'p', '--room', 'r', '--url', 'not a url', '1'], USAGE, /url/i],
      [['publish'], USAGE, /event/i],
      [['publish', 'p', '--room', 'r', '--url', gateway.url.replace('http', 'https'), '1'], UNREACHABLE, /no TLS is spoken there\nhelp: .*http:\/\//],
      [['listen', '--url', gateway.url.replace('http', 'https')], UNREACHABLE, /no TLS is spoken there\nhelp: .*http:\/\//],
      [['listen', '--url', `${gateway.url}/shop`], REFUSED, /HTTP 404: .*\/socket\.io\/.*\nhelp: --url has a path/],
      [['listen', '--room', '', '--url', gateway.url], REFUSED, /^error: .*name.*\(invalid_room\)\n$/],
      [['listen', '--room', 'r'.repeat(300), '--url', gateway.url], REFUSED, /^error: .*\(room_too_long\)\n$/],
      [['listen', '--namespace', '/nope', '--url', gateway.url], REFUSED, /namespace/i],
      [['listen', '--url', 'not a url'], USAGE, /url/i],
      [['listen', '--count', '0', '--url', gateway.url], USAGE, /count/],
    ];
    for (const [args, code, pattern] of cases) {
      const result = await runGateway({ args, waitMs: 10_000 });
      assert.equal(result.code, code, `${args.join(' ')}\n${result.logs}`);
      assert.match(result.stderr, pattern);
      assert.doesNotMatch(result.stderr, /panicked|\x1b\[/);
      assert.equal(result.stdout, '', args.join(' '));
    }
  });

  for (const name of ['publish', 'listen']) {
    test(`${name} --help shows an example`, async () => {
      const { code, stdout, logs } = await runGateway({ args: [name, '--help'] });
      assert.equal(code, 0, logs);
      assert.match(stdout, /example/i);
      // The usage line is one mention, the example is another.
      const mentions = stdout.match(new RegExp(`idae-socket ${name}\\b`, 'g')) ?? [];
      assert.ok(mentions.length >= 2, stdout);
      assert.match((await runGateway({ args: ['--help'] })).stdout, new RegExp(`^ +${name}\\b`, 'm'));
    });
  }
});
