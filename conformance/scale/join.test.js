// Ten thousand clients join one room, each with an acknowledgement, and each of them hears each
// event exactly once.

import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { within } from '../harness/events.js';
import { startGateway } from '../harness/gateway.js';

const CLIENTS = 10_000;
const JOIN_MS = 60_000;
const DELIVER_MS = 20_000;

/** The crowd's process, with its messages as promises. */
class Crowd {
  #waiting = [];
  #arrived = [];

  constructor() {
    this.child = fork(fileURLToPath(new URL('crowd.js', import.meta.url)));
    this.child.on('message', (message) => {
      const waiter = this.#waiting.shift();
      if (waiter) waiter(message);
      else this.#arrived.push(message);
    });
    this.child.on('exit', () => this.#waiting.forEach((waiter) => waiter({ failed: 'the crowd ended' })));
  }

  send(message) {
    this.child.send(message);
  }

  /** The next message, which must have this key. */
  async next(key, waitMs) {
    const message = await within(
      this.#arrived.length
        ? Promise.resolve(this.#arrived.shift())
        : new Promise((resolve) => this.#waiting.push(resolve)),
      `"${key}" from the crowd`,
      waitMs,
    );
    assert.ok(key in message, `the crowd says ${JSON.stringify(message)}`);
    return message[key];
  }
}

test('10,000 clients join with an ack and hear each event once', { timeout: 150_000 }, async (t) => {
  const gateway = await startGateway({
    config: '[socket]\nconnections_max = 20000\nconnections_per_address_max = 20000\n',
  });
  t.after(() => gateway.end());
  const crowd = new Crowd();
  t.after(() => crowd.child.kill('SIGKILL'));

  const started = performance.now();
  crowd.send({ join: { port: gateway.port, room: 'crowd', clients: CLIENTS } });
  assert.equal(await crowd.next('joined', JOIN_MS), CLIENTS);
  const joined = performance.now();

  // Both events go to the room and to everybody: a client that matches twice hears it once.
  const targets = { rooms: ['crowd'], broadcast: true };
  for (const round of [1, 2, 3]) {
    const frame = (event) => `42["${event}",{"payload":{"round":${round}},"rooms":["crowd"]}]`;
    crowd.send({ count: { event: frame('crowd'), marker: frame('crowd-end') } });
    await crowd.next('ready', DELIVER_MS);
    const body = { payload: { round }, ...(round === 1 ? { rooms: ['crowd'] } : targets) };
    assert.equal((await gateway.publish('crowd', body)).sockets, CLIENTS);
    assert.equal((await gateway.publish('crowd-end', body)).sockets, CLIENTS);
    assert.deepEqual(await crowd.next('counted', DELIVER_MS), { 1: CLIENTS });
  }
  const done = performance.now();
  t.diagnostic(
    `joined in ${Math.round(joined - started)} ms, six events each in ${Math.round(done - joined)} ms`,
  );
});
