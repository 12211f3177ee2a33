import { type ApolloServerPlugin, HeaderMap } from '@apollo/server';
import { type DocumentNode, type GraphQLSchema, OperationTypeNode, visit } from 'graphql';
import { type CompiledQuery, compileQuery, isCompiledQuery } from 'graphql-jit';
import { LRUCache } from 'lru-cache';

import type { GraphContext } from '../context.ts';

/** Number of times that a query runs before it is compiled. Compiling takes as long as many executions. */
const MIN_USES = 3;
/** Minimum time between two compilations, in milliseconds, so that new documents cannot keep the thread busy. */
const MIN_PAUSE_MS = 1_000;
/** Maximum number of compiled queries in memory. */
const MAX_COMPILED = 200;

interface Use {
  count: number;
  /** Undefined until the query is compiled; null when it cannot be. */
  compiled?: CompiledQuery | null;
}

/**
 * Executes queries that clients repeat as compiled functions, which take half as long as the execution by graphql-js. A
 * query whose result has errors is executed again by Apollo Server, which gives the errors of the specification; mutations,
 * queries with directives and traced requests always are.
 */
export function compiledPlugin(
  schema: GraphQLSchema,
  { minUses = MIN_USES, minPauseMs = MIN_PAUSE_MS } = {},
): ApolloServerPlugin<GraphContext> {
  const uses = new LRUCache<DocumentNode, Map<string, Use>>({ max: MAX_COMPILED });
  let nextAt = 0;

  const findCompiled = (document: DocumentNode, operationName: string): CompiledQuery | undefined => {
    const operations = uses.get(document) ?? new Map<string, Use>();
    uses.set(document, operations);
    const use = operations.get(operationName) ?? { count: 0 };
    operations.set(operationName, use);
    use.count += 1;
    if (use.compiled === undefined && use.count > minUses && performance.now() >= nextAt) {
      nextAt = performance.now() + minPauseMs;
      use.compiled = hasDirectives(document) ? null : compile(schema, document, operationName);
    }
    return use.compiled ?? undefined;
  };

  return {
    requestDidStart: async () => ({
      responseForOperation: async ({ document, operation, request, contextValue }) => {
        if (operation.operation !== OperationTypeNode.QUERY) return null;
        if (request.http?.headers.get('apollo-federation-include-trace') === 'ftv1') return null;
        const compiled = findCompiled(document, request.operationName ?? '');
        if (!compiled) return null;
        const result = await compiled.query(undefined, contextValue, request.variables ?? {});
        if (result.errors) return null;
        return {
          http: { headers: new HeaderMap() },
          body: { kind: 'single', singleResult: { data: result.data ?? null } },
        };
      },
    }),
  };
}

function compile(schema: GraphQLSchema, document: DocumentNode, operationName: string): CompiledQuery | null {
  const compiled = compileQuery(schema, document, operationName || undefined);
  return isCompiledQuery(compiled) ? (compiled as CompiledQuery) : null;
}

function hasDirectives(document: DocumentNode): boolean {
  let found = false;
  visit(document, {
    Directive: () => {
      found = true;
    },
  });
  return found;
}
