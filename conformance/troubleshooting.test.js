// The mistakes of docs/troubleshooting.md are made, and what comes is held against what the
// document quotes.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { connect } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import { certificate, startNginx } from './deploy/nginx.js';
import { launchChromium } from './harness/chromium.js';
import { Document } from './examples/documents.js';
import { eventually, next, within } from './harness/events.js';
import {
  Program,
  better,
  cleanEnvironment,
  freePort,
  onReference,
  runGateway,
  startGateway,
} from './harness/gateway.js';
import { Polling, ask, client, connected, subscribe } from './harness/sessions.js';

const doc = new Document('docs/troubleshooting.md');
const binary = resolve(fileURLToPath(new URL('.', import.meta.url)), process.env.IDAE_SOCKET_BIN ?? '../target/conformance/idae-socket');

const KEY = 'a-publish-key-of-some-length';
const SECRET = 'a-secret-of-32-bytes-and-a-bit-more';
const JSON_TYPE = ['-H', 'content-type: application/json'];
const bearer = (key) => ['-H', `authorization: Bearer ${key}`];
const body = (value) => ['-d', typeof value === 'string' ? value : JSON.stringify(value)];

/** What a command prints, whatever its exit code. */
function printed(program, args) {
  return new Promise((settle) => {
    execFile(program, args, { env: cleanEnvironment({ LC_ALL: 'C' }), timeout: 20_000 }, (_, stdout, stderr) =>
      settle(stdout + stderr),
    );
  });
}
const curl = (...args) => printed('curl', ['--silent', '--show-error', '--noproxy', '*', ...args]);

/** The same text with the ports and places of the document. */
const asWritten = (text, port, documented = 4000) => text.replaceAll(String(port), String(documented));

/** A test for each quotation, with what provokes it. */
function mistakes(cases) {
  for (const [name, provoke] of Object.entries(cases)) {
    test(name, async (t) => {
      const came = await provoke(t);
      if (came !== undefined) doc.quotes(name, typeof came === 'string' ? came : JSON.stringify(came));
    });
  }
}

/** A gateway for a group of mistakes; `get()` is it. */
function gatewayFor(options) {
  let gateway;
  before(async () => {
    gateway = await startGateway(options);
  });
  after(() => gateway?.end());
  return () => gateway;
}

after(() => onReference || doc.assertAllAsked());

describe('it does not start', better, () => {
  /** The last line of a start that fails. */
  const start = async ({ args = [], port = 0, ...options }) => {
    const { code, stderr } = await runGateway({ ...options, args: ['--port', String(port), ...args], waitMs: 5000 });
    assert.notEqual(code, 0, stderr);
    const from = stderr.lastIndexOf('idae-socket: ');
    return stderr.slice(from).replaceAll(/\/\S*gateway\.toml/g, 'idae-socket.toml');
  };
  const jwt = (secret) => ({ IDAE_SOCKET_AUTH_STRATEGY: 'jwt', ...(secret && { IDAE_SOCKET_JWT_SECRET: secret }) });

  mistakes({
    'port-taken': async (t) => {
      const first = await startGateway();
      t.after(() => first.end());
      return asWritten(await start({ port: first.port }), first.port);
    },
    'unknown-key': () => start({ config: 'port = 4000\n[socket]\ncors_origin = "https://app.example.com"\n' }),
    'unknown-variable': () => start({ env: { IDAE_SOCKET_PROT: '4001' } }),
    'list-as-json': () => start({ env: { IDAE_SOCKET_EVENTS: '["entity","data:*"]' } }),
    'quoted-number': async () => {
      const { stderr } = await runGateway({ args: ['check'], config: 'port = "4000"\n' });
      return stderr.replaceAll(/\/\S*gateway\.toml/g, 'idae-socket.toml');
    },
    'no-config': () => start({ args: ['--config', '/etc/idae-socket/idae-socket.toml'] }),
    'no-secret-file': () => start({ env: { IDAE_SOCKET_PUBLISH_KEY_FILE: '/run/secrets/publish_key' } }),
    'jwt-without-key': () => start({ env: jwt() }),
    'short-secret': () => start({ env: jwt('secret') }),
    'example-secret': () => start({ env: jwt('change-me-in-production') }),
    'open-to-all': () => start({ args: ['--host', '0.0.0.0'] }),
    'origin-slash': () => start({ env: { IDAE_SOCKET_CORS_ORIGIN: 'https://app.example.com/' } }),
    'origin-bare': () => start({ env: { IDAE_SOCKET_CORS_ORIGIN: 'app.example.com' } }),
  });
});

