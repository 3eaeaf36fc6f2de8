// Thousands of Socket.IO clients in one process, for join.test.js.
//
// Parent sends {join: {port, room, clients}}, then {count: {event, marker}} before it publishes.
// Answers: {joined}, {counted: {exactly one: n, …}}, {failed: why}.

import { LightClient, lightFrame } from '../harness/light.js';

const CONNECTING_MAX = 200;
/** The same for all, so that each frame is built once. */
const CONNECT = lightFrame('40{"recovery":false}');

let subscribe;
let expected = null;
let markedClients = 0;
let onJoined = () => {};
const clients = [];

function fail(why) {
  process.send({ failed: String(why) }, () => process.exit(1));
}

class CrowdClient {
  events = 0;
  marked = false;

  constructor(port, index) {
    this.connection = new LightClient({
      port,
      index,
      onPacket: (text) => this.#packet(text),
      onOver: ({ over }) => fail(`client ${index}: ${over}`),
    });
  }

  #packet(text) {
    if (text.startsWith('0{')) this.connection.write(CONNECT);
    else if (text.startsWith('40{')) this.connection.write(subscribe);
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
  subscribe = lightFrame(`420["subscribe",${JSON.stringify(room)}]`);
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
