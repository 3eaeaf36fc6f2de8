// The browser of the tests: Debian's Chromium, with nothing that looks outside.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

const CHROMIUM = process.env.CHROMIUM_BIN ?? '/usr/bin/chromium';

/** Starts it. `hosts` are more names for this machine. */
export async function launchChromium({ hosts = [] } = {}) {
  assert.ok(existsSync(CHROMIUM), `no browser at ${CHROMIUM}: set CHROMIUM_BIN`);
  const rules = hosts.map((host) => `MAP ${host} 127.0.0.1`);
  return chromium.launch({
    executablePath: CHROMIUM,
    headless: true,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--no-first-run',
      `--host-resolver-rules=${[...rules, 'MAP * ~NOTFOUND', 'EXCLUDE localhost', 'EXCLUDE 127.0.0.1'].join(', ')}`,
    ],
  });
}
