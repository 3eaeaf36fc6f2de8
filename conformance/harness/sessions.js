// Engine.IO and Socket.IO sessions for tests: raw ones that hide nothing, and the stock client.

import assert from 'node:assert/strict';
import { io } from 'socket.io-client';
import { WAIT_MS, next, nextValue, within } from './events.js';
import { RawConnection, openWebSocket, request, requestBytes } from './raw.js';

export const SEPARATOR = '\x1e';
export const SID = /^[A-Za-z0-9_-]{20}$/;
export const UNKNOWN_SID = '{"code":1,"message":"Session ID unknown"}';

/** One Engine.IO session on polling, each request on its own connection. */
export class Polling {
  constructor(server, path, handshake) {
    Object.assign(this, { server, path, handshake, sid: handshake.sid });
  }

  static async open(server, { path = '/socket.io/', headers = {} } = {}) {
    const response = await request(server, { path: `${path}?EIO=4&transport=polling`, headers });
    assert.equal(response.status, 200, response.text);
    assert.equal(response.text[0], '0');
    return new Polling(server, path, JSON.parse(response.text.slice(1)));
  }

  get target() {
    return `${this.path}?EIO=4&transport=polling&sid=${this.sid}`;
  }

  /** GET: waits for packets. */
  poll(options = {}) {
    return request(this.server, { path: this.target, ...options });
  }

  /** POST: sends packets. */
  post(body, options = {}) {
    return request(this.server, {
      method: 'POST',
      path: this.target,
      headers: { 'content-type': 'text/plain;charset=UTF-8' },
      body,
      ...options,
    });
  }

  /** Sends and insists that it was taken. */
  async send(body) {
    const response = await this.post(body);
    assert.deepEqual([response.status, response.text], [200, 'ok']);
  }

  /** Polls until `count` packets other than pings have come; answers the pings. */
  async packets(count, waitMs = WAIT_MS) {
    const packets = [];
    const deadline = Date.now() + waitMs;
    while (packets.length < count) {
      assert.ok(Date.now() < deadline, `${packets.length} of ${count} packets came: ${packets}`);
      const response = await this.poll({ waitMs });
      assert.equal(response.status, 200, response.text);
      for (const packet of response.text.split(SEPARATOR)) {
        if (packet === '2') await this.send('3');
        else packets.push(packet);
      }
    }
    return packets;
  }

  /** The next packet that is no ping. More than one at once is an error. */
  async packet(waitMs = WAIT_MS) {
    const packets = await this.packets(1, waitMs);
    assert.equal(packets.length, 1, `more than one packet: ${packets}`);
    return packets[0];
  }

  /** A GET that is pending: the bytes are sent, the answer is still to come. */
  async pending() {
    const connection = await RawConnection.open(this.server);
    connection.write(requestBytes({ path: this.target }));
    return connection;
  }

  /** The session must be gone. A pending close may still hand out its last packets first. */
  async isGone() {
    const response = await this.poll();
    assert.deepEqual([response.status, response.text], [400, UNKNOWN_SID]);
  }

  /** The session must be closing: one GET may still tell so with the packet 1, then it is gone. */
  async ends() {
    const { status, text } = await this.poll();
    if (status === 200) {
      assert.equal(text.split(SEPARATOR).at(-1), '1', text);
      await this.isGone();
    } else {
      assert.deepEqual([status, text], [400, UNKNOWN_SID]);
    }
  }

  /** The session must still work: the echo server returns what it gets. */
  async echoes(text = 'still here') {
    await this.send(`4${text}`);
    assert.equal(await this.packet(), `4${text}`);
  }
}

/** Opens a WebSocket session and reads the open packet. Pings are answered. */
export async function openSession(server, { path = '/socket.io/', query = '', headers, answerPings = true } = {}) {
  const websocket = await openWebSocket(server, `${path}?EIO=4&transport=websocket${query}`, {
    headers,
    answerPings,
  });
  const open = await websocket.nextText();
  assert.equal(open[0], '0', open);
  websocket.handshake = JSON.parse(open.slice(1));
  websocket.sid = websocket.handshake.sid;
  return websocket;
}

/** A WebSocket that wants to take over a polling session. */
export function openProbe(polling, options = {}) {
  const path = `${polling.path}?EIO=4&transport=websocket&sid=${polling.sid}`;
  return openWebSocket(polling.server, path, options);
}

/**
 * Joins a namespace over a raw WebSocket and returns the answer's object. `recovery: false`
 * asks for events without an offset, so that frames can be compared byte by byte.
 */
export async function join(websocket, namespace = '/', auth = { recovery: false }) {
  const prefix = namespace === '/' ? '' : `${namespace},`;
  websocket.sendText(`40${prefix}${auth ? JSON.stringify(auth) : ''}`);
  const answer = await websocket.nextText();
  assert.ok(answer.startsWith(`40${prefix}{`), answer);
  const reply = JSON.parse(answer.slice(2 + prefix.length));
  assert.match(reply.sid, SID);
  return reply;
}

