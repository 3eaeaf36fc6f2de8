// Chance that can be repeated. Every test that draws lots prints its seed; the same seed in
// IDAE_SOCKET_TEST_SEED draws the same lots again.

import { randomInt } from 'node:crypto';

/** Numbers that depend on the seed alone (mulberry32). */
export class Lots {
  #state;

  constructor(seed) {
    this.seed = seed >>> 0;
    this.#state = this.seed;
  }

  /** From 0 up to, and without, 1. */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  }

  /** A whole number from `low` to `high`, both included. */
  between(low, high) {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  chance(probability) {
    return this.next() < probability;
  }

  pick(list) {
    return list[Math.floor(this.next() * list.length)];
  }

  /** One of the keys of `{name: weight}`. */
  weighed(weights) {
    const entries = Object.entries(weights);
    let left = this.next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [name, weight] of entries) {
      left -= weight;
      if (left < 0) return name;
    }
    return entries.at(-1)[0];
  }

  bytes(length) {
    const bytes = Buffer.alloc(length);
    for (let i = 0; i < length; i += 1) bytes[i] = Math.floor(this.next() * 256);
    return bytes;
  }
}

/** The lots of this run; the test's output says with which seed. */
export function drawLots(t, what = 'lots') {
  const given = process.env.IDAE_SOCKET_TEST_SEED;
  const seed = given === undefined ? randomInt(2 ** 32) : Number(given);
  t.diagnostic(`${what}: IDAE_SOCKET_TEST_SEED=${seed}`);
  return new Lots(seed);
}
