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
  const waiters = new Set();
  emitter.on(name, (...args) => {
    seen.push(args);
    for (const wake of waiters) wake();
  });
  return {
    seen,
    /** The first arguments only. */
    get values() {
      return seen.map((args) => args[0]);
    },
    async take(count, waitMs = WAIT_MS) {
      const deadline = Date.now() + waitMs;
      while (seen.length < count) {
        const left = deadline - Date.now();
        if (left <= 0) {
          throw new Error(`waited ${waitMs} ms for ${count} "${name}" events, ${seen.length} came`);
        }
        await new Promise((resolve) => {
          const timer = setTimeout(done, left);
          function done() {
            clearTimeout(timer);
            waiters.delete(done);
            resolve();
          }
          waiters.add(done);
        });
      }
      return seen.slice(0, count);
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
