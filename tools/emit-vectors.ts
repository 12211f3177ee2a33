import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { projectRoot } from '../src/project-root.ts';
import { streamVectors } from './stream-vectors.ts';

// npm run vectors: writes what a client in any language checks its sealed connection against.
const text = `${JSON.stringify(streamVectors(), null, 2)}\n`;
await writeFile(join(projectRoot, 'schema', 'stream-vectors.json'), text);
