// HttpDriver runs the real gateway: from its start to its end, wanted or not.

import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { HttpDriver, type Crash, type GatewayConfiguration, type Listening, type LogEntry } from '@medyll/idae-socket/server';
import { BINARY, QUICK, accepts, connected, eventually, freePort, heard, makeClient, startGateway, within } from '../gateway.js';

const SERVER = new URL('../../idae-socket/dist/server/index.js', import.meta.url).href;

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'idae-socket-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A program that is no gateway. */
function program(text: string): string {
  const file = join(temporaryFolder(), 'program');
  writeFileSync(file, text);
  chmodSync(file, 0o755);
  return file;
}

/** Says that it listens, is ready at the given path, and does not stop when asked to. */
const stubborn = (ready = '/readyz') =>
  program(`#!${process.execPath}
process.on('SIGTERM', () => {});
const server = require('node:http').createServer((request, response) => {
  response.statusCode = request.url === '${ready}' ? 200 : 503;
  response.end();
});
server.listen(0, '127.0.0.1', () => console.log('listens on http://127.0.0.1:' + server.address().port));
`);

describe('starting', () => {
  test('on a free port, ready when it says so', async () => {
    const { gateway, port, url } = await startGateway();
    expect(url).toBe(`http://127.0.0.1:${port}`);
    expect({ url: gateway.url, port: gateway.port }).toEqual({ url, port });
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
  });

  test('on the given port, or that of the configuration', async () => {
    for (const [configured, given] of [[1, await freePort()], [await freePort(), undefined]] as const) {
      const gateway = new HttpDriver({ ...QUICK, port: configured }, { binary: BINARY, onLog: () => {} });
      onTestFinished(() => gateway.close());
      expect((await gateway.listen(given)).port).toBe(given ?? configured);
    }
  });

  test('twice is an error, again after close() is not', async () => {
    const { gateway } = await startGateway();
    await expect(gateway.listen(0)).rejects.toThrow(/called before/);
    await gateway.close();
    await gateway.listen(0);
  });

  test('the whole configuration arrives, whatever characters are in it', async () => {
    const key = 'a-"quoted"-\\-key-with-#-and-=[]';
    const { gateway, url } = await startGateway({
      events: ['data:*'],
      publish: { key, deliver: 'payload', keys: [{ name: 'limited', key: 'another-long-random-key', rooms: ['a', 'b'] }] },
      socket: { path: '/elsewhere/', ping_interval_ms: 12_345 },
    });
    const handshake = await (await fetch(`${url}/elsewhere/?EIO=4&transport=polling`)).text();
    expect(JSON.parse(handshake.slice(1))).toMatchObject({ pingInterval: 12_345 });
    expect(await gateway.toAll('data:new', 1)).toMatchObject({ status: 'ok' });
    await expect(gateway.toAll('other', 1)).rejects.toMatchObject({ code: 'event_not_found' });
  });

  test.each<[string, object, RegExp]>([
    ['an unknown key', { evnts: ['a'] }, /there is no key `evnts`; did you mean `events`\?/],
    ['a value out of range', { socket: { ping_interval_ms: 0 } }, /`socket\.ping_interval_ms` must be/],
    ['an unprotected address', { host: '0.0.0.0' }, /`auth\.insecure`/],
    ['two at once', { evnts: [], evens: [] }, /`evnts`[\s\S]*`evens`|`evens`[\s\S]*`evnts`/],
  ])('that fails rejects with the gateway\'s own words: %s', async (_, configuration, words) => {
    const lines: LogEntry[] = [];
    const gateway = new HttpDriver(configuration as GatewayConfiguration, { binary: BINARY, onLog: (line) => lines.push(line) });
    const error = await gateway.listen(0).catch((error) => error);
    expect(error).toMatchObject({ name: 'GatewayStartError', code: 'gateway_start_failed', exitCode: 1 });
    expect(error.message).toMatch(words);
    expect(error.message).not.toContain(tmpdir());
    expect(lines.filter(({ level }) => level === 'ERROR')).toEqual([]);
    await gateway.close();
  });

  test('a port in use is told, and can be tried again', async () => {
    const first = await startGateway();
    const second = new HttpDriver(QUICK, { binary: BINARY, onLog: () => {} });
    onTestFinished(() => second.close());
    await expect(second.listen(first.port)).rejects.toMatchObject({
      name: 'GatewayStartError',
      message: expect.stringMatching(new RegExp(`${first.port} is in use.*\\(\`listen\\(port\\)\`; 0 takes`)),
    });
    await second.listen(0);
  });

  test('a value that is no setting is an error at once', async () => {
    const gateway = new HttpDriver({ drain_s: Number.NaN }, { binary: BINARY });
    await expect(gateway.listen(0)).rejects.toThrow(/`drain_s` is NaN/);
  });

  test('a program that is none', async () => {
    const gateway = new HttpDriver({}, { binary: program('no program\n'), onLog: () => {} });
    await expect(gateway.listen(0)).rejects.toMatchObject({ name: 'GatewayStartError' });
  });

  test('a program that is too old is told so', async () => {
    const old = program(`#!/bin/sh\necho "error: unexpected argument '--exit-on-stdin-close' found" >&2\nexit 2\n`);
    const gateway = new HttpDriver({}, { binary: old, onLog: () => {} });
    await expect(gateway.listen(0)).rejects.toThrow(/older than this package/);
  });

  test('that takes too long is given up, and nothing is left', async () => {
    const gateway = new HttpDriver({}, { binary: stubborn('/never'), startTimeoutMs: 700, onLog: () => {} });
    const error = await gateway.listen(0).catch((error) => error);
    expect(error).toMatchObject({ name: 'GatewayStartError', message: expect.stringContaining('700 ms') });
    const [, port] = /:(\d+)/.exec(error.output) ?? [];
    expect(await accepts(Number(port))).toBe(false);
  });

  test('close() ends a start', async () => {
    const lines: string[] = [];
    const gateway = new HttpDriver({}, { binary: stubborn('/never'), onLog: ({ line }) => lines.push(line) });
    const start = gateway.listen(0).catch((error) => error);
    await eventually(() => lines.length > 0, 'the greeting');
    await gateway.close();
    expect(await start).toMatchObject({ message: expect.stringContaining('close() was called') });
    const [, port] = /:(\d+)/.exec(lines[0]!) ?? [];
    expect(await accepts(Number(port))).toBe(false);
  });
});

