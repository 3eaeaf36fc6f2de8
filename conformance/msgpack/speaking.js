// What the tests of msgpack share: stock clients and raw sockets that speak it, packets written as
// hex, and those who watch while somebody misbehaves.

import assert from 'node:assert/strict';
import msgpack from 'socket.io-msgpack-parser';
import { WAIT_MS } from '../harness/events.js';
import { onReference, startGateway, startSuiteServer } from '../harness/gateway.js';
import { SID, bystander, connected, openSession } from '../harness/sessions.js';

/** The option of a stock client that makes it speak msgpack. */
export const MSGPACK = { parser: msgpack };

export const TYPE = msgpack.PacketType;

/** The parsers under test, as options of a stock client. The reference speaks one of them at a time. */
export const PARSERS = onReference ? { msgpack: MSGPACK } : { json: {}, msgpack: MSGPACK };

export const TRANSPORTS = { polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'] };

/** What a server must be told so that it speaks msgpack: nothing. */
export const SPOKEN = onReference ? { IDAE_SOCKET_SOCKET_PARSERS: 'msgpack' } : {};

export const startSpeaking = ({ env, ...options } = {}) => startGateway({ ...options, env: { ...SPOKEN, ...env } });
export const startSpeakingSuite = () => startSuiteServer({ env: SPOKEN });

/** A stock client that speaks msgpack, connected. */
export const speaker = (t, server, options = {}) => connected(t, server, { ...MSGPACK, ...options });

/** Any value as the stock parser writes it. */
export const encode = (value) => new msgpack.Encoder().encode(value)[0];

/** A packet as the stock parser reads it, which refuses what is not valid. */
export function decode(bytes) {
  const decoder = new msgpack.Decoder();
  let packet;
  decoder.on('decoded', (decoded) => (packet = decoded));
  decoder.add(bytes);
  return packet;
}

export const bytesOf = (hex) => Buffer.from(hex.replaceAll(' ', ''), 'hex');

/** A value of the stock parser as hex. */
export const hexOf = (value) => encode(value).toString('hex');

/** A map of these fields, whose values are hex already: what no encoder would write. */
export function mapHex(fields) {
  const entries = Object.entries(fields);
  const body = entries.map(([name, hex]) => `${hexOf(name)}${hex}`).join('');
  return `${(0x80 + entries.length).toString(16)}${body}`.replaceAll(' ', '');
}

/** A packet for `/` with a type and data that are hex already; more fields, or others, as they are given. */
export const packetHex = (type, data, more = {}) => mapHex({ type, ...(data !== undefined && { data }), nsp: hexOf('/'), ...more });

/** The packet of an event whose arguments are hex already. */
export const eventHex = (name, ...args) => packetHex('02', `${(0x91 + args.length).toString(16)}${hexOf(name)}${args.join('')}`);

/** A raw WebSocket on which packets are written and read one by one. */
export class RawSpeaker {
  constructor(websocket) {
    this.websocket = websocket;
  }

  /** A session that has joined nothing yet. */
  static async open(server, options) {
    return new RawSpeaker(await openSession(server, options));
  }

  /** A session that has joined; of the suite server its first event is read too. */
  static async joined(server, { namespace = '/', suite = false, ...options } = {}) {
    const speaks = await RawSpeaker.open(server, options);
    speaks.reply = await speaks.join(namespace, suite ? undefined : { recovery: false });
    if (suite) assert.deepEqual(await speaks.next(), { type: TYPE.EVENT, data: ['auth', {}], nsp: namespace });
    return speaks;
  }

  send(packet) {
    this.websocket.sendBinary(encode(packet));
  }

  sendHex(hex) {
    this.websocket.sendBinary(bytesOf(hex));
  }

  /** The next packet, which must be one binary message. */
  async next(waitMs = WAIT_MS) {
    return decode(await this.websocket.nextBinary(waitMs));
  }

  /** Joins and returns what CONNECT was answered with. */
  async join(nsp = '/', data = undefined) {
    this.send({ type: TYPE.CONNECT, data, nsp });
    const answer = await this.next();
    assert.deepEqual([answer.type, answer.nsp], [TYPE.CONNECT, nsp], JSON.stringify(answer));
    assert.match(answer.data.sid, SID);
    return answer.data;
  }

  /** Sends an event and returns the arguments of its acknowledgement, which must be the next packet. */
  async ask(id, ...data) {
    this.send({ type: TYPE.EVENT, data, id, nsp: '/' });
    return this.answer(id);
  }

  async answer(id) {
    const { data, ...packet } = await this.next();
    assert.deepEqual(packet, { type: TYPE.ACK, id, nsp: '/' }, JSON.stringify(data));
    return data;
  }

  /** It must be closed, and nothing may have been sent before that. */
  async closedUnanswered(waitMs) {
    assert.deepEqual((await this.websocket.closed(waitMs)).unread, []);
  }

  close() {
    this.websocket.close();
  }
}

/** One bystander for each parser. */
export class Bystanders {
  static async open(gateway) {
    const all = new Bystanders();
    all.watching = await Promise.all(
      Object.entries(PARSERS).map(([name, options]) => bystander(null, gateway, `${name} bystander`, options)),
    );
    return all;
  }

  /** None of them was disconnected, and each still gets its events. */
  async unharmed() {
    for (const one of this.watching) await one.unharmed();
  }

  close() {
    for (const { socket } of this.watching) socket.disconnect();
  }
}
