import type { Database } from '../database/database.ts';
import type { Actor } from '../identity/actor.ts';
import { checkFilter, idCursor, keysetQuery, pageOf, type Page, type PageArgs, toPage } from '../paging/page.ts';
import { type AuditAction, writeAudit } from './write.ts';

/** A recorded action of an actor. */
export interface AuditEvent {
  id: string;
  action: AuditAction;
  actorId: string | null;
  traceId: string;
  timestamp: Date;
  details: Record<string, unknown>;
}

export interface AuditFilter {
  actions?: readonly string[] | null;
  actorId?: string | null;
  traceId?: string | null;
  after?: Date | null;
  before?: Date | null;
}

export interface AuditEvents {
  /** Lists the events of a tenant, newest first. */
  list(tenantId: string, args: PageArgs, filter?: AuditFilter | null): Promise<Page<AuditEvent>>;
  /** Records the access of a superadmin to another tenant. Called before any data is returned. */
  tenantAccessed(actor: Actor, access: { traceId: string; operation: string; fields: string[] }): Promise<void>;
}

/** The audit grows without end: one index range per page, without entities. */
const SELECT_EVENTS = `select id, action, actor_id as "actorId", trace_id as "traceId", timestamp, details from audit_event
  where tenant_id = $1 and ($2::text[] is null or action = any($2)) and ($3::text is null or actor_id = $3)
    and ($4::text is null or trace_id = $4) and ($5::timestamptz is null or timestamp >= $5)
    and ($6::timestamptz is null or timestamp < $6)`;

export function createAuditEvents(database: Database): AuditEvents {
  return {
    list: (tenantId, args, filter) => {
      const query = keysetQuery(args, idCursor);
      checkFilter(filter);
      const { actions, actorId, traceId, after, before } = filter ?? {};
      const values: unknown[] = [tenantId, actions, actorId, traceId, after, before].map((value) => value ?? null);
      return database.asTenant(tenantId, async (tx) => {
        const rows = await tx.query<AuditEvent>(`${SELECT_EVENTS} ${pageOf('id', query, values)}`, values);
        return toPage(rows, query);
      });
    },
    tenantAccessed: (actor, { traceId, operation, fields }) =>
      database.asTenant(actor.tenantId, (tx) =>
        writeAudit(tx, {
          actor,
          traceId,
          action: 'tenant.accessed',
          details: { home_tenant_id: actor.homeTenantId ?? null, operation, fields },
        }),
      ),
  };
}
