// Events as types: what an application declares, and what its listeners get for it.

/** Any event with anything. What counts when no events are declared. */
export type AnyEvents = { [event: string]: any };

/** What the gateway delivers: the payload, the rooms it was sent to, and who caused it. */
export interface Envelope<Payload = any, Sender = any> {
  payload: Payload;
  rooms?: string | string[];
  sender?: Sender;
}

type IsAny<T> = 0 extends 1 & T ? true : false;

/**
 * The listener of an event. A declared payload type is delivered in its envelope; a declared
 * function is the listener itself, as for `publish.deliver = "payload"`.
 */
export type EventListener<Declared> =
  IsAny<Declared> extends true
    ? (...args: any[]) => void
    : Declared extends (...args: infer Args) => any
      ? (...args: Args) => void
      : (event: Envelope<Declared>) => void;

/** The payload of a declared event: what a backend publishes. */
export type PayloadOf<Declared> =
  IsAny<Declared> extends true
    ? any
    : Declared extends (payload: infer Payload, ...rest: any[]) => any
      ? Payload extends Envelope<infer Inner>
        ? Inner
        : Payload
      : Declared;

/** Names that can be declared; TypeScript would also count numbers and symbols. */
export type EventName<Events> = Extract<keyof Events, string>;

/** What a socket of the application can listen to. */
export type ListenEvents<Events> = {
  [Event in EventName<Events>]: EventListener<Events[Event]>;
} & {
  /** The token ends soon: time for `setToken`. */
  'token:expiring': (life: { expiresAt: number; expiresIn: number }) => void;
  /** The token has ended; the gateway disconnects. */
  'token:expired': (reason: { code: string }) => void;
};

/** What a socket of the application can send: the gateway's own events, and the declared ones. */
export type EmitEvents<Emits> = {
  [Event in EventName<Emits>]: IsAny<Emits[Event]> extends true
    ? (...args: any[]) => void
    : Emits[Event] extends (...args: infer Args) => any
      ? (...args: Args) => void
      : (payload: Emits[Event], ack?: (answer: any) => void) => void;
} & {
  subscribe: (rooms: string | string[], ack?: (answer: any) => void) => void;
  unsubscribe: (rooms: string | string[], ack?: (answer: any) => void) => void;
  grantIn: (wanted: { ROLE?: string; host?: string }, ack?: (granted: 'true' | 'false') => void) => void;
  'token:refresh': (token: string, ack?: (answer: any) => void) => void;
  'token:info': (ack: (info: any) => void) => void;
};
