import { rmSync } from 'node:fs';

// npm runs this before it packs: the compiler leaves the output of deleted sources behind.
rmSync(new URL('../dist/', import.meta.url), { recursive: true, force: true });
