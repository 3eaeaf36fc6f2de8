// The code blocks of the package's README. A block that is a program has its file's name behind
// the language; a recipe's block is that recipe's file.
//
//   node test/readme.mjs    puts the recipes into the README

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const PACKAGE = new URL('../idae-socket/', import.meta.url);
const README = new URL('README.md', PACKAGE);
const BLOCK = /^```(\w+)(?: (\S+))?\n([\s\S]*?)^```$/gm;

/** `{language, file, text}` of each block, in order. */
export function codeBlocks() {
  return [...readFileSync(README, 'utf8').matchAll(BLOCK)].map(([, language, file, text]) => ({ language, file, text }));
}

export const recipe = (file) => readFileSync(new URL(file, PACKAGE), 'utf8');

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const readme = readFileSync(README, 'utf8');
  writeFileSync(
    README,
    readme.replace(BLOCK, (block, language, file) =>
      file?.startsWith('recipes/') ? `\`\`\`${language} ${file}\n${recipe(file)}\`\`\`` : block,
    ),
  );
}
