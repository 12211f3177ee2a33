import { execFileSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';

export interface Node {
  path: string;
  version: string;
}

/** Returns all installations of Node: the one in `node_modules` and those on the PATH. */
export function installedNodes(): Node[] {
  const folders = [dirname(process.execPath), ...(process.env['PATH'] ?? '').split(delimiter)];
  const paths = folders.map((folder) => join(folder, 'node')).filter((path) => existsSync(path));
  return [...new Set(paths.map((path) => realpathSync(path)))].map((path) => ({
    path,
    version: execFileSync(path, ['-p', 'process.versions.node'], { encoding: 'utf8' }).trim(),
  }));
}
