import { type DocumentNode, getOperationAST, GraphQLError, type OperationDefinitionNode } from 'graphql';

import type { GraphContext } from './context.ts';
import { asGraphQLError } from './errors.ts';
import { recordForeignAccess } from './foreign-access.ts';
import { assertMayRun, type GuardOptions } from './permissions.ts';
import { type AssertCost, assertVariables } from './query-limits.ts';
import { roundVariables } from './variables.ts';
import type { DocumentRequest, PersistedOperations } from './persisted.ts';
import { type CheckDocument, withCode } from './documents.ts';
import type { SharedExecution } from '../subscriptions/shared-execution.ts';

/** The request of an operation. */
export interface OperationRequest extends DocumentRequest {
  operationName?: string | null | undefined;
  variables?: Record<string, unknown> | null | undefined;
}

export interface OperationOptions extends GuardOptions {
  checkDocument: CheckDocument;
  assertCost: AssertCost;
  persisted: PersistedOperations;
}

/**
 * Checks a request before its execution: limits, validation, permissions and cost. Queries and mutations over HTTP do
 * not use it: there, plugins of Apollo Server make the same checks.
 *
 * @returns the arguments of the execution, or the problems of the request.
 */
export async function prepareExecution(
  request: OperationRequest,
  context: GraphContext,
  options: OperationOptions,
): Promise<SharedExecution | GraphQLError[]> {
  const { operationName } = request;
  try {
    const query = options.persisted.textOf(request);
    const checked = options.checkDocument(query);
    if (checked.problems) return [...checked.problems];
    assertOperation(checked.document, operationName);
    const document = options.persisted.trusted(checked.document, operationName);
    assertMayRun(options, document, operationName, context);
    const variables = roundVariables(options.schema, document, operationName, request.variables ?? {});
    assertVariables(variables);
    options.assertCost(document, operationName ?? undefined, variables);
    await recordForeignAccess(document, operationName, context);
    return {
      schema: options.schema,
      document,
      query,
      contextValue: context,
      variableValues: variables,
      ...(operationName ? { operationName } : {}),
    };
  } catch (error) {
    return [asGraphQLError(error)];
  }
}

/**
 * Returns the operation with this name, or the only operation of the document.
 *
 * @throws `GraphQLError` with the code `OPERATION_RESOLUTION_FAILURE` when the document has no such operation.
 */
export function assertOperation(
  document: DocumentNode,
  operationName: string | null | undefined,
): OperationDefinitionNode {
  const operation = getOperationAST(document, operationName);
  if (operation) return operation;
  throw withCode(
    new GraphQLError('The document has no such operation. Check operationName.'),
    'OPERATION_RESOLUTION_FAILURE',
  );
}
