// The fault run: 500 stock clients behind a proxy that cuts, delays, half-closes and silences their
// connections while numbered events go to rooms and users. In the end everybody has heard every
// event once, in order. The same run without recovery must show losses, or it would prove nothing.
//
//   IDAE_SOCKET_FAULT_MINUTES=30 node --test staying-up/faults.test.js

import assert from 'node:assert/strict';
import { Agent, request as httpRequest } from 'node:http';
import { test } from 'node:test';
import { sleep } from '../harness/events.js';
import { faultProxy } from '../harness/faults.js';
import { startGateway } from '../harness/gateway.js';
import { Helper } from '../harness/helpers.js';
import { metricsShow } from '../harness/metrics.js';
import { drawLots } from '../harness/seed.js';
import { JWT_CONFIG, token } from './returning.js';

const MEMBERS = 500;
const USERS = 100;
const GROUPS = 10;
const FAULTS_PER_S = 50;
const EVENTS_PER_S = 30;
const RUN_MS = process.env.IDAE_SOCKET_FAULT_MINUTES ? 60_000 * Number(process.env.IDAE_SOCKET_FAULT_MINUTES) : 40_000;
const RUN_WITHOUT_MS = 6_000;
const CALM_MS = 60_000;

const CONFIG = `${JWT_CONFIG}
[rooms]
join = ["public:*"]
[socket]
ping_interval_ms = 2000
ping_timeout_ms = 1500
`;

/** Two claims of one pid must not be nearer than 300 ms; the stock client's default is 500 at least. */
const OPTIONS = { reconnectionDelay: 400, reconnectionDelayMax: 600, randomizationFactor: 0.2, timeout: 3000 };
const TRANSPORTS = [['websocket'], ['polling', 'websocket'], ['websocket'], ['polling']];

const members = (recovery) =>
  Array.from({ length: MEMBERS }, (_, i) => ({
    token: token(`u${i % USERS}`),
    rooms: ['public:all', `public:g${i % GROUPS}`],
    transports: TRANSPORTS[Math.floor(i / 7) % TRANSPORTS.length],
    ...(recovery === undefined ? {} : { recovery }),
  }));

/** Publishes numbered events, and knows who is to hear which. */
class Publisher {
  #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  /** What each member is to hear. */
  expected = Array.from({ length: MEMBERS }, () => []);
  count = 0;

  constructor(gateway, lots) {
    Object.assign(this, { gateway, lots });
  }

  async next(kind = this.lots.weighed({ all: 2, group: 3, user: 5, several: 1 })) {
    const n = (this.count += 1);
    const user = this.lots.between(0, USERS - 1);
    const group = this.lots.between(0, GROUPS - 1);
    const targets = {
      all: [{ rooms: 'public:all' }, () => true],
      group: [{ rooms: `public:g${group}` }, (i) => i % GROUPS === group],
      user: [{ users: `u${user}` }, (i) => i % USERS === user],
      // Whoever is reached in two ways hears it once.
      several: [{ rooms: [`public:g${group}`], users: `u${user}` }, (i) => i % GROUPS === group || i % USERS === user],
    };
    const [target, hears] = targets[kind];
    await this.#post({ ...target, payload: { n } });
    for (let i = 0; i < MEMBERS; i += 1) if (hears(i)) this.expected[i].push(n);
    return n;
  }

  #post(body) {
    return new Promise((resolve, reject) => {
      const post = httpRequest(
        {
          agent: this.#agent,
          host: this.gateway.host,
          port: this.gateway.port,
          method: 'POST',
          path: '/numbered',
          headers: { 'content-type': 'application/json' },
        },
        (response) => {
          response.resume();
          response.on('end', () =>
            response.statusCode === 200 ? resolve() : reject(new Error(`publish: ${response.statusCode}`)),
          );
        },
      );
      post.on('error', reject);
      post.end(JSON.stringify(body));
    });
  }

  close() {
    this.#agent.destroy();
  }
}

/** Breaks one connection after the other, at random, and now and then all of them. */
class Chaos {
  counts = {};

  constructor(proxy, lots) {
    Object.assign(this, { proxy, lots });
  }

  #note(kind) {
    this.counts[kind] = (this.counts[kind] ?? 0) + 1;
  }

  one() {
    const { lots } = this;
    const links = [...this.proxy.links];
    if (links.length === 0) return;
    const link = lots.pick(links);
    const kind = lots.weighed({
      reset: 4,
      finish: 3,
      'half closed to the gateway': 2,
      'half closed to the client': 2,
      vanish: 4,
      silent: 1,
      'silent upwards': 1,
      'silent downwards': 1,
      delay: 4,
      'reset after bytes down': 4,
      'reset after bytes up': 2,
    });
    this.#note(kind);
    const faults = {
      reset: () => link.reset(),
      finish: () => link.finish(),
      'half closed to the gateway': () => link.halfClose('gateway'),
      'half closed to the client': () => link.halfClose('client'),
      vanish: () => link.vanish(),
      silent: () => link.blackHole(),
      'silent upwards': () => link.blackHole('up'),
      'silent downwards': () => link.blackHole('down'),
      delay: () => link.delay(lots.between(50, 1200), lots.pick(['both', 'up', 'down'])),
      'reset after bytes down': () => link.resetAfterDown(lots.between(1, 800)),
      'reset after bytes up': () => link.resetAfterUp(lots.between(1, 600)),
    };
    faults[kind]();
  }

  /** Sometimes many at once; whoever comes back meanwhile meets nobody. */
  async storm() {
    const { lots, proxy } = this;
    this.#note('storm');
    proxy.refusing = true;
    const fault = lots.pick(['reset', 'finish', 'vanish']);
    for (const link of [...proxy.links]) if (lots.chance(0.5)) link[fault]();
    await sleep(lots.between(100, 1500));
    proxy.refusing = false;
  }

  /** The newest connection just now: it is cut off while it brings what was missed. */
  newcomer(link) {
    if (!this.lots.chance(0.1)) return;
    this.#note('newcomer cut');
    link.resetAfterDown(this.lots.between(1, 3000));
  }
}