describe('the environment and secrets', () => {
  const VARIABLE = 'IDAE_SOCKET_EVENTS';

  test('variables of this program do not count', async () => {
    vi.stubEnv(VARIABLE, 'only-this');
    const { gateway } = await startGateway();
    await gateway.toAll('db-change', 1);
  });

  test('unless they are to', async () => {
    vi.stubEnv(VARIABLE, 'only-this');
    vi.stubEnv('IDAE_SOCKET_PUBLISH_KEY', 'a-long-random-text-0000');
    // The tests' own variable is none that the gateway knows.
    vi.stubEnv('IDAE_SOCKET_BIN', undefined);
    const { gateway } = await startGateway({ events: ['db-change'] }, { inheritEnvironment: true });
    await gateway.toAll('only-this', 1);
    await expect(gateway.toAll('db-change', 1)).rejects.toMatchObject({ code: 'event_not_found' });
  });

  test('a configuration file in the working directory does not count', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'idae-socket.toml'), 'no = "setting"\n');
    const ended = await script(folder, `await gateway.listen(0); await gateway.close();`).ended;
    expect(ended).toMatchObject({ code: 0 });
  });

  test.skipIf(process.platform !== 'linux')('no secret is on the command line, and none stays in a file', async () => {
    const key = 'a-very-secret-key-0000';
    const temporary = temporaryFolder();
    vi.stubEnv('TMPDIR', temporary);
    const { gateway } = await startGateway({ publish: { key } });
    expect(readFileSync(`/proc/${gateway.pid}/cmdline`, 'utf8')).not.toContain(key);
    expect(readFileSync(`/proc/${gateway.pid}/environ`, 'utf8')).not.toContain(key);
    expect(readdirSync(temporary)).toEqual([]);
    await gateway.toAll('x', 1);
  });

  test.skipIf(process.platform === 'win32')('while it is in a file, only this user can read it', async () => {
    // Prints the file's rights instead of starting.
    const nosy = program('#!/bin/sh\nstat -c %a "$4" "$(dirname "$4")" >&2\nexit 3\n');
    const gateway = new HttpDriver({ publish: { key: 'secret' } }, { binary: nosy, onLog: () => {} });
    await expect(gateway.listen(0)).rejects.toMatchObject({ message: '600\n700', exitCode: 3 });
  });
});

