#!/usr/bin/env node
// A small stand-in for the gateway, built from the reference implementation. It exists to
// check the tests themselves: what is plain protocol behaves here as in npm socket.io, and
// the gateway's own events and its HTTP publishing are just complete enough for the tests.
// It is no second gateway: limits, authentication and most error answers are missing.
//
//   IDAE_SOCKET_CHECK_REFERENCE=1 IDAE_SOCKET_BIN=harness/reference-gateway.mjs node --test …

import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { Server } from 'socket.io';
import { spokenParser } from './reference-parser.mjs';

const { values } = parseArgs({ options: { port: { type: 'string', default: '4000' } }, strict: false });
const setting = (name, fallback) => process.env[`IDAE_SOCKET_${name}`] ?? fallback;
const list = (name, fallback) => setting(name, fallback).split(',').filter(Boolean);

const LOOPBACK = /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/;
const NAME_MAX = 200;
const ROOMS_MAX = 1000;
const origins = list('SOCKET_CORS_ORIGINS', setting('CORS_ORIGIN', ''));
const allowed = (origin) =>
  origins.includes('*') || (origins.length ? origins.includes(origin) : LOOPBACK.test(origin));

const http = createServer((request, response) => {
  // A publisher may go away in the middle of its request.
  publish(request, response).catch(() => response.destroy());
});
const io = new Server(http, {
  pingInterval: Number(setting('SOCKET_PING_INTERVAL_MS', 25000)),
  pingTimeout: Number(setting('SOCKET_PING_TIMEOUT_MS', 20000)),
  connectTimeout: Number(setting('SOCKET_CONNECT_TIMEOUT_MS', 45000)),
  upgradeTimeout: Number(setting('SOCKET_UPGRADE_TIMEOUT_MS', 10000)),
  maxHttpBufferSize: Number(setting('SOCKET_PAYLOAD_BYTES_MAX', 1e6)),
  transports: list('SOCKET_TRANSPORTS', 'polling,websocket'),
  serveClient: false,
  ...spokenParser(),
  // Off unless a test asks for it: the events of all other tests have no offset.
  ...(process.env.IDAE_SOCKET_RECOVERY_WINDOW_S && {
    connectionStateRecovery: { maxDisconnectionDuration: 1000 * Number(process.env.IDAE_SOCKET_RECOVERY_WINDOW_S) },
  }),
  cors: origins.includes('*')
    ? { origin: '*' }
    : { origin: (origin, done) => done(null, Boolean(origin && allowed(origin))) },
  allowRequest(request, done) {
    const { origin } = request.headers;
    const refused = 'upgrade' in request.headers && origin && !allowed(origin);
    done(refused ? 'Forbidden' : null, !refused);
  },
});

const events = list('EVENTS', '*');
const known = (name) =>
  events.some((event) => event === '*' || event === name || (event.endsWith('*') && name.startsWith(event.slice(0, -1))));
const badName = (room) => typeof room !== 'string' || room === '' || room.length > NAME_MAX;
const roomsOf = (socket) =>
  [...socket.rooms].filter((room) => room.startsWith('room ')).map((room) => room.slice(5));

for (const name of list('NAMESPACES', '/')) {
  io.of(name).on('connection', (socket) => {
    socket.on('error', () => {});
    socket.onAny((event, ...args) => {
      const ack = typeof args.at(-1) === 'function' ? args.pop() : () => {};
      if (event === 'grantIn') return ack(String(grant(socket, args[0])));
      if (event === 'subscribe' || event === 'unsubscribe') return ack(move(socket, event, args[0]));
      return ack(known(event) ? { status: 'OK' } : { status: 'error', code: 'unknown_event' });
    });
  });
}

function grant(socket, wish) {
  const wishes = wish && typeof wish === 'object' ? [wish.ROLE, wish.host].filter((x) => x !== undefined) : [];
  if (!wishes.length || wishes.some(badName)) return false;
  for (const room of wishes) socket.join(`room ${room}`);
  return true;
}

function move(socket, event, wish) {
  const rooms = Array.isArray(wish) ? wish : [wish];
  if (!rooms.length || rooms.some(badName)) return { status: 'error', code: 'bad_room', detail: 'a room is a name' };
  if (event === 'unsubscribe') {
    for (const room of rooms) socket.leave(`room ${room}`);
  } else {
    if (roomsOf(socket).length + rooms.length > ROOMS_MAX) {
      return { status: 'error', code: 'too_many_rooms', detail: `at most ${ROOMS_MAX}` };
    }
    for (const room of rooms) socket.join(`room ${room}`);
  }
  return { status: 'ok', rooms };
}

async function publish(request, response) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const answer = (status, body) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  };
  const event = decodeURIComponent(request.url.slice(1).split('?')[0]);
  if (request.method !== 'POST' || !known(event) || event.startsWith('socket.io')) return answer(404, {});
  let body;
  try {
    body = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    return answer(400, {});
  }
  const many = (value) => (value === undefined ? [] : [value].flat().map(String));
  const users = [...many(body.users), ...many(body.payload?.own)];
  // The reference has one space for rooms and socket ids, hence the prefix.
  const targets = [...many(body.rooms).map((room) => `room ${room}`), ...users];
  const except = many(body.except).flatMap((room) => [`room ${room}`, room]);
  const nsp = io.of(body.namespace ?? '/');
  let operator = nsp.except(except);
  if (!body.broadcast) {
    if (!targets.length) return answer(422, {});
    operator = operator.to(targets);
  }
  if (body.volatile) operator = operator.volatile;
  const sockets = (await operator.fetchSockets()).length;
  // What is absent is left out, whatever the parser.
  operator.emit(event, JSON.parse(JSON.stringify({ payload: body.payload, rooms: body.rooms, sender: body.sender })));
  return answer(200, { status: 'ok', id: body.id ?? 'reference', sockets });
}

process.on('SIGTERM', () => {
  io.close();
  process.exit(0);
});
http.listen(Number(values.port), '127.0.0.1', () => {
  process.stdout.write(`listening on http://127.0.0.1:${http.address().port}\n`);
});
