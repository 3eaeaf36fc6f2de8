// Every refusal is a problem object with the right status, code and headers, and nothing is
// published by a request that was refused.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startGateway } from '../harness/gateway.js';
import { RawConnection, request, requestBytes } from '../harness/raw.js';
import { Listener, assertPublished, assertRefused, heard } from './publishing.js';

const BODY_BYTES_MAX = 262_144;
const MALFORMED = { status: 400, code: 'malformed_json' };
const TOO_LARGE = { status: 413, code: 'payload_too_large' };
const invalid = (code, pointer, detail) => ({ status: 422, code, pointer, detail });

let gateway;
let listener;
before(async () => {
  gateway = await startGateway({ config: 'namespaces = ["/", "/shop"]\n' });
  // In a room that every bad request below names: what slips through is heard here.
  listener = await Listener.open(undefined, gateway, { rooms: ['r'] });
});
after(async () => {
  listener?.close();
  await gateway?.end();
});

const silent = async () => assert.deepEqual(await heard([listener]), [[]]);

describe('bodies that are not JSON', () => {
  const deep = (levels) => `{"rooms":["r"],"payload":${'['.repeat(levels)}${']'.repeat(levels)}}`;
  const cases = [
    ['an empty body', '', { status: 400, code: 'empty_body' }],
    ['a word', 'hello', MALFORMED],
    ['an open brace', '{', MALFORMED],
    ['a cut-off body', '{"rooms":["r"],"payload":{"a":', MALFORMED],
    ['text after the object', '{"rooms":["r"],"payload":1} x', MALFORMED],
    ['two objects', '{"rooms":["r"],"payload":1}{"rooms":["r"],"payload":2}', MALFORMED],
    ['a comma too many in the object', '{"rooms":["r"],"payload":1,}', MALFORMED],
    ['a comma too many in the payload', '{"rooms":["r"],"payload":[1,]}', MALFORMED],
    ['single quotes', "{'rooms':['r'],'payload':1}", MALFORMED],
    ['names without quotes', '{rooms:["r"],payload:1}', MALFORMED],
    ['a comment', '{"rooms":["r"],/* why */"payload":1}', MALFORMED],
    ['NaN', '{"rooms":["r"],"payload":NaN}', MALFORMED],
    ['Infinity', '{"rooms":["r"],"payload":-Infinity}', MALFORMED],
    ['undefined', '{"rooms":["r"],"payload":undefined}', MALFORMED],
    ['a number with a leading zero', '{"rooms":["r"],"payload":01}', MALFORMED],
    ['a number with a leading plus', '{"rooms":["r"],"payload":+1}', MALFORMED],
    ['a number without digits after the point', '{"rooms":["r"],"payload":1.}', MALFORMED],
    ['a hexadecimal number', '{"rooms":["r"],"payload":0x10}', MALFORMED],
    ['a line break in a string', '{"rooms":["r"],"payload":"a\nb"}', MALFORMED],
    ['an unknown escape', '{"rooms":["r"],"payload":"\\x41"}', MALFORMED],
    ['a cut-off escape', '{"rooms":["r"],"payload":"\\u12"}', MALFORMED],
    ['a NUL after the object', '{"rooms":["r"],"payload":1}\0', MALFORMED],
    ['a byte order mark', Buffer.from('\ufeff{"rooms":["r"],"payload":1}'), MALFORMED],
    ['bytes that are not UTF-8', Buffer.from('{"rooms":["r"],"payload":"\xff\xfe"}', 'latin1'), MALFORMED],
    ['a cut-off UTF-8 character', Buffer.from('{"rooms":["r"],"payload":"\xc3"}', 'latin1'), MALFORMED],
    ['UTF-8 that spells ASCII too long', Buffer.from('{"rooms":["r"],"payload":"\xc0\xaf"}', 'latin1'), MALFORMED],
    ['UTF-16', Buffer.from('{"rooms":["r"],"payload":1}', 'utf16le'), MALFORMED],
    ['gzip', Buffer.from('1f8b0800000000000003ab56', 'hex'), MALFORMED],
    ['100,000 levels', deep(100_000), MALFORMED],
    ['100,000 open brackets', `{"rooms":["r"],"payload":${'['.repeat(100_000)}`, MALFORMED],
    ['100,000 levels of rooms', `{"payload":1,"rooms":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, MALFORMED],
  ];
  for (const [title, body, expected] of cases) {
    test(title, async () => {
      assertRefused(await gateway.post('/e', body), expected);
      await silent();
    });
  }

  test('100 levels are fine', async () => {
    assertPublished(await gateway.post('/e', deep(100)), 1);
    assert.equal((await heard([listener]))[0].length, 1);
  });
});

describe('bodies that say something impossible', () => {
  const cases = [
    ['an array', '[]', invalid('invalid_type', '')],
    ['an array of one event', '[{"rooms":["r"],"payload":1}]', invalid('invalid_type', '')],
    ['a string', '"hello"', invalid('invalid_type', '')],
    ['null', 'null', invalid('invalid_type', '')],
    ['a number', '1', invalid('invalid_type', '')],

    ['no payload', { rooms: ['r'] }, invalid('missing_payload', undefined, /payload/)],
    ['no target', { payload: 1 }, invalid('no_target', undefined, /rooms, users, payload\.own or broadcast:true/)],
    ['only empty targets', { payload: { own: [] }, rooms: [], users: [] }, invalid('no_target')],
    ['broadcast false is no target', { payload: 1, broadcast: false }, invalid('no_target')],
    ['except is no target', { payload: 1, except: ['x'] }, invalid('no_target')],
    ['own in an array is no target', { payload: [{ own: 'u' }] }, invalid('no_target')],

    ['room for rooms', { room: ['r'], payload: 1 }, invalid('unknown_field', '/room', /did you mean.*\brooms\b/i)],
    ['Payload for payload', { rooms: ['r'], Payload: 1 }, invalid('unknown_field', '/Payload', /did you mean.*\bpayload\b/i)],
    ['brodcast for broadcast', { rooms: ['r'], payload: 1, brodcast: true }, invalid('unknown_field', '/brodcast', /did you mean.*\bbroadcast\b/i)],
    ['name_space for namespace', { rooms: ['r'], payload: 1, name_space: '/' }, invalid('unknown_field', '/name_space', /did you mean.*\bnamespace\b/i)],
    ['user for users', { rooms: ['r'], payload: 1, user: 'u' }, invalid('unknown_field', '/user', /did you mean.*\busers\b/i)],
    ['a field unlike any other', { rooms: ['r'], payload: 1, zzzzzzzzzz: 1 }, invalid('unknown_field', '/zzzzzzzzzz')],
    ['a field with a slash and a tilde', { rooms: ['r'], payload: 1, 'a/b~c': 1 }, invalid('unknown_field', '/a~1b~0c')],
    ['a field without a name', { rooms: ['r'], payload: 1, '': 1 }, invalid('unknown_field', '/')],
    ['event, which belongs to a batch', { rooms: ['r'], payload: 1, event: 'e' }, invalid('unknown_field', '/event')],
    ['__proto__', '{"rooms":["r"],"payload":1,"__proto__":{}}', invalid('unknown_field', '/__proto__')],

    ['rooms twice', '{"rooms":["r"],"rooms":["q"],"payload":1}', invalid('duplicate_field', '/rooms')],
    ['payload twice', '{"rooms":["r"],"payload":1,"payload":2}', invalid('duplicate_field', '/payload')],
    ['rooms twice, once in escapes', '{"rooms":["r"],"\\u0072ooms":["q"],"payload":1}', invalid('duplicate_field', '/rooms')],

    ['a boolean in rooms', { rooms: [true], payload: 1 }, invalid('invalid_type', '/rooms/0')],
    ['null in rooms', { rooms: ['r', null], payload: 1 }, invalid('invalid_type', '/rooms/1')],
    ['an object in rooms', { rooms: ['r', 'q', {}], payload: 1 }, invalid('invalid_type', '/rooms/2')],
    ['an array in rooms', { rooms: [['r']], payload: 1 }, invalid('invalid_type', '/rooms/0')],
    // JSON allows it, but no room can have such a name: it is not text.
    ['half a surrogate pair as a room', '{"rooms":["r","\\ud800"],"payload":1}', invalid('invalid_type', '/rooms/1')],
    ['rooms as an object', { rooms: { r: true }, payload: 1 }, invalid('invalid_type', '/rooms')],
    ['rooms as a boolean', { rooms: true, payload: 1 }, invalid('invalid_type', '/rooms')],
    ['users as an object', { rooms: ['r'], users: {}, payload: 1 }, invalid('invalid_type', '/users')],
    ['a boolean in users', { rooms: ['r'], users: ['u', false], payload: 1 }, invalid('invalid_type', '/users/1')],
    ['payload.own as an object', { rooms: ['r'], payload: { own: {} } }, invalid('invalid_type', '/payload/own')],
    ['a boolean in payload.own', { rooms: ['r'], payload: { own: ['u', true] } }, invalid('invalid_type', '/payload/own/1')],
    ['except as an object', { rooms: ['r'], except: {}, payload: 1 }, invalid('invalid_type', '/except')],
    ['a boolean in except', { rooms: ['r'], except: [true], payload: 1 }, invalid('invalid_type', '/except/0')],
    ['broadcast as text', { broadcast: 'true', payload: 1 }, invalid('invalid_type', '/broadcast')],
    ['broadcast as a number', { broadcast: 1, payload: 1 }, invalid('invalid_type', '/broadcast')],
    ['volatile as text', { rooms: ['r'], volatile: 'yes', payload: 1 }, invalid('invalid_type', '/volatile')],
    ['namespace as a number', { rooms: ['r'], namespace: 1, payload: 1 }, invalid('invalid_type', '/namespace')],
    ['sender as text', { rooms: ['r'], sender: 'ada', payload: 1 }, invalid('invalid_type', '/sender')],
    ['sender as an array', { rooms: ['r'], sender: [], payload: 1 }, invalid('invalid_type', '/sender')],
    ['id as a number', { rooms: ['r'], id: 7, payload: 1 }, invalid('invalid_type', '/id')],

    ['an empty room', { rooms: ['r', ''], payload: 1 }, invalid('invalid_value', '/rooms/1')],
    ['an empty user', { rooms: ['r'], users: [''], payload: 1 }, invalid('invalid_value', '/users/0')],
    ['an empty id', { rooms: ['r'], id: '', payload: 1 }, invalid('invalid_value', '/id')],
    ['an id of 129 characters', { rooms: ['r'], id: 'i'.repeat(129), payload: 1 }, invalid('invalid_value', '/id', /128/)],
    ['an unknown namespace', { rooms: ['r'], namespace: '/nope', payload: 1 }, invalid('unknown_namespace', '/namespace')],
    ['a namespace in another case', { rooms: ['r'], namespace: '/SHOP', payload: 1 }, invalid('unknown_namespace', '/namespace')],
  ];
  for (const [title, body, expected] of cases) {
    test(title, async () => {
      assertRefused(await gateway.post('/e', body), expected);
      await silent();
    });
  }
});

describe('what is nearly right is named', () => {
  const body = '{"rooms":["r"],"payload":1}';
  const cases = [
    ['a byte order mark', { body: `\ufeff${body}` }, 'malformed_json', /byte order mark \(BOM\)/],
    ['a compressed body', { body, headers: { 'Content-Encoding': 'gzip' } }, 'unsupported_media_type', /content-encoding: gzip/],
    ['a misspelt query parameter', { path: '/e?delivr=payload', body }, 'unknown_field', /`delivr`.*`deliver`/],
    ['the path of batches, nearly', { path: '/v1/event', body }, 'event_not_found', /\/v1\/events/],
    ['the console at a path', { method: 'GET', path: '/console' }, 'event_not_found', /the console is at \//],
  ];
  for (const [title, { headers, ...asked }, code, detail] of cases) {
    test(title, async () => {
      const response = await request(gateway, {
        method: 'POST',
        path: '/e',
        ...asked,
        headers: { 'Content-Type': 'application/json', ...headers },
      });
      const problem = JSON.parse(response.text);
      assert.equal(problem.code, code);
      assert.match(problem.detail, detail);
      await silent();
    });
  }
});

describe('sizes', () => {
  /** A valid body of exactly this many bytes. */
  const sized = (bytes) => {
    const empty = '{"rooms":["r"],"payload":""}';
    return `{"rooms":["r"],"payload":"${'x'.repeat(bytes - empty.length)}"}`;
  };
  const head = { 'content-type': 'application/json' };
  const chunked = (text) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;

  test('a body of the limit is taken', async () => {
    assertPublished(await gateway.post('/e', sized(BODY_BYTES_MAX)), 1);
    const [[[, envelope]]] = await heard([listener]);
    assert.equal(envelope.payload.length, BODY_BYTES_MAX - 28);
  });

  test('one byte more is not', async () => {
    const response = await gateway.post('/e', sized(BODY_BYTES_MAX + 1));
    assertRefused(response, { ...TOO_LARGE, detail: /262144|262,144/ });
    await silent();
  });

  test('an announced body over the limit is refused before it is sent', async (t) => {
    const connection = await RawConnection.open(gateway);
    t.after(() => connection.socket.destroy());
    connection.write(
      requestBytes({ method: 'POST', path: '/e', headers: { ...head, 'Content-Length': '1000000000000' } }),
    );
    assertRefused(await connection.response(), TOO_LARGE);
  });

  test('a length beyond 64 bits is refused', async (t) => {
    const connection = await RawConnection.open(gateway);
    t.after(() => connection.socket.destroy());
    connection.write(
      requestBytes({ method: 'POST', path: '/e', headers: { ...head, 'Content-Length': '99999999999999999999999' } }),
    );
    const response = await connection.response();
    assert.ok([400, 413].includes(response.status), `${response.status} ${response.text}`);
  });

  test('a chunked body within the limit is taken', async () => {
    const [first, second] = ['{"rooms":["r"],"pay', 'load":"in two parts"}'];
    const response = await request(gateway, {
      method: 'POST',
      path: '/e',
      headers: { ...head, 'Transfer-Encoding': 'chunked' },
      body: `${chunked(first)}${chunked(second)}0\r\n\r\n`,
    });
    assertPublished(response, 1);
    const [[[, envelope]]] = await heard([listener]);
    assert.equal(envelope.payload, 'in two parts');
  });

  test('a chunked body of the limit is taken, one byte more is not', async () => {
    const send = (bytes) =>
      request(gateway, {
        method: 'POST',
        path: '/e',
        headers: { ...head, 'Transfer-Encoding': 'chunked' },
        body: `${chunked(sized(bytes))}0\r\n\r\n`,
      });
    assertPublished(await send(BODY_BYTES_MAX), 1);
    assertRefused(await send(BODY_BYTES_MAX + 1), TOO_LARGE);
    assert.equal((await heard([listener]))[0].length, 1);
  });

  test('an endless chunked body is cut off', async (t) => {
    const connection = await RawConnection.open(gateway);
    t.after(() => connection.socket.destroy());
    const piece = chunked('x'.repeat(16_384));
    connection.write(
      requestBytes({
        method: 'POST',
        path: '/e',
        headers: { ...head, 'Transfer-Encoding': 'chunked' },
        body: `${chunked('{"rooms":["r"],"payload":"')}${piece.repeat(17)}`,
      }),
    );
    // No last chunk: the answer must come although the request never ends. The gateway listens for
    // up to five seconds more, so that a sender who does end gets to read the answer.
    assertRefused(await connection.response({ waitMs: 10_000 }), TOO_LARGE);
    await silent();
  });

  test('the limit is a setting', async (t) => {
    const small = await startGateway({ config: '[publish]\nbody_bytes_max = 1000\n' });
    t.after(() => small.end());
    assertPublished(await small.post('/e', sized(1000)), 0);
    assertRefused(await small.post('/e', sized(1001)), TOO_LARGE);
  });

  test('a connection that ends in the middle of a body publishes nothing', async () => {
    const connection = await RawConnection.open(gateway);
    const text = JSON.stringify({ rooms: ['r'], payload: 1 });
    connection.write(
      requestBytes({ method: 'POST', path: '/e', headers: { ...head, 'Content-Length': String(text.length + 10) }, body: text }),
    );
    connection.close();
    await connection.closed();
    await silent();
  });
});

describe('content types', () => {
  const good = [
    'application/json',
    'application/json; charset=utf-8',
    'application/json;charset="UTF-8"',
    'Application/JSON',
  ];
  for (const type of good) {
    test(`${type} is taken`, async () => {
      assertPublished(await gateway.post('/e', { rooms: ['r'], payload: 1 }, { 'content-type': type }), 1);
      assert.equal((await heard([listener]))[0].length, 1);
    });
  }

  const bad = [
    'text/plain',
    'text/plain; x=application/json',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=application/json',
    'application/jsonp',
    'application/x-json',
    'application/ld+json',
    'text/json',
    'application/x-ndjson',
    '*/*',
    'json',
    '',
    undefined,
  ];
  for (const type of bad) {
    test(`${type === undefined ? 'none' : JSON.stringify(type)} is refused`, async () => {
      const response = await request(gateway, {
        method: 'POST',
        path: '/e',
        headers: type === undefined ? {} : { 'Content-Type': type },
        body: JSON.stringify({ rooms: ['r'], payload: 1 }),
      });
      assertRefused(response, {
        status: 415,
        code: 'unsupported_media_type',
        detail: /application\/json/,
      });
      await silent();
    });
  }

  test('a form to /v1/events is refused', async () => {
    const response = await gateway.post('/v1/events', 'a=b', {
      'content-type': 'application/x-www-form-urlencoded',
    });
    assertRefused(response, { status: 415, code: 'unsupported_media_type', detail: /x-ndjson/ });
  });
});

describe('methods', () => {
  const wrong = { status: 405, code: 'method_not_allowed', headers: { allow: /\bPOST\b/ } };
  for (const path of ['/db-change', '/component/refresh', '/v1/events']) {
    for (const method of ['GET', 'PUT', 'PATCH', 'DELETE', 'PROPFIND']) {
      test(`${method} ${path}`, async () => {
        const response = await request(gateway, { method, path });
        assertRefused(response, wrong);
        assert.doesNotMatch(response.headers.allow, new RegExp(`\\b${method}\\b`));
      });
    }
  }

  test('HEAD is refused without a body', async () => {
    const response = await request(gateway, { method: 'HEAD', path: '/db-change' });
    assert.equal(response.status, 405);
    assert.match(response.headers.allow ?? '', /\bPOST\b/);
    assert.equal(response.body.length, 0);
  });

  test('a PUT with a publishable body publishes nothing', async () => {
    const response = await request(gateway, {
      method: 'PUT',
      path: '/e',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ rooms: ['r'], payload: 1 }),
    });
    assertRefused(response, wrong);
    await silent();
  });

  test('a preflight gets no permission', async () => {
    const response = await request(gateway, {
      method: 'OPTIONS',
      path: '/db-change',
      headers: {
        Origin: 'http://evil.test',
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'content-type',
      },
    });
    assert.equal(response.headers['access-control-allow-origin'], undefined);
    assert.equal(response.headers['access-control-allow-headers'], undefined);
    // The page is at fault and not its method.
    assert.equal(JSON.parse(response.text).code, 'browser_request');
  });
});

test('a connection is still good after each refusal', async (t) => {
  const connection = await RawConnection.open(gateway);
  t.after(() => connection.socket.destroy());
  const send = async (body, path = '/e') => {
    connection.write(
      requestBytes({ method: 'POST', path, headers: { 'Content-Type': 'application/json' }, body }),
    );
    return connection.response();
  };
  assertRefused(await send('{'), MALFORMED);
  assertRefused(await send('{"payload":1}'), invalid('no_target'));
  assertRefused(await send('{"payload":1,"rooms":"r"}', '/connect'), { status: 404, code: 'event_not_found' });
  assertPublished(await send('{"payload":1,"rooms":"r"}'), 1);
  assert.equal((await heard([listener]))[0].length, 1);
});

test('a refusal does not repeat the payload', async () => {
  // What a backend publishes may be private; problems end up in logs and bug reports.
  const secret = 'very-private-content';
  for (const body of [
    { rooms: [true], payload: secret },
    `{"rooms":["r"],"payload":"${secret}"`,
    { payload: { secret } },
  ]) {
    const response = await gateway.post('/e', body);
    assert.ok(response.status >= 400);
    assert.ok(!response.text.includes(secret), response.text);
  }
  assert.ok(!gateway.logs.includes(secret), 'the payload is in the log');
});
