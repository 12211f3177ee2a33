import { rmSync } from 'node:fs';

import { canCompile, compile } from './compile.js';

// npm runs this after `npm ci`. `npm ci --omit=dev` does not install the types that the compiler needs. The compilation is
// then skipped, so that the installation succeeds and uses the existing build.
if (process.env.npm_command === 'pack' || process.env.npm_command === 'publish') {
  // `prepack` has built everything.
} else if (canCompile()) {
  compile();
} else {
  process.stderr.write('Skipped the compilation: development dependencies are not installed.\n');
}
// The package `node` links its program out of a download of 190 MB, headers and manuals, which nothing needs any more.
rmSync(new URL('../node_modules/node/node_modules', import.meta.url), { recursive: true, force: true });
