// What the tests of recovery share: raw sockets that know their pid and offset, stock clients that
// keep a diary, and ways to be away for a while.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { next } from '../harness/events.js';
import { startGateway } from '../harness/gateway.js';
import { Polling, client, connectNow, openSession } from '../harness/sessions.js';

/** The offset of an event: its last argument. */
export const OFFSET = /^.{16}$/;

/** Comes back at once. */
export const RETURNING = {
  reconnection: true,
  reconnectionDelay: 20,
  reconnectionDelayMax: 40,
  randomizationFactor: 0,
};
/** Comes back later than two claims of one pid may follow each other. */
export const RETURNING_CALMLY = { ...RETURNING, reconnectionDelay: 400, reconnectionDelayMax: 400 };

export const SECRET = 'a-secret-of-the-tests-of-recovery-0123456789';
export const JWT_CONFIG = `[auth]\nstrategy = "jwt"\njwt_secret = "${SECRET}"\nleeway_s = 0\n`;

/** A token of `sub` that is good for `seconds`. */
export function token(sub, { seconds = 3600, ...claims } = {}) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + seconds;
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub, exp, ...claims })}`;
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
}

/** A gateway that keeps events for those who are away; ended with the test. */
export async function open(t, { windowS = 120, config, ...options } = {}) {
  const env = { IDAE_SOCKET_RECOVERY_WINDOW_S: String(windowS), ...options.env };
  const gateway = await startGateway({ ...options, config, env });
  t.after(() => gateway.end());
  return gateway;
}

/** What a library that knows recovery says of itself. */
export const KNOWING = { 'User-Agent': 'node' };

/** A raw WebSocket session of a client that knows recovery. */
export const openKnowing = (server, options = {}) => openSession(server, { headers: KNOWING, ...options });

const prefixOf = (namespace) => (namespace === '/' ? '' : `${namespace},`);

/** Takes an event apart: `{name, args, offset}`; with `recovers` its last argument is the offset. */
export function parseEvent(text, { namespace = '/', recovers = true } = {}) {
  const start = `42${prefixOf(namespace)}[`;
  assert.ok(text.startsWith(start), `expected an event of ${namespace}, got ${text}`);
  const [name, ...args] = JSON.parse(text.slice(start.length - 1));
  if (!recovers) return { text, name, args };
  const offset = args.pop();
  assert.equal(typeof offset, 'string', `no offset in ${text}`);
  assert.match(offset, OFFSET, text);
  return { text, name, args, offset };
}

/** What was published: the payload of an envelope. */
export const payloadOf = ({ args }) => args[0].payload;

/**
 * One Socket.IO socket over a raw WebSocket, with what it takes to come back: `sid`, `pid` and the
 * `offset` of the last event that was read.
 */
export class RawSocket {
  /** What was replayed before CONNECT, as events. */
  missed = [];

  constructor(websocket, namespace) {
    this.websocket = websocket;
    this.namespace = namespace;
  }

  /** Joins; with `pid` and perhaps `offset` it claims a former session. */
  static async open(server, { namespace = '/', auth = {}, websocket, ...session } = {}) {
    const socket = new RawSocket(websocket ?? (await openKnowing(server, session)), namespace);
    return socket.connect(auth);
  }

  async connect(auth = {}) {
    this.sendConnect(auth);
    return this.connected();
  }

  sendConnect(auth = {}) {
    this.websocket.sendText(`40${prefixOf(this.namespace)}${JSON.stringify(auth)}`);
  }

  /** Reads up to the CONNECT packet; what comes before it was missed. */
  async connected(waitMs) {
    const start = `40${prefixOf(this.namespace)}{`;
    for (;;) {
      const text = await this.websocket.nextText(waitMs);
      if (text.startsWith(start)) {
        this.reply = JSON.parse(text.slice(start.length - 1));
        Object.assign(this, { sid: this.reply.sid, pid: this.reply.pid });
        return this;
      }
      const event = parseEvent(text, this);
      this.offset = event.offset;
      this.missed.push(event);
    }
  }

  /** What a stock client would send to come back. */
  get claim() {
    return { pid: this.pid, ...(this.offset !== undefined && { offset: this.offset }) };
  }

  get missedPayloads() {
    return this.missed.map(payloadOf);
  }

  /** The next event, which must be in this namespace. */
  async event(waitMs) {
    const event = parseEvent(await this.websocket.nextText(waitMs), this);
    this.offset = event.offset;
    return event;
  }

  async payloads(count) {
    const payloads = [];
    while (payloads.length < count) payloads.push(payloadOf(await this.event()));
    return payloads;
  }

  async subscribe(rooms, word = 'subscribe') {
    const prefix = prefixOf(this.namespace);
    this.websocket.sendText(`42${prefix}0[${JSON.stringify(word)},${JSON.stringify(rooms)}]`);
    const answer = await this.websocket.nextText();
    assert.ok(answer.startsWith(`43${prefix}0[{"status":"ok"`), answer);
    return this;
  }

  /** Comes back over a new WebSocket. */
  async comeBack(server, { auth = {}, ...options } = {}) {
    return RawSocket.open(server, { namespace: this.namespace, ...options, auth: { ...this.claim, ...auth } });
  }

  /** Nothing but this was sent to the socket: the next event is this very one. */
  async hearsNext(gateway, payload, target = { broadcast: true }) {
    await gateway.publish('next', { ...target, namespace: this.namespace, payload });
    assert.deepEqual(payloadOf(await this.event()), payload);
  }

  reset() {
    this.websocket.reset();
  }
}

/** A claim over polling: everything up to CONNECT as `{missed, reply}`, and the session. */
export async function claimOverPolling(server, auth, { headers = KNOWING } = {}) {
  const session = await Polling.open(server, { headers });
  await session.send(`40${JSON.stringify(auth)}`);
  const missed = [];
  for (;;) {
    for (const packet of await session.packets(1)) {
      if (packet.startsWith('40{')) return { session, missed, reply: JSON.parse(packet.slice(2)) };
      missed.push(parseEvent(packet));
    }
  }
}

/** A stock client that writes everything down in order. */
export class Diary {
  /** `['connect', recovered]`, `['disconnect', reason]`, `[event, payload]`. */
  entries = [];

  static async open(t, server, options = {}) {
    const diary = new Diary();
    const { socket } = Object.assign(diary, { socket: client(t, server, { ...RETURNING, ...options }) });
    socket.on('connect', () => diary.entries.push(['connect', socket.recovered === true]));
    socket.on('disconnect', (reason) => diary.entries.push(['disconnect', reason]));
    socket.onAny((event, first) => diary.entries.push([event, first?.payload ?? first]));
    await connectNow(socket);
    return diary;
  }

  /** Only the events, as their payloads. */
  get payloads() {
    return this.entries.filter(([name]) => name !== 'connect' && name !== 'disconnect').map(([, payload]) => payload);
  }

  /**
   * Loses the connection, which is the proxy's only one, and comes back when `meanwhile` is over.
   * Returns what was written down since the loss.
   */
  async away(proxy, fault, meanwhile = async () => {}) {
    const { socket, entries } = this;
    const gone = next(socket, 'disconnect', 10_000);
    gone.catch(() => {});
    proxy.refusing = true;
    const from = entries.length;
    if (typeof fault === 'function') await fault();
    else proxy.each(...[fault].flat());
    await gone;
    await meanwhile();
    const back = next(socket, 'connect', 10_000);
    back.catch(() => {});
    proxy.refusing = false;
    await back;
    // Something may still have come just before the loss.
    const lost = entries.findIndex(([name], at) => at >= from && name === 'disconnect');
    return entries.slice(lost + 1);
  }
}

export const transportOf = (socket) => socket.io.engine?.transport?.name;
