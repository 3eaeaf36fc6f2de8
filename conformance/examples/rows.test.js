// examples/rows in a real browser: two pages, one changes a row, the other sees it; and what
// happens when the gateway is gone for a while.

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventually, within } from '../harness/events.js';
import { Program, freePort, startGateway } from '../harness/gateway.js';
import { launchChromium } from '../harness/chromium.js';

const example = fileURLToPath(new URL('../../examples/rows/', import.meta.url));
const WAIT_MS = 20_000;

/** Starts the backend and waits until it says where its page is. */
async function startBackend(folder, gatewayUrl, env = {}) {
  const program = new Program('python3', [join(example, 'backend.py')], {
    env: { PORT: '0', DATABASE: join(folder, 'rows.db'), GATEWAY: gatewayUrl, PUBLISH_KEY: '', ...env },
  });
  const [, url] = await program.logged(/the page: (http:\/\/localhost:\d+)/);
  return { program, url };
}

/** A line to the gateway that can be cut and mended. */
async function brittleLine(t, port) {
  let isCut = false;
  const open = new Set();
  const server = createServer((near) => {
    if (isCut) return near.destroy();
    const far = connect(port(), '127.0.0.1');
    for (const socket of [near, far]) {
      open.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        open.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far);
    far.pipe(near);
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  const cut = () => {
    isCut = true;
    for (const socket of open) socket.destroy();
  };
  t.after(() => {
    cut();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, cut, mend: () => (isCut = false) };
}

let browser;
before(async () => {
  browser = await launchChromium();
});
after(() => browser?.close());

async function open(t, url) {
  const page = await browser.newPage();
  page.setDefaultTimeout(WAIT_MS);
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.message));
  t.after(async () => {
    await page.close();
    assert.deepEqual(errors, []);
  });
  await page.goto(url);
  return page;
}

const field = (page, row, name) => page.getByLabel(`${name} of row ${row}`);
const shows = (page, row, name, value) =>
  eventually(async () => (await field(page, row, name).inputValue()) === value, `${name} ${row} to be ${value}`, WAIT_MS);
const isLive = (page) =>
  eventually(async () => (await page.getByRole('status').textContent()) === 'live', 'the page to be live', WAIT_MS);
async function change(page, row, name, value) {
  await field(page, row, name).fill(value);
  await field(page, row, name).blur();
}

describe('rows', () => {
  let folder;
  let gateway;
  let backend;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'idae-socket-rows-'));
    gateway = await startGateway();
    backend = await startBackend(folder, `http://localhost:${gateway.port}`);
  });
  after(async () => {
    await backend?.program.stop();
    await gateway?.end();
    rmSync(folder, { recursive: true, force: true });
  });

  test('what one page changes, the other shows', async (t) => {
    const [one, other] = [await open(t, backend.url), await open(t, backend.url)];
    await isLive(one);
    await isLive(other);
    assert.equal(await field(other, 1, 'quantity').inputValue(), '12');
    await change(one, 1, 'quantity', '13');
    await shows(other, 1, 'quantity', '13');
    await change(other, 2, 'name', '<b>Pears & "quinces"</b>');
    await shows(one, 2, 'name', '<b>Pears & "quinces"</b>');
  });

  test('who was slower is told, and sees what was saved', async (t) => {
    const [one, other] = [await open(t, backend.url), await open(t, backend.url)];
    await isLive(one);
    await isLive(other);
    await field(other, 3, 'name').fill('mine');
    await change(one, 3, 'name', 'theirs');
    await backend.program.logged(/"name": "theirs"/);
    await field(other, 3, 'name').blur();
    await eventually(
      async () => (await other.getByRole('status').textContent()) === 'somebody else has changed this row',
      'the page to say so',
    );
    await shows(other, 3, 'name', 'theirs');
  });

  test('a gateway that is killed and started again: nothing is lost', async (t) => {
    const [one, other] = [await open(t, backend.url), await open(t, backend.url)];
    await isLive(one);
    await isLive(other);
    const { port } = gateway;
    gateway.killNow();
    await gateway.exited;
    await eventually(async () => (await other.getByRole('status').textContent()) !== 'live', 'the page to notice');

    // The change is committed without the gateway, and its event waits.
    await change(one, 1, 'quantity', '99');
    await backend.program.logged(/not published, trying again/);
    assert.equal(await field(other, 1, 'quantity').inputValue(), '13');

    gateway = await startGateway({ port });
    await shows(other, 1, 'quantity', '99');
    await isLive(one);
    await isLive(other);
    await backend.program.logged(/row:update .*"quantity": 99/);
    await change(other, 1, 'quantity', '100');
    await shows(one, 1, 'quantity', '100');
  });

  test('a connection that is lost for a moment: nothing is lost either', async (t) => {
    const line = await brittleLine(t, () => gateway.port);
    const far = await startBackend(folder, gateway.url, { PUBLIC_GATEWAY: line.url });
    t.after(() => far.program.stop());
    const [one, other] = [await open(t, backend.url), await open(t, far.url)];
    await isLive(one);
    await isLive(other);
    const fetched = [];
    other.on('request', (request) => request.url().endsWith('/rows') && fetched.push(request.method()));
    line.cut();
    await eventually(async () => (await other.getByRole('status').textContent()) !== 'live', 'the page to notice');
    await change(one, 2, 'quantity', '8');
    await backend.program.logged(/row:update .*"quantity": 8,/);
    assert.equal(await field(other, 2, 'quantity').inputValue(), '7');
    line.mend();
    await shows(other, 2, 'quantity', '8');
    await isLive(other);
    // The gateway has handed over what was missed; the rows were not fetched again.
    assert.deepEqual(fetched, []);
  });

  test('a page that is opened before the gateway is there', async (t) => {
    const { port } = gateway;
    gateway.killNow();
    await gateway.exited;
    const page = await open(t, backend.url);
    await shows(page, 1, 'quantity', '100');
    gateway = await startGateway({ port });
    await isLive(page);
  });

  test('the database outlives the backend, and an event that waited is sent', async () => {
    const { port } = gateway;
    gateway.killNow();
    await gateway.exited;
    const changed = await fetch(`${backend.url}/rows/3`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'Plums', quantity: 1, version: 2 }),
    });
    assert.equal(changed.status, 200, await changed.text());
    await backend.program.stop();
    backend = await startBackend(folder, `http://localhost:${port}`);
    gateway = await startGateway({ port });
    await backend.program.logged(/row:update .*"quantity": 1,/);
  });

  const refused = [
    ['a row that does not exist', 409, '/rows/99', { name: 'x', quantity: 1, version: 1 }],
    ['an old version', 409, '/rows/1', { name: 'x', quantity: 1, version: 0 }],
    ['a field that is missing', 400, '/rows/1', { name: 'x' }],
    ['a quantity that is none', 400, '/rows/1', { name: 'x', quantity: 'many', version: 1 }],
    ['another path', 400, '/other', { name: 'x', quantity: 1, version: 1 }],
    ['a form', 415, '/rows/1', { name: 'x' }, 'text/plain'],
  ];
  for (const [title, status, path, body, type = 'application/json'] of refused) {
    test(`the backend refuses ${title}`, async () => {
      const answer = await fetch(`${backend.url}${path}`, {
        method: 'PUT',
        headers: { 'content-type': type },
        body: JSON.stringify(body),
      });
      assert.equal(answer.status, status, await answer.text());
    });
  }
});

