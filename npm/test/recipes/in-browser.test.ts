// The recipes that live in a browser, in a real one: React with SWR, and IndexedDB.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { openPage, shows } from '../browser/chromium.js';
import { eventually, startGateway } from '../gateway.js';

/** A backend with users, which counts what it is asked for. */
function backend(users: Record<string, string>) {
  const asked: string[] = [];
  const serve = (request: IncomingMessage, response: ServerResponse) => {
    asked.push(request.url!);
    const [, , , id] = request.url!.split('/');
    response.setHeader('content-type', 'application/json');
    const rows = Object.entries(users).map(([id, name]) => ({ id: Number(id), name }));
    response.end(JSON.stringify(id ? (rows.find((row) => row.id === Number(id)) ?? null) : rows));
  };
  return { asked, serve };
}

const CLIENT = `import { EventDataClientInstance } from '@medyll/idae-socket';
const client = new EventDataClientInstance();
client.connect();
client.subscribe('users');`;

test('SWR: what is mounted shows the change', async () => {
  const { gateway, port } = await startGateway();
  const users: Record<string, string> = { 1: 'Ada', 2: 'Bob' };
  const { asked, serve } = backend(users);
  const opened = await openPage(
    `import { createRoot } from 'react-dom/client';
import useSWR, { mutate } from 'swr';
import { revalidateOnChange } from './node_modules/@medyll/idae-socket/recipes/swr.ts';
${CLIENT}
revalidateOnChange(client, mutate, 'users');
client.onFreshSession(() => document.body.append('Ready.'));
const load = (url) => fetch(url).then((answer) => answer.json());
const useFresh = (url) => useSWR(url, load, { dedupingInterval: 0, revalidateOnFocus: false }).data;
function Users() {
  const all = useFresh('/api/users') ?? [];
  const [one, two] = [useFresh('/api/users/1'), useFresh('/api/users/2')];
  return <p>List: {all.map(({ name }) => name).join(', ')}. One: {one?.name}. Two: {two?.name}.</p>;
}
createRoot(document.body.appendChild(document.createElement('div'))).render(<Users />);`,
    { gatewayPort: port, serve },
  );
  await shows(opened, 'List: Ada, Bob. One: Ada. Two: Bob.');
  await shows(opened, 'Ready.');
  // The session's own first load has to be over before what a change causes is counted.
  await eventually(() => ['/api/users', '/api/users/1', '/api/users/2'].every((url) => asked.filter((a) => a === url).length >= 2), 'the loads');
  asked.length = 0;
  users[1] = 'Ada L.';
  await gateway.toRoom('users', 'db-change', { entity: 'users', action: 'update', id: 1 });
  await shows(opened, 'List: Ada L., Bob. One: Ada L.. Two: Bob.');
  expect(asked.sort()).toEqual(['/api/users', '/api/users/1']);
});

test('IndexedDB: the store mirrors the entity', async () => {
  const { gateway, port } = await startGateway();
  const users: Record<string, string> = { 1: 'Ada', 2: 'Bob' };
  const { serve } = backend(users);
  const opened = await openPage(
    `import { mirror } from './node_modules/@medyll/idae-socket/recipes/indexeddb.ts';
${CLIENT}
const load = (url) => fetch(url).then((answer) => answer.json());
const opening = indexedDB.open('app', 1);
opening.onupgradeneeded = () => opening.result.createObjectStore('users', { keyPath: 'id' });
opening.onsuccess = () => {
  const database = opening.result;
  const show = () => {
    const reading = database.transaction('users').objectStore('users').getAll();
    reading.onsuccess = () => (document.body.innerText = 'Stored: ' + reading.result.map(({ name }) => name).join(', ') + '.');
  };
  mirror(client, database, 'users', {
    one: (id) => load('/api/users/' + id),
    all: () => load('/api/users'),
    onWritten: show,
  });
};`,
    { gatewayPort: port, serve },
  );
  await shows(opened, 'Stored: Ada, Bob.');
  await eventually(async () => {
    users[3] = 'Cyd';
    return (await gateway.toRoom('users', 'db-change', { entity: 'users', action: 'create', id: 3 })).sockets === 1;
  }, 'the page in its room');
  await shows(opened, 'Stored: Ada, Bob, Cyd.');
  delete users[2];
  await gateway.toRoom('users', 'db-change', { entity: 'users', action: 'delete', id: 2 });
  await shows(opened, 'Stored: Ada, Cyd.');
});
