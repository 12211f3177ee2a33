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

/** SQL, because most transactions write an audit event, including those that use no entities. */
const INSERT_EVENT =
  'insert into audit_event (id, tenant_id, action, actor_id, trace_id, details) values ($1, $2, $3, $4, $5, $6)';

/** Writes an audit event in the same transaction as the change that it describes. */
export async function writeAudit(tx: Transaction, { actor, traceId, action, details }: AuditEntry): Promise<void> {
  await tx.query(INSERT_EVENT, [newId(), actor.tenantId, action, actor.userId, traceId, details]);
}