test('a port that is taken is a sentence, and nothing is started', async (t) => {
  const server = createServer().listen(0);
  await new Promise((listening) => server.on('listening', listening));
  t.after(() => server.close());
  const taken = String(server.address().port);
  const free = [String(await freePort()), String(await freePort())];
  for (const [program, env, expected] of [
    ['run', { GATEWAY_PORT: taken, PORT: free[0] }, /^port \d+ is in use.*GATEWAY_PORT.*\n$/],
    ['run', { GATEWAY_PORT: free[0], PORT: taken }, /^port \d+ is in use.* PORT .*\n$/],
    ['backend.py', { PORT: taken }, /^cannot listen on port \d+, set PORT.*\n$/],
  ]) {
    const run = new Program(join(example, program), [], { env });
    t.after(() => run.killNow());
    assert.equal((await within(run.exited, 'the end', WAIT_MS)).code, 1, run.logs);
    assert.match(run.logs, expected);
  }
});

test('one command starts both, and both end with it', async (t) => {
  const bin = resolve(fileURLToPath(new URL('..', import.meta.url)), process.env.IDAE_SOCKET_BIN ?? '../target/conformance/idae-socket');
  assert.ok(existsSync(bin), bin);
  const [gatewayPort, port] = [await freePort(), await freePort()];
  const run = new Program(join(example, 'run'), [], {
    env: { IDAE_SOCKET_BIN: bin, GATEWAY_PORT: String(gatewayPort), PORT: String(port) },
  });
  t.after(() => run.killNow());
  await run.logged(/the page: http:\/\/localhost:\d+/);
  await run.logged(/idae-socket .* listens on/);
  const page = await open(t, `http://localhost:${port}`);
  await isLive(page);
  run.signal('SIGINT');
  assert.deepEqual(await within(run.exited, 'the end of both', WAIT_MS), { code: 0, signal: null });
  for (const url of [`http://localhost:${gatewayPort}/livez`, `http://localhost:${port}/rows`]) {
    await assert.rejects(fetch(url), url);
  }
});
