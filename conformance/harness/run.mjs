// Runs every test file: first those in which time itself is under test, one after the other and
// with nothing beside them, then all others in parallel.
//
//   node harness/run.mjs [words]    only files whose path has one of the words

import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ALONE = [
  'engineio-suite.test.js', 'socketio-suite.test.js', 'heartbeat.test.js', 'scale/join.test.js',
  'identity/crowd.test.js', 'identity/token-life.test.js',
  'staying-up/avalanche.test.js', 'staying-up/drain.test.js', 'staying-up/faults.test.js',
  'staying-up/metrics.test.js', 'staying-up/recovery.test.js', 'staying-up/slow-consumers.test.js', 'staying-up/soak.test.js',
];
/** For one file; the longest waits for limits of half a minute, or installs what it needs. */
const FILE_MS = 480_000;

const root = fileURLToPath(new URL('..', import.meta.url));
const words = process.argv.slice(2);

const files = readdirSync(root, { recursive: true })
  .filter((path) => path.endsWith('.test.js') && !/(^|\/)(node_modules|\.venv)\//.test(path))
  .filter((path) => words.length === 0 || words.some((word) => path.includes(word)))
  .sort();

/** Runs some files and says whether all passed. */
function run(some, concurrency) {
  if (some.length === 0) return true;
  const args = ['--test', `--test-concurrency=${concurrency}`, `--test-timeout=${FILE_MS}`, '--test-reporter=spec', ...some];
  return spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' }).status === 0;
}

if (files.length === 0) {
  console.error(`no test file matches ${words.join(', ')}`);
  process.exit(2);
}
const passed = [
  run(files.filter((file) => ALONE.includes(file)), 1),
  run(files.filter((file) => !ALONE.includes(file)), 2),
];
process.exit(passed.every(Boolean) ? 0 : 1);
