import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

// npm runs this after `npm ci`. With `npm ci --omit=dev` the compiler's types and the bundler are not installed, and an
// installation without them must not fail: it runs what was built before.
if (existsSync(new URL('../node_modules/vite', import.meta.url))) {
  execFileSync('npm', ['run', 'build'], { stdio: 'inherit', shell: process.platform === 'win32' });
} else {
  process.stderr.write('Skipped the build: development dependencies are not installed.\n');
}
