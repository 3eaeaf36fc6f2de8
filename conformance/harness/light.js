// A WebSocket client that is a TCP socket and a few bytes of state, for thousands in one process.
// It answers heartbeats, and hands every other packet out as text. Only small text frames.

import { connect } from 'node:net';
import { resetSocket } from './raw.js';

const SOURCES = 8;
const MASK = [0x12, 0x34, 0x56, 0x78];
const HANDSHAKE =
  'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\n' +
  'User-Agent: node\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
const SWITCHED = Buffer.from('HTTP/1.1 101 ');

/** A masked text frame. */
export function lightFrame(text) {
  const payload = Buffer.from(text);
  const { length } = payload;
  if (length > 65535) throw new Error('only small frames here');
  const head = length < 126 ? [0x81, 0x80 | length] : [0x81, 0x80 | 126, length >> 8, length & 255];
  for (let i = 0; i < length; i += 1) payload[i] ^= MASK[i & 3];
  return Buffer.concat([Buffer.from([...head, ...MASK]), payload]);
}

const PONG = lightFrame('3');
const CLOSE = Buffer.from([0x88, 0x80, ...MASK]);

export class LightClient {
  #rest = null;
  #upgraded = false;
  /** Why it is over: `end`, an error's code, or what was wrong with what came. */
  over = null;

  /** `onPacket(text, client)` for each packet but pings, `onOver(client)` once when the connection is gone. */
  constructor({ port, index, onPacket, onOver }) {
    this.index = index;
    this.onPacket = onPacket;
    this.onOver = onOver;
    this.socket = connect({
      port,
      host: '127.0.0.1',
      // Each source address has its own ports, so they never run short.
      localAddress: `127.0.0.${1 + (index % SOURCES)}`,
      noDelay: true,
    });
    this.socket.on('connect', () => this.socket.write(HANDSHAKE));
    this.socket.on('data', (chunk) => this.#read(chunk));
    this.socket.on('error', (error) => (this.over ??= error.code ?? error.message));
    this.socket.on('close', () => {
      this.over ??= 'end';
      this.onOver?.(this);
    });
  }

  send(text) {
    this.write(lightFrame(text));
  }

  write(bytes) {
    if (this.socket.writable) this.socket.write(bytes);
  }

  /** RST. */
  reset() {
    this.over ??= 'reset by the test';
    resetSocket(this.socket);
  }

  /** Leaves the namespace, closes the WebSocket, closes the connection. */
  leave() {
    this.over ??= 'left by the test';
    this.socket.end(Buffer.concat([lightFrame('41'), CLOSE]));
  }

  #fail(why) {
    this.over ??= why;
    this.socket.destroy();
  }

  #read(chunk) {
    let bytes = this.#rest ? Buffer.concat([this.#rest, chunk]) : chunk;
    if (!this.#upgraded) {
      const end = bytes.indexOf('\r\n\r\n');
      if (end < 0) {
        this.#rest = bytes;
        return;
      }
      if (!bytes.subarray(0, SWITCHED.length).equals(SWITCHED)) {
        this.#fail(`no WebSocket: ${bytes.subarray(0, 200)}`);
        return;
      }
      this.#upgraded = true;
      bytes = bytes.subarray(end + 4);
    }
    while (bytes.length >= 2 && !this.over) {
      const short = bytes[1] & 0x7f;
      const head = short === 127 ? 10 : short === 126 ? 4 : 2;
      if (bytes.length < head) break;
      const length = short === 127 ? Number(bytes.readBigUInt64BE(2)) : short === 126 ? bytes.readUInt16BE(2) : short;
      if (bytes.length < head + length) break;
      const text = bytes.toString('utf8', head, head + length);
      if (bytes[0] === 0x88) this.over ??= 'close frame';
      else if (bytes[0] !== 0x81) this.#fail(`unexpected frame, first byte ${bytes[0].toString(16)}`);
      else if (text === '2') this.write(PONG);
      else this.onPacket(text, this);
      bytes = bytes.subarray(head + length);
    }
    // A copy: keeping a slice would keep the whole buffer of the read alive.
    this.#rest = bytes.length ? Buffer.from(bytes) : null;
  }
}
