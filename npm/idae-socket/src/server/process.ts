// One run of the gateway's program: from its start to its end.
//
// Invariants
// * The program ends when its standard input closes, and the other end of that is in this process
//   alone: however this process ends, the program does too.
// * The configuration never stands on the command line, which every user of the machine can read.
//   It is in a file that only this user can read, and only until the gateway has read it.

import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Environment } from './binary.js';
import { eachLine, isLogged } from './log.js';

/** The gateway did not start. The message is what it said itself. */
export class GatewayStartError extends Error {
  override readonly name = 'GatewayStartError';
  readonly code = 'gateway_start_failed';
  readonly exitCode: number | null;
  /** Everything the gateway wrote. */
  readonly output: string;

  constructor(message: string, given: { exitCode?: number | null; output?: string; cause?: unknown } = {}) {
    super(message, given.cause === undefined ? undefined : { cause: given.cause });
    this.exitCode = given.exitCode ?? null;
    this.output = given.output ?? '';
  }
}

export interface Ended {
  code: number | null;
  signal: string | null;
}

export interface StartOptions {
  binary: string;
  port: number;
  /** The configuration file's text. */
  toml: string;
  environment: Environment;
  startTimeoutMs: number;
  /** Ends a start that is not wanted any more. */
  abort: AbortSignal;
  /** Each line of the log, and the first one of the greeting. */
  onLine: (line: string) => void;
}

const FLAG = '--exit-on-stdin-close';
const GREETING = /listens on (http:\/\/\S+)/;
/** How long it takes until the next look, if the gateway listens and is not ready yet. */
const READY_POLL_MS = 20;
/** What is kept of the output, to explain a failed start. */
const OUTPUT_CHARS_MAX = 64 * 1024;

export class GatewayProcess {
  /** Where it listens. */
  url = '';
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;
  #output = '';
  #isReady = false;

  /** Starts the program and waits until the gateway is ready. */
  static async start(options: StartOptions): Promise<GatewayProcess> {
    const folder = mkdtempSync(join(tmpdir(), 'idae-socket-'));
    const file = join(folder, 'configuration.toml');
    let started: GatewayProcess | undefined;
    try {
      writeFileSync(file, options.toml, { mode: 0o600, flag: 'wx' });
      started = new GatewayProcess(options, file);
      await started.#ready(options, file);
      started.#isReady = true;
      return started;
    } catch (error) {
      started?.kill();
      await started?.ended.catch(() => {});
      throw error;
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  private constructor({ binary, port, environment, onLine }: StartOptions, file: string) {
    const args = ['serve', FLAG, '--config', file, '--port', String(port)];
    this.#child = spawn(binary, args, { env: environment, stdio: ['pipe', 'pipe', 'pipe'], windowsHide: true });
    this.ended = new Promise((resolve, reject) => {
      // Also told of a signal that could not be sent; then the program still runs.
      this.#child.on('error', (error) => this.#child.pid === undefined && reject(error));
      // Not `exit`: the last words may still be on their way then.
      this.#child.once('close', (code, signal) => resolve({ code, signal }));
    });
    // Whoever needs to know asks `ended`; nobody has to.
    this.ended.catch(() => {});
    this.#child.stdin!.on('error', () => {});
    eachLine(this.#child.stdout!, (line) => {
      this.#keep(line);
      if (GREETING.test(line)) onLine(line);
    });
    eachLine(this.#child.stderr!, (line) => {
      this.#keep(line);
      // What it says when it refuses to start is told once, by the error.
      if (this.#isReady || isLogged(line)) onLine(line);
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Asks the gateway to stop, and no longer asks after this time. */
  async stop(timeoutMs: number): Promise<void> {
    this.#child.kill('SIGTERM');
    const late = setTimeout(() => this.kill(), timeoutMs);
    await this.ended.catch(() => {});
    clearTimeout(late);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async #ready({ binary, startTimeoutMs, abort }: StartOptions, file: string): Promise<void> {
    const over = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const givenUp = new Promise<never>((_, reject) => {
      const giveUp = (why: string) => reject(new GatewayStartError(why, { output: this.#output }));
      timer = setTimeout(() => {
        giveUp(`the gateway is not ready after ${startTimeoutMs} ms\n${this.#output}`);
      }, startTimeoutMs);
      const closed = () => giveUp('close() was called while the gateway started');
      abort.addEventListener('abort', closed, { signal: over.signal });
    });
    const endedEarly = this.ended.then(
      ({ code }) => Promise.reject(this.#refused(binary, code, file)),
      (cause: Error) => Promise.reject(new GatewayStartError(`cannot run ${binary}: ${cause.message}`, { cause })),
    );
    try {
      await Promise.race([this.#answers(over.signal), endedEarly, givenUp]);
    } finally {
      clearTimeout(timer);
      over.abort();
      // It ends some day, and then nobody waits for its start any more.
      endedEarly.catch(() => {});
    }
  }

  async #answers(over: AbortSignal): Promise<void> {
    this.url = reachable(await this.#greeted());
    while (!over.aborted) {
      const answer = await fetch(new URL('/readyz', this.url), { signal: over }).catch(() => undefined);
      await answer?.arrayBuffer().catch(() => {});
      if (answer?.ok) return;
      await sleep(READY_POLL_MS);
    }
  }

  #greeted(): Promise<string> {
    return new Promise((resolve) => {
      const look = () => {
        const [, url] = GREETING.exec(this.#output) ?? [];
        if (!url) return;
        this.#child.stdout!.off('data', look);
        resolve(url);
      };
      this.#child.stdout!.on('data', look);
    });
  }

  #refused(binary: string, exitCode: number | null, file: string): GatewayStartError {
    const output = this.#output.replaceAll(file, 'configuration');
    if (output.includes(FLAG)) {
      const message = `${binary} is older than this package and cannot be run by it: it does not know ${FLAG}`;
      return new GatewayStartError(message, { exitCode, output });
    }
    // What it says about the refusal comes last, without a time in front.
    const words = output
      .split('\n')
      .filter((line) => line && !isLogged(line))
      .join('\n')
      .replace(/^idae-socket: /, '')
      // The flag and the variable of a port that is taken reach the gateway from here in another way.
      .replace('(--port, IDAE_SOCKET_PORT)', '(`listen(port)`; 0 takes a free one)');
    return new GatewayStartError(words || `the gateway ended with exit code ${exitCode}`, { exitCode, output });
  }

  #keep(line: string): void {
    if (this.#output.length < OUTPUT_CHARS_MAX) this.#output += `${line}\n`;
  }
}

/** An address that stands for all of them is none to connect to on every system. */
function reachable(url: string): string {
  return url.replace('//0.0.0.0:', '//127.0.0.1:').replace('//[::]:', '//[::1]:');
}
