// The python-socketio client. Its library and the versions it is pinned to are installed into
// conformance/python/.venv the first time.

import { test } from 'node:test';
import { runPythonTests } from '../harness/python.js';
import { JWT, open } from '../identity/entering.js';
import { token } from '../identity/tokens.js';

// python-engineio forgets to say goodbye when it disconnects while a POST is on its way. It
// leaves with the next ping then, so that must not be 25 seconds away.
const socket = { ping_interval_ms: 2000, ping_timeout_ms: 5000 };

for (const SERIALIZER of ['default', 'msgpack']) {
  test(`python-socketio, parser ${SERIALIZER}: polling, WebSocket, upgrade`, { timeout: 480_000 }, async (t) => {
    const anybody = await open(t, { namespaces: ['/', '/shop'], socket });
    const checked = await open(t, { auth: JWT, rooms: { join: ['public:*', 'user:{sub}:*'] }, socket });
    const env = {
      SERIALIZER,
      GATEWAY_URL: anybody.url,
      TOKEN_URL: checked.url,
      TOKEN: token({ sub: 'ada', roles: ['admin'] }),
      NEW_TOKEN: token({ sub: 'ada', roles: ['editor'] }),
      OTHER_TOKEN: token({ sub: 'bob' }),
    };
    await runPythonTests(t, 'test_python_client.py', env, { atLeast: 18 });
  });
}

test('what msgpack has and JSON has not', { timeout: 480_000 }, async (t) => {
  const gateway = await open(t, { socket });
  await runPythonTests(t, 'test_msgpack.py', { GATEWAY_URL: gateway.url, SERIALIZER: 'msgpack' }, { atLeast: 3 });
});
