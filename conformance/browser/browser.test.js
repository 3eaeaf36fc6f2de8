// A real browser: a page of a foreign origin can neither publish nor listen, a page of an
// allowed origin can listen.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launchChromium } from '../harness/chromium.js';
import { WAIT_MS, eventually, within } from '../harness/events.js';
import { startGateway } from '../harness/gateway.js';
import { Listener, assertPublished, heard } from '../publish/publishing.js';

const BUNDLE = fileURLToPath(
  new URL('dist/socket.io.min.js', new URL('../node_modules/socket.io-client/', import.meta.url)),
);

/** Serves an empty page and the client's browser bundle, whatever the host name. */
async function servePages() {
  const bundle = readFileSync(BUNDLE);
  const server = createServer((request, response) => {
    if (request.url === '/socket.io.min.js') {
      response.setHeader('Content-Type', 'text/javascript');
      response.end(bundle);
      return;
    }
    response.setHeader('Content-Type', 'text/html');
    response.end('<!doctype html><title>page</title><script src="/socket.io.min.js"></script>');
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  return server;
}

/**
 * Takes every request and allows everything: what arrives here proves that the browser does send
 * it, so that silence at the gateway is the gateway's doing.
 */
async function serveCarelessly() {
  const bodies = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (text) => (body += text));
    request.on('end', () => {
      if (request.method === 'POST') bodies.push(body);
      response.setHeader('Access-Control-Allow-Origin', request.headers.origin ?? '*');
      response.setHeader('Access-Control-Allow-Credentials', 'true');
      response.setHeader('Access-Control-Allow-Headers', 'content-type');
      response.end('ok');
    });
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  return { server, bodies, url: `http://127.0.0.1:${server.address().port}` };
}

let browser;
let pages;
before(async () => {
  browser = await launchChromium({ hosts: ['evil.test', 'app.test'] });
  pages = await servePages();
});
after(async () => {
  await browser?.close();
  pages?.closeAllConnections();
  pages?.close();
});

const originOf = (host) => `http://${host}:${pages.address().port}`;

/** A page of this origin, with the client's bundle loaded. */
async function openPage(t, origin) {
  const page = await browser.newPage();
  page.setDefaultTimeout(WAIT_MS * 2);
  t.after(() => page.close());
  await page.goto(`${origin}/`);
  assert.equal(await page.evaluate(() => location.origin), origin);
  assert.equal(await page.evaluate(() => typeof window.io), 'function');
  return page;
}

/** Connects the stock client in the page; "connected" or the reason why not. */
const connectIn = (page, url, transports) =>
  page.evaluate(
    ([address, names]) =>
      new Promise((resolve) => {
        const socket = window.io(address, { transports: names, reconnection: false, forceNew: true });
        window.socket = socket;
        window.got = [];
        socket.onAny((...args) => window.got.push(args.slice(0, 2)));
        socket.on('connect', () => resolve('connected'));
        socket.on('connect_error', (error) => resolve(`refused: ${error.message}`));
      }),
    [url, transports],
  );

const JSON_TYPE = 'application/json';
const FORM_TYPES = ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data'];

// What a page may say to `fetch`.
const fetches = [
  ['JSON', { headers: { 'Content-Type': JSON_TYPE } }],
  ['JSON, no-cors', { mode: 'no-cors', headers: { 'Content-Type': JSON_TYPE } }],
  ['text, no-cors', { mode: 'no-cors', headers: { 'Content-Type': 'text/plain' } }],
  ['no content type', { mode: 'no-cors' }],
  [
    'credentials and no referrer',
    { mode: 'no-cors', credentials: 'include', referrerPolicy: 'no-referrer', keepalive: true },
  ],
];

// Every way in which a page can make the browser send a POST elsewhere: title, a function that
// runs in the page, its third argument. It returns 'over' when the request is over, or 'unknown'
// where a page is not told.
const attacks = [
  ...fetches.map(([title, options]) => [
    `fetch, ${title}`,
    (url, body, more) => {
      const bytes = more.headers ? body : new Blob([body]);
      const over = () => 'over';
      return fetch(url, { method: 'POST', body: bytes, ...more }).then(over, over);
    },
    options,
  ]),
  [
    'XMLHttpRequest',
    (url, body) =>
      new Promise((resolve) => {
        const request = new XMLHttpRequest();
        request.open('POST', url);
        request.onloadend = () => resolve('over');
        request.send(body);
      }),
  ],
  ...['', JSON_TYPE].map((beaconType) => [
    `sendBeacon${beaconType && ` with ${beaconType}`}`,
    (url, body, type) => navigator.sendBeacon(url, type ? new Blob([body], { type }) : body) && 'unknown',
    beaconType,
  ]),
  ...FORM_TYPES.map((formType) => [
    `a form, ${formType}`,
    (url, body, type) => {
      // A form's name and value meet at "=": split there, a text/plain form is valid JSON.
      const middle = body.indexOf('=');
      const input = document.createElement('input');
      input.name = body.slice(0, middle);
      input.value = body.slice(middle + 1);
      const frame = document.createElement('iframe');
      frame.name = 'hidden';
      const form = document.createElement('form');
      Object.assign(form, { method: 'POST', action: url, enctype: type, target: 'hidden' });
      form.append(input);
      document.body.append(frame, form);
      form.submit();
      return 'unknown';
    },
    formType,
  ]),
  [
    'fetch from a frame without an origin',
    (url, body) =>
      new Promise((resolve) => {
        const frame = document.createElement('iframe');
        frame.sandbox = 'allow-scripts';
        const options = JSON.stringify({ method: 'POST', mode: 'no-cors', body });
        const call = `fetch(${JSON.stringify(url)}, ${options}).catch(() => {})`;
        frame.srcdoc = `<script>${call}.then(() => parent.postMessage('over', '*'))<\/script>`;
        addEventListener('message', () => resolve('over'), { once: true });
        document.body.append(frame);
      }),
  ],
];

describe('a page of a foreign origin', () => {
  let gateway;
  let listener;
  let careless;
  before(async () => {
    gateway = await startGateway();
    listener = await Listener.open(undefined, gateway, { rooms: ['page'] });
    careless = await serveCarelessly();
  });
  after(async () => {
    listener?.close();
    careless?.server.closeAllConnections();
    careless?.server.close();
    await gateway?.end();
  });

  for (const host of ['evil.test', 'localhost']) {
    for (const [title, attack, more] of attacks) {
      test(`${host} publishes nothing: ${title}`, async (t) => {
        const page = await openPage(t, originOf(host));
        const body = JSON.stringify({ rooms: ['page'], payload: `a=${title}` });
        /** Runs the attack and waits until the browser is done with the request. */
        const send = async (url) => {
          const watched = new Promise((resolve) => {
            const settle = (request) => request.url() === url && resolve();
            page.on('requestfinished', settle);
            page.on('requestfailed', settle);
          });
          const call = `(${attack})(...${JSON.stringify([url, body, more])})`;
          const outcome = await within(page.evaluate(call), `the page's request to ${url}`);
          if (outcome === 'unknown') await within(watched, `the end of the request to ${url}`);
          else assert.equal(outcome, 'over', 'the page did not send');
        };

        const seenBefore = careless.bodies.length;
        await send(`${careless.url}/from-a-page`);
        await eventually(() => careless.bodies.length > seenBefore, 'the browser to send at all');
        assert.match(careless.bodies[seenBefore], /page/);
        await send(`${gateway.url}/from-a-page`);

        // What a person publishes properly does arrive, and nothing came before it.
        assertPublished(await gateway.post('/proper', { rooms: ['page'], payload: 1 }), 1);
        const [list] = await heard([listener]);
        assert.deepEqual(list, [['proper', { payload: 1, rooms: ['page'] }]]);
      });
    }
  }

  test('it opens no WebSocket', async (t) => {
    const page = await openPage(t, originOf('evil.test'));
    assert.match(await connectIn(page, gateway.url, ['websocket']), /^refused/);
    const opened = await page.evaluate(
      (url) =>
        new Promise((resolve) => {
          const socket = new WebSocket(url);
          socket.onopen = () => resolve('opened');
          socket.onmessage = () => resolve('message');
          socket.onerror = () => resolve('refused');
          socket.onclose = () => resolve('refused');
        }),
      `${gateway.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`,
    );
    assert.equal(opened, 'refused');
  });

  test('it opens no polling session', async (t) => {
    const page = await openPage(t, originOf('evil.test'));
    assert.match(await connectIn(page, gateway.url, ['polling']), /^refused/);
    const read = await page.evaluate(
      (url) => fetch(url).then((response) => response.text(), (error) => `refused: ${error.name}`),
      `${gateway.url}/socket.io/?EIO=4&transport=polling`,
    );
    assert.equal(read, 'refused: TypeError');
  });

  test('it reads nothing else either', async (t) => {
    const page = await openPage(t, originOf('evil.test'));
    for (const path of ['/', '/metrics', '/readyz']) {
      const read = await page.evaluate(
        (url) => fetch(url).then((response) => response.text(), (error) => `refused: ${error.name}`),
        `${gateway.url}${path}`,
      );
      assert.equal(read, 'refused: TypeError', path);
    }
  });
});

/** Connects, joins a room, hears one published event; over polling and over WebSocket. */
function listens(title, gatewayOf, origin) {
  for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
    test(`${title}: ${transports.join(' then ')}`, async (t) => {
      const gateway = gatewayOf();
      const page = await openPage(t, origin());
      assert.equal(await connectIn(page, gateway.url, transports), 'connected');
      const joined = await page.evaluate(() => window.socket.timeout(5000).emitWithAck('subscribe', 'page'));
      assert.deepEqual(joined, { status: 'ok', rooms: ['page'] });
      if (transports.length === 2) {
        await page.waitForFunction(() => window.socket.io.engine.transport.name === 'websocket');
      } else {
        const name = await page.evaluate(() => window.socket.io.engine.transport.name);
        assert.equal(name, transports[0]);
      }
      const payload = { text: 'é😀', n: 1 };
      assertPublished(await gateway.post('/collection:update', { rooms: ['page'], payload }), 1);
      await page.waitForFunction(() => window.got.length > 0);
      assert.deepEqual(await page.evaluate(() => window.got), [
        ['collection:update', { payload, rooms: ['page'] }],
      ]);
      // The room must be empty again for the next transport.
      await page.evaluate(() => window.socket.disconnect());
      await eventually(
        async () => (await gateway.publish('bye', { rooms: ['page'], payload: 0 })).sockets === 0,
        'the page to leave',
      );
    });
  }
}

