// What a bundler makes of the package for a browser.

import { readFileSync } from 'node:fs';
import { expect, inject, test } from 'vitest';
import { SIZE, bundle, clientSize, type Size } from '../bundle.mjs';
import { codeBlocks } from '../readme.mjs';

const folder = inject('installed');

test.each(['@medyll/idae-socket', '@medyll/idae-socket/client'])('%s has nothing of Node and of the server', async (name) => {
  const { text, inputs } = await bundle(`import * as all from '${name}'; console.log(all);`, { folder });
  expect(inputs.filter((path) => path.includes('@medyll/idae-socket/dist/')).length).toBeGreaterThan(3);
  expect(inputs.filter((path) => /\/dist\/(server|command|index\.js)/.test(path))).toEqual([]);
  expect(inputs.filter((path) => path.startsWith('node:'))).toEqual([]);
  expect(text).not.toMatch(/node:|child_process|HttpDriver/);
});

test('the server is not for browsers', async () => {
  await expect(bundle(`import '@medyll/idae-socket/server';`, { folder })).rejects.toThrow(/node:/);
});

test.each(codeBlocks().filter(({ file, text }) => file && /from '@medyll\/idae-socket(\/client)?'/.test(text) && !text.includes('HttpDriver')))(
  '$file of the README is bundled',
  async ({ file, text }) => {
    const { inputs } = await bundle(text, { folder, format: 'esm' });
    expect(inputs.length, file).toBeGreaterThan(3);
  },
);

test('what is not used is left out', async () => {
  const whole = await clientSize();
  const { text } = await bundle(`export { EventDataConfig } from '@medyll/idae-socket';`, { folder, format: 'esm' });
  expect(text.length).toBeLessThan(whole.bytes / 20);
});

test('the size is the recorded one', async () => {
  const [recorded, size] = [JSON.parse(readFileSync(SIZE, 'utf8')) as Size, await clientSize()];
  for (const key of Object.keys(size) as (keyof Size)[]) {
    // Larger on purpose? `npm run size` records it.
    expect(size[key], key).toBeGreaterThan(recorded[key] * 0.95);
    expect(size[key], key).toBeLessThan(recorded[key] * 1.05);
  }
});