/** A raw WebSocket session that has joined `/`; the suite server's `auth` event is read too. */
export async function joined(server, { namespace = '/', suite = false, auth } = {}) {
  const websocket = await openSession(server);
  websocket.reply = await join(websocket, namespace, auth ?? (suite ? null : undefined));
  if (suite) {
    const prefix = namespace === '/' ? '' : `${namespace},`;
    assert.equal(await websocket.nextText(), `42${prefix}["auth",{}]`);
  }
  return websocket;
}

/**
 * A stock socket.io-client that is not connected yet; it is closed when the test ends.
 * Every client has its own connection unless the test passes a manager's options itself.
 */
export function client(t, server, { namespace = '/', ...options } = {}) {
  const socket = io(`${server.url}${namespace === '/' ? '' : namespace}`, {
    forceNew: true,
    reconnection: false,
    autoConnect: false,
    ...options,
  });
  t?.after(() => {
    socket.disconnect();
    socket.io._close?.();
  });
  return socket;
}

/** A stock client, connected. */
export async function connected(t, server, options = {}) {
  const socket = client(t, server, options);
  await connectNow(socket);
  return socket;
}

/** Connects and waits; a refusal is an error that says why. */
export async function connectNow(socket, waitMs = WAIT_MS) {
  const refusal = new Promise((_, reject) => {
    socket.once('connect_error', (error) => reject(new Error(`not connected: ${error.message}`)));
  });
  // The other outcome wins the race; this one must not count as unhandled then.
  refusal.catch(() => {});
  const arrived = next(socket, 'connect', waitMs);
  arrived.catch(() => {});
  socket.connect();
  await Promise.race([arrived, refusal]);
  return socket;
}

/** Emits and waits for the acknowledgement's first argument. */
export function ask(socket, event, ...args) {
  const answered = new Promise((resolve) => socket.emit(event, ...args, resolve));
  return within(answered, `the ack of "${event}"`);
}

/** Joins rooms through the gateway's own event and insists on success. */
export async function subscribe(socket, rooms) {
  const reply = await ask(socket, 'subscribe', rooms);
  assert.equal(reply.status, 'ok', JSON.stringify(reply));
  return reply;
}

/**
 * A stock client in two namespaces of the suite server has one connection and two ids; it leaves one, which the other does not
 * notice, and is somebody new when it comes back.
 */
export async function inTwoNamespaces(t, server, options = {}) {
  const main = await connected(t, server, { transports: ['websocket'], ...options });
  const custom = main.io.socket('/custom');
  t.after(() => custom.disconnect());
  await connectNow(custom);
  assert.equal(main.io.engine, custom.io.engine);
  assert.notEqual(main.id, custom.id);
  assert.equal(await ask(custom, 'message-with-ack', 'c'), 'c');
  assert.equal(await ask(main, 'message-with-ack', 'm'), 'm');
  const before = custom.id;
  custom.disconnect();
  assert.equal(await ask(main, 'message-with-ack', 1), 1);
  await connectNow(custom);
  assert.notEqual(custom.id, before);
  assert.equal(main.connected, true);
}

/** The stock client asks for a namespace that does not exist, on the connection of another: it is told so, and does not ask again. */
export async function refusedNamespace(t, main, name) {
  const wrong = main.io.socket(name);
  t.after(() => wrong.disconnect());
  const refused = nextValue(wrong, 'connect_error');
  wrong.connect();
  const error = await refused;
  assert.equal(error.message, 'Invalid namespace');
  assert.equal(error.data, undefined);
  assert.equal(wrong.active, false);
}

/**
 * Somebody who only listens while a test misbehaves. `unharmed()` publishes one event and
 * insists that this client, never disconnected, receives exactly it.
 */
export async function bystander(t, gateway, name = 'bystander', options = {}) {
  const socket = await connected(t, gateway, { transports: ['websocket'], ...options });
  await subscribe(socket, name);
  const id = socket.id;
  let lost = null;
  let count = 0;
  socket.on('disconnect', (reason) => {
    lost = reason;
  });
  return {
    socket,
    async unharmed(waitMs = WAIT_MS) {
      assert.equal(lost, null, `the bystander was disconnected: ${lost}`);
      count += 1;
      const number = count;
      const event = next(socket, 'still:there', waitMs);
      event.catch(() => {});
      const reply = await gateway.publish('still:there', { rooms: name, payload: number });
      assert.equal(reply.sockets, 1);
      const [envelope] = await event;
      assert.equal(envelope.payload, number);
      assert.equal(socket.id, id);
    },
  };
}
