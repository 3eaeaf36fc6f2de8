// The rooms a client wants to be in, over all its connections.

/** What the gateway answers to `subscribe` and `unsubscribe`. */
export type RoomsAnswer =
  | { status: 'ok'; rooms: string[] }
  | { status: 'error'; code: string; detail?: string };

/** Rooms that could not be joined again after a lost connection. */
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
  /** Those the gateway has granted. A new session is in none of them, so they are asked for again. */
  readonly #granted = new Set<string>();

  readonly #joining = new Set<Promise<unknown>>();

  async join(socket: Asking, rooms: string[]): Promise<string[]> {
    const asked = this.#ask(socket, 'subscribe', rooms);
    this.#joining.add(asked);
    try {
      const answer = await asked;
      for (const room of rooms) this.#granted.add(room);
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
    for (const room of rooms) this.#granted.delete(room);
    return (await this.#ask(socket, 'unsubscribe', rooms)).rooms;
  }

  /** The socket is given up: what was asked on it is never answered. */
  giveUp(): void {
    this.#joining.clear();
  }

  /** All of them again, on a new session; returns those that are refused now. */
  async rejoin(socket: Asking): Promise<RoomsLost[]> {
    const rooms = [...this.#granted];
    if (rooms.length === 0) return [];
    const refusal = await this.#refusal(socket, rooms);
    if (!refusal) return [];
    // One forbidden room refuses them all: ask for each, to keep the others.
    const lost: RoomsLost[] = [];
    for (const room of rooms) {
      const { code, detail } = (await this.#refusal(socket, [room])) ?? {};
      if (!code) continue;
      this.#granted.delete(room);
      lost.push({ rooms: [room], code, ...(detail !== undefined && { detail }) });
    }
    return lost;
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
