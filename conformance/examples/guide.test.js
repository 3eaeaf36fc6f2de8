// docs/guide.md as its reader follows it: each command and program in it is run.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { next, within } from '../harness/events.js';
import { Program, freePort, startGateway } from '../harness/gateway.js';
import { connected, subscribe } from '../harness/sessions.js';
import { Document } from './documents.js';

const conformance = fileURLToPath(new URL('..', import.meta.url));
const binary = resolve(conformance, process.env.IDAE_SOCKET_BIN ?? '../target/conformance/idae-socket');
const doc = new Document('docs/guide.md');
after(() => doc.assertAllAsked());

/** A shell with the command in its path, in a folder of its own, and what the commands there print. */
function shell(t, gateway, text, env = {}) {
  const here = text.replaceAll('localhost:4000', `localhost:${gateway.port}`);
  const program = new Program('bash', ['-euc', here], {
    env: {
      PATH: `${dirname(binary)}:${process.env.PATH}`,
      IDAE_SOCKET_URL: `http://127.0.0.1:${gateway.port}`,
      NO_PROXY: '*',
      ...env,
    },
  });
  t.after(() => program.killNow());
  return program;
}

/** Runs it to its end, which has to be a good one. */
async function ran(t, gateway, text, env) {
  const program = shell(t, gateway, text, env);
  const ended = await within(program.exited, `the end of:\n${text}`, 20_000);
  assert.deepEqual(ended, { code: 0, signal: null }, program.logs);
  return program.stdout;
}

test('a first event, in three terminals', async (t) => {
  const gateway = { port: await freePort() };
  const start = shell(t, gateway, `exec ${doc.snippet('start')}`, { IDAE_SOCKET_PORT: String(gateway.port) });
  await start.logged(/listens on/);
  const listen = shell(t, gateway, `exec ${doc.snippet('listen')}`);
  await listen.logged(/listening/);
  doc.quotes('answer', await ran(t, gateway, doc.snippet('publish')));
  await listen.logged(/order:change.*\n/);
  doc.quotes('heard', listen.logs.replaceAll(String(gateway.port), '4000'));
  const several = JSON.parse(await ran(t, gateway, doc.snippet('several')));
  assert.equal(several.sockets, 0);
});

describe('with tokens', () => {
  let gateway;
  let folder;
  before(async () => {
    gateway = await startGateway({ config: doc.snippet('config') });
    folder = mkdtempSync(join(tmpdir(), 'idae-socket-guide-'));
    symlinkSync(join(conformance, 'node_modules'), join(folder, 'node_modules'));
    writeFileSync(join(folder, 'idae-socket.toml'), doc.snippet('config'));
  });
  after(async () => {
    await gateway?.end();
    rmSync(folder, { recursive: true, force: true });
  });
  const inFolder = (text) => `cd ${folder}\n${text}`;
  const token = async (t) =>
    (await ran(t, gateway, inFolder('idae-socket token --sub 42 --role cook --claim tenant=acme'))).trim();

  test('a token, and what it is worth', async (t) => {
    doc.quotes('token-worth', await ran(t, gateway, inFolder(doc.snippet('token'))));
  });

  test('what the guide says about rooms of a token', async (t) => {
    const socket = await connected(t, gateway, { auth: { token: await token(t) } });
    await subscribe(socket, 'tenant:acme:orders');
    const refused = await new Promise((settle) => socket.emit('subscribe', 'tenant:other:orders', settle));
    assert.equal(refused.code, 'room_forbidden');
  });

  test('the client hears what is published with the key', async (t) => {
    const prelude = `
      const currentToken = () => process.env.TOKEN;
      const newToken = async () => process.env.TOKEN;
      const loadOrders = async () => console.log('loaded');
      const showOrder = (order) => { console.log(JSON.stringify(order)); socket.disconnect(); };
    `;
    const source = doc.snippet('client').replaceAll('localhost:4000', `localhost:${gateway.port}`);
    writeFileSync(join(folder, 'client.mjs'), prelude + source);
    const client = shell(t, gateway, inFolder('exec node client.mjs'), { TOKEN: await token(t) });
    await client.logged(/loaded\n/);
    const answer = JSON.parse(await ran(t, gateway, doc.snippet('publish-key')));
    assert.equal(answer.sockets, 1);
    assert.deepEqual(await within(client.exited, 'the end of the client'), { code: 0, signal: null });
    assert.equal(client.logs, 'loaded\n{"order":17}\n');
  });

  test('the backend publishes, and waits for a gateway that is not there', async (t) => {
    const publisher = doc.snippet('publisher');
    const { port } = gateway;
    gateway.killNow();
    await gateway.exited;
    writeFileSync(join(folder, 'publisher.py'), publisher.replaceAll('localhost:4000', `localhost:${port}`));
    const program = shell(t, gateway, inFolder('exec python3 publisher.py'));
    gateway = await startGateway({ config: doc.snippet('config'), port });
    const socket = await connected(t, gateway, { auth: { token: await token(t) } });
    await subscribe(socket, 'tenant:acme:orders');
    const arrived = next(socket, 'order:change');
    await within(program.exited, 'the publisher', 10_000);
    assert.equal(program.stderr, '');
    // It may have been faster than the client here, and then runs once more.
    const again = shell(t, gateway, inFolder('exec python3 publisher.py'));
    assert.deepEqual((await arrived)[0].payload, { order: 17, state: 'paid' });
    assert.deepEqual(await within(again.exited, 'the publisher', 10_000), { code: 0, signal: null });
  });

  test('the backend does not repeat what is refused', async (t) => {
    writeFileSync(
      join(folder, 'wrong.py'),
      doc.snippet('publisher').replaceAll('localhost:4000', `localhost:${gateway.port}`).replace('random', 'wrong'),
    );
    const program = shell(t, gateway, inFolder('exec python3 wrong.py'));
    assert.equal((await within(program.exited, 'the publisher')).code, 1);
    assert.match(program.stderr, /HTTP Error 401/);
  });
});
