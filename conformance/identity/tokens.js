// Tokens of every algorithm, signed with node:crypto alone, and the servers that a gateway asks
// about them: key sets, introspection, a backend. What is under test signs and judges nothing here.

import { constants, createHmac, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WAIT_MS, Waiters } from '../harness/events.js';

/** Long enough for every HS algorithm. */
export const SECRET = 'a-secret-for-tests-that-is-longer-than-the-sixty-four-bytes-of-HS512!';
export const OTHER_SECRET = SECRET.replace('tests', 'spies');

/** The time as tokens count it. */
export const now = () => Math.floor(Date.now() / 1000);

const KINDS = {
  rsa: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  p256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  p384: () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  p521: () => generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  ed25519: () => generateKeyPairSync('ed25519'),
};

/** A key pair with the forms in which a gateway may get its public half. */
export class KeyPair {
  static #known = new Map();

  constructor(kind) {
    Object.assign(this, KINDS[kind](), { kind, kid: `${kind}-${randomUUID().slice(0, 8)}` });
  }

  /** The same pair for the same words within a test file: making one takes time. */
  static get(kind, name = 'first') {
    const id = `${kind} ${name}`;
    if (!KeyPair.#known.has(id)) KeyPair.#known.set(id, new KeyPair(kind));
    return KeyPair.#known.get(id);
  }

  /** The usual PEM form of the public key. */
  get pem() {
    return this.publicKey.export({ type: 'spki', format: 'pem' });
  }

  get privatePem() {
    return this.privateKey.export({ type: 'pkcs8', format: 'pem' });
  }

  /** As an entry of a key set. */
  jwk(more = {}) {
    return { ...this.publicKey.export({ format: 'jwk' }), kid: this.kid, use: 'sig', ...more };
  }
}

/** Every algorithm with a pair of keys, and the kind of key it takes. */
export const ASYMMETRIC = {
  RS256: 'rsa',
  RS384: 'rsa',
  RS512: 'rsa',
  PS256: 'rsa',
  PS384: 'rsa',
  PS512: 'rsa',
  ES256: 'p256',
  ES384: 'p384',
  ES512: 'p521',
  EdDSA: 'ed25519',
};
export const SYMMETRIC = ['HS256', 'HS384', 'HS512'];

/** The signature of some text, as bytes. */
export function signature(algorithm, key, text) {
  const bytes = Buffer.from(text);
  const hash = `sha${algorithm.slice(2)}`;
  switch (algorithm.slice(0, 2)) {
    case 'HS':
      return createHmac(hash, key).update(bytes).digest();
    case 'RS':
      return sign(hash, bytes, key);
    case 'PS':
      return sign(hash, bytes, {
        key,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
      });
    case 'ES':
      return sign(hash, bytes, { key, dsaEncoding: 'ieee-p1363' });
    case 'Ed':
      return sign(null, bytes, key);
    default:
      throw new Error(`no such algorithm: ${algorithm}`);
  }
}

const part = (value) =>
  Buffer.from(typeof value === 'string' || Buffer.isBuffer(value) ? value : JSON.stringify(value)).toString('base64url');

/**
 * A signed token with exactly these claims; a string or bytes are taken as the payload itself.
 * `header` adds to the header or replaces it, `alg` included: what is signed with stays
 * `algorithm`. As a string or bytes it is the whole header.
 */
export function jwt(claims, { algorithm = 'HS256', key = SECRET, kid, header = {} } = {}) {
  const isWhole = typeof header === 'string' || Buffer.isBuffer(header);
  const head = isWhole ? header : { alg: algorithm, typ: 'JWT', ...(kid && { kid }), ...header };
  const text = `${part(head)}.${part(claims)}`;
  return `${text}.${signature(algorithm, key, text).toString('base64url')}`;
}

/** A good token of this pair of keys; see `jwt`. */
export function jwtOf(pair, claims, { algorithm, ...options } = {}) {
  const usual = Object.keys(ASYMMETRIC).find((name) => ASYMMETRIC[name] === pair.kind);
  return jwt(claims, { algorithm: algorithm ?? usual, key: pair.privateKey, kid: pair.kid, ...options });
}

/** Claims that are good for an hour, plus these. A claim of `undefined` is left out. */
export const claims = (more = {}) => ({ sub: 'ada', exp: now() + 3600, ...more });

/** A good token of the secret with these claims; see `claims`. */
export const token = (more = {}, options = {}) => jwt(claims(more), options);

/** A file that is gone when the test is. */
export function temporaryFile(t, content, name = 'file') {
  const folder = mkdtempSync(join(tmpdir(), 'idae-socket-identity-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** Answers of a `Backend` that are none: the request stays open, or its connection breaks. */
export const HANG = Symbol('hang');
export const DROP = Symbol('drop');

/**
 * An HTTP server on loopback. It keeps every request, and answers what `answer(request)` returns
 * at that time: `{status, headers, body}` (an object is sent as JSON), HANG, DROP, or a promise
 * of one of these.
 */
export class Backend {
  #server = null;
  #connections = new Set();
  #waiters = new Waiters();
  requests = [];
  port = 0;
  /** How many requests were open at once, at most. */
  concurrent = 0;
  #openNow = 0;

  constructor(answer) {
    this.answer = answer;
  }

  /** Starts one that lives as long as the test, or until `die` where there is no test. */
  static async start(t, answer = () => ({ status: 204 })) {
    const backend = new this(answer);
    await backend.revive();
    t?.after(() => backend.die());
    return backend;
  }

  get url() {
    return `http://127.0.0.1:${this.port}/`;
  }

  /** Listens, on the same port as before if there was one. */
  async revive() {
    this.#server = createServer((request, response) => this.#handle(request, response));
    this.#server.on('connection', (socket) => {
      this.#connections.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => this.#connections.delete(socket));
    });
    await new Promise((listening, failed) => {
      this.#server.once('error', failed);
      this.#server.listen(this.port, '127.0.0.1', 4096, listening);
    });
    this.port = this.#server.address().port;
    // A test that failed half-way ends all the same.
    this.#server.unref();
  }

  /** The port is closed, and so is every connection. */
  async die() {
    const closed = new Promise((done) => this.#server.close(done));
    for (const socket of this.#connections) socket.destroy();
    await closed;
  }

  async #handle(request, response) {
    this.#openNow += 1;
    this.concurrent = Math.max(this.concurrent, this.#openNow);
    response.on('close', () => (this.#openNow -= 1));
    const chunks = [];
    try {
      for await (const chunk of request) chunks.push(chunk);
    } catch {
      return; // The gateway gave up.
    }
    const { method, url: path, headers } = request;
    const body = Buffer.concat(chunks).toString('utf8');
    const kept = { method, path, headers, body, json: () => JSON.parse(body), form: () => new URLSearchParams(body) };
    this.requests.push(kept);
    this.#waiters.wake();
    const reply = await this.answer(kept);
    if (reply === HANG) return;
    if (reply === DROP) {
      response.socket?.destroy();
      return;
    }
    const { status = 200, headers: more = {}, body: content } = reply;
    const isText = typeof content === 'string' || Buffer.isBuffer(content);
    const sent = content === undefined ? '' : isText ? content : JSON.stringify(content);
    const type = isText || content === undefined ? {} : { 'content-type': 'application/json' };
    response.writeHead(status, { ...type, ...more });
    response.end(sent);
  }

  /** Waits until this many requests have come since the start. */
  async asked(count, waitMs = WAIT_MS) {
    const look = () => (this.requests.length < count ? undefined : true);
    await this.#waiters.until(look, () => `${count} requests, ${this.requests.length} came`, waitMs);
  }

  /** From now on answers wait until the function that this returns is called. */
  hold() {
    const { answer } = this;
    let release;
    const released = new Promise((settle) => (release = settle));
    this.answer = async (request) => {
      await released;
      return answer(request);
    };
    return release;
  }
}

/** A server of a key set. `pairs` may be changed at any time. */
export class JwksServer extends Backend {
  pairs = [];

  static async start(t, pairs, entry = (pair) => pair.jwk()) {
    const server = await super.start(t, () => ({ body: { keys: server.pairs.map(entry) } }));
    server.pairs = pairs;
    return server;
  }
}
