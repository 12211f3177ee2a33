import { type ExecutionArgs, getOperationAST, GraphQLError } from 'graphql';

import type { GraphContext } from '../context.ts';
import { assertMayRun, type GuardOptions } from '../guard.ts';
import { type CheckDocument, withCode } from './documents.ts';

/** An operation as a client asks for it. */
export interface OperationRequest {
  query: string;
  operationName?: string | null | undefined;
  variables?: Record<string, unknown> | null | undefined;
}

export interface OperationOptions extends GuardOptions {
  checkDocument: CheckDocument;
}

/**
 * What HTTP gets from Apollo and its guard, for every other transport.
 *
 * @returns what is to be executed, or what is wrong with the request.
 */
export function executionOf(
  { query, operationName, variables }: OperationRequest,
  context: GraphContext,
  options: OperationOptions,
): (ExecutionArgs & { contextValue: GraphContext }) | GraphQLError[] {
  try {
    const checked = options.checkDocument(query);
    if (checked.problems) return [...checked.problems];
    const { document } = checked;
    if (!getOperationAST(document, operationName)) {
      return [withCode(new GraphQLError('Unknown operation.'), 'OPERATION_RESOLUTION_FAILURE')];
    }
    assertMayRun(options, document, operationName, context);
    return {
      schema: options.schema,
      document,
      contextValue: context,
      ...(operationName ? { operationName } : {}),
      ...(variables ? { variableValues: variables } : {}),
    };
  } catch (error) {
    return [asGraphQLError(error)];
  }
}

export const asGraphQLError = (error: unknown): GraphQLError =>
  error instanceof GraphQLError ? error : new GraphQLError((error as Error).message, { originalError: error as Error });
