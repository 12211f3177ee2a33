import { type DocumentNode, GraphQLError, type GraphQLSchema, parse, validate } from 'graphql';
import { LRUCache } from 'lru-cache';

import { AppError } from '../../src/errors.ts';
import { assertShape, MAX_TOKENS } from './query-limits.ts';

/** A document that may be executed, or what is wrong with it. */
export type CheckedDocument =
  | { document: DocumentNode; problems?: never }
  | { document?: never; problems: readonly GraphQLError[] };

/** Parses and validates a text; the same text once. */
export type CheckDocument = (query: string) => CheckedDocument;

/** What the documents that are remembered take together, in bytes. */
const CACHE_BYTES = 64 * 1024 * 1024;
/** What a parsed document takes for each of its tokens, and a little more: a text of 4 KB may take a megabyte. */
const BYTES_PER_TOKEN = 600;

/** What every transport asks before it executes anything. */
export function createDocuments(schema: GraphQLSchema): CheckDocument {
  const known = new LRUCache<string, { document: DocumentNode }>({
    maxSize: CACHE_BYTES,
    sizeCalculation: ({ document }, query) => 2 * query.length + BYTES_PER_TOKEN * tokensOf(document),
  });
  return (query) => {
    const before = known.get(query);
    if (before) return before;
    const checked = check(schema, query);
    // What is wrong is not asked for again by anybody who means well.
    if (!checked.problems) known.set(query, checked);
    return checked;
  };
}

/** graphql counts them while it parses, and does not say so in its types. */
const tokensOf = (document: DocumentNode): number => (document as { tokenCount?: number }).tokenCount ?? MAX_TOKENS;

function check(schema: GraphQLSchema, query: string): CheckedDocument {
  let document: DocumentNode;
  try {
    document = parse(query, { maxTokens: MAX_TOKENS });
    assertShape(document);
  } catch (error) {
    if (error instanceof GraphQLError) return { problems: [withCode(error, 'GRAPHQL_PARSE_FAILED')] };
    if (!(error instanceof AppError)) throw error;
    return { problems: [new GraphQLError(error.message, { originalError: error })] };
  }
  const problems = validate(schema, document);
  if (problems.length === 0) return { document };
  return { problems: problems.map((problem) => withCode(problem, 'GRAPHQL_VALIDATION_FAILED')) };
}

export const withCode = (error: GraphQLError, code: string): GraphQLError =>
  new GraphQLError(error.message, { nodes: error.nodes ?? null, extensions: { ...error.extensions, code } });
