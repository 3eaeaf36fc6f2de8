#!/usr/bin/env node
// The gateway beside others who do the same job, on this machine: `node bench/compare.mjs`. See bench/README.md.

import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release, type } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { chart } from './compare/chart.mjs';
import { medians } from './compare/figures.mjs';
import { PEERS, gateway } from './compare/peers.mjs';
import { Server, cores, openFilesMax, run } from './compare/programs.mjs';
import { markdown, table } from './compare/report.mjs';

const FOLDER = join(dirname(fileURLToPath(import.meta.url)), 'report');

/** Files that a server and the load generator need beside the sockets. */
const OTHER_FILES = 300;

const HELP = `usage: node bench/compare.mjs [options]

  --sockets N     how many clients (10000)
  --seconds N     how long each scenario takes (5)
  --size BYTES    of a payload (200)
  --repeats N     how often all servers are measured, in turn; medians count (3)
  --only NAMES    of servers, with commas: ${PEERS.map(({ name }) => name).join(', ')}

Writes ${relative(process.cwd(), FOLDER)}/report.{json,md,svg}.`;

const options = readOptions();
const pinned = cores();
const { ready, leftOut } = await prepare();
const repeats = await measureAll();
const report = summarise();
write();

function readOptions() {
  const text = (fallback) => ({ type: 'string', default: fallback });
  const names = { sockets: text('10000'), seconds: text('5'), size: text('200'), repeats: text('3') };
  let values;
  try {
    ({ values } = parseArgs({ options: { ...names, only: text(''), help: { type: 'boolean', short: 'h' } } }));
  } catch (error) {
    fail(`${error.message}\n\n${HELP}`);
  }
  if (values.help) {
    console.log(HELP);
    process.exit();
  }
  const numbers = Object.fromEntries(Object.keys(names).map((name) => [name, Number(values[name])]));
  for (const [name, number] of Object.entries(numbers)) {
    if (!Number.isInteger(number) || number < 1) fail(`--${name}: a whole number above 0, please`);
  }
  const only = values.only.split(',').map((name) => name.trim()).filter(Boolean);
  const unknown = only.find((name) => !PEERS.some((peer) => peer.name === name));
  if (unknown) fail(`--only: there is no ${unknown}; there are ${PEERS.map(({ name }) => name).join(', ')}`);
  const needed = numbers.sockets + OTHER_FILES;
  if (openFilesMax() < needed) fail(`${numbers.sockets} sockets need \`ulimit -n ${needed}\`, and it is ${openFilesMax()}`);
  return { ...numbers, only };
}

/** Builds and installs. Who cannot be had here is left out, with the reason. */
async function prepare() {
  await gateway().catch((error) => fail(`the gateway is the load generator too: ${error.message}`));
  const [ready, leftOut] = [[], []];
  for (const peer of PEERS.filter(({ name }) => options.only.length === 0 || options.only.includes(name))) {
    console.log(`preparing ${peer.name}`);
    try {
      ready.push({ ...peer, ...await peer.prepare(options.sockets) });
    } catch (error) {
      console.log(`  left out: ${error.message}`);
      leftOut.push({ name: peer.name, why: oneLine(error.message) });
    }
  }
  if (ready.length === 0) fail('there is nobody to measure');
  if (!pinned) console.log('no taskset, or one core only: server and load share what there is');
  return { ready, leftOut };
}

/** Repeats are the outer loop: what else the machine does then disturbs all of them alike. */
async function measureAll() {
  const repeats = new Map(ready.map(({ name }) => [name, []]));
  for (let repeat = 1; repeat <= options.repeats; repeat++) {
    for (const peer of ready) {
      console.log(`repeat ${repeat} of ${options.repeats}: ${peer.name}`);
      const failures = [];
      const attempt = (phases) => measure(peer, phases).catch((error) => {
        console.log(`  failed: ${error.message}`);
        failures.push(`${phases}: ${oneLine(error.message)}`);
      });
      const calm = await attempt('paced,targeted,mixed');
      const overload = await attempt('offered');
      repeats.get(peer.name).push({ calm, overload, failures });
    }
  }
  return repeats;
}

/** One server, started for it, and the load generator's report. */
async function measure({ command, measured, wire = [] }, phases) {
  const server = await Server.start(command, { core: pinned?.server, measured });
  try {
    const { sockets, seconds, size } = options;
    const args = ['--url', server.url, '--pid', server.pid, '--sockets', sockets, '--seconds', seconds, '--size', size];
    // What an overload leaves behind may take many times as long as the overload.
    const timeMsMax = 120_000 + seconds * 20_000;
    const all = ['bench', ...args.map(String), '--only', phases, '--json', ...wire];
    return JSON.parse(await run(await gateway(), all, { core: pinned?.load, timeMsMax }));
  } finally {
    await server.stop();
  }
}

function summarise() {
  const { sockets, seconds, size, repeats: count } = options;
  const servers = ready.map(({ name, about, hasSocketIo, version }) => {
    const own = repeats.get(name);
    return { name, about, hasSocketIo, version, figures: medians(own), repeats: own };
  });
  const number = (value) => value.toLocaleString('en-US');
  const place = pinned ? 'one core for the server and one for the load' : 'server and load on the same cores';
  return {
    load: `${number(sockets)} sockets over WebSocket on loopback, payloads of ${number(size)} bytes, ${place}; ` +
      `${seconds} s a scenario, ${count === 1 ? 'one run' : `medians of ${count} runs`}`,
    machine: `${new Date().toISOString().slice(0, 10)}, ${cpus()[0].model}, ${type()} ${/^\d+\.\d+/.exec(release())?.[0] ?? release()}`,
    options,
    servers,
    leftOut,
  };
}

function write() {
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(join(FOLDER, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
  writeFileSync(join(FOLDER, 'report.md'), markdown(report));
  writeFileSync(join(FOLDER, 'report.svg'), chart(report));
  console.log(`\n${table(report)}\n\n${relative(process.cwd(), FOLDER)}/report.md has it all, report.svg is the picture.`);
}

function oneLine(text) {
  return text.trim().replace(/\s+/g, ' ');
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
