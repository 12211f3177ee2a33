import { type DocumentNode, GraphQLError, type GraphQLSchema, parse, validate } from 'graphql';
import { LRUCache } from 'lru-cache';

import { AppError } from '../../src/errors.ts';
import { assertShape, MAX_TOKENS } from '../limits.ts';

/** A document that may be executed, or what is wrong with it. */
export type CheckedDocument = { document: DocumentNode; problems?: never } | { problems: readonly GraphQLError[] };

/** Parses and validates a text; the same text once. */
export type CheckDocument = (query: string) => CheckedDocument;

/** Characters of the texts that are remembered together. */
const CACHE_SIZE = 4 * 1024 * 1024;

/** What every transport asks before it executes anything. */
export function createDocuments(schema: GraphQLSchema): CheckDocument {
  const known = new LRUCache<string, CheckedDocument>({
    maxSize: CACHE_SIZE,
    sizeCalculation: (_checked, query) => query.length + 1,
  });
  return (query) => {
    const before = known.get(query);
    if (before) return before;
    const checked = check(schema, query);
    known.set(query, checked);
    return checked;
  };
}

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
