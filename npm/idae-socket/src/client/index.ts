// The client's side. Runs in browsers and in Node, and imports nothing but socket.io-client.
export { EventDataClientInstance } from './client.js';
export type { Connected, Disconnected, TokenAnswer } from './client.js';
export { EventDataConfig } from './config.js';
export type { EventDataAuthentication, EventDataOptions, Token } from './config.js';
export { EventDataConnectError } from './refusal.js';
export { EventDataRoomsError } from './rooms.js';
export type { RoomsAnswer, RoomsLost } from './rooms.js';
export { onChange } from './changes.js';
export type { Change, ChangeOptions } from './changes.js';
export { SocketDriver } from './driver.js';
export type { Emitter, SocketDriverConfig } from './driver.js';
export type { AnyEvents, Envelope, EventListener, PayloadOf } from './events.js';
