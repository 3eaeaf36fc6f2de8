// `tsc --strict` on the README's programs and on right and wrong payloads, in a user's project.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, inject, test } from 'vitest';
import { codeBlocks } from '../readme.mjs';

const folder = join(inject('installed'), 'types');
const TSC = fileURLToPath(new URL('../../node_modules/typescript/bin/tsc', import.meta.url));

beforeAll(() => {
  mkdirSync(folder);
  for (const { file, text } of codeBlocks()) {
    if (file && !file.startsWith('recipes/')) writeFileSync(join(folder, file.replace(/\.\w+$/, '.ts')), text);
  }
  const payloads = readFileSync(new URL('payloads.ts', import.meta.url), 'utf8');
  writeFileSync(join(folder, 'payloads.ts'), payloads);
  const recipes = join(inject('installed'), 'node_modules/@medyll/idae-socket/recipes');
  for (const file of readdirSync(recipes)) writeFileSync(join(folder, file), readFileSync(join(recipes, file)));
});

function check(...options: string[]): string {
  try {
    const files = readdirSync(folder).filter((name) => name.endsWith('.ts'));
    const strict = ['--noEmit', '--strict', '--target', 'es2022', '--types', '', ...options];
    return execFileSync(process.execPath, [TSC, ...strict, ...files], { cwd: folder, encoding: 'utf8' });
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}

test.each([['nodenext', 'nodenext'], ['esnext', 'bundler']])('module %s, resolution %s', (module, resolution) => {
  expect(check('--module', module, '--moduleResolution', resolution)).toBe('');
});

test('with the types of browsers alone, the client', () => {
  writeFileSync(
    join(folder, 'browser.mts'),
    `import { EventDataClientInstance } from '@medyll/idae-socket';
new EventDataClientInstance().connect();
// @ts-expect-error: not in a browser
import { HttpDriver } from '@medyll/idae-socket';
`,
  );
  const browser = ['--module', 'esnext', '--moduleResolution', 'bundler', '--customConditions', 'browser'];
  const strict = ['--noEmit', '--strict', '--target', 'es2022', '--types', ''];
  execFileSync(process.execPath, [TSC, ...strict, ...browser, 'browser.mts'], { cwd: folder, encoding: 'utf8' });
});
