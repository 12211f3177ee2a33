import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

// npm runs this after `npm ci`. `npm ci --omit=dev` does not install the bundler and the types for the compiler. The
// build is then skipped, so that the installation succeeds and uses the existing build.
if (existsSync(new URL('../node_modules/vite', import.meta.url))) {
  execFileSync('npm', ['run', 'build'], { stdio: 'inherit', shell: process.platform === 'win32' });
} else {
  process.stderr.write('Skipped the build: development dependencies are not installed.\n');
}
