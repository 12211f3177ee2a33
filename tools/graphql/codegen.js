import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

import { installPackages } from '../install-packages.js';

// npm run codegen: runs GraphQL Code Generator with the packages of this folder. It looks for its plugins in the folder
// of codegen.yml, and then where NODE_PATH says.
const packages = join(import.meta.dirname, 'node_modules');
installPackages(import.meta.dirname);
try {
  execFileSync(
    process.execPath,
    [join(packages, '@graphql-codegen', 'cli', 'esm', 'bin.js'), '--config', 'codegen.yml', ...process.argv.slice(2)],
    { stdio: 'inherit', env: { ...process.env, NODE_PATH: packages } },
  );
} catch (error) {
  process.exit(error.status ?? 1);
}
