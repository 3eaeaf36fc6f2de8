// A page in a real browser: the README's one connects, receives, loses the gateway, comes back.

import { expect, test } from 'vitest';
import { HttpDriver } from '@medyll/idae-socket/server';
import { BINARY, QUICK, eventually, startGateway } from '../gateway.js';
import { codeBlocks } from '../readme.mjs';
import { startReference } from '../reference.js';
import { openPage, shows } from './chromium.js';

test('the page of the README', async () => {
  const { gateway, port } = await startGateway();
  const program = codeBlocks().find(({ file }) => file === 'page.js')!.text;
  const opened = await openPage(program, { gatewayPort: port });
  const publish = (id: number, by: HttpDriver = gateway) =>
    // It joins its room a moment after it has connected.
    eventually(async () => (await by.toRoom('admin', 'db-change', { entity: 'users', id })).sockets === 1, 'the page');

  await shows(opened, 'Connected.');
  await publish(1);
  await shows(opened, 'users 1.');

  await gateway.close();
  await shows(opened, 'Lost.');
  const second = new HttpDriver(QUICK, { binary: BINARY, onLog: () => {} });
  try {
    await second.listen(port);
    await shows(opened, 'Connected.', 2);
    await publish(2, second);
    await shows(opened, 'users 2.');
  } finally {
    await opened.page.close();
    await second.close();
  }
});

test('a refused page learns why, and comes back with a better token', async () => {
  const { port, shown } = await startReference(({ token }) => (token === 'good' ? undefined : 'token_expired'), {
    cors: { origin: true },
  });
  const opened = await openPage(
    `import { EventDataClientInstance } from '@medyll/idae-socket';
const client = new EventDataClientInstance({ authentication: { authMode: 'Bearer', auth: 'bad' } });
client.onConnectError = async ({ message, code, willRetry }) => {
  document.body.append(\`\${message} (\${code}, \${willRetry}). \`);
  document.body.append(\`\${(await client.setToken('good')).status}. \`);
};
client.onConnect = () => document.body.append('Connected.');
client.connect();`,
    { gatewayPort: port },
  );
  await shows(opened, 'Unauthorized: token_expired (token_expired, false).');
  await shows(opened, 'ok.');
  await shows(opened, 'Connected.');
  expect(shown.map(({ token }) => token)).toEqual(['bad', 'good']);
});
