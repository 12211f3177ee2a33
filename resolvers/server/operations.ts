import { type DocumentNode, getOperationAST, GraphQLError } from 'graphql';

import { isForeign } from '../../src/identity/actor.ts';

import type { GraphContext } from './context.ts';
import { assertMayRun, type GuardOptions, rootFields } from './permissions.ts';
import { type AssertCost, assertVariables } from './query-limits.ts';
import type { DocumentRequest, PersistedOperations } from './persisted.ts';
import { type CheckDocument, withCode } from './documents.ts';
import type { SharedExecution } from '../subscriptions/shared-execution.ts';

/** An operation as a client asks for it. */
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
 * How every transport goes from a request to what may be executed: limits, validation, permissions.
 *
 * @returns what is to be executed, or what is wrong with the request.
 */
export async function prepareExecution(
  request: OperationRequest,
  context: GraphContext,
  options: OperationOptions,
): Promise<SharedExecution | GraphQLError[]> {
  const { operationName } = request;
  const variables = request.variables ?? {};
  try {
    const query = options.persisted.textOf(request);
    const checked = options.checkDocument(query);
    if (checked.problems) return [...checked.problems];
    if (!getOperationAST(checked.document, operationName)) {
      return [withCode(new GraphQLError('Unknown operation.'), 'OPERATION_RESOLUTION_FAILURE')];
    }
    const document = options.persisted.trusted(checked.document, operationName);
    assertMayRun(options, document, operationName, context);
    assertVariables(variables);
    options.assertCost(document, operationName ?? undefined, variables);
    await recordAccess(document, operationName, context);
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

/** Whoever looks into a tenant that is not theirs leaves a trace there first, whatever becomes of the operation. */
async function recordAccess(
  document: DocumentNode,
  operationName: string | null | undefined,
  { actor, core, traceId }: GraphContext,
): Promise<void> {
  if (!actor || !isForeign(actor)) return;
  const operation = getOperationAST(document, operationName);
  if (!operation) return;
  const fields = [...new Set(rootFields(document, operation.selectionSet))];
  await core.audit.tenantAccessed(actor, { traceId, operation: operation.operation, fields });
}

export const asGraphQLError = (error: unknown): GraphQLError =>
  error instanceof GraphQLError ? error : new GraphQLError((error as Error).message, { originalError: error as Error });
