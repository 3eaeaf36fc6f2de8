// The rooms a client wants to be in, over all its connections.
//
// Invariants
// * A room that was granted once is wanted until it is left, or refused for good.
// * A wanted room that the session is not in is absent, and is asked for until it is not.

import { passes } from './refusal.js';

/** What the gateway answers to `subscribe` and `unsubscribe`. */
export type RoomsAnswer =
  | { status: 'ok'; rooms: string[] }
  | { status: 'error'; code: string; detail?: string };

/** Rooms that were joined once and are refused now: after a lost connection, or with a new token. */
export interface RoomsLost {
  rooms: string[];
  code: string;
  detail?: string;
}

/** The gateway did not let the client into a room. Nothing was joined. */
export class EventDataRoomsError extends Error {
  override readonly name = 'EventDataRoomsError';
  readonly code: string;
  readonly detail: string | undefined;
  readonly rooms: string[];

  constructor(rooms: string[], answer: { code: string; detail?: string }) {
    super(`${rooms.join(', ')}: ${answer.detail ?? answer.code}`);
    this.rooms = rooms;
    this.code = answer.code;
    this.detail = answer.detail;
  }
}

/** What this needs of a socket. */
interface Asking {
  emitWithAck(event: string, ...args: unknown[]): Promise<unknown>;
}

export class Rooms {
  /** Those the gateway has granted, and has not refused for good since. */
  readonly #granted = new Set<string>();

  /** Those of them that the session is not in. */
  readonly #absent = new Set<string>();

  readonly #joining = new Set<Promise<unknown>>();

  async join(socket: Asking, rooms: string[]): Promise<string[]> {
    const asked = this.#ask(socket, 'subscribe', rooms);
    this.#joining.add(asked);
    try {
      const answer = await asked;
      for (const room of rooms) {
        this.#granted.add(room);
        this.#absent.delete(room);
      }
      return answer.rooms;
    } finally {
      this.#joining.delete(asked);
    }
  }

  /** Waits until everything that was asked for is answered. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#joining);
  }

  async leave(socket: Asking, rooms: string[]): Promise<string[]> {
    // First: a connection that is lost now must not bring them back.
    this.forget(rooms);
    return (await this.#ask(socket, 'unsubscribe', rooms)).rooms;
  }

  /** The socket is given up: what was asked on it is never answered. */
  giveUp(): void {
    this.#joining.clear();
  }

  /** They are wanted no more. */
  forget(rooms: readonly string[]): void {
    for (const room of rooms) {
      this.#granted.delete(room);
      this.#absent.delete(room);
    }
  }

  /** A new session is in none of them. */
  sessionBegun(): void {
    for (const room of this.#granted) this.#absent.add(room);
  }

  get areAbsent(): boolean {
    return this.#absent.size > 0;
  }

  /**
   * Asks for those that are absent, tells of those that are refused for good, and returns whether
   * some were joined. What is refused for a passing reason stays absent.
   */
  async rejoin(socket: Asking, onLost: (lost: RoomsLost) => void): Promise<boolean> {
    const rooms = [...this.#absent];
    if (rooms.length === 0) return false;
    if (!(await this.#refusal(socket, rooms))) return this.#joined(rooms);
    // One forbidden room refuses them all: ask for each, to keep the others.
    let areJoined = false;
    for (const room of rooms) {
      // Left, or joined by the application, in the meantime.
      if (!this.#absent.has(room)) continue;
      const refusal = await this.#refusal(socket, [room]);
      if (!refusal) areJoined = this.#joined([room]) || areJoined;
      else if (!passes(refusal.code) && this.#absent.has(room)) {
        const { code, detail } = refusal;
        this.forget([room]);
        onLost({ rooms: [room], code, ...(detail !== undefined && { detail }) });
      }
    }
    return areJoined;
  }

  #joined(rooms: string[]): boolean {
    // Those that were left in the meantime are absent no more, and not joined.
    return rooms.filter((room) => this.#absent.delete(room)).length > 0;
  }

  async #refusal(socket: Asking, rooms: string[]): Promise<EventDataRoomsError | undefined> {
    try {
      await this.#ask(socket, 'subscribe', rooms);
      return undefined;
    } catch (error) {
      if (error instanceof EventDataRoomsError) return error;
      throw error;
    }
  }

  async #ask(socket: Asking, event: string, rooms: string[]): Promise<{ rooms: string[] }> {
    const answer = (await socket.emitWithAck(event, rooms)) as RoomsAnswer;
    if (answer.status === 'error') throw new EventDataRoomsError(rooms, answer);
    return answer;
  }
}
