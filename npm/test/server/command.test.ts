// `npx @medyll/idae-socket`: the gateway's own program, as if it had been called itself.

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { BINARY, accepts, eventually, startGateway, within } from '../gateway.js';

const COMMAND = fileURLToPath(new URL('../../idae-socket/dist/command.js', import.meta.url));
const { version } = JSON.parse(readFileSync(new URL('../../idae-socket/package.json', import.meta.url), 'utf8'));

function run(args: string[], env: Record<string, string> = {}) {
  // The tests' own variable is none that the gateway knows.
  const { IDAE_SOCKET_BIN: _, ...environment } = process.env;
  const child = spawn(process.execPath, [COMMAND, ...args], {
    env: { ...environment, IDAE_SOCKET_BINARY: BINARY, ...env },
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => (output.stdout += chunk));
  child.stderr.on('data', (chunk) => (output.stderr += chunk));
  const ended = new Promise<{ code: number | null; signal: string | null }>((settle) =>
    child.on('close', (code, signal) => settle({ code, signal })),
  );
  return { child, output, ended: within(ended, 'the end of the command') };
}

test('hands on arguments and output', async () => {
  const { output, ended } = run(['--version']);
  expect(await ended).toEqual({ code: 0, signal: null });
  expect(output.stdout).toContain(version);
});

test('hands on the input, and publishes', async () => {
  const { url } = await startGateway();
  const { child, output, ended } = run(['publish', 'db-change', '--room', 'a', '--json', '--url', url, '-']);
  child.stdin.end('{"id":1}');
  expect(await ended).toEqual({ code: 0, signal: null });
  expect(JSON.parse(output.stdout)).toMatchObject({ status: 'ok', sockets: 0 });
});

test('hands on the exit code', async () => {
  expect(await run(['publish', 'x', '1', '--broadcast', '--url', 'http://127.0.0.1:1']).ended).toMatchObject({ code: 3 });
  expect(await run(['--no-such-flag']).ended).toMatchObject({ code: 2 });
});

test.skipIf(process.platform === 'win32').each(['SIGTERM', 'SIGINT'] as const)('hands on %s', async (signal) => {
  const { child, output, ended } = run(['serve', '--port', '0', '--set', 'drain_s=0']);
  await eventually(() => /listens on http:\/\/\S+/.test(output.stdout), 'the greeting');
  const [, port] = /:(\d+)/.exec(output.stdout) ?? [];
  child.kill(signal);
  expect(await ended).toEqual({ code: 0, signal: null });
  expect(await accepts(Number(port))).toBe(false);
});

test('without a program it says what to install', async () => {
  const { output, ended } = run(['serve'], { IDAE_SOCKET_BINARY: '', PATH: '' });
  expect(await ended).toEqual({ code: 127, signal: null });
  expect(output.stderr).toMatch(/^idae-socket: .*\n.*npm install @medyll\/idae-socket-/);
});
