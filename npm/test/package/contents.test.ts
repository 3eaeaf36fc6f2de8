// What is packed, and what arrives in an empty project.

import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { libcOf, targets } from '../../platforms/build.mjs';
import { codeBlocks, recipe } from '../readme.mjs';

const installed = inject('installed');
const inPackage = (path: string, name = '@medyll/idae-socket') => join(installed, 'node_modules', name, path);
const manifest = JSON.parse(readFileSync(inPackage('package.json'), 'utf8'));
const target = `${process.platform}-${process.arch}`;

test('the only dependency is socket.io-client', () => {
  expect(Object.keys(manifest.dependencies)).toEqual(['socket.io-client']);
  const outer = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  // The one the tests ran with.
  expect(outer.devDependencies['socket.io-client']).toBe(manifest.dependencies['socket.io-client']);
});

test('every platform has its optional package, of the same version', () => {
  const expected = targets.map(({ platform, arch }) => [`@medyll/idae-socket-${platform}-${arch}`, manifest.version]);
  expect(manifest.optionalDependencies).toEqual(Object.fromEntries(expected));
});

test('the version is that of the gateway', () => {
  const cargo = readFileSync(new URL('../../../Cargo.toml', import.meta.url), 'utf8');
  expect(/^version = "(.*)"/m.exec(cargo)?.[1]).toBe(manifest.version);
});

test('nothing is packed but what is needed', () => {
  expect(readdirSync(inPackage('')).filter((name) => name !== 'node_modules').sort()).toEqual(
    ['LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'dist', 'package.json', 'recipes'].sort(),
  );
});

test('everything that is exported is there', () => {
  const paths = JSON.stringify(manifest.exports).match(/\.\/[^"]*\.(json|js|d\.ts)(?=")/g)!;
  for (const path of paths) expect(existsSync(inPackage(path)), path).toBe(true);
});

test('the platform\'s package holds the program, for this platform alone', () => {
  const name = `@medyll/idae-socket-${target}`;
  const platform = JSON.parse(readFileSync(inPackage('package.json', name), 'utf8'));
  expect(platform).toMatchObject({ version: manifest.version, os: [process.platform], cpu: [process.arch] });
  const program = inPackage(`bin/idae-socket${process.platform === 'win32' ? '.exe' : ''}`, name);
  if (process.platform !== 'win32') expect(statSync(program).mode & 0o111).toBe(0o111);
});

test.each([
  ['glibc', '\x7fELF…\0/lib64/ld-linux-x86-64.so.2\0'],
  ['musl', '\x7fELF…\0/lib/ld-musl-x86_64.so.1\0'],
  [undefined, '\x7fELF… linked statically'],
])('a program for %s is known by its loader', (libc, bytes) => {
  expect(libcOf(Buffer.from(bytes, 'latin1'))).toBe(libc);
});

/** Programs as they have always been written for this package: they must stay as they are. */
test.each([
  `import { HttpDriver } from '@medyll/idae-socket';
const server = new HttpDriver();
server.listen(4000);
`,
  `import { EventDataClientInstance } from '@medyll/idae-socket';
const client = new EventDataClientInstance();
client.config.host = 'http://localhost';
client.config.port = 4000;
client.config.authentication = { authMode: 'Bearer', auth: 'your-token-here' };
client.onConnect = ({ socketId }) => console.log('Connected:', socketId);
client.onDisconnect = () => console.log('Disconnected');
client.connect();
client.socket.on('collection:update', (data) => console.log(data));
`,
])('the README has, and so the tests run: %s', (program) => {
  expect(codeBlocks().map(({ text }) => text)).toContain(program);
});

test('the recipes of the README are the files', () => {
  const shown = codeBlocks().filter(({ file }) => file?.startsWith('recipes/'));
  expect(shown.map(({ file }) => file!.slice('recipes/'.length)).sort()).toEqual(readdirSync(inPackage('recipes')).sort());
  // `node test/readme.mjs` brings them in line.
  for (const { file, text } of shown) expect(text, file).toBe(recipe(file!));
});
