// The gateway's job with what most people would write it with: express and socket.io on Node.
// node server.mjs PORT

import { createServer } from 'node:http';
import express from 'express';
import { Server } from 'socket.io';

const app = express();
const server = createServer(app);
const io = new Server(server);

io.on('connection', (socket) => {
  socket.on('subscribe', (rooms, acknowledge) => {
    socket.join(rooms);
    acknowledge({ ok: true, rooms });
  });
});

app.post('/:event', express.json(), (request, response) => {
  io.to(request.body.rooms).emit(request.params.event, request.body);
  response.json({ ok: true });
});

// Node ends idle connections after 5 s, which a publisher that is about to use one takes for a failure.
server.keepAliveTimeout = 120_000;
server.listen(Number(process.argv[2]), '127.0.0.1');
