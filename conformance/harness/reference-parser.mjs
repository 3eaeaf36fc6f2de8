// The reference speaks one parser a server: msgpack, if that is the only one of the setting
// `socket.parsers`, otherwise the default one.

import msgpack from 'socket.io-msgpack-parser';

/** The option of the reference's server. */
export const spokenParser = () =>
  process.env.IDAE_SOCKET_SOCKET_PARSERS === 'msgpack' ? { parser: msgpack } : {};
