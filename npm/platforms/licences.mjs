// Puts the project's licences into a package's folder: npm packs no file from outside of it.
//
//   node platforms/licences.mjs <folder>

import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const project = fileURLToPath(new URL('../..', import.meta.url));

export function addLicences(folder) {
  for (const name of ['LICENSE-MIT', 'LICENSE-APACHE']) copyFileSync(join(project, name), join(folder, name));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) addLicences(process.argv[2] ?? '.');
