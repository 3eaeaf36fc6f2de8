// POST /<event>: every field of the body, whom it reaches and what they receive.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { eventually, next } from '../harness/events.js';
import { startGateway } from '../harness/gateway.js';
import { ask, client, connectNow, joined } from '../harness/sessions.js';
import { Listener, assertPublished, assertRefused, heard } from './publishing.js';

const swapCase = (text) =>
  text.replace(/[a-z]/gi, (letter) =>
    letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase(),
  );

// Without tokens nobody has a user id: `users` and `payload.own` reach sockets by their id.
describe('who is reached', () => {
  let gateway;
  const people = {};

  before(async () => {
    gateway = await startGateway({ config: 'namespaces = ["/", "/shop"]\n' });
    const enter = (options) => Listener.open(undefined, gateway, options);
    people.ada = await enter({ rooms: ['public:a'] });
    assert.equal(await ask(people.ada.socket, 'grantIn', { ROLE: 'admin', host: 'ada-host' }), 'true');
    people.adaAgain = await enter();
    // The rooms of Bob and Carl look like user ids and like numbers: they are rooms only.
    people.bob = await enter({ rooms: ['public:a', 'public:b', 'public:é😀', 'bob'] });
    people.carl = await enter({ rooms: ['42', '1.0'] });
    people.shopper = await enter({ rooms: ['public:a'], namespace: '/shop' });
  });

  after(async () => {
    for (const person of Object.values(people)) person.close();
    await gateway?.end();
  });

  const all = ['ada', 'adaAgain', 'bob', 'carl'];
  // Title, body (an object without payload, or the JSON text of one), who hears it.
  const cases = [
    ['rooms as an array', { rooms: ['public:a'] }, ['ada', 'bob']],
    ['rooms as a string', { rooms: 'public:a' }, ['ada', 'bob']],
    ['rooms as a number is its text', { rooms: 42 }, ['carl']],
    ['rooms as an array with a number', { rooms: [42] }, ['carl']],
    ['a number keeps its text, fraction and all', '{"rooms":[1.0],"payload":0}', ['carl']],
    ['a number in another spelling is another room', '{"rooms":[1.00],"payload":0}', []],
    ['a role that was granted is a room', { rooms: ['admin'] }, ['ada']],
    ['a host that was granted is a room', { rooms: 'ada-host' }, ['ada']],
    ['several rooms are a union', { rooms: ['admin', '42'] }, ['ada', 'carl']],
    ['a socket in two of the rooms hears it once', { rooms: ['public:a', 'public:b'] }, ['ada', 'bob']],
    ['a room named twice counts once', { rooms: ['public:a', 'public:a'] }, ['ada', 'bob']],
    ['a room beyond ASCII', { rooms: ['public:é😀'] }, ['bob']],
    ['a room in escapes', '{"rooms":["\\u0070ublic:\\u00e9\\ud83d\\ude00"],"payload":0}', ['bob']],
    ['an empty room reaches nobody', { rooms: ['public:nobody'] }, []],
    ['a pattern is not a room', { rooms: ['public:*', '*'] }, []],
    ['room names differ in case', { rooms: ['PUBLIC:A'] }, []],

    ['users as a string', (id) => ({ users: id.ada }), ['ada']],
    ['users as an array', (id) => ({ users: [id.ada, id.carl] }), ['ada', 'carl']],
    ['a socket id named twice counts once', (id) => ({ users: [id.ada, id.ada] }), ['ada']],
    ['a user id nobody has, as a string', { users: 'ada' }, []],
    ['a user id nobody has, as a number', { users: 42 }, []],
    ['a user id nobody has, as an array with a number', { users: [42] }, []],
    ['a user id nobody has, beside a socket id', (id) => ({ users: ['nobody', id.bob] }), ['bob']],
    ['a pattern is not a user', { users: ['*', 'a*'] }, []],

    ['payload.own as a string', (id) => ({ payload: { own: id.adaAgain } }), ['adaAgain']],
    ['payload.own as an array', (id) => ({ payload: { own: [id.ada, id.bob] } }), ['ada', 'bob']],
    ['payload.own as a number nobody has', { payload: { own: 42 } }, []],
    ['payload.own as a user id nobody has', { payload: { own: ['ada', 'bob'] } }, []],
    [
      'own deeper in the payload is no target',
      (id) => ({ rooms: '42', payload: { a: { own: id.ada } } }),
      ['carl'],
    ],

    ['a room is not a user', { users: ['public:a', 'admin', 'bob'] }, []],
    ['a room is not in payload.own', { payload: { own: ['public:a', 'admin', 'bob'] } }, []],
    ['a socket id is not a room', (id) => ({ rooms: [id.ada] }), []],
    ['a socket id differs in case', (id) => ({ users: [swapCase(id.ada)] }), []],
    ['the start of a socket id is none', (id) => ({ users: [id.ada.slice(0, -1)] }), []],

    [
      'all targets are one union, each socket once',
      (id) => ({ rooms: ['public:a', 'public:b'], users: [id.bob], payload: { own: [id.ada, id.carl] } }),
      ['ada', 'bob', 'carl'],
    ],
    ['broadcast reaches the namespace', { broadcast: true }, all],
    ['broadcast and rooms: still once', (id) => ({ broadcast: true, rooms: 'public:a', users: id.ada }), all],
    ['broadcast false adds nobody', { broadcast: false, rooms: 'admin' }, ['ada']],

    ['except a room', { broadcast: true, except: ['public:b'] }, ['ada', 'adaAgain', 'carl']],
    ['except as a string', { broadcast: true, except: 'public:a' }, ['adaAgain', 'carl']],
    ['except as a number is a room', { broadcast: true, except: 42 }, ['ada', 'adaAgain', 'bob']],
    ['except a socket id', (id) => ({ rooms: 'public:a', except: [id.ada] }), ['bob']],
    ['except a role', { rooms: 'public:a', except: ['admin'] }, ['bob']],
    ['except wins over a socket id', (id) => ({ users: id.ada, except: id.ada }), []],
    ['a room in except wins over users', (id) => ({ users: id.bob, except: 'public:b' }), []],
    ['a room in except wins over payload.own', (id) => ({ payload: { own: [id.ada, id.bob] }, except: 'public:b' }), ['ada']],
    ['an empty except leaves nobody out', { rooms: 'admin', except: [] }, ['ada']],
    ['an except that fits nobody leaves nobody out', { rooms: 'public:a', except: ['ada', '*'] }, ['ada', 'bob']],

    ['a room of another namespace', { rooms: 'public:a', namespace: '/shop' }, ['shopper']],
    ['a broadcast in another namespace', { broadcast: true, namespace: '/shop' }, ['shopper']],
    ['a socket id in its namespace', (id) => ({ users: id.shopper, namespace: '/shop' }), ['shopper']],
    ['a socket id of another namespace', (id) => ({ users: id.ada, namespace: '/shop' }), []],
    ['the default namespace by name', { rooms: 'public:a', namespace: '/' }, ['ada', 'bob']],
    ['volatile reaches those who are connected', { rooms: 'admin', volatile: true }, ['ada']],
    ['empty lists beside a target', { rooms: [], users: [], broadcast: true }, all],
  ];

  for (const [title, describeBody, expected] of cases) {
    test(title, async () => {
      const ids = Object.fromEntries(Object.entries(people).map(([name, { id }]) => [name, id]));
      const given = typeof describeBody === 'function' ? describeBody(ids) : describeBody;
      const body = typeof given === 'string' ? given : { payload: { n: 1 }, ...given };
      const payload = (typeof body === 'string' ? JSON.parse(body) : body).payload;

      assertPublished(await gateway.post('/targets', body), expected.length);

      const names = Object.keys(people);
      const lists = await heard(names.map((name) => people[name]));
      names.forEach((name, i) => {
        const got = lists[i].map(([event, envelope, ...more]) => [event, envelope?.payload, more.length]);
        const wanted = expected.includes(name) ? [['targets', payload, 0]] : [];
        assert.deepEqual(got, wanted, name);
      });
    });
  }

  test('a room with the name of a socket id gets nothing of that socket', async (t) => {
    const owner = await Listener.open(t, gateway);
    const curious = await Listener.open(t, gateway, { rooms: [owner.id] });
    const post = (body) => gateway.post('/targets', body);
    assertPublished(await post({ users: owner.id, payload: 'by users' }), 1);
    assertPublished(await post({ payload: { own: owner.id } }), 1);
    assertPublished(await post({ rooms: owner.id, payload: 'by rooms' }), 1);
    const payloads = (await heard([owner, curious])).map((list) => list.map(([, { payload }]) => payload));
    assert.deepEqual(payloads, [['by users', { own: owner.id }], ['by rooms']]);
  });

  test('a socket id ends with its socket', async (t) => {
    const guest = await Listener.open(t, gateway);
    const body = { users: guest.id, payload: 1 };
    assertPublished(await gateway.post('/targets', body), 1);
    guest.close();
    await eventually(
      async () => assertPublished(await gateway.post('/targets', body)).sockets === 0,
      'the socket to be gone',
    );
  });

  test('leaving a room ends its events', async (t) => {
    const guest = await Listener.open(t, gateway, { rooms: ['public:guest'] });
    assertPublished(await gateway.post('/targets', { rooms: 'public:guest', payload: 1 }), 1);
    const left = await ask(guest.socket, 'unsubscribe', 'public:guest');
    assert.equal(left.status, 'ok');
    assertPublished(await gateway.post('/targets', { rooms: 'public:guest', payload: 2 }), 0);
    assert.deepEqual(
      (await heard([guest]))[0].map(([, envelope]) => envelope.payload),
      [1],
    );
  });

  test('the count is of sockets, not of ids or rooms', async (t) => {
    const sockets = [];
    for (let i = 0; i < 5; i += 1) {
      sockets.push(await Listener.open(t, gateway, { rooms: ['public:many', 'public:more'] }));
    }
    const body = { users: sockets.map(({ id }) => id), rooms: ['public:many', 'public:more'], payload: 0 };
    assertPublished(await gateway.post('/targets', body), 5);
    for (const list of await heard(sockets)) assert.equal(list.length, 1);
  });
});

