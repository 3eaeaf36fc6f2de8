// Everything at once for a while: clients that stay, come, go, are cut and come back, rooms that are
// entered and left, events to all of them, refusals, a client that does not read. Memory stays flat.
//
//   IDAE_SOCKET_SOAK_MINUTES=240 node --test staying-up/soak.test.js

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { sleep } from '../harness/events.js';
import { faultProxy } from '../harness/faults.js';
import { startGateway } from '../harness/gateway.js';
import { Helper } from '../harness/helpers.js';
import { metrics, metricsShow } from '../harness/metrics.js';
import { drawLots } from '../harness/seed.js';
import { Polling, bystander } from '../harness/sessions.js';
import { openKnowing } from './returning.js';

const RUN_MS = process.env.IDAE_SOCKET_SOAK_MINUTES ? 60_000 * Number(process.env.IDAE_SOCKET_SOAK_MINUTES) : 36_000;
/** History, pools and tables have their size after this part of the run. */
const SETTLED = 0.4;
const WINDOW_S = 5;
const STAYING = 100;
const SAMPLE_MS = 500;

const rssBytes = ({ pid }) => 1024 * Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+) kB/m)[1]);
const openFiles = ({ pid }) => readdirSync(`/proc/${pid}/fd`).length;
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

test('memory stays flat', { timeout: RUN_MS + 120_000 }, async (t) => {
  const lots = drawLots(t, 'the soak');
  const gateway = await startGateway({
    config:
      '[socket]\nping_interval_ms = 1000\nping_timeout_ms = 1500\nconnect_timeout_ms = 2000\n' +
      `[publish]\nidempotency_window_s = ${WINDOW_S}\n[recovery]\nwindow_s = ${WINDOW_S}\nbytes_max = 4194304\n[log]\nlevel = "warn"\n`,
  });
  t.after(() => gateway.end());
  const watcher = await bystander(t, gateway);
  const proxy = await faultProxy(t, gateway);
  const crew = new Helper(t, new URL('crew.js', import.meta.url));
  const flock = new Helper(t, new URL('flock.js', import.meta.url));
  const members = Array.from({ length: STAYING }, (_, i) => ({
    rooms: ['all', `g${i % 10}`],
    transports: [['websocket'], ['polling'], ['polling', 'websocket']][i % 3],
  }));
  const options = { reconnectionDelay: 400, reconnectionDelayMax: 600, randomizationFactor: 0.2, timeout: 3000 };
  await crew.ask({ hire: { url: proxy.url, options, members } }, 'hired', 30_000);

  const end = Date.now() + RUN_MS;
  const counts = { published: 0, refused: 0, visitors: 0, faults: 0, sleepers: 0 };
  const paced = async (everyMs, act) => {
    for (let due = Date.now(); due < end; due += everyMs) {
      await act();
      await sleep(Math.max(1, due + everyMs - Date.now()));
    }
  };
  const publishing = paced(12, async () => {
    counts.published += 1;
    const n = counts.published;
    const target = lots.pick([{ rooms: 'all' }, { rooms: `g${lots.between(0, 9)}` }, { broadcast: true }, { rooms: `gone-${n}` }, { users: 'x' }]);
    const text = 'x'.repeat(lots.pick([10, 200, 2000, 20_000]));
    await gateway.publish('numbered', { ...target, payload: { n, text }, id: `soak-${n}`, volatile: lots.chance(0.2) });
  });
  const refusing = paced(40, async () => {
    counts.refused += 1;
    const reply = await gateway.post(lots.pick(['/e', '/connect', '/v1/events']), lots.pick(['{', '[]x', '{"payload":1}', '{"a":1}']));
    assert.ok(reply.status >= 400 && reply.status < 500);
  });
  const visiting = paced(100, async () => {
    const count = 40;
    counts.visitors += await flock.ask({ churn: { port: gateway.port, count, atOnce: 20 } }, 'churned', 20_000);
  });
  const breaking = paced(50, async () => {
    counts.faults += 1;
    const links = [...proxy.links];
    if (links.length) lots.pick(links)[lots.pick(['reset', 'finish', 'vanish', 'blackHole'])]();
  });
  // Some never read what they are sent, some open a session and say nothing more.
  const sleeping = paced(400, async () => {
    counts.sleepers += 1;
    if (lots.chance(0.5)) {
      const session = await Polling.open(gateway);
      await session.send('40');
      return;
    }
    const websocket = await openKnowing(gateway);
    websocket.sendText('40');
    websocket.sendText('420["subscribe","all"]');
    websocket.connection.socket.pause();
    setTimeout(() => websocket.reset(), 3000).unref();
  });
  const samples = [];
  const started = Date.now();
  const sampling = paced(SAMPLE_MS, async () => {
    samples.push({ at: Date.now() - started, rss: rssBytes(gateway), files: openFiles(gateway) });
    await watcher.unharmed();
  });
  await Promise.all([publishing, refusing, visiting, breaking, sleeping, sampling]);

  const settled = samples.filter(({ at }) => at > SETTLED * RUN_MS).map(({ rss }) => rss);
  const [first, last] = [settled.slice(0, settled.length / 3), settled.slice((settled.length * 2) / 3)].map(median);
  const grown = last / first - 1;
  t.diagnostic(
    `${JSON.stringify(counts)}; RSS ${Math.round(first / 1e5) / 10} MB, then ${Math.round(last / 1e5) / 10} MB (${(100 * grown).toFixed(1)} %), at most ${Math.round(Math.max(...settled) / 1e5) / 10} MB`,
  );
  assert.ok(grown < 0.1, `memory grew by ${(100 * grown).toFixed(1)} %: ${samples.map(({ rss }) => Math.round(rss / 1e6))} MB`);

  // And it all goes away again.
  crew.kill();
  flock.kill();
  proxy.close();
  const now = await metricsShow(
    gateway,
    (state) => state.connections === 1 && state.sockets === 1 && state.rooms === 1 && state.recoverable === 0,
    'the bystander alone to be left',
    WINDOW_S * 1000 + 20_000,
  );
  assert.ok(now.of('idae_socket_recoveries_total', { outcome: 'recovered' }) > 0);
  assert.ok((await metrics(gateway)).of('idae_socket_history_bytes') <= 4_194_304);
  await watcher.unharmed();
});
