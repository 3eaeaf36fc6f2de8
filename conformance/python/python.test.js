// The python-socketio client. Its library and the versions it is pinned to are installed into
// conformance/python/.venv the first time.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { cleanEnvironment } from '../harness/gateway.js';
import { within } from '../harness/events.js';
import { JWT, open } from '../identity/entering.js';
import { token } from '../identity/tokens.js';

const here = fileURLToPath(new URL('.', import.meta.url));
const venv = `${here}.venv`;
const python = `${venv}/bin/python`;

async function run(t, program, args, env, waitMs) {
  const child = spawn(program, args, { cwd: here, env: cleanEnvironment(env) });
  t.after(() => child.kill('SIGKILL'));
  let output = '';
  child.stdout.on('data', (text) => (output += text));
  child.stderr.on('data', (text) => (output += text));
  const exited = new Promise((settle) => {
    child.on('error', (error) => settle(error.message));
    child.on('close', settle);
  });
  const code = await within(exited, `${program} ${args.join(' ')}`, waitMs).catch((error) => error.message);
  assert.equal(code, 0, `${program} ${args.join(' ')}\n${output}`);
  return output;
}

/** Installs what requirements.txt lists, unless exactly that is installed. */
async function install(t) {
  const wanted = createHash('sha256').update(readFileSync(`${here}requirements.txt`)).digest('hex');
  const stamp = `${venv}/installed`;
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  rmSync(venv, { recursive: true, force: true });
  await run(t, 'python3', ['-m', 'venv', venv], {}, 60_000);
  await run(t, python, ['-m', 'pip', 'install', '-q', '-r', 'requirements.txt'], {}, 300_000);
  writeFileSync(stamp, wanted);
}

test('python-socketio: polling, WebSocket, upgrade', { timeout: 480_000 }, async (t) => {
  await install(t);
  // python-engineio forgets to say goodbye when it disconnects while a POST is on its way. It
  // leaves with the next ping then, so that must not be 25 seconds away.
  const socket = { ping_interval_ms: 2000, ping_timeout_ms: 5000 };
  const anybody = await open(t, { namespaces: ['/', '/shop'], socket });
  const checked = await open(t, { auth: JWT, rooms: { join: ['public:*', 'user:{sub}:*'] }, socket });
  const env = {
    GATEWAY_URL: anybody.url,
    TOKEN_URL: checked.url,
    TOKEN: token({ sub: 'ada', roles: ['admin'] }),
    NEW_TOKEN: token({ sub: 'ada', roles: ['editor'] }),
    OTHER_TOKEN: token({ sub: 'bob' }),
  };
  const output = await run(t, python, ['test_python_client.py'], env, 120_000);
  const [, count] = output.match(/Ran (\d+) tests/) ?? assert.fail(output);
  assert.ok(Number(count) >= 18, `only ${count} tests ran`);
  assert.doesNotMatch(output, /skipped/);
});
