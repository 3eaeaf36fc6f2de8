// The browser client with msgpack that the gateway serves itself, in a real browser.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { launchChromium } from '../harness/chromium.js';
import { WAIT_MS, within } from '../harness/events.js';
import { startGateway } from '../harness/gateway.js';
import { connected, subscribe } from '../harness/sessions.js';
import { assertPublished } from '../publish/publishing.js';
import { TRANSPORTS, TYPE, decode } from './speaking.js';
import { LARGE, VALUES } from './values.js';

let browser;
let pages;
let gateway;
before(async () => {
  browser = await launchChromium();
  pages = createServer((request, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end(`<!doctype html><title>page</title><script src="${gateway.url}/socket.io/socket.io.msgpack.min.js"></script>`);
  });
  await new Promise((listening) => pages.listen(0, '127.0.0.1', listening));
  gateway = await startGateway();
});
after(async () => {
  await browser?.close();
  pages?.closeAllConnections();
  pages?.close();
  await gateway?.end();
});

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  test(`over ${name} it connects, asks and hears`, async (t) => {
    const page = await browser.newPage();
    page.setDefaultTimeout(WAIT_MS * 2);
    t.after(() => page.close());
    const frames = [];
    page.on('websocket', (websocket) => {
      for (const way of ['framesent', 'framereceived']) websocket.on(way, ({ payload }) => frames.push(payload));
    });
    await page.goto(`http://127.0.0.1:${pages.address().port}/`);
    const connecting = page.evaluate(
      ([url, names]) =>
        new Promise((resolve) => {
          const socket = window.io(url, { transports: names, reconnection: false, auth: { recovery: false } });
          Object.assign(window, { socket, got: [] });
          socket.onAny((...args) => window.got.push(args));
          socket.on('connect', () => resolve('connected'));
          socket.on('connect_error', (error) => resolve(`refused: ${error.message}`));
          socket.on('disconnect', (reason) => resolve(`gone: ${reason}`));
        }),
      [gateway.url, transports],
    );
    assert.equal(await within(connecting, 'the page to connect'), 'connected');
    const ask = (...args) => page.evaluate((all) => window.socket.timeout(5000).emitWithAck(...all), args);
    assert.deepEqual(await ask('subscribe', name), { status: 'ok', rooms: [name] });
    assert.deepEqual(await page.evaluate(() => window.socket.timeout(5000).emitWithAck('upload', new Uint8Array([1, 2]), new Date())), { status: 'OK' });
    await page.waitForFunction((last) => window.socket.io.engine.transport.name === last, transports.at(-1));

    // Each value reaches Node's client, with the default parser, and the page alike.
    const other = await connected(t, gateway);
    await subscribe(other, name);
    const values = Object.entries({ ...VALUES, ...LARGE }).filter(([, json]) => json.length < 100_000);
    for (const [, json] of values) {
      assertPublished(await gateway.post('/value', `{"rooms":${JSON.stringify(name)},"payload":${json}}`), 2);
    }
    await page.waitForFunction((count) => window.got.length >= count, values.length);
    const got = await page.evaluate(() => JSON.stringify(window.got));
    assert.deepEqual(JSON.parse(got), values.map(([, json]) => ['value', { payload: JSON.parse(json), rooms: name }]));

    // It does speak msgpack: every packet is a binary message.
    const packets = frames.filter((payload) => !/^([0-35]|2probe|3probe|0\{.*)$/s.test(payload)).map(decode);
    if (name === 'polling') assert.deepEqual(packets, []);
    else assert.ok(packets.filter(({ type }) => type === TYPE.EVENT).length >= values.length);

    const left = page.evaluate(() => new Promise((resolve) => window.socket.on('disconnect', resolve)));
    await page.evaluate(() => window.socket.disconnect());
    assert.equal(await left, 'io client disconnect');
  });
}
