// Programs of the tests that run beside them, and speak to them over Node's channel: each message
// is an object with one key, the word that is answered.

import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { within } from './events.js';

export class Helper {
  #waiting = [];
  #arrived = [];
  #ended = null;

  /** Starts the module at this URL; it is killed when the test ends. */
  constructor(t, url, { env = {} } = {}) {
    this.child = fork(url, { env: { ...process.env, ...env }, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.child.on('message', (message) => this.#take(message));
    this.exited = new Promise((settle) => {
      this.child.on('exit', (code, signal) => {
        this.#ended = { failed: `the helper ended (${code ?? signal})` };
        for (const waiter of this.#waiting.splice(0)) waiter(this.#ended);
        settle();
      });
    });
    t?.after(async () => {
      this.kill();
      await this.exited;
    });
  }

  #take(message) {
    const waiter = this.#waiting.shift();
    if (waiter) waiter(message);
    else this.#arrived.push(message);
  }

  get pid() {
    return this.child.pid;
  }

  send(message) {
    this.child.send(message);
  }

  /** A signal, such as SIGSTOP. */
  signal(name) {
    this.child.kill(name);
  }

  kill() {
    this.child.kill('SIGKILL');
  }

  /** The next message, which must have this key. */
  async next(key, waitMs) {
    const coming =
      this.#arrived.length > 0
        ? Promise.resolve(this.#arrived.shift())
        : this.#ended
          ? Promise.resolve(this.#ended)
          : new Promise((resolve) => this.#waiting.push(resolve));
    const message = await within(coming, `"${key}" from the helper`, waitMs);
    assert.ok(key in message, `the helper says ${JSON.stringify(message).slice(0, 1000)}`);
    return message[key];
  }

  /** Sends and waits for the answer. */
  async ask(message, key, waitMs) {
    this.send(message);
    return this.next(key, waitMs);
  }
}
