import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const built = (path: string) => fileURLToPath(new URL(`idae-socket/dist/${path}`, import.meta.url));

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: 'test/installed.ts',
    unstubEnvs: true,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // The children of these tests are processes of their own; one worker for each core is plenty.
    pool: 'forks',
    maxWorkers: 2,
    minWorkers: 1,
    // Its own switch, and the gateway's, must not reach the programs under test.
    env: { NODE_OPTIONS: '' },
  },
  resolve: {
    // What is tested is what is packed.
    alias: [
      { find: /^@medyll\/idae-socket$/, replacement: built('index.js') },
      { find: /^@medyll\/idae-socket\/client$/, replacement: built('client/index.js') },
      { find: /^@medyll\/idae-socket\/server$/, replacement: built('server/index.js') },
    ],
  },
});
