// The client against the real gateway.

import { expect, test } from 'vitest';
import { EventDataClientInstance, EventDataRoomsError } from '@medyll/idae-socket';
import { HttpDriver } from '@medyll/idae-socket/server';
import { BINARY, IMPATIENT, QUICK, called, connected, freePort, heard, makeClient, startGateway, within } from '../gateway.js';

test.each(['http://localhost', 'localhost', '127.0.0.1', 'http://127.0.0.1/', 'ws://localhost'])(
  'connects to %s without authentication',
  async (host) => {
    const { port } = await startGateway();
    const client = makeClient();
    client.config.host = host;
    client.config.port = port;
    const { socketId, recovered } = await connected(client);
    expect(socketId).toBe(client.socket.id);
    expect(recovered).toBe(false);
    expect(client.connected).toBe(true);
  },
);

test('the socket is there right after connect(), and not before', async () => {
  const { gateway, port } = await startGateway();
  const client = makeClient({ port });
  expect(() => client.socket).toThrow(/call connect\(\) first/);
  client.connect();
  const arrived = new Promise((settle) => client.socket.on('collection:update', settle));
  await called(client, 'onConnect');
  await gateway.toAll('collection:update', { id: 1 });
  expect(await within(arrived, 'the event')).toEqual({ payload: { id: 1 } });
});

test('listeners that were registered before connect() hear, until they are ended', async () => {
  const { gateway, port } = await startGateway();
  const client = makeClient({ port });
  const payloads: number[] = [];
  const end = client.on('tick', ({ payload }) => payloads.push(payload));
  await connected(client);
  const first = heard(client, 'tick');
  await gateway.toAll('tick', 1);
  await first;
  end();
  const last = heard(client, 'tick');
  await gateway.toAll('tick', 2);
  await last;
  expect(payloads).toEqual([1]);
});

test('without onConnectError a gateway that is not there is waited for', async () => {
  const port = await freePort();
  const client = makeClient({ port, options: IMPATIENT });
  client.connect();
  await within(new Promise((failed) => client.socket.once('connect_error', failed)), 'a failed try');
  const met = called(client, 'onConnect');
  const gateway = new HttpDriver(QUICK, { binary: BINARY, onLog: () => {} });
  try {
    await gateway.listen(port);
    await met;
  } finally {
    client.disconnect();
    await gateway.close();
  }
});

test('onConnectError hears of each failed try, and the retries go on', async () => {
  const client = makeClient({ port: await freePort() });
  const failed = called(client, 'onConnectError');
  client.connect();
  const error = await failed;
  expect(error).toMatchObject({ name: 'EventDataConnectError', willRetry: true, code: undefined });
  await called(client, 'onConnectError');
});

test('after a lost connection it is in its rooms again', async () => {
  const { gateway, port } = await startGateway({}, { restart: { delayMs: 10 } });
  const client = makeClient({ port });
  client.connect();
  expect(await client.subscribe('admin')).toEqual(['admin']);
  expect(await client.subscribe(['news', 'sports'])).toEqual(['news', 'sports']);
  await client.unsubscribe('sports');

  const [lost, back] = [called(client, 'onDisconnect'), new Promise<void>((begun) => client.onFreshSession(begun))];
  process.kill(gateway.pid!, 'SIGKILL');
  expect(await lost).toEqual({ reason: expect.stringMatching(/transport/), willRetry: true });
  await within(back, 'a fresh session');

  const arrived = [heard(client, 'a'), heard(client, 'b')];
  expect(await gateway.toRoom('sports', 'a', 1)).toMatchObject({ sockets: 0 });
  expect(await gateway.toRoom('admin', 'a', 1)).toMatchObject({ sockets: 1 });
  expect(await gateway.toRoom('news', 'b', 1)).toMatchObject({ sockets: 1 });
  await Promise.all(arrived);
});

