// SocketDriver: what arrives happens locally.

import { EventEmitter } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { SocketDriver, type SocketDriverConfig } from '@medyll/idae-socket';
import { matches } from '../../idae-socket/src/client/pattern.js';
import { IMPATIENT, startGateway, within } from '../gateway.js';

function makeDriver(port: number, config: Partial<SocketDriverConfig> = {}): SocketDriver {
  const driver = new SocketDriver(port, { options: IMPATIENT, ...config });
  onTestFinished(() => driver.close());
  return driver;
}

const next = (driver: SocketDriver, event: string) =>
  within(new Promise<any>((settle) => driver.on(event, settle)), event);

test('connects and passes everything on', async () => {
  const { gateway, port } = await startGateway();
  const driver = makeDriver(port);
  expect(await driver.listen()).toBe(driver);
  const arrived = next(driver, 'db-change');
  await gateway.toAll('db-change', { id: 1 });
  expect(await arrived).toEqual({ payload: { id: 1 } });
});

test('passes on the configured events, to an emitter too, from the rooms it is in', async () => {
  const { gateway, port } = await startGateway();
  const emitter = new EventEmitter();
  const heardOf: string[] = [];
  for (const event of ['db-change', 'data:new', 'other', 'last']) emitter.on(event, () => heardOf.push(event));
  const driver = makeDriver(port, { events: ['db-change', 'data:*', 'last'], rooms: ['admin'], emitter });
  await driver.listen();
  await driver.client.subscribe('admin');
  const last = next(driver, 'last');
  for (const event of ['other', 'db-change', 'data:new', 'last']) await gateway.toRoom('admin', event, 1);
  await last;
  expect(heardOf).toEqual(['db-change', 'data:new', 'last']);
});

test('an event of the name `error` does not end a program', async () => {
  const { gateway, port } = await startGateway();
  const driver = makeDriver(port, { emitter: new EventEmitter() });
  await driver.listen();
  const arrived = next(driver, 'error');
  await gateway.toAll('error', 1);
  await arrived;
});

test('listens again after close(), and hears each event once', async () => {
  const { gateway, port } = await startGateway();
  const driver = makeDriver(port);
  await driver.listen();
  driver.close();
  await driver.listen();
  const ticks: number[] = [];
  const tick = ({ payload }: { payload: number }) => ticks.push(payload);
  driver.on('tick', tick);
  const done = next(driver, 'done');
  await gateway.toAll('tick', 1);
  await gateway.toAll('done', 1);
  await done;
  driver.off('tick', tick);
  expect(ticks).toEqual([1]);
});

test.each([
  ['*', 'a/b:c', true],
  ['entity', 'entity', true],
  ['entity', 'entity2', false],
  ['data:*', 'data:new', true],
  ['data:*', 'date:new', false],
  ['component/:action', 'component/refresh', true],
  ['component/:action', 'component/a/b', false],
  ['a.b', 'axb', false],
])('%s matches %s: %s', (pattern, name, expected) => {
  expect(matches(pattern, name)).toBe(expected);
});
