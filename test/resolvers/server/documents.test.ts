import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { buildSchema } from 'graphql';
import { describe, expect, it } from 'vitest';

import { createDocuments } from '../../../resolvers/server/documents.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
const heldBytes = (): number => {
  collectGarbage();
  return process.memoryUsage().heapUsed;
};

describe('the document cache', () => {
  const schema = buildSchema('type Query { a: Int }');

  it('parses and validates a document once', () => {
    const check = createDocuments(schema);
    const first = check('{ a }');
    expect(first).toMatchObject({ document: { kind: 'Document' } });
    expect(check('{ a }')).toBe(first);
  });

  it.each([
    ['valid', 'a', 1_000],
    ['invalid', 'b', 600],
  ])('has bounded memory, also for short documents with many tokens: %s', (_what, field, count) => {
    const check = createDocuments(schema);
    const before = heldBytes();
    const body = `${field} `.repeat(400);
    for (let number = 0; number < count; number += 1) check(`query q${number} {${body}}`);
    // Each document takes 200 KB.
    expect(heldBytes() - before).toBeLessThan(80 * 1024 * 1024);
    expect(check('{ a }')).toHaveProperty('document');
  });
});
