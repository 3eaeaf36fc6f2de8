// Whose address it is when a proxy stands in between: believed from those that the settings name,
// and from nobody else.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { eventually } from '../harness/events.js';
import { request } from '../harness/raw.js';
import { Door, JWT, logLines, open } from './entering.js';

/** Is refused with these headers; returns the address that the log names. */
async function addressOf(t, gateway, headers) {
  const before = logLines(gateway).length;
  const door = await Door.open(t, gateway, { headers });
  assert.equal(await door.code(undefined), 'token_missing');
  const line = await eventually(
    () => logLines(gateway).slice(before).find((each) => JSON.stringify(each).includes('token_missing')),
    'a log line',
  );
  const text = JSON.stringify(line);
  const named = ['203.0.113.7', '198.51.100.9', '192.0.2.1', '10.1.2.3', '2001:db8::7', '127.0.0.1'].filter((address) => text.includes(address));
  assert.equal(named.length, 1, text);
  return named[0];
}

describe('the address of a client', () => {
  const cases = [
    ['nobody is trusted', undefined, { 'X-Forwarded-For': '203.0.113.7' }, '127.0.0.1'],
    ['another proxy is trusted', ['10.0.0.0/8'], { 'X-Forwarded-For': '203.0.113.7' }, '127.0.0.1'],
    ['the proxy is trusted', ['127.0.0.1'], { 'X-Forwarded-For': '203.0.113.7' }, '203.0.113.7'],
    ['its network is trusted', ['127.0.0.0/8'], { 'X-Forwarded-For': '203.0.113.7' }, '203.0.113.7'],
    ['it says nothing', ['127.0.0.1'], {}, '127.0.0.1'],
    ['the client adds a lie on the left', ['127.0.0.1'], { 'X-Forwarded-For': '192.0.2.1, 203.0.113.7' }, '203.0.113.7'],
    ['two proxies', ['127.0.0.1', '10.0.0.0/8'], { 'X-Forwarded-For': '192.0.2.1, 203.0.113.7, 10.1.2.3' }, '203.0.113.7'],
    ['two proxies, one unknown', ['127.0.0.1'], { 'X-Forwarded-For': '203.0.113.7, 10.1.2.3' }, '10.1.2.3'],
    ['IPv6', ['127.0.0.1'], { 'X-Forwarded-For': '2001:db8::7' }, '2001:db8::7'],
    ['blanks', ['127.0.0.1'], { 'X-Forwarded-For': '  192.0.2.1  ,   203.0.113.7  ' }, '203.0.113.7'],
    ['no address', ['127.0.0.1'], { 'X-Forwarded-For': 'unknown' }, '127.0.0.1'],
    ['empty', ['127.0.0.1'], { 'X-Forwarded-For': '' }, '127.0.0.1'],
    ['other headers are not asked', ['127.0.0.1'], { Forwarded: 'for=203.0.113.7', 'X-Real-IP': '198.51.100.9', 'CF-Connecting-IP': '192.0.2.1' }, '127.0.0.1'],
  ];
  for (const [title, trusted_proxies, headers, expected] of cases) {
    test(`${title}: ${expected}`, async (t) => {
      const gateway = await open(t, { auth: JWT, trusted_proxies });
      assert.equal(await addressOf(t, gateway, headers), expected);
    });
  }

  test('the header in several lines is one list', async (t) => {
    const gateway = await open(t, { auth: JWT, trusted_proxies: ['127.0.0.1'] });
    const headers = [['X-Forwarded-For', '192.0.2.1'], ['X-Forwarded-For', '203.0.113.7']];
    const before = logLines(gateway).length;
    const reply = await request(gateway, { path: '/socket.io/?EIO=4&transport=polling', headers });
    const { sid } = JSON.parse(reply.text.slice(1));
    await request(gateway, { method: 'POST', path: `/socket.io/?EIO=4&transport=polling&sid=${sid}`, headers, body: '40' });
    const line = await eventually(() => logLines(gateway).slice(before).find((each) => JSON.stringify(each).includes('token_missing')), 'a log line');
    assert.ok(JSON.stringify(line).includes('203.0.113.7'), JSON.stringify(line));
  });
});

describe('sessions of one address', () => {
  const LIMIT = 5;
  const handshake = (gateway, address) =>
    request(gateway, { path: '/socket.io/?EIO=4&transport=polling', headers: address ? { 'X-Forwarded-For': address } : {} });

  test('are counted for the client behind a trusted proxy', async (t) => {
    const gateway = await open(t, { auth: JWT, trusted_proxies: ['127.0.0.1'], socket: { connections_per_address_max: LIMIT } });
    for (const address of ['203.0.113.7', '198.51.100.9']) {
      for (let i = 0; i < LIMIT; i += 1) assert.equal((await handshake(gateway, address)).status, 200, `${address} ${i}`);
      const refused = await handshake(gateway, address);
      assert.equal(refused.status, 403, refused.text);
      assert.equal(refused.json().code, 4);
      // What a client writes itself gives it no new address.
      assert.equal((await handshake(gateway, `192.0.2.1, ${address}`)).status, 403);
    }
    assert.equal((await handshake(gateway, '2001:db8::7')).status, 200);
  });

  test('are counted for the peer where nobody is trusted', async (t) => {
    const gateway = await open(t, { auth: JWT, socket: { connections_per_address_max: LIMIT } });
    const statuses = [];
    for (let i = 0; i < LIMIT + 1; i += 1) statuses.push((await handshake(gateway, `203.0.113.${i}`)).status);
    assert.deepEqual(statuses, [...Array(LIMIT).fill(200), 403]);
  });
});

describe('publishing', () => {
  test('without a key a request through a proxy is refused, trusted or not', async (t) => {
    for (const trusted_proxies of [undefined, ['127.0.0.1'], ['127.0.0.0/8', '::1']]) {
      const gateway = await open(t, { trusted_proxies });
      for (const address of ['203.0.113.7', '127.0.0.1', '']) {
        const reply = await gateway.post('/p', { rooms: 'r', payload: 1 }, { 'X-Forwarded-For': address });
        assert.equal(reply.status, 403, reply.text);
        assert.equal(reply.json().code, 'not_loopback');
      }
      assert.equal((await gateway.publish('p', { rooms: 'r', payload: 1 })).status, 'ok');
    }
  });

  test('with a key it is taken', async (t) => {
    const key = 'proxied-key-0123456789abc';
    const gateway = await open(t, { trusted_proxies: ['127.0.0.1'], publish: { key } });
    const reply = await gateway.post('/p', { rooms: 'r', payload: 1 }, { 'X-Forwarded-For': '203.0.113.7', Authorization: `Bearer ${key}` });
    assert.equal(reply.status, 200, reply.text);
    const wrong = await gateway.post('/p', { rooms: 'r', payload: 1 }, { 'X-Forwarded-For': '203.0.113.7', Authorization: 'Bearer wrong' });
    assert.equal(wrong.status, 401);
    await eventually(
      () => logLines(gateway).some((line) => /key_invalid/.test(JSON.stringify(line)) && /203\.0\.113\.7/.test(JSON.stringify(line))),
      `a log line with the address in:\n${gateway.stderr}`,
    );
  });
});
