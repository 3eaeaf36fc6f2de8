// Other programs: found, run to their end, or kept running as servers. Whatever happens, none outlives this process.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const START_MS_MAX = 20_000;
const STOP_MS_MAX = 15_000;
const OUTPUT_TAIL = 2_000;

/** Programs that run. */
const running = new Set();

process.on('exit', () => {
  for (const child of running) child.kill('SIGTERM');
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

/** Where a program is, or undefined. Daemons are often in places that only root looks at. */
export function find(program) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  return folders.map((folder) => join(folder, program)).find((path) => existsSync(path));
}

/** The first and the last core that we may use, which are the least likely to be two halves of one. */
export function cores() {
  if (!find('taskset') || !existsSync('/proc/self/status')) return undefined;
  const allowed = /^Cpus_allowed_list:\s*(.+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
  const numbers = allowed.match(/\d+/g) ?? [];
  const [server, load] = [numbers[0], numbers.at(-1)];
  return server === load ? undefined : { server, load };
}

/** How many files, which includes sockets, a program that we start may open. */
export function openFilesMax() {
  const limit = spawnSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).stdout.trim();
  return limit === 'unlimited' ? Infinity : Number(limit);
}

/** Runs a program to its end. Gives what it printed; what it says on stderr can be seen, or is in the error. */
export async function run(program, args, { core, cwd, timeMsMax, isLoud = false } = {}) {
  const child = launch(program, args, { core, cwd, stdio: ['ignore', 'pipe', isLoud ? 'inherit' : 'pipe'] });
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text) => { stdout += text; });
  const late = timeMsMax && setTimeout(() => child.kill('SIGKILL'), timeMsMax);
  const { code, signal } = await child.ended;
  clearTimeout(late);
  if (code === 0) return stdout;
  if (signal === 'SIGKILL' && timeMsMax) throw new Error(`not done after ${timeMsMax / 1_000} s`);
  throw new Error(`${program} failed (${code ?? signal}): ${child.tail}`);
}

/** A program that serves on a port of 127.0.0.1, once it does. */
export class Server {
  /** `command` is told the port; `measured` finds the process that does the work, if it is not the first one. */
  static async start(command, { core, measured = (pid) => pid }) {
    const port = await freePort();
    const { program, args, cwd } = command(port);
    const child = launch(program, args, { core, cwd, stdio: ['ignore', 'ignore', 'pipe'] });
    const server = new Server(child, `http://127.0.0.1:${port}`);
    try {
      await server.#ready();
      server.pid = measured(child.pid);
      return server;
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  #child;

  constructor(child, url) {
    this.#child = child;
    this.url = url;
  }

  /** Any answer at all will do: what is asked for exists in few of them. */
  async #ready() {
    const end = Date.now() + START_MS_MAX;
    while (Date.now() < end && running.has(this.#child)) {
      const answer = await fetch(this.url, { signal: AbortSignal.timeout(1_000) }).catch(() => undefined);
      if (answer) return answer.arrayBuffer();
      await sleep(50);
    }
    throw new Error(`it did not start: ${this.#child.tail}`);
  }

  async stop() {
    this.#child.kill('SIGTERM');
    const late = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS_MAX);
    await this.#child.ended;
    clearTimeout(late);
  }
}

function launch(program, args, { core, cwd, stdio }) {
  const [first, ...rest] = core === undefined ? [program, ...args] : ['taskset', '-c', core, program, ...args];
  const child = spawn(first, rest, { cwd, stdio, env: environment() });
  running.add(child);
  child.tail = '';
  child.stderr?.setEncoding('utf8').on('data', (text) => { child.tail = (child.tail + text).slice(-OUTPUT_TAIL); });
  child.ended = new Promise((resolve) => {
    child.on('error', (error) => { child.tail = error.message; resolve({ code: 127 }); });
    child.on('close', (code, signal) => resolve({ code, signal }));
  }).finally(() => running.delete(child));
  return child;
}

/** Ours, without what configures a gateway that has nothing to do with this one. */
function environment() {
  const ours = Object.entries(process.env).filter(([name]) => !name.startsWith('IDAE_SOCKET_'));
  return { ...Object.fromEntries(ours), NODE_ENV: 'production' };
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().on('error', reject).listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