test('rooms can be asked for before connect()', async () => {
  const { port } = await startGateway();
  const client = makeClient({ port });
  const joined = client.subscribe(['a', 'b']);
  client.connect();
  expect(await joined).toEqual(['a', 'b']);
});

test('a refused room is an error with the gateway\'s code', async () => {
  const { port } = await startGateway();
  const client = makeClient({ port });
  client.connect();
  const error = await client.subscribe('').catch((error) => error);
  expect(error).toBeInstanceOf(EventDataRoomsError);
  expect(error).toMatchObject({ code: 'invalid_room', rooms: [''] });
});

test('disconnect() is final until the next connect()', async () => {
  const { port } = await startGateway();
  const client = makeClient({ port });
  await connected(client);
  const left = called(client, 'onDisconnect');
  client.disconnect();
  expect(await left).toEqual({ reason: 'io client disconnect', willRetry: false });
  expect(client.connected).toBe(false);
  const { socket } = client;
  await connected(client);
  // What was registered on the socket itself is still registered.
  expect(client.socket).toBe(socket);
});

test('connect() while connected changes nothing', async () => {
  const { port } = await startGateway();
  const client = makeClient({ port });
  const { socketId } = await connected(client);
  client.connect();
  expect(client.socket.id).toBe(socketId);
});

test('another address counts from the next connect() on, and listeners move along', async () => {
  const [first, second] = [await startGateway(), await startGateway()];
  const client = makeClient({ port: first.port });
  const ticks: number[] = [];
  client.on('tick', ({ payload }) => ticks.push(payload));
  await connected(client);
  client.config.port = second.port;
  await connected(client);
  const arrived = heard(client, 'tick');
  expect(await first.gateway.toAll('tick', 1)).toMatchObject({ sockets: 0 });
  await second.gateway.toAll('tick', 2);
  await arrived;
  expect(ticks).toEqual([2]);
});

test('what was asked of an address that never answered is asked of the next one', async () => {
  const client = makeClient({ port: await freePort() });
  const joined = client.subscribe('admin');
  const fresh = new Promise<void>((begun) => client.onFreshSession(begun));
  const failed = called(client, 'onConnectError');
  client.connect();
  await failed;
  const { gateway, port } = await startGateway();
  client.config.port = port;
  client.connect();
  expect(await within(joined, 'the room')).toEqual(['admin']);
  await within(fresh, 'a fresh session');
  expect(await gateway.toRoom('admin', 'x', 1)).toMatchObject({ sockets: 1 });
});

test('two clients have connections of their own', async () => {
  const { gateway, port } = await startGateway({ namespaces: ['/', '/shop'] });
  const [plain, shop] = [makeClient({ port }), makeClient({ port, namespace: 'shop' })];
  await Promise.all([connected(plain), connected(shop)]);
  expect(await gateway.toAll('tick', 1)).toMatchObject({ sockets: 1 });
  expect(await gateway.toAll('tick', 1, { namespace: '/shop' })).toMatchObject({ sockets: 1 });
  plain.disconnect();
  const arrived = heard(shop, 'tick');
  await gateway.toAll('tick', 2, { namespace: '/shop' });
  await arrived;
});

test('a namespace that does not exist is an error and no endless retry', async () => {
  const { port } = await startGateway();
  const client = makeClient({ port, namespace: '/none' });
  const failed = called(client, 'onConnectError');
  client.connect();
  expect(await failed).toMatchObject({ message: 'Invalid namespace', willRetry: false });
});

test('options reach socket.io-client', async () => {
  const { port } = await startGateway();
  const client = makeClient({ port, options: { transports: ['websocket'] } });
  await connected(client);
  expect(client.socket.io.engine.transport.name).toBe('websocket');
});

test('a way of authentication that the gateway does not know is an error at once', () => {
  const client = new EventDataClientInstance();
  client.config.authentication = { authMode: 'Basic', auth: 'x' };
  expect(() => client.connect()).toThrow(/`Basic`/);
});
