// A thousand sockets at once whose tokens the backend has to judge: one question for one token, and
// a backend that never answers harms nobody but those who wait for it.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { next } from '../harness/events.js';
import { openSession } from '../harness/sessions.js';
import { Door, enter, open, refusals } from './entering.js';
import { Backend, HANG } from './tokens.js';

const SOCKETS = 1000;

/** Opens many raw WebSockets, a few at a time. */
async function openMany(t, gateway) {
  const opened = [];
  t.after(() => opened.forEach((websocket) => websocket.connection.socket.destroy()));
  while (opened.length < SOCKETS) {
    opened.push(...(await Promise.all(Array.from({ length: 50 }, () => openSession(gateway)))));
  }
  return opened;
}

test('1,000 sockets with one token are one question', { timeout: 60_000 }, async (t) => {
  const backend = await Backend.start(t, () => ({ body: { active: true, sub: 'ada', roles: ['crowd'] } }));
  const gateway = await open(t, {
    auth: { strategy: 'introspection', introspection_url: backend.url, introspection_timeout_ms: 20_000 },
  });
  const crowd = await openMany(t, gateway);
  const release = backend.hold();
  for (const websocket of crowd) websocket.sendText('40{"token":"shared","recovery":false}');
  await backend.asked(1);
  // The gateway has read every CONNECT before it gets an answer.
  await Promise.all(crowd.map((websocket) => websocket.fence()));
  assert.ok(crowd.every((websocket) => websocket.unread.length === 0), 'somebody was let in without an answer');
  release();
  const answers = await Promise.all(crowd.map((websocket) => websocket.nextText(20_000)));
  assert.ok(answers.every((text) => text.startsWith('40{"sid":"')), answers.find((text) => !text.startsWith('40{')));
  assert.equal(backend.requests.length, 1);
  assert.equal((await gateway.publish('p', { users: 'ada', payload: 1 })).sockets, SOCKETS);
  assert.equal((await gateway.publish('p', { rooms: 'crowd', payload: 1 })).sockets, SOCKETS);

  // Who comes later finds the answer remembered.
  const door = await Door.open(t, gateway);
  assert.equal((await door.knock({ token: 'shared' })).user, 'ada');
  assert.equal(backend.requests.length, 1);
});

test('1,000 tokens and a backend that never answers', { timeout: 60_000 }, async (t) => {
  const TIMEOUT_MS = 2000;
  /** For a thousand answers on a busy machine. */
  const SLACK_MS = 5000;
  const PROMPT_MS = 2000;
  const backend = await Backend.start(t, () => ({ body: { active: true, sub: 'bystander' } }));
  const gateway = await open(t, {
    auth: { strategy: 'introspection', introspection_url: backend.url, introspection_timeout_ms: TIMEOUT_MS },
  });
  const bystander = await enter(t, gateway, 'known');
  let lost = null;
  bystander.on('disconnect', (reason) => (lost = reason));
  const known = await Door.open(t, gateway);
  const crowd = await openMany(t, gateway);
  backend.answer = () => HANG;

  let waiting = crowd.length;
  const refused = crowd.map(async (websocket) => {
    const started = performance.now();
    websocket.sendText(JSON.stringify({ token: randomUUID() }).replace(/^/, '40'));
    const text = await websocket.nextText(TIMEOUT_MS + 20_000);
    waiting -= 1;
    return { text, took: performance.now() - started };
  });
  for (const answer of refused) answer.catch(() => {});
  await backend.asked(2);

  // Meanwhile everything else goes on: publishing, its delivery, and those whose token is known.
  const delays = [];
  while (waiting > 0) {
    const started = performance.now();
    const event = next(bystander, 'tick', PROMPT_MS);
    event.catch(() => {});
    assert.equal((await gateway.publish('tick', { users: bystander.id, payload: 1 })).sockets, 1);
    await event;
    assert.equal((await known.knock({ token: 'known' }, { waitMs: PROMPT_MS })).user, 'bystander');
    delays.push(performance.now() - started);
  }
  const answers = await Promise.all(refused);
  const codes = new Set(answers.map(({ text }) => JSON.parse(text.slice(2)).data?.code));
  assert.ok(answers.every(({ text }) => text.startsWith('44{"message":"Unauthorized: ')), 'not all were refused');
  for (const code of codes) assert.ok(['introspection_timeout', 'introspection_unavailable'].includes(code), code);
  const slowest = Math.max(...answers.map(({ took }) => took));
  assert.ok(slowest <= TIMEOUT_MS + SLACK_MS, `the last was refused after ${Math.round(slowest)} ms`);
  assert.ok(Math.max(...delays) < 3 * PROMPT_MS, `${Math.round(Math.max(...delays))} ms`);
  assert.equal(lost, null);
  const counted = await refusals(gateway);
  assert.equal([...codes].reduce((sum, code) => sum + counted.of(code), 0), SOCKETS, counted.text);
  t.diagnostic(
    `${[...codes]}; slowest refusal ${Math.round(slowest)} ms; ${delays.length} rounds beside, slowest ${Math.round(Math.max(...delays))} ms; ` +
      `${backend.requests.length} questions, ${backend.concurrent} at once`,
  );
  // When the backend is back, so is everybody.
  backend.answer = () => ({ body: { active: true, sub: 'ada' } });
  const door = await Door.open(t, gateway);
  assert.equal((await door.knock({ token: randomUUID() })).user, 'ada');
});
