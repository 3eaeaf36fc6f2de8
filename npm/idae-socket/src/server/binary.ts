// Where the gateway's program is.

import { accessSync, closeSync, constants, openSync, readSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join, resolve } from 'node:path';

/** The variable that names the program. */
const VARIABLE = 'IDAE_SOCKET_BINARY';

/** There is no gateway to run. The message says what to install. */
export class BinaryNotFoundError extends Error {
  override readonly name = 'BinaryNotFoundError';
  readonly code = 'binary_not_found';
}

/** Not Node's own type: whoever uses this package may do without Node's types. */
export type Environment = Record<string, string | undefined>;

/** The environment for the gateway, which does not know the variable that is for this package. */
export function gatewayEnvironment(): Environment {
  const { [VARIABLE]: _, ...others } = process.env;
  return others;
}

interface Surroundings {
  platform: string;
  arch: string;
  environment: Environment;
  /** Finds a file of a package, as `require.resolve` does. */
  locate: (specifier: string) => string;
}

const here: Surroundings = {
  platform: process.platform,
  arch: process.arch,
  environment: process.env,
  locate: createRequire(import.meta.url).resolve,
};

/**
 * The path of the gateway's program: the given one, else that of `IDAE_SOCKET_BINARY`, else that of
 * the platform's package, else `idae-socket` on the `PATH`.
 */
export function findBinary(given?: string, surroundings: Surroundings = here): string {
  const { platform, arch, environment } = surroundings;
  // Who names a program wants that one: another would only hide the mistake.
  if (given !== undefined) return named(given, 'the option `binary`');
  const variable = environment[VARIABLE];
  if (variable) return named(variable, `the variable ${VARIABLE}`);
  const found = fromPackage(surroundings) ?? fromPath(surroundings);
  if (found) return found;
  throw new BinaryNotFoundError(
    `the gateway's program for ${platform}-${arch} is not installed.\n` +
      `  Install it with: npm install ${packageName(platform, arch)}\n` +
      '  (npm leaves it out with --omit=optional, and when node_modules was copied from another platform),\n' +
      '  or build it in a clone of https://github.com/medyll/idae-socket with: cargo install --locked --path crates/cli\n' +
      '  (once released: cargo install idae-socket-cli),\n' +
      `  have it on the PATH, or name it with the option \`binary\` or ${VARIABLE}.`,
  );
}

const packageName = (platform: string, arch: string): string => `@medyll/idae-socket-${platform}-${arch}`;
const fileName = (platform: string): string => (platform === 'win32' ? 'idae-socket.exe' : 'idae-socket');

function named(path: string, source: string): string {
  const absolute = resolve(path);
  if (isProgram(absolute)) return absolute;
  throw new BinaryNotFoundError(`${source} names ${absolute}, which is no file that can be run`);
}

function fromPackage({ platform, arch, locate }: Surroundings): string | undefined {
  try {
    const manifest = locate(`${packageName(platform, arch)}/package.json`);
    const path = join(dirname(manifest), 'bin', fileName(platform));
    return isProgram(path) ? path : undefined;
  } catch {
    return undefined;
  }
}

function fromPath({ platform, environment }: Surroundings): string | undefined {
  const folders = (environment.PATH ?? environment.Path ?? '').split(delimiter).filter(Boolean);
  return folders
    .map((folder) => resolve(folder, fileName(platform)))
    .find((path) => isProgram(path) && !isScript(path));
}

/** npm puts this package's own command on the PATH as a script: it would start itself for ever. */
function isScript(path: string): boolean {
  const file = openSync(path, 'r');
  try {
    const start = Buffer.alloc(2);
    readSync(file, start, 0, 2, 0);
    return start.toString('latin1') === '#!';
  } finally {
    closeSync(file);
  }
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
