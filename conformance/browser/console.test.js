// The console in a real browser: what it shows is what happens, nothing that arrives becomes
// markup, and nobody else's page publishes with its rights.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { launchChromium } from '../harness/chromium.js';
import { WAIT_MS, eventually, within } from '../harness/events.js';
import { cleanEnvironment, endAll, startGateway } from '../harness/gateway.js';
import { Listener, assertPublished, assertRefused, conformance, heard } from '../publish/publishing.js';

const FILES = ['/', '/console/console.js', '/console/console.css', '/console/icon.svg'];
const FILES_BYTES_MAX = 44 * 1024;
const PHONE = { width: 360, height: 740 };
const DESK = { width: 1280, height: 860 };
const README_BODY = readFileSync(new URL('../../README.md', import.meta.url), 'utf8').match(
  /^curl -d '(\{"rooms":\["admin"\].*)' -H 'content-type: application\/json' \S+\/db-change$/m,
)[1];

let browser;
before(async () => {
  browser = await launchChromium({ hosts: ['evil.test'] });
});
after(() => browser?.close());

/**
 * The console of a gateway. When the test ends it must have logged no error and broken no rule of
 * its policy; `refusals` allows for the browser's own lines about requests that do not succeed.
 */
async function openConsole(t, gateway, { viewport = DESK, colorScheme = 'light', refusals = false } = {}) {
  const context = await browser.newContext({ viewport, colorScheme, reducedMotion: 'reduce' });
  context.setDefaultTimeout(WAIT_MS * 2);
  const page = await context.newPage();
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    const expected = refusals && /^Failed to load resource|closed before the connection is established/.test(message.text());
    if (['error', 'warning'].includes(message.type()) && !expected) complaints.push(message.text());
  });
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener('securitypolicyviolation', (event) =>
      window.violations.push(`${event.violatedDirective} ${event.blockedURI}`),
    );
  });
  t.after(async () => {
    const violations = await page.evaluate(() => window.violations);
    await context.close();
    assert.deepEqual([complaints, violations], [[], []]);
  });
  await page.goto(`${gateway.url}/`);
  return page;
}

const shows = (page, id, pattern) =>
  page.waitForFunction(
    ([place, source]) => new RegExp(source, 's').test(document.getElementById(place).textContent),
    [id, pattern.source],
  );
const text = (page, id) => page.locator(`#${id}`).textContent();
const rowsOf = (page) => page.locator('#list > li');
const press = (page, name) => page.getByRole('button', { name, exact: true }).click();

/** A console that is connected and in its first room. */
async function openConnected(t, gateway, options) {
  const page = await openConsole(t, gateway, options);
  await shows(page, 'state', /^Connected$/);
  await shows(page, 'rooms', /^admin×$/);
  return page;
}

/** What the newest row shows, opened. */
async function newest(page) {
  const row = rowsOf(page).first();
  await row.locator('summary').click();
  return {
    name: await row.locator('b').textContent(),
    rooms: await row.locator('.room').allTextContents(),
    size: (await row.locator('.aside').textContent()).split(' · ')[0],
    json: JSON.parse(await row.locator('pre').textContent()),
  };
}

/** Runs a line in a shell, as somebody does who pasted it. */
async function shell(line, env = {}) {
  const { stdout } = await promisify(execFile)('sh', ['-c', line], { env: cleanEnvironment(env), timeout: WAIT_MS });
  return stdout;
}

