// Commands and quotations in Markdown, so that a test can run the ones and hold the others to what
// really comes. A fence belongs to the comment on the line before it:
//
//   <!-- snippet: name -->     a test asks for it by this name
//   <!-- not run: reason -->   it cannot be run; rare
//
// A fence without either is an error, and so is a name that no test asks for. In quotations `…`
// stands for any text.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const FENCE = /^```(\S*)$/;
const COMMENT = /^<!-- (snippet|not run): (.+) -->$/;

export class Document {
  #snippets = new Map();
  #asked = new Set();

  /** Reads a file of the repository, by its path from the root. */
  constructor(path) {
    this.path = path;
    this.text = readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
    const lines = this.text.split('\n');
    for (let n = 0; n < lines.length; n += 1) {
      if (!FENCE.test(lines[n])) {
        assert.ok(!lines[n].trimStart().startsWith('```'), `${path}:${n + 1}: a fence that is indented or unusual`);
        continue;
      }
      const [, language] = FENCE.exec(lines[n]);
      const where = `${path}:${n + 1}`;
      const [, kind, name] = COMMENT.exec(lines[n - 1] ?? '') ?? assert.fail(`${where}: a snippet without a comment`);
      const end = lines.indexOf('```', n + 1);
      assert.ok(end > n, `${where}: a fence without an end`);
      if (kind === 'snippet') {
        assert.ok(!this.#snippets.has(name), `${where}: the name ${name} is taken`);
        this.#snippets.set(name, { name, language, where, text: lines.slice(n + 1, end).join('\n') });
      }
      n = end;
    }
  }

  get names() {
    return [...this.#snippets.keys()];
  }

  /** The text of a snippet. */
  snippet(name) {
    const found = this.#snippets.get(name) ?? assert.fail(`${this.path} has no snippet ${name}`);
    this.#asked.add(name);
    return found.text;
  }

  /** Insists that this is what the document quotes. */
  quotes(name, actual) {
    const text = this.snippet(name);
    assert.match(actual.trim(), pattern(text), `${this.#snippets.get(name).where} quotes\n${text}\nand this came:\n${actual}`);
  }

  /** The last step of a test file: nothing in the document was left out. */
  assertAllAsked() {
    const left = this.names.filter((name) => !this.#asked.has(name));
    assert.deepEqual(left, [], `${this.path}: snippets that no test runs`);
  }
}

/** A quotation as a pattern for the whole text. */
export function pattern(quotation) {
  const parts = quotation.trim().split('…').map((part) => part.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'));
  return new RegExp(`^${parts.join('[^]*')}$`);
}
