import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COLUMNS, median, medians, show } from './figures.mjs';

test('the median is the middle, and nothing where nothing was measured', () => {
  for (const [values, expected] of [
    [[3], 3],
    [[9, 1, 5], 5],
    [[10, 9, 1, 2], 5.5],
    [[undefined, 7, null, Number.NaN], 7],
    [[], null],
    [[undefined], null],
  ]) assert.equal(median(values), expected, String(values));
});

test('figures have the digits that a measurement bears', () => {
  for (const [value, expected] of [
    [0.68, '0.7'],
    [2, '2.0'],
    [9.949, '9.9'],
    [9.96, '10'],
    [403.4, '403'],
    [40033, '40,033'],
    [0, '0.0'],
    [null, '–'],
  ]) assert.equal(show(value), expected);
});

test('every column is found in the reports of the load generator', () => {
  const phase = (name, more) => ({ name, received: 0, received_in_s: 1, p99_us: 0, posts_per_s: 0, cpu_us_per_unit: 0, ...more });
  const repeat = {
    calm: {
      connect: { bytes_per_socket: 2_700, cpu_us_per_socket: 56 },
      phases: [
        phase('paced', { cpu_us_per_unit: 8.8 }),
        phase('targeted', { posts_per_s: 39_752, cpu_us_per_unit: 24 }),
        phase('mixed', { p99_us: 700 }),
      ],
    },
    overload: { connect: {}, phases: [phase('offered', { received: 4_000_000, received_in_s: 5, p99_us: 108_000 })] },
  };
  const figures = medians([repeat]);
  assert.deepEqual(figures, {
    fan_out_us: 8.8,
    overload_k_per_s: 800,
    overload_p99_ms: 108,
    targeted_per_s: 39_752,
    targeted_us: 24,
    mixed_p99_ms: 0.7,
    socket_kb: 2.7,
    join_us: 56,
  });
  assert.equal(Object.keys(figures).length, COLUMNS.length);
});

test('a run that failed, and a system that tells nothing of other processes, leave gaps', () => {
  const silent = { connect: { bytes_per_socket: null, cpu_us_per_socket: null }, phases: [] };
  for (const repeats of [[], [{ failures: ['paced: it did not start'] }], [{ calm: silent, overload: silent }]]) {
    assert.deepEqual(Object.values(medians(repeats)), COLUMNS.map(() => null));
  }
});
