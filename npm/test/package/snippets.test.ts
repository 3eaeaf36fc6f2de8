// Every code block of the README runs as printed, in a project that has installed the packages.
//
// The blocks name port 4000, so on Linux they run in a network of their own, where it is free.

import { spawn, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transformSync } from 'esbuild';
import { expect, inject, onTestFinished, test } from 'vitest';
import { codeBlocks } from '../readme.mjs';
import { within } from '../gateway.js';

const installed = inject('installed');
const SCENARIO = fileURLToPath(new URL('snippets.scenario.mjs', import.meta.url));
const RUN_MS = 90_000;

/** Which blocks are tested elsewhere: the installation before all tests, pages in a browser, recipes with their frameworks. */
const ELSEWHERE = (file: string | undefined, text: string) =>
  file?.startsWith('recipes/') || file === 'page.js' || text === 'npm install @medyll/idae-socket\n';

/**
 * A command that runs another one in a network of its own, if the system has that, and where
 * everything that was started ends with it.
 */
function ownNetwork(): string[] {
  const apart = ['--map-root-user', '--net', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const command = ['unshare', ...apart, 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh'];
  return spawnSync(command[0]!, [...command.slice(1), 'true']).status === 0 ? command : [];
}

test('every block runs', async () => {
  const blocks = codeBlocks().filter(({ file, text }) => !ELSEWHERE(file, text));
  for (const { file, language, text } of blocks) {
    if (!file) continue;
    // What `node` takes: a program in TypeScript without its types.
    const code = language === 'ts' ? transformSync(text, { loader: 'ts', format: 'esm', target: 'es2022' }).code : text;
    writeFileSync(join(installed, file.replace(/\.ts$/, '.mjs')), code);
  }
  const [program, ...args] = [...ownNetwork(), process.execPath, '--test', '--test-reporter=spec', SCENARIO];
  const { IDAE_SOCKET_BIN: _, NODE_OPTIONS: __, ...environment } = process.env;
  const child = spawn(program!, args, {
    cwd: installed,
    env: { ...environment, README_BLOCKS: JSON.stringify(blocks), NO_COLOR: '1' },
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  let output = '';
  child.stdout.on('data', (chunk) => (output += chunk));
  child.stderr.on('data', (chunk) => (output += chunk));
  const code = await within(new Promise((ended) => child.on('close', ended)), 'the blocks', RUN_MS).catch(String);
  expect(code, output).toBe(0);
}, RUN_MS + 5_000);
