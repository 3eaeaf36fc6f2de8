// Reads /metrics as strictly as the OpenMetrics text format 1.0 is written down: a scraper may
// refuse all of it for one bad line. And waits for what the gauges say.

import assert from 'node:assert/strict';
import { eventually } from './events.js';
import { request } from './raw.js';

const CONTENT_TYPE = /^application\/openmetrics-text; ?version=1\.0\.0; ?charset=utf-8$/;
const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (\\S+)(?: (\\S+))?$`);
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/y;
const NUMBER = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i;
/** What may follow the family's name in a sample, by type. */
const SUFFIXES = {
  gauge: [''],
  counter: ['_total', '_created'],
  histogram: ['_bucket', '_count', '_sum', '_created'],
  summary: ['', '_count', '_sum', '_created'],
  info: ['_info'],
  stateset: [''],
  unknown: [''],
};

/** What the gateway's /metrics says now. */
export async function metrics(gateway) {
  const reply = await request(gateway, { path: '/metrics' });
  assert.equal(reply.status, 200, reply.text);
  assert.match(reply.headers['content-type'] ?? '', CONTENT_TYPE);
  return parseMetrics(reply.text);
}

/** Waits until the metrics satisfy `check`, and returns them. */
export async function metricsShow(gateway, check, what, waitMs) {
  let last;
  try {
    return await eventually(async () => {
      last = await metrics(gateway);
      return check(last) && last;
    }, what, waitMs);
  } catch (error) {
    throw new Error(`${error.message}\n${last?.text}`, { cause: error });
  }
}

class Metrics {
  /** `{name, type, help, unit, samples: [{name, labels, value}]}` by name. */
  families = new Map();

  constructor(text) {
    this.text = text;
  }

  #samples(name, labels) {
    const wanted = Object.entries(labels);
    return [...this.families.values()]
      .flatMap(({ samples }) => samples)
      .filter((sample) => sample.name === name && wanted.every(([key, value]) => sample.labels[key] === value));
  }

  /** The sum of all samples of this name with these labels; 0 if there are none. */
  of(name, labels = {}) {
    return this.#samples(name, labels).reduce((sum, { value }) => sum + value, 0);
  }

  has(name, labels = {}) {
    return this.#samples(name, labels).length > 0;
  }

  get connections() {
    return this.of('idae_socket_connections');
  }

  get sockets() {
    return this.of('idae_socket_sockets');
  }

  get rooms() {
    return this.of('idae_socket_rooms');
  }

  get recoverable() {
    return this.of('idae_socket_recoverable');
  }

  limit(limit) {
    return this.of('idae_socket_limits_reached_total', { limit });
  }

  refusals(code) {
    return this.of('idae_socket_refusals_total', { code });
  }

  recoveries(outcome) {
    return this.of('idae_socket_recoveries_total', { outcome });
  }

  closed(reason) {
    return this.of('idae_socket_closed_total', { reason });
  }
}

export function parseMetrics(text) {
  const result = new Metrics(text);
  const { families } = result;
  assert.ok(text.endsWith('# EOF\n') || text.endsWith('# EOF'), `it must end with "# EOF":\n${text.slice(-200)}`);
  const lines = text.replace(/\n$/, '').split('\n');
  assert.equal(lines.pop(), '# EOF');
  let family = null;
  const series = new Set();

  for (const line of lines) {
    const bad = (why) => assert.fail(`${why}: ${JSON.stringify(line)}`);
    if (line.startsWith('#')) {
      const [, word, name, rest] = line.match(/^# (TYPE|HELP|UNIT) (\S+) (.*)$/) ?? bad('no metadata line');
      if (!new RegExp(`^${NAME}$`).test(name)) bad('a bad name');
      if (family?.name !== name) {
        if (families.has(name)) bad('a family in two pieces');
        family = { name, samples: [] };
        families.set(name, family);
      }
      const key = word.toLowerCase();
      if (key in family) bad(`${word} twice`);
      if (family.samples.length) bad('metadata behind a sample');
      if (word === 'TYPE' && !(rest in SUFFIXES)) bad('an unknown type');
      if (word === 'TYPE' && rest === 'counter' && name.endsWith('_total')) bad('the family of a counter ends without _total');
      if (word === 'UNIT' && !name.endsWith(`_${rest}`)) bad('a family with a unit ends with it');
      if (word === 'HELP' && /\\(?![\\n"])/.test(rest)) bad('a bad escape');
      family[key] = rest;
      continue;
    }

    const [, name, labelText, valueText, timestamp] = line.match(SAMPLE) ?? bad('no sample');
    if (!family?.type) bad('a sample without TYPE before it');
    if (!name.startsWith(family.name) || !SUFFIXES[family.type].includes(name.slice(family.name.length))) {
      bad(`no sample of the ${family.type} ${family.name}`);
    }
    if (timestamp !== undefined && !NUMBER.test(timestamp)) bad('a bad timestamp');
    const labels = labelsOf(labelText ?? '', bad);
    const value = numberOf(valueText, bad);
    const id = `${name} ${JSON.stringify(Object.entries(labels).sort())}`;
    if (series.has(id)) bad('the same series twice');
    series.add(id);
    if (['counter', 'histogram'].includes(family.type) && !(value >= 0)) bad('neither zero nor more');
    family.samples.push({ name, labels, value });
  }

  for (const { type, name, samples } of families.values()) {
    assert.ok(type, `${name} has no TYPE`);
    if (type === 'histogram') checkHistogram(name, samples);
  }
  return result;
}

function labelsOf(text, bad) {
  const labels = {};
  LABEL.lastIndex = 0;
  for (let at = 0; at < text.length; at = LABEL.lastIndex) {
    const [, name, value, end] = LABEL.exec(text) ?? bad('bad labels');
    if (Object.hasOwn(labels, name)) bad(`the label ${name} twice`);
    if (name.startsWith('__')) bad('a reserved label');
    labels[name] = value.replace(/\\(.)/g, (_, sign) => (sign === 'n' ? '\n' : sign));
    if (end === ',' && LABEL.lastIndex === text.length) bad('a comma behind the last label');
  }
  return labels;
}

function numberOf(text, bad) {
  if (text === '+Inf') return Infinity;
  if (text === '-Inf') return -Infinity;
  if (text === 'NaN') return NaN;
  if (!NUMBER.test(text)) bad('a bad number');
  return Number(text);
}

/** Buckets that only grow, a last one for everything, and a count that is its number. */
function checkHistogram(name, samples) {
  const groups = new Map();
  for (const { name: sample, labels, value } of samples) {
    const { le, ...rest } = labels;
    const id = JSON.stringify(Object.entries(rest).sort());
    if (!groups.has(id)) groups.set(id, { buckets: [] });
    const group = groups.get(id);
    if (sample === `${name}_bucket`) {
      assert.ok(le !== undefined, `a bucket of ${name} without le`);
      group.buckets.push([numberOf(le, () => assert.fail(`le="${le}" in ${name}`)), value]);
    } else {
      assert.equal(le, undefined, `${sample} with le`);
      group[sample.slice(name.length + 1)] = value;
    }
  }
  for (const { buckets, count, sum } of groups.values()) {
    assert.ok(buckets.length > 1, `${name} has buckets`);
    for (let i = 1; i < buckets.length; i += 1) {
      assert.ok(buckets[i][0] > buckets[i - 1][0], `the bounds of ${name} grow`);
      assert.ok(buckets[i][1] >= buckets[i - 1][1], `the buckets of ${name} are cumulative`);
    }
    assert.equal(buckets.at(-1)[0], Infinity, `${name} has a last bucket +Inf`);
    assert.equal(buckets.at(-1)[1], count, `the count of ${name}`);
    assert.ok(Number.isFinite(sum), `the sum of ${name}`);
  }
}
