// HTTP/1.1 and WebSocket spoken by hand over TCP. Ready-made clients refuse to send what a
// gateway must survive, and they hide what it answers: here every byte is the test's own.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { WAIT_MS, Waiters } from './events.js';

const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/**
 * Ends a connection with RST. One that has begun to end must not be reset: Node 20 then never lets
 * go of it, and spins when the process ends. The peer gets a RST all the same if it sends more.
 */
export function resetSocket(socket) {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

/** A TCP connection with a reader that can wait for what it needs. */
export class RawConnection {
  #waiters = new Waiters();
  received = Buffer.alloc(0);
  /** True once the other side has ended or broken the connection. */
  ended = false;
  /** The socket error that ended it, if one did (ECONNRESET and the like). */
  error = null;

  constructor(socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk) => {
      this.received = this.received.length ? Buffer.concat([this.received, chunk]) : chunk;
      this.#waiters.wake();
    });
    socket.on('error', (error) => {
      this.error = error;
      this.#end();
    });
    socket.on('end', () => this.#end());
    socket.on('close', () => this.#end());
  }

  static open(server) {
    return new Promise((resolve, reject) => {
      const socket = connect({ port: server.port, host: server.host ?? '127.0.0.1' });
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new RawConnection(socket));
      });
    });
  }

  #end() {
    this.ended = true;
    this.#waiters.wake();
  }

  /** Sends exact bytes (a string goes out as UTF-8). */
  write(bytes) {
    if (this.socket.writable) this.socket.write(bytes);
  }

  /** Closes politely, with FIN. */
  close() {
    this.socket.end();
    this.socket.destroySoon();
  }

  /** Closes rudely, with RST. */
  reset() {
    resetSocket(this.socket);
  }

  /** Calls `parse` again after each arrival until it returns something. */
  async until(parse, what, waitMs = WAIT_MS) {
    const look = () => {
      const result = parse();
      if (result !== undefined || !this.ended) return result;
      const how = this.error ? ` (${this.error.code})` : '';
      throw new Error(`the connection ended${how} before ${what}; got ${preview(this.received)}`);
    };
    return this.#waiters.until(look, () => `${what}; got ${preview(this.received)}`, waitMs);
  }

  /** Resolves when the other side has ended the connection. */
  async closed(waitMs = WAIT_MS) {
    await this.until(() => (this.ended ? true : undefined), 'the end of the connection', waitMs);
  }

  /** The next HTTP response on this connection. */
  async response({ method = 'GET', waitMs = WAIT_MS } = {}) {
    for (;;) {
      const response = await this.until(
        () => this.#parseResponse(method),
        `the response to ${method}`,
        waitMs,
      );
      if (response.status !== 100) return response;
    }
  }

  #parseResponse(method) {
    const bytes = this.received;
    const headEnd = bytes.indexOf('\r\n\r\n');
    if (headEnd < 0) return undefined;
    const [statusLine, ...lines] = bytes.subarray(0, headEnd).toString('latin1').split('\r\n');
    const [, status, reason] =
      statusLine.match(/^HTTP\/1\.1 (\d{3})(?: (.*))?$/) ??
      assert.fail(`not an HTTP/1.1 status line: ${JSON.stringify(statusLine)}`);
    const headers = {};
    for (const line of lines) {
      const colon = line.indexOf(':');
      assert.ok(colon > 0, `not a header line: ${JSON.stringify(line)}`);
      const name = line.slice(0, colon).toLowerCase();
      const value = line.slice(colon + 1).trim();
      headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
    }

    const start = headEnd + 4;
    const code = Number(status);
    let body;
    let next;
    if (method === 'HEAD' || code < 200 || code === 204 || code === 304) {
      body = Buffer.alloc(0);
      next = start;
    } else if (/chunked/i.test(headers['transfer-encoding'] ?? '')) {
      const chunked = parseChunks(bytes, start);
      if (!chunked) return undefined;
      ({ body, next } = chunked);
    } else if ('content-length' in headers) {
      next = start + Number(headers['content-length']);
      if (bytes.length < next) return undefined;
      body = bytes.subarray(start, next);
    } else {
      // Without any length the body lasts until the connection ends.
      if (!this.ended) return undefined;
      body = bytes.subarray(start);
      next = bytes.length;
    }
    this.received = bytes.subarray(next);
    return new RawResponse(code, reason ?? '', headers, Buffer.from(body));
  }
}

class RawResponse {
  constructor(status, reason, headers, body) {
    Object.assign(this, { status, reason, headers, body });
  }

  get text() {
    return this.body.toString('utf8');
  }

  json() {
    return JSON.parse(this.text);
  }
}

function parseChunks(bytes, start) {
  const parts = [];
  let at = start;
  for (;;) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd < 0) return null;
    const size = Number.parseInt(bytes.subarray(at, lineEnd).toString('latin1'), 16);
    assert.ok(size >= 0, 'a chunk size must be a hexadecimal number');
    const dataEnd = lineEnd + 2 + size;
    if (bytes.length < dataEnd + 2) return null;
    if (size === 0) return { body: Buffer.concat(parts), next: dataEnd + 2 };
    parts.push(bytes.subarray(lineEnd + 2, dataEnd));
    at = dataEnd + 2;
  }
}