describe('publishing', better, () => {
  const plain = gatewayFor({ config: 'events = ["entity", "db-change"]\n' });
  const keyed = gatewayFor({
    config: `
      [publish]
      key = "${KEY}"
      [[publish.keys]]
      name = "tenant"
      key = "${KEY}-of-a-tenant"
      rooms = ["tenant:*"]
    `,
  });
  const url = (path = '/db-change') => `http://localhost:${plain().port}${path}`;
  const post = (...args) => curl(...args, ...JSON_TYPE, url());
  const postWithKey = (value, ...headers) =>
    curl(...body(value), ...JSON_TYPE, ...headers, `http://localhost:${keyed().port}/db-change`);
  const good = { rooms: ['admin'], payload: 1 };
  const ofTenant = bearer(`${KEY}-of-a-tenant`);

  mistakes({
    'wrong-port': async () => {
      const port = await freePort();
      return asWritten(await curl(...body(good), ...JSON_TYPE, `http://localhost:${port}/db-change`), port, 4001);
    },
    'wrong-port-command': async () => {
      const port = await freePort();
      const args = ['publish', 'db-change', '--room', 'admin', '1', '--url', `http://127.0.0.1:${port}`];
      return asWritten(await printed(binary, args), port, 4001);
    },
    'https-to-http': () => curl(`https://localhost:${plain().port}/`),
    'content-type': () => curl(...body(good), url()),
    'no-quotes': () => post(...body('{rooms:[admin],payload:1}'.replace('{r', 'r'))),
    'single-quotes': () => post(...body("{'rooms':['admin'],'payload':1}")),
    'misspelt-field': () => post(...body({ room: 'admin', payload: 1 })),
    'data-beside-payload': () => post(...body({ rooms: ['admin'], entity: 'users', action: 'update' })),
    'no-target': () => post(...body({ payload: 1 })),
    'event-not-exposed': () => curl(...body(good), ...JSON_TYPE, url('/entty')),
    'event-character': () => curl(...body(good), ...JSON_TYPE, url('/db%20change')),
    'get-event': () => curl(url()),
    'page-publishes': () => post('-H', 'origin: http://localhost:5173', ...body(good)),
    'other-machine': async (t) => {
      const own = Object.values(networkInterfaces())
        .flat()
        .find((address) => address.family === 'IPv4' && !address.internal);
      if (!own) {
        doc.snippet('other-machine');
        t.diagnostic('this machine has no other address: nothing to check');
        return undefined;
      }
      const open = new Program(binary, ['--host', '0.0.0.0', '--port', '0', '--set', 'auth.insecure=true']);
      t.after(() => open.end());
      const [, port] = await open.logged(/listens on http:\/\/0\.0\.0\.0:(\d+)/);
      return curl(...body(good), ...JSON_TYPE, `http://${own.address}:${port}/db-change`);
    },
    'through-proxy': () => post('-H', 'x-forwarded-for: 192.0.2.1', ...body(good)),
    'no-key': () => postWithKey(good),
    'wrong-key': () => postWithKey(good, ...bearer('another-key-of-some-length')),
    'key-rooms': () => postWithKey({ ...good, rooms: ['tenant:1', 'admin'] }, ...ofTenant),
    'key-broadcast': () => postWithKey({ broadcast: true, payload: 1 }, ...ofTenant),
    'too-large': async () => (await plain().post('/db-change', { ...good, payload: 'x'.repeat(300_000) })).text,
    'publish-namespace': () => post(...body({ ...good, namespace: '/shop' })),
  });

  test('a key without `Bearer`, and one in the query, are none', async () => {
    for (const [more, query] of [[['-H', `authorization: ${KEY}`], ''], [[], `?key=${KEY}`]]) {
      const address = `http://localhost:${keyed().port}/db-change${query}`;
      doc.quotes('no-key', await curl(...body(good), ...JSON_TYPE, ...more, address));
    }
    assert.match(await postWithKey(good, ...bearer(KEY)), /"status":"ok"/);
  });
});

/** Why a stock client does not connect. */
async function refusal(t, url, options = {}) {
  const socket = client(t, { url }, options);
  const refused = next(socket, 'connect_error');
  socket.connect();
  const [error] = await refused;
  return error;
}

