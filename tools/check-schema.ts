import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';

import { type Change, CriticalityLevel, diff } from '@graphql-inspector/core';
import { buildSchema } from 'graphql';

import { buildGraph, printGraph } from '../resolvers/server/schema.ts';
import { projectRoot } from '../src/project-root.ts';

// npm run check:schema -- --base origin/main: lists the changes that break clients of the committed schema.

const PATH = 'schema/subgraph.graphql';
const { values } = parseArgs({ options: { base: { type: 'string', default: 'HEAD' } } });

/** Reads the schema of the base commit; the file itself when there is no Git history. */
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
// Ignores changes of federation directives, which do not affect clients.
const breaking = changes.filter(
  (change) => level(change) === CriticalityLevel.Breaking && !change.type.startsWith('DIRECTIVE_'),
);
for (const { message, path } of breaking) process.stderr.write(`breaking: ${path ?? PATH}: ${message}\n`);
if (breaking.length > 0) {
  process.stderr.write(`${breaking.length} changes of ${PATH} since ${values.base} break clients.\n`);
  process.exitCode = 1;
}
