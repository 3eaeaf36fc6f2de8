// The client and a gateway that looks at tokens.

import { createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import { EventDataRoomsError } from '@medyll/idae-socket';
import { called, connected, eventually, heard, makeClient, startGateway } from '../gateway.js';

const SECRET = 'a-secret-of-thirty-two-bytes-or-more';
const nowS = () => Math.floor(Date.now() / 1000);

function token(claims: Record<string, unknown>, secret = SECRET): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

/** A gateway that lets in who has a token, and into rooms by rule. */
const guarded = () =>
  startGateway({ auth: { strategy: 'jwt', jwt_secret: SECRET, leeway_s: 0 }, rooms: { join: ['user:{sub}:*'] } });

test('a token makes a user with roles', async () => {
  const { gateway, port } = await guarded();
  const client = makeClient({ port, authentication: { authMode: 'Bearer', auth: token({ sub: '42', roles: ['admin'] }) } });
  await connected(client);
  const [toRole, toUser] = [heard(client, 'a'), heard(client, 'b')];
  expect(await gateway.toRoom('admin', 'a', 1)).toMatchObject({ sockets: 1 });
  expect(await gateway.toUser(42, 'b', 2)).toMatchObject({ sockets: 1 });
  await Promise.all([toRole, toUser]);
  expect(await client.subscribe('user:42:inbox')).toContain('user:42:inbox');
  const refusal = await client.subscribe('user:43:inbox').catch((error) => error);
  expect(refusal).toBeInstanceOf(EventDataRoomsError);
  expect(refusal.code).toBe('room_forbidden');
});

test.each<[string, string | undefined, string]>([
  ['none', undefined, 'token_missing'],
  ['no token at all', 'x', 'token_malformed'],
  ['another secret', token({ sub: '1' }, 'another-secret-of-thirty-two-bytes'), 'token_signature'],
  ['an old one', token({ sub: '1', exp: 1 }), 'token_expired'],
])('a token that is refused: %s', async (_, auth, code) => {
  const { port } = await guarded();
  const client = makeClient({ port, ...(auth && { authentication: { auth } }) });
  const failed = called(client, 'onConnectError');
  client.connect();
  expect(await failed).toMatchObject({ code, message: expect.stringMatching(/^Unauthorized: /), willRetry: false });
  const met = called(client, 'onConnect');
  expect(await client.setToken(token({ sub: '1' }))).toMatchObject({ status: 'ok' });
  await met;
});

test('setToken() brings new roles, and keeps to the user', async () => {
  const { gateway, port } = await guarded();
  const client = makeClient({ port, authentication: { auth: token({ sub: '1', roles: ['a'] }) } });
  const { socketId } = await connected(client);
  expect(await client.setToken(token({ sub: '1', roles: ['b'] }))).toMatchObject({ status: 'ok' });
  expect(client.socket.id).toBe(socketId);
  expect(await gateway.toRoom('a', 'x', 1)).toMatchObject({ sockets: 0 });
  expect(await gateway.toRoom('b', 'x', 1)).toMatchObject({ sockets: 1 });
  expect(await client.setToken(token({ sub: '2' }))).toMatchObject({ status: 'error', code: 'token_other_user' });
});

test('a token that expires: announced, sent away, back with another', async () => {
  const { port } = await guarded();
  const client = makeClient({ port, authentication: { auth: token({ sub: '1', exp: nowS() + 2 }) } });
  const [expiring, expired, left] = [heard(client, 'token:expiring'), heard(client, 'token:expired'), called(client, 'onDisconnect')];
  client.connect();
  expect(await expiring).toMatchObject({ expiresAt: expect.any(Number), expiresIn: expect.any(Number) });
  expect(await expired).toMatchObject({ code: 'token_expired' });
  expect(await left).toEqual({ reason: 'io server disconnect', willRetry: false });
  const met = called(client, 'onConnect');
  expect(await client.setToken(token({ sub: '1' }))).toMatchObject({ status: 'ok' });
  await met;
});

test('a function keeps the connection alive over the end of a token', async () => {
  const { port } = await guarded();
  let asked = 0;
  const auth = () => token({ sub: '1', exp: nowS() + (asked++ === 0 ? 5 : 600) });
  const client = makeClient({ port, authentication: { auth } });
  await connected(client);
  const expiresAt = async () => (await client.socket.emitWithAck('token:info')).expiresAt;
  await eventually(async () => (await expiresAt()) > nowS() + 60, 'the new token');
  expect(asked).toBe(2);
});
