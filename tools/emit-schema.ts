import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { loadTrustedOperations, printManifest } from '../resolvers/persisted.ts';
import { buildGraph, printGraph } from '../resolvers/schema.ts';
import { projectRoot } from '../src/project-root.ts';

// npm run schema: writes the SDL that gateways compose, and the saved operations under the hashes that they are known by.
await writeFile(join(projectRoot, 'schema', 'subgraph.graphql'), printGraph(await buildGraph()));
await writeFile(join(projectRoot, 'schema', 'persisted-operations.json'), printManifest(await loadTrustedOperations()));
