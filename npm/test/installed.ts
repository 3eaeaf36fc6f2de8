// Before the tests: packs both packages and installs them into an empty project, as a user would.

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TestProject } from 'vitest/node';
import { buildPlatform } from '../platforms/build.mjs';

declare module 'vitest' {
  interface ProvidedContext {
    /** The project's folder. */
    installed: string;
  }
}

const npm = fileURLToPath(new URL('..', import.meta.url));

/** What the recipes are written for. */
const FRAMEWORKS = ['@tanstack/react-query', 'swr', 'react', 'react-dom', 'svelte', '@types/react'];

export default function setup(project: TestProject): () => void {
  const binary = resolve(npm, process.env.IDAE_SOCKET_BIN ?? '../target/conformance/idae-socket');
  const folder = mkdtempSync(join(tmpdir(), 'idae-socket-installed-'));
  const tarballs = [buildPlatform({ binary }), join(npm, 'idae-socket')].map((packed) => pack(packed, folder));

  const installed = join(folder, 'project');
  mkdirSync(installed);
  writeFileSync(join(installed, 'package.json'), '{ "private": true, "type": "module" }\n');
  run(['install', ...tarballs], installed);
  run(['install', ...FRAMEWORKS.map((name) => `${name}@${locked(name)}`)], installed);

  project.provide('installed', installed);
  return () => rmSync(folder, { recursive: true, force: true });
}

function pack(packed: string, folder: string): string {
  const name = run(['pack', '--silent', '--pack-destination', folder], packed).trim().split('\n').pop();
  return join(folder, name!);
}

/** The version this repository is tested with. */
function locked(name: string): string {
  return JSON.parse(readFileSync(join(npm, 'package-lock.json'), 'utf8')).packages[`node_modules/${name}`].version;
}

function run(args: string[], cwd: string): string {
  // The outer npm's words about its own project must not reach the inner one.
  const outer = /^npm_(package|lifecycle|config_local_prefix|config_workspace|command)/;
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !outer.test(name)));
  const calm = ['--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
  return execFileSync('npm', [...args, ...calm], { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}
