// Where the gateway is and who connects to it.

import type { ManagerOptions, SocketOptions } from 'socket.io-client';

/** Options that are passed to socket.io-client as they are. */
export type EventDataOptions = Partial<ManagerOptions & SocketOptions>;

/** A token, or a function that gets a fresh one for each connection. */
export type Token = string | (() => string | Promise<string>);

/** How the client shows who it is. */
export interface EventDataAuthentication {
  /** The gateway takes bearer tokens; there is no other mode. */
  authMode?: 'Bearer' | (string & {});
  auth: Token;
}

/** What `connect()` reads. A change counts from the next `connect()` on, a new token at the next connection. */
export class EventDataConfig {
  /** `localhost`, `https://events.example.com`, `10.0.0.7:8080`, …: with or without scheme and port. */
  host = 'http://localhost';
  /** When not set: the port in `host`, else 443 for `https`, else 4000. */
  port?: number;
  /** The Socket.IO namespace. */
  namespace = '/';
  /** Left out when the gateway lets everybody in. */
  authentication?: EventDataAuthentication;
  /** Passed to socket.io-client, such as `{ transports: ['websocket'] }`. */
  options: EventDataOptions = {};

  constructor(given: Partial<EventDataConfig> = {}) {
    const unknown = Object.keys(given).find((key) => !KEYS.includes(key));
    if (unknown !== undefined) throw new TypeError(`there is no option \`${unknown}\`: there are ${KEYS.join(', ')}`);
    Object.assign(this, given);
  }
}

const KEYS = ['host', 'port', 'namespace', 'authentication', 'options'];

const DEFAULT_PORT = 4000;
/** A WebSocket's scheme means the same gateway, which is asked over HTTP first. */
const SCHEMES: Record<string, string> = { http: 'http', https: 'https', ws: 'http', wss: 'https' };

/** The address for socket.io-client: `http://localhost:4000/namespace`. */
export function gatewayUrl(config: Pick<EventDataConfig, 'host' | 'port' | 'namespace'>): string {
  const [, givenScheme, rest] = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(.*)$/is.exec(config.host.trim()) ?? [];
  const scheme = SCHEMES[(givenScheme ?? 'http').toLowerCase()];
  if (!scheme) throw new TypeError(`host has the scheme \`${givenScheme}\`: use http or https, or none`);
  const slash = (rest ?? '').indexOf('/');
  const [authority, path] = slash < 0 ? [rest ?? '', ''] : [rest!.slice(0, slash), rest!.slice(slash + 1)];
  if (path !== '') {
    throw new TypeError(
      `host has the path \`/${path}\`: a namespace is set with config.namespace, another path with config.options.path`,
    );
  }
  if (authority === '') throw new TypeError('host is empty');
  // Two colons without brackets can only be an IPv6 address, which has no port then.
  const bracketed = /^[^[\]]*:[^[\]]*:[^[\]]*$/.test(authority) ? `[${authority}]` : authority;
  const [, name, givenPort] = /^(.*?)(?::(\d+))?$/s.exec(bracketed) ?? [];
  const port = config.port ?? givenPort ?? (scheme === 'https' ? 443 : DEFAULT_PORT);
  const namespace = `/${config.namespace.replace(/^\//, '')}`;
  return `${scheme}://${name}:${port}${namespace}`;
}

/** Refuses what the gateway would not understand, before it is sent in vain. */
export function checkAuthentication(authentication: EventDataAuthentication | undefined): void {
  const mode = authentication?.authMode ?? 'Bearer';
  if (mode.toLowerCase() !== 'bearer') {
    throw new TypeError(`authMode is \`${mode}\`: the gateway takes \`Bearer\` alone`);
  }
}
