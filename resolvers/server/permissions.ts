import { type DocumentNode, getOperationAST, type GraphQLSchema, Kind, type SelectionSetNode } from 'graphql';
import type { AuthCheckerFn } from 'type-graphql';

import { AppError } from '../../src/errors.ts';
import { mayDo, requirePermission } from '../../src/identity/actor.ts';
import type { Permission } from '../../src/identity/permissions.ts';
import { type GraphContext, signedIn } from './context.ts';
import { fragmentNamed } from './query-limits.ts';
import { PERMISSION } from './requires.ts';

/** Root fields that return the schema. */
const SCHEMA_FIELDS = new Set(['__schema', '__type', '_service']);

export interface GuardOptions {
  schema: GraphQLSchema;
  /** True in dev, where the schema can be read without a token. */
  isSchemaOpen: boolean;
}

/**
 * Checks the caller's permissions for all root fields of an operation before its execution. Called by every transport,
 * for queries, mutations and subscriptions.
 *
 * @throws `unauthenticated` or `permission_denied`
 */
export function assertMayRun(
  { schema, isSchemaOpen }: GuardOptions,
  document: DocumentNode,
  operationName: string | null | undefined,
  context: GraphContext,
): void {
  const operation = getOperationAST(document, operationName);
  if (!operation) return;
  const fields = new Set(rootFields(document, operation.selectionSet));
  const rootType = schema.getRootType(operation.operation);

  const asksForSchema = [...fields].some((name) => SCHEMA_FIELDS.has(name));
  const asksForData = [...fields].some((name) => !SCHEMA_FIELDS.has(name) && name !== '__typename');
  if (!context.actor) {
    if (asksForData || !isSchemaOpen) signedIn(context);
    return;
  }
  if (asksForSchema && !isSchemaOpen && !mayDo(context.actor, 'notif.read.schema')) {
    throw new AppError('permission_denied', 'This needs the permission notif.read.schema.', {
      details: { required: 'notif.read.schema' },
    });
  }
  for (const name of fields) {
    const permission = rootType?.getFields()[name]?.extensions[PERMISSION] as Permission | null | undefined;
    if (permission) requirePermission(context.actor, permission);
  }
}

/** Returns the names of the root fields of an operation, including those in fragments. */
export function* rootFields(
  document: DocumentNode,
  selectionSet: SelectionSetNode,
  seen = new Set<string>(),
): Generator<string> {
  for (const selection of selectionSet.selections) {
    if (selection.kind === Kind.FIELD) yield selection.name.value;
    else if (selection.kind === Kind.INLINE_FRAGMENT) yield* rootFields(document, selection.selectionSet, seen);
    else if (!seen.has(selection.name.value)) {
      seen.add(selection.name.value);
      const fragment = fragmentNamed(document, selection.name.value);
      if (fragment) yield* rootFields(document, fragment.selectionSet, seen);
    }
  }
}

/** Checks the permission again when a field is resolved, as a second line of defence. */
export const authChecker: AuthCheckerFn<GraphContext, Permission> = ({ context }, permissions) => {
  const actor = signedIn(context);
  for (const permission of permissions) requirePermission(actor, permission);
  return true;
};
