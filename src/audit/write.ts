import type { Transaction } from '../database/database.ts';
import type { Actor } from '../identity/actor.ts';
import { newId } from '../ids.ts';

/** Input of {@link writeAudit}. */
export interface AuditEntry {
  actor: { tenantId: string; userId: Actor['userId'] | null };
  traceId: string;
  action: AuditAction;
  /** Details of the action, without secrets and with masked addresses. */
  details: Record<string, unknown>;
}

export type AuditAction =
  | 'notification.sent'
  | 'notification.test_sent'
  | 'notification.config.updated'
  | 'notification.template.updated'
  | 'notification.replayed'
  | 'person.erased'
  | 'person.erasure_requested'
  | 'tenant.accessed';

/** Part of nearly every transaction of the service, also of those that are SQL alone. */
const INSERT_EVENT =
  'insert into audit_event (id, tenant_id, action, actor_id, trace_id, details) values ($1, $2, $3, $4, $5, $6)';

/** Writes an audit event in the transaction of what it describes. */
export async function writeAudit(tx: Transaction, { actor, traceId, action, details }: AuditEntry): Promise<void> {
  await tx.query(INSERT_EVENT, [newId(), actor.tenantId, action, actor.userId, traceId, details]);
}