function preview(bytes) {
  const text = JSON.stringify(bytes.subarray(0, 200).toString('latin1'));
  return `${bytes.length} bytes ${text}`;
}

/**
 * What raw clients call themselves: a library that knows nothing of recovery, so that packets have
 * neither pid nor offset. A header `User-Agent` of null names nothing, as Node's WebSocket does.
 */
const USER_AGENT = 'idae-socket-conformance';

/**
 * The bytes of one request. `headers` is an object or a list of pairs (for repeated names);
 * a body brings its Content-Length unless the headers say otherwise, and a handshake a User-Agent.
 */
export function requestBytes({ method = 'GET', path = '/', headers = {}, body, host = 'localhost' } = {}) {
  const pairs = Array.isArray(headers) ? [...headers] : Object.entries(headers);
  const has = (name) => pairs.some(([key]) => key.toLowerCase() === name);
  if (!has('host')) pairs.unshift(['Host', host]);
  const content = body === undefined ? Buffer.alloc(0) : Buffer.from(body);
  if (body !== undefined && !has('content-length') && !has('transfer-encoding')) {
    pairs.push(['Content-Length', String(content.length)]);
  }
  if (path.includes('EIO=') && !path.includes('sid=') && !has('user-agent')) {
    pairs.push(['User-Agent', USER_AGENT]);
  }
  const named = pairs.filter(([, value]) => value !== null);
  const lines = named.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  const head = Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines}\r\n`, 'latin1');
  return Buffer.concat([head, content]);
}

/** One request on its own connection. */
export async function request(server, options = {}) {
  const connection = await RawConnection.open(server);
  try {
    connection.write(requestBytes({ host: `127.0.0.1:${server.port}`, ...options }));
    return await connection.response({ method: options.method ?? 'GET', waitMs: options.waitMs });
  } finally {
    connection.socket.destroy();
  }
}

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };

/**
 * The bytes of one frame from a client, right or wrong as the test likes: `rsv` is the three
 * reserved bits (0–7), `masked: false` leaves the mask out, `announced` lies about the length,
 * `lengthBytes` (1, 2 or 8) forces a longer form of the length than needed.
 */
export function frameBytes({
  opcode = OPCODE.text,
  payload = Buffer.alloc(0),
  fin = true,
  rsv = 0,
  masked = true,
  announced,
  lengthBytes,
} = {}) {
  const data = Buffer.from(payload);
  const length = announced ?? data.length;
  const form = lengthBytes ?? (length < 126 ? 1 : length < 65536 ? 2 : 8);
  const head = Buffer.alloc(1 + (form === 1 ? 1 : form + 1));
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  head[1] = (masked ? 0x80 : 0) | (form === 1 ? length : form === 2 ? 126 : 127);
  if (form === 2) head.writeUInt16BE(length, 2);
  if (form === 8) head.writeBigUInt64BE(BigInt(length), 2);
  if (!masked) return Buffer.concat([head, data]);
  const mask = randomBytes(4);
  const covered = Buffer.alloc(data.length);
  for (let i = 0; i < data.length; i += 1) covered[i] = data[i] ^ mask[i & 3];
  return Buffer.concat([head, mask, covered]);
}

/** The headers of a correct WebSocket handshake. */
export function upgradeHeaders(key = randomBytes(16).toString('base64')) {
  return {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': key,
  };
}

/**
 * Asks for a WebSocket and returns whatever came: the response and the connection. Headers of
 * `headers` replace the usual ones; a value of null leaves one out.
 */
export async function tryUpgrade(server, path, { headers = {}, method = 'GET' } = {}) {
  const all = { ...upgradeHeaders(), ...headers };
  const connection = await RawConnection.open(server);
  connection.write(requestBytes({ method, path, headers: all, host: `127.0.0.1:${server.port}` }));
  const response = await connection.response({ method });
  if (response.status !== 101) connection.socket.destroy();
  return { response, connection };
}

/** Opens a WebSocket; anything but a correct 101 is an error. */
export async function openWebSocket(server, path, { headers = {}, answerPings = false } = {}) {
  const key = randomBytes(16).toString('base64');
  const { response, connection } = await tryUpgrade(server, path, {
    headers: { 'Sec-WebSocket-Key': key, ...headers },
  });
  assert.equal(response.status, 101, `no WebSocket at ${path}: ${response.text}`);
  const accept = createHash('sha1').update(key + WEBSOCKET_GUID).digest('base64');
  assert.equal(response.headers['sec-websocket-accept'], accept);
  const websocket = new RawWebSocket(connection, response);
  websocket.answerPings = answerPings;
  websocket.drain();
  return websocket;
}

/** A WebSocket whose frames are read as they arrive and handed out one by one. */
export class RawWebSocket {
  #frames = [];
  /** Answers Engine.IO pings (`2` with `3`) and hides them, as any client does. */
  answerPings = false;
  /** The server's Close frame `{code, reason}`; code is null if it carried none. */
  closeFrame = null;

  constructor(connection, response) {
    this.connection = connection;
    this.response = response;
    connection.socket.on('data', () => this.drain());
  }

  /** Turns the received bytes into frames. */
  drain() {
    for (;;) {
      const frame = takeFrame(this.connection);
      if (!frame) return;
      if (frame.opcode === OPCODE.close) {
        const { payload } = frame;
        this.closeFrame = payload.length
          ? { code: payload.readUInt16BE(0), reason: payload.subarray(2).toString('utf8') }
          : { code: null, reason: '' };
      } else if (this.answerPings && frame.opcode === OPCODE.text && frame.text === '2') {
        this.sendText('3');
      } else {
        this.#frames.push(frame);
      }
    }
  }

  sendText(text) {
    this.connection.write(frameBytes({ payload: text }));
  }

  sendBinary(bytes) {
    this.connection.write(frameBytes({ opcode: OPCODE.binary, payload: bytes }));
  }

  sendFrame(options) {
    this.connection.write(frameBytes(options));
  }

  /** Everything in one segment: nothing can be answered in between. */
  sendTogether(...texts) {
    this.connection.write(Buffer.concat(texts.map((payload) => frameBytes({ payload }))));
  }

  /** The next frame that is not a Close. */
  async next(waitMs = WAIT_MS) {
    return this.connection.until(
      () => {
        if (this.#frames.length) return this.#frames.shift();
        if (this.closeFrame) throw new Error(`closed with ${JSON.stringify(this.closeFrame)}`);
        return undefined;
      },
      'a WebSocket frame',
      waitMs,
    );
  }

  /** The text of the next frame, which must be a text frame. */
  async nextText(waitMs = WAIT_MS) {
    const frame = await this.next(waitMs);
    assert.equal(frame.opcode, OPCODE.text, `expected a text frame, got opcode ${frame.opcode}`);
    return frame.text;
  }

  /** The bytes of the next frame, which must be a binary frame. */
  async nextBinary(waitMs = WAIT_MS) {
    const frame = await this.next(waitMs);
    assert.equal(frame.opcode, OPCODE.binary, `expected a binary frame, got ${frame.text}`);
    return frame.payload;
  }

  /**
   * Returns once the server has read everything sent so far: it answers a control frame in
   * its turn. Frames that arrive meanwhile stay to be read.
   */
  async fence() {
    const mark = randomBytes(8);
    this.sendFrame({ opcode: OPCODE.ping, payload: mark });
    await this.connection.until(() => {
      const at = this.#frames.findIndex(({ opcode, payload }) => opcode === OPCODE.pong && payload.equals(mark));
      if (at < 0) return undefined;
      this.#frames.splice(at, 1);
      return true;
    }, 'the answer to a WebSocket ping');
  }

  /**
   * Waits until the server ends the WebSocket. `code` is that of its Close frame: null for a
   * Close without code, undefined when the connection ended without any Close.
   */
  async closed(waitMs = WAIT_MS) {
    await this.connection.until(
      () => (this.closeFrame || this.connection.ended ? true : undefined),
      'the end of the WebSocket',
      waitMs,
    );
    // A polite peer echoes the Close; the connection then ends on both sides.
    if (this.closeFrame) this.sendFrame({ opcode: OPCODE.close });
    const { code, reason } = this.closeFrame ?? {};
    this.connection.close();
    return { code, reason, unread: this.#frames.map((frame) => frame.text) };
  }

  get isClosed() {
    return Boolean(this.closeFrame) || this.connection.ended;
  }

  /** Frames that arrived and nobody asked for yet. */
  get unread() {
    return this.#frames.map((frame) => frame.text);
  }

  close() {
    this.sendFrame({ opcode: OPCODE.close });
    this.connection.close();
  }

  reset() {
    this.connection.reset();
  }
}

function takeFrame(connection) {
  const bytes = connection.received;
  if (bytes.length < 2) return null;
  const fin = (bytes[0] & 0x80) !== 0;
  const rsv = (bytes[0] >> 4) & 7;
  const opcode = bytes[0] & 15;
  let length = bytes[1] & 0x7f;
  let at = 2;
  if (length === 126) {
    if (bytes.length < 4) return null;
    length = bytes.readUInt16BE(2);
    at = 4;
  } else if (length === 127) {
    if (bytes.length < 10) return null;
    length = Number(bytes.readBigUInt64BE(2));
    at = 10;
  }
  if (bytes.length < at + length) return null;
  const payload = Buffer.from(bytes.subarray(at, at + length));
  connection.received = bytes.subarray(at + length);
  return {
    fin,
    rsv,
    opcode,
    payload,
    masked: (bytes[1] & 0x80) !== 0,
    text: payload.toString('utf8'),
  };
}
