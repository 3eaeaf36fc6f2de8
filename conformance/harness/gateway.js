// Starts the programs under test as real processes and stops them again.
//
// IDAE_SOCKET_BIN        the gateway
// IDAE_SOCKET_SUITE_BIN  the example server `protocol_suite`
// IDAE_SOCKET_SUITE_URL  a suite server that already runs, instead of starting one

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Waiters, sleep, within } from './events.js';
import { request } from './raw.js';

const conformance = fileURLToPath(new URL('..', import.meta.url));
const START_MS = 15_000;
const STOP_MS = 20_000;

export const gatewayBinary = () =>
  resolve(conformance, process.env.IDAE_SOCKET_BIN ?? '../target/conformance/idae-socket');
const suiteBinary = () =>
  resolve(
    conformance,
    process.env.IDAE_SOCKET_SUITE_BIN ?? '../target/conformance/examples/protocol_suite',
  );

/**
 * True while the tests themselves are checked against the reference implementation.
 * Cases where the contract asks for more than the reference does are skipped then.
 */
export const onReference = Boolean(process.env.IDAE_SOCKET_CHECK_REFERENCE);

/** Test options for a case in which the gateway must be better than the reference. */
export const better = { skip: onReference && 'the reference does not do this' };

/** The environment a child gets: ours without any setting of the gateway, plus `env`. */
export function cleanEnvironment(env = {}) {
  const clean = {};
  for (const [name, value] of Object.entries(process.env)) {
    // The test runner talks to its own children through this variable.
    if (!name.startsWith('IDAE_SOCKET_') && name !== 'NODE_TEST_CONTEXT') clean[name] = value;
  }
  return { ...clean, ...env };
}

// A test that fails half-way must not leave its server behind.
const running = new Set();
process.on('exit', () => {
  for (const program of running) {
    program.killNow();
    rmSync(program.folder, { recursive: true, force: true });
  }
});
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => process.exit(1));
}

/** A started program: what it printed and how it ended. */
export class Program {
  #child;
  #folder;
  #waiters = new Waiters();
  logs = '';
  stdout = '';
  stderr = '';
  /** `{code, signal}` once it has ended, else null. */
  ended = null;

  constructor(binary, args, { env = {}, config } = {}) {
    // Its own working directory: a stray idae-socket.toml elsewhere must not count.
    this.#folder = mkdtempSync(join(tmpdir(), 'idae-socket-test-'));
    const allArgs = [...args];
    if (config !== undefined) {
      const file = join(this.#folder, 'gateway.toml');
      writeFileSync(file, config);
      allArgs.push('--config', file);
    }
    this.#child = spawn(binary, allArgs, {
      cwd: this.#folder,
      env: cleanEnvironment(env),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.stdin = this.#child.stdin;
    this.stdin.on('error', () => {});
    running.add(this);
    for (const name of ['stdout', 'stderr']) {
      this.#child[name].setEncoding('utf8');
      this.#child[name].on('data', (text) => {
        this[name] += text;
        this.logs += text;
        this.#waiters.wake();
      });
    }
    this.exited = new Promise((settle) => {
      const end = (ended) => {
        if (this.ended) return;
        this.ended = ended;
        running.delete(this);
        rmSync(this.#folder, { recursive: true, force: true });
        this.#waiters.wake();
        settle(ended);
      };
      this.#child.on('error', (error) => {
        this.logs += `cannot start ${binary}: ${error.message}\n`;
        end({ code: null, signal: null });
      });
      this.#child.on('close', (code, signal) => end({ code, signal }));
    });
  }

  get pid() {
    return this.#child.pid;
  }

  get folder() {
    return this.#folder;
  }

  signal(name) {
    if (!this.ended) this.#child.kill(name);
  }

  killNow() {
    this.signal('SIGKILL');
  }

  /** Waits until the output matches and returns the match. */
  async logged(pattern, waitMs = START_MS) {
    const look = () => {
      const match = this.logs.match(pattern);
      if (match) return match;
      if (!this.ended) return undefined;
      throw new Error(`ended (${JSON.stringify(this.ended)}) without printing ${pattern}:\n${this.logs}`);
    };
    return this.#waiters.until(look, () => `${pattern} in:\n${this.logs}`, waitMs);
  }

  /** SIGTERM, then the exit code. */
  async stop(waitMs = STOP_MS) {
    this.signal('SIGTERM');
    try {
      return (await within(this.exited, 'the end of the process after SIGTERM', waitMs)).code;
    } catch (error) {
      this.killNow();
      throw new Error(`${error.message}\n${this.logs}`);
    }
  }

  /**
   * The last step of every test file: the program must have lived until here and must not
   * have panicked on the way. Kills it, because waiting for a drain is not under test.
   */
  async end() {
    const early = this.ended;
    this.killNow();
    await this.exited;
    if (early) {
      throw new Error(`the process ended by itself (${JSON.stringify(early)}):\n${this.logs}`);
    }
    if (/panicked at/.test(this.logs)) throw new Error(`the process panicked:\n${this.logs}`);
  }
}

