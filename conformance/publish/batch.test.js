// POST /v1/events: many events in one request, as an array or line by line.

import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { WAIT_MS, within } from '../harness/events.js';
import { startGateway } from '../harness/gateway.js';
import { joined } from '../harness/sessions.js';
import { Listener, assertProblem, assertReceipt, assertRefused, heard, hears } from './publishing.js';

let gateway;
let listener;
before(async () => {
  gateway = await startGateway({ config: 'namespaces = ["/", "/shop"]\n' });
  listener = await Listener.open(undefined, gateway, { rooms: ['b'] });
});
after(async () => {
  listener?.close();
  await gateway?.end();
});

const good = (n, event = 'batch') => ({ event, rooms: ['b'], payload: n });
const payloads = async () => (await heard([listener]))[0].map(([, envelope]) => envelope.payload);

// Items that fail, each alone: what is wrong, the item as JSON text, the expected problem.
const badItems = [
  ['no target', '{"event":"batch","payload":1}', { status: 422, code: 'no_target' }],
  ['no event', '{"rooms":["b"],"payload":1}', { status: 422, code: 'missing_event', detail: /event/ }],
  ['no payload', '{"event":"batch","rooms":["b"]}', { status: 422, code: 'missing_payload' }],
  ['a wrong type', '{"event":"batch","rooms":["b",{}],"payload":1}', { status: 422, code: 'invalid_type', pointer: '/rooms/1' }],
  ['an unknown field', '{"event":"batch","room":"b","payload":1}', { status: 422, code: 'unknown_field', pointer: '/room', detail: /\brooms\b/ }],
  ['a field twice', '{"event":"batch","rooms":"b","rooms":"b","payload":1}', { status: 422, code: 'duplicate_field', pointer: '/rooms' }],
  ['an unknown namespace', '{"event":"batch","rooms":"b","payload":1,"namespace":"/nope"}', { status: 422, code: 'unknown_namespace', pointer: '/namespace' }],
  ['a reserved event', '{"event":"connect","rooms":"b","payload":1}', { status: 404, code: 'event_not_found' }],
  ['an invalid event name', '{"event":"a b","rooms":"b","payload":1}', { status: 404, code: 'event_not_found' }],
  ['an event that is not text', '{"event":7,"rooms":"b","payload":1}', { status: 422, code: 'invalid_type', pointer: '/event' }],
  ['null', 'null', { status: 422, code: 'invalid_type' }],
  ['a number', '3', { status: 422, code: 'invalid_type' }],
  ['an array', '[]', { status: 422, code: 'invalid_type' }],
];

