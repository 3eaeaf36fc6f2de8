// What the publish tests share: clients that write down what they hear, proof that somebody
// heard nothing, and the shape of a problem.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually, within } from '../harness/events.js';
import { Program } from '../harness/gateway.js';
import { client, connectNow, subscribe } from '../harness/sessions.js';

export const conformance = fileURLToPath(new URL('..', import.meta.url));
const binary = resolve(conformance, process.env.IDAE_SOCKET_BIN ?? '../target/conformance/idae-socket');

/** Starts the command and leaves it running until the test ends. */
export function command(t, args, options) {
  const program = new Program(binary, args, options);
  t.after(async () => {
    program.killNow();
    await program.exited;
  });
  return program;
}

const MARKER = 'marker';
let markers = 0;

/** A stock client that keeps everything it hears, as `[event, ...arguments]`. */
export class Listener {
  #kept = [];
  #onMarker = new Map();

  /**
   * Connects and joins `rooms`. Events are asked for without a recovery offset, so that the
   * number of arguments is the number that was emitted.
   */
  static async open(t, gateway, { rooms = [], ...options } = {}) {
    const listener = new Listener();
    listener.gateway = gateway;
    listener.namespace = options.namespace ?? '/';
    listener.socket = client(t, gateway, {
      transports: ['websocket'],
      auth: { recovery: false },
      ...options,
    });
    listener.socket.onAny((event, ...args) => listener.#keep(event, args));
    await connectNow(listener.socket);
    if (rooms.length) await subscribe(listener.socket, rooms);
    return listener;
  }

  get id() {
    return this.socket.id;
  }

  close() {
    this.socket.disconnect();
  }

  #keep(event, args) {
    const marker = event === MARKER ? (args[0]?.payload?.marker ?? args[0]?.marker) : undefined;
    if (marker === undefined) this.#kept.push([event, ...args]);
    else this.#onMarker.get(marker)?.();
  }

  /** Resolves when this marker arrives. */
  marked(marker) {
    return new Promise((resolve) => this.#onMarker.set(marker, resolve));
  }

  /** How many events wait to be taken. */
  get waiting() {
    return this.#kept.length;
  }

  take() {
    return this.#kept.splice(0);
  }
}

/**
 * Everything the listeners heard since the last time, one list for each. Proves absence too: a
 * marker is published to all of them, and what did not come before it will never come.
 */
export async function heard(listeners, { headers = {} } = {}) {
  const marker = (markers += 1);
  const arrivals = listeners.map((listener) => listener.marked(marker));
  const { gateway } = listeners[0];
  for (const namespace of new Set(listeners.map((listener) => listener.namespace))) {
    const reply = await gateway.post(
      `/${MARKER}`,
      { broadcast: true, namespace, payload: { marker } },
      headers,
    );
    assert.equal(reply.status, 200, reply.text);
  }
  await within(Promise.all(arrivals), 'the marker to reach every listener');
  return listeners.map((listener) => listener.take());
}

/** Waits until a listener has heard at least `count` events; for what comes without a marker. */
export function hears(listener, count) {
  return eventually(() => listener.waiting >= count, `${count} events (${listener.waiting} came)`);
}

/** The documented codes, read from the API description. */
export const documentedCodes = (() => {
  const text = readFileSync(new URL('../../api/openapi.yaml', import.meta.url), 'utf8');
  const list = text.match(/\n {4}Code:\n[\s\S]*?\n {6}enum:\n((?: {8}- [a-z0-9_]+\n)+)/);
  assert.ok(list, 'api/openapi.yaml has no list of codes');
  return new Set(list[1].match(/[a-z0-9_]+/g));
})();

const PROBLEM_KEYS = new Set(['type', 'title', 'status', 'detail', 'code', 'errors']);

/** Insists on the shape of a problem object, in an answer of its own or in a batch. */
export function assertProblem(problem, { status, code, pointer, detail }) {
  const text = JSON.stringify(problem);
  assert.ok(problem && typeof problem === 'object' && !Array.isArray(problem), `no problem: ${text}`);
  for (const key of Object.keys(problem)) assert.ok(PROBLEM_KEYS.has(key), `"${key}" in ${text}`);
  for (const key of ['type', 'title', 'detail', 'code']) {
    assert.equal(typeof problem[key], 'string', `${key} of ${text}`);
    assert.notEqual(problem[key], '', `${key} of ${text}`);
  }
  assert.deepEqual([problem.status, problem.code], [status, code], text);
  assert.ok(documentedCodes.has(problem.code), `the code ${problem.code} is not documented`);
  if ('errors' in problem) {
    assert.ok(Array.isArray(problem.errors) && problem.errors.length > 0, text);
    for (const error of problem.errors) {
      assert.deepEqual(Object.keys(error).sort(), ['detail', 'pointer'], text);
      assert.match(error.pointer, /^(\/.*)?$/, text);
      assert.equal(typeof error.detail, 'string', text);
    }
  }
  if (pointer !== undefined) {
    const pointers = (problem.errors ?? []).map((error) => error.pointer);
    assert.ok(pointers.includes(pointer), `expected the pointer ${pointer} in ${text}`);
  }
  if (detail) {
    const words = [problem.detail, ...(problem.errors ?? []).map((error) => error.detail)].join('\n');
    assert.match(words, detail);
  }
}

/** Insists that a response is this problem, headers included. */
export function assertRefused(response, expected) {
  assert.equal(response.status, expected.status, `${response.status} ${response.text}`);
  assert.match(response.headers['content-type'] ?? '', /^application\/problem\+json\b/);
  assertProblem(response.json(), expected);
  for (const [name, pattern] of Object.entries(expected.headers ?? {})) {
    assert.match(response.headers[name] ?? '', pattern, `header ${name}`);
  }
}

/** Insists on 200 with a receipt, and returns the receipt. */
export function assertPublished(response, sockets) {
  assert.equal(response.status, 200, `${response.status} ${response.text}`);
  assert.match(response.headers['content-type'] ?? '', /^application\/json\b/);
  const receipt = response.json();
  assertReceipt(receipt, sockets);
  return receipt;
}

/** Insists on the shape of a receipt; `sockets` may be left open. */
export function assertReceipt(receipt, sockets) {
  assert.deepEqual(Object.keys(receipt).sort(), ['id', 'sockets', 'status']);
  assert.equal(receipt.status, 'ok');
  assert.equal(typeof receipt.id, 'string');
  assert.notEqual(receipt.id, '');
  assert.ok(Number.isInteger(receipt.sockets), `sockets is ${receipt.sockets}`);
  if (sockets !== undefined) assert.equal(receipt.sockets, sockets, 'sockets');
}
