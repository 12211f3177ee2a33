import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';

import { type Change, CriticalityLevel, diff } from '@graphql-inspector/core';
import { buildSchema } from 'graphql';

import { buildGraph, printGraph } from '../resolvers/server/schema.ts';
import { projectRoot } from '../src/project-root.ts';

// npm run check:schema -- --base origin/main: names each change that breaks clients of the schema as it was committed.

const PATH = 'schema/subgraph.graphql';
const { values } = parseArgs({ options: { base: { type: 'string', default: 'HEAD' } } });

/** As it stands in that commit; as it lies in the folder where there is no history. */
async function committed(): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)('git', ['show', `${values.base}:${PATH}`], { cwd: projectRoot });
    return stdout;
  } catch (error) {
    if (values.base !== 'HEAD') throw error;
    return readFile(join(projectRoot, PATH), 'utf8');
  }
}

const build = (sdl: string) => buildSchema(sdl, { assumeValid: true });
const changes = await diff(build(await committed()), build(printGraph(await buildGraph())));
const level = ({ criticality }: Change): CriticalityLevel => criticality.level;
// Which directives of federation are named in full is no matter of clients.
const breaking = changes.filter(
  (change) => level(change) === CriticalityLevel.Breaking && !change.type.startsWith('DIRECTIVE_'),
);
for (const { message, path } of breaking) process.stderr.write(`breaking: ${path ?? PATH}: ${message}\n`);
if (breaking.length > 0) {
  process.stderr.write(`${breaking.length} changes break clients of ${PATH} as of ${values.base}.\n`);
  process.exitCode = 1;
}
