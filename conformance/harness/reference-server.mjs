#!/usr/bin/env node
// The suite server built from the reference implementation (npm socket.io and its engine.io).
// It exists to check the tests themselves: a suite case that fails against this server is a
// wrong case. Same port flag as the real example server, so either of these works:
//
//   IDAE_SOCKET_SUITE_BIN=harness/reference-server.mjs node --test engineio-suite.test.js
//   node harness/reference-server.mjs --port 4010 &
//   IDAE_SOCKET_SUITE_URL=http://127.0.0.1:4010 node --test engineio-suite.test.js

import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { Server as SocketServer } from 'socket.io';
import { spokenParser } from './reference-parser.mjs';

// engine.io comes with socket.io; it is found through it so that the versions fit.
const require = createRequire(createRequire(import.meta.url).resolve('socket.io'));
const { Server: EngineServer } = require('engine.io');

const number = (value) => ({ type: 'string', default: String(value) });
const { values } = parseArgs({
  options: { port: number(0), 'ping-interval-ms': number(300), 'ping-timeout-ms': number(200) },
});
const settings = {
  pingInterval: Number(values['ping-interval-ms']),
  pingTimeout: Number(values['ping-timeout-ms']),
  maxHttpBufferSize: 1_000_000,
};

const http = createServer((_, response) => {
  response.statusCode = 404;
  response.end();
});

const engine = new EngineServer(settings);
engine.attach(http, { path: '/engine.io/', destroyUpgrade: false });
engine.on('connection', (session) => {
  session.on('data', (data) => session.send(data));
});

const sockets = new SocketServer(http, {
  ...settings,
  path: '/socket.io/',
  connectTimeout: 1000,
  destroyUpgrade: false,
  ...spokenParser(),
});
for (const name of ['/', '/custom']) {
  sockets.of(name).on('connection', (socket) => {
    socket.emit('auth', socket.handshake.auth);
    socket.on('message', (...args) => socket.emit('message-back', ...args));
    socket.on('message-with-ack', (...args) => {
      const ack = args.pop();
      if (typeof ack === 'function') ack(...args);
    });
    socket.on('leave', () => socket.disconnect());
    socket.on('close', () => socket.disconnect(true));
    // Without a listener an event called `error` would end this process.
    socket.on('error', () => {});
  });
}

http.listen(Number(values.port), '127.0.0.1', () => {
  process.stdout.write(`http://127.0.0.1:${http.address().port}\n`);
});
