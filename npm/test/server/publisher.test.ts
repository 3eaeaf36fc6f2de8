// Publisher against servers that answer as gateways do, and as they never would.

import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { Publisher, PublishError, type PublishOptions } from '@medyll/idae-socket/server';
import { freePort } from '../gateway.js';

interface Answer {
  status?: number;
  headers?: Record<string, string>;
  body?: string;
}

/** A server with one answer, and what it was asked. */
async function answering({ status = 200, headers = {}, body = '{"status":"ok","id":"1","sockets":0}' }: Answer) {
  const requests: { request: IncomingMessage; body: any }[] = [];
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    requests.push({ request, body: JSON.parse(text) });
    response.writeHead(status, headers).end(body);
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  onTestFinished(() => void server.closeAllConnections());
  onTestFinished(() => void server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

type Publish = (publisher: Publisher) => Promise<unknown>;

test.each<[string, Publish, string, object]>([
  ['a room', (to) => to.toRoom('a', 'x', 1), '/x', { rooms: 'a', payload: 1 }],
  ['rooms', (to) => to.toRoom(['a', 'b'], 'x', null), '/x', { rooms: ['a', 'b'], payload: null }],
  ['a user', (to) => to.toUser(42, 'x', 'text'), '/x', { users: 42, payload: 'text' }],
  ['everybody', (to) => to.toAll('x', { a: [] }), '/x', { broadcast: true, payload: { a: [] } }],
  ['no payload', (to) => to.toAll('x', undefined), '/x', { broadcast: true, payload: null }],
  ['a name with slashes and colons', (to) => to.toAll('component/a:b', 1), '/component/a%3Ab', { broadcast: true, payload: 1 }],
  ['a name that no URL takes', (to) => to.toAll('a?b#c%', 1), '/a%3Fb%23c%25', { broadcast: true, payload: 1 }],
  ['options', (to) => to.toAll('x', 1, { id: 'i', namespace: '/n', volatile: true, deliver: 'payload', except: ['s'] }), '/x?deliver=payload', {
    broadcast: true, payload: 1, id: 'i', namespace: '/n', volatile: true, except: ['s'],
  }],
  ['an option that is undefined', (to) => to.toAll('x', 1, { id: undefined } as PublishOptions), '/x', { broadcast: true, payload: 1 }],
])('to %s', async (_, publish, path, body) => {
  const { url, requests } = await answering({});
  expect(await publish(new Publisher({ url, key: 'k' }))).toEqual({ status: 'ok', id: '1', sockets: 0 });
  const [{ request, body: sent } = {}] = requests as [any];
  expect([request.method, request.url, sent]).toEqual(['POST', path, body]);
  expect(request.headers).toMatchObject({ authorization: 'Bearer k', 'content-type': 'application/json' });
  // The gateway refuses what a web page could have sent.
  expect(request.headers).not.toHaveProperty('origin');
  expect(request.headers).not.toHaveProperty('sec-fetch-site');
});

test.each([
  ['a path', (url: string) => `${url}/gw`, '/gw/a/b'],
  ['a path with a slash', (url: string) => `${url}/gw/`, '/gw/a/b'],
  ['no scheme', (url: string) => url.replace('http://', ''), '/a/b'],
])('an address with %s', async (_, address, path) => {
  const { url, requests } = await answering({});
  await new Publisher({ url: address(url) }).toAll('a/b', 1);
  expect(requests[0]?.request.url).toBe(path);
});

test.each<[any, RegExp]>([
  [undefined, /address is missing.*http:\/\/localhost:4000/],
  [{}, /address is missing/],
  [{ url: '' }, /address is missing/],
  [{ url: 'http://' }, /no address/],
  [{ url: 'ftp://localhost' }, /scheme `ftp`/],
])('%j is no address', (options, sentence) => {
  expect(() => new Publisher(options)).toThrow(sentence);
});

test.each<[string, Answer, object]>([
  ['a problem', {
    status: 422,
    body: '{"title":"T","status":422,"detail":"D","code":"c","errors":[{"pointer":"/a","detail":"E"}]}',
  }, { status: 422, code: 'c', detail: 'D', message: 'D (c)', errors: [{ pointer: '/a', detail: 'E' }], retryAfter: undefined }],
  ['a problem that passes', { status: 503, headers: { 'retry-after': '7' }, body: '{"code":"draining","detail":"D"}' }, {
    status: 503, code: 'draining', retryAfter: 7, errors: [],
  }],
  ['a proxy\'s page', { status: 502, body: '<html>' }, { status: 502, code: 'unexpected_answer', retryAfter: undefined }],
])('%s is a PublishError', async (_, answer, expected) => {
  const { url } = await answering(answer);
  const error = await new Publisher({ url }).toAll('x', 1).catch((error) => error);
  expect(error).toBeInstanceOf(PublishError);
  expect(error).toMatchObject(expected);
});

test('nobody there', async () => {
  const url = `http://127.0.0.1:${await freePort()}`;
  await expect(new Publisher({ url }).toAll('x', 1)).rejects.toMatchObject({
    status: 0,
    code: 'gateway_unreachable',
    detail: `the gateway at ${url} does not answer: ECONNREFUSED`,
  });
});

test('no answer in time', async () => {
  const server = createServer(() => {});
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await expect(new Publisher({ url, timeoutMs: 50 }).toAll('x', 1)).rejects.toMatchObject({
    status: 0,
    code: 'gateway_unreachable',
    detail: expect.stringMatching(/does not answer: .*tim/i),
  });
});