/** `end` for several programs: all of them are ended, whatever one of them has to report. */
export async function endAll(...programs) {
  const outcomes = await Promise.allSettled(programs.map((program) => program?.end()));
  const failed = outcomes.find(({ status }) => status === 'rejected');
  if (failed) throw failed.reason;
}

/** A running gateway: `port`, `host`, `url`, the process's output, `publish`, `end`. */
export class Gateway extends Program {
  host = '127.0.0.1';
  port = 0;

  get url() {
    return `http://${this.host}:${this.port}`;
  }

  /** POST of one event; `body` is an object, or a string/Buffer sent as it is. */
  async post(path, body, headers = {}) {
    const raw = typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    return request(this, {
      method: 'POST',
      path,
      headers: { 'content-type': 'application/json', ...headers },
      body: raw,
    });
  }

  /** Publishes and insists on 200; returns the reply's object. */
  async publish(event, body) {
    const reply = await this.post(`/${event}`, body);
    if (reply.status !== 200) throw new Error(`publish ${event}: ${reply.status} ${reply.text}`);
    return reply.json();
  }
}

/**
 * Starts the gateway on a port the system chooses and waits until it says where it listens.
 * `config` is the text of a TOML file; `port` asks for one certain port.
 */
export async function startGateway({ args = [], env = {}, config, port = 0 } = {}) {
  const gateway = new Gateway(gatewayBinary(), ['--port', String(port), ...args], { env, config });
  try {
    const [, printed] = await gateway.logged(/http:\/\/127\.0\.0\.1:([1-9]\d*)/);
    gateway.port = Number(printed);
    await accepts(gateway);
  } catch (error) {
    gateway.killNow();
    throw error;
  }
  return gateway;
}

/** Runs the gateway's command to its end: for `check`, bad settings and the like. */
export async function runGateway({ args = [], env = {}, config, input = '', waitMs = START_MS } = {}) {
  const program = new Program(gatewayBinary(), args, { env, config });
  program.stdin.end(input);
  try {
    const { code, signal } = await within(program.exited, 'the end of the command', waitMs);
    const { stdout, stderr, logs } = program;
    return { code, signal, stdout, stderr, logs };
  } catch (error) {
    program.killNow();
    throw new Error(`${error.message}\n${program.logs}`);
  }
}

/** Time enough to answer a ping on a busy machine: for all tests that are not about heartbeats. */
const CALM = ['--ping-timeout-ms', '20000'];
/** What the official suites want. */
export const SUITE_HEARTBEAT = [];

/**
 * The server the protocol cases talk to: `/engine.io/` echoes, `/socket.io/` has `/` and
 * `/custom`. Ping interval 300 ms, ping timeout 200 ms, payloads up to 1,000,000 bytes,
 * connect timeout 1,000 ms.
 */
export async function startSuiteServer({ heartbeat = CALM, env = {} } = {}) {
  if (process.env.IDAE_SOCKET_SUITE_URL) {
    const { hostname: host, port } = new URL(process.env.IDAE_SOCKET_SUITE_URL);
    const server = { host, port: Number(port), url: `http://${host}:${port}`, end: async () => {} };
    await accepts(server);
    return server;
  }
  // Another process may take the free port before ours does: try again then.
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    const server = new Gateway(suiteBinary(), ['--port', String(port), ...heartbeat], { env });
    server.port = port;
    try {
      await accepts(server);
      return server;
    } catch (error) {
      server.killNow();
      if (attempt === 3) throw new Error(`${error.message}\n${server.logs}`);
    }
  }
}

const given = new Set();

/** A port nobody listens on just now, and that was not given out before: two that are asked for are never one. */
export async function freePort() {
  for (;;) {
    const server = createServer();
    await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
    const { port } = server.address();
    await new Promise((closed) => server.close(closed));
    if (!given.has(port)) {
      given.add(port);
      return port;
    }
  }
}

async function accepts(server) {
  const deadline = Date.now() + START_MS;
  while (Date.now() < deadline && !server.ended) {
    const connected = await new Promise((settle) => {
      const socket = connect(server.port, server.host);
      socket.on('connect', () => {
        socket.destroy();
        settle(true);
      });
      socket.on('error', () => settle(false));
    });
    if (connected) return;
    await sleep(20);
  }
  throw new Error(`nobody accepts connections on port ${server.port}`);
}
