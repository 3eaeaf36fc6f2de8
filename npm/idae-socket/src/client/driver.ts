// A connector for programs: what arrives from the gateway happens on a local emitter.

import { EventDataClientInstance } from './client.js';
import { EventDataConfig } from './config.js';
import type { AnyEvents, EventName, ListenEvents } from './events.js';
import { matches } from './pattern.js';
import { Backoff, passes } from './refusal.js';

/** Anything that takes events: Node's `EventEmitter`, mitt, … */
export interface Emitter {
  emit(event: string, ...args: any[]): unknown;
}

export interface SocketDriverConfig extends EventDataConfig {
  /** The events that are passed on, as patterns (`data:*`, `component/:action`). Without it: all. */
  events: readonly string[];
  /** The rooms to join. */
  rooms: readonly string[];
  /** Also told of every event that is passed on. */
  emitter: Emitter;
}

type Listener = (...args: any[]) => void;

export class SocketDriver<Events extends object = AnyEvents> {
  /** The connection: its callbacks, its token, its socket. */
  readonly client: EventDataClientInstance<Events>;
  readonly #events: readonly string[];
  readonly #rooms: readonly string[];
  readonly #emitter: Emitter | undefined;
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #backoff = new Backoff();
  #listening: Promise<this> | undefined;

  constructor(port?: number, config: Partial<SocketDriverConfig> = {}) {
    const { events = ['*'], rooms = [], emitter, ...connection } = config;
    this.client = new EventDataClientInstance({ ...connection, ...(port !== undefined && { port }) });
    this.#events = events;
    this.#rooms = rooms;
    this.#emitter = emitter;
  }

  /**
   * Connects and passes events on until `close()`. Resolves when the first connection stands;
   * while the gateway cannot be reached it waits, and `client.onConnectError` tells.
   */
  listen(): Promise<this> {
    this.#listening ??= this.#start();
    return this.#listening;
  }

  /** Stops listening. */
  close(): void {
    this.#listening = undefined;
    this.#backoff.reset();
    this.client.disconnect();
  }

  on<Event extends EventName<ListenEvents<Events>>>(event: Event, listener: ListenEvents<Events>[Event]): this {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener as Listener));
    return this;
  }

  off<Event extends EventName<ListenEvents<Events>>>(event: Event, listener: ListenEvents<Events>[Event]): this {
    this.#listeners.get(event)?.delete(listener as Listener);
    return this;
  }

  /** Passes an event on as if it had arrived. */
  emit(event: string, ...args: any[]): void {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) listener(...args);
    // Node's emitter throws an `error` that nobody listens to; an event of that name is no failure.
    if (event !== 'error' || hasListeners(this.#emitter, event)) this.#emitter?.emit(event, ...args);
  }

  readonly #pass = (event: string, ...args: any[]): void => {
    if (this.#events.some((pattern) => matches(pattern, event))) this.emit(event, ...args);
  };

  async #start(): Promise<this> {
    const { client } = this;
    client.connect();
    client.socket.offAny(this.#pass).onAny(this.#pass);
    if (this.#rooms.length > 0) void this.#join();
    if (!client.connected) await new Promise<void>((connected) => client.socket.once('connect', connected));
    return this;
  }

  async #join(): Promise<void> {
    const { client } = this;
    try {
      await client.subscribe(this.#rooms);
      this.#backoff.reset();
    } catch (error) {
      const { code, message } = error as Error & { code?: string };
      // From when they are joined on the client sees to them.
      if (passes(code)) this.#backoff.later(() => void this.#join(), client.config.options);
      else client.onRoomsLost?.({ rooms: [...this.#rooms], code: code ?? 'refused', detail: message });
    }
  }
}

function hasListeners(emitter: Emitter | undefined, event: string): boolean {
  const { listenerCount } = (emitter ?? {}) as { listenerCount?: (event: string) => number };
  return listenerCount ? listenerCount.call(emitter, event) > 0 : true;
}
