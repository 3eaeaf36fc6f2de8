// The backend's side: runs the gateway, and publishes.
export { HttpDriver } from './driver.js';
export type { Crash, HttpDriverOptions, Listening, RestartOptions } from './driver.js';
export { Publisher, PublishError } from './publisher.js';
export type { PublishOptions, Published, PublisherOptions } from './publisher.js';
export { GatewayStartError } from './process.js';
export { BinaryNotFoundError, findBinary } from './binary.js';
export type { LogEntry } from './log.js';
export type * from './configuration.js';
