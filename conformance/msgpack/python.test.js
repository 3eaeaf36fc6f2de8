// python-socketio with serializer='msgpack'.

import { test } from 'node:test';
import { runPythonTests } from '../harness/python.js';
import { JWT, open } from '../identity/entering.js';
import { token } from '../identity/tokens.js';

test('python-socketio with msgpack: polling, WebSocket, upgrade', { timeout: 480_000 }, async (t) => {
  // python-engineio may forget to say goodbye; the next ping must not be far away then.
  const socket = { ping_interval_ms: 2000, ping_timeout_ms: 5000 };
  const anybody = await open(t, { namespaces: ['/', '/shop'], events: ['entity', 'news'], socket });
  const checked = await open(t, { auth: JWT, socket });
  const env = { GATEWAY_URL: anybody.url, TOKEN_URL: checked.url, TOKEN: token({ sub: 'ada', roles: ['admin'] }) };
  await runPythonTests(t, 'test_msgpack.py', env, { atLeast: 9 });
});
