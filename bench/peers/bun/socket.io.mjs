// The gateway's job with socket.io on Bun's own server.
// bun socket.io.mjs PORT

import { Server as Engine } from '@socket.io/bun-engine';
import { Server } from 'socket.io';

const io = new Server();
const engine = new Engine({ path: '/socket.io/' });
io.bind(engine);

io.on('connection', (socket) => {
  socket.on('subscribe', (rooms, acknowledge) => {
    socket.join(rooms);
    acknowledge({ ok: true, rooms });
  });
});

const handler = engine.handler();

Bun.serve({
  ...handler,
  hostname: '127.0.0.1',
  port: Number(process.argv[2]),
  async fetch(request, server) {
    if (request.method !== 'POST') return handler.fetch(request, server);
    const body = await request.json();
    io.to(body.rooms).emit(new URL(request.url).pathname.slice(1), body);
    return Response.json({ ok: true });
  },
});
