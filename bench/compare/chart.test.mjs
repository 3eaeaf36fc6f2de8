import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chart, scaleOf } from './chart.mjs';
import { COLUMNS } from './figures.mjs';
import { markdown, table } from './report.mjs';

const PICTURED = COLUMNS.filter(({ isPictured }) => isPictured).length;

const figures = (value) => Object.fromEntries(COLUMNS.map(({ key }) => [key, value]));

const server = (name, value, more) =>
  ({ name, about: 'a server', version: '1.0', hasSocketIo: true, figures: figures(value), repeats: [], ...more });

const report = (...servers) => ({ load: '10,000 sockets & more', machine: 'A machine', servers, leftOut: [] });

/** Elements with their attributes, opened and closed in order. */
function elements(svg) {
  const [open, found] = [[], []];
  for (const [, end, name, attributes, alone] of svg.matchAll(/<(\/?)([\w]+)([^>]*?)(\/?)>/g)) {
    if (end) assert.equal(open.pop(), name);
    else {
      found.push({ name, ...Object.fromEntries([...attributes.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, key, value]) => [key, value])) });
      if (!alone) open.push(name);
    }
  }
  assert.deepEqual(open, []);
  return found;
}

const bars = (svg) => elements(svg).filter((element) => element.class === 'bar');

test('a panel for each pictured column, a bar for each server, inside the picture', () => {
  const svg = chart(report(server('ours', 8), server('theirs', 16), server('bare', 4, { hasSocketIo: false })));
  const all = elements(svg);
  assert.equal(all.filter((element) => element.class === 'panel').length, PICTURED);
  assert.equal(bars(svg).length, PICTURED * 3);
  const widths = bars(svg).map(({ width }) => Number(width));
  const shares = widths.slice(0, 3).map((width) => Math.round(100 * width / widths[1]));
  assert.deepEqual(shares, [50, 100, 25]);
  const [{ width, height, viewBox }] = all;
  assert.equal(viewBox, `0 0 ${width} ${height}`);
  for (const { y } of all.filter(({ name, y }) => name === 'text' && y)) assert.ok(Number(y) < Number(height), y);
});

test('it can be heard, and read in light and dark', () => {
  const svg = chart(report(server('ours', 8), server('theirs', 16)));
  assert.match(svg, /<svg [^>]*role="img" aria-labelledby="title desc"/);
  assert.match(svg, /<title id="title">.+<\/title>/);
  assert.match(svg, /<desc id="desc">.*Fan-out, µs of CPU per delivery, lower is better: ours 8\.0, theirs 16\./);
  assert.match(svg, /prefers-color-scheme: dark/);
});

test('the gateway stands out wherever it is, and nobody else does', () => {
  assert.match(chart(report(server('theirs', 16), server('idae-socket', 8))), /<g class="ours"><text [^>]*>idae-socket</);
  assert.doesNotMatch(chart(report(server('theirs', 16))), /class="ours"/);
});

test('who knows no Socket.IO is marked, and the mark explained', () => {
  const svg = chart(report(server('ours', 8), server('bare', 16, { hasSocketIo: false })));
  assert.match(svg, />bare \*</);
  assert.match(svg, />\* without Socket\.IO/);
  assert.doesNotMatch(chart(report(server('ours', 8))), /\*/);
});

test('what was not measured has no bar, and neither breaks a scale', () => {
  const svg = chart(report(server('ours', 8), server('broken', null)));
  assert.deepEqual(bars(svg).slice(0, 2).map(({ width }) => Number(width) > 0), [true, false]);
  assert.match(svg, />–</);
  assert.doesNotMatch(chart(report(server('broken', null))), /NaN|Infinity/);
});

test('a scale is logarithmic where values are more than a decade apart, and says so', () => {
  for (const [values, isLog, ticks] of [
    [[8, 16], false, []],
    [[1, 10], false, []],
    [[24, 359], true, [10, 100]],
    [[0.7, 335], true, [0.1, 1, 10, 100]],
    [[1.1, 100], true, [0.1, 1, 10, 100]],
    [[null, 5], false, []],
    [[], false, []],
  ]) {
    const scale = scaleOf(values);
    assert.equal(scale.isLog, isLog, String(values));
    assert.deepEqual(scale.ticks.map((tick) => Number(tick.toPrecision(3))), ticks, String(values));
    const widths = values.filter(Boolean).map(scale.width);
    assert.ok(widths.every((width) => width > 0), String(values));
    assert.deepEqual(widths, widths.toSorted((a, b) => a - b), String(values));
  }
  assert.match(chart(report(server('ours', 1), server('theirs', 100))), /lower is better, log scale/);
});

test('names are text, whatever is in them', () => {
  const svg = chart(report(server('<ours> & "theirs"', 8)));
  assert.doesNotMatch(svg, /<ours>/);
  elements(svg);
});

test('the table and the report have every server, what went wrong, and who is missing', () => {
  const repeats = [{ calm: { warnings: ['paced: lost'] }, failures: ['offered: it did not start'] }];
  const some = { ...report(server('ours', 8), server('bare', null, { hasSocketIo: false, repeats })), leftOut: [{ name: 'nchan', why: 'no nginx' }] };
  const rows = table(some).split('\n');
  assert.equal(rows.length, 4);
  assert.equal(new Set(rows.map((row) => row.length)).size, 1);
  assert.match(rows[3], /^\| bare \(no Socket\.IO\) \|.* – \|$/);
  const text = markdown(some);
  for (const part of ['bare, repeat 1: paced: lost', 'bare, repeat 1: offered: it did not start', '**nchan** was left out: no nginx']) {
    assert.ok(text.includes(part), part);
  }
});
