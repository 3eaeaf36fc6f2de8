// A TCP proxy on loopback, for faults that a client cannot produce by itself.

import { connect, createServer } from 'node:net';

/**
 * Passes everything on at once, except that a request for a WebSocket is held back until
 * `release()`. A stock client upgrades right after opening; behind this proxy it is still on
 * polling when the test begins to send, so that the upgrade falls into the middle.
 */
export async function slowUpgradeProxy(t, target) {
  let release;
  const released = new Promise((settle) => (release = settle));
  const open = new Set();
  const proxy = createServer((near) => {
    const far = connect(target.port, target.host ?? '127.0.0.1');
    for (const socket of [near, far]) {
      open.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        open.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.once('data', (first) => {
      near.pause();
      const passed = /transport=websocket/.test(first.toString('latin1')) ? released : Promise.resolve();
      passed.then(() => {
        far.write(first);
        near.pipe(far);
      });
    });
    far.pipe(near);
  });
  await new Promise((listening) => proxy.listen(0, '127.0.0.1', listening));
  t.after(() => {
    for (const socket of open) socket.destroy();
    proxy.close();
  });
  const { port } = proxy.address();
  return { host: '127.0.0.1', port, url: `http://127.0.0.1:${port}`, release };
}
