import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { projectRoot } from '../src/project-root.ts';
import { streamVectors } from './stream-vectors.ts';

// npm run vectors: writes the test vectors for implementations of the sealed connection.
const text = `${JSON.stringify(streamVectors(), null, 2)}\n`;
await writeFile(join(projectRoot, 'schema', 'stream-vectors.json'), text);
