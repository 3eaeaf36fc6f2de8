// The files of deploy/ and .github/ that no test can run as they stand: what they name has to exist,
// what they promise has to be in them, and those that are parsed somewhere have to be parsable.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Document } from '../examples/documents.js';
import { runGateway } from '../harness/gateway.js';
import { deployed } from './nginx.js';

const { yaml } = createRequire(import.meta.url)('playwright-core/lib/utilsBundle');
const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path) => readFileSync(join(root, path), 'utf8');
const binary = resolve(join(root, 'conformance'), process.env.IDAE_SOCKET_BIN ?? '../target/conformance/idae-socket');
const SECRETS = { IDAE_SOCKET_JWT_SECRET: 'a-secret-of-this-test-and-no-document', IDAE_SOCKET_PUBLISH_KEY: 'a-key-of-this-test-alone' };

/** Insists that the gateway would start with these settings, and that nothing is worth a warning. */
async function assertStarts(options) {
  const { code, stderr, stdout } = await runGateway({ ...options, args: ['check', ...(options.args ?? [])] });
  assert.equal(code, 0, stderr);
  assert.equal(stderr, '');
  assert.doesNotMatch(stdout, /^warning:/m);
  return stdout;
}

/** A Dockerfile as stages of instructions. */
function stages(text) {
  const lines = text.replaceAll(/\\\n/g, ' ').split('\n');
  const known = ['FROM', 'RUN', 'ENV', 'WORKDIR', 'COPY', 'USER', 'EXPOSE', 'HEALTHCHECK', 'ENTRYPOINT'];
  const all = [];
  for (const line of lines.filter((each) => each.trim() && !each.startsWith('#'))) {
    const [, name, rest] = /^([A-Z]+) +(.*)$/.exec(line) ?? assert.fail(`no instruction: ${line}`);
    assert.ok(known.includes(name), `an instruction that this test does not know: ${name}`);
    if (name === 'FROM') all.push([]);
    all.at(-1).push({ name, rest: rest.replaceAll(/\s+/g, ' ').trim() });
  }
  return all;
}

describe('the image', () => {
  const [build, image] = stages(deployed('Dockerfile'));
  const all = (stage, name) => stage.filter((each) => each.name === name).map(({ rest }) => rest);

  test('is built with the Rust that the workspace asks for', () => {
    const [, version] = /^rust-version = "(.*)"$/m.exec(read('Cargo.toml'));
    assert.deepEqual(all(build, 'FROM'), [`rust:${version}-bookworm AS build`]);
  });

  test('contains the binary and the certificates, and nothing else', () => {
    assert.deepEqual(all(image, 'FROM'), ['scratch']);
    assert.deepEqual(all(image, 'RUN'), []);
    const run = all(build, 'RUN').join('\n');
    for (const copy of all(image, 'COPY')) {
      const [, from] = /^--from=build (\S+) \S+$/.exec(copy) ?? assert.fail(copy);
      // Debian's own, which the official image has, or made by the build.
      assert.ok(from === '/etc/ssl/certs/ca-certificates.crt' || run.includes(from), from);
    }
    assert.match(read('crates/cli/Cargo.toml'), /^name = "idae-socket-cli"$/m);
    assert.match(run, /--package idae-socket-cli /);
    assert.match(run, /release\/idae-socket" \/image\/idae-socket/);
  });

  test('runs as nobody, and says where its program is', () => {
    assert.deepEqual(all(image, 'USER'), ['65532:65532']);
    const [target] = all(image, 'COPY').filter((copy) => copy.includes('/image/idae-socket')).map((copy) => copy.split(' ').at(-1));
    assert.deepEqual(JSON.parse(all(image, 'ENTRYPOINT')[0]), [target]);
    // What it does is a test of operations.test.js.
    const [health] = all(image, 'HEALTHCHECK');
    assert.deepEqual(JSON.parse(health.slice(health.indexOf('CMD ') + 4)), [target, 'check', '--ready']);
  });

  test('holds no secret, and is closed without configuration', async () => {
    const environment = all(image, 'ENV').map((each) => each.split('='));
    assert.deepEqual(environment, [['IDAE_SOCKET_HOST', '0.0.0.0']]);
    const bare = await runGateway({ args: ['check'], env: Object.fromEntries(environment) });
    assert.equal(bare.code, 1);
    assert.match(bare.stderr, /auth\.strategy/);
    await assertStarts({ env: { ...Object.fromEntries(environment), IDAE_SOCKET_AUTH_STRATEGY: 'jwt', ...SECRETS } });
  });

  test('gets the whole workspace, and not what is large or private', () => {
    const ignored = read('.dockerignore').split('\n').filter((line) => line && !line.startsWith('#'));
    const members = read('Cargo.toml').match(/^members = (\[.*\])$/m)[1];
    for (const member of JSON.parse(members)) {
      assert.ok(!ignored.includes(member.split('/')[0]), member);
    }
    for (const needed of ['Cargo.toml', 'Cargo.lock', '.cargo']) assert.ok(!ignored.includes(needed), needed);
    for (const unwanted of ['.git', 'target', '**/node_modules', 'deploy']) assert.ok(ignored.includes(unwanted), unwanted);
    // What the sources include at compile time has to be there too.
    const sources = (folder) =>
      readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
        const path = `${folder}/${entry.name}`;
        return entry.isDirectory() ? sources(path) : path.endsWith('.rs') ? [path] : [];
      });
    for (const path of sources('crates').filter((each) => /\/src\//.test(each))) {
      const outside = read(path).split('#[cfg(test)]')[0].match(/include_(?:str|bytes)!\("((?:\.\.\/){3,}[^"]+)"\)/g) ?? [];
      for (const include of outside) {
        const [, inner] = /"(?:\.\.\/)+([^"/]+)/.exec(include);
        assert.ok(!ignored.includes(inner), `${path}: ${include} is ignored`);
      }
    }
  });
});

