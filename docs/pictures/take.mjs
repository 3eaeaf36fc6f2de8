// Takes console.png and console-dark.png: the console of a real gateway while a shop's backend
// publishes. After `npm ci` in conformance/, with Chromium and the gateway's binary:
//
//   IDAE_SOCKET_BIN=target/release/idae-socket node docs/pictures/take.mjs
//
// Afterwards their colours are reduced to a palette, which keeps each below 150 KB:
// `pngquant --nofs --ext .png --force docs/pictures/console*.png`, or any other tool that does so.

import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { launchChromium } from '../../conformance/examples/chromium.js';
import { startGateway } from '../../conformance/harness/gateway.js';
import { connected, subscribe } from '../../conformance/harness/sessions.js';

const VIEW = { width: 1280, height: 800 };
/** How long the charts fill before the picture is taken. */
const FILL_MS = 150_000;
const ROOMS = ['orders', 'users'];

/** The n-th thing that happens in the shop: an event's name and its body. */
function change(n) {
  const order = 10_412 + Math.floor(n / 3);
  const stories = [
    ['orders', { action: 'insert', id: order, total: (19.9 + ((n * 37) % 140)).toFixed(2) }],
    ['orders', { action: 'update', id: order - 1, state: 'paid' }],
    ['users', { action: 'update', id: 40 + (n % 17) }],
    ['orders', { action: 'update', id: order - 4, state: 'shipped' }],
    ['users', { action: 'insert', id: 1_200 + n }],
  ];
  const [entity, row] = stories[n % stories.length];
  if (n % 13 === 7) return ['stock:low', { rooms: 'admin', payload: { article: 300 + (n % 50), left: n % 5 } }];
  return ['db-change', { rooms: n % 4 === 0 ? ['admin', entity] : entity, payload: { entity, ...row } }];
}

const gateway = await startGateway({ port: 4000 });
const browser = await launchChromium();
const clients = [];
try {
  const pages = [];
  for (const colorScheme of ['light', 'dark']) {
    const context = await browser.newContext({ viewport: VIEW, colorScheme, reducedMotion: 'reduce' });
    const page = await context.newPage();
    await page.goto(`${gateway.url}/`);
    await page.locator('#rooms li').first().waitFor();
    for (const room of ROOMS) {
      await page.getByLabel('Room', { exact: true }).fill(room);
      await page.getByRole('button', { name: 'Join', exact: true }).click();
      await page.locator('#rooms', { hasText: room }).waitFor();
    }
    pages.push([colorScheme, page]);
  }
  const end = Date.now() + FILL_MS;
  // On to where the second newest is a change with few lines: it is shown opened.
  for (let n = 0; Date.now() < end || n % 260 !== 24; n += 1) {
    if (n % 12 === 0) {
      const socket = await connected(null, gateway, { transports: n % 48 === 0 ? ['polling'] : ['websocket'] });
      await subscribe(socket, ROOMS[clients.length % ROOMS.length]);
      clients.push(socket);
    }
    await gateway.publish(...change(n));
    await sleep(160 + 80 * Math.sin(n / 60) + ((n * 71) % 60));
  }
  for (const [colorScheme, page] of pages) {
    await page.locator('#list summary').nth(1).click();
    const name = colorScheme === 'light' ? 'console.png' : 'console-dark.png';
    await page.screenshot({ path: fileURLToPath(new URL(name, import.meta.url)) });
  }
} finally {
  for (const socket of clients) socket.disconnect();
  await browser.close();
  await gateway.end();
}
