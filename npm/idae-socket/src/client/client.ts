// One connection to a gateway: connects, shows the token, comes back, stays in its rooms.
//
// Invariants
// * A lost connection is tried again by socket.io-client; a refused one by this class, and only
//   if the refusal passes by itself. The same holds for a room that was granted before.
// * Every connection shows the newest token.
// * What was registered with `on`, and the rooms of `subscribe`, outlive any socket.

import { io, type Socket } from 'socket.io-client';
import { EventDataConfig, checkAuthentication, gatewayUrl, type EventDataOptions } from './config.js';
import type { AnyEvents, EmitEvents, EventName, ListenEvents } from './events.js';
import { handshake, newestToken } from './handshake.js';
import { Backoff, EventDataConnectError, passes, reasonOf } from './refusal.js';
import { EventDataRoomsError, Rooms, type RoomsLost } from './rooms.js';

/** What `onConnect` gets. */
export interface Connected {
  socketId: string;
  /** The gateway delivers what was missed since the last connection. Otherwise this is a fresh session. */
  recovered: boolean;
}

/** What `onDisconnect` gets. */
export interface Disconnected {
  /** socket.io-client's reason, such as `transport close` or `io server disconnect`. */
  reason: string;
  /** The client tries again by itself. */
  willRetry: boolean;
}

/** What `setToken` resolves with: the gateway's word about the new token, and the rooms it costs. */
export type TokenAnswer =
  | { status: 'ok' | 'OK'; expiresAt?: number; roomsLost?: string[] }
  | { status: 'error'; code: string; detail?: string };

/** How long `setToken` waits for the gateway's word. */
const TOKEN_ANSWER_MS = 10_000;

export class EventDataClientInstance<
  Events extends object = AnyEvents,
  Emits extends object = AnyEvents,
