// Publishing: one POST for each event.

import type { AnyEvents, EventName, PayloadOf } from '../client/events.js';

/** What the gateway answers once the event is queued on every matching socket. */
export interface Published {
  status: 'ok';
  id: string;
  /** How many sockets got it here. */
  sockets: number;
}

/** What can be said about an event besides its target and its payload. */
export interface PublishOptions {
  /** Your id for the event: a repeat is answered the same and emitted once. */
  id?: string;
  /** Rooms or socket ids that are left out. */
  except?: string | readonly string[];
  namespace?: string;
  /** Who caused it. */
  sender?: object;
  /** May be dropped for a socket that cannot take it at once. */
  volatile?: boolean;
  /** What clients get: the payload in its envelope, or alone. The gateway's setting counts without it. */
  deliver?: 'envelope' | 'payload';
}

export interface PublisherOptions {
  /** The gateway's address: `http://localhost:4000`, `https://example.com/gateway`; without a scheme it is `http`. */
  url: string;
  /** The publish key, if the gateway has any. */
  key?: string | undefined;
  /** How long an answer may take. */
  timeoutMs?: number | undefined;
}

/** The event was not published. */
export class PublishError extends Error {
  override readonly name = 'PublishError';
  /** The HTTP status; 0 when the gateway did not answer. */
  readonly status: number;
  /** The gateway's code, such as `no_target`; `gateway_unreachable` when it did not answer. */
  readonly code: string;
  readonly detail: string;
  /** The faults of the body, each with its place as a JSON Pointer. */
  readonly errors: { pointer: string; detail: string }[];
  /** After how many seconds a retry makes sense, if the gateway says so. */
  readonly retryAfter: number | undefined;

  constructor(problem: {
    status: number;
    code: string;
    detail: string;
    errors?: { pointer: string; detail: string }[];
    retryAfter?: number | undefined;
    cause?: unknown;
  }) {
    super(`${problem.detail} (${problem.code})`, problem.cause === undefined ? undefined : { cause: problem.cause });
    this.status = problem.status;
    this.code = problem.code;
    this.detail = problem.detail;
    this.errors = problem.errors ?? [];
    this.retryAfter = problem.retryAfter;
  }
}

const ANSWER_MS = 30_000;

/** Publishes to a gateway that runs anywhere. */
export class Publisher<Events extends object = AnyEvents> {
  readonly #options: PublisherOptions;
  readonly #base: URL;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#base = gatewayAddress(options?.url);
  }

  /** To everyone in a room or with a role, or in one of several. */
  toRoom<Event extends EventName<Events>>(
    room: string | readonly string[],
    event: Event,
    payload: PayloadOf<Events[Event]>,
    options: PublishOptions = {},
  ): Promise<Published> {
    return this.#publish(event, { rooms: room, payload }, options);
  }

  /** To every socket of a user, or of several. */
  toUser<Event extends EventName<Events>>(
    user: string | number | readonly (string | number)[],
    event: Event,
    payload: PayloadOf<Events[Event]>,
    options: PublishOptions = {},
  ): Promise<Published> {
    return this.#publish(event, { users: user, payload }, options);
  }

  /** To everyone in the namespace. */
  toAll<Event extends EventName<Events>>(
    event: Event,
    payload: PayloadOf<Events[Event]>,
    options: PublishOptions = {},
  ): Promise<Published> {
    return this.#publish(event, { broadcast: true, payload }, options);
  }

  async #publish(event: string, what: object, { deliver, ...options }: PublishOptions): Promise<Published> {
    // A slash is part of a name and stays one; anything else that a URL would misread is encoded.
    const url = new URL(this.#base);
    url.pathname += event.split('/').map(encodeURIComponent).join('/');
    if (deliver) url.searchParams.set('deliver', deliver);
    const { key, timeoutMs = ANSWER_MS } = this.#options;
    let response: Response;
    let text: string;
    try {
      response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...(key && { authorization: `Bearer ${key}` }) },
        // JSON has no `undefined`; as a payload it can only mean that the name says everything.
        body: JSON.stringify({ payload: null, ...withoutUndefined(what), ...options }),
        signal: AbortSignal.timeout(timeoutMs),
      });
      text = await response.text();
    } catch (cause) {
      throw unreachable(url.origin, cause);
    }
    if (!response.ok) throw refused(response, text);
    return JSON.parse(text) as Published;
  }
}

/** What events are posted under: it ends with a slash. */
function gatewayAddress(given: unknown): URL {
  const text = typeof given === 'string' ? given.trim() : '';
  if (text === '') throw new TypeError("the gateway's address is missing: new Publisher({ url: 'http://localhost:4000' })");
  let url: URL;
  try {
    url = new URL(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  } catch (cause) {
    throw new TypeError(`url is \`${text}\`, which is no address: write http://localhost:4000`, { cause });
  }
  if (!/^https?:$/.test(url.protocol)) {
    throw new TypeError(`url has the scheme \`${url.protocol.slice(0, -1)}\`: use http or https, or none`);
  }
  const base = new URL(url.origin);
  base.pathname = url.pathname.endsWith('/') ? url.pathname : `${url.pathname}/`;
  return base;
}

function withoutUndefined(fields: object): object {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function unreachable(origin: string, cause: unknown): PublishError {
  // `fetch` says no more than that it failed; what failed is its cause.
  const { code, message } = ((cause as Error).cause ?? cause) as { code?: unknown; message: string };
  const why = typeof code === 'string' ? code : message;
  const detail = `the gateway at ${origin} does not answer: ${why}`;
  return new PublishError({ status: 0, code: 'gateway_unreachable', detail, cause });
}

function refused(response: Response, text: string): PublishError {
  const { status } = response;
  const retryAfter = Number(response.headers.get('retry-after') ?? Number.NaN);
  const problem = { status, retryAfter: Number.isNaN(retryAfter) ? undefined : retryAfter };
  try {
    const { code, detail, errors } = JSON.parse(text);
    if (typeof code === 'string') return new PublishError({ ...problem, code, detail: detail ?? code, errors });
  } catch {
    // It was not the gateway that answered.
  }
  const detail = `the answer is ${status} and not the gateway's`;
  return new PublishError({ ...problem, code: 'unexpected_answer', detail });
}
