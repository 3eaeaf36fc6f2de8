// The configuration of deploy/nginx in a real nginx, with TLS.

import assert from 'node:assert/strict';
import { Agent, request as httpsRequest } from 'node:https';
import { after, before, describe, test } from 'node:test';
import { collect, eventually, next, sleep, within } from '../harness/events.js';
import { startGateway } from '../harness/gateway.js';
import { ask, client, connectNow, subscribe } from '../harness/sessions.js';
import { deployed, startDeployed, withoutUpgrade } from './nginx.js';

const KEY = 'a-publish-key-of-the-proxy-tests';
const BODY = { rooms: 'proxied', payload: { n: 1 } };

/** One request through the proxy; `write` may send the body bit by bit. */
function ask443(url, { method = 'GET', path = '/', headers = {}, body = '', agent }) {
  const answered = new Promise((resolve, reject) => {
    const request = httpsRequest(`${url}${path}`, { method, headers, agent }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text }));
    });
    request.on('error', reject);
    request.end(body);
  });
  return within(answered, `${method} ${path}`);
}

/** What is running for one description of a gateway: itself, nginx in front, and a key ring. */
function behindNginx(options, change) {
  const running = { cleanups: [] };
  const scope = { after: (cleanup) => running.cleanups.unshift(cleanup) };
  before(async () => {
    running.gateway = await startGateway(options);
    scope.after(() => running.gateway.end());
    Object.assign(running, await startDeployed(scope, running.gateway, { change }));
    running.agent = new Agent({ ca: running.tls.pem });
    running.post = (path, body, headers = {}) =>
      ask443(running.url, {
        method: 'POST',
        path,
        agent: running.agent,
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
      });
  });
  after(async () => {
    running.agent?.destroy();
    for (const cleanup of running.cleanups) await cleanup();
  });
  running.client = (t, more = {}) => client(t, running, { agent: running.agent, ca: running.tls.pem, ...more });
  return running;
}

const bearer = { authorization: `Bearer ${KEY}` };

describe('clients', () => {
  const all = behindNginx({
    config: `trusted_proxies = ["127.0.0.1"]\n[publish]\nkey = "${KEY}"\n[socket]\nping_interval_ms = 2000\n`,
  });

  for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
    test(`${transports.join(', then ')}: connects, joins, hears`, async (t) => {
      const socket = all.client(t, { transports });
      const upgraded = transports.length > 1 ? next(socket.io, 'open').then(() => next(socket.io.engine, 'upgrade')) : null;
      await connectNow(socket);
      await upgraded;
      assert.equal(socket.io.engine.transport.name, transports.at(-1));
      await subscribe(socket, 'proxied');
      const arrived = next(socket, 'db-change');
      const answer = await all.post('/db-change', BODY, bearer);
      assert.equal(answer.status, 200, answer.text);
      assert.equal((await arrived)[0].payload.n, 1);
    });
  }

  test('a poll that waits is answered by the gateway and not cut by nginx', async (t) => {
    const socket = all.client(t, { transports: ['polling'] });
    await connectNow(socket);
    const id = socket.id;
    const lost = collect(socket, 'disconnect');
    const pings = collect(socket.io, 'ping');
    // Two heartbeats: each poll in between hung for two seconds.
    await pings.take(2, 10_000);
    assert.deepEqual([socket.connected, socket.id, lost.seen], [true, id, []]);
  });

  test('silence is healthy for longer than a heartbeat takes', async () => {
    const config = deployed('nginx/idae-socket.conf');
    const seconds = Number(/location \/socket\.io\/ \{[^}]*proxy_read_timeout (\d+)s;/s.exec(config)[1]);
    assert.ok(seconds > 25 + 20, `proxy_read_timeout is ${seconds} s`);
  });

  test('http leads to https', async () => {
    const response = await fetch(`${all.plain}/socket.io/?EIO=4`, { redirect: 'manual' });
    assert.equal(response.status, 308);
    assert.equal(response.headers.get('location'), 'https://127.0.0.1/socket.io/?EIO=4');
  });
});

describe('publishing through nginx, without a key in the configuration', () => {
  const all = behindNginx({ config: 'trusted_proxies = ["127.0.0.1"]\n' });

  test('is refused: nginx is no program that may', async () => {
    const answer = await all.post('/db-change', BODY);
    assert.equal(answer.status, 403);
    assert.equal(JSON.parse(answer.text).code, 'not_loopback');
  });
});

