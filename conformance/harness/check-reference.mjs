#!/usr/bin/env node
// Runs test files against the reference implementation instead of the gateway. Cases that ask
// for more than the reference does are skipped. Arguments go to `node --test`: by default all
// test files of this folder.

import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('..', import.meta.url));
const given = process.argv.slice(2);
const files = given.length ? given : readdirSync(folder).filter((name) => name.endsWith('.test.js'));

const tests = spawn(process.execPath, ['--test', '--test-concurrency=4', ...files], {
  cwd: folder,
  stdio: 'inherit',
  env: {
    ...process.env,
    IDAE_SOCKET_CHECK_REFERENCE: '1',
    IDAE_SOCKET_BIN: 'harness/reference-gateway.mjs',
    IDAE_SOCKET_SUITE_BIN: 'harness/reference-server.mjs',
  },
});
tests.on('close', (code) => process.exit(code ?? 1));
