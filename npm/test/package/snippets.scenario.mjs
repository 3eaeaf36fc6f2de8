// Started by snippets.test.ts, in a project that has installed the packages: runs each block and
// looks at what it prints. README_BLOCKS holds the blocks.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { after, test } from 'node:test';

const WAIT_MS = 15_000;
const blocks = JSON.parse(process.env.README_BLOCKS);
delete process.env.README_BLOCKS;

/** Blocks that no test has taken yet. */
const left = new Set(blocks);

function block(fits) {
  const found = blocks.find(fits);
  assert.ok(found, `no such block: ${fits}`);
  left.delete(found);
  return found;
}
const shell = (start) => block(({ language, text }) => language === 'sh' && text.startsWith(start)).text;

const running = new Set();
after(() => {
  for (const program of running) program.end('SIGKILL');
});

/** A command line, with what it has printed. */
class Program {
  output = '';
  #wake = () => {};

  constructor(line) {
    this.line = line;
    // A group of its own: `npx` starts others, and all of them are to end.
    this.child = spawn('bash', ['-c', line], { detached: true });
    running.add(this);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text) => {
        this.output += text;
        this.#wake();
      });
    }
    this.ended = new Promise((settle) =>
      this.child.on('close', (code) => {
        running.delete(this);
        this.code = code;
        this.#wake();
        settle(code);
      }),
    );
  }

  /** Waits until the output, its blanks made one, has this so many times. */
  async prints(text, times = 1) {
    const deadline = Date.now() + WAIT_MS;
    const count = () => this.output.replace(/\s+/g, ' ').split(text).length - 1;
    while (count() < times) {
      const says = `${this.line}\nprints "${text}" ${times} times; it printed:\n${this.output}`;
      assert.ok(this.code === undefined, `ended with ${this.code} before\n${says}`);
      assert.ok(Date.now() < deadline, `never\n${says}`);
      await new Promise((wake) => {
        const timer = setTimeout(wake, 100);
        this.#wake = () => {
          clearTimeout(timer);
          wake();
        };
      });
    }
  }

  end(signal = 'SIGTERM') {
    try {
      process.kill(-this.child.pid, signal);
    } catch {
      // It has ended by itself.
    }
    return this.ended;
  }
}

const node = (file) => {
  const { file: name } = block((each) => each.file === file);
  return new Program(`exec node ${name.replace(/\.ts$/, '.mjs')}`);
};

/** Runs a line to its end and returns what it printed. */
async function done(line) {
  const program = new Program(line);
  assert.equal(await program.ended, 0, `${line}\n${program.output}`);
  return program.output;
}

/** Publishes until somebody got it: a client joins its room a moment after it has connected. */
async function publish(line) {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const output = await done(line);
    if (/"sockets":[1-9]/.test(output)) return;
    assert.ok(Date.now() < deadline, `nobody gets ${line}: ${output}`);
  }
}

/** Waits until nobody listens: the gateway may still be busy with its end when its parent is gone. */
async function isFree(port) {
  const deadline = Date.now() + WAIT_MS;
  const accepts = () =>
    new Promise((settle) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy();
        settle(true);
      });
      socket.on('error', () => settle(false));
    });
  while (await accepts()) assert.ok(Date.now() < deadline, `port ${port} is still in use`);
}

test('the README', async (t) => {
  const curl = shell("curl -d '{\"rooms\"");
  let gateway = node('gateway.mjs');

  await t.test('the first minute', async () => {
    await gateway.prints('listens on http://127.0.0.1:4000');
    const client = node('client.mjs');
    await client.prints('Connected: ');
    await publish(curl);
    await client.prints("{ payload: { entity: 'users', action: 'update', id: 123 }, rooms: [ 'admin' ] }");

    // Stop the gateway and start it again, this time from a shell.
    await gateway.end();
    await client.prints('Disconnected');
    await isFree(4000);
    gateway = new Program(shell('npx @medyll/idae-socket serve'));
    await gateway.prints('listens on http://127.0.0.1:4000');
    await client.prints('Connected: ', 2);
    await publish(curl);
    await client.prints('id: 123', 2);
    await client.end();
  });

  await t.test('with a token', async () => {
    const client = node('with-token.mjs');
    await client.prints('Connected: ');
    await publish(shell("curl -d '{\"broadcast\""));
    await client.prints('{ payload: { id: 123 } }');
    await client.end();
  });

  for (const [file, prints] of [
    ['set-token.mjs', 'The token is accepted'],
    ['token-function.mjs', 'Connected with a fresh token'],
    ['publisher.mjs', "{ status: 'ok', id: '"],
    ['typed.ts', ''],
  ]) {
    await t.test(file, async () => {
      const program = node(file);
      assert.equal(await program.ended, 0, program.output);
      assert.ok(program.output.includes(prints), program.output);
    });
  }

  await t.test('backend.mjs', async () => {
    const program = node('backend.mjs');
    assert.equal(await program.ended, 0, program.output);
    for (const line of ['listening on http://127.0.0.1:', 'delivered to 0 sockets', '404 event_not_found']) {
      assert.ok(program.output.includes(line), program.output);
    }
  });

  await t.test('changes.ts', async () => {
    const program = node('changes.ts');
    await program.prints('load all users');
    await publish(curl);
    await program.prints('user 123: update');
    await program.end();
  });

  await t.test('connector.mjs', async () => {
    const program = node('connector.mjs');
    await program.prints('listening');
    await publish(curl);
    await program.prints('changed: users 123');
    await program.end();
  });

  await t.test('the command', async () => {
    const [publishing, listening, checking, ...more] = shell('npx @medyll/idae-socket publish').trim().split('\n');
    assert.deepEqual(more, []);
    const listener = new Program(listening);
    const deadline = Date.now() + WAIT_MS;
    while (!listener.output.includes('db-change')) {
      assert.ok(Date.now() < deadline, listener.output);
      await done(publishing);
    }
    await listener.end();
    await done(checking);
  });

  await gateway.end();
  assert.deepEqual([...left], [], 'blocks that nobody ran');
});