describe('a page on this machine, nothing configured', () => {
  let gateway;
  before(async () => {
    gateway = await startGateway();
  });
  after(() => gateway?.end());
  listens('http://localhost listens', () => gateway, () => originOf('localhost'));
  listens('http://127.0.0.1 listens', () => gateway, () => originOf('127.0.0.1'));
});

describe('IDAE_SOCKET_CORS_ORIGIN', () => {
  let gateway;
  before(async () => {
    const list = [originOf('app.test'), 'https://app.example'].join(',');
    gateway = await startGateway({ env: { IDAE_SOCKET_CORS_ORIGIN: list } });
  });
  after(() => gateway?.end());
  listens('a listed origin listens', () => gateway, () => originOf('app.test'));

  for (const host of ['evil.test', 'localhost']) {
    for (const transport of ['polling', 'websocket']) {
      test(`http://${host}, which is not listed, does not: ${transport}`, async (t) => {
        const page = await openPage(t, originOf(host));
        assert.match(await connectIn(page, gateway.url, [transport]), /^refused/);
      });
    }
  }

  test('a listed origin may listen but not publish', async (t) => {
    const listener = await Listener.open(t, gateway, { rooms: ['page'] });
    const page = await openPage(t, originOf('app.test'));
    const outcome = await page.evaluate(
      ([url, body]) =>
        fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body }).then(
          (response) => `status ${response.status}`,
          (error) => `refused: ${error.name}`,
        ),
      [`${gateway.url}/from-a-page`, JSON.stringify({ rooms: ['page'], payload: 1 })],
    );
    assert.match(outcome, /^(refused: TypeError|status 403)$/);
    assert.deepEqual(await heard([listener]), [[]]);
  });
});
