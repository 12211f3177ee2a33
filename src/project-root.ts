import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

function findRoot(): string {
  let directory = import.meta.dirname;
  while (!existsSync(join(directory, 'package.json'))) directory = dirname(directory);
  return directory;
}

/** The folder that holds `package.json`: the same whether the code runs from source or from `dist/`. */
export const projectRoot = findRoot();
