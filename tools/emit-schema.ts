import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { buildGraph, printGraph } from '../resolvers/schema.ts';
import { projectRoot } from '../src/project-root.ts';

// npm run schema: writes the SDL that gateways compose.
await writeFile(join(projectRoot, 'schema', 'subgraph.graphql'), printGraph(await buildGraph()));
