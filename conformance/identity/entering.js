// What the identity tests share: settings as TOML, ways to be let in or not, and what the gateway
// writes down about it.

import assert from 'node:assert/strict';
import { eventually, nextValue } from '../harness/events.js';
import { startGateway } from '../harness/gateway.js';
import { request } from '../harness/raw.js';
import { SID, ask, client, connected, openSession } from '../harness/sessions.js';
import { SECRET } from './tokens.js';

/** The text of a TOML file: tables are objects, tables in a list are lists of objects. */
export function toml(tree) {
  const isTable = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
  const isTables = (value) => Array.isArray(value) && value.length > 0 && value.every(isTable);
  const rows = (table, path) => {
    const entries = Object.entries(table).filter(([, value]) => value !== undefined);
    const plain = entries.filter(([, value]) => !isTable(value) && !isTables(value));
    const lines = plain.map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
    for (const [key, value] of entries) {
      const name = [...path, key].join('.');
      if (isTable(value)) lines.push(`[${name}]`, ...rows(value, [...path, key]));
      if (isTables(value)) for (const item of value) lines.push(`[[${name}]]`, ...rows(item, [...path, key]));
    }
    return lines;
  };
  return `${rows(tree, []).join('\n')}\n`;
}

/** `[auth]` with tokens of the secret. */
export const JWT = { strategy: 'jwt', jwt_secret: SECRET };

/** A gateway with these settings, ended with the test if there is one. */
export async function open(t, tree, options = {}) {
  const gateway = await startGateway({ config: toml(tree), ...options });
  t?.after(() => gateway.end());
  return gateway;
}

/** A stock client that is let in with this token. */
export function enter(t, gateway, token, options = {}) {
  return connected(t, gateway, { transports: ['websocket'], auth: { token, recovery: false }, ...options });
}

/** What a stock client is told when it is not let in: `{code, message}`. */
export async function refusal(t, gateway, options = {}) {
  const socket = client(t, gateway, { transports: ['websocket'], ...options });
  const refused = nextValue(socket, 'connect_error', options.waitMs);
  const entered = new Promise((_, reject) => socket.once('connect', () => reject(new Error('was let in'))));
  entered.catch(() => {});
  socket.connect();
  const error = await Promise.race([refused, entered]);
  assert.match(error.message, /^Unauthorized: ./);
  assert.deepEqual(Object.keys(error.data ?? {}), ['code'], JSON.stringify(error.data));
  // A client that is active would try again with what was just refused.
  assert.equal(socket.active, false);
  socket.disconnect();
  return { code: error.data.code, message: error.message };
}

/** Who the gateway takes the socket for, in one form whatever is absent. */
export function plainInfo(info) {
  assert.equal(info.status, 'ok', JSON.stringify(info));
  assert.ok(Array.isArray(info.roles) && Array.isArray(info.rooms), JSON.stringify(info));
  return {
    user: info.user ?? null,
    roles: [...info.roles].sort(),
    rooms: [...info.rooms].sort(),
    expiresAt: info.expiresAt ?? null,
  };
}

export const whoIs = async (socket) => plainInfo(await ask(socket, 'token:info'));

/** One raw WebSocket on which one token after the other is tried: a refusal leaves it open. */
export class Door {
  static async open(t, gateway, options = {}) {
    const door = new Door();
    door.websocket = await openSession(gateway, options);
    t?.after(() => door.websocket.connection.socket.destroy());
    return door;
  }

  /**
   * Sends CONNECT and returns `{code, message}` of the refusal, or `{code: null, sid, user, roles,
   * rooms, expiresAt}`; the namespace is left again.
   */
  async knock(auth, { namespace = '/', waitMs } = {}) {
    const prefix = namespace === '/' ? '' : `${namespace},`;
    this.websocket.sendText(`40${prefix}${auth === undefined ? '' : typeof auth === 'string' ? auth : JSON.stringify(auth)}`);
    const text = await this.#answer([`40${prefix}`, `44${prefix}`], waitMs);
    const answer = JSON.parse(text.slice(2 + prefix.length));
    if (text.startsWith('44')) {
      this.last = text;
      return { code: answer.data?.code, message: answer.message };
    }
    assert.match(answer.sid, SID);
    this.websocket.sendText(`42${prefix}0["token:info"]`);
    const [info] = JSON.parse((await this.#answer([`43${prefix}0`])).slice(3 + prefix.length));
    this.websocket.sendText(`41${prefix}`);
    return { code: null, sid: answer.sid, ...plainInfo(info) };
  }

  /** The code only; null when let in. */
  async code(auth, options) {
    return (await this.knock(auth, options)).code;
  }

  async #answer(starts, waitMs) {
    for (;;) {
      const text = await this.websocket.nextText(waitMs);
      if (starts.some((start) => text.startsWith(start))) return text;
      // Events of the time between are not what was asked for.
      assert.match(text, /^42/, text);
    }
  }
}

/** How often which refusal was counted. */
export async function refusals(gateway) {
  const reply = await request(gateway, { path: '/metrics' });
  assert.equal(reply.status, 200, reply.text);
  const rows = reply.text.matchAll(/^idae_socket_refusals_total\{code="([a-z0-9_]+)"\} (\d+)$/gm);
  const counts = Object.fromEntries([...rows].map(([, code, count]) => [code, Number(count)]));
  return { text: reply.text, type: reply.headers['content-type'], of: (code) => counts[code] ?? 0 };
}

/** The lines of the log so far, as objects. */
export function logLines(gateway) {
  return gateway.stderr
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line));
}

/** Waits for a line of the log that has all these words and returns it. */
export function logLine(gateway, ...words) {
  return eventually(
    () => logLines(gateway).find((line) => words.every((word) => JSON.stringify(line).includes(word))),
    `a log line with ${words.join(' and ')} in:\n${gateway.stderr}`,
  );
}
