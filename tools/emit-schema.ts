import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { loadTrustedOperations, printManifest } from '../resolvers/server/persisted.ts';
import { buildGraph, printGraph } from '../resolvers/server/schema.ts';
import { projectRoot } from '../src/project-root.ts';
import { printPermissionMatrix } from './permission-matrix.ts';

// npm run schema: writes what follows from the code, for gateways, clients and people: the SDL, the saved operations under
// the hashes that they are known by, and who may run what.
const schema = await buildGraph();
await writeFile(join(projectRoot, 'schema', 'subgraph.graphql'), printGraph(schema));
await writeFile(join(projectRoot, 'schema', 'persisted-operations.json'), printManifest(await loadTrustedOperations()));
await writeFile(join(projectRoot, 'docs', 'permissions.md'), printPermissionMatrix(schema));
