// `id` and `Idempotency-Key`: a repeat is answered like the first time and emitted once.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { startGateway } from '../harness/gateway.js';
import { Listener, assertPublished, assertReceipt, assertRefused, heard } from './publishing.js';

let gateway;
let listener;
before(async () => {
  gateway = await startGateway();
  listener = await Listener.open(undefined, gateway, { rooms: ['once'] });
});
after(async () => {
  listener?.close();
  await gateway?.end();
});

const body = (more = {}) => ({ rooms: ['once'], payload: 1, ...more });
const key = (id) => ({ 'Idempotency-Key': id });
const emissions = async () => (await heard([listener]))[0].length;

test('a repeat of the id in the body', async () => {
  const id = randomUUID();
  const first = assertPublished(await gateway.post('/once', body({ id })), 1);
  assert.equal(first.id, id);
  assert.deepEqual(assertPublished(await gateway.post('/once', body({ id }))), first);
  assert.equal(await emissions(), 1);
});

test('a repeat of the header', async () => {
  const id = randomUUID();
  const first = assertPublished(await gateway.post('/once', body(), key(id)), 1);
  assert.equal(first.id, id);
  assert.deepEqual(assertPublished(await gateway.post('/once', body(), key(id))), first);
  assert.equal(await emissions(), 1);
});

test('the header and the body name the same id', async () => {
  const id = randomUUID();
  const first = assertPublished(await gateway.post('/once', body({ id }), key(id)), 1);
  assert.deepEqual(assertPublished(await gateway.post('/once', body({ id }))), first);
  assert.deepEqual(assertPublished(await gateway.post('/once', body(), key(id))), first);
  assert.equal(await emissions(), 1);
});

test('a header and a body that differ are refused', async () => {
  assertRefused(await gateway.post('/once', body({ id: randomUUID() }), key(randomUUID())), {
    status: 422,
    code: 'id_conflict',
  });
  assert.equal(await emissions(), 0);
});

test('other ids and no ids are emitted each time', async () => {
  assertPublished(await gateway.post('/once', body({ id: randomUUID() })), 1);
  assertPublished(await gateway.post('/once', body({ id: randomUUID() })), 1);
  assertPublished(await gateway.post('/once', body()), 1);
  assertPublished(await gateway.post('/once', body()), 1);
  assert.equal(await emissions(), 4);
});

test('ids differ in case and in spaces', async () => {
  const id = randomUUID();
  for (const variant of [`a${id}`, `A${id}`, `a${id} `]) {
    assertPublished(await gateway.post('/once', body({ id: variant })), 1);
  }
  assert.equal(await emissions(), 3);
});

test('a repeat is answered with the first count, whoever has come since', async (t) => {
  const id = randomUUID();
  const first = assertPublished(await gateway.post('/once', body({ id })), 1);
  const late = await Listener.open(t, gateway, { rooms: ['once'] });
  assert.deepEqual(assertPublished(await gateway.post('/once', body({ id }))), first);
  const lists = await heard([listener, late]);
  assert.deepEqual(lists.map((list) => list.length), [1, 0]);
});

test('the same id many times at once is emitted once', async () => {
  const id = randomUUID();
  const replies = await Promise.all(
    Array.from({ length: 30 }, () => gateway.post('/once', body({ id }))),
  );
  const receipts = [];
  for (const reply of replies) {
    if (reply.status === 409) assertRefused(reply, { status: 409, code: 'id_in_flight' });
    else receipts.push(assertPublished(reply, 1));
  }
  assert.ok(receipts.length >= 1, 'nobody was told that it worked');
  for (const receipt of receipts) assert.deepEqual(receipt, { status: 'ok', id, sockets: 1 });
  assert.equal(await emissions(), 1);
});

test('an id of 128 characters is taken, in the body and in the header', async () => {
  const id = randomUUID().padEnd(128, 'i');
  assertPublished(await gateway.post('/once', body({ id })), 1);
  assertPublished(await gateway.post('/once', body(), key(id)), 1);
  assert.equal(await emissions(), 1);
});

test('a longer one is refused', async () => {
  const id = randomUUID().padEnd(129, 'i');
  assertRefused(await gateway.post('/once', body({ id })), {
    status: 422,
    code: 'invalid_value',
    pointer: '/id',
  });
  assertRefused(await gateway.post('/once', body(), key(id)), {
    status: 422,
    code: 'invalid_value',
    detail: /Idempotency-Key/i,
  });
  assert.equal(await emissions(), 0);
});

test('a refused publish is not remembered', async () => {
  const refused = [
    ['/once', { payload: 1 }, 422],
    ['/once', { payload: 1, rooms: [true] }, 422],
    ['/once', { payload: 1, rooms: ['once'], namespace: '/nope' }, 422],
    ['/connect', { payload: 1, rooms: ['once'] }, 404],
  ];
  for (const [path, bad, status] of refused) {
    const id = randomUUID();
    assert.equal((await gateway.post(path, { ...bad, id })).status, status);
    assertPublished(await gateway.post('/once', body({ id })), 1);
  }
  assert.equal(await emissions(), refused.length);
});

test('a publish and a batch share their ids', async () => {
  const id = randomUUID();
  const first = assertPublished(await gateway.post('/once', body({ id })), 1);
  const reply = await gateway.post('/v1/events', [{ event: 'once', ...body({ id }) }]);
  assert.equal(reply.status, 200, reply.text);
  assert.deepEqual(reply.json(), [first]);
  assert.equal(await emissions(), 1);
});

test('a repeat within one batch', async () => {
  const item = { event: 'once', ...body({ id: randomUUID() }) };
  const reply = await gateway.post('/v1/events', [item, item, { event: 'once', ...body() }]);
  assert.equal(reply.status, 200, reply.text);
  const [first, second, other] = reply.json();
  assertReceipt(first, 1);
  assert.deepEqual(second, first);
  assertReceipt(other, 1);
  assert.equal(await emissions(), 2);
});

test('the header does not fit a batch', async () => {
  const items = [{ event: 'once', ...body() }];
  assertRefused(await gateway.post('/v1/events', items, key(randomUUID())), {
    status: 422,
    code: 'idempotency_key_in_batch',
  });
  assert.equal(await emissions(), 0);
});
