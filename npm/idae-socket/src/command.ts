#!/usr/bin/env node
// `npx @medyll/idae-socket …`: the gateway's own program, as if it had been called itself.

import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { BinaryNotFoundError, findBinary, gatewayEnvironment } from './server/binary.js';

/** The shell's own number for a command that is not there. */
const NOT_FOUND = 127;

function run(): void {
  const child = spawn(findBinary(), process.argv.slice(2), { stdio: 'inherit', env: gatewayEnvironment() });
  child.once('error', (error) => fail(error.message));
  // A terminal sends Ctrl-C to both; a second one would tell the gateway to hurry.
  const atTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
  process.on('SIGINT', () => atTerminal || child.kill('SIGINT'));
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  process.on('SIGHUP', () => child.kill('SIGHUP'));
  child.once('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    // Who started this learns the signal, as from the program itself.
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.removeAllListeners(name);
    process.kill(process.pid, signal);
    // A signal that is ignored here (or one that only dumps core) must not leave this waiting.
    setTimeout(() => process.exit(128 + constants.signals[signal]), 100);
  });
}

function fail(message: string): never {
  console.error(`idae-socket: ${message}`);
  process.exit(NOT_FOUND);
}

try {
  run();
} catch (error) {
  if (!(error instanceof BinaryNotFoundError)) throw error;
  fail(error.message);
}
