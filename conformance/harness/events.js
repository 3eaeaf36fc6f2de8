// Waiting for things to happen. Every wait here has a limit and fails with a sentence
// that says what did not come, so that a hanging gateway reads as a failed test.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

export { sleep };

/** How long a test waits for something that should come at once. */
export const WAIT_MS = 5000;

/** The promise's value, or an error naming `what` after `waitMs`. */
export function within(promise, what, waitMs = WAIT_MS) {
  let timer;
  const limit = new Promise((_, reject) => {
    const error = new Error(`waited ${waitMs} ms for ${what}`);
    timer = setTimeout(() => reject(error), waitMs);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

/** Those who wait for something that is announced, though not what it is: `wake` makes them look again. */
export class Waiters {
  #waiters = new Set();

  wake() {
    for (const wake of this.#waiters) wake();
  }

  /** Looks now, and again after each `wake`, until `look` returns something. `late` makes the error's text. */
  async until(look, late, waitMs = WAIT_MS) {
    const deadline = Date.now() + waitMs;
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`waited ${waitMs} ms for ${late()}`);
      await new Promise((resolve) => {
        const done = () => {
          clearTimeout(timer);
          this.#waiters.delete(done);
          resolve();
        };
        const timer = setTimeout(done, left);
        this.#waiters.add(done);
      });
    }
  }
}

/** The arguments of the next `name` event of an emitter. */
export function next(emitter, name, waitMs = WAIT_MS) {
  let listener;
  const arrived = new Promise((resolve) => {
    listener = (...args) => resolve(args);
    emitter.once(name, listener);
  });
  return within(arrived, `the event "${name}"`, waitMs).finally(() => emitter.off(name, listener));
}

/** The first argument of the next `name` event. */
export async function nextValue(emitter, name, waitMs = WAIT_MS) {
  return (await next(emitter, name, waitMs))[0];
}

/**
 * Keeps every `name` event from now on, so that nothing is lost between two waits.
 * `take(n)` waits until n have arrived in all and returns those n.
 */
export function collect(emitter, name) {
  const seen = [];
  const waiters = new Waiters();
  emitter.on(name, (...args) => {
    seen.push(args);
    waiters.wake();
  });
  return {
    seen,
    /** The first arguments only. */
    get values() {
      return seen.map((args) => args[0]);
    },
    async take(count, waitMs = WAIT_MS) {
      const all = () => (seen.length < count ? undefined : seen.slice(0, count));
      return waiters.until(all, () => `${count} "${name}" events, ${seen.length} came`, waitMs);
    },
  };
}

/** Repeats `check` until it returns something true; for states that nothing announces. */
export async function eventually(check, what, waitMs = WAIT_MS) {
  const deadline = Date.now() + waitMs;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`waited ${waitMs} ms for ${what}`);
    await sleep(10);
  }
}

/** Fails if the promise settles before `ms` have passed. For tests about time only. */
export async function staysOpen(promise, what, ms) {
  const early = await Promise.race([
    promise.then(
      (value) => ({ value }),
      (error) => ({ error }),
    ),
    sleep(ms).then(() => null),
  ]);
  assert.equal(early, null, `${what} ended within ${ms} ms: ${JSON.stringify(early)}`);
}
