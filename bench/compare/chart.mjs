// The comparison as a picture: a panel for each column, a bar for each server.

import { COLUMNS, show } from './figures.mjs';

const WIDTH = 860;
const MARGIN = 24;
const PANELS_PER_ROW = 3;
const PANEL_GAP = 30;
const LABEL_WIDTH = 86;
const FIGURE_WIDTH = 46;
const BAR_HEIGHT = 13;
const BAR_PITCH = 21;
/** From the top of a panel to its first bar: three lines of text. */
const PANEL_HEAD = 56;
const PANEL_FOOT = 30;
const HEAD = 76;
const LINE = 16;

const PANEL_WIDTH = (WIDTH - 2 * MARGIN - (PANELS_PER_ROW - 1) * PANEL_GAP) / PANELS_PER_ROW;
const BAR_WIDTH = PANEL_WIDTH - LABEL_WIDTH - FIGURE_WIDTH;

// The picture brings its background along: a page may be dark where the system of its reader is light.
const STYLE = `
    text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
    .paper { fill: #ffffff; stroke: #d1d9e0 }
    .title { font-size: 17px; font-weight: 600 }
    .panel { font-size: 13px; font-weight: 600 }
    .small { font-size: 11px; fill: #59636e }
    .tick { font-size: 9px; fill: #59636e; text-anchor: middle }
    .label, .figure { dominant-baseline: central }
    .figure { font-variant-numeric: tabular-nums; paint-order: stroke; stroke: #ffffff; stroke-width: 3px }
    .ours { font-weight: 600 }
    .bar { fill: #8c959f }
    .plain .bar { fill: #c0c8d0 }
    .ours .bar { fill: #0969da }
    .grid { stroke: #d1d9e0 }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc }
      .paper { fill: #0d1117; stroke: #3d444d }
      .small, .tick { fill: #9198a1 }
      .bar { fill: #7d8590 }
      .figure { stroke: #0d1117 }
      .plain .bar { fill: #4a525c }
      .ours .bar { fill: #4493f8 }
      .grid { stroke: #3d444d }
    }`;

/** The report as SVG. */
export function chart(report) {
  const columns = COLUMNS.filter(({ isPictured }) => isPictured);
  const panelHeight = PANEL_HEAD + report.servers.length * BAR_PITCH + PANEL_FOOT;
  const notes = [
    ...(report.servers.some(({ hasSocketIo }) => !hasSocketIo)
      ? ['* without Socket.IO: no handshake of its own, no acknowledgements, no events that join; rooms are in the address.']
      : []),
    report.machine,
  ];
  const foot = HEAD + Math.ceil(columns.length / PANELS_PER_ROW) * panelHeight;
  const height = foot + notes.length * LINE + MARGIN / 2;
  const panels = columns.map((column, index) => {
    const x = MARGIN + (index % PANELS_PER_ROW) * (PANEL_WIDTH + PANEL_GAP);
    const y = HEAD + Math.floor(index / PANELS_PER_ROW) * panelHeight;
    return `<g transform="translate(${round(x)} ${y})">${panel(column, report.servers)}\n  </g>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-labelledby="title desc">
  <title id="title">${escape(title(report))}</title>
  <desc id="desc">${escape(description(columns, report))}</desc>
  <style>${STYLE}
  </style>
  <rect class="paper" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="8"/>
  <text class="title" x="${MARGIN}" y="34">${escape(title(report))}</text>
  <text class="small" x="${MARGIN}" y="53">${escape(report.load)}</text>
  ${panels.join('\n  ')}
  ${notes.map((note, line) => `<text class="small" x="${MARGIN}" y="${foot + line * LINE + 8}">${escape(note)}</text>`).join('\n  ')}
</svg>
`;
}

function panel({ key, title, unit, better }, servers) {
  const values = servers.map(({ figures }) => figures[key]);
  const scale = scaleOf(values);
  const bottom = PANEL_HEAD + servers.length * BAR_PITCH;
  const grid = scale.ticks.map((tick) => {
    const x = round(LABEL_WIDTH + scale.width(tick));
    return `
    <line class="grid" x1="${x}" x2="${x}" y1="${PANEL_HEAD - 4}" y2="${bottom}"/>
    <text class="tick" x="${x}" y="${bottom + 10}">${tick.toLocaleString('en-US')}</text>`;
  });
  const bars = servers.map((server, index) => {
    const kind = server.name === 'idae-socket' ? 'ours' : server.hasSocketIo ? 'other' : 'plain';
    const [value, y] = [values[index], PANEL_HEAD + index * BAR_PITCH];
    const width = value === null ? 0 : scale.width(value);
    const middle = y + BAR_HEIGHT / 2;
    return `
    <g class="${kind}"><text class="label" x="0" y="${middle}">${escape(label(server))}</text>` +
      `<rect class="bar" x="${LABEL_WIDTH}" y="${y}" width="${round(width)}" height="${BAR_HEIGHT}" rx="2"/>` +
      `<text class="figure" x="${round(LABEL_WIDTH + width + 5)}" y="${middle}">${escape(show(value))}</text></g>`;
  });
  return `
    <text class="panel" x="0" y="12">${escape(title)}</text>
    <text class="small" x="0" y="28">${escape(unit)}</text>
    <text class="small" x="0" y="43">${better} is better${scale.isLog ? ', log scale' : ''}</text>${grid.join('')}${bars.join('')}`;
}

/**
 * How long the bar of a value is. Values that lie more than a decade apart get a logarithmic scale, which begins
 * below the smallest of them, so that it has a bar too.
 */
export function scaleOf(values) {
  const positive = values.filter((value) => value > 0);
  const [least, most] = [Math.min(...positive), Math.max(...positive)];
  if (positive.length === 0) return { isLog: false, ticks: [], width: () => 0 };
  if (most <= 10 * least) return { isLog: false, ticks: [], width: (value) => BAR_WIDTH * value / most };
  const begin = Math.floor(Math.log10(least) - 0.15);
  const decades = Math.log10(most) - begin;
  const width = (value) => value > 0 ? BAR_WIDTH * (Math.log10(value) - begin) / decades : 0;
  const ticks = Array.from({ length: Math.floor(decades) + 1 }, (_, index) => 10 ** (begin + index));
  return { isLog: true, ticks, width };
}

function title({ servers }) {
  return servers.length > 1 ? `The same events through ${servers.length} servers` : `Events through ${servers[0].name}`;
}

/** What the picture shows, for those who hear it. */
function description(columns, { servers, load }) {
  const panels = columns.map(({ key, title, unit, better }) => {
    const figures = servers.map((server) => `${server.name} ${show(server.figures[key])}`);
    return `${title}, ${unit}, ${better} is better: ${figures.join(', ')}.`;
  });
  return [`${load}.`, ...panels].join(' ');
}

function label({ name, hasSocketIo }) {
  return hasSocketIo ? name : `${name} *`;
}

function escape(text) {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

function round(number) {
  return Math.round(number * 10) / 10;
}