/** Writes down one request and answers as a gateway does. */
async function captureRequest(t) {
  let settle;
  const request = new Promise((resolve) => (settle = resolve));
  const server = createServer((incoming, response) => {
    let body = '';
    incoming.setEncoding('utf8');
    incoming.on('data', (part) => (body += part));
    incoming.on('end', () => {
      response.end('{}');
      settle({ method: incoming.method, path: incoming.url, headers: incoming.headers, body });
    });
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  t.after(() => server.close());
  return { url: `http://127.0.0.1:${server.address().port}`, request };
}

describe('nothing configured', () => {
  let gateway;
  before(async () => {
    gateway = await startGateway();
  });
  after(() => gateway?.end());

  test('the files are small and their policy allows nothing inline and nobody else', async () => {
    let size = 0;
    for (const path of FILES) {
      const response = await fetch(`${gateway.url}${path}`);
      assert.equal(response.status, 200, path);
      assert.equal(response.headers.get('x-content-type-options'), 'nosniff', path);
      size += (await response.arrayBuffer()).byteLength;
    }
    assert.ok(size < FILES_BYTES_MAX, `${size} bytes`);
    const policy = (await fetch(`${gateway.url}/`)).headers.get('content-security-policy');
    for (const rule of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"]) {
      assert.ok(policy.includes(rule), `${rule} in ${policy}`);
    }
    assert.doesNotMatch(policy, /unsafe|\*/);
  });

  test('it connects and is in the room of the example', async (t) => {
    const page = await openConnected(t, gateway);
    await shows(page, 'transport', /^websocket$/);
    await shows(page, 'round-trip', /\d (ms|µs)$/);
    assert.match(await text(page, 'socket-id'), /^[A-Za-z0-9_-]{20}$/);
    assert.equal(await text(page, 'session'), 'new');
    assert.match(await text(page, 'identity-note'), /Authentication is off/);
    assert.equal(await page.locator('#token').isVisible(), false);
  });

  test("the README's curl shows at once", async (t) => {
    const page = await openConnected(t, gateway);
    assertPublished(await gateway.post('/db-change', README_BODY));
    await rowsOf(page).first().waitFor();
    const body = JSON.parse(README_BODY);
    const size = JSON.stringify({ payload: body.payload, rooms: body.rooms }).length;
    assert.deepEqual(await newest(page), { name: 'db-change', rooms: ['admin'], size: `${size} B`, json: { payload: body.payload, rooms: body.rooms } });
  });

  test('the form begins as the README does', async (t) => {
    const page = await openConnected(t, gateway);
    assert.equal(
      await text(page, 'curl'),
      `curl -d '${README_BODY}' -H 'content-type: application/json' ${gateway.url}/db-change`,
    );
    await press(page, 'Publish');
    await shows(page, 'answer', /Delivered to [1-9]\d* socket/);
    await rowsOf(page).first().waitFor();
    assert.deepEqual((await newest(page)).json.payload, JSON.parse(README_BODY).payload);
  });

  // Event, rooms, users, broadcast, payload as written.
  const forms = [
    ['db-change', 'admin', '', false, '{"id": 1}'],
    ['collection:update', "admin, it's; $(id) `x` \"q\"", '', false, '{ "text": "it\'s  é😀 \\u2028 \\"q\\" \\\\",\n\t"n": 12345678901234567890 }'],
    ['component/refresh', '', '42, none', true, 'null'],
    ['a.b_c', 'admin', '', false, '[1.0, 1e400, "two  blanks"]'],
  ];
  for (const [event, rooms, users, broadcast, payload] of forms) {
    test(`the curl line does what the form does: ${event}`, async (t) => {
      const listener = await Listener.open(t, gateway, { rooms: ['admin'] });
      const page = await openConnected(t, gateway);
      await page.getByLabel('Event', { exact: true }).fill(event);
      await page.getByLabel('Rooms', { exact: true }).and(page.locator('input')).fill(rooms);
      await page.getByLabel('Users or socket ids').fill(users);
      await page.getByLabel(/Broadcast/).setChecked(broadcast);
      await page.getByLabel('Payload (JSON)').fill(payload);
      const line = await text(page, 'curl');

      const sending = page.waitForRequest((request) => request.method() === 'POST' && request.url().endsWith(event));
      await press(page, 'Publish');
      const sent = await sending;
      await shows(page, 'answer', /Delivered to \d+ socket/);
      const [[byForm]] = await heard([listener]);
      assert.equal(byForm[0], event);

      assert.equal(JSON.parse(await shell(line)).status, 'ok');
      const [[byCurl]] = await heard([listener]);
      assert.deepEqual(byCurl, byForm);

      // Byte by byte, too.
      const capture = await captureRequest(t);
      await shell(line.replace(gateway.url, capture.url));
      const got = await capture.request;
      assert.deepEqual(
        [got.method, got.path, got.headers['content-type'], got.body],
        ['POST', new URL(sent.url()).pathname, 'application/json', sent.postData()],
      );
    });
  }

  test('what is no JSON is not sent, and says so', async (t) => {
    const page = await openConnected(t, gateway);
    const sent = [];
    page.on('request', (request) => request.method() === 'POST' && request.url().endsWith('/db-change') && sent.push(request));
    for (const [payload, message] of [['{"a": b}', /not JSON/], ['', /Enter a payload/], ["{'a': 1}", /not JSON/]]) {
      await page.locator('#payload').fill(payload);
      await shows(page, 'payload-fault', message);
      assert.equal(await text(page, 'curl'), '–');
      await press(page, 'Publish');
      assert.equal(await text(page, 'answer'), '', 'the same sentence twice');
      assert.equal(await page.locator('#payload').getAttribute('aria-invalid'), 'true');
      assert.equal(await page.evaluate(() => document.activeElement.id), 'payload');
    }
    await page.locator('#payload').fill('{"a": 1}');
    assert.equal(await text(page, 'payload-fault'), '');
    assert.equal(await page.locator('#payload').getAttribute('aria-invalid'), 'false');
    assert.deepEqual(sent, []);
  });

  const refused = [
    ['no target', { '#to-rooms': '' }, 'no_target', '#to-rooms'],
    ['a name of the gateway', { '#event': 'v1/other' }, 'event_not_found', '#event'],
    ['a room without an end', { '#to-rooms': 'r'.repeat(5000) }, 'invalid_value', '#to-rooms'],
    ['users of a wrong type', { '#payload': '{"own": true}' }, 'invalid_type', '#payload'],
  ];
  for (const [title, fields, code, marked] of refused) {
    test(`a refusal is readable: ${title}`, async (t) => {
      const page = await openConnected(t, gateway, { refusals: true });
      for (const [field, value] of Object.entries(fields)) await page.fill(field, value);
      await press(page, 'Publish');
      await shows(page, 'answer', new RegExp(`4\\d\\d: .*${code}`));
      assert.equal(await page.locator(marked).getAttribute('aria-invalid'), 'true');
      assert.match(await page.locator('#answer a').getAttribute('href'), new RegExp(`#${code}$`));
    });
  }

  test('rooms are joined and left', async (t) => {
    const page = await openConnected(t, gateway);
    await page.locator('#room').fill('news of today');
    await press(page, 'Join');
    await shows(page, 'rooms', /news of today/);
    assert.equal(await page.locator('#room').inputValue(), '');
    assert.match(await text(page, 'snippet'), /\['admin', 'news of today'\]/);
    assertPublished(await gateway.post('/rooms', { rooms: ['news of today'], payload: 1 }), 1);
    await rowsOf(page).first().waitFor();
    await press(page, 'Leave news of today');
    await shows(page, 'rooms', /^admin×$/);
    assertPublished(await gateway.post('/rooms', { rooms: ['news of today'], payload: 2 }), 0);
  });

  test('a room that cannot be is refused with its code', async (t) => {
    const page = await openConnected(t, gateway);
    await press(page, 'Join');
    await shows(page, 'room-answer', /invalid_room/);
    await page.locator('#room').fill('r'.repeat(5000));
    await press(page, 'Join');
    await shows(page, 'room-answer', /room_too_long/);
    await shows(page, 'rooms', /^admin×$/);
  });

  test('markup stays text', async (t) => {
    const page = await openConnected(t, gateway);
    const markup = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>';
    await page.locator('#room').fill(markup);
    await press(page, 'Join');
    await shows(page, 'rooms', /onerror/);
    const payload = { [markup]: markup, __proto__: null, constructor: markup };
    assertPublished(await gateway.post('/markup', { rooms: ['admin', markup], payload, sender: { name: markup } }), 1);
    await rowsOf(page).first().waitFor();
    const shown = await newest(page);
    assert.deepEqual(shown.rooms, ['admin', markup]);
    assert.deepEqual(shown.json.payload, JSON.parse(JSON.stringify(payload)));
    await page.locator('#to-rooms').fill(markup);
    await page.locator('#payload').fill(JSON.stringify(markup));
    await press(page, 'Publish');
    await shows(page, 'answer', /Delivered to 1 socket/);
    await page.locator('#filter').fill(markup);
    assert.deepEqual(
      await page.evaluate(() => [window.hacked, document.querySelectorAll('main img, main script').length]),
      [undefined, 0],
    );
    assert.equal(await rowsOf(page).count(), 2);
  });

  test('payloads of every shape are shown', async (t) => {
    const page = await openConnected(t, gateway);
    for (const [index, payload] of [null, 0, '', [], {}, [[1]], 'x'.repeat(200_000)].entries()) {
      assertPublished(await gateway.post('/shape', { rooms: 'admin', payload }));
      await page.waitForFunction((count) => document.querySelectorAll('#list > li').length === count, index + 1);
      await rowsOf(page).first().locator('summary').click();
      await rowsOf(page).first().locator('pre').waitFor();
    }
    assert.match(await rowsOf(page).first().locator('pre').textContent(), /… \d+ more characters$/);
    assert.match(await rowsOf(page).first().locator('.aside').textContent(), /^200\.0 kB/);
    // Without an envelope there are no rooms to show, and nothing breaks.
    for (const payload of [null, 'text', { rooms: 7 }]) {
      assertPublished(await gateway.post('/bare?deliver=payload', { rooms: 'admin', payload }));
    }
    await page.waitForFunction(() => document.querySelectorAll('#list > li').length === 10);
  });

  test('numbers keep the digits of the publisher', async (t) => {
    const page = await openConnected(t, gateway);
    const body = '{"rooms":["admin",1.0],"payload":{"id":12345678901234567890,"price":1.50,"tiny":1e-7,"none":-0}}';
    const headers = { 'content-type': 'application/json' };
    assert.equal((await fetch(`${gateway.url}/exact`, { method: 'POST', headers, body })).status, 200);
    await rowsOf(page).first().waitFor();
    const whole = body.slice(body.indexOf('{"id"'), -1);
    assert.equal(await rowsOf(page).first().locator('.preview').textContent(), whole);
    await rowsOf(page).first().locator('summary').click();
    assert.match(await rowsOf(page).first().locator('pre').textContent(), /"id": 12345678901234567890,\s+"price": 1\.50,/);
  });

  test('a publish that reaches nobody says who would get it', async (t) => {
    const page = await openConnected(t, gateway);
    await page.locator('#to-rooms').fill('empty');
    await press(page, 'Publish');
    await shows(page, 'answer', /Nobody is there\. Join one of these rooms/);
    await page.locator('#to-rooms').fill('');
    await page.locator('#to-users').fill('42');
    await press(page, 'Publish');
    await shows(page, 'answer', /Nobody is there\. A socket is a user's if its token names the user/);
  });

  test('filter, pause and clear', async (t) => {
    const page = await openConnected(t, gateway);
    for (const name of ['apple', 'pear', 'plum']) await gateway.publish(name, { rooms: 'admin', payload: { fruit: `${name} tree` } });
    await page.waitForFunction(() => document.querySelectorAll('#list > li').length === 3);
    assert.deepEqual(await page.locator('#list b').allTextContents(), ['plum', 'pear', 'apple']);
    await page.locator('#filter').fill('PEAR tr');
    assert.deepEqual(await page.locator('#list b').allTextContents(), ['pear']);
    await page.locator('#filter').fill('nothing like it');
    assert.match(await text(page, 'events-none'), /No event matches/);
    await page.locator('#filter').fill('');

    await press(page, 'Pause');
    assert.equal(await page.locator('#pause').getAttribute('aria-pressed'), 'true');
    await gateway.publish('late', { rooms: 'admin', payload: 1 });
    await shows(page, 'events-count', /1 waiting/);
    assert.equal(await rowsOf(page).count(), 3);
    await press(page, 'Pause');
    assert.deepEqual(await page.locator('#list b').allTextContents(), ['late', 'plum', 'pear', 'apple']);

    await press(page, 'Clear');
    assert.equal(await rowsOf(page).count(), 0);
    await shows(page, 'events-count', /^0 events$/);
  });

  test('a flood of 2,000 events leaves the page alive and the list short', async (t) => {
    const page = await openConnected(t, gateway);
    await page.evaluate(() => {
      window.slowest = 0;
      let before = performance.now();
      const frame = () => {
        const now = performance.now();
        window.slowest = Math.max(window.slowest, now - before);
        before = now;
        requestAnimationFrame(frame);
      };
      requestAnimationFrame(frame);
    });
    const item = (n) => ({ event: 'flood', rooms: 'admin', payload: { n, text: 'x'.repeat(200) } });
    for (let sent = 0; sent < 2000; sent += 100) {
      const reply = await gateway.post('/v1/events', Array.from({ length: 100 }, (_, n) => item(sent + n)));
      assert.equal(reply.status, 200, reply.text);
    }
    await shows(page, 'events-count', /^2,000 events/);
    await page.waitForFunction(() => document.querySelector('#list .preview')?.textContent.includes('"n":1999'));
    assert.ok((await rowsOf(page).count()) <= 500);
    const slowest = await page.evaluate(() => window.slowest);
    assert.ok(slowest < 1000, `a frame took ${slowest} ms`);
    await press(page, 'Clear');
    assert.equal(await rowsOf(page).count(), 0);
  });

  test('paused, it keeps a bounded number', async (t) => {
    const page = await openConnected(t, gateway);
    await press(page, 'Pause');
    for (let sent = 0; sent < 1500; sent += 100) {
      const batch = Array.from({ length: 100 }, (_, n) => ({ event: 'flood', rooms: 'admin', payload: sent + n }));
      assert.equal((await gateway.post('/v1/events', batch)).status, 200);
    }
    await shows(page, 'events-count', /^1,500 events · \d{3} waiting$/);
    await press(page, 'Pause');
    assert.equal(await rowsOf(page).count(), 500);
    assert.equal((await newest(page)).json.payload, 1499);
  });

  test('the numbers move', async (t) => {
    const page = await openConnected(t, gateway);
    await shows(page, 'connections', /^[1-9]\d*$/);
    const inAll = () => page.evaluate(() => Number(document.getElementById('rate-more').textContent.replace(/\D/g, '')));
    const before = await inAll();
    for (let n = 0; n < 20; n += 1) await gateway.publish('numbers', { rooms: 'admin', payload: n });
    await eventually(async () => (await inAll()) >= before + 20, 'the events to be counted', 3 * WAIT_MS);
    await shows(page, 'latency', /\d (µs|ms|s)$/);
    await shows(page, 'latency-more', /\d (µs|ms|s)$/);
    await shows(page, 'counters', /Deliveries\d+/);
    await page.waitForFunction(() => /L/.test(document.querySelector('#connections-chart path:last-child').getAttribute('d')));
    assert.match(await page.locator('#rate-chart').getAttribute('aria-label'), /^At most \d/);
  });

  test('the snippet runs as it stands', async (t) => {
    const page = await openConnected(t, gateway);
    const child = spawn(process.execPath, ['--input-type=module', '--eval', await text(page, 'snippet')], {
      cwd: conformance,
      env: cleanEnvironment(),
    });
    t.after(() => child.kill('SIGKILL'));
    let printed = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (printed += part));
    await eventually(() => /status: 'ok', rooms: \[ 'admin' \]/.test(printed), 'the snippet to be in its room', 2 * WAIT_MS);
    await gateway.publish('for-the-snippet', { rooms: 'admin', payload: { n: 7 } });
    await eventually(() => /for-the-snippet \{ payload: \{ n: 7 \}/.test(printed), 'the snippet to print');
  });

  test('disconnect and connect', async (t) => {
    const page = await openConnected(t, gateway, { refusals: true });
    await press(page, 'Disconnect');
    await shows(page, 'state', /^Not connected$/);
    assert.equal(await text(page, 'rooms'), '');
    await press(page, 'Join');
    await shows(page, 'room-answer', /Connect first/);
    await press(page, 'Publish');
    await shows(page, 'answer', /Delivered to 0 sockets.*Nobody is there/);
    await press(page, 'Connect');
    await shows(page, 'state', /^Connected$/);
    await shows(page, 'rooms', /^admin×$/);
    await press(page, 'Publish');
    await shows(page, 'answer', /Delivered to 1 socket /);
  });

  test('an unknown namespace is refused in words', async (t) => {
    const page = await openConnected(t, gateway, { refusals: true });
    await press(page, 'Disconnect');
    await page.locator('#namespace').fill('nowhere');
    await press(page, 'Connect');
    await shows(page, 'state', /^Refused$/);
    await shows(page, 'refusal', /Invalid namespace.*Cure: Choose one that the setting namespaces allows/);
    await shows(page, 'events-off', /Not connected/);
    assert.ok(await page.locator('#events-off').isVisible());
    assert.ok(await page.locator('#events-none').isHidden());
  });

  test('copying copies', async (t) => {
    const page = await openConnected(t, gateway);
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    for (const [name, id] of [['Copy curl', 'curl'], ['Copy snippet', 'snippet']]) {
      await press(page, name);
      await eventually(async () => (await page.evaluate(() => navigator.clipboard.readText())) === (await text(page, id)), `the clipboard to hold the ${id}`);
    }
  });

  test('the keyboard is enough', async (t) => {
    const page = await openConnected(t, gateway);
    /** Tabs until this element has the focus, which must be visible on every stop. */
    const tabTo = async (selector) => {
      for (let stops = 0; stops < 40; stops += 1) {
        await page.keyboard.press('Tab');
        const [there, outlined] = await page.evaluate((wanted) => {
          const focused = document.activeElement;
          return [focused.matches(wanted), focused === document.body || getComputedStyle(focused).outlineStyle !== 'none'];
        }, selector);
        assert.ok(outlined, 'the focus is not to be seen');
        if (there) return;
      }
      assert.fail(`Tab does not come to ${selector}`);
    };
    await tabTo('#room');
    await page.keyboard.type('keys');
    await page.keyboard.press('Enter');
    await shows(page, 'rooms', /keys/);
    await tabTo('#event');
    await page.keyboard.press('Control+A');
    await page.keyboard.type('by-keyboard');
    await tabTo('#to-rooms');
    await page.keyboard.press('Control+A');
    await page.keyboard.type('keys');
    await tabTo('#send');
    await page.keyboard.press('Enter');
    await shows(page, 'answer', /Delivered to 1 socket/);
    assert.equal(await page.evaluate(() => document.activeElement.id), 'send', 'the focus is where it was');
    await rowsOf(page).first().waitFor();
    await page.locator('#filter').focus();
    await tabTo('#list summary');
    await page.keyboard.press('Enter');
    await rowsOf(page).first().locator('pre').waitFor();
    await page.locator('#room').focus();
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Enter');
    await shows(page, 'rooms', /^admin×$/);
    assert.equal(await page.evaluate(() => document.activeElement.id), 'room');
  });

  test('everything that can be used has a name, and changes are told', async (t) => {
    const page = await openConnected(t, gateway);
    const nameless = await page.evaluate(() =>
      [...document.querySelectorAll('input, textarea, button, a, [role=region], svg')]
        .filter((node) => !(node.ariaLabel || node.labels?.length || node.textContent.trim()))
        .map((node) => node.outerHTML),
    );
    assert.deepEqual(nameless, []);
    await eventually(async () => (await text(page, 'announcer')) !== '', 'the connection to be told');
    // Not each of many events: one sentence in a while.
    await page.evaluate(() => {
      window.told = 0;
      new MutationObserver(() => (window.told += 1)).observe(document.getElementById('announcer'), { childList: true });
    });
    for (let n = 0; n < 50; n += 1) await gateway.publish('tell', { rooms: 'admin', payload: n });
    await shows(page, 'announcer', /new event/);
    assert.ok((await page.evaluate(() => window.told)) <= 3);
  });

  for (const viewport of [PHONE, { width: 820, height: 1180 }, DESK]) {
    for (const colorScheme of ['light', 'dark']) {
      test(`${viewport.width} pixels, ${colorScheme}: nothing sticks out and all is readable`, async (t) => {
        const page = await openConnected(t, gateway, { viewport, colorScheme, refusals: true });
        const long = 'w'.repeat(120);
        await page.locator('#room').fill(long);
        await press(page, 'Join');
        await shows(page, 'rooms', /www/);
        await gateway.publish(long, { rooms: ['admin', long], payload: { [long]: long.repeat(9) } });
        await rowsOf(page).first().waitFor();
        await newest(page);
        await press(page, 'Join');
        await shows(page, 'room-answer', /invalid_room/);
        for (const rooms of [long, '']) {
          await page.locator('#to-rooms').fill(rooms);
          await press(page, 'Publish');
          await shows(page, 'answer', rooms ? /Delivered/ : /no_target/);
          const [width, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
          assert.equal(width, inner);
          assert.deepEqual(await page.evaluate(stickingOut), []);
          assert.deepEqual(await page.evaluate(unreadable), []);
        }
        const page_ = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
        const brightness = Math.max(...page_.match(/\d+/g).slice(0, 3).map(Number));
        assert.ok(colorScheme === 'dark' ? brightness < 60 : brightness > 200, page_);
      });
    }
  }

  describe('who may publish from a page', () => {
    let other;
    before(async () => {
      other = await startGateway();
    });
    after(() => other?.end());
    const body = { rooms: ['admin'], payload: 1 };

    test("the console's own origin", async () => {
      const { port } = gateway;
      for (const host of [`127.0.0.1:${port}`, `localhost:${port}`]) {
        const headers = { host, origin: `http://${host}`, 'sec-fetch-site': 'same-origin' };
        assertPublished(await gateway.post('/own', body, headers));
      }
    });

    const cases = [
      ['of another gateway', () => ({ origin: other.url, 'sec-fetch-site': 'same-site' })],
      ['of localhost while the gateway is asked as 127.0.0.1', () => ({ origin: `http://localhost:${gateway.port}`, 'sec-fetch-site': 'cross-site' })],
      ['of the same host over HTTPS', () => ({ origin: gateway.url.replace('http', 'https') })],
      ['that is opaque', () => ({ origin: 'null' })],
      ['that is the own one, from a request that says it is foreign', () => ({ origin: gateway.url, 'sec-fetch-site': 'cross-site' })],
      ['whose name was made to point here', () => ({ host: `evil.test:${gateway.port}`, origin: `http://evil.test:${gateway.port}`, 'sec-fetch-site': 'same-origin' })],
      ['that is not told, by a browser', () => ({ 'sec-fetch-site': 'cross-site' })],
    ];
    for (const [title, headers] of cases) {
      test(`not an origin ${title}`, async () => {
        assertRefused(await gateway.post('/foreign', body, headers()), { status: 403, code: 'browser_request' });
      });
    }

    // The page without the policy of the console, so that it is the gateway that refuses.
    for (const [title, address] of [
      ["another gateway's page", () => `${other.url}/livez`],
      ['a page whose name was made to point here', () => `http://evil.test:${gateway.port}/livez`],
    ]) {
      test(`in the browser: not ${title}`, async (t) => {
        const listener = await Listener.open(t, gateway, { rooms: ['admin'] });
        const page = await browser.newPage();
        t.after(() => page.close());
        await page.goto(address());
        for (const mode of ['cors', 'no-cors']) {
          const outcome = await page.evaluate(
            async ([url, text, how]) => {
              const target = location.hostname === 'evil.test' ? '/from-a-page' : url;
              const options = { method: 'POST', mode: how, headers: { 'content-type': 'application/json' }, body: text };
              return fetch(target, options).then(({ status }) => status, ({ name }) => name);
            },
            [`${gateway.url}/from-a-page`, JSON.stringify(body), mode],
          );
          // A request without CORS has an answer that the page cannot read: status 0.
          assert.ok([403, 415, 0, 'TypeError'].includes(outcome), String(outcome));
        }
        assert.deepEqual(await heard([listener]), [[]]);
      });
    }
  });
});

/** Runs in the page: what reaches beyond the window and is not cut off by a box of its own. */
function stickingOut() {
  return [...document.querySelectorAll('body *')]
    .filter((node) => !node.closest('.scroll .preview, svg, .unseen'))
    .filter((node) => node.getBoundingClientRect().right > innerWidth + 0.5)
    .map((node) => node.outerHTML.slice(0, 200));
}

/** Runs in the page: texts with less contrast than WCAG AA asks for. */
function unreadable() {
  const channels = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = channels(color)
      .slice(0, 3)
      .map((channel) => channel / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if ((channels(color)[3] ?? 1) === 1) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const ratio = (one, two) => {
    const [dark, light] = [luminance(one), luminance(two)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const faults = [];
  for (const node of document.querySelectorAll('body *')) {
    const words = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!node.checkVisibility() || node.closest('.unseen')) continue;
    const styles = words || node.value ? [getComputedStyle(node)] : [];
    if (node.placeholder && !node.value) styles.push(getComputedStyle(node, '::placeholder'));
    for (const style of styles) {
      const large = parseFloat(style.fontSize) >= 24;
      const reached = ratio(style.color, ground(node));
      if (reached < (large ? 3 : 4.5)) faults.push(`${reached.toFixed(2)} ${node.outerHTML.slice(0, 120)}`);
    }
  }
  return faults;
}

describe('a gateway that comes back', () => {
  test('the page comes back by itself, with its rooms', async (t) => {
    let gateway = await startGateway();
    t.after(() => gateway.killNow());
    const page = await openConnected(t, gateway, { refusals: true });
    await page.locator('#room').fill('kept');
    await press(page, 'Join');
    await shows(page, 'rooms', /kept/);
    await press(page, 'Publish');
    await shows(page, 'latency', /s$/);
    const { port } = gateway;
    await gateway.end();
    await shows(page, 'state', /^Reconnecting$/);
    gateway = await startGateway({ port });
    await page.waitForFunction(() => document.getElementById('state').textContent === 'Connected', null, { timeout: 4 * WAIT_MS });
    await shows(page, 'rooms', /kept/);
    await shows(page, 'rate-more', /^0 in all$/);
    assert.equal(await text(page, 'latency'), '–', 'the latency of the gateway before');
    await eventually(
      async () => (await gateway.publish('again', { rooms: 'kept', payload: 1 })).sockets === 1,
      'the page to be in its room again',
    );
    await rowsOf(page).first().waitFor();
    await gateway.end();
  });
});

describe('names in the configuration', () => {
  let gateway;
  before(async () => {
    const env = { IDAE_SOCKET_NAMESPACES: '/shop,/', IDAE_SOCKET_EVENTS: 'entity,data:*' };
    gateway = await startGateway({ env });
  });
  after(() => gateway?.end());

  test('the forms begin with them', async (t) => {
    const page = await openConnected(t, gateway);
    assert.equal(await page.locator('#namespace').inputValue(), '/shop');
    assert.equal(await page.locator('#event').inputValue(), 'entity');
    assert.match(await text(page, 'snippet'), new RegExp(`io\\('${gateway.url}/shop'\\)`));
    assert.match(await text(page, 'curl'), /"namespace":"\/shop"/);
    await press(page, 'Publish');
    await shows(page, 'answer', /Delivered to 1 socket/);
    await rowsOf(page).first().waitFor();
  });
});

describe('a publish key', () => {
  const KEY = 'a-key-for-the-console-0001';
  let gateway;
  before(async () => {
    gateway = await startGateway({ env: { IDAE_SOCKET_PUBLISH_KEY: KEY } });
  });
  after(() => gateway?.end());

  test('is asked for, explained when wrong, and kept nowhere', async (t) => {
    const page = await openConnected(t, gateway, { refusals: true });
    for (const [wrong, message] of [['', /401: .*unauthorized/], ['another-key-000000000000', /401: .*key_invalid/]]) {
      await page.getByLabel('Publish key').fill(wrong);
      await press(page, 'Publish');
      await shows(page, 'answer', message);
      assert.equal(await page.locator('#key').getAttribute('aria-invalid'), 'true');
    }
    await page.getByLabel('Publish key').fill(KEY);
    await press(page, 'Publish');
    await shows(page, 'answer', /Delivered to 1 socket/);
    const line = await text(page, 'curl');
    assert.doesNotMatch(line, new RegExp(KEY));
    assert.equal(JSON.parse(await shell(line, { IDAE_SOCKET_PUBLISH_KEY: KEY })).sockets, 1);
    await isKeptNowhere(page, KEY);
  });
});

/** A secret must be in no address, no storage, and not in the page's own markup. */
async function isKeptNowhere(page, secret) {
  const places = await page.evaluate(async () => {
    const databases = await indexedDB.databases();
    return [
      location.href,
      JSON.stringify(history.state),
      JSON.stringify({ ...localStorage }),
      JSON.stringify({ ...sessionStorage }),
      document.cookie,
      JSON.stringify(databases),
      document.documentElement.outerHTML,
      ...performance.getEntries().map(({ name }) => name),
    ].join('\n');
  });
  assert.ok(!places.includes(secret));
  // Going away and coming back does not bring it back.
  await page.reload();
  assert.ok(!(await page.evaluate(() => [...document.querySelectorAll('input')].map(({ value }) => value).join('\n'))).includes(secret));
}

describe('strategy jwt', () => {
  const SECRET = 'a-secret-for-the-console-of-32-bytes';
  const inSeconds = (seconds) => Math.floor(Date.now() / 1000) + seconds;
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const sign = (claims, secret = SECRET) => {
    const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
    return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
  };
  const jwt = { IDAE_SOCKET_AUTH_STRATEGY: 'jwt', IDAE_SOCKET_AUTH_JWT_SECRET: SECRET };

  let gateway;
  let soft;
  before(async () => {
    gateway = await startGateway({ env: jwt });
    // For all tests, so that it does not end before the page of one is looked at.
    soft = await startGateway({ env: { ...jwt, IDAE_SOCKET_AUTH_MODE: 'soft' } });
  });
  after(() => endAll(gateway, soft));

  async function connectWith(t, token, where = gateway) {
    const page = await openConsole(t, where, { refusals: true });
    await shows(page, 'state', /^Not connected$/);
    await page.getByLabel('Token', { exact: true }).fill(token);
    await press(page, 'Connect');
    return page;
  }

  test('shows what the token gets, and keeps it nowhere', async (t) => {
    const token = sign({ sub: 'ada', roles: ['admin', 'editor'], exp: inSeconds(3600) });
    const page = await connectWith(t, token);
    await shows(page, 'identity', /Strategyjwt, enforceUseradaRolesadmin, editorRooms2Expiresin 00:5\d:\d\d/);
    await shows(page, 'rooms', /^(?=.*admin×)(?=.*editor×)/);
    const before = await text(page, 'identity');
    await eventually(async () => (await text(page, 'identity')) !== before, 'the countdown to go on');
    await gateway.publish('for-ada', { users: 'ada', payload: 1 });
    await rowsOf(page).first().waitFor();
    assert.match(await text(page, 'snippet'), /auth: \{ token: 'YOUR_TOKEN' \}/);
    await isKeptNowhere(page, token);
  });

  test('a token without user and end', async (t) => {
    const page = await connectWith(t, sign({}));
    await shows(page, 'identity', /UsernoneRolesnoneRooms0Expiresnever/);
  });

  const refused = [
    ['none at all', () => '', 'token_missing'],
    ['what is no token', () => 'abc', 'token_malformed'],
    ['one of another key', () => sign({ sub: 'ada' }, 'another-secret-of-more-than-32-bytes'), 'token_signature'],
    ['an old one', () => sign({ sub: 'ada', exp: 1 }), 'token_expired'],
  ];
  for (const [title, token, code] of refused) {
    test(`says why it is refused: ${title}`, async (t) => {
      const page = await connectWith(t, token());
      await shows(page, 'state', /^Refused$/);
      await shows(page, 'refusal', new RegExp(`Unauthorized.*Cure: .*${code}`));
      // And goes on from there.
      await page.getByLabel('Token', { exact: true }).fill(sign({ sub: 'ada' }));
      await press(page, 'Connect');
      await shows(page, 'state', /^Connected$/);
      assert.equal(await text(page, 'refusal'), '');
    });
  }

  test('a forbidden room is refused with its cure', async (t) => {
    const page = await connectWith(t, sign({ sub: 'ada', roles: ['editor'] }));
    await shows(page, 'rooms', /editor/);
    await page.locator('#room').fill('admin');
    await press(page, 'Join');
    await shows(page, 'room-answer', /Cure: .*room_forbidden/);
    await shows(page, 'rooms', /^editor×$/);
  });

  test('a new token changes the roles, one of another user does not', async (t) => {
    const page = await connectWith(t, sign({ sub: 'ada', roles: ['editor'] }));
    await shows(page, 'rooms', /^editor×$/);
    await page.getByLabel('Token', { exact: true }).fill(sign({ sub: 'ada', roles: ['admin'], exp: inSeconds(600) }));
    await press(page, 'Send new token');
    await shows(page, 'refusal', /new token counts/);
    await shows(page, 'rooms', /^admin×$/);
    await shows(page, 'identity', /Rolesadmin.*in 00:/);
    await page.getByLabel('Token', { exact: true }).fill(sign({ sub: 'eve', roles: ['root'] }));
    await press(page, 'Send new token');
    await shows(page, 'refusal', /token_other_user/);
    await shows(page, 'rooms', /^admin×$/);
  });

  test('a token that ends soon is told', async (t) => {
    const page = await connectWith(t, sign({ sub: 'ada', exp: inSeconds(20) }));
    await shows(page, 'refusal', /expires soon/);
    await shows(page, 'identity', /in 00:00:/);
  });

  test('claims are text, whatever is in them', async (t) => {
    const markup = '<img src=x onerror="window.hacked=1">';
    const page = await connectWith(t, sign({ sub: markup, roles: [markup, '<b>x</b>'] }));
    await shows(page, 'identity', /User<img src=x/);
    await shows(page, 'rooms', /<b>x<\/b>/);
    assert.deepEqual(await page.evaluate(() => [window.hacked, document.querySelectorAll('main img').length]), [undefined, 0]);
  });

  test('soft mode says that nobody is known', async (t) => {
    const page = await connectWith(t, sign({ sub: 'ada', exp: 1 }), soft);
    await shows(page, 'state', /^Connected$/);
    await shows(page, 'identity-note', /Let in without identity/);
  });

  test('at phone width nothing sticks out', async (t) => {
    const page = await openConsole(t, gateway, { viewport: PHONE });
    await page.getByLabel('Token', { exact: true }).fill(sign({ sub: 'u'.repeat(100), roles: ['r'.repeat(100)], exp: inSeconds(777_777) }));
    await press(page, 'Connect');
    await shows(page, 'identity', /Expiresin/);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), PHONE.width);
    assert.deepEqual(await page.evaluate(stickingOut), []);
    assert.deepEqual(await page.evaluate(unreadable), []);
  });
});

describe('console = false', () => {
  test('there is no page, and what is left answers', async (t) => {
    const gateway = await startGateway({ env: { IDAE_SOCKET_CONSOLE: 'false' } });
    t.after(() => gateway.end());
    for (const path of [...FILES.slice(1), '/console/settings.json']) {
      assert.equal((await fetch(`${gateway.url}${path}`)).status, 404, path);
    }
    const front = await fetch(`${gateway.url}/`);
    assert.doesNotMatch(front.headers.get('content-type'), /html/);
    // Then no page publishes at all.
    const headers = { origin: gateway.url, 'sec-fetch-site': 'same-origin' };
    assertRefused(await gateway.post('/own', { rooms: 'admin', payload: 1 }, headers), { status: 403, code: 'browser_request' });
  });
});