describe('publishing', () => {
  test('to a room, a socket, everybody, with options', async () => {
    const { gateway, port } = await startGateway();
    const client = makeClient({ port });
    const { socketId } = await connected(client);
    await client.subscribe('admin');

    const inRoom = heard(client, 'a');
    expect(await gateway.toRoom(['admin', 'other'], 'a', { x: undefined, y: 1 })).toEqual({
      status: 'ok',
      id: expect.any(String),
      sockets: 1,
    });
    expect(await inRoom).toEqual({ payload: { y: 1 }, rooms: ['admin', 'other'] });

    const own = heard(client, 'component/refresh');
    expect(await gateway.toUser(socketId, 'component/refresh', [1])).toMatchObject({ sockets: 1 });
    expect(await own).toMatchObject({ payload: [1] });

    const all = heard(client, 'c:d');
    const options = { id: 'x', sender: { id: 7, token: 't' }, deliver: 'envelope' } as const;
    expect(await gateway.toAll('c:d', undefined, options)).toMatchObject({ id: 'x', sockets: 1 });
    expect(await all).toEqual({ payload: null, sender: { id: 7 } });

    const alone = heard(client, 'e');
    await gateway.toAll('e', 5, { deliver: 'payload' });
    expect(await alone).toBe(5);
    expect(await gateway.toAll('f', 1, { except: socketId })).toMatchObject({ sockets: 0 });
    expect(await gateway.toUser([1, 'b'], 'f', 1)).toMatchObject({ sockets: 0 });
  });

  test.each<[string, GatewayConfiguration['publish']]>([
    ['one key', { key: 'a-long-random-text-0000' }],
    ['a named key without limits', { keys: [{ name: 'a', key: 'a-long-random-text-0000' }] }],
    ['keys with limits alone', { keys: [{ name: 'a', key: 'a-long-random-text-0000', rooms: ['x'] }] }],
  ])('with %s', async (_, publish) => {
    const { gateway, url } = await startGateway({ publish });
    expect(await gateway.toAll('a', 1)).toMatchObject({ status: 'ok' });
    const headers = { 'content-type': 'application/json' };
    const withoutKey = await fetch(`${url}/a`, { method: 'POST', headers, body: '{"broadcast":true,"payload":1}' });
    expect(withoutKey.status).toBe(401);
  });

  test('a refusal has status, code, detail and the places', async () => {
    const { gateway } = await startGateway();
    const error = await gateway.toRoom(['a', ''], 'x', 1).catch((error) => error);
    expect(error).toMatchObject({
      name: 'PublishError',
      status: 422,
      code: 'invalid_value',
      detail: expect.any(String),
      errors: [{ pointer: '/rooms/1', detail: expect.any(String) }],
    });
  });

  test('without a gateway is an error that says so', async () => {
    const gateway = new HttpDriver();
    await expect(gateway.toAll('x', 1)).rejects.toMatchObject({ status: 0, code: 'gateway_unreachable' });
  });
});

describe('logs', () => {
  test('are handed on line by line', async () => {
    const entries: LogEntry[] = [];
    await startGateway({ log: { format: 'json' } }, { onLog: (entry) => entries.push(entry) });
    await eventually(() => entries.length >= 2, 'two lines');
    expect(entries.find(({ level }) => level === 'WARN')).toMatchObject({
      message: expect.stringContaining('auth.strategy'),
      fields: { timestamp: expect.any(String) },
      line: expect.stringMatching(/^\{.*\}$/),
    });
    expect(entries.find(({ message }) => message.includes('listens on'))).toMatchObject({ level: 'INFO' });
  });

  test('as text too', async () => {
    const entries: LogEntry[] = [];
    await startGateway({ log: { format: 'text' } }, { onLog: (entry) => entries.push(entry) });
    await eventually(() => entries.some(({ level }) => level === 'WARN'), 'a warning');
  });

  test('go to standard error by default', async () => {
    const { stderr, stdout } = await script(temporaryFolder(), `await gateway.listen(0); await gateway.close();`).ended;
    expect(stderr).toMatch(/auth\.strategy/);
    expect(stderr).toMatch(/listens on http/);
    expect(stdout).toBe('');
  });
});

