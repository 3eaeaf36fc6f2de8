// Rooms that are refused later on: for the moment, or for good.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { SocketDriver, type EventDataClientInstance, type RoomsLost } from '@medyll/idae-socket';
import { IMPATIENT, called, connected, eventually, heard, makeClient, startGateway, within } from '../gateway.js';
import { startReference } from '../reference.js';

/** A server whose rooms are refused as `refusals` says at that moment. */
async function startRooms() {
  const { io, port } = await startReference();
  const refusals = new Map<string, string>();
  const asked: string[][] = [];
  io.on('connection', (socket) => {
    socket.on('subscribe', (rooms: string[], ack) => {
      asked.push(rooms);
      const code = rooms.map((room) => refusals.get(room)).find((code) => code);
      if (!code) socket.join(rooms);
      ack(code ? { status: 'error', code } : { status: 'ok', rooms });
    });
    socket.on('unsubscribe', (rooms: string[], ack) => {
      for (const room of rooms) socket.leave(room);
      ack({ status: 'ok', rooms });
    });
  });
  const members = async (room: string) => (await io.in(room).fetchSockets()).length;
  return { io, port, refusals, asked, members };
}

/** Everything that is lost from now on. */
function losses(client: EventDataClientInstance): RoomsLost[] {
  const lost: RoomsLost[] = [];
  client.onRoomsLost = (rooms) => lost.push(rooms);
  return lost;
}

async function reconnect(client: EventDataClientInstance) {
  const met = called(client, 'onConnect');
  client.socket.io.engine.close();
  await met;
}

test.each(['authorize_unavailable', 'too_many_pending'])(
  '%s passes: the room is asked for until it is joined, and then is time to load',
  async (code) => {
    const { port, refusals, asked, members } = await startRooms();
    const client = makeClient({ port });
    const lost = losses(client);
    await connected(client);
    await client.subscribe(['news', 'sports']);
    let begun = 0;
    client.onFreshSession(() => (begun += 1));
    refusals.set('news', code);
    await reconnect(client);
    await eventually(() => begun === 1, 'the session');
    expect(await members('sports')).toBe(1);
    const before = asked.length;
    await eventually(() => asked.length > before + 2, 'more tries');
    expect(await members('news')).toBe(0);
    refusals.clear();
    await eventually(() => begun === 2, 'the word that it is joined');
    expect(await members('news')).toBe(1);
    expect(lost).toEqual([]);
  },
);

test('the next connection asks again, too', async () => {
  const { port, refusals, asked, members } = await startRooms();
  // No try in between.
  const client = makeClient({ port, options: { reconnectionDelay: 60_000, reconnectionDelayMax: 60_000 } });
  await connected(client);
  await client.subscribe('news');
  refusals.set('news', 'authorize_unavailable');
  const begun = new Promise<void>((begun) => client.onFreshSession(begun));
  client.disconnect();
  await connected(client);
  await within(begun, 'a fresh session');
  expect(asked).toHaveLength(3);
  refusals.clear();
  client.disconnect();
  await connected(client);
  await eventually(async () => (await members('news')) === 1, 'the room');
});

test.each(['room_forbidden', 'too_many_rooms', 'room_too_long'])('%s is final', async (code) => {
  const { port, refusals, asked, members } = await startRooms();
  const client = makeClient({ port });
  await connected(client);
  await client.subscribe(['news', 'sports']);
  refusals.set('news', code);
  const lost = called(client, 'onRoomsLost');
  await reconnect(client);
  expect(await lost).toEqual({ rooms: ['news'], code });
  refusals.clear();
  asked.length = 0;
  await reconnect(client);
  await eventually(async () => (await members('sports')) === 1, 'the other room');
  expect(asked).toEqual([['sports']]);
});

test('what is left while it is refused is not asked for any more', async () => {
  const { port, refusals, asked, members } = await startRooms();
  const client = makeClient({ port });
  await connected(client);
  await client.subscribe('news');
  refusals.set('news', 'authorize_unavailable');
  await reconnect(client);
  await eventually(() => asked.length > 3, 'some tries');
  await client.unsubscribe('news');
  refusals.clear();
  await new Promise((wake) => setTimeout(wake, 300));
  expect(await members('news')).toBe(0);
});

