// Bundles for the browser, as a bundler of an application would, and how large the client is.
//
//   node test/bundle.mjs --record    writes the size into idae-socket/bundle-size.json

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const PACKAGE = new URL('../idae-socket/', import.meta.url);
export const SIZE = new URL('../bundle-size.json', import.meta.url);

/** Bundles a program's text; what it imports is looked for in the folder. */
export async function bundle(text, { folder, format = 'iife', ...options }) {
  const { outputFiles, metafile } = await build({
    stdin: { contents: text, resolveDir: folder, loader: 'tsx' },
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    // Only the browser's conditions: a Node module in the way is an error of the bundler then.
    platform: 'browser',
    target: 'es2022',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"production"' },
    logLevel: 'silent',
    format,
    ...options,
  });
  return { text: outputFiles[0].text, inputs: Object.keys(metafile.inputs), metafile };
}

/** The client alone, with everything it exports. */
export async function clientSize() {
  const entry = fileURLToPath(new URL('dist/client/index.js', PACKAGE));
  const { text, metafile } = await bundle(`export * from ${JSON.stringify(entry)};`, {
    folder: fileURLToPath(PACKAGE),
    format: 'esm',
  });
  const [{ inputs }] = Object.values(metafile.outputs);
  const own = Object.entries(inputs).filter(([path]) => !path.includes('node_modules'));
  return {
    bytes: Buffer.byteLength(text),
    gzip_bytes: gzipSync(text, { level: 9 }).length,
    without_socket_io_client_bytes: own.reduce((sum, [, { bytesInOutput }]) => sum + bytesInOutput, 0),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url) && process.argv.includes('--record')) {
  const size = await clientSize();
  writeFileSync(SIZE, `${JSON.stringify(size, null, 2)}\n`);
  console.log(size);
}
