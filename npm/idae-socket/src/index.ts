// Everything, for Node. A browser bundle gets `client/` instead (see `exports` in package.json).
export * from './client/index.js';
export * from './server/index.js';
