// What is compared: how the figures are got from the load generator's reports, and how they are written.

/**
 * The columns. A repeat has two reports: `calm`, of everything a server can bear, and `overload`, for which it is
 * started anew, because some are busy with it long after it has ended.
 */
export const COLUMNS = [
  {
    key: 'fan_out_us',
    title: 'Fan-out',
    unit: 'µs of CPU per delivery',
    better: 'lower',
    isPictured: true,
    about: 'Five broadcasts a second to all sockets: processor time of the server for each delivery, the kernel’s included.',
    of: ({ calm }) => phase(calm, 'paced')?.cpu_us_per_unit,
  },
  {
    key: 'overload_k_per_s',
    title: 'Overload',
    unit: 'thousand deliveries per second',
    better: 'higher',
    isPictured: true,
    about: 'A hundred broadcasts a second are asked for. Deliveries a second, up to the last that came within 5 s of the last answer.',
    of: ({ overload }) => per(phase(overload, 'offered')?.received, 1e3 * phase(overload, 'offered')?.received_in_s),
  },
  {
    key: 'overload_p99_ms',
    title: 'Overload, p99',
    unit: 'ms',
    better: 'lower',
    about: 'From the POST to the receipt in the same scenario, of those that were received.',
    of: ({ overload }) => per(phase(overload, 'offered')?.p99_us, 1e3),
  },
  {
    key: 'targeted_per_s',
    title: 'One target',
    unit: 'POST per second',
    better: 'higher',
    about: 'Sixteen publishers, each waiting for its answer; every event goes to one socket.',
    of: ({ calm }) => phase(calm, 'targeted')?.posts_per_s,
  },
  {
    key: 'targeted_us',
    title: 'One target',
    unit: 'µs of CPU per POST',
    better: 'lower',
    isPictured: true,
    about: 'Processor time of the server for each of them.',
    of: ({ calm }) => phase(calm, 'targeted')?.cpu_us_per_unit,
  },
  {
    key: 'mixed_p99_ms',
    title: 'One target among broadcasts',
    unit: 'ms until received, p99',
    better: 'lower',
    isPictured: true,
    about: 'Two hundred events a second, each to one socket, while four broadcasts a second go to all.',
    of: ({ calm }) => per(phase(calm, 'mixed')?.p99_us, 1e3),
  },
  {
    key: 'socket_kb',
    title: 'An idle socket',
    unit: 'kB of memory',
    better: 'lower',
    isPictured: true,
    about: 'What the process grew by when they connected, for each; buffers of the kernel are not in it.',
    of: ({ calm }) => per(calm?.connect?.bytes_per_socket, 1e3),
  },
  {
    key: 'join_us',
    title: 'Connect and join',
    unit: 'µs of CPU per socket',
    better: 'lower',
    isPictured: true,
    about: 'Handshake, CONNECT, and an event that joins two rooms, with its answer.',
    of: ({ calm }) => calm?.connect?.cpu_us_per_socket,
  },
];

/** The median of each column over all repeats; null where nothing was measured. */
export function medians(repeats) {
  return Object.fromEntries(COLUMNS.map(({ key, of }) => [key, median(repeats.map(of))]));
}

export function median(values) {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  if (sorted.length === 0) return null;
  const middle = sorted.length / 2;
  return (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2;
}

/** Two digits or more, and no more than the measurement bears. */
export function show(value) {
  if (value === null || value === undefined) return '–';
  const digits = value < 9.95 ? 1 : 0;
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function phase(report, name) {
  return report?.phases.find((phase) => phase.name === name);
}

function per(value, unit) {
  return Number.isFinite(value) ? value / unit : undefined;
}