describe('compose', () => {
  const compose = yaml.parse(deployed('compose/compose.yaml'));
  const { gateway, nginx } = compose.services;
  const inCompose = (path) => join(root, 'deploy/compose', path);

  test('builds and mounts what exists', () => {
    assert.equal(resolve(inCompose(gateway.build.context)), resolve(root));
    assert.ok(existsSync(join(root, gateway.build.dockerfile)));
    for (const volume of nginx.volumes) {
      const [from, to] = volume.split(':');
      // The certificate is made by the reader.
      if (from !== './tls') assert.ok(statSync(inCompose(from)).isFile(), volume);
      if (from === './tls') assert.ok(deployed('nginx/idae-socket.conf').includes(`${to}/fullchain.pem`));
    }
  });

  test('the gateway would start, and believes nginx and nobody else', async () => {
    const env = Object.fromEntries(Object.entries(gateway.environment).filter(([name]) => !name.endsWith('_FILE')));
    await assertStarts({ env: { IDAE_SOCKET_HOST: '0.0.0.0', ...env, ...SECRETS } });
    assert.equal(env.IDAE_SOCKET_TRUSTED_PROXIES, nginx.networks.inside.ipv4_address);
    for (const [name, path] of Object.entries(gateway.environment).filter(([key]) => key.endsWith('_FILE'))) {
      assert.ok(gateway.secrets.includes(path.replace('/run/secrets/', '')), name);
    }
    assert.match(deployed('compose/upstream.conf'), /server gateway:4000;/);
    assert.equal(gateway.ports, undefined, 'the gateway is reached through nginx alone');
  });

  test('secrets are files that git does not take', () => {
    const ignored = deployed('compose/.gitignore').split('\n');
    for (const { file } of Object.values(compose.secrets)) {
      assert.ok(ignored.some((line) => line && file.startsWith(`.${line}/`)), file);
    }
    assert.ok(ignored.includes('/tls'));
  });
});

describe('systemd', () => {
  const unit = deployed('idae-socket.service');

  test('the configuration beside the unit is one that starts', async () => {
    await assertStarts({ config: deployed('idae-socket.toml'), env: SECRETS });
    assert.match(unit, /--config \/etc\/idae-socket\/idae-socket\.toml$/m);
    const [, files] = /^LimitNOFILE=(\d+)$/m.exec(unit);
    const [, connections] = /^connections_max = (\d+)/m.exec(deployed('idae-socket.toml'));
    assert.ok(Number(files) > Number(connections));
  });

  test('its secrets are the ones it is told of', () => {
    const loaded = [...unit.matchAll(/^LoadCredential=(\w+):/gm)].map(([, name]) => name);
    const told = [...unit.matchAll(/^Environment=IDAE_SOCKET_\w+_FILE=%d\/(\w+)$/gm)].map(([, name]) => name);
    assert.deepEqual(loaded, told);
    assert.deepEqual(loaded, ['jwt_secret', 'publish_key']);
  });

  const analyze = (...args) => spawnSync('systemd-analyze', args, { encoding: 'utf8', timeout: 60_000 });
  const isThere = analyze('--version').status === 0;

  test('systemd understands it, and finds little to fear', { skip: !isThere && 'no systemd-analyze' }, (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'idae-socket-unit-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'idae-socket.service');
    // The binary has to exist where the unit says.
    writeFileSync(file, unit.replaceAll('/usr/local/bin/idae-socket', binary));
    const verified = analyze('verify', file);
    assert.equal(verified.status, 0, verified.stdout + verified.stderr);
    assert.equal(verified.stdout + verified.stderr, '');
    const rated = analyze('security', '--offline=yes', '--threshold=20', file);
    assert.equal(rated.status, 0, rated.stdout.split('\n').slice(-3).join('\n') + rated.stderr);
  });
});

