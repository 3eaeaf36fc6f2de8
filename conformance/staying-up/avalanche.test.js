// Five thousand clients lose their connections at the same moment and all come back at once, as
// after a restart of whatever stood between them and the gateway. Each gets what it missed once.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startGateway } from '../harness/gateway.js';
import { Helper } from '../harness/helpers.js';
import { metricsShow } from '../harness/metrics.js';

const CLIENTS = 5000;
const BACK_MS = 30_000;
const EVENTS = 20;

test('5,000 clients come back at once, twice', { timeout: 180_000 }, async (t) => {
  const gateway = await startGateway({
    config: '[socket]\nconnections_max = 20000\nconnections_per_address_max = 20000\n',
  });
  t.after(() => gateway.end());
  const flock = new Helper(t, new URL('flock.js', import.meta.url));
  assert.equal(await flock.ask({ gather: { port: gateway.port, room: 'flock', clients: CLIENTS } }, 'gathered', 60_000), CLIENTS);

  const numbers = [];
  const publish = async () => {
    for (let i = 0; i < EVENTS; i += 1) {
      numbers.push(numbers.length + 1);
      await gateway.publish('n', { rooms: 'flock', payload: numbers.length });
    }
  };
  const everybodyHeard = async () => {
    const checked = await flock.ask({ check: { numbers, waitMs: 30_000 } }, 'checked', 40_000);
    assert.deepEqual(checked, { right: CLIENTS, wrong: [] });
  };
  const comeBack = async (how) => {
    const { ms, ...outcome } = await flock.ask({ comeBack: { port: gateway.port } }, 'back', BACK_MS);
    assert.deepEqual(outcome, { recovered: CLIENTS, fresh: 0 });
    t.diagnostic(`${how}: all back after ${ms} ms`);
    await metricsShow(
      gateway,
      (now) => now.sockets === CLIENTS && now.connections === CLIENTS && now.recoverable === 0,
      'one session for each client',
      20_000,
    );
  };

  await publish();
  await everybodyHeard();

  // Some events are on their way to connections that are cut.
  const [, cut] = await Promise.all([publish(), flock.ask({ cut: {} }, 'cut', 20_000)]);
  assert.equal(cut, CLIENTS);
  await metricsShow(gateway, (now) => now.sockets === 0 && now.recoverable === CLIENTS, 'all losses to be noticed', 30_000);
  await publish();
  const [, back] = [await comeBack('cut'), await everybodyHeard()];
  assert.equal(back, undefined);

  // The same without a loss that the gateway could notice: every session is taken over alive.
  await flock.ask({ deafen: {} }, 'deafened', 20_000);
  await publish();
  await comeBack('taken over');
  await publish();
  await everybodyHeard();
});
