// A TCP proxy on loopback that breaks connections in every way a network does: cut rudely or
// politely, closed in one direction only, delayed, silent, gone for one side and not for the other.

import { connect, createServer } from 'node:net';
import { resetSocket } from './raw.js';

/** A proxy before `target`, which may be replaced by another later, that is closed when the test ends. */
export async function faultProxy(t, target) {
  const proxy = new FaultProxy(target);
  await proxy.listen();
  t?.after(() => proxy.close());
  return proxy;
}

export class FaultProxy {
  #server;
  /** The connections that pass through just now, oldest first. */
  links = new Set();
  /** While true, whoever comes is cut off before a byte is passed on: the server cannot be reached. */
  refusing = false;
  /** Called with each new link. */
  onLink = () => {};
  /** How many links there were in all. */
  opened = 0;

  constructor(target) {
    this.target = target;
    this.host = '127.0.0.1';
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
      if (this.refusing) {
        near.on('error', () => {});
        resetSocket(near);
        return;
      }
      const link = new Link(near, this.target, () => this.links.delete(link));
      this.links.add(link);
      this.opened += 1;
      this.onLink(link);
    });
  }

  async listen() {
    await new Promise((listening) => this.#server.listen(0, '127.0.0.1', listening));
    this.port = this.#server.address().port;
    this.url = `http://127.0.0.1:${this.port}`;
  }

  /** Does the same to every link, as `each('reset')`. */
  each(fault, ...args) {
    for (const link of [...this.links]) link[fault](...args);
  }

  close() {
    for (const link of [...this.links]) link.reset();
    this.#server.close();
  }
}

/** One connection through the proxy: `near` is the client's side, `far` the gateway's. */
export class Link {
  #closed;
  #down;
  #up;

  constructor(near, target, closed) {
    this.near = near;
    this.far = connect({ port: target.port, host: target.host ?? '127.0.0.1', allowHalfOpen: true, noDelay: true });
    this.#closed = closed;
    this.#up = new Pipe(near, this.far, this);
    this.#down = new Pipe(this.far, near, this);
    for (const socket of [near, this.far]) {
      socket.on('error', () => {});
      socket.on('close', () => this.#sideClosed());
    }
    // What the gateway does not want, or no longer wants, ends for the client as well, and the
    // other way round; unless that end was told to hear nothing more.
    near.on('close', (failed) => this.#pass(this.#up, this.far, failed));
    this.far.on('close', (failed) => this.#pass(this.#down, near, failed));
  }

  #pass(pipe, other, failed) {
    if (pipe.silent || other.destroyed) return;
    if (failed) resetSocket(other);
    else if (pipe.idle) other.destroySoon();
  }

  #sideClosed() {
    if (this.near.destroyed && this.far.destroyed) this.#closed();
  }

  /** The first line of what the client sent, such as `GET /socket.io/?EIO=4… HTTP/1.1`. */
  get request() {
    return this.#up.head.split('\r\n')[0];
  }

  get isWebSocket() {
    return this.request.includes('transport=websocket');
  }

  get bytesUp() {
    return this.#up.passed;
  }

  get bytesDown() {
    return this.#down.passed;
  }

  /** Both sides get a RST. */
  reset() {
    resetSocket(this.near);
    resetSocket(this.far);
  }

  /** Both sides get a FIN, behind all that was passed on. */
  finish() {
    this.near.end();
    this.far.end();
    this.near.destroySoon();
    this.far.destroySoon();
  }

  /** The `gateway` or the `client` is told that nothing more will come; the other way still works. */
  halfClose(side) {
    (side === 'gateway' ? this.far : this.near).end();
  }

  /**
   * The client loses its connection and knows it; the gateway does not hear of it. What a phone
   * that changes its network looks like.
   */
  vanish() {
    this.blackHole();
    resetSocket(this.near);
  }

  /** Nothing more is passed on, not even an end: `both` ways, `up` (to the gateway) or `down`. */
  blackHole(way = 'both') {
    if (way !== 'down') this.#up.silent = true;
    if (way !== 'up') this.#down.silent = true;
  }

  /** Everything takes this much longer from now on; 0 ends that. */
  delay(ms, way = 'both') {
    if (way !== 'down') this.#up.delayMs = ms;
    if (way !== 'up') this.#down.delayMs = ms;
  }

  /** Both sides get a RST once exactly so many more bytes have gone to the client. */
  resetAfterDown(bytes) {
    this.#down.resetAfter(bytes);
  }

  /** The same for bytes to the gateway. */
  resetAfterUp(bytes) {
    this.#up.resetAfter(bytes);
  }

  /**
   * Calls `judge` with each chunk before it goes to the client. It may return bytes to be passed
   * on instead; then the link is cut, and the client has got exactly these.
   */
  watchDown(judge) {
    this.#down.judge = judge;
  }
}

const HEAD_MAX = 1024;

/** One direction of a link. */
class Pipe {
  #from;
  #to;
  #link;
  #waiting = [];
  #timer = null;
  #left = Infinity;
  #finAtEnd = false;
  silent = false;
  delayMs = 0;
  judge = null;
  head = '';
  passed = 0;

  constructor(from, to, link) {
    this.#from = from;
    this.#to = to;
    this.#link = link;
    from.on('data', (chunk) => this.#take(chunk));
    from.on('end', () => {
      this.#finAtEnd = true;
      // Who ends a connection that goes nowhere is rid of it.
      if (this.silent) from.destroy();
      else if (this.idle) this.#fin();
    });
  }

  /** Nothing is on its way. */
  get idle() {
    return this.#waiting.length === 0;
  }

  resetAfter(bytes) {
    this.#left = bytes;
  }

  #take(chunk) {
    if (this.head.length < HEAD_MAX) this.head += chunk.toString('latin1', 0, HEAD_MAX);
    // What is lost is still read: to the sender the connection seems to work.
    if (this.silent) return;
    if (this.delayMs > 0 || !this.idle) {
      this.#waiting.push({ chunk, at: Date.now() + this.delayMs });
      if (!this.#timer) this.#arm();
    } else {
      this.#pass(chunk);
    }
  }

  #arm() {
    this.#timer = setTimeout(() => {
      this.#timer = null;
      while (this.#waiting.length && this.#waiting[0].at <= Date.now()) {
        const { chunk } = this.#waiting.shift();
        if (!this.silent) this.#pass(chunk);
      }
      if (this.#waiting.length) this.#arm();
      else if (this.#finAtEnd) this.#fin();
      else if (this.#from.destroyed && !this.silent) this.#to.destroySoon();
    }, Math.max(0, this.#waiting[0].at - Date.now()));
  }

  #pass(chunk) {
    if (this.#to.destroyed || !this.#to.writable) return;
    let bytes = chunk;
    let cut = false;
    if (this.judge) {
      const judged = this.judge(chunk);
      if (judged !== undefined) [bytes, cut] = [judged, true];
    }
    if (bytes.length >= this.#left) [bytes, cut] = [bytes.subarray(0, this.#left), true];
    this.#left -= bytes.length;
    this.passed += bytes.length;
    if (cut) {
      this.silent = true;
      this.#link.blackHole();
      // The other side must have the bytes before it gets the RST, so that they are read.
      const cutNow = () => setImmediate(() => this.#link.reset());
      if (bytes.length) this.#to.write(bytes, cutNow);
      else cutNow();
      return;
    }
    if (!this.#to.write(bytes)) {
      this.#from.pause();
      this.#to.once('drain', () => this.#from.resume());
    }
  }

  #fin() {
    if (!this.silent && this.#to.writable) this.#to.end();
  }
}
