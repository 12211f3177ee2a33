import { type DocumentNode, GraphQLError, type GraphQLSchema, parse, validate } from 'graphql';
import { LRUCache } from 'lru-cache';

import { AppError } from '../../src/errors.ts';
import { assertShape, MAX_TOKENS } from './query-limits.ts';

/** A valid document, or its problems. */
export type CheckedDocument =
  | { document: DocumentNode; problems?: never }
  | { document?: never; problems: readonly GraphQLError[] };

/** Parses and validates a document, with a cache. */
export type CheckDocument = (query: string) => CheckedDocument;

/** Maximum memory of cached documents, in bytes. */
const CACHE_BYTES = 64 * 1024 * 1024;
/** Estimated memory of a parsed document per token, in bytes. A document of 4 KB may take 1 MB. */
const BYTES_PER_TOKEN = 600;

/** Creates the function with which all transports parse and validate documents. */
export function createDocuments(schema: GraphQLSchema): CheckDocument {
  const known = new LRUCache<string, { document: DocumentNode }>({
    maxSize: CACHE_BYTES,
    sizeCalculation: ({ document }, query) => 2 * query.length + BYTES_PER_TOKEN * tokensOf(document),
  });
  return (query) => {
    const cached = known.get(query);
    if (cached) return cached;
    const checked = check(schema, query);
    // Invalid documents are not cached, because clients rarely repeat them.
    if (!checked.problems) known.set(query, checked);
    return checked;
  };
}

/** graphql-js counts tokens while parsing; the property is missing in its types. */
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