describe('what is received', () => {
  let gateway;
  before(async () => {
    gateway = await startGateway({ config: 'namespaces = ["/", "/shop"]\n' });
  });
  after(() => gateway?.end());

  /** A raw client in the room `raw`, whose frames can be compared byte by byte. */
  async function rawListener(t, from = gateway) {
    const websocket = await joined(from);
    t.after(() => websocket.close());
    websocket.sendText('420["subscribe",["raw"]]');
    assert.match(await websocket.nextText(), /^430\[\{"status":"ok"/);
    return websocket;
  }

  // The publisher's own text must arrive: parsing and printing again would change each of these.
  const texts = [
    ['an object in the publisher\'s key order', '{"b":1,"a":2,"10":3,"2":4}'],
    ['a number beyond 64 bits', '12345678901234567890123'],
    ['a number beyond 53 bits', '{"id":12345678901234567890,"n":9007199254740993}'],
    ['a fraction that is whole', '{"price":1.0,"zero":-0,"e":1E+2}'],
    ['more digits than a double holds', '0.1234567890123456789012345678901234567890'],
    ['a number beyond every double', '1e400'],
    ['escaped slashes', '"https:\\/\\/example.test\\/a"'],
    ['escapes that are not needed', '"\\u0041\\u00e9\\ud83d\\ude00\\u2028"'],
    ['half a surrogate pair', '"\\ud800"'],
    ['text beyond ASCII', '"é€😀\u2028"'],
    ['a control character in an escape', '"\\u0000\\u001e\\u007f"'],
    ['a member twice', '{"a":1,"a":2}'],
    ['whitespace inside', '{ "a" :\t[ 1 ,\n 2 ]\r\n }'],
    ['names that mean something elsewhere', '{"__proto__":{"x":1},"_placeholder":true,"num":0,"rooms":9,"sender":9}'],
    ['quotes and brackets in text', '"]}\\",\\\\"'],
    ['null', 'null'],
    ['false', 'false'],
    ['an empty string', '""'],
    ['an empty array', '[]'],
    ['a deep but sane nesting', `${'['.repeat(100)}${']'.repeat(100)}`],
    ['own, which stays in the payload', '{"own": ["nobody"],"a":1}'],
    ['200 KB', `"${'x'.repeat(200_000)}"`],
  ];

  for (const [title, text] of texts) {
    test(`the publisher's text: ${title}`, async (t) => {
      const raw = await rawListener(t);
      assertPublished(await gateway.post('/text', `{"payload":${text},"rooms":["raw"]}`), 1);
      assert.equal(await raw.nextText(), `42["text",{"payload":${text},"rooms":["raw"]}]`);

      assertPublished(await gateway.post('/text?deliver=payload', `{"rooms":["raw"],"payload":${text}}`), 1);
      assert.equal(await raw.nextText(), `42["text",${text}]`);
    });
  }

  const envelopes = [
    ['payload and rooms', '{"payload":1,"rooms":["raw"]}', '{"payload":1,"rooms":["raw"]}'],
    ['rooms stay as they were written', '{"payload":1,"rooms":[ "raw", 42,1.0 ]}', '{"payload":1,"rooms":[ "raw", 42,1.0 ]}'],
    ['a string stays a string', '{"payload":1,"rooms":"raw"}', '{"payload":1,"rooms":"raw"}'],
    ['the sender', '{"payload":1,"rooms":"raw","sender":{"id":7}}', '{"payload":1,"rooms":"raw","sender":{"id":7}}'],
    ['broadcast without rooms has no rooms', '{"payload":1,"broadcast":true}', '{"payload":1}'],
    [
      'nothing else is passed on',
      '{"payload":1,"rooms":"raw","users":["u"],"broadcast":true,"except":["e"],"namespace":"/","volatile":false,"id":"envelope-1"}',
      '{"payload":1,"rooms":"raw"}',
    ],
  ];

  for (const [title, body, envelope] of envelopes) {
    test(`the envelope: ${title}`, async (t) => {
      const raw = await rawListener(t);
      assertPublished(await gateway.post('/envelope', body), 1);
      assert.equal(await raw.nextText(), `42["envelope",${envelope}]`);
    });
  }

  test('the order of the body\'s members does not matter', async (t) => {
    const listener = await Listener.open(t, gateway, { rooms: ['raw'] });
    const body = ' { "sender" : { "id" : 7 } ,\n "rooms" : [ "raw" ] , "payload" : { "a" : 1 } } ';
    assertPublished(await gateway.post('/envelope', body), 1);
    const [list] = await heard([listener]);
    assert.deepEqual(list, [['envelope', { payload: { a: 1 }, rooms: ['raw'], sender: { id: 7 } }]]);
  });

  test('one argument, on WebSocket and on polling', async (t) => {
    const listeners = [
      await Listener.open(t, gateway, { rooms: ['one'] }),
      await Listener.open(t, gateway, { rooms: ['one'], transports: ['polling'] }),
    ];
    assertPublished(await gateway.post('/one', { rooms: 'one', payload: { n: 1 } }), 2);
    for (const list of await heard(listeners)) {
      assert.deepEqual(list, [['one', { payload: { n: 1 }, rooms: 'one' }]]);
    }
  });

  test('deliver=envelope is the default by name', async (t) => {
    const raw = await rawListener(t);
    assertPublished(await gateway.post('/d?deliver=envelope', '{"payload":1,"rooms":"raw"}'), 1);
    assert.equal(await raw.nextText(), '42["d",{"payload":1,"rooms":"raw"}]');
  });

  test('another value of deliver is refused', async () => {
    assertRefused(await gateway.post('/d?deliver=payloads', { rooms: 'raw', payload: 1 }), {
      status: 422,
      code: 'invalid_value',
      detail: /deliver/,
    });
  });

  describe('deliver = "payload" in the configuration', () => {
    let bare;
    before(async () => {
      bare = await startGateway({ config: '[publish]\ndeliver = "payload"\n' });
    });
    after(() => bare?.end());

    test('the payload alone is emitted', async (t) => {
      const raw = await rawListener(t, bare);
      assertPublished(await bare.post('/d', '{"rooms":"raw","payload":{ "a":1.0 },"sender":{"id":1}}'), 1);
      assert.equal(await raw.nextText(), '42["d",{ "a":1.0 }]');
    });

    test('the query wins over the configuration', async (t) => {
      const raw = await rawListener(t, bare);
      assertPublished(await bare.post('/d?deliver=envelope', '{"rooms":"raw","payload":1}'), 1);
      assert.equal(await raw.nextText(), '42["d",{"payload":1,"rooms":"raw"}]');
    });
  });

  // Sender as sent, setting, what of it must arrive.
  const SECRETS = '{"id":7,"token":"s3cret","cookie":"s3cret","sessionId":"s3cret","name":"Ada"}';
  const senders = [
    ['secrets are removed', SECRETS, undefined, { id: 7, name: 'Ada' }],
    ['a secret spelt with escapes is removed', '{"id":1,"to\\u006ben":"s3cret","\\u0063ookie":"s3cret"}', undefined, { id: 1 }],
    ['a secret given twice is removed twice', '{"token":"s3cret","id":1,"token":"s3cret"}', undefined, { id: 1 }],
    ['a secret that is an object is removed whole', '{"token":{"a":["s3cret"]},"id":1}', undefined, { id: 1 }],
    ['only secrets leave an empty sender', '{"token":"s3cret"}', undefined, {}],
    ['nested members of these names stay', '{"app":{"token":"keep","cookie":["keep"]}}', undefined, { app: { token: 'keep', cookie: ['keep'] } }],
    ['values of these names stay', '{"id":"token"}', undefined, { id: 'token' }],
    ['an empty list passes everything on', SECRETS, '[]', JSON.parse(SECRETS)],
    ['another list replaces the default', '{"token":"t","ip":"s3cret","id":1}', '["ip"]', { token: 't', id: 1 }],
  ];
  for (const [title, sender, setting, expected] of senders) {
    test(`sender: ${title}`, async (t) => {
      let from = gateway;
      if (setting) {
        from = await startGateway({ config: `[publish]\nsender_redact = ${setting}\n` });
        t.after(() => from.end());
      }
      const raw = await rawListener(t, from);
      assertPublished(await from.post('/s', `{"payload":1,"rooms":"raw","sender":${sender}}`), 1);
      const frame = await raw.nextText();
      const [, envelope, ...more] = JSON.parse(frame.slice(2));
      assert.deepEqual([envelope, more], [{ payload: 1, rooms: 'raw', sender: expected }, []]);
      const leaks = setting !== '[]' && frame.includes('s3cret');
      assert.equal(leaks, false, `a secret reached the clients: ${frame}`);
    });
  }

  test('sender: what is not removed keeps its text', async (t) => {
    const raw = await rawListener(t);
    const body = '{"payload":1,"rooms":"raw","sender":{"n":1.0,"token":"x","big":12345678901234567890,"u":"\\/"}}';
    assertPublished(await gateway.post('/s', body), 1);
    assert.equal(
      await raw.nextText(),
      '42["s",{"payload":1,"rooms":"raw","sender":{"n":1.0,"big":12345678901234567890,"u":"\\/"}}]',
    );
  });

  test('events reach a client in the order of their publishing', async (t) => {
    const listener = await Listener.open(t, gateway, { rooms: ['order'] });
    for (let n = 0; n < 200; n += 1) {
      assertPublished(await gateway.post('/order', { rooms: 'order', payload: n }), 1);
    }
    const [list] = await heard([listener]);
    assert.deepEqual(
      list.map(([, envelope]) => envelope.payload),
      Array.from({ length: 200 }, (_, n) => n),
    );
  });

  test('the reply has an id of its own for each event', async () => {
    const first = assertPublished(await gateway.post('/r', { rooms: 'nobody', payload: 1 }), 0);
    const second = assertPublished(await gateway.post('/r', { rooms: 'nobody', payload: 1 }), 0);
    assert.notEqual(first.id, second.id);
    const named = assertPublished(await gateway.post('/r', { rooms: 'nobody', payload: 1, id: 'mine' }), 0);
    assert.equal(named.id, 'mine');
  });
});
