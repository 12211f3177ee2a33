import { type DocumentNode, getOperationAST } from 'graphql';

import { isForeign } from '../../src/identity/actor.ts';
import type { GraphContext } from './context.ts';
import { rootFields } from './permissions.ts';

/** Writes the audit event `tenant.accessed` when a superadmin works in a tenant that is not their own. */
export async function recordForeignAccess(
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