/** Everybody's numbers against what they are to have heard. */
function compare(reported, expected) {
  const sum = { missing: 0, doubled: 0, disordered: 0, strange: 0 };
  const samples = [];
  for (const [i, { numbers }] of reported.entries()) {
    const wanted = new Set(expected[i]);
    const heard = new Set();
    const doubled = numbers.filter((n) => heard.size === heard.add(n).size);
    const faults = {
      missing: expected[i].filter((n) => !heard.has(n)),
      doubled,
      disordered: numbers.filter((n, at) => at > 0 && n < numbers[at - 1]),
      strange: numbers.filter((n) => !wanted.has(n)),
    };
    for (const [kind, list] of Object.entries(faults)) sum[kind] += list.length;
    if (Object.values(faults).some((list) => list.length) && samples.length < 5) {
      samples.push({ member: i, ...Object.fromEntries(Object.entries(faults).map(([kind, list]) => [kind, list.slice(0, 10)])) });
    }
  }
  return { sum, samples };
}

async function faultRun(t, { recovery, runMs }) {
  const lots = drawLots(t, 'the faults');
  const gateway = await startGateway({ config: CONFIG });
  t.after(() => gateway.end());
  const proxy = await faultProxy(t, gateway);
  const crew = new Helper(t, new URL('crew.js', import.meta.url));
  const hired = await crew.ask({ hire: { url: proxy.url, options: OPTIONS, members: members(recovery) } }, 'hired', 60_000);
  assert.equal(hired, MEMBERS);

  const publisher = new Publisher(gateway, lots);
  t.after(() => publisher.close());
  const chaos = new Chaos(proxy, lots);
  proxy.onLink = (link) => chaos.newcomer(link);
  const end = Date.now() + runMs;
  const publishing = (async () => {
    for (let due = Date.now(); due < end; due += 1000 / EVENTS_PER_S) {
      await publisher.next();
      await sleep(Math.max(0, due - Date.now()));
    }
  })();
  const breaking = (async () => {
    let storm = Date.now() + 4000;
    for (let due = Date.now(); due < end; due += 1000 / FAULTS_PER_S) {
      chaos.one();
      if (Date.now() > storm) {
        await chaos.storm();
        storm = Date.now() + lots.between(4000, 9000);
      }
      await sleep(Math.max(0, due - Date.now()));
    }
  })();
  await Promise.all([publishing, breaking]);
  proxy.onLink = () => {};
  proxy.refusing = false;
  proxy.each('delay', 0);

  // Those who were silenced need their heartbeats to find out. Everybody hears the last event.
  const last = await publisher.next('all');
  const deadline = Date.now() + CALM_MS;
  let state;
  do {
    state = await crew.ask({ count: { number: last } }, 'counted', 10_000);
    if (state.connected === MEMBERS && state.heard === MEMBERS) break;
    await sleep(200);
  } while (Date.now() < deadline && recovery !== false);
  const reported = await crew.ask({ report: {} }, 'reported', 20_000);
  const deliveries = reported.reduce((count, { numbers }) => count + numbers.length, 0);
  const losses = reported.reduce((count, { losses: own }) => count + Object.values(own).reduce((a, b) => a + b, 0), 0);
  const cut = reported.reduce((count, { cutReplays }) => count + cutReplays, 0);
  t.diagnostic(
    `${publisher.count} events, ${deliveries} heard, ${losses} losses of connections, ${cut} replays cut in the middle, ${proxy.opened} connections; ${JSON.stringify(chaos.counts)}`,
  );
  return { gateway, reported, state, losses, cut, outcome: compare(reported, publisher.expected) };
}

test('everybody hears every event once and in order', { timeout: RUN_MS + 200_000 }, async (t) => {
  const { gateway, reported, state, losses, cut, outcome } = await faultRun(t, { runMs: RUN_MS });
  const fresh = reported.filter(({ connects, recoveries }) => connects !== recoveries + 1);
  t.diagnostic(`fresh sessions after the first: ${fresh.length} clients`);
  const { sum, samples } = outcome;
  assert.deepEqual(sum, { missing: 0, doubled: 0, disordered: 0, strange: 0 }, JSON.stringify(samples, null, 1));
  assert.deepEqual([state.connected, state.heard], [MEMBERS, MEMBERS]);
  assert.equal(fresh.length, 0, 'everybody was recovered each time');
  // The run must have been one.
  assert.ok(losses > MEMBERS, `only ${losses} connections were lost`);
  assert.ok(cut > 0, 'some were lost between what they missed and CONNECT');
  // And it leaves nothing behind.
  await metricsShow(
    gateway,
    (now) => now.sockets === MEMBERS && now.connections === MEMBERS && now.recoverable === 0,
    'one session for each client and no more',
    20_000,
  );
});

test('without recovery the same run loses events', { timeout: RUN_WITHOUT_MS + 120_000 }, async (t) => {
  const { reported, outcome } = await faultRun(t, { recovery: false, runMs: RUN_WITHOUT_MS });
  assert.ok(reported.every(({ recoveries }) => recoveries === 0));
  assert.ok(outcome.sum.missing > 100, JSON.stringify(outcome.sum));
});
