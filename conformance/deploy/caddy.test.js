// The configuration of deploy/Caddyfile in a real Caddy, where there is one. Without its TLS, because
// the certificate comes from outside.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { eventually, next } from '../harness/events.js';
import { Program, freePort, startGateway } from '../harness/gateway.js';
import { connected, subscribe } from '../harness/sessions.js';
import { deployed, replaced } from './nginx.js';

const KEY = 'a-publish-key-of-the-proxy-tests';
const skip = spawnSync('caddy', ['version']).status !== 0 && 'there is no Caddy on this machine';

describe('behind Caddy', { skip }, () => {
  let folder;
  let gateway;
  let caddy;
  let url;
  before(async () => {
    gateway = await startGateway({ config: `trusted_proxies = ["127.0.0.1"]\n[publish]\nkey = "${KEY}"\n` });
    folder = mkdtempSync(join(tmpdir(), 'idae-socket-caddy-'));
    url = `http://127.0.0.1:${await freePort()}`;
    const site = replaced(deployed('Caddyfile'), [
      ['events.example.com {', `${url} {`],
      ['127.0.0.1:4000', `127.0.0.1:${gateway.port}`],
    ]);
    writeFileSync(join(folder, 'Caddyfile'), `{\n\tadmin off\n\tauto_https off\n}\n${site}`);
    const args = ['run', '--config', join(folder, 'Caddyfile'), '--adapter', 'caddyfile'];
    // It keeps what it learns in its home.
    caddy = new Program('caddy', args, { env: { HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder } });
    await eventually(() => {
      if (caddy.ended) throw new Error(caddy.logs);
      return fetch(url).then(() => true, () => false);
    }, 'Caddy to answer');
  });
  after(async () => {
    await caddy?.stop();
    await gateway?.end();
    if (folder) rmSync(folder, { recursive: true, force: true });
  });
  const post = (headers) =>
    fetch(`${url}/db-change`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ rooms: 'proxied', payload: 1 }),
    });

  for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
    test(`${transports.join(', then ')}: connects, joins, hears`, async (t) => {
      const socket = await connected(t, { url }, { transports });
      await subscribe(socket, 'proxied');
      const arrived = next(socket, 'db-change');
      assert.equal((await post({ authorization: `Bearer ${KEY}` })).status, 200);
      assert.equal((await arrived)[0].payload, 1);
    });
  }

  test('publishing needs a key, and nothing else is shown', async () => {
    assert.equal((await post()).status, 401);
    for (const path of ['/', '/metrics', '/readyz', '/db-change']) {
      assert.equal((await fetch(`${url}${path}`)).status, 404, path);
    }
  });
});
