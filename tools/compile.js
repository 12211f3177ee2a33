import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

// node tools/compile.js --check         ends with 1 and one line when the service is not compiled.
// node tools/compile.js --if-possible   compiles first, unless only the packages of production are installed.

const pathOf = (file) => fileURLToPath(new URL(`../${file}`, import.meta.url));
const isInstalled = (name) => existsSync(pathOf(`node_modules/${name}`));

/**
 * True when the compiler and the types that it needs are installed. `npm ci --omit=dev` may install the compiler without
 * the types, because it is also an optional peer of a dependency.
 */
export const canCompile = () => isInstalled('typescript') && isInstalled('@types/pg');

/** Compiles the service. Errors are written to stderr, so that the output of a command contains only its result. */
export function compile() {
  const args = [pathOf('node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json'];
  const { status } = spawnSync(process.execPath, args, { cwd: pathOf('.'), stdio: ['ignore', 2, 2] });
  if (status !== 0) process.exit(1);
}

if (import.meta.url === pathToFileURL(resolve(process.argv[1] ?? '')).href) {
  if (process.argv.includes('--if-possible') && canCompile()) compile();
  if (!existsSync(pathOf('dist/src/main.js'))) {
    process.stderr.write(
      'The service is not compiled. Run: npm ci && npm run build && npm prune --omit=dev --omit=optional\n',
    );
    process.exit(1);
  }
}