describe('publishing through nginx, with keys', () => {
  const all = behindNginx({ config: `trusted_proxies = ["127.0.0.1"]\n[publish]\nkey = "${KEY}"\n` });

  test('needs one', async () => {
    const answer = await all.post('/db-change', BODY);
    assert.equal(answer.status, 401);
    assert.equal(JSON.parse(answer.text).code, 'unauthorized');
    assert.match(answer.headers['www-authenticate'], /^Bearer/);
  });

  test('works with one, batches too', async () => {
    assert.equal((await all.post('/db-change', BODY, bearer)).status, 200);
    const batch = await all.post('/v1/events', [{ event: 'a', ...BODY }, { event: 'b', ...BODY }], bearer);
    assert.equal(batch.status, 200, batch.text);
    assert.equal(JSON.parse(batch.text).length, 2);
  });

  test('a batch may be as large as the gateway takes it', async () => {
    const item = { event: 'a', rooms: 'proxied', payload: 'x'.repeat(200_000) };
    const answer = await all.post('/v1/events', Array(15).fill(item), bearer);
    assert.equal(answer.status, 200, answer.text.slice(0, 300));
  });

  test('a stream is answered line by line while it is open', async () => {
    let heard = '';
    const ended = new Promise((resolve, reject) => {
      const request = httpsRequest(
        `${all.url}/v1/events`,
        { method: 'POST', agent: all.agent, headers: { 'content-type': 'application/x-ndjson', ...bearer } },
        (response) => {
          response.setEncoding('utf8');
          response.on('data', (text) => (heard += text));
          response.on('end', () => resolve(response.statusCode));
        },
      );
      request.on('error', reject);
      const lines = async () => {
        for (let n = 1; n <= 3; n += 1) {
          request.write(`${JSON.stringify({ event: 'a', rooms: 'proxied', payload: n })}\n`);
          await eventually(() => heard.split('\n').length > n, `the answer to line ${n}`);
        }
        request.end();
      };
      lines().catch(reject);
    });
    assert.equal(await within(ended, 'the end of the stream'), 200);
  });

  for (const path of ['/', '/metrics', '/readyz', '/livez', '/db-change', '/v1/events']) {
    test(`GET ${path} is nothing for the world`, async () => {
      const answer = await ask443(all.url, { path, agent: all.agent });
      assert.equal(answer.status, 403);
      assert.doesNotMatch(answer.text, /idae-socket/);
    });
  }
});

describe('the address of a client', () => {
  const all = behindNginx({
    config: `
      trusted_proxies = ["127.0.0.1"]
      [auth]
      strategy = "jwt"
      jwt_secret = "a-secret-of-32-bytes-and-a-bit-more"
      [socket]
      connections_per_address_max = 2
    `,
  });
  const from = (address) => new Agent({ ca: all.tls.pem, localAddress: address });
  const openings = (address, headers) => {
    const agent = from(address);
    return ask443(all.url, { path: '/socket.io/?EIO=4&transport=polling', agent, headers }).finally(() => agent.destroy());
  };

  test('is the one that nginx saw: limits count it, and what the client says does not', async () => {
    for (const said of ['192.0.2.1', '192.0.2.2']) {
      assert.equal((await openings('127.0.0.2', { 'x-forwarded-for': said })).status, 200);
    }
    const third = await openings('127.0.0.2', { 'x-forwarded-for': '192.0.2.3' });
    assert.deepEqual([third.status, JSON.parse(third.text).code], [403, 4]);
    assert.match(third.text, /Too many sessions/);
    // Somebody else is not concerned.
    assert.equal((await openings('127.0.0.3')).status, 200);
  });

  test('is in the log', async (t) => {
    const agent = from('127.0.0.4');
    t.after(() => agent.destroy());
    const socket = all.client(t, { transports: ['websocket'], agent });
    const refused = next(socket, 'connect_error');
    socket.connect();
    assert.equal((await refused)[0].data.code, 'token_missing');
    await all.gateway.logged(/"a client was not let in","remote":"127\.0\.0\.4"/);
  });
});

describe('nginx without the upgrade headers', () => {
  const all = behindNginx({ config: `trusted_proxies = ["127.0.0.1"]\n[publish]\nkey = "${KEY}"\n` }, withoutUpgrade);

  test('clients work all the same, over polling', async (t) => {
    const socket = all.client(t);
    await connectNow(socket);
    await subscribe(socket, 'proxied');
    // The upgrade is tried and fails; nothing is lost meanwhile.
    const events = collect(socket, 'db-change');
    for (let n = 1; n <= 5; n += 1) {
      assert.equal((await all.post('/db-change', { rooms: 'proxied', payload: n }, bearer)).status, 200);
      await sleep(20);
    }
    await events.take(5);
    assert.deepEqual(events.values.map(({ payload }) => payload), [1, 2, 3, 4, 5]);
    assert.equal(socket.io.engine.transport.name, 'polling');
    assert.deepEqual(await ask(socket, 'db-change', 1), { status: 'OK' });
  });

  test('a client that wants WebSockets alone does not connect', async (t) => {
    const socket = all.client(t, { transports: ['websocket'] });
    const refused = next(socket, 'connect_error');
    socket.connect();
    assert.equal((await refused)[0].message, 'websocket error');
  });
});
