// Thousands of Socket.IO clients in one process, for join.test.js. A client here is a socket and
// a few bytes of state; a stock client each would need more memory and CPU than the gateway.
//
// Parent sends {join: {port, room, clients}}, then {count: {event, marker}} before it publishes.
// Answers: {joined}, {counted: {exactly one: n, …}}, {failed: why}.

import { connect } from 'node:net';

const CONNECTING_MAX = 200;
const SOURCES = 4;
const HANDSHAKE =
  'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\n' +
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';

/** A masked text frame; the same mask for all, so that each frame is built once. */
function frame(text) {
  const mask = [0x12, 0x34, 0x56, 0x78];
  const payload = Buffer.from(text);
  if (payload.length > 125) throw new Error('only short frames here');
  const masked = payload.map((byte, i) => byte ^ mask[i & 3]);
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, ...mask]), masked]);
}

const CONNECT = frame('40{"recovery":false}');
const PONG = frame('3');

let subscribe;
let expected = null;
let markedClients = 0;
let onJoined = () => {};
const clients = [];

function fail(why) {
  process.send({ failed: String(why) }, () => process.exit(1));
}

class CrowdClient {
  #rest = null;
  #upgraded = false;
  events = 0;
  marked = false;

  constructor(port, index) {
    this.socket = connect({
      port,
      host: '127.0.0.1',
      // Each source address has its own ports, so they never run short.
      localAddress: `127.0.0.${1 + (index % SOURCES)}`,
    });
    this.socket.on('connect', () => this.socket.write(HANDSHAKE));
    this.socket.on('data', (chunk) => this.#read(chunk));
    this.socket.on('error', (error) => fail(`client ${index}: ${error.message}`));
    this.socket.on('close', () => fail(`client ${index} was closed by the gateway`));
  }

  #read(chunk) {
    let bytes = this.#rest ? Buffer.concat([this.#rest, chunk]) : chunk;
    if (!this.#upgraded) {
      const end = bytes.indexOf('\r\n\r\n');
      if (end < 0) {
        this.#rest = bytes;
        return;
      }
      if (!bytes.subarray(0, 13).equals(Buffer.from('HTTP/1.1 101 '))) {
        fail(`no WebSocket: ${bytes.subarray(0, 200)}`);
        return;
      }
      this.#upgraded = true;
      bytes = bytes.subarray(end + 4);
    }
    for (;;) {
      if (bytes.length < 2) break;
      const short = bytes[1] & 0x7f;
      const head = short === 126 ? 4 : 2;
      if (short === 127 || bytes.length < head) break;
      const length = short === 126 ? bytes.readUInt16BE(2) : short;
      if (bytes.length < head + length) break;
      if (bytes[0] !== 0x81) fail(`unexpected frame, first byte ${bytes[0].toString(16)}`);
      this.#packet(bytes.toString('utf8', head, head + length));
      bytes = bytes.subarray(head + length);
    }
    // A copy: keeping a slice would keep the whole buffer of the read alive.
    this.#rest = bytes.length ? Buffer.from(bytes) : null;
  }

  #packet(text) {
    if (text === '2') this.socket.write(PONG);
    else if (text.startsWith('0{')) this.socket.write(CONNECT);
    else if (text.startsWith('40{')) this.socket.write(subscribe);
    else if (text.startsWith('430[{"status":"ok"')) onJoined();
    else if (text.startsWith('42')) this.#event(text);
    else fail(`unexpected packet ${text}`);
  }

  #event(text) {
    if (!expected) fail(`an event that nobody published: ${text}`);
    else if (text === expected.event) this.events += 1;
    else if (text !== expected.marker) fail(`another event: ${text}`);
    else if (this.marked) fail('the marker came twice');
    else {
      this.marked = true;
      markedClients += 1;
      if (markedClients === clients.length) report();
    }
  }
}

function join({ port, room, clients: wanted }) {
  subscribe = frame(`420["subscribe",${JSON.stringify(room)}]`);
  let joined = 0;
  const open = () => {
    if (clients.length < wanted) clients.push(new CrowdClient(port, clients.length));
  };
  onJoined = () => {
    joined += 1;
    if (joined === wanted) process.send({ joined });
    open();
  };
  for (let i = 0; i < CONNECTING_MAX; i += 1) open();
}

/** How many clients got the event how many times. */
function report() {
  const counted = {};
  for (const client of clients) counted[client.events] = (counted[client.events] ?? 0) + 1;
  process.send({ counted });
  expected = null;
  markedClients = 0;
  for (const client of clients) {
    client.events = 0;
    client.marked = false;
  }
}

process.on('message', (message) => {
  if (message.join) join(message.join);
  if (message.count) {
    expected = message.count;
    process.send({ ready: true });
  }
});
process.on('disconnect', () => process.exit(0));
