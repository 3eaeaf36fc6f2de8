// Links of the documents lead to files and headings that exist.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const documents = [
  'README.md',
  'docs/comparison.md',
  'docs/guide.md',
  'docs/operations.md',
  'docs/performance.md',
  'docs/troubleshooting.md',
  'deploy/README.md',
  'examples/rows/README.md',
];

/** The names by which headings are linked to. */
function anchors(text) {
  const prose = text.replaceAll(/^```[^]*?^```$/gm, '');
  const headings = [...prose.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => heading);
  return headings.map((heading) =>
    heading
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

for (const path of documents) {
  test(path, () => {
    const text = readFileSync(join(root, path), 'utf8');
    const prose = text.replaceAll(/^```[^]*?^```$/gm, '');
    const links = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link);
    for (const link of links) {
      if (/^https?:/.test(link)) continue;
      const [file, anchor] = link.split('#');
      const target = file ? normalize(join(root, dirname(path), file)) : join(root, path);
      assert.ok(existsSync(target), `${path}: ${link}`);
      if (anchor === undefined) continue;
      assert.ok(statSync(target).isFile(), `${path}: ${link}`);
      assert.ok(anchors(readFileSync(target, 'utf8')).includes(anchor), `${path}: there is no heading for ${link}`);
    }
  });
}
