// Tokens: which one is shown when, and what becomes of a refusal.

import { expect, test } from 'vitest';
import { called, connected, eventually, heard, makeClient, startGateway, within } from '../gateway.js';
import { startReference } from '../reference.js';

test('the token is shown as auth.token, with the fields of options.auth', async () => {
  const { port, shown } = await startReference();
  const client = makeClient({ port });
  client.config.authentication = { authMode: 'Bearer', auth: 'one' };
  client.config.options = { auth: { recovery: false, tenant: 'a' } };
  await connected(client);
  expect(shown).toEqual([{ token: 'one', recovery: false, tenant: 'a' }]);
});

test('options.auth may be a function', async () => {
  const { port, shown } = await startReference();
  const client = makeClient({ port, options: { auth: (send) => send({ tenant: 'b' }) } });
  await connected(client);
  client.disconnect();
  await client.setToken('two');
  await connected(client);
  expect(shown).toEqual([
    { recovery: true, tenant: 'b' },
    { recovery: true, tenant: 'b', token: 'two' },
  ]);
});

test('without authentication no token is shown', async () => {
  const { port, shown } = await startReference();
  await connected(makeClient({ port }));
  expect(shown).toEqual([{ recovery: true }]);
});

test('a refusal tells why and waits for another token', async () => {
  const { port, shown } = await startReference(({ token }) => (token === 'good' ? undefined : 'token_expired'));
  const client = makeClient({ port, authentication: { auth: 'bad' } });
  const failed = called(client, 'onConnectError');
  client.connect();
  expect(await failed).toMatchObject({
    message: 'Unauthorized: token_expired',
    code: 'token_expired',
    data: { code: 'token_expired' },
    willRetry: false,
  });
  expect(await client.setToken('worse')).toEqual({
    status: 'error',
    code: 'token_expired',
    detail: 'Unauthorized: token_expired',
  });
  const met = called(client, 'onConnect');
  expect(await client.setToken('good')).toEqual({ status: 'ok' });
  await met;
  expect(shown.map(({ token }) => token)).toEqual(['bad', 'worse', 'good']);
});

test('connect() after a refusal tries again', async () => {
  const { port, shown } = await startReference(() => (shown.length < 2 ? 'token_missing' : undefined));
  const client = makeClient({ port });
  const failed = called(client, 'onConnectError');
  client.connect();
  await failed;
  await connected(client);
});

test.each(['introspection_unavailable', 'introspection_timeout', 'jwks_unavailable'])(
  '%s passes by itself, so the client tries again',
  async (code) => {
    const { port, shown } = await startReference(() => (shown.length < 3 ? code : undefined));
    const client = makeClient({ port, authentication: { auth: 'one' } });
    const met = called(client, 'onConnect');
    const failed = called(client, 'onConnectError');
    client.connect();
    expect(await failed).toMatchObject({ code, willRetry: true });
    await met;
    expect(shown).toHaveLength(3);
  },
);

test('reconnection: false is respected', async () => {
  const { port } = await startReference(() => 'jwks_unavailable');
  const client = makeClient({ port, options: { reconnection: false } });
  const failed = called(client, 'onConnectError');
  client.connect();
  expect(await failed).toMatchObject({ willRetry: false });
});

test('disconnect() ends the retries', async () => {
  const { port, shown } = await startReference(() => 'jwks_unavailable');
  const client = makeClient({ port });
  const failed = called(client, 'onConnectError');
  client.connect();
  await failed;
  client.disconnect();
  const other = makeClient({ port });
  const more = called(other, 'onConnectError');
  other.connect();
  await more;
  // The other one, which came later, has tried twice; the first one not again.
  await eventually(() => shown.length >= 3, 'the tries of the other client');
  expect(client.socket.active).toBe(false);
});

test('setToken() on a connected socket sends token:refresh and resolves with the ack', async () => {
  const { io, port } = await startReference();
  const refreshed: unknown[] = [];
  io.on('connection', (socket) =>
    socket.on('token:refresh', (token, ack) => {
      refreshed.push(token);
      ack(token === 'other' ? { status: 'error', code: 'token_other_user' } : { status: 'ok', expiresAt: 99 });
    }),
  );
  const client = makeClient({ port, authentication: { auth: 'one' } });
  const { socketId } = await connected(client);
  expect(await client.setToken('two')).toEqual({ status: 'ok', expiresAt: 99 });
  expect(await client.setToken('other')).toEqual({ status: 'error', code: 'token_other_user' });
  expect(refreshed).toEqual(['two', 'other']);
  expect(client.socket.id).toBe(socketId);
});