describe('connecting', better, () => {
  const gateway = gatewayFor();
  const polling = (path = '/socket.io/', query = 'EIO=4&transport=polling') => `${gateway().url}${path}?${query}`;

  mistakes({
    'client-wrong-port': async (t) => (await refusal(t, `http://localhost:${await freePort()}`)).message,
    'client-wrong-port-websocket': async (t) =>
      (await refusal(t, `http://localhost:${await freePort()}`, { transports: ['websocket'] })).message,
    'client-wrong-path': async (t) => {
      assert.equal((await refusal(t, gateway().url, { path: '/ws/' })).message, 'xhr poll error');
      return curl(polling('/ws/'));
    },
    'client-namespace': async (t) => (await refusal(t, `${gateway().url}/shop`)).message,
    'plain-websocket': async () => {
      const socket = new WebSocket(`ws://localhost:${gateway().port}`);
      return (await next(socket, 'error'))[0].message;
    },
    'old-client': () => curl(polling('/socket.io/', 'EIO=3&transport=polling')),
    'other-origin': () => curl('-H', 'origin: http://app.example.com', polling()),
    'localhost-ipv6': async (t) => {
      const open = async (host) => {
        const program = new Program(binary, ['--host', host, '--port', '0', '--set', 'auth.insecure=true']);
        t.after(() => program.end());
        const [, port] = await program.logged(/listens on http:\/\/\S+:(\d+)\s/);
        return port;
      };
      // The cure: both kinds of address.
      for (const port of [await open('localhost'), await open('::')]) {
        for (const address of ['127.0.0.1', '[::1]']) {
          assert.equal(await curl('-g', `http://${address}:${port}/livez`), 'ok\n');
        }
      }
      const port = await open('0.0.0.0');
      assert.equal(await curl(`http://127.0.0.1:${port}/livez`), 'ok\n');
      return asWritten(await curl('-g', `http://[::1]:${port}/livez`), port);
    },
  });

  test('the cure for a client that does not connect', async () => {
    const command = asWritten(doc.snippet('handshake'), 4000, gateway().port);
    assert.match(await printed('bash', ['-c', command]), /0\{"sid":/);
  });
});

describe('in a browser', better, () => {
  const gateway = gatewayFor();
  const servers = [];
  let browser;
  let tls;
  before(async () => {
    browser = await launchChromium({ hosts: ['app.example.com', 'gateway.example.com'] });
    tls = certificate();
    const page = (request, response) => {
      response.setHeader('content-type', 'text/html');
      response.end('<!doctype html><title>page</title>');
    };
    servers.push(createServer(page), createSecureServer({ key: tls.keyPem, cert: tls.pem }, page));
    for (const server of servers) await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  });
  after(async () => {
    await browser?.close();
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
    if (tls) rmSync(tls.folder, { recursive: true });
  });

  /** What the console of the browser shows while a page of this origin runs `code`. */
  async function console_(t, origin, code, argument) {
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    t.after(() => context.close());
    const page = await context.newPage();
    const lines = [];
    page.on('console', (line) => lines.push(line.text()));
    await page.goto(`${origin}/`);
    await page.evaluate(code, argument);
    await eventually(() => lines.length > 0, 'the browser to say something');
    return lines[0];
  }
  const port = (n) => servers[n].address().port;
  const load = (address) => fetch(address).catch(() => {});
  /** A page without the client's bundle makes the request that the client would make. */
  const handshake = (host) => `http://${host}:${gateway().port}/socket.io/?EIO=4&transport=polling`;

  mistakes({
    'page-publishes-console': async (t) => {
      const publish = (address) =>
        fetch(address, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' }).catch(() => {});
      const said = await console_(t, `http://localhost:${port(0)}`, publish, `http://localhost:${gateway().port}/db-change`);
      return asWritten(asWritten(said, gateway().port), port(0), 5173);
    },
    'other-origin-console': async (t) =>
      asWritten(await console_(t, `http://app.example.com:${port(0)}`, load, handshake('localhost')), gateway().port),
    'mixed-content': async (t) => {
      const said = await console_(t, `https://localhost:${port(1)}`, load, handshake('gateway.example.com'));
      return asWritten(said, gateway().port);
    },
  });
});

describe('tokens', better, () => {
  const gateway = gatewayFor({
    config: `
      [auth]
      strategy = "jwt"
      jwt_secret = "${SECRET}"
      issuer = "https://id.example.com/"
      audience = "my-app"
    `,
  });
  const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = () => Math.floor(Date.now() / 1000);
  const token = (claims = {}, { secret = SECRET, alg = 'HS256' } = {}) => {
    const all = { sub: '42', iss: 'https://id.example.com/', aud: 'my-app', exp: now() + 3600, ...claims };
    const signed = `${base64({ alg, typ: 'JWT' })}.${base64(all)}`;
    return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
  };
  const refused = async (t, auth, more = {}) => {
    const { message, data } = await refusal(t, gateway().url, { auth, ...more });
    return { message, data };
  };

  mistakes({
    'token-missing': async (t) => {
      doc.quotes('token-missing', JSON.stringify(await refused(t, {}, { query: { token: token() } })));
      return refused(t, {});
    },
    'token-malformed': (t) => refused(t, { token: `Bearer ${undefined}` }),
    'token-expired': (t) => refused(t, { token: token({ exp: now() - 60 }) }),
    'token-early': (t) => refused(t, { token: token({ nbf: now() + 600 }) }),
    'token-signature': (t) => refused(t, { token: token({}, { secret: `${SECRET}\n` }) }),
    'token-algorithm': (t) => refused(t, { token: token({}, { alg: 'RS256' }) }),
    'token-issuer': (t) => refused(t, { token: token({ iss: 'https://id.example.com' }) }),
    'token-audience': (t) => refused(t, { token: token({ aud: 'another-app' }) }),
    'token-ended': async (t) => {
      // Half a minute is forgiven: a few seconds of it are left.
      const socket = await connected(t, gateway(), { auth: { token: token({ exp: now() - 26 }) } });
      const [ended, gone] = [next(socket, 'token:expired', 15_000), next(socket, 'disconnect', 15_000)];
      assert.deepEqual(await ended, [{ code: 'token_expired' }]);
      return (await gone)[0];
    },
    'room-forbidden': async (t) =>
      ask(await connected(t, gateway(), { auth: { token: token() } }), 'subscribe', 'admin'),
  });

  test('the cures: a token that is good, and one with the role', async (t) => {
    const socket = await connected(t, gateway(), { auth: { token: token({ role: 'admin' }) } });
    assert.deepEqual((await ask(socket, 'token:info')).rooms, ['admin']);
  });
});

describe('connected, but nothing arrives', better, () => {
  const gateway = gatewayFor({ config: 'events = ["db-change", "invoice:*"]\n' });
  const publish = async (event, value) => (await gateway().post(`/${event}`, value)).text;

  mistakes({
    'nobody-there': async (t) => {
      const socket = await connected(t, gateway());
      await subscribe(socket, 'Admin');
      // Nobody has proved to be a user here.
      doc.quotes('nobody-there', await publish('db-change', { users: '42', payload: 1 }));
      return publish('db-change', { rooms: 'admin', payload: 1 });
    },
    'room-invalid': async (t) => {
      const socket = await connected(t, gateway());
      doc.quotes('room-invalid', JSON.stringify(await ask(socket, 'subscribe', { room: 'admin' })));
      return ask(socket, 'subscribe', 7);
    },
    envelope: async (t) => {
      const socket = await connected(t, gateway());
      await subscribe(socket, 'admin');
      const arrived = next(socket, 'db-change');
      await publish('db-change', { rooms: ['admin'], payload: { id: 123 } });
      return (await arrived)[0];
    },
    'same-id': async (t) => {
      const socket = await connected(t, gateway());
      await subscribe(socket, 'invoices');
      const heard = [];
      socket.onAny((event, { payload }) => heard.push(payload));
      const answers = [];
      for (const payload of ['sent', 'paid']) {
        answers.push(await publish('invoice:change', { id: 'invoice-17', rooms: 'invoices', payload }));
      }
      const last = next(socket, 'db-change');
      await publish('db-change', { rooms: 'invoices', payload: 'end' });
      await last;
      assert.deepEqual(heard, ['sent', 'end']);
      return answers.join('\n');
    },
    'client-emits': async (t) => {
      const [one, other] = [await connected(t, gateway()), await connected(t, gateway())];
      await subscribe(other, 'admin');
      const heard = [];
      other.onAny((event, { payload }) => heard.push(payload));
      const answer = await ask(one, 'db-change', { rooms: ['admin'], payload: 1 });
      const last = next(other, 'db-change');
      await publish('db-change', { rooms: 'admin', payload: 'end' });
      await last;
      assert.deepEqual(heard, ['end']);
      return answer;
    },
    'unknown-event': async (t) => ask(await connected(t, gateway()), 'join', 'admin'),
    'two-arguments': async (t) => {
      const listen = async (recovery) => {
        const socket = await connected(t, gateway(), { auth: { recovery } });
        await subscribe(socket, 'admin');
        const arrived = next(socket, 'db-change');
        await publish('db-change', { rooms: ['admin'], payload: 1 });
        const args = await arrived;
        socket.disconnect();
        return args;
      };
      assert.equal((await listen(false)).length, 1);
      return listen(true);
    },
  });
});

describe('proxies', better, () => {
  const gateway = gatewayFor({
    config: 'trusted_proxies = ["127.0.0.1"]\n[socket]\nping_interval_ms = 1500\n',
  });
  const unaware = gatewayFor({ config: '[socket]\nconnections_per_address_max = 2\n' });
  const other = gatewayFor();
  const UPGRADE = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;';
  /** nginx with one location for everything. */
  const proxy = async (t, location, upstream) => {
    const { ports } = await startNginx(
      t,
      async (port) => `
        upstream gateways { ${upstream ?? `server 127.0.0.1:${gateway().port};`} }
        server { listen 127.0.0.1:${await port('http')}; location / { proxy_pass http://gateways; ${location} } }`,
    );
    return { host: '127.0.0.1', port: ports.http, url: `http://127.0.0.1:${ports.http}` };
  };

  mistakes({
    'no-upgrade': async (t) => {
      const { url } = await proxy(t, '');
      assert.equal((await refusal(t, url, { transports: ['websocket'] })).message, 'websocket error');
      const headers = ['connection: upgrade', 'upgrade: websocket', 'sec-websocket-version: 13', 'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=='];
      return curl(...headers.flatMap((header) => ['-H', header]), `${url}/socket.io/?EIO=4&transport=websocket`);
    },
    'proxy-timeout': async (t) => {
      // As a proxy with a minute and a heartbeat that is slower than that.
      const server = await proxy(t, `${UPGRADE} proxy_read_timeout 1s;`);
      const socket = await connected(t, server, { transports: ['websocket'] });
      return (await next(socket, 'disconnect'))[0];
    },
    'two-gateways': async (t) => {
      const both = `server 127.0.0.1:${gateway().port}; server 127.0.0.1:${other().port};`;
      const session = await Polling.open(await proxy(t, '', both));
      return (await session.post('40')).text;
    },
    'proxy-too-large': async (t) => {
      const { url } = await proxy(t, '');
      const answer = await fetch(`${url}/v1/events`, { method: 'POST', body: 'x'.repeat(1_100_000) });
      assert.equal(answer.status, 413);
      return answer.text();
    },
    'open-files': async (t) => {
      const few = new Program('prlimit', ['--nofile=64', binary, '--port', '0']);
      t.after(() => few.end());
      const [, port] = await few.logged(/http:\/\/127\.0\.0\.1:(\d+)/);
      const sockets = Array.from({ length: 64 }, () => connect(Number(port), '127.0.0.1').on('error', () => {}));
      t.after(() => sockets.forEach((socket) => socket.destroy()));
      const [line] = await few.logged(/\{.*Too many open files.*\}/);
      return line;
    },
    'too-many-sessions': async (t) => {
      const server = await proxy(t, 'proxy_set_header X-Forwarded-For $remote_addr;', `server 127.0.0.1:${unaware().port};`);
      await Polling.open(server);
      await Polling.open(server);
      const third = await fetch(`${server.url}/socket.io/?EIO=4&transport=polling`);
      assert.equal(third.status, 403);
      return third.text();
    },
  });
});

test('questions', better, async (t) => {
  const gateway = await startGateway();
  t.after(() => gateway.end());
  const folder = mkdtempSync(join(tmpdir(), 'idae-socket-questions-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const questions = asWritten(doc.snippet('questions'), 4000, gateway.port).split('\n');
  assert.equal(questions.length, 4);
  const env = { PATH: `${dirname(binary)}:${process.env.PATH}`, IDAE_SOCKET_URL: gateway.url };
  const ran = async (line) => {
    const program = new Program('bash', ['-c', `exec ${line}`], { env });
    t.after(() => program.killNow());
    return program;
  };
  const ready = await ran(questions[0]);
  await within(ready.exited, 'the answer to curl');
  assert.match(ready.stdout, /^ok/);
  const check = await ran(questions[1]);
  assert.deepEqual(await check.exited, { code: 0, signal: null });
  assert.match(check.stdout, /^port +4000 +\(default\)/m);
  const listen = await ran(questions[2]);
  await listen.logged(/listening to admin/);
  const publish = await ran(questions[3]);
  assert.deepEqual(await publish.exited, { code: 0, signal: null });
  assert.match(publish.logs, /\b1 socket/);
  await listen.logged(/db-change/);
});
