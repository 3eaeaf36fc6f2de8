// Runs the gateway beside a Node program, and publishes to it.

import { randomBytes } from 'node:crypto';
import type { AnyEvents, EventName, PayloadOf } from '../client/events.js';
import { findBinary, gatewayEnvironment, type Environment } from './binary.js';
import type { GatewayConfiguration } from './configuration.js';
import { readLine, type LogEntry } from './log.js';
import { GatewayProcess, type Ended, type GatewayStartError } from './process.js';
import { Publisher, PublishError, type PublishOptions, type Published } from './publisher.js';
import { toToml } from './toml.js';

/** Where a started gateway listens. */
export interface Listening {
  url: string;
  port: number;
}

/** The gateway's end, when nobody asked for it. */
export interface Crash {
  exitCode: number | null;
  signal: string | null;
  /** How many times in a row it has ended. */
  times: number;
  /** When it is started again; `undefined` if it is not. */
  restartInMs: number | undefined;
  /** Why the last restart failed, if that is what happened. */
  error?: Error;
}

export interface RestartOptions {
  /** The first wait; each further one is twice as long. 200 by default. */
  delayMs?: number;
  /** The longest wait. 10,000 by default. */
  delayMaxMs?: number;
  /** After so many ends in a row it stays down. Without it: never. */
  timesMax?: number;
}

export interface HttpDriverOptions {
  /** The gateway's program. Otherwise `IDAE_SOCKET_BINARY`, the platform's package, or the `PATH`. */
  binary?: string;
  /** Gets each line of the gateway's log. Without it the lines go to this process's standard error. */
  onLog?: (entry: LogEntry) => void;
  /** Called whenever the gateway is ready: after the start, and after each restart. */
  onReady?: (listening: Listening) => void;
  /** Called when the gateway ends without being asked to. */
  onCrash?: (crash: Crash) => void;
  /** How a gateway that crashed is started again; `false` leaves it down. */
  restart?: RestartOptions | false;
  /** How long a start may take. 15,000 by default. */
  startTimeoutMs?: number;
  /** How long `close()` waits for the gateway before it kills it. By default `drain_s` and 5 seconds more. */
  stopTimeoutMs?: number;
  /**
   * Hands this process's `IDAE_SOCKET_…` variables to the gateway, where they override the object, as
   * they override a configuration file. Otherwise the object alone counts.
   */
  inheritEnvironment?: boolean;
  /** The key for `toRoom`, `toUser` and `toAll`. By default one of the configuration. */
  publishKey?: string;
}

const DEFAULT_PORT = 4000;
const START_MS = 15_000;
const DRAIN_S = 10;
const STOP_MARGIN_MS = 5_000;
/** Whoever runs this long has started well: the next crash is a first one. */
const STEADY_MS = 30_000;

type State = 'stopped' | 'starting' | 'running' | 'down';

export class HttpDriver<Events extends object = AnyEvents> {
  readonly #configuration: GatewayConfiguration;
  readonly #options: HttpDriverOptions;
  readonly #publishKey: string | undefined;
  #state: State = 'stopped';
  #process: GatewayProcess | undefined;
  #listening: Listening | undefined;
  #starting: Promise<unknown> | undefined;
  #abort = new AbortController();
  #crashes = 0;
  #restart: ReturnType<typeof setTimeout> | undefined;

  constructor(configuration: GatewayConfiguration = {}, options: HttpDriverOptions = {}) {
    const { key, configuration: completed } = withPublishKey(configuration, options);
    this.#configuration = completed;
    this.#publishKey = key;
    this.#options = options;
  }

  /** The gateway's address, once it is ready. */
  get url(): string | undefined {
    return this.#listening?.url;
  }

  get port(): number | undefined {
    return this.#listening?.port;
  }

  /** The process id of the running gateway. */
  get pid(): number | undefined {
    return this.#state === 'running' ? this.#process?.pid : undefined;
  }

