import { execFileSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';

// npm runs this after `npm ci`. `npm ci --omit=dev` does not install the compiler. The compilation is then skipped, so
// that the installation succeeds and uses the existing build.
const installed = (name) => new URL(`../node_modules/${name}/`, import.meta.url);
if (process.env.npm_command === 'pack' || process.env.npm_command === 'publish') {
  // `prepack` has built everything.
} else if (existsSync(installed('typescript'))) {
  execFileSync('npm', ['run', 'compile'], { stdio: 'inherit', shell: process.platform === 'win32' });
} else {
  process.stderr.write('Skipped the compilation: development dependencies are not installed.\n');
}
// The package `node` links its program out of a download of 190 MB, headers and manuals, which nothing needs any more.
rmSync(installed('node/node_modules'), { recursive: true, force: true });
