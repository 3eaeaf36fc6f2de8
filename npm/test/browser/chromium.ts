// A real browser, and a server for its pages.

import { existsSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { chromium, type Browser, type Page } from 'playwright-core';
import { inject, onTestFinished } from 'vitest';
import { bundle } from '../bundle.mjs';
import { WAIT_MS } from '../gateway.js';

const CHROMIUM = process.env.CHROMIUM_BIN ?? '/usr/bin/chromium';
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
];

export interface Opened {
  page: Page;
  /** What the page's console and its errors said. */
  said: string[];
}

/**
 * Opens a page with this program, bundled as an application would be. `localhost:4000` is the
 * gateway's port there, and nothing else is to be found by name.
 */
export async function openPage(
  program: string,
  { gatewayPort, serve }: { gatewayPort: number; serve?: (request: IncomingMessage, response: ServerResponse) => void },
): Promise<Opened> {
  const { text } = await bundle(program, { folder: inject('installed') });
  const url = await servePage(text, serve);
  const browser = await launch(gatewayPort);
  const page = await browser.newPage();
  page.setDefaultTimeout(WAIT_MS * 2);
  const said: string[] = [];
  page.on('console', (message) => said.push(message.text()));
  page.on('pageerror', (error) => said.push(String(error)));
  await page.goto(url);
  return { page, said };
}

async function launch(gatewayPort: number): Promise<Browser> {
  if (!existsSync(CHROMIUM)) throw new Error(`no browser at ${CHROMIUM}: set CHROMIUM_BIN`);
  const rules = `MAP localhost:4000 127.0.0.1:${gatewayPort}, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1`;
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    headless: true,
    args: [...FLAGS, `--host-resolver-rules=${rules}`],
  });
  onTestFinished(() => browser.close());
  return browser;
}

async function servePage(
  script: string,
  serve?: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string> {
  const server = createServer((request, response) => {
    if (request.url === '/') {
      response.setHeader('content-type', 'text/html; charset=utf-8');
      response.end('<!doctype html><title>page</title><body><script src="/page.js"></script>');
    } else if (request.url === '/page.js') {
      response.setHeader('content-type', 'text/javascript; charset=utf-8');
      response.end(script);
    } else if (serve) serve(request, response);
    else response.writeHead(404).end();
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

/** The page's text, when it has this so many times. */
export async function shows({ page, said }: Opened, text: string, times = 1): Promise<void> {
  const hasIt = ({ text, times }: { text: string; times: number }) =>
    document.body.innerText.split(text).length - 1 >= times;
  try {
    await page.waitForFunction(hasIt, { text, times });
  } catch (error) {
    const body = await page.evaluate(() => document.body.innerText);
    throw new Error(`the page never shows "${text}" ${times} times but:\n${body}\n${said.join('\n')}`, { cause: error });
  }
}