> {
  config: EventDataConfig;
  /** Called for each connection, the first and every later one. */
  onConnect?: (connected: Connected) => void;
  onDisconnect?: (disconnected: Disconnected) => void;
  /** Called when a connection does not come about, with the gateway's reason. Retries go on. */
  onConnectError?: (error: EventDataConnectError) => void;
  /** Called when rooms that were joined once are refused for good: after a new connection, or with a new token. */
  onRoomsLost?: (lost: RoomsLost) => void;

  #socket: Socket<any, any> | undefined;
  /** What the socket was made from: a change of these needs a new one. */
  #made: { url: string; options: EventDataOptions } | undefined;
  /** False between `disconnect()` and the next `connect()`: nothing may reconnect behind the user's back. */
  #wanted = false;
  readonly #listeners = new Set<{ event: string; listener: (...args: any[]) => void }>();
  readonly #sessionListeners = new Set<() => void>();
  readonly #rooms = new Rooms();
  readonly #backoff = new Backoff();
  /** For the rooms that are refused for the moment, while the connection stands. */
  readonly #roomsBackoff = new Backoff();
  /** Who waits for a socket to be made. */
  readonly #waiting = new Set<(socket: Socket<any, any>) => void>();
  /** Who waits for an answer on the socket there is, and must ask another if it is given up. */
  readonly #asking = new Set<() => void>();

  constructor(config: Partial<EventDataConfig> = {}) {
    this.config = new EventDataConfig(config);
  }

  /** The stock Socket.IO socket. There is one from `connect()` on. */
  get socket(): Socket<ListenEvents<Events>, EmitEvents<Emits>> {
    if (!this.#socket) throw new Error('there is no socket yet: call connect() first');
    return this.#socket as unknown as Socket<ListenEvents<Events>, EmitEvents<Emits>>;
  }

  get connected(): boolean {
    return this.#socket?.connected ?? false;
  }

  /** Connects, and stays connected until `disconnect()`. Never throws for a gateway that cannot be reached. */
  connect(): void {
    checkAuthentication(this.config.authentication);
    const url = gatewayUrl(this.config);
    const { options } = this.config;
    if (this.#made && !(this.#made.url === url && isShallowEqual(this.#made.options, options))) this.#discard();
    this.#wanted = true;
    this.#backoff.reset();
    this.#made ??= { url, options: { ...options } };
    const socket = (this.#socket ??= this.#open(url, options));
    for (const resume of this.#waiting) resume(socket);
    this.#waiting.clear();
    socket.connect();
  }

  /** Leaves, and does not come back before the next `connect()`. */
  disconnect(): void {
    this.#wanted = false;
    this.#backoff.cancel();
    this.#socket?.disconnect();
  }

  /** Listens to an event on this connection and all later ones, also before `connect()`. Returns what ends it. */
  on<Event extends EventName<ListenEvents<Events>>>(
    event: Event,
    listener: ListenEvents<Events>[Event],
  ): () => void {
    const name: string = event;
    const entry = { event: name, listener: listener as (...args: any[]) => void };
    this.#listeners.add(entry);
    this.#socket?.on(name, entry.listener);
    return () => {
      if (this.#listeners.delete(entry)) this.#socket?.off(name, entry.listener);
    };
  }

  /**
   * Joins rooms, now and again after each lost connection. Resolves with the rooms the gateway
   * confirmed; rejects with an `EventDataRoomsError` when it refuses.
   */
  subscribe(rooms: string | readonly string[]): Promise<string[]> {
    return this.#untilAnswered((socket) => this.#rooms.join(socket, [rooms].flat()));
  }

  /** Leaves rooms for good. */
  unsubscribe(rooms: string | readonly string[]): Promise<string[]> {
    return this.#untilAnswered((socket) => this.#rooms.leave(socket, [rooms].flat()));
  }

  /**
   * Called when a session begins that was not recovered, as soon as its rooms are joined: whatever
   * happened before was not delivered, so this is the time to load. Called again for rooms that could
   * only be joined later. Returns what ends it.
   */
  onFreshSession(listener: () => void): () => void {
    this.#sessionListeners.add(listener);
    return () => void this.#sessionListeners.delete(listener);
  }

  /**
   * Replaces the token for this and every later connection. Resolves with the gateway's word about
   * it: of the connected socket, or of the connection that is made with it. Never rejects.
   */
  async setToken(token: string): Promise<TokenAnswer> {
    this.config.authentication = { ...this.config.authentication, auth: token };
    const socket = this.#socket;
    // Nobody asked for a connection: the token is for the next connect().
    if (!socket || !this.#wanted) return { status: 'ok' };
    if (socket.connected) {
      try {
        return await this.#refresh(socket, token);
      } catch {
        // Without an answer the connection tells, which is made with the new token.
        if (socket.connected) return noAnswer();
      }
    }
    const verdict = this.#verdict(socket);
    if (!socket.active) this.#reconnect();
    return verdict;
  }

  #open(url: string, options: EventDataOptions): Socket<any, any> {
    const socket: Socket<any, any> = io(url, {
      // Two clients must not share a connection: the second one's options would be lost silently.
      forceNew: true,
      ...options,
      autoConnect: false,
      auth: handshake(
        () => this.config,
        (error) => this.#tokenFailed(error),
      ),
    });
    socket.on('connect', () => this.#connected(socket));
    socket.on('disconnect', (reason) => this.#disconnected(socket, reason));
    socket.on('connect_error', (error) => this.#failed(socket, error));
    socket.on('token:expiring', () => void this.#renew(socket));
    for (const { event, listener } of this.#listeners) socket.on(event, listener);
    return socket;
  }

  #discard(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#made = undefined;
    socket?.disconnect();
    socket?.off();
    this.#rooms.giveUp();
    for (const askAnother of this.#asking) askAnother();
  }

  #connected(socket: Socket): void {
    this.#backoff.reset();
    this.#roomsBackoff.reset();
    const isFresh = !socket.recovered;
    if (isFresh) this.#rooms.sessionBegun();
    void this.#rejoin(socket, isFresh);
    this.onConnect?.({ socketId: socket.id ?? '', recovered: socket.recovered ?? false });
  }

  /** Puts the session into the rooms it is not in: all, if it knows nothing of the one before. */
  async #rejoin(socket: Socket, isFresh: boolean): Promise<void> {
    const lost: RoomsLost[] = [];
    let isMissed = isFresh;
    let isGone = false;
    try {
      if (await this.#rooms.rejoin(socket, (rooms) => lost.push(rooms))) isMissed = true;
      if (isFresh) await this.#rooms.settled();
    } catch {
      // The connection is gone again; the next one asks for the rest.
      isGone = true;
    }
    for (const rooms of lost) this.onRoomsLost?.(rooms);
    if (isGone || !socket.connected) return;
    if (this.#rooms.areAbsent) this.#roomsBackoff.later(() => void this.#rejoin(socket, false), this.config.options);
    else this.#roomsBackoff.reset();
    if (isMissed) for (const begun of [...this.#sessionListeners]) begun();
  }

  #disconnected(socket: Socket, reason: string): void {
    this.#roomsBackoff.cancel();
    const comesBack = reason === 'io server disconnect' && this.#wanted && this.#hasFreshTokens;
    // Sent away with an old token, by all experience: one that is fetched now may do.
    if (comesBack) this.#retry();
    const willRetry = comesBack || (socket.active && this.#reconnects);
    this.onDisconnect?.({ reason, willRetry });
  }

  #failed(socket: Socket, error: Error & { data?: unknown }): void {
    // socket.io-client goes on when the connection failed, and gives up when the gateway refused.
    const refused = !socket.active;
    const { message, data } = refused ? { message: error.message, data: error.data } : reasonOf(error);
    const { code } = (data ?? {}) as { code?: unknown };
    const willRetry = this.#wanted && this.#reconnects && (!refused || passes(code, this.#hasFreshTokens));
    if (refused && willRetry) this.#retry();
    this.onConnectError?.(new EventDataConnectError(message, { data, willRetry, cause: error }));
  }

  #tokenFailed(cause: unknown): void {
    const said = cause instanceof Error ? cause.message : String(cause);
    // The connection without a token would only be refused.
    this.#socket?.disconnect();
    const willRetry = this.#wanted && this.#reconnects;
    if (willRetry) this.#retry();
    const data = { code: 'token_unavailable' };
    this.onConnectError?.(new EventDataConnectError(`no token: ${said}`, { data, willRetry, cause }));
  }

  /** The token ends soon, and there is a function that gets another. */
  async #renew(socket: Socket): Promise<void> {
    if (!this.#hasFreshTokens) return;
    try {
      const token = await newestToken(this.config);
      if (token && socket.connected) await this.#refresh(socket, token);
    } catch {
      // The token that is there lasts a little longer; at its end there is a new connection.
    }
  }

  /** Shows a new token on a connection that stands. The gateway takes the socket out of rooms it does not open. */
  async #refresh(socket: Socket, token: string): Promise<TokenAnswer> {
    const answer: TokenAnswer = await socket.timeout(TOKEN_ANSWER_MS).emitWithAck('token:refresh', token);
    const rooms = (answer?.status !== 'error' && answer?.roomsLost) || [];
    if (rooms.length > 0) {
      this.#rooms.forget(rooms);
      this.onRoomsLost?.({ rooms, code: 'room_forbidden', detail: 'the new token does not open them' });
    }
    return answer;
  }

  #retry(): void {
    this.#backoff.later(() => this.#reconnect(), this.config.options);
  }

  #reconnect(): void {
    this.#backoff.cancel();
    if (this.#wanted) this.#socket?.connect();
  }

  get #hasFreshTokens(): boolean {
    return typeof this.config.authentication?.auth === 'function';
  }

  get #reconnects(): boolean {
    return this.config.options.reconnection !== false;
  }

  /** What the next connection says about the token. */
  #verdict(socket: Socket): Promise<TokenAnswer> {
    return new Promise((resolve) => {
      const settle = (answer: TokenAnswer) => {
        clearTimeout(timer);
        socket.off('connect', accepted).off('connect_error', refused);
        resolve(answer);
      };
      const accepted = () => settle({ status: 'ok' });
      const refused = (error: Error & { data?: { code?: string } }) => {
        // A connection that failed on its way says nothing about the token.
        if (socket.active) return;
        settle({ status: 'error', code: error.data?.code ?? 'refused', detail: error.message });
      };
      const timer = setTimeout(() => settle(noAnswer()), TOKEN_ANSWER_MS);
      socket.on('connect', accepted).on('connect_error', refused);
    });
  }

  /** Asks until there is an answer: a connection that is lost before it only delays it. */
  async #untilAnswered<T>(ask: (socket: Socket<any, any>) => Promise<T>): Promise<T> {
    for (;;) {
      const socket = this.#socket ?? (await new Promise<Socket<any, any>>((made) => this.#waiting.add(made)));
      let askAnother = () => {};
      try {
        const givenUp = new Promise<never>((_, reject) => {
          askAnother = () => reject(new Error('the socket was given up'));
          this.#asking.add(askAnother);
        });
        return await Promise.race([ask(socket), givenUp]);
      } catch (error) {
        const connectionLost = !(error instanceof EventDataRoomsError) && !socket.connected;
        if (!connectionLost) throw error;
      } finally {
        this.#asking.delete(askAnother);
      }
    }
  }
}

function noAnswer(): TokenAnswer {
  const detail = `the gateway did not answer within ${TOKEN_ANSWER_MS / 1000} s; the token is kept for the next connection`;
  return { status: 'error', code: 'no_answer', detail };
}

function isShallowEqual(a: object, b: object): boolean {
  const [left, right] = [Object.entries(a), Object.entries(b)];
  return left.length === right.length && left.every(([key, value]) => Object.is(value, Reflect.get(b, key)));
}
