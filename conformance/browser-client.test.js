// The official browser client, served beside the sockets for pages without a build step.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startGateway } from './harness/gateway.js';

const require = createRequire(import.meta.url);
const dist = `${dirname(require.resolve('socket.io-client/package.json'))}/dist`;
const { version } = require('socket.io-client/package.json');

const names = ['', '.min', '.esm.min', '.msgpack.min'].flatMap((kind) => [
  `socket.io${kind}.js`,
  `socket.io${kind}.js.map`,
]);

let gateway;
before(async () => {
  gateway = await startGateway();
});
after(() => gateway?.end());

const get = (name, headers) => fetch(`${gateway.url}/socket.io/${name}`, { headers });

describe('a file of the client', () => {
  for (const name of names) {
    for (const encoding of ['gzip', 'identity']) {
      test(`${name} is the package's own, sent as ${encoding}`, async () => {
        const response = await get(name, { 'accept-encoding': encoding });
        assert.equal(response.status, 200);
        assert.equal(response.headers.get('etag'), `"${version}"`);
        assert.equal(response.headers.get('cache-control'), 'public, max-age=0');
        assert.equal(response.headers.get('content-encoding'), encoding === 'gzip' ? 'gzip' : null);
        const kind = name.endsWith('.map') ? 'application/json' : 'application/javascript';
        assert.equal(response.headers.get('content-type'), `${kind}; charset=utf-8`);
        assert.equal(await response.text(), readFileSync(`${dist}/${name}`, 'utf8'));
      });
    }
  }

  test('is not sent again to whoever has it', async () => {
    for (const tag of [`"${version}"`, `W/"${version}"`, `"1.0.0", "${version}"`]) {
      const response = await get('socket.io.min.js', { 'if-none-match': tag });
      assert.equal(response.status, 304, tag);
      assert.equal(await response.text(), '');
    }
    assert.equal((await get('socket.io.min.js', { 'if-none-match': '"1.0.0"' })).status, 200);
  });

  test('with a query is the same file', async () => {
    assert.equal((await get('socket.io.js?v=1')).status, 200);
  });

  test('is there for HEAD too, without its body', async () => {
    const response = await fetch(`${gateway.url}/socket.io/socket.io.js`, { method: 'HEAD' });
    assert.deepEqual([response.status, await response.text()], [200, '']);
    assert.ok(Number(response.headers.get('content-length')) > 1000);
  });

  test('of an unknown name goes to the engine', async () => {
    for (const name of ['socket.io.css', 'socket.io.js.gz', '../socket.io/x.js', 'LICENSE']) {
      const response = await get(name);
      assert.deepEqual([response.status, (await response.json()).code], [400, 0], name);
    }
  });
});