describe('an end that nobody asked for', () => {
  /** A gateway, what it tells, and a way to wait for the next of it. */
  async function watched(restart: { delayMs?: number; delayMaxMs?: number; timesMax?: number } | false) {
    const crashes: Crash[] = [];
    const readies: Listening[] = [];
    const started = await startGateway(
      {},
      { restart, onCrash: (crash) => crashes.push(crash), onReady: (listening) => readies.push(listening) },
    );
    return { ...started, crashes, readies };
  }

  test.skipIf(process.platform === 'win32')('it is started again on the same port, after longer and longer waits', async () => {
    const { gateway, port, crashes, readies } = await watched({ delayMs: 20, delayMaxMs: 40 });
    for (const times of [1, 2, 3]) {
      process.kill(gateway.pid!, 'SIGKILL');
      await eventually(() => readies.length === times + 1, `ready again, time ${times}`);
    }
    expect(crashes).toEqual([20, 40, 40].map((restartInMs, index) => ({ exitCode: null, signal: 'SIGKILL', times: index + 1, restartInMs })));
    expect(readies.map((ready) => ready.port)).toEqual([port, port, port, port]);
    await gateway.toAll('x', 1);
  });

  test.skipIf(process.platform === 'win32')('so often and no more', async () => {
    const { gateway, port, crashes, readies } = await watched({ delayMs: 1, timesMax: 1 });
    process.kill(gateway.pid!, 'SIGKILL');
    await eventually(() => readies.length === 2, 'ready again');
    process.kill(gateway.pid!, 'SIGKILL');
    await eventually(() => crashes.length === 2, 'the second crash');
    expect(crashes[1]).toMatchObject({ times: 2, restartInMs: undefined });
    expect(gateway.pid).toBeUndefined();
    expect(await accepts(port)).toBe(false);
  });

  test.skipIf(process.platform === 'win32')('it stays down with restart: false', async () => {
    const { gateway, crashes } = await watched(false);
    process.kill(gateway.pid!, 'SIGKILL');
    await eventually(() => crashes.length === 1, 'the crash');
    expect(crashes[0]).toMatchObject({ restartInMs: undefined });
    await gateway.listen(0);
  });

  test.skipIf(process.platform === 'win32')('told to stop by somebody else, it stays stopped', async () => {
    const { gateway, crashes } = await watched({ delayMs: 1 });
    process.kill(gateway.pid!, 'SIGTERM');
    await eventually(() => crashes.length === 1, 'its end');
    expect(crashes[0]).toMatchObject({ exitCode: 0, restartInMs: undefined });
  });

  test('close() between a crash and the restart ends it', async () => {
    const { gateway, port, crashes, readies } = await watched({ delayMs: 100_000, delayMaxMs: 100_000 });
    process.kill(gateway.pid!, 'SIGKILL');
    await eventually(() => crashes.length === 1, 'the crash');
    await gateway.close();
    expect(readies).toHaveLength(1);
    expect(await accepts(port)).toBe(false);
  });
});

describe('closing', () => {
  test('stops the gateway, is no crash, and may be repeated', async () => {
    const onCrash = vi.fn();
    const { gateway, port } = await startGateway({}, { onCrash });
    await Promise.all([gateway.close(), gateway.close()]);
    expect(await accepts(port)).toBe(false);
    expect(onCrash).not.toHaveBeenCalled();
    await gateway.close();
    expect({ url: gateway.url, pid: gateway.pid }).toEqual({ url: undefined, pid: undefined });
  });

  test('kills one that does not stop', async () => {
    const gateway = new HttpDriver({}, { binary: stubborn(), stopTimeoutMs: 100, onLog: () => {} });
    const { port } = await gateway.listen(0);
    await gateway.close();
    expect(await accepts(port)).toBe(false);
  });
});

describe('the gateway never outlives its parent', () => {
  test.each<[string, string]>([
    ['is killed', `process.kill(process.pid, 'SIGKILL')`],
    ['is terminated', `process.kill(process.pid, 'SIGTERM')`],
    ['calls process.exit()', 'process.exit(0)'],
    ['dies of an exception', `setTimeout(() => { throw new Error('on purpose'); })`],
  ])('that %s', async (_, end) => {
    const parent = script(temporaryFolder(), `const { port } = await gateway.listen(0); console.log(port); ${end};`);
    const { stdout } = await parent.ended;
    const port = Number(stdout);
    expect(port).toBeGreaterThan(0);
    await eventually(async () => !(await accepts(port)), 'the end of the gateway');
  });
});

/** Runs a program of its own that has made a `gateway`. */
function script(folder: string, text: string) {
  const file = join(folder, 'parent.mjs');
  writeFileSync(
    file,
    `import { HttpDriver } from '${SERVER}';
const gateway = new HttpDriver({ drain_s: 0 }, { binary: process.env.BINARY });
${text}
`,
  );
  const child = spawn(process.execPath, [file], { cwd: folder, env: { ...process.env, BINARY }, stdio: 'pipe' });
  onTestFinished(() => void child.kill('SIGKILL'));
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => (stdout += chunk));
  child.stderr.on('data', (chunk) => (stderr += chunk));
  const ended = new Promise<{ code: number | null; stdout: string; stderr: string }>((settle) =>
    child.on('close', (code) => settle({ code, stdout, stderr })),
  );
  return { ended: within(ended, 'the end of the program') };
}
