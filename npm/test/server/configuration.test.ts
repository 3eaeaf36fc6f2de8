// The configuration's types and text.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { toToml } from '../../idae-socket/src/server/toml.js';

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

test('the types are those of docs/configuration.md', () => {
  execFileSync(process.execPath, [path('../../configuration/generate.mjs'), '--check'], { encoding: 'utf8' });
});

test('no key of docs/configuration.md is left out', () => {
  const documented = readFileSync(path('../../../docs/configuration.md'), 'utf8').matchAll(/^\| `([a-z0-9_.]+)` \| (?:`IDAE|only in)/gm);
  const types = readFileSync(path('../../idae-socket/src/server/configuration.ts'), 'utf8');
  const keys = [...documented].map(([, key]) => key!);
  expect(keys.length).toBeGreaterThan(50);
  const blocks = new Map([...types.matchAll(/^export interface (\w+) \{\n([\s\S]*?)^\}/gm)].map(([, name, body]) => [name, body!]));
  for (const key of keys) {
    const [section, name] = key.includes('.') ? key.split('.') : ['', key];
    const block = section ? `${section[0]!.toUpperCase()}${section.slice(1)}Configuration` : 'GatewayConfiguration';
    expect(blocks.get(block), block).toMatch(new RegExp(`^  ${name}\\?: `, 'm'));
  }
});

test.each<[object, string]>([
  [{}, ''],
  [{ port: 0, console: false, events: ['a', 'b'] }, 'port = 0\nconsole = false\nevents = ["a", "b"]\n'],
  [{ host: undefined, publish: { key: undefined } }, '\n[publish]\n'],
  [{ socket: { path: '/x/' }, host: 'h' }, 'host = "h"\n\n[socket]\npath = "/x/"\n'],
  [{ a: 'q"\\\n\t\u0001\x7fü' }, 'a = "q\\"\\\\\\n\\t\\u0001\\u007fü"\n'],
  [{ publish: { keys: [{ name: 'n', rooms: ['r'], events: undefined }] } }, '\n[publish]\nkeys = [{ name = "n", rooms = ["r"] }]\n'],
  [{ 'odd key': 1 }, '"odd key" = 1\n'],
])('%j as TOML', (given, expected) => {
  expect(toToml(given)).toBe(expected);
});

test.each([[{ a: null }], [{ a: { b: [Number.POSITIVE_INFINITY] } }], [{ a: () => {} }]])('%j is refused', (given) => {
  expect(() => toToml(given)).toThrow(TypeError);
});
