import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { loadTrustedOperations, printManifest } from '../resolvers/server/persisted.ts';
import { buildGraph, printGraph } from '../resolvers/server/schema.ts';
import { projectRoot } from '../src/project-root.ts';
import { printPermissionMatrix } from './permission-matrix.ts';

// npm run schema: writes the files in schema/ that are generated from the code: the SDL, the manifest of trusted
// operations and the table of permissions.
const schema = await buildGraph();
await writeFile(join(projectRoot, 'schema', 'subgraph.graphql'), printGraph(schema));
await writeFile(join(projectRoot, 'schema', 'persisted-operations.json'), printManifest(await loadTrustedOperations()));
await writeFile(join(projectRoot, 'docs', 'permissions.md'), printPermissionMatrix(schema));
