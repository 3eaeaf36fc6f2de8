// Python clients: what python/requirements.txt lists is installed into python/.venv the first time,
// by whichever test file comes first.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { eventually, within } from './events.js';
import { cleanEnvironment } from './gateway.js';

const here = fileURLToPath(new URL('../python/', import.meta.url));
const venv = `${here}.venv`;
const python = `${venv}/bin/python`;
const stamp = `${venv}/installed`;
const lock = `${venv}.lock`;
const INSTALL_MS = 360_000;

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

/** Takes the lock, unless somebody else has it; one that is older than an installation is left over. */
function locks() {
  try {
    mkdirSync(lock);
    return true;
  } catch {
    const since = statSync(lock, { throwIfNoEntry: false })?.mtimeMs;
    if (since !== undefined && Date.now() - since > INSTALL_MS) rmdirSync(lock);
    return false;
  }
}

/** Installs what requirements.txt lists, unless exactly that is installed. */
export async function installPython(t) {
  const wanted = createHash('sha256').update(readFileSync(`${here}requirements.txt`)).digest('hex');
  const isInstalled = () => existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted;
  if ((await eventually(() => (isInstalled() ? 'done' : locks() && 'mine'), 'the Python packages', INSTALL_MS)) === 'done') return;
  try {
    rmSync(venv, { recursive: true, force: true });
    await run(t, 'python3', ['-m', 'venv', venv], {}, 60_000);
    await run(t, python, ['-m', 'pip', 'install', '-q', '-r', 'requirements.txt'], {}, 300_000);
    writeFileSync(stamp, wanted);
  } finally {
    rmdirSync(lock);
  }
}

/** Runs a file of python/ with unittest; it must pass, skip nothing and have so many tests. */
export async function runPythonTests(t, file, env, { atLeast, waitMs = 120_000 }) {
  await installPython(t);
  const output = await run(t, python, [file], env, waitMs);
  const [, count] = output.match(/Ran (\d+) tests?/) ?? assert.fail(output);
  assert.ok(Number(count) >= atLeast, `only ${count} tests ran`);
  assert.doesNotMatch(output, /skipped/);
}
