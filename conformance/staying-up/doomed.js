// A process that is in the middle of everything, to be killed: handshakes and frames that are not
// complete, polls that are open, sessions between two polls, upgrades, rooms, half publishes.
// Its parent sends {start: {port, count}}; it says {busy} when all of them have got there.

import { OPCODE, RawConnection, frameBytes, requestBytes, upgradeHeaders } from '../harness/raw.js';
import { Polling, join, openProbe, openSession } from '../harness/sessions.js';
import { openKnowing } from './returning.js';

const POLL = '/socket.io/?EIO=4&transport=polling';
const WEBSOCKET = '/socket.io/?EIO=4&transport=websocket';
const POST = {
  method: 'POST',
  path: '/e',
  headers: { 'content-type': 'application/json', 'content-length': '1000' },
  body: '{"rooms":"r","payl',
};

async function raw(server, bytes) {
  const connection = await RawConnection.open(server);
  connection.write(bytes);
}

/** A session on polling that has joined and is in a room. */
async function member(server, room) {
  const session = await Polling.open(server);
  await session.send('40');
  await session.packet();
  await session.send(`420["subscribe","${room}"]`);
  await session.packet();
  return session;
}

async function socket(server, room) {
  const websocket = await openKnowing(server);
  await join(websocket, '/', {});
  websocket.sendText(`420["subscribe","${room}"]`);
  await websocket.nextText();
  return websocket;
}

const middles = {
  'a connection': (server) => raw(server, ''),
  'half a request': (server) => raw(server, 'GET /socket.io/?EIO=4&tra'),
  'half a WebSocket handshake': (server) =>
    raw(server, requestBytes({ path: WEBSOCKET, headers: upgradeHeaders() }).subarray(0, 120)),
  'half a publish': (server) => raw(server, requestBytes(POST)),
  'a session without CONNECT': (server) => openSession(server),
  'a polling session without CONNECT': (server) => Polling.open(server),
  'an open poll': async (server, i) => (await member(server, `poll-${i}`)).pending(),
  'between two polls': (server, i) => member(server, `between-${i}`),
  'half a POST to a session': async (server, i) => {
    const session = await member(server, `post-${i}`);
    await raw(server, requestBytes({ method: 'POST', path: session.target, headers: { 'content-length': '500' }, body: '42["x' }));
  },
  'a socket in a room': (server, i) => socket(server, `room-${i}`),
  'a socket in the same room as all': (server) => socket(server, 'together'),
  'half a frame': async (server, i) => {
    const { connection } = await socket(server, `frame-${i}`);
    connection.write(frameBytes({ payload: `42["x","${'x'.repeat(2000)}"]` }).subarray(0, 1000));
  },
  'half a message': async (server, i) => {
    const websocket = await socket(server, `message-${i}`);
    websocket.sendFrame({ fin: false, payload: '42["x' });
    websocket.sendFrame({ opcode: OPCODE.continuation, fin: false, payload: '"' });
  },
  'half a binary event': async (server, i) => (await socket(server, `binary-${i}`)).sendText('452-["x",{"_placeholder":true,"num":0}]'),
  'a probe': async (server, i) => {
    const probe = await openProbe(await member(server, `probe-${i}`));
    probe.sendText('2probe');
    await probe.nextText();
  },
  'a probe without its session': async (server) => raw(server, requestBytes({ path: `${POLL}&sid=nobody`, headers: upgradeHeaders() })),
  'an upgraded session': async (server, i) => {
    const probe = await openProbe(await member(server, `upgraded-${i}`));
    probe.sendText('2probe');
    await probe.nextText();
    probe.sendText('5');
  },
  'a poll of many': async (server) => {
    const session = await Polling.open(server);
    await session.send(Array.from({ length: 20 }, (_, i) => (i === 0 ? '40' : `42${i}["x"]`)).join('\x1e'));
  },
};

process.on('message', async ({ start: { port, count } }) => {
  const server = { port, host: '127.0.0.1' };
  const all = [];
  for (let i = 0; i < count; i += 1) for (const begin of Object.values(middles)) all.push(begin(server, i));
  const outcomes = await Promise.allSettled(all);
  const failed = outcomes.filter(({ status }) => status === 'rejected').map(({ reason }) => reason.message);
  process.send({ busy: { begun: all.length, failed } });
});
process.on('disconnect', () => process.exit(0));
