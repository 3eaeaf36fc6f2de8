// The gateway's job on Bun's WebSockets, which are uWebSockets, as bare as they come: no Socket.IO, the rooms of a
// socket are in its address. What is left is about the least that a program in a scripting language can need.
// bun websocket.mjs PORT

Bun.serve({
  hostname: '127.0.0.1',
  port: Number(process.argv[2]),
  async fetch(request, server) {
    const url = new URL(request.url);
    if (request.method === 'POST') {
      const text = await request.text();
      const message = `[${JSON.stringify(url.pathname.slice(1))},${text}]`;
      for (const room of JSON.parse(text).rooms) server.publish(room, message);
      return Response.json({ ok: true });
    }
    const rooms = url.searchParams.get('rooms')?.split(',') ?? [];
    if (server.upgrade(request, { data: rooms })) return;
    return new Response('a WebSocket or a POST, please', { status: 400 });
  },
  websocket: {
    // The load generator answers no pings, and a run is shorter than this.
    idleTimeout: 960,
    open(socket) {
      for (const room of socket.data) socket.subscribe(room);
    },
    message() {},
  },
});
