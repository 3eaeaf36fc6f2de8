// What the client shows when it connects: its token, and whatever else `options.auth` holds.
//
// socket.io-client adds the session that is to be recovered (`pid`, `offset`) by itself; what is
// sent from here never touches those.

import type { EventDataConfig } from './config.js';

type Auth = Record<string, unknown>;

/**
 * socket.io-client can be given what it missed. The gateway would otherwise guess that from the
 * handshake, which over WebSocket in Node does not tell.
 */
const KNOWS: Auth = { recovery: true };

/** The newest token, if the client has one. */
export async function newestToken({ authentication }: EventDataConfig): Promise<string | undefined> {
  const token = authentication?.auth;
  return typeof token === 'function' ? token() : token;
}

/** Makes the function that socket.io-client calls for every connection, so the newest token is shown each time. */
export function handshake(
  config: () => EventDataConfig,
  onFailure: (error: unknown) => void,
): (send: (auth: Auth) => void) => void {
  // A connection can be lost while a token is being fetched; the late one must not be shown twice.
  let latest = 0;
  return (send) => {
    const mine = (latest += 1);
    const { authentication, options } = config();
    const token = authentication?.auth;
    if (typeof token !== 'function' && typeof options.auth !== 'function') {
      send({ ...KNOWS, ...options.auth, ...(token && { token }) });
      return;
    }
    Promise.all([extraFields(options.auth), newestToken(config())]).then(
      ([extra, fetched]) => {
        if (mine === latest) send({ ...KNOWS, ...extra, ...(fetched && { token: fetched }) });
      },
      (error) => {
        if (mine === latest) onFailure(error);
      },
    );
  };
}

function extraFields(auth: EventDataConfig['options']['auth']): Promise<Auth> | Auth {
  if (typeof auth !== 'function') return { ...auth };
  return new Promise((resolve) => auth((fields) => resolve({ ...fields })));
}
