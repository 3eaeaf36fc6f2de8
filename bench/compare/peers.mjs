// The servers that are compared. Each is prepared, which throws the reason if it cannot be had here, and gives:
//   version   what exactly is measured
//   command   program, arguments and folder of a server on a port
//   measured  which process counts, if it is not the one that was started
//   wire      what `idae-socket bench` has to know to speak with it

import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { find, run } from './programs.mjs';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../..');
const FOLDER = join(ROOT, 'bench/peers');

const PLAIN_ROOMS = 'rooms=bench:all,bench:{socket}';

const NGINX_MODULES = ['/usr/lib/nginx/modules', '/usr/lib64/nginx/modules', '/usr/local/lib/nginx/modules'];

export const PEERS = [
  {
    name: 'idae-socket',
    about: 'this gateway',
    hasSocketIo: true,
    async prepare() {
      const program = await gateway();
      const version = (await run(program, ['--version'])).trim();
      // All clients come from one address here, which is what this setting is against.
      const settings = ['--set', 'log.level=error', '--set', 'socket.connections_per_address_max=1000000'];
      return { version, command: (port) => ({ program, args: ['serve', '--port', String(port), ...settings] }) };
    },
  },
  {
    name: 'Node',
    about: 'socket.io and express on Node',
    hasSocketIo: true,
    async prepare() {
      const cwd = await npmInstalled('node');
      const version = `Node ${process.versions.node}, ${packages(cwd, 'socket.io', 'express')}`;
      return { version, command: (port) => ({ program: process.execPath, args: ['server.mjs', String(port)], cwd }) };
    },
  },
  {
    name: 'Bun',
    about: 'socket.io on Bun',
    hasSocketIo: true,
    prepare: () => bun('socket.io.mjs', 'socket.io', '@socket.io/bun-engine'),
  },
  {
    name: 'socketioxide',
    about: 'socketioxide and axum, in Rust',
    hasSocketIo: true,
    async prepare() {
      const folder = join(FOLDER, 'socketioxide');
      const program = await cargoBuilt(['--manifest-path', join(folder, 'Cargo.toml')]);
      const lock = readFileSync(join(folder, 'Cargo.lock'), 'utf8');
      const version = ['socketioxide', 'axum']
        .map((name) => `${name} ${new RegExp(`^name = "${name}"\nversion = "(.+)"$`, 'm').exec(lock)?.[1]}`)
        .join(', ');
      return { version, command: (port) => ({ program, args: [String(port)] }) };
    },
  },
  {
    name: 'Bun ws',
    about: 'the WebSockets of Bun, which are uWebSockets, alone',
    hasSocketIo: false,
    async prepare() {
      return { ...await bun('websocket.mjs'), wire: ['--plain', `/?${PLAIN_ROOMS}`] };
    },
  },
  {
    name: 'nchan',
    about: 'channels in nginx',
    hasSocketIo: false,
    async prepare(sockets) {
      const nginx = find('nginx');
      const module = NGINX_MODULES.map((folder) => join(folder, 'ngx_nchan_module.so')).find((path) => existsSync(path));
      if (!nginx || !module) throw new Error('it needs nginx with nchan: apt-get install nginx libnginx-mod-nchan');
      const template = readFileSync(join(FOLDER, 'nchan/nginx.conf'), 'utf8');
      const folder = mkdtempSync(join(tmpdir(), 'idae-socket-nchan-'));
      process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
      return {
        version: await nginxVersion(nginx),
        command(port) {
          const conf = join(folder, 'nginx.conf');
          const values = { PORT: port, MODULE: module, CONNECTIONS: sockets + 1_000 };
          writeFileSync(conf, template.replace(/@([A-Z]+)@/g, (_, name) => values[name]));
          return { program: nginx, args: ['-e', 'stderr', '-p', folder, '-c', conf] };
        },
        // The worker: the master has next to nothing to do.
        measured: (pid) => Number.parseInt(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'), 10),
        wire: ['--plain', `/socket?${PLAIN_ROOMS}`, '--publish-path', '/publish?room={room}'],
      };
    },
  },
];

let built;

/** The gateway's program, which is the load generator too. */
export function gateway() {
  built ??= cargoBuilt(['--package', 'idae-socket-cli']);
  return built;
}

/** Builds one program. Cargo tells where it put it. */
async function cargoBuilt(args) {
  if (!find('cargo')) throw new Error('it needs Rust: https://rustup.rs');
  const options = ['build', '--release', '--locked', '--message-format=json-render-diagnostics'];
  const messages = await run('cargo', [...options, ...args], { cwd: ROOT, isLoud: true });
  const program = messages.trim().split('\n').map((line) => JSON.parse(line).executable).findLast(Boolean);
  if (!program) throw new Error('cargo built no program');
  return program;
}

/** Installs the packages of a peer, unless they are there already. */
async function npmInstalled(name) {
  const folder = join(FOLDER, name);
  const [wanted, there] = ['package-lock.json', 'node_modules/.package-lock.json'].map((file) => join(folder, file));
  if (!existsSync(there) || statSync(there).mtimeMs < statSync(wanted).mtimeMs) {
    await run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder });
  }
  return folder;
}

function packages(folder, ...names) {
  const version = (name) => JSON.parse(readFileSync(join(folder, 'node_modules', name, 'package.json'), 'utf8')).version;
  return names.map((name) => `${name} ${version(name)}`).join(', ');
}

async function bun(script, ...names) {
  const cwd = await npmInstalled('bun');
  const program = join(cwd, 'node_modules/.bin/bun');
  const version = [`Bun ${(await run(program, ['--version'])).trim()}`, packages(cwd, ...names)].filter(Boolean).join(', ');
  return { version, command: (port) => ({ program, args: [script, String(port)], cwd }) };
}

/** nginx tells its own version only on stderr, and nchan's nowhere: Debian knows both. */
async function nginxVersion(nginx) {
  const names = ['nginx', 'libnginx-mod-nchan'];
  const debian = run('dpkg-query', ['--show', '--showformat', '${Package} ${Version}\n', ...names]);
  return debian.then((text) => text.trim().replaceAll('\n', ', '), () => `${nginx}, version unknown`);
}
