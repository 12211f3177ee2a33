import { writeAudit } from '../audit/write.ts';
import type { Database } from '../database/database.ts';
import { validationFailed } from '../errors.ts';
import type { Actor } from '../identity/actor.ts';
import { newId } from '../ids.ts';
import { findPage, idCursor, keysetQuery, type Page, type PageArgs, toPage } from '../paging/page.ts';
import { PolicyDefinitionEntity, type PolicyScope, type StoredPolicy } from './policy-definition.entity.ts';

/** A user's role over one merchant or organization, as it is imported. */
export type PolicyDefinition = Pick<StoredPolicy, 'userId' | 'role' | 'scope' | 'scopeId'>;

export interface PolicyFilter {
  userId?: string | null | undefined;
  scope?: PolicyScope | null | undefined;
  scopeId?: string | null | undefined;
}

export interface PolicyImport {
  added: number;
  removed: number;
  unchanged: number;
}

export interface PolicyDefinitions {
  list(tenantId: string, args: PageArgs, filter?: PolicyFilter | null): Promise<Page<StoredPolicy>>;
  /**
   * Adds definitions. With `isWhole`, the given definitions replace all stored definitions of each merchant and
   * organization that they name.
   *
   * @throws `validation_failed` naming each invalid definition; then nothing changes.
   */
  import(
    actor: Actor,
    definitions: PolicyDefinition[],
    options: { isWhole: boolean; traceId: string },
  ): Promise<PolicyImport>;
  /** @returns the number of removed definitions. */
  remove(actor: Actor, definitions: PolicyDefinition[], traceId: string): Promise<number>;
}

/** Maximum number of definitions of one call. */
export const MAX_POLICIES = 10_000;
const MAX_PROBLEMS = 20;
/** Maximum length of an id or a role, in characters. */
const MAX_TEXT = 256;

/** One statement for up to 10 000 definitions; an EntityManager would need one for each. */
const IMPORT_POLICIES = `with input as (
    select distinct on (scope, scope_id, user_id, role) * from jsonb_to_recordset($2::jsonb) as input (
      id uuid, user_id text, role text, scope text, scope_id text)
  ), removed as (
    delete from policy_definition policy
    using (select distinct scope, scope_id from input) as whole
    where $3 and policy.tenant_id = $1 and policy.scope = whole.scope and policy.scope_id = whole.scope_id
      and not exists (select from input where input.scope = policy.scope and input.scope_id = policy.scope_id
        and input.user_id = policy.user_id and input.role = policy.role)
    returning 1
  ), added as (
    insert into policy_definition (id, tenant_id, user_id, role, scope, scope_id)
    select id, $1, user_id, role, scope, scope_id from input
    on conflict (tenant_id, scope, scope_id, user_id, role) do nothing
    returning 1
  )
  select (select count(*)::int from added) as added, (select count(*)::int from removed) as removed`;

/** One statement for up to 10 000 definitions. It returns only the number of deleted rows. */
const DELETE_POLICIES = `delete from policy_definition policy
  using jsonb_to_recordset($2::jsonb) as input (user_id text, role text, scope text, scope_id text)
  where policy.tenant_id = $1 and policy.scope = input.scope and policy.scope_id = input.scope_id
    and policy.user_id = input.user_id and policy.role = input.role
  returning policy.id`;

export function createPolicyDefinitions(database: Database): PolicyDefinitions {
  return {
    list: (tenantId, args, filter) => {
      const query = keysetQuery(args, idCursor);
      const { where, options } = findPage(query);
      const wanted = Object.fromEntries(
        Object.entries(filter ?? {}).filter(([, value]) => value !== null && value !== undefined),
      );
      return database.asTenant(tenantId, async ({ em }) =>
        toPage(await em.find(PolicyDefinitionEntity, { ...where, ...wanted, tenantId }, options), query),
      );
    },

    import: (actor, definitions, { isWhole, traceId }) => {
      check(definitions);
      return database.asTenant(actor.tenantId, async (tx) => {
        const [counts] = await tx.query<{ added: number; removed: number }>(IMPORT_POLICIES, [
          actor.tenantId,
          JSON.stringify(definitions.map(toRow)),
          isWhole,
        ]);
        const { added = 0, removed = 0 } = counts ?? {};
        await audit(tx, actor, traceId, { added, removed });
        const distinct = new Set(definitions.map((definition) => JSON.stringify(toKey(definition)))).size;
        return { added, removed, unchanged: distinct - added };
      });
    },

    remove: (actor, definitions, traceId) => {
      check(definitions);
      return database.asTenant(actor.tenantId, async (tx) => {
        const removed = await tx.query(DELETE_POLICIES, [actor.tenantId, JSON.stringify(definitions.map(toRow))]);
        await audit(tx, actor, traceId, { added: 0, removed: removed.length });
        return removed.length;
      });
    },
  };
}

const audit = (
  tx: Parameters<typeof writeAudit>[0],
  actor: Actor,
  traceId: string,
  changed: { added: number; removed: number },
): Promise<void> =>
  writeAudit(tx, { actor, traceId, action: 'notification.config.updated', details: { policy_definitions: changed } });

function check(definitions: PolicyDefinition[]): void {
  if (definitions.length > MAX_POLICIES) {
    throw validationFailed([{ path: 'input.definitions', message: `must have at most ${MAX_POLICIES} items` }]);
  }
  const problems = definitions.flatMap((definition, index) =>
    (['userId', 'role', 'scopeId'] as const)
      .filter(
        (name) =>
          definition[name].trim() === '' || definition[name].length > MAX_TEXT || definition[name].includes('\0'),
      )
      .map((name) => ({
        path: `input.definitions.${index}.${name}`,
        message: `must be text of 1 to ${MAX_TEXT} characters`,
      })),
  );
  if (problems.length > 0) throw validationFailed(problems.slice(0, MAX_PROBLEMS));
}

const toKey = ({ scope, scopeId, userId, role }: PolicyDefinition): string[] => [scope, scopeId, userId, role];

const toRow = ({ scope, scopeId, userId, role }: PolicyDefinition) => ({
  id: newId(),
  scope,
  scope_id: scopeId,
  user_id: userId,
  role,
});
