// The recipes that need no browser, against the real gateway.

import 'fake-indexeddb/auto';
import { QueryClient, QueryObserver } from '@tanstack/react-query';
import { expect, onTestFinished, test } from 'vitest';
import { mirror } from '../../idae-socket/recipes/indexeddb.js';
import { live } from '../../idae-socket/recipes/svelte-store.js';
import { refetchOnChange } from '../../idae-socket/recipes/tanstack-query.js';
import { eventually, makeClient, startGateway } from '../gateway.js';

/** A connected client in the room `users`, and a way to tell it of a change. */
async function connection() {
  const { gateway, port } = await startGateway({}, { restart: { delayMs: 10 } });
  const client = makeClient({ port });
  const fresh = new Promise<void>((begun) => client.onFreshSession(begun));
  client.connect();
  await client.subscribe('users');
  await fresh;
  const change = (action: string, id?: number, entity = 'users') =>
    gateway.toRoom('users', 'db-change', { entity, action, ...(id && { id }) });
  return { gateway, client, change };
}

test('TanStack Query: lists and the record are fetched again, other records and entities are not', async () => {
  const { gateway, client, change } = await connection();
  const queries = new QueryClient();
  const fetches: string[] = [];
  for (const queryKey of [['users'], ['users', 'list', { page: 2 }], ['users', 1], ['users', 2], ['orders']]) {
    const key = queryKey.join('/');
    const observer = new QueryObserver(queries, { queryKey, queryFn: () => fetches.push(key), retry: false });
    onTestFinished(observer.subscribe(() => {}));
  }
  await eventually(() => fetches.length === 5 && queries.isFetching() === 0, 'the first load');
  const end = refetchOnChange(client, queries, 'users');
  onTestFinished(end);
  onTestFinished(() => queries.clear());

  fetches.length = 0;
  await change('update', 7, 'orders');
  await change('update', 1);
  await eventually(() => fetches.length >= 3 && queries.isFetching() === 0, 'what the change touches');
  expect(fetches.sort()).toEqual(['users', 'users/1', 'users/list/[object Object]']);

  fetches.length = 0;
  process.kill(gateway.pid!, 'SIGKILL');
  await eventually(() => fetches.length >= 4 && queries.isFetching() === 0, 'everything, after a lost connection');
  expect(fetches.sort()).toEqual(['users', 'users/1', 'users/2', 'users/list/[object Object]']);
});

test('Svelte: a store loads again, and only the newest answer counts', async () => {
  const { client, change } = await connection();
  const answers: ((value: string) => void)[] = [];
  const shown: (string | undefined)[] = [];
  const store = live(client, 'users', () => new Promise<string>((answer) => answers.push(answer)));
  const leave = store.subscribe((value) => shown.push(value));
  answers[0]!('first');
  await eventually(() => shown.length === 2, 'the first load');

  await change('update', 1);
  await eventually(() => answers.length === 2, 'the second load');
  await change('update', 1);
  await eventually(() => answers.length === 3, 'the third load');
  answers[2]!('third');
  await eventually(() => shown.length === 3, 'the third answer');
  answers[1]!('second');
  expect(shown).toEqual([undefined, 'first', 'third']);

  leave();
  await change('update', 1);
  await client.subscribe('users');
  expect(answers).toHaveLength(3);
});

test('IndexedDB: the store mirrors the entity', async () => {
  const { gateway, client, change } = await connection();
  const opening = indexedDB.open('test', 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore('users', { keyPath: 'id' });
  const database = await new Promise<IDBDatabase>((opened) => (opening.onsuccess = () => opened(opening.result)));
  onTestFinished(() => database.close());

  const rows = new Map([[1, 'Ada'], [2, 'Bob']]);
  const row = (id: number) => ({ id, name: rows.get(id)! });
  const stored = () =>
    new Promise<unknown[]>((settle) => {
      const reading = database.transaction('users').objectStore('users').getAll();
      reading.onsuccess = () => settle(reading.result);
    });
  let written = 0;
  const source = {
    one: async (id: string | number) => (rows.has(Number(id)) ? row(Number(id)) : undefined),
    all: async () => [...rows.keys()].map(row),
    onWritten: () => (written += 1),
  };
  onTestFinished(mirror(client, database, 'users', source));
  const becomes = async (expected: number) => {
    await eventually(() => written === expected, `write ${expected}`);
    expect(await stored()).toEqual([...rows.keys()].sort().map(row));
  };
  await becomes(1);

  rows.set(3, 'Cyd');
  await change('create', 3);
  await becomes(2);
  rows.set(1, 'Ada L.');
  await change('update', 1);
  await becomes(3);
  rows.delete(2);
  await change('delete', 2);
  await becomes(4);
  rows.clear();
  await change('truncate');
  await becomes(5);
  rows.set(9, 'Zoe');
  process.kill(gateway.pid!, 'SIGKILL');
  await becomes(6);
});
