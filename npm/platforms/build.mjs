// Makes the package that carries the gateway's program for one platform.
//
//   npm run platform                                    this platform, from the program the tests use
//   npm run platform -- --binary target/release/idae-socket
//   npm run platform -- --binary FILE --target darwin-arm64
//
// The package is in platforms/<platform>-<arch>/ then, ready for `npm pack` or `npm publish`.

import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { addLicences } from './licences.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const manifest = JSON.parse(readFileSync(join(here, '../idae-socket/package.json'), 'utf8'));
export const targets = JSON.parse(readFileSync(join(here, 'targets.json'), 'utf8'));

/** Writes the package and returns its folder. */
export function buildPlatform({ binary, target = `${process.platform}-${process.arch}` }) {
  const { platform, arch } = targets.find((known) => `${known.platform}-${known.arch}` === target) ?? unknown(target);
  const name = `${manifest.name}-${target}`;
  const program = platform === 'win32' ? 'idae-socket.exe' : 'idae-socket';
  const bytes = readFileSync(binary);
  const folder = join(here, target);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, 'bin'), { recursive: true });
  copyFileSync(binary, join(folder, 'bin', program));
  chmodSync(join(folder, 'bin', program), 0o755);
  addLicences(folder);
  const { version, license, repository, homepage, bugs } = manifest;
  const libc = platform === 'linux' ? libcOf(bytes) : undefined;
  const described = {
    name,
    version,
    description: `The program of ${manifest.name} for ${platform} on ${arch}.`,
    license,
    repository,
    homepage,
    bugs,
    os: [platform],
    cpu: [arch],
    ...(libc && { libc: [libc] }),
    // A program inside of an archive cannot be run.
    preferUnplugged: true,
    files: ['bin', 'LICENSE-MIT', 'LICENSE-APACHE'],
  };
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(described, null, 2)}\n`);
  const readme = `# ${name}\n\n${described.description} Install \`${manifest.name}\`, which brings this along.\n`;
  writeFileSync(join(folder, 'README.md'), readme);
  return folder;
}

/** The C library a Linux program wants, by its dynamic loader; none if it is linked statically. */
export function libcOf(bytes) {
  const loader = bytes.subarray(0, 4096).toString('latin1').match(/\/ld-(musl|linux)[-.\w]*/);
  if (!loader) return undefined;
  return loader[1] === 'musl' ? 'musl' : 'glibc';
}

function unknown(target) {
  const known = targets.map(({ platform, arch }) => `${platform}-${arch}`).join(', ');
  throw new Error(`there is no platform ${target}; there are ${known}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { binary: { type: 'string' }, target: { type: 'string' } } });
  // npm runs this in its own folder, and a person names a file as seen from theirs.
  const from = process.env.INIT_CWD ?? process.cwd();
  const binary = values.binary ?? process.env.IDAE_SOCKET_BIN ?? join(here, '../../target/conformance/idae-socket');
  console.log(buildPlatform({ ...values, binary: resolve(from, binary) }));
}