  /**
   * Starts the gateway. Resolves when it is ready; rejects with its own words when it does not start.
   * The port overrides `port` of the configuration; 0 takes a free one.
   */
  async listen(port: number = this.#configuration.port ?? DEFAULT_PORT): Promise<Listening> {
    if (this.#state !== 'stopped') throw new Error(`listen() was called before: this gateway is ${this.#state}`);
    this.#state = 'starting';
    this.#abort = new AbortController();
    this.#crashes = 0;
    try {
      return await this.#start(port);
    } catch (error) {
      this.#state = 'stopped';
      throw error;
    }
  }

  /** Stops the gateway: asks it to, waits for it, and kills it if it does not stop. Never rejects. */
  async close(): Promise<void> {
    this.#state = 'stopped';
    clearTimeout(this.#restart);
    // A program that is just starting must not be left behind.
    this.#abort.abort();
    await this.#starting?.catch(() => {});
    // It may have become ready in that very moment.
    this.#state = 'stopped';
    const { drain_s: drainS = DRAIN_S } = this.#configuration;
    await this.#process?.stop(this.#options.stopTimeoutMs ?? drainS * 1000 + STOP_MARGIN_MS);
    this.#process = undefined;
    this.#listening = undefined;
  }

  /** To everyone in a room or with a role, or in one of several. */
  async toRoom<Event extends EventName<Events>>(
    room: string | readonly string[],
    event: Event,
    payload: PayloadOf<Events[Event]>,
    options?: PublishOptions,
  ): Promise<Published> {
    return this.#publisher().toRoom(room, event, payload, options);
  }

  /** To every socket of a user, or of several. */
  async toUser<Event extends EventName<Events>>(
    user: string | number | readonly (string | number)[],
    event: Event,
    payload: PayloadOf<Events[Event]>,
    options?: PublishOptions,
  ): Promise<Published> {
    return this.#publisher().toUser(user, event, payload, options);
  }

  /** To everyone in the namespace. */
  async toAll<Event extends EventName<Events>>(
    event: Event,
    payload: PayloadOf<Events[Event]>,
    options?: PublishOptions,
  ): Promise<Published> {
    return this.#publisher().toAll(event, payload, options);
  }

  #publisher(): Publisher<Events> {
    if (!this.#listening) {
      const detail = `there is no gateway to publish to: it is ${this.#state}; await listen() first`;
      throw new PublishError({ status: 0, code: 'gateway_unreachable', detail });
    }
    return new Publisher({ url: this.#listening.url, key: this.#publishKey });
  }

  async #start(port: number): Promise<Listening> {
    const { binary, startTimeoutMs = START_MS, onReady } = this.#options;
    const starting = GatewayProcess.start({
      binary: findBinary(binary),
      port,
      toml: toToml({ ...this.#configuration, port: undefined }),
      environment: this.#environment(),
      startTimeoutMs,
      abort: this.#abort.signal,
      onLine: (line) => this.#log(line),
    });
    this.#starting = starting;
    const process = await starting;
    this.#process = process;
    const listening = { url: process.url, port: Number(new URL(process.url).port) };
    this.#state = 'running';
    this.#listening = listening;
    const since = Date.now();
    process.ended.then((ended) => this.#ended(ended, Date.now() - since));
    onReady?.(listening);
    return listening;
  }

  #ended({ code, signal }: Ended, ranMs: number): void {
    if (this.#state !== 'running') return;
    if (ranMs >= STEADY_MS) this.#crashes = 0;
    if (code === 0) {
      // Somebody else told it to stop, and stopped it is.
      this.#state = 'stopped';
      this.#options.onCrash?.({ exitCode: 0, signal: null, times: 1, restartInMs: undefined });
      return;
    }
    this.#crashed({ exitCode: code, signal });
  }

  #crashed(how: { exitCode: number | null; signal: string | null; error?: Error }): void {
    const { onCrash, restart = {} } = this.#options;
    this.#crashes += 1;
    const delay = restart === false ? undefined : this.#delay(restart);
    this.#state = delay === undefined ? 'stopped' : 'down';
    if (delay !== undefined) this.#restart = setTimeout(() => void this.#startAgain(), delay);
    onCrash?.({ ...how, times: this.#crashes, restartInMs: delay });
  }

  #delay({ delayMs = 200, delayMaxMs = 10_000, timesMax = Infinity }: RestartOptions): number | undefined {
    if (this.#crashes > timesMax) return undefined;
    return Math.min(delayMs * 2 ** (this.#crashes - 1), delayMaxMs);
  }

  async #startAgain(): Promise<void> {
    this.#state = 'starting';
    try {
      // The same port, also when the system chose it: clients come back to where they were.
      await this.#start(this.#listening?.port ?? DEFAULT_PORT);
    } catch (error) {
      if (this.#state !== 'starting') return;
      const { exitCode } = error as GatewayStartError;
      this.#crashed({ exitCode: exitCode ?? null, signal: null, error: error as Error });
    }
  }

  #environment(): Environment {
    const environment = gatewayEnvironment();
    if (this.#options.inheritEnvironment) return environment;
    return Object.fromEntries(Object.entries(environment).filter(([name]) => !/^IDAE_SOCKET_/i.test(name)));
  }

  #log(line: string): void {
    const { onLog } = this.#options;
    if (onLog) onLog(readLine(line));
    else process.stderr.write(`${line}\n`);
  }
}

/** The key that `toRoom` and the like show, and the configuration in which it counts. */
function withPublishKey(
  configuration: GatewayConfiguration,
  { publishKey, inheritEnvironment }: HttpDriverOptions,
): { key: string | undefined; configuration: GatewayConfiguration } {
  const { key, keys = [] } = configuration.publish ?? {};
  const inherited = inheritEnvironment ? process.env.IDAE_SOCKET_PUBLISH_KEY : undefined;
  const unlimited = keys.find(({ events, rooms }) => !events && !rooms)?.key;
  const known = publishKey ?? inherited ?? key ?? unlimited;
  if (known !== undefined || keys.length === 0) return { key: known, configuration };
  // Every key there is has limits, and without a key nothing can be published any more.
  const own = { name: 'HttpDriver', key: randomBytes(24).toString('base64url') };
  const publish = { ...configuration.publish, keys: [...keys, own] };
  return { key: own.key, configuration: { ...configuration, publish } };
}
