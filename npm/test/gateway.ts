// The real gateway, and what the tests need to wait for it.

import { connect, createServer, type AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { resolve } from 'node:path';
import { onTestFinished } from 'vitest';
import { EventDataClientInstance, type EventDataConfig } from '@medyll/idae-socket/client';
import { HttpDriver, type GatewayConfiguration, type HttpDriverOptions } from '@medyll/idae-socket/server';

const npm = fileURLToPath(new URL('..', import.meta.url));
export const BINARY = resolve(npm, process.env.IDAE_SOCKET_BIN ?? '../target/conformance/idae-socket');
export const WAIT_MS = 10_000;

/** Nothing is drained: a test that is over has nobody left to be kind to. */
export const QUICK: GatewayConfiguration = { drain_s: 0 };

/** A gateway on a free port, until the test is over. */
export async function startGateway(configuration: GatewayConfiguration = {}, options: HttpDriverOptions = {}) {
  const gateway = new HttpDriver({ ...QUICK, ...configuration }, { binary: BINARY, onLog: () => {}, ...options });
  onTestFinished(() => gateway.close());
  const { port, url } = await gateway.listen(0);
  return { gateway, port, url };
}

/** Comes back quickly, so that tests do not wait. */
export const IMPATIENT = { reconnectionDelay: 50, reconnectionDelayMax: 100 };

/** A client that is not connected yet, until the test is over. */
export function makeClient(config: Partial<EventDataConfig> = {}): EventDataClientInstance {
  const client = new EventDataClientInstance({ options: IMPATIENT, ...config });
  onTestFinished(() => client.disconnect());
  return client;
}

/** Settles when the callback that is set here is called, with what it is called with. */
export function called<Name extends 'onConnect' | 'onDisconnect' | 'onConnectError' | 'onRoomsLost'>(
  client: EventDataClientInstance,
  name: Name,
): Promise<Parameters<NonNullable<EventDataClientInstance[Name]>>[0]> {
  return within(
    new Promise((settle) => {
      client[name] = (value: any) => {
        delete client[name];
        settle(value);
      };
    }),
    name,
  );
}

export async function connected(client: EventDataClientInstance) {
  const met = called(client, 'onConnect');
  client.connect();
  return met;
}

/** The next event of this name, as the listener gets it. */
export function heard(client: EventDataClientInstance, event: string): Promise<any> {
  return within(
    new Promise((settle) => {
      const end = client.on(event, (delivered) => {
        end();
        settle(delivered);
      });
    }),
    `the event ${event}`,
  );
}

export async function within<T>(promise: Promise<T>, what: string, waitMs = WAIT_MS): Promise<T> {
  let timer: NodeJS.Timeout;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${waitMs} ms for ${what}`)), waitMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Looks until it is so. For what nobody reports. */
export async function eventually(isSo: () => unknown, what: string, waitMs = WAIT_MS): Promise<void> {
  const deadline = Date.now() + waitMs;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`waited ${waitMs} ms for ${what}`);
    await new Promise((wake) => setTimeout(wake, 10));
  }
}

export function accepts(port: number): Promise<boolean> {
  return new Promise((settle) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      settle(true);
    });
    socket.on('error', () => settle(false));
  });
}

/** A port nobody listens on just now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  return port;
}