describe('a proxy that no test runs', () => {
  test('Traefik: every router has its service, and the health check its answer', () => {
    const { http } = yaml.parse(deployed('traefik.yaml'));
    for (const [name, router] of Object.entries(http.routers)) assert.ok(http.services[router.service], name);
    assert.equal(http.services['idae-socket'].loadBalancer.healthCheck.path, '/readyz');
    assert.match(http.routers['idae-socket'].rule, /PathPrefix\(`\/socket\.io\/`\)/);
  });
});

describe('workflows', () => {
  const release = yaml.parse(read('.github/workflows/release.yml'));
  const ci = yaml.parse(read('.github/workflows/ci.yml'));

  test('ci runs .ci/run, and nothing that it does not do', () => {
    const commands = ci.jobs.all.steps.flatMap(({ run }) => run ?? []);
    assert.deepEqual(commands, ['.ci/run']);
    assert.ok(statSync(join(root, '.ci/run')).mode & 0o100);
  });

  test('a release has the five binaries and their checksums', () => {
    const targets = release.jobs.build.strategy.matrix.include.map(({ target }) => target);
    assert.deepEqual(targets, [
      'x86_64-unknown-linux-musl',
      'aarch64-unknown-linux-musl',
      'x86_64-apple-darwin',
      'aarch64-apple-darwin',
      'x86_64-pc-windows-msvc',
    ]);
    assert.deepEqual(release.on.push.tags, ['v*']);
    assert.ok(release.jobs.release.steps.some(({ run }) => run?.includes('sha256sum')));
    // Only the job that makes the release may write, and only for a tag.
    assert.deepEqual(release.permissions, { contents: 'read' });
    assert.deepEqual(release.jobs.release.permissions, { contents: 'write' });
    assert.equal(release.jobs.release.if, "github.ref_type == 'tag'");
  });

  test('each step is shell that can be read', () => {
    for (const [name, workflow] of Object.entries({ release, ci })) {
      for (const job of Object.values(workflow.jobs)) {
        for (const { run } of job.steps.filter((step) => step.run)) {
          const checked = spawnSync('bash', ['-n'], { input: run.replaceAll(/\$\{\{.*?\}\}/g, 'x'), encoding: 'utf8' });
          assert.equal(checked.status, 0, `${name}: ${run}\n${checked.stderr}`);
        }
      }
    }
  });

  test('the version that the tag is held against is found', () => {
    const step = release.jobs.build.steps.find(({ name }) => name === 'The tag is the version');
    const version = /^version = "(.*)"$/m.exec(/\[workspace\.package\]([^[]*)/.exec(read('Cargo.toml'))[1])[1];
    const held = (tag) => spawnSync('bash', ['-euc', step.run], { cwd: root, env: { ...process.env, GITHUB_REF_NAME: tag } }).status;
    assert.equal(held(`v${version}`), 0);
    assert.equal(held('v999.0.0'), 1);
  });

  test('what is packed exists', () => {
    const { run } = release.jobs.build.steps.find(({ name }) => name === 'Pack');
    for (const [file] of run.matchAll(/\b(README\.md|CHANGELOG\.md|LICENSE-\w+)\b/g)) {
      assert.ok(existsSync(join(root, file)), file);
    }
  });
});

describe('deploy/README.md', () => {
  const doc = new Document('deploy/README.md');
  after(() => doc.assertAllAsked());

  test('secrets and certificate for Compose', (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'idae-socket-compose-'));
    t.after(() => rmSync(folder, { recursive: true }));
    mkdirSync(folder, { recursive: true });
    execFileSync('bash', ['-euc', doc.snippet('compose-secrets')], { cwd: folder, stdio: 'pipe' });
    for (const name of ['jwt_secret', 'publish_key']) {
      assert.ok(readFileSync(join(folder, 'secrets', name)).length >= 44);
    }
    assert.equal(statSync(join(folder, 'secrets')).mode & 0o077, 0);
    assert.match(readFileSync(join(folder, 'tls/fullchain.pem'), 'utf8'), /BEGIN CERTIFICATE/);
  });

  test('the commands that need Docker are those that image.sh runs', () => {
    const script = readFileSync(new URL('image.sh', import.meta.url), 'utf8');
    for (const name of ['docker-build', 'docker-run', 'docker-check', 'compose-up']) {
      assert.match(doc.snippet(name), /^docker /m);
      assert.ok(script.includes(`$(snippet ${name})`), name);
    }
    const { jobs } = yaml.parse(read('.github/workflows/ci.yml'));
    assert.ok(jobs.image.steps.some(({ run }) => run === 'conformance/deploy/image.sh'));
  });

  test('every file of the folder is in the table', () => {
    const names = readdirSync(join(root, 'deploy')).filter((name) => name !== 'README.md');
    for (const name of names) assert.ok(doc.text.includes(`(${name}`), name);
  });
});

test('examples/rows/README.md', () => {
  const doc = new Document('examples/rows/README.md');
  // rows.test.js runs this one.
  assert.ok(statSync(join(root, doc.snippet('run'))).mode & 0o100);
  doc.assertAllAsked();
});