test('a reconnection shows the newest token', async () => {
  const { io, port, shown } = await startReference();
  io.on('connection', (socket) => socket.on('token:refresh', (_, ack) => ack({ status: 'ok' })));
  const client = makeClient({ port, authentication: { auth: 'one' } });
  await connected(client);
  await client.setToken('two');
  const met = called(client, 'onConnect');
  client.socket.io.engine.close();
  await met;
  expect(shown.map(({ token }) => token)).toEqual(['one', 'two']);
});

test('a connection that is lost before the ack: the next one tells', async () => {
  const { io, port } = await startReference();
  io.on('connection', (socket) => socket.on('token:refresh', () => socket.conn.close()));
  const client = makeClient({ port });
  await connected(client);
  expect(await client.setToken('two')).toEqual({ status: 'ok' });
});

test('sent away by the server, a later setToken() comes back', async () => {
  const { io, port } = await startReference();
  const client = makeClient({ port, authentication: { auth: 'one' } });
  await connected(client);
  const left = called(client, 'onDisconnect');
  io.disconnectSockets();
  expect(await left).toEqual({ reason: 'io server disconnect', willRetry: false });
  const met = called(client, 'onConnect');
  expect(await client.setToken('two')).toEqual({ status: 'ok' });
  await met;
});

test('before connect(), and after disconnect(), setToken() only keeps the token', async () => {
  const { port, shown } = await startReference();
  const client = makeClient({ port });
  expect(await client.setToken('one')).toEqual({ status: 'ok' });
  await connected(client);
  client.disconnect();
  expect(await client.setToken('two')).toEqual({ status: 'ok' });
  expect(client.connected).toBe(false);
  expect(shown.map(({ token }) => token)).toEqual(['one']);
});

test('a function is asked for each connection, and when the token ends', async () => {
  const { io, port, shown } = await startReference();
  const refreshed = new Promise((settle) => {
    io.on('connection', (socket) => socket.on('token:refresh', settle));
  });
  let asked = 0;
  const client = makeClient({ port, authentication: { auth: async () => `token ${(asked += 1)}` } });
  await connected(client);
  io.emit('token:expiring', { expiresAt: 1, expiresIn: 30 });
  expect(await within(refreshed, 'token:refresh')).toBe('token 2');
  const [left, met] = [called(client, 'onDisconnect'), called(client, 'onConnect')];
  io.disconnectSockets();
  expect(await left).toEqual({ reason: 'io server disconnect', willRetry: true });
  await met;
  expect(shown.map(({ token }) => token)).toEqual(['token 1', 'token 3']);
});

test('a function that fails is an error, and is asked again', async () => {
  const { port, shown } = await startReference();
  let asked = 0;
  const auth = () => {
    asked += 1;
    return asked === 1 ? Promise.reject(new Error('no session')) : Promise.resolve('one');
  };
  const client = makeClient({ port, authentication: { auth } });
  const [failed, met] = [called(client, 'onConnectError'), called(client, 'onConnect')];
  client.connect();
  expect(await failed).toMatchObject({ message: 'no token: no session', code: 'token_unavailable', willRetry: true });
  await met;
  expect(shown).toEqual([{ recovery: true, token: 'one' }]);
});

test('with a function an expired token is tried again', async () => {
  const { port } = await startReference(({ token }) => (token === 'token 2' ? undefined : 'token_expired'));
  let asked = 0;
  const client = makeClient({ port, authentication: { auth: () => `token ${(asked += 1)}` } });
  await connected(client);
});

test('a session is recovered: what socket.io-client adds is left alone', async () => {
  const { io, port } = await startReference(undefined, { connectionStateRecovery: {} });
  const client = makeClient({ port, authentication: { auth: async () => 'one' } });
  const { recovered } = await connected(client);
  expect(recovered).toBe(false);
  const first = heard(client, 'tick');
  io.emit('tick', 1);
  await first;

  let fresh = 0;
  client.onFreshSession(() => (fresh += 1));
  const [met, missed] = [called(client, 'onConnect'), heard(client, 'tick')];
  const lost = called(client, 'onDisconnect');
  client.socket.io.engine.close();
  await lost;
  io.emit('tick', 2);
  expect(await missed).toBe(2);
  expect(await met).toMatchObject({ recovered: true });
  expect(fresh).toBe(0);
});

test('what the gateway says when it refuses the connection itself is told', async () => {
  const { port } = await startGateway({ socket: { transports: ['websocket'] } });
  const client = makeClient({ port, options: { transports: ['polling'], reconnection: false } });
  const failed = called(client, 'onConnectError');
  client.connect();
  expect(await failed).toMatchObject({ message: 'Transport unknown', willRetry: false });
});
