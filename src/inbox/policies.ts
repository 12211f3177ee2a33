import { writeAudit } from '../audit/write.ts';
import type { Database } from '../database/database.ts';
import { validationFailed } from '../errors.ts';
import type { Actor } from '../identity/actor.ts';
import { newId } from '../ids.ts';
import { idCursor, keysetQuery, pageOf, type Page, type PageArgs, toPage } from '../paging/page.ts';

export const POLICY_SCOPES = ['merchant', 'organization'] as const;
export type PolicyScope = (typeof POLICY_SCOPES)[number];

/** A user holds a role over a merchant or an organization: what audiences are made of. */
export interface PolicyDefinition {
  userId: string;
  role: string;
  scope: PolicyScope;
  scopeId: string;
}

export interface StoredPolicy extends PolicyDefinition {
  id: string;
}

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
   * Adds definitions. With `isWhole` they are all there is to say about each merchant and organization among them:
   * whatever else was known of these is removed.
   *
   * @throws `validation_failed` naming each definition that is wrong; then nothing is changed.
   */
  import(
    actor: Actor,
    definitions: PolicyDefinition[],
    options: { isWhole: boolean; traceId: string },
  ): Promise<PolicyImport>;
  /** @returns how many were there to be removed. */
  remove(actor: Actor, definitions: PolicyDefinition[], traceId: string): Promise<number>;
}

/** Definitions of one call. */
export const MAX_POLICIES = 10_000;
const MAX_PROBLEMS = 20;
/** Longest id and role, in characters. */
const MAX_TEXT = 256;

export function createPolicyDefinitions(database: Database): PolicyDefinitions {
  return {
    list: (tenantId, args, filter) => {
      const query = keysetQuery(args, idCursor);
      return database.asTenant(tenantId, async (tx) => {
        const values = [tenantId, filter?.userId ?? null, filter?.scope ?? null, filter?.scopeId ?? null];
        const rows = await tx.query<StoredPolicy>(
          `select id, user_id as "userId", role, scope, scope_id as "scopeId" from policy_definition
           where tenant_id = $1 and ($2::text is null or user_id = $2) and ($3::text is null or scope = $3)
             and ($4::text is null or scope_id = $4) ${pageOf('id', query, values)}`,
          values,
        );
        return toPage(rows, query);
      });
    },

    import: (actor, definitions, { isWhole, traceId }) => {
      check(definitions);
      return database.asTenant(actor.tenantId, async (tx) => {
        const [counts] = await tx.query<{ added: number; removed: number }>(
          `with input as (
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
           select (select count(*)::int from added) as added, (select count(*)::int from removed) as removed`,
          [actor.tenantId, JSON.stringify(definitions.map(toRow)), isWhole],
        );
        const { added = 0, removed = 0 } = counts ?? {};
        await audit(tx, actor, traceId, { added, removed });
        const distinct = new Set(definitions.map((definition) => JSON.stringify(toKey(definition)))).size;
        return { added, removed, unchanged: distinct - added };
      });
    },

    remove: (actor, definitions, traceId) => {
      check(definitions);
      return database.asTenant(actor.tenantId, async (tx) => {
        const removed = await tx.query(
          `delete from policy_definition policy
           using jsonb_to_recordset($2::jsonb) as input (user_id text, role text, scope text, scope_id text)
           where policy.tenant_id = $1 and policy.scope = input.scope and policy.scope_id = input.scope_id
             and policy.user_id = input.user_id and policy.role = input.role
           returning policy.id`,
          [actor.tenantId, JSON.stringify(definitions.map(toRow))],
        );
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
    throw validationFailed([{ path: 'input.definitions', message: `may hold ${MAX_POLICIES} at most` }]);
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
