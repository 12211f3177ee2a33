import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

// node tools/install-packages.js FOLDER…: installs the packages of a folder that has its own package-lock.json, on its
// first use and after its lock changes. `npm ci` in the root leaves these packages out: few people need them, and
// together they are larger than everything else.

/** Runs `npm ci` in the folder unless what its lock names is installed already. */
export function installPackages(folder) {
  const lock = readFileSync(join(folder, 'package-lock.json'), 'utf8');
  const installedLock = join(folder, 'node_modules', '.installed-package-lock.json');
  if (existsSync(installedLock) && readFileSync(installedLock, 'utf8') === lock) return;
  process.stderr.write(`Installing the packages of ${folder}…\n`);
  // npm sets this for the scripts that it runs; it would name the folder of the root.
  const { npm_config_local_prefix: _, ...env } = process.env;
  execFileSync('npm', ['ci', '--prefer-offline', '--no-progress', '--loglevel=error'], {
    cwd: folder,
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
    shell: process.platform === 'win32',
  });
  writeFileSync(installedLock, lock);
}

if (import.meta.url === pathToFileURL(resolve(process.argv[1] ?? '')).href) {
  for (const folder of process.argv.slice(2)) installPackages(folder);
}