test('the connector asks for its rooms until it has them', async () => {
  const { io, port, refusals, members } = await startRooms();
  const driver = new SocketDriver(port, { options: IMPATIENT, rooms: ['news'] });
  onTestFinished(() => driver.close());
  const lost = losses(driver.client);
  refusals.set('news', 'authorize_unavailable');
  const asked = within(new Promise((settle) => io.on('connection', (socket) => socket.on('subscribe', settle))), 'a try');
  await driver.listen();
  await asked;
  refusals.clear();
  await eventually(async () => (await members('news')) === 1, 'the room');
  expect(lost).toEqual([]);
});

test.each<[string, (client: EventDataClientInstance, announce: () => void) => Promise<unknown> | void]>([
  ['by setToken()', (client) => client.setToken('two')],
  ['by a function', (_, announce) => void announce()],
])('rooms that a new token does not open are lost: %s', async (_, renew) => {
  const { io, port, asked } = await startRooms();
  io.on('connection', (socket) =>
    socket.on('token:refresh', (_, ack) => ack({ status: 'ok', roomsLost: ['news', 'sports'] })),
  );
  const client = makeClient({ port, authentication: { auth: () => 'one' } });
  await connected(client);
  await client.subscribe(['news', 'sports', 'weather']);
  const lost = called(client, 'onRoomsLost');
  const answer = renew(client, () => void io.emit('token:expiring', { expiresAt: 1, expiresIn: 30 }));
  expect(await lost).toMatchObject({ rooms: ['news', 'sports'], code: 'room_forbidden' });
  if (answer) expect(await answer).toEqual({ status: 'ok', roomsLost: ['news', 'sports'] });
  asked.length = 0;
  const begun = new Promise<void>((begun) => client.onFreshSession(begun));
  await reconnect(client);
  await within(begun, 'a fresh session');
  expect(asked).toEqual([['weather']]);
  // The application may want them all the same.
  await client.subscribe('news');
  asked.length = 0;
  await reconnect(client);
  await eventually(() => asked.length > 0, 'the rooms');
  expect(asked).toEqual([['weather', 'news']]);
});

test('a backend that cannot be asked at a reconnect costs no room', async () => {
  let status = 200;
  let refused = 0;
  const backend = createServer((request, response) => {
    if (status === 503) refused += 1;
    request.resume().on('end', () => response.writeHead(status).end());
  });
  await new Promise<void>((listening) => backend.listen(0, '127.0.0.1', listening));
  onTestFinished(() => void backend.close().closeAllConnections());
  const { gateway, port } = await startGateway({
    auth: { strategy: 'introspection', introspection_url: `http://127.0.0.1:${await startIntrospection()}/` },
    rooms: { authorize_url: `http://127.0.0.1:${(backend.address() as AddressInfo).port}/`, authorize_cache_s: 0 },
    recovery: { window_s: 0 },
  });
  const client = makeClient({ port, authentication: { auth: 'one' } });
  const lost = losses(client);
  await connected(client);
  await client.subscribe('news');
  status = 503;
  await reconnect(client);
  await eventually(() => refused > 1, 'the backend to be asked');
  expect(await gateway.toRoom('news', 'tick', 1)).toMatchObject({ sockets: 0 });
  status = 200;
  await eventually(async () => (await gateway.toRoom('news', 'tick', 2)).sockets === 1, 'the room');
  const arrived = heard(client, 'tick');
  await gateway.toRoom('news', 'tick', 3);
  await arrived;
  expect(lost).toEqual([]);
});

async function startIntrospection(): Promise<number> {
  const server = createServer((request, response) => {
    const body = JSON.stringify({ active: true, sub: '1' });
    request.resume().on('end', () => response.writeHead(200, { 'content-type': 'application/json' }).end(body));
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  onTestFinished(() => void server.close().closeAllConnections());
  return (server.address() as AddressInfo).port;
}
