// nginx as a process of the test: its own folder, ports and end. The system's nginx is not touched.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { eventually } from '../harness/events.js';
import { Program, freePort } from '../harness/gateway.js';

const NGINX = process.env.NGINX_BIN ?? '/usr/sbin/nginx';

/** A file of `deploy/`. */
export const deployed = (name) => readFileSync(new URL(`../../deploy/${name}`, import.meta.url), 'utf8');

/** Replaces what must be there. */
export function replaced(text, replacements) {
  for (const [from, to] of replacements) {
    assert.ok(text.includes(from), `there is no "${from}" in:\n${text}`);
    text = text.replaceAll(from, to);
  }
  return text;
}

/** A certificate for this machine, by the command of deploy/README.md. */
export function certificate(t) {
  const folder = mkdtempSync(join(tmpdir(), 'idae-socket-tls-'));
  t?.after(() => rmSync(folder, { recursive: true, force: true }));
  const [key, chain] = [join(folder, 'privkey.pem'), join(folder, 'fullchain.pem')];
  const names = 'subjectAltName=DNS:localhost,DNS:events.example.com,IP:127.0.0.1';
  const args = `req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -addext ${names}`;
  execFileSync('openssl', [...args.split(' '), '-keyout', key, '-out', chain], { stdio: 'pipe' });
  return { key, chain, pem: readFileSync(chain), keyPem: readFileSync(key), folder };
}

/**
 * Starts nginx with what stands inside of `http { }`. `http` gets a function that gives out free
 * ports, and is called again with others when one of them was taken meanwhile.
 */
export async function startNginx(t, http) {
  const folder = mkdtempSync(join(tmpdir(), 'idae-socket-nginx-'));
  const stop = [];
  t.after(async () => {
    for (const program of stop) await program.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  for (let attempt = 1; ; attempt += 1) {
    const ports = {};
    const inside = await http(async (name) => (ports[name] ??= await freePort()));
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
    const file = join(folder, 'nginx.conf');
    writeFileSync(
      file,
      `${userInfo().uid === 0 ? 'user root;' : ''}
daemon off;
# One process: it ends whole, however it ends.
master_process off;
pid ${folder}/nginx.pid;
error_log stderr notice;
events {}
http {
    access_log off;
    ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n    ')}
${inside}
}
`,
    );
    const program = new Program(NGINX, ['-p', folder, '-c', file, '-e', 'stderr']);
    stop.push(program);
    const [port] = Object.values(ports);
    try {
      await eventually(() => {
        if (program.ended) throw new Error(`nginx ended:\n${program.logs}`);
        return answers(port);
      }, 'nginx to listen');
      return { program, ports };
    } catch (error) {
      if (attempt === 3 || !/Address already in use/.test(program.logs)) {
        throw new Error(`${error.message}\n${program.logs}`);
      }
    }
  }
}

function answers(port) {
  return new Promise((settle) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      settle(true);
    });
    socket.on('error', () => settle(false));
  });
}

/**
 * nginx with the files of `deploy/nginx/`: other ports, and this certificate. `change` may edit the
 * text, to see what a mistake does.
 */
export async function startDeployed(t, gateway, { tls = certificate(t), change = (text) => text } = {}) {
  const { program, ports } = await startNginx(t, async (port) =>
    change(
      replaced(deployed('nginx/upstream.conf') + deployed('nginx/idae-socket.conf'), [
        ['server 127.0.0.1:4000;', `server 127.0.0.1:${gateway.port};`],
        ['listen 443 ssl;', `listen 127.0.0.1:${await port('https')} ssl;`],
        ['listen [::]:443 ssl;', ''],
        ['listen 80;', `listen 127.0.0.1:${await port('http')};`],
        ['listen [::]:80;', ''],
        ['/etc/nginx/tls/', `${tls.folder}/`],
      ]),
    ),
  );
  return { program, tls, plain: `http://127.0.0.1:${ports.http}`, url: `https://127.0.0.1:${ports.https}` };
}

/** What a beginner's configuration lacks. */
export const withoutUpgrade = (text) =>
  replaced(text, [
    ['proxy_set_header Upgrade           $http_upgrade;', ''],
    ['proxy_set_header Connection        $idae_socket_connection;', ''],
  ]);
