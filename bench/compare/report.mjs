// The comparison in words: a table and what has to be known to read it.

import { COLUMNS, show } from './figures.mjs';

/** One row for each server. Padded, so that it can be read as it is. */
export function table({ servers }) {
  const head = ['', ...COLUMNS.map(({ title, unit }) => `${title}: ${unit}`)];
  const rows = servers.map(({ name, hasSocketIo, figures }) => [
    hasSocketIo ? name : `${name} (no Socket.IO)`,
    ...COLUMNS.map(({ key }) => show(figures[key])),
  ]);
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column].length), 3));
  const line = (row) => `| ${row.map((cell, column) => column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])).join(' | ')} |`;
  const rule = `|${widths.map((width, column) => column === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`).join('|')}|`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}

/** The whole report as Markdown. */
export function markdown(report) {
  const { servers, leftOut, load, machine } = report;
  const columns = COLUMNS.map(({ title, unit, about }) => `* **${title}, ${unit}**: ${about}`);
  const versions = servers.map(({ name, about, version }) => `* **${name}**: ${about} (${version})`);
  const missing = leftOut.map(({ name, why }) => `* **${name}** was left out: ${why}`);
  return `# Comparison

${load}. ${machine}.

![Bars for each server: the table below as a picture](report.svg)

${table(report)}

## Columns

${columns.join('\n')}

## Servers

${[...versions, ...missing].join('\n')}
${notes(servers)}`;
}

/** What happened in single runs: losses, failures, and a generator that was too busy. */
function notes(servers) {
  const notes = servers.flatMap(({ name, repeats }) => repeats.flatMap(({ calm, overload, failures }, index) => {
    const warnings = [...(calm?.warnings ?? []), ...(overload?.warnings ?? []).map((warning) => `overload: ${warning}`)];
    return [...warnings, ...failures].map((note) => `* ${name}, repeat ${index + 1}: ${note}`);
  }));
  return notes.length > 0 ? `\n## Notes\n\n${notes.join('\n')}\n` : '';
}
