// Why a connection did not come about or a room was not joined, and whether and when to try again.

/** What went wrong passes: the same token may be accepted, and the same room granted, a moment later. */
const PASSING = new Set([
  'introspection_unavailable',
  'introspection_timeout',
  'jwks_unavailable',
  'authorize_unavailable',
  'too_many_pending',
]);

/** A connection that did not come about. */
export class EventDataConnectError extends Error {
  override readonly name = 'EventDataConnectError';
  /** The gateway's code, such as `token_expired`, if it gave one. */
  readonly code: string | undefined;
  /** What the gateway sent along. */
  readonly data: any;
  /** The client tries again by itself. Otherwise it waits for `setToken()` or `connect()`. */
  readonly willRetry: boolean;

  constructor(message: string, given: { data?: unknown; willRetry: boolean; cause?: unknown }) {
    super(message, { cause: given.cause });
    this.data = given.data;
    const { code } = (given.data ?? {}) as { code?: unknown };
    this.code = typeof code === 'string' ? code : undefined;
    this.willRetry = given.willRetry;
  }
}

/** Whether the gateway's refusal passes by itself. */
export function passes(code: unknown, hasFreshTokens = false): boolean {
  if (typeof code !== 'string') return false;
  return PASSING.has(code) || (code === 'token_expired' && hasFreshTokens);
}

/**
 * What the gateway said when it refused the connection itself. socket.io-client says no more than
 * `xhr poll error`; the sentence is in the response.
 */
export function reasonOf(error: Error & { context?: { responseText?: unknown } }): {
  message: string;
  data?: unknown;
} {
  const text = error.context?.responseText;
  if (typeof text === 'string' && text.startsWith('{')) {
    try {
      const { message, detail, code } = JSON.parse(text) as Record<string, unknown>;
      const said = message ?? detail;
      if (typeof said === 'string') return { message: said, data: { code } };
    } catch {
      // It was not the gateway that answered.
    }
  }
  return { message: error.message };
}

/** Waits between tries, as socket.io-client's options say: longer each time, and never all clients at once. */
export class Backoff {
  #tries = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** Runs this later, unless there is something to be run already, and tells after how many milliseconds. */
  later(
    run: () => void,
    options: { reconnectionDelay?: number; reconnectionDelayMax?: number; randomizationFactor?: number },
  ): void {
    if (this.#timer !== undefined) return;
    const { reconnectionDelay = 1000, reconnectionDelayMax = 5000, randomizationFactor = 0.5 } = options;
    const full = Math.min(reconnectionDelay * 2 ** this.#tries, reconnectionDelayMax);
    const jitter = 1 + (Math.random() * 2 - 1) * randomizationFactor;
    this.#tries += 1;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      run();
    }, full * jitter);
  }

  /** Nothing is run any more. */
  cancel(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** It worked: the next wait is a short one again. */
  reset(): void {
    this.cancel();
    this.#tries = 0;
  }
}
