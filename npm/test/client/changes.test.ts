// onChange: what is heard, and what counts as heard already.

import { expect, test } from 'vitest';
import { onChange, type EventDataClientInstance, type Change, type ChangeOptions } from '@medyll/idae-socket/client';
import { connected, heard, makeClient, startGateway } from '../gateway.js';

/** A client without a gateway: `deliver` calls the listeners. */
function fakeClient() {
  const listeners = new Map<string, Set<(...args: any[]) => void>>();
  const fresh = new Set<() => void>();
  const client = {
    on(event: string, listener: (...args: any[]) => void) {
      listeners.set(event, (listeners.get(event) ?? new Set()).add(listener));
      return () => listeners.get(event)!.delete(listener);
    },
    onFreshSession(listener: () => void) {
      fresh.add(listener);
      return () => fresh.delete(listener);
    },
  };
  return {
    client: client as unknown as EventDataClientInstance,
    deliver: (event: string, ...args: any[]) => listeners.get(event)?.forEach((listener) => listener(...args)),
    begin: () => fresh.forEach((listener) => listener()),
  };
}

/** What the handler gets of these deliveries, each `[event, ...args]`. */
function handled(options: ChangeOptions, deliveries: [string, ...any[]][]): unknown[] {
  const { client, deliver } = fakeClient();
  const changes: unknown[] = [];
  onChange(client, options, (change) => changes.push((change as Change)?.id ?? change));
  for (const [event, ...args] of deliveries) deliver(event, ...args);
  return changes;
}

const users = (id: number, more = {}) => ({ payload: { entity: 'users', action: 'update', id, ...more } });
const event = 'db-change';

test.each<[string, ChangeOptions, [string, ...any[]][], unknown[]]>([
  ['other entities and events are not heard', { event, entity: 'users' }, [
    [event, users(1)],
    [event, { payload: { entity: 'orders', action: 'update', id: 2 } }],
    ['other', users(3)],
  ], [1]],
  ['without an entity all are', { event }, [[event, users(1)], [event, { payload: { entity: 'orders', id: 2 } }]], [1, 2]],
  ['several entities', { event, entity: ['users', 'orders'] }, [
    [event, users(1)],
    [event, { payload: { entity: 'orders', id: 2 } }],
    [event, { payload: { entity: 'prices', id: 3 } }],
  ], [1, 2]],
  ['two updates of a record are two changes', { event }, [[event, users(1)], [event, users(1)]], [1, 1]],
  ['the publisher\'s event id', { event }, [
    [event, users(1, { eventId: 'a' })],
    [event, users(1, { eventId: 'a' })],
    [event, users(1, { eventId: 'b' })],
  ], [1, 1]],
  ['the event id of one change under two names', { event: ['db-change', 'users:update'] }, [
    [event, users(1, { eventId: 7 })],
    ['users:update', users(1, { eventId: 7 })],
  ], [1]],
  ['the gateway\'s id', { event }, [[event, { ...users(1), id: 'x' }], [event, { ...users(2), id: 'x' }]], [1]],
  ['the offset of a recovered event', { event }, [[event, users(1), 'o1'], [event, users(1), 'o1'], [event, users(1), 'o2']], [1, 1]],
  ['a key of one\'s own', { event, key: ({ id, version }) => `${id}.${version}` }, [
    [event, users(1, { version: 1 })],
    [event, users(1, { version: 1 })],
    [event, users(1, { version: 2 })],
  ], [1, 1]],
  ['a key of one\'s own that knows none', { event, key: () => undefined }, [
    [event, users(1, { eventId: 'a' }), 'o'],
    [event, users(1, { eventId: 'a' }), 'o'],
  ], [1, 1]],
  ['a payload without envelope', { event, entity: 'users' }, [[event, users(1).payload], [event, { payload: 5, entity: 'users', id: 2 }]], [1, 2]],
  ['payloads that are no changes', { event }, [[event, { payload: null }], [event, 'text'], [event]], [null, 'text', undefined]],
  ['payloads that are no changes, with an entity', { event, entity: 'users' }, [[event, { payload: null }], [event, 'text'], [event]], []],
])('%s', (_, options, deliveries, expected) => {
  expect(handled(options, deliveries)).toEqual(expected);
});

test('what was heard long ago is forgotten', () => {
  const deliveries = Array.from({ length: 1002 }, (_, index) => [event, users(index, { eventId: index })] as [string, any]);
  expect(handled({ event }, [...deliveries, deliveries[0]!, deliveries[1001]!])).toHaveLength(1003);
});

test('ended, nothing is heard', () => {
  const { client, deliver, begin } = fakeClient();
  let calls = 0;
  const count = () => (calls += 1);
  const end = onChange(client, { event, onMissed: count }, count);
  end();
  deliver(event, users(1));
  begin();
  expect(calls).toBe(0);
});

test('with a real gateway, also what was missed', async () => {
  const { gateway, port } = await startGateway({}, { restart: { delayMs: 10 } });
  const client = makeClient({ port });
  const missed = { times: 0, next: Promise.resolve() };
  const again = () => {
    let call = () => {};
    missed.next = new Promise((settle) => (call = settle));
    return call;
  };
  let tell = again();
  const changes: unknown[] = [];
  onChange(client, { event, entity: 'users', onMissed: () => tell() }, ({ id }) => changes.push(id));
  await connected(client);
  await missed.next;
  const arrived = heard(client, event);
  await gateway.toAll(event, users(1).payload);
  await arrived;
  expect(changes).toEqual([1]);
  tell = again();
  process.kill(gateway.pid!, 'SIGKILL');
  await missed.next;
});