describe('an array', () => {
  test('each item is published in order and answered in order', async () => {
    const items = Array.from({ length: 100 }, (_, n) => good(n));
    const reply = await gateway.post('/v1/events', items);
    assert.equal(reply.status, 200, reply.text);
    assert.match(reply.headers['content-type'], /^application\/json\b/);
    const entries = reply.json();
    assert.equal(entries.length, 100);
    for (const entry of entries) assertReceipt(entry, 1);
    assert.equal(new Set(entries.map((entry) => entry.id)).size, 100);
    assert.deepEqual(await payloads(), items.map((item) => item.payload));
  });

  test('every field of an item counts', async (t) => {
    const shopper = await Listener.open(t, gateway, { rooms: ['b'], namespace: '/shop' });
    const reply = await gateway.post('/v1/events', [
      { event: 'one', rooms: 'b', payload: 1, id: 'batch-id', sender: { id: 7, token: 'x' } },
      { event: 'two', rooms: 'b', payload: 2, namespace: '/shop' },
      { event: 'component/refresh', payload: { own: listener.id } },
      { event: 'four', broadcast: true, except: ['b'], payload: 4, volatile: true },
    ]);
    assert.equal(reply.status, 200, reply.text);
    assert.deepEqual(reply.json().map((entry) => entry.sockets), [1, 1, 1, 0]);
    assert.equal(reply.json()[0].id, 'batch-id');
    assert.deepEqual(await heard([listener, shopper]), [
      [
        ['one', { payload: 1, rooms: 'b', sender: { id: 7 } }],
        ['component/refresh', { payload: { own: listener.id } }],
      ],
      [['two', { payload: 2, rooms: 'b' }]],
    ]);
  });

  test('deliver=payload holds for the whole batch', async () => {
    const reply = await gateway.post('/v1/events?deliver=payload', [good('bare')]);
    assert.equal(reply.status, 200, reply.text);
    assert.deepEqual(await heard([listener]), [[['batch', 'bare']]]);
  });

  for (const [title, item, expected] of badItems) {
    test(`one bad item does not stop the others: ${title}`, async () => {
      const text = `[${JSON.stringify(good('before'))},${item},${JSON.stringify(good('after'))}]`;
      const reply = await gateway.post('/v1/events', text);
      assert.equal(reply.status, 200, reply.text);
      const [first, bad, last, ...more] = reply.json();
      assertReceipt(first, 1);
      assertProblem(bad, expected);
      assertReceipt(last, 1);
      assert.deepEqual(more, []);
      assert.deepEqual(await payloads(), ['before', 'after']);
    });
  }

  test('an empty array is answered by an empty array', async () => {
    const reply = await gateway.post('/v1/events', []);
    assert.deepEqual([reply.status, reply.json()], [200, []]);
  });

  const refused = [
    ['one object instead of an array', JSON.stringify(good(1)), { status: 422, code: 'invalid_type', pointer: '' }],
    ['a string', '"x"', { status: 422, code: 'invalid_type', pointer: '' }],
    ['an empty body', '', { status: 400, code: 'empty_body' }],
    // JSON that is broken has no items to tell apart, so nothing of it may be published.
    ['an array that is cut off', `[${JSON.stringify(good(1))},`, { status: 400, code: 'malformed_json' }],
    ['an item that is not JSON', `[${JSON.stringify(good(1))},{x}]`, { status: 400, code: 'malformed_json' }],
    ['two lines instead of an array', `${JSON.stringify(good(1))}\n${JSON.stringify(good(2))}`, { status: 400, code: 'malformed_json' }],
  ];
  for (const [title, body, expected] of refused) {
    test(`refused as a whole: ${title}`, async () => {
      assertRefused(await gateway.post('/v1/events', body), expected);
      assert.deepEqual(await payloads(), []);
    });
  }

  test('too many items are refused as a whole', async () => {
    // 80,000 items of the smallest kind stay below the limit of bytes.
    const body = `[${JSON.stringify(good(1))}${',{}'.repeat(80_000)}]`;
    assertRefused(await gateway.post('/v1/events', body), { status: 413, code: 'too_many_items' });
    assert.deepEqual(await payloads(), []);
  });

  test('the publisher\'s text is kept', async (t) => {
    const raw = await joined(gateway);
    t.after(() => raw.close());
    raw.sendText('420["subscribe",["raw"]]');
    assert.match(await raw.nextText(), /^430\[\{"status":"ok"/);
    const payload = '{ "n":1.0, "big":12345678901234567890,"a":1,"a":"\\/]}" }';
    const item = (more) => `{"rooms":["raw"],"event":"batch","payload":${payload}${more}}`;
    const reply = await gateway.post('/v1/events', ` [ ${item('')} ,\n${item(',"sender":{"n":1.00}')} ] `);
    assert.equal(reply.status, 200, reply.text);
    assert.equal(await raw.nextText(), `42["batch",{"payload":${payload},"rooms":["raw"]}]`);
    assert.equal(
      await raw.nextText(),
      `42["batch",{"payload":${payload},"rooms":["raw"],"sender":{"n":1.00}}]`,
    );
  });
});

describe('lines (application/x-ndjson)', () => {
  /** An open request whose answer is read line by line while the request is written. */
  class Lines {
    #text = '';
    #waiters = new Set();
    ended = false;

    constructor(t, { path = '/v1/events', type = 'application/x-ndjson' } = {}) {
      this.request = httpRequest(`${gateway.url}${path}`, {
        method: 'POST',
        agent: false,
        headers: { 'Content-Type': type },
      });
      this.request.flushHeaders();
      this.response = new Promise((resolve, reject) => {
        this.request.on('response', (response) => {
          response.setEncoding('utf8');
          response.on('data', (text) => {
            this.#text += text;
            this.#wake();
          });
          response.on('end', () => {
            this.ended = true;
            this.#wake();
          });
          response.on('error', () => this.#wake());
          resolve(response);
        });
        this.request.on('error', reject);
      });
      this.response.catch(() => {});
      t.after(() => this.request.destroy());
    }

    #wake() {
      for (const wake of this.#waiters) wake();
      this.#waiters.clear();
    }

    write(text) {
      this.request.write(text);
    }

    send(item) {
      this.write(`${typeof item === 'string' ? item : JSON.stringify(item)}\n`);
    }

    /** The next line of the answer as a value. */
    async next() {
      const line = async () => {
        await this.response;
        for (;;) {
          const end = this.#text.indexOf('\n');
          if (end >= 0) {
            const text = this.#text.slice(0, end);
            this.#text = this.#text.slice(end + 1);
            return JSON.parse(text);
          }
          assert.ok(!this.ended, 'the answer ended before its next line');
          await new Promise((wake) => this.#waiters.add(wake));
        }
      };
      return within(line(), 'a line of the answer', WAIT_MS);
    }

    /** Ends the request and returns what is left of the answer. */
    async end() {
      this.request.end();
      const rest = async () => {
        await this.response;
        while (!this.ended) await new Promise((wake) => this.#waiters.add(wake));
        return this.#text;
      };
      return within(rest(), 'the end of the answer', WAIT_MS);
    }
  }

  test('each line is published and answered while the request is still open', async (t) => {
    const lines = new Lines(t);
    for (let n = 0; n < 5; n += 1) {
      lines.send(good(n));
      assertReceipt(await lines.next(), 1);
      await hears(listener, n + 1);
    }
    const response = await lines.response;
    assert.equal(response.statusCode, 200);
    assert.match(response.headers['content-type'], /^application\/x-ndjson\b/);
    assert.equal(await lines.end(), '');
    assert.deepEqual(await payloads(), [0, 1, 2, 3, 4]);
  });

  test('lines that arrive together are answered in order', async (t) => {
    const lines = new Lines(t);
    const items = Array.from({ length: 300 }, (_, n) => ({ ...good(n), id: `line-${n}` }));
    lines.write(items.map((item) => `${JSON.stringify(item)}\n`).join(''));
    for (const item of items) assert.equal((await lines.next()).id, item.id);
    assert.equal(await lines.end(), '');
    assert.deepEqual(await payloads(), items.map((item) => item.payload));
  });

  for (const [title, item, expected] of [
    ...badItems,
    ['half an object', '{"event":"batch","rooms":["b"],', { status: 400, code: 'malformed_json' }],
    ['a word', 'hello', { status: 400, code: 'malformed_json' }],
    ['two objects', '{"event":"batch","rooms":"b","payload":1}{}', { status: 400, code: 'malformed_json' }],
    ['deep nesting', `{"event":"batch","rooms":"b","payload":${'['.repeat(50_000)}`, { status: 400, code: 'malformed_json' }],
    ['a line over the limit', `{"event":"batch","rooms":"b","payload":"${'x'.repeat(300_000)}"}`, { status: 413, code: 'payload_too_large' }],
  ]) {
    test(`a bad line does not stop the others: ${title}`, async (t) => {
      const lines = new Lines(t);
      lines.send(good('before'));
      assertReceipt(await lines.next(), 1);
      lines.send(item);
      assertProblem(await lines.next(), expected);
      lines.send(good('after'));
      assertReceipt(await lines.next(), 1);
      assert.equal(await lines.end(), '');
      assert.deepEqual(await payloads(), ['before', 'after']);
    });
  }

  test('bytes that are not UTF-8 spoil one line only', async (t) => {
    const lines = new Lines(t);
    lines.write(Buffer.from('{"event":"batch","rooms":"b","payload":"\xff"}\n', 'latin1'));
    assertProblem(await lines.next(), { status: 400, code: 'malformed_json' });
    lines.send(good('after'));
    assertReceipt(await lines.next(), 1);
    await lines.end();
    assert.deepEqual(await payloads(), ['after']);
  });

  test('blank lines are ignored, CRLF is a line end', async (t) => {
    const lines = new Lines(t);
    lines.write(`\n\r\n   \n${JSON.stringify(good(1))}\r\n\n\t\n${JSON.stringify(good(2))}\n\n`);
    assertReceipt(await lines.next(), 1);
    assertReceipt(await lines.next(), 1);
    assert.equal(await lines.end(), '');
    assert.deepEqual(await payloads(), [1, 2]);
  });

  test('a last line without a line end counts', async (t) => {
    const lines = new Lines(t);
    lines.write(`${JSON.stringify(good(1))}\n${JSON.stringify(good(2))}`);
    assertReceipt(await lines.next(), 1);
    const rest = await lines.end();
    assertReceipt(JSON.parse(rest), 1);
    assert.deepEqual(await payloads(), [1, 2]);
  });

  test('a line may come in pieces, even within a character', async (t) => {
    const lines = new Lines(t);
    const bytes = Buffer.from(`${JSON.stringify(good('a😀é'))}\n`);
    for (const byte of bytes) {
      lines.write(Buffer.of(byte));
      // Each byte in a write of its own, so that no two need to share a chunk.
      await new Promise(setImmediate);
    }
    assertReceipt(await lines.next(), 1);
    await lines.end();
    assert.deepEqual(await payloads(), ['a😀é']);
  });

  test('a stream may be longer than one body', async (t) => {
    const lines = new Lines(t);
    const long = 'x'.repeat(100_000);
    for (let n = 0; n < 8; n += 1) {
      lines.send(good(long));
      assertReceipt(await lines.next(), 1);
    }
    assert.equal(await lines.end(), '');
    assert.deepEqual((await payloads()).map((text) => text.length), Array(8).fill(100_000));
  });

  test('a stream that breaks off has published its whole lines, and only those', async (t) => {
    const lines = new Lines(t);
    lines.send(good('whole'));
    assertReceipt(await lines.next(), 1);
    lines.write('{"event":"batch","rooms":"b","payload":"half"}'.slice(0, -1));
    lines.request.destroy();
    assert.deepEqual(await payloads(), ['whole']);
  });
});
