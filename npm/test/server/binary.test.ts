// Where the gateway's program is looked for, and in which order.

import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findBinary } from '../../idae-socket/src/server/binary.js';

let folder: string;
/** A file that can be run, as far as the file system tells. */
function program(path: string, text = '\x7fELF'): string {
  const file = join(folder, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  chmodSync(file, 0o755);
  return file;
}

let given: string;
let variable: string;
let packaged: string;
let onPath: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'idae-socket-test-'));
  given = program('given');
  variable = program('variable');
  packaged = program('package/bin/idae-socket');
  onPath = program('path/idae-socket');
  program('scripts/idae-socket', '#!/usr/bin/env node\n');
  writeFileSync(join(folder, 'plain'), 'text');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const nothing = {
  platform: 'linux',
  arch: 'x64',
  environment: { PATH: '' } as Record<string, string | undefined>,
  locate: (specifier: string): string => {
    throw new Error(`no ${specifier}`);
  },
};

test('the option, the variable, the package, the PATH', () => {
  const everything = {
    ...nothing,
    environment: { PATH: `${join(folder, 'scripts')}:${join(folder, 'path')}`, IDAE_SOCKET_BINARY: variable },
    locate: (specifier: string) => {
      expect(specifier).toBe('@medyll/idae-socket-linux-x64/package.json');
      return join(folder, 'package/package.json');
    },
  };
  expect(findBinary(given, everything)).toBe(given);
  expect(findBinary(undefined, everything)).toBe(variable);
  const { PATH } = everything.environment;
  expect(findBinary(undefined, { ...everything, environment: { PATH } })).toBe(packaged);
  // The script of that name would be this package's own command.
  expect(findBinary(undefined, { ...everything, environment: { PATH }, locate: nothing.locate })).toBe(onPath);
});

test('what is named and not there is an error, even if another would be', () => {
  const environment = { PATH: join(folder, 'path') };
  expect(() => findBinary(join(folder, 'none'), { ...nothing, environment })).toThrow(/option `binary` names .*none/);
  expect(() => findBinary(join(folder, 'plain'), { ...nothing, environment })).toThrow(/option `binary` names .*plain/);
  expect(() => findBinary(folder, { ...nothing, environment })).toThrow(/no file that can be run/);
  expect(() => findBinary(undefined, { ...nothing, environment: { ...environment, IDAE_SOCKET_BINARY: '/none' } })).toThrow(
    /variable IDAE_SOCKET_BINARY names \/none/,
  );
});

test('nowhere: the error says what to install', () => {
  expect(() => findBinary(undefined, nothing)).toThrow(/npm install @medyll\/idae-socket-linux-x64/);
  expect(() => findBinary(undefined, { ...nothing, platform: 'sunos', arch: 'sparc' })).toThrow(/cargo install/);
});
