// "The database changed", as front ends want to hear it: of one entity, and each change once.

import type { EventDataClientInstance } from './client.js';
import type { EventName, Envelope, PayloadOf } from './events.js';

/** What a change event says. The fields besides these are the publisher's own. */
export interface Change {
  entity: string;
  action: string;
  id?: string | number;
  /** The publisher's own id for the event: two events with the same id are one. */
  eventId?: string | number;
  [field: string]: any;
}

export interface ChangeOptions<Event extends string = string> {
  /** The event, or several that tell of the same changes. */
  event: Event | readonly Event[];
  /** The entity, or several, by `payload.entity`. Without it: all. */
  entity?: string | readonly string[];
  /** What makes two events the same change. `undefined` for one that is like no other. */
  key?: (payload: any, envelope: Envelope) => string | number | undefined;
  /**
   * Called when changes may have been missed, because a fresh session has begun: after the first
   * connection, and after a lost one that was not recovered. Time to load everything again.
   */
  onMissed?: () => void;
}

type ChangeOf<Events, Event extends keyof Events> =
  PayloadOf<Events[Event]> extends infer Payload ? (0 extends 1 & Payload ? Change : Payload) : never;

/** How many keys are remembered; a repeat after more changes than these is a change again. */
const SEEN_KEYS_MAX = 1000;

/** Calls the handler for each change of an entity, once. Returns what ends it. */
export function onChange<Events extends object, Event extends EventName<Events>>(
  client: EventDataClientInstance<Events, any>,
  options: ChangeOptions<Event>,
  handler: (change: ChangeOf<Events, Event>, envelope: Envelope) => void,
): () => void {
  const { key = eventId, onMissed } = options;
  const entities = options.entity === undefined ? undefined : [options.entity].flat();
  const seen = new Seen();

  const heard = (delivered: unknown, offset?: unknown) => {
    const envelope = inEnvelope(delivered);
    const { payload } = envelope;
    if (entities && !entities.includes(payload?.entity)) return;
    const id = key(payload, envelope) ?? (key === eventId && typeof offset === 'string' ? offset : undefined);
    if (id !== undefined && seen.before(String(id))) return;
    handler(payload, envelope);
  };

  const listen = client.on.bind(client) as (event: string, listener: (...args: any[]) => void) => () => void;
  const ends = [...new Set([options.event].flat() as string[])].map((event) => listen(event, heard));
  if (onMissed) ends.push(client.onFreshSession(onMissed));
  return () => {
    for (const end of ends) end();
  };
}

/**
 * The event's own id: the gateway's, if it delivers one, or the publisher's. Never the record's id:
 * two updates of the same record are two changes.
 */
function eventId(payload: unknown, envelope: Envelope): string | number | undefined {
  const ofGateway = (envelope as { id?: string }).id;
  return ofGateway ?? (payload as Change | null | undefined)?.eventId;
}

const ENVELOPE_FIELDS = new Set(['payload', 'rooms', 'sender', 'id']);

/** With `publish.deliver = "payload"` the payload comes alone. */
function inEnvelope(delivered: unknown): Envelope {
  const isEnvelope =
    typeof delivered === 'object' &&
    delivered !== null &&
    'payload' in delivered &&
    Object.keys(delivered).every((field) => ENVELOPE_FIELDS.has(field));
  return isEnvelope ? (delivered as Envelope) : { payload: delivered };
}

class Seen {
  readonly #keys = new Set<string>();

  /** Whether this key was asked about before. */
  before(key: string): boolean {
    const known = this.#keys.delete(key);
    // Added last: a set keeps its order, so the first one is the one not heard of for longest.
    this.#keys.add(key);
    if (this.#keys.size > SEEN_KEYS_MAX) this.#keys.delete(this.#keys.values().next().value!);
    return known;
  }
}
