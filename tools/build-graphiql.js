import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { installPackages } from './install-packages.js';

// npm run build:graphiql builds the page. With --if-changed, which `npm run dev` and the tests use, it does so only when a
// source is newer than the page.

const root = join(import.meta.dirname, '..');
const source = join(root, 'resolvers', 'graphiql');
const page = join(root, 'dist', 'graphiql', 'index.html');

const newest = (...folders) =>
  Math.max(
    ...folders.flatMap((folder) =>
      readdirSync(folder, { withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map(({ name }) => statSync(join(folder, name)).mtimeMs),
    ),
  );
const isCurrent = () =>
  existsSync(page) && statSync(page).mtimeMs > newest(source, join(source, 'app'), join(root, 'schema', 'operations'));

if (!process.argv.includes('--if-changed') || !isCurrent()) {
  installPackages(join(source, 'app'));
  const vite = join(root, 'node_modules', 'vite', 'bin', 'vite.js');
  execFileSync(process.execPath, [vite, 'build', '--logLevel', 'warn', '--config', join(source, 'vite.config.ts')], {
    stdio: 'inherit',
  });
}
